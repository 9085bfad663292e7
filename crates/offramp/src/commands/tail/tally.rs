//! What each arrival is, and what became of everything that was sent.
//!
//! Without I/O and without a clock: it is told both. What was sent is either answered, dead-lettered, lost,
//! forgotten or still waited for, so those sum up to it.

use std::time::Duration;

use bench::joiner::{Arrival, Ended, Window};
use bench::{Arrived, End, Joiner, answer};
use serde::Serialize;
use wire::{Record, Source, header};

use super::places::{Role, Topics};
use crate::commands::dead_letter::letter::{Cause, Letter};

/// Ids that are kept at most: about 50 MiB.
const MAX_IDS: usize = 500_000;

/// When an answer is late, and when there will be none.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    pub(super) late: Duration,
    pub(super) silence: Duration,
    pub(super) window: Duration,
}

/// Counts what arrives.
#[derive(Debug)]
pub(super) struct Tally {
    topics: Topics,
    patience: Patience,
    joiner: Joiner,
    /// Of each tier.
    answered: Vec<u64>,
    dead_lettered: u64,
    late: u64,
}

/// An answer or a dead letter, to be shown.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) source: Source,
    pub(super) record: Record,
    pub(super) tier: String,
    /// The identity of what was sent.
    pub(super) id: Option<String>,
    /// From the record's timestamp to when it was read; None for what was there before.
    pub(super) latency_ms: Option<i64>,
    pub(super) what: What,
}

#[derive(Debug)]
pub(super) enum What {
    Answer { classes: Vec<usize>, confidences: Vec<f32>, is_degraded: bool },
    DeadLetter(Option<Cause>),
}

/// The end of the output; its field names are the JSON's.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Summary {
    /// None where it is not known what was sent; then nothing can be missing.
    pub(super) sent: Option<u64>,
    pub(super) answered: Vec<Answered>,
    pub(super) dead_lettered: u64,
    pub(super) duplicated: u64,
    pub(super) late: u64,
    pub(super) lost: u64,
    /// Sent a short time ago, and not answered yet.
    pub(super) waiting: u64,
    /// Sent, and not answered before too many ids came after it.
    pub(super) forgotten: u64,
    /// Answers to what was not sent, or not within the window.
    pub(super) unknown: u64,
    pub(super) window_s: u64,
    pub(super) max_ids: usize,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Answered {
    pub(super) tier: String,
    pub(super) records: u64,
}

impl Tally {
    pub(super) fn new(topics: Topics, patience: Patience) -> Self {
        let window = Window { age_ms: ms(patience.window), ids: MAX_IDS };
        Self {
            answered: vec![0; topics.tiers.len()],
            joiner: Joiner::windowed(window),
            dead_lettered: 0,
            late: 0,
            topics,
            patience,
        }
    }

    pub(super) fn is_sent(&self, arrived: &Arrived) -> bool {
        self.topics.roles[arrived.place] == Role::Sent
    }

    /// Takes note of a record that was read. Returns it if it is to be shown: the first of its kind.
    pub(super) fn note(&mut self, arrived: Arrived, now_ms: i64) -> Option<Seen> {
        let Arrived { place, source, record, live, .. } = arrived;
        let role = self.topics.roles[place];
        if role == Role::Sent {
            // The identity that the first tier gives to a record without one.
            let id = record.id().map_or_else(|| source.to_string(), str::to_owned);
            let sent_ms = record.timestamp_ms.unwrap_or(now_ms);
            if let Some(ended) = self.joiner.sent(&id, sent_ms, now_ms) {
                self.count(ended);
            }
            return None;
        }
        let latency_ms = record.timestamp_ms.filter(|_| live).map(|sent| (now_ms - sent).max(0));
        let (tier, end, what) = match role {
            Role::DeadLetters(tier) => {
                let letter = Letter::new(record.clone());
                let tier = tier.map(|tier| self.topics.tiers[tier].clone());
                let tier = tier.unwrap_or_else(|| source.topic.clone());
                (tier, End::DeadLettered, What::DeadLetter(letter.cause))
            }
            Role::Answers(place) => {
                let named = answer::tier(&record);
                // Tiers may share a topic; then the record says whose it is.
                let by_name =
                    self.topics.tiers.iter().position(|tier| Some(tier.as_str()) == named);
                let at = by_name.unwrap_or(place);
                let tier = named.unwrap_or(&self.topics.tiers[at]).to_owned();
                let what = What::Answer {
                    classes: answer::classes(&record),
                    confidences: answer::confidences(&record),
                    is_degraded: record.header(header::DEGRADED).is_some(),
                };
                (tier, End::Answered(at), what)
            }
            Role::Sent => unreachable!("handled above"),
        };
        let late = latency_ms.is_some_and(|latency| ms(self.patience.late) < latency);
        let id = record.id().map(str::to_owned).or_else(|| {
            // What died before the first tier gave it an identity has that of its place.
            let What::DeadLetter(cause) = &what else { return None };
            Some(cause.as_ref()?.source.as_ref()?.to_string())
        });
        let is_new = self.join(id.as_deref(), &record, Ended { end, late }, now_ms);
        is_new.then_some(Seen { source, record, tier, id, latency_ms, what })
    }

    /// Whether this is the first of its kind.
    fn join(&mut self, id: Option<&str>, record: &Record, ended: Ended, now_ms: i64) -> bool {
        let Some(id) = id else {
            self.joiner.arrived_nameless();
            return true;
        };
        // Samples of one record that parted have one id, and say which they are.
        let rows = record.headers.iter().filter(|header| header.name == header::ROWS);
        let part: Vec<u8> =
            rows.filter_map(|rows| rows.value.as_deref()).flatten().copied().collect();
        match self.joiner.arrived(id, &part, ended, now_ms) {
            Arrival::First => self.count(ended),
            // Where it is not known what was sent, everything was.
            Arrival::Early if !self.topics.has_sent() => self.count(ended),
            Arrival::Early | Arrival::Part => {}
            Arrival::Again | Arrival::Unknown => return false,
        }
        true
    }

    fn count(&mut self, ended: Ended) {
        match ended.end {
            End::Answered(tier) => self.answered[tier] += 1,
            End::DeadLettered => self.dead_lettered += 1,
        }
        self.late += u64::from(ended.late);
    }

    /// Time has passed.
    pub(super) fn pass(&mut self, now_ms: i64) {
        self.joiner.pass(now_ms);
    }

    /// Records that were sent and are not answered; None while nothing was sent.
    pub(super) fn waiting(&self) -> Option<u64> {
        (0 < self.joiner.sent_so_far()).then(|| self.joiner.waiting())
    }

    pub(super) fn summary(&self, now_ms: i64) -> Summary {
        let counts = self.joiner.counts(ms(self.patience.silence), now_ms);
        let answered = self.topics.tiers.iter().zip(&self.answered);
        let ended = self.answered.iter().sum::<u64>() + self.dead_lettered;
        let joins = self.topics.has_sent();
        Summary {
            sent: joins.then_some(counts.sent),
            answered: answered
                .map(|(tier, &records)| Answered { tier: tier.clone(), records })
                .collect(),
            dead_lettered: self.dead_lettered,
            duplicated: counts.duplicated,
            late: self.late,
            lost: counts.lost,
            waiting: counts.sent.saturating_sub(ended + counts.lost + counts.forgotten),
            forgotten: counts.forgotten,
            unknown: if joins { counts.unknown } else { 0 },
            window_s: self.patience.window.as_secs(),
            max_ids: MAX_IDS,
        }
    }
}

fn ms(duration: Duration) -> i64 {
    duration.as_millis() as i64
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tokio::time::Instant;
    use wire::Header;

    use super::*;

    const PATIENCE: Patience = Patience {
        late: Duration::from_secs(1),
        silence: Duration::from_secs(20),
        window: Duration::from_secs(60),
    };

    fn tally(with_sent: bool) -> Tally {
        let mut roles = vec![Role::Answers(0), Role::Answers(1), Role::DeadLetters(Some(0))];
        if with_sent {
            roles.push(Role::Sent);
        }
        let tiers = vec!["edge".to_owned(), "fog".to_owned()];
        Tally::new(Topics { places: Vec::new(), roles, tiers }, PATIENCE)
    }

    fn arrived(place: usize, id: Option<&str>, offset: i64) -> Arrived {
        let mut headers = vec![Header::new(header::TIER, "edge")];
        headers.extend(id.map(|id| Header::new(header::ID, id.to_owned())));
        let value = Some(Bytes::from_static(b"[[0.1, 0.9]]"));
        let record = Record { headers, timestamp_ms: Some(0), value, ..Record::default() };
        let source = Source { topic: "t".to_owned(), partition: 0, offset };
        Arrived { place, source, record, at: Instant::now(), live: true }
    }

    #[test]
    fn everything_that_was_sent_is_accounted_for() {
        let mut tally = tally(true);
        for id in ["a", "b", "c", "d"] {
            assert!(tally.note(arrived(3, Some(id), 0), 0).is_none());
        }
        let seen = tally.note(arrived(0, Some("a"), 0), 5).unwrap();
        assert_eq!((seen.tier.as_str(), seen.latency_ms), ("edge", Some(5)));
        assert!(matches!(seen.what, What::Answer { classes, .. } if classes == [1]));
        assert!(tally.note(arrived(0, Some("a"), 1), 6).is_none(), "a duplicate");
        assert!(tally.note(arrived(2, Some("b"), 0), 2000).is_some());
        assert!(tally.note(arrived(0, Some("stranger"), 2), 2000).is_some());
        let mut summary = tally.summary(19_999);
        let counts = |s: &Summary| {
            let answered: u64 = s.answered.iter().map(|answered| answered.records).sum();
            (answered, s.dead_lettered, s.waiting, s.lost, s.duplicated, s.late, s.unknown)
        };
        assert_eq!((summary.sent, counts(&summary)), (Some(4), (1, 1, 2, 0, 1, 1, 1)));
        summary = tally.summary(20_000);
        assert_eq!(counts(&summary), (1, 1, 0, 2, 1, 1, 1));
        assert_eq!(tally.waiting(), Some(2));
    }

    #[test]
    fn a_record_without_an_id_has_that_of_its_place() {
        let mut tally = tally(true);
        tally.note(arrived(3, None, 7), 0);
        assert!(tally.note(arrived(0, Some("t/0/7"), 0), 1).is_some());
        assert_eq!(tally.waiting(), Some(0));
        // And so has a dead letter.
        tally.note(arrived(3, None, 8), 2);
        let mut letter = arrived(2, None, 0);
        letter.record.headers = vec![
            Header::new(header::DEAD_LETTER_CODE, "not-json"),
            Header::new(header::DEAD_LETTER_SOURCE, "t/0/8"),
        ];
        assert!(tally.note(letter, 3).is_some());
        assert_eq!((tally.waiting(), tally.summary(3).dead_lettered), (Some(0), 1));
    }

    #[test]
    fn where_it_is_not_known_what_was_sent_answers_are_counted_once() {
        let mut tally = tally(false);
        assert!(tally.note(arrived(0, Some("a"), 0), 0).is_some());
        assert!(tally.note(arrived(0, Some("a"), 1), 0).is_none());
        let summary = tally.summary(0);
        assert_eq!((summary.sent, summary.answered[0].records), (None, 1));
        assert_eq!((summary.duplicated, summary.unknown, summary.waiting), (1, 0, 0));
        assert_eq!(tally.waiting(), None);
    }
}
