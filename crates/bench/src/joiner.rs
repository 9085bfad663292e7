//! Joins what arrives to what was sent.
//!
//! Pure: a [`Joiner`] is told the ids of records that were sent and of those that arrived, with the time, and says
//! of each arrival what it is. Each record counts once, where it arrived first.
//!
//! What was sent is either known beforehand ([`Joiner::numbered`]: records 0 to n, a byte each, none forgotten), or
//! read as it goes ([`Joiner::windowed`]), where an answer may be read before the record that it answers. Then an
//! id is kept for as long as the window is, or until there are too many; what comes later than that is not
//! recognised: a duplicate counts as an answer to nothing, an answer too, and its record as lost.

use std::collections::hash_map::{Entry, RandomState};
use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasher as _;

use crate::collector::End;

/// How long ids are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Milliseconds after an id was first met.
    pub age_ms: i64,
    /// Ids at most; the oldest go first. Each takes about 100 bytes.
    pub ids: usize,
}

/// How and when a record ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// Where it arrived.
    pub end: End,
    /// Whether it took longer than it should.
    pub late: bool,
}

/// What an arrival is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// The first of a record that was sent.
    First,
    /// The first of its id, of which it is not known that it was sent. [`Joiner::sent`] says later that it was.
    Early,
    /// Of a record that has arrived: another part of it, which carries other samples.
    Part,
    /// Of a record, or part, that has arrived.
    Again,
    /// Of no record that will be sent.
    Unknown,
}

/// What became of ids that are not kept any more, and of all that came more than once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Records that were sent.
    pub sent: u64,
    /// Arrivals of what had arrived.
    pub duplicated: u64,
    /// Arrivals of what was not sent.
    pub unknown: u64,
    /// Records that were sent and had not arrived when the window had passed.
    pub lost: u64,
    /// Records that were sent and had not arrived when too many came after them.
    pub forgotten: u64,
}

/// Joins arrivals to what was sent.
#[derive(Debug)]
pub struct Joiner {
    known: Known,
    counts: Counts,
}

#[derive(Debug)]
enum Known {
    /// Whether each has arrived.
    Numbered(Vec<bool>),
    Windowed(Windowed),
}

#[derive(Debug)]
struct Windowed {
    window: Window,
    ids: HashMap<u64, Id>,
    /// When each id was first met, oldest first.
    order: VecDeque<(i64, u64)>,
    hasher: RandomState,
    waiting: u64,
}

#[derive(Debug, Default)]
struct Id {
    /// When it was sent, in milliseconds since the epoch.
    sent_ms: Option<i64>,
    ended: Option<Ended>,
    /// Which samples of the record arrived first.
    part: u64,
}

impl Joiner {
    /// Joins to records with the numbers 0 to `records`, all of which will be sent.
    pub fn numbered(records: u64) -> Self {
        let counts = Counts { sent: records, ..Counts::default() };
        Self { known: Known::Numbered(vec![false; records as usize]), counts }
    }

    /// Joins to ids as they become known.
    pub fn windowed(window: Window) -> Self {
        let windowed = Windowed {
            window,
            ids: HashMap::new(),
            order: VecDeque::new(),
            hasher: RandomState::new(),
            waiting: 0,
        };
        Self { known: Known::Windowed(windowed), counts: Counts::default() }
    }

    /// Notes that record `number` arrived.
    pub fn arrived_number(&mut self, number: u64) -> Arrival {
        let Known::Numbered(seen) = &mut self.known else { return Arrival::Unknown };
        match seen.get_mut(number as usize) {
            None => Arrival::Unknown,
            Some(seen) if *seen => {
                self.counts.duplicated += 1;
                Arrival::Again
            }
            Some(seen) => {
                *seen = true;
                Arrival::First
            }
        }
    }

    /// Notes that `id` was sent at `sent_ms`. Returns how it ended, if it has arrived before.
    pub fn sent(&mut self, id: &str, sent_ms: i64, now_ms: i64) -> Option<Ended> {
        let Known::Windowed(windowed) = &mut self.known else { return None };
        let (id, was_met) = windowed.meet(id, now_ms);
        // A sender that tries again sends an id twice.
        if id.sent_ms.is_some() {
            return None;
        }
        id.sent_ms = Some(sent_ms.min(now_ms));
        let ended = id.ended;
        self.counts.sent += 1;
        windowed.waiting += u64::from(ended.is_none());
        if !was_met {
            windowed.forget(now_ms, &mut self.counts);
        }
        ended
    }

    /// Notes that `id` arrived; `part` tells its samples from others of the same record.
    pub fn arrived(&mut self, id: &str, part: &[u8], ended: Ended, now_ms: i64) -> Arrival {
        let Known::Windowed(windowed) = &mut self.known else { return Arrival::Unknown };
        let part = windowed.hasher.hash_one(part);
        let (known, was_met) = windowed.meet(id, now_ms);
        let arrival = match known {
            Id { ended: None, sent_ms: Some(_), .. } => Arrival::First,
            Id { ended: None, sent_ms: None, .. } => Arrival::Early,
            Id { part: first, .. } if *first != part => Arrival::Part,
            Id { .. } => Arrival::Again,
        };
        match arrival {
            Arrival::First | Arrival::Early => {
                (known.ended, known.part) = (Some(ended), part);
                windowed.waiting -= u64::from(arrival == Arrival::First);
            }
            // A part is an id of its own, so that it is known when it comes again.
            Arrival::Part => {
                let (known, _) = windowed.meet(&format!("{id} {part}"), now_ms);
                if known.ended.is_some() {
                    self.counts.duplicated += 1;
                    return Arrival::Again;
                }
                (known.ended, known.sent_ms) = (Some(ended), Some(now_ms));
            }
            _ => self.counts.duplicated += 1,
        }
        if !was_met || arrival == Arrival::Part {
            windowed.forget(now_ms, &mut self.counts);
        }
        arrival
    }

    /// Notes an arrival that carries no id.
    pub fn arrived_nameless(&mut self) {
        self.counts.unknown += 1;
    }

    /// Forgets ids whose window has passed.
    pub fn pass(&mut self, now_ms: i64) {
        if let Known::Windowed(windowed) = &mut self.known {
            windowed.forget(now_ms, &mut self.counts);
        }
    }

    /// Records of which it is known that they were sent.
    pub fn sent_so_far(&self) -> u64 {
        self.counts.sent
    }

    /// Records that were sent and have not arrived, of those that are kept.
    pub fn waiting(&self) -> u64 {
        match &self.known {
            Known::Numbered(seen) => seen.iter().filter(|seen| !**seen).count() as u64,
            Known::Windowed(windowed) => windowed.waiting,
        }
    }

    /// The counts as of now: what was sent `silence_ms` ago or earlier and has not arrived counts as lost, and
    /// what arrived without having been sent as unknown.
    pub fn counts(&self, silence_ms: i64, now_ms: i64) -> Counts {
        let mut counts = self.counts;
        if let Known::Windowed(windowed) = &self.known {
            for id in windowed.ids.values() {
                match (id.sent_ms, &id.ended) {
                    (Some(sent), None) => counts.lost += u64::from(silence_ms <= now_ms - sent),
                    (None, Some(_)) => counts.unknown += 1,
                    _ => {}
                }
            }
        }
        counts
    }
}

impl Windowed {
    fn meet(&mut self, id: &str, now_ms: i64) -> (&mut Id, bool) {
        // 64 bits of a keyed hash stand for the id: that two of half a million meet is as likely as 1 in 10^8.
        let hash = self.hasher.hash_one(id);
        match self.ids.entry(hash) {
            Entry::Occupied(known) => (known.into_mut(), true),
            Entry::Vacant(new) => {
                self.order.push_back((now_ms, hash));
                (new.insert(Id::default()), false)
            }
        }
    }

    fn forget(&mut self, now_ms: i64, counts: &mut Counts) {
        while let Some(&(met_ms, hash)) = self.order.front() {
            let is_old = self.window.age_ms <= now_ms - met_ms;
            if !is_old && self.ids.len() <= self.window.ids {
                return;
            }
            self.order.pop_front();
            match self.ids.remove(&hash) {
                Some(Id { sent_ms: Some(_), ended: None, .. }) => {
                    self.waiting -= 1;
                    *if is_old { &mut counts.lost } else { &mut counts.forgotten } += 1;
                }
                Some(Id { sent_ms: None, ended: Some(_), .. }) => counts.unknown += 1,
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EDGE: Ended = Ended { end: End::Answered(0), late: false };
    const FOG: Ended = Ended { end: End::Answered(1), late: true };

    fn joiner() -> Joiner {
        Joiner::windowed(Window { age_ms: 100, ids: 3 })
    }

    #[test]
    fn a_record_counts_where_it_arrived_first() {
        let mut joiner = joiner();
        assert_eq!(joiner.sent("a", 0, 0), None);
        assert_eq!(joiner.waiting(), 1);
        assert_eq!(joiner.arrived("a", b"", EDGE, 1), Arrival::First);
        assert_eq!(joiner.arrived("a", b"", FOG, 2), Arrival::Again);
        assert_eq!(joiner.waiting(), 0);
        let expected = Counts { sent: 1, duplicated: 1, ..Counts::default() };
        assert_eq!(joiner.counts(0, 3), expected);
    }

    #[test]
    fn an_answer_that_is_read_first_joins_later() {
        let mut joiner = joiner();
        assert_eq!(joiner.arrived("a", b"", FOG, 0), Arrival::Early);
        assert_eq!(joiner.counts(0, 0), Counts { unknown: 1, ..Counts::default() });
        assert_eq!(joiner.sent("a", 0, 1), Some(FOG));
        assert_eq!(joiner.sent("a", 0, 1), None, "a second time");
        assert_eq!((joiner.waiting(), joiner.counts(0, 1).sent), (0, 1));
    }

    #[test]
    fn what_does_not_arrive_is_lost_after_the_silence_and_after_the_window() {
        let mut joiner = joiner();
        joiner.sent("a", 0, 0);
        assert_eq!(joiner.counts(50, 49).lost, 0);
        assert_eq!(joiner.counts(50, 50).lost, 1);
        joiner.pass(99);
        assert_eq!((joiner.waiting(), joiner.arrived("a", b"", EDGE, 99)), (1, Arrival::First));
        joiner.sent("b", 0, 99);
        joiner.pass(199);
        assert_eq!((joiner.waiting(), joiner.counts(1000, 199).lost), (0, 1));
        assert_eq!(joiner.arrived("b", b"", EDGE, 200), Arrival::Early, "too late to be known");
        joiner.pass(300);
        assert_eq!(joiner.counts(1000, 300).unknown, 1);
    }

    #[test]
    fn ids_are_bounded_in_number() {
        let mut joiner = joiner();
        for id in 0..10 {
            joiner.sent(&id.to_string(), 0, 0);
        }
        let Known::Windowed(windowed) = &joiner.known else { panic!() };
        assert_eq!((windowed.ids.len(), windowed.order.len()), (3, 3));
        let counts = joiner.counts(1000, 0);
        assert_eq!((counts.sent, counts.forgotten, counts.lost, joiner.waiting()), (10, 7, 0, 3));
        for id in 0..10 {
            joiner.arrived(&format!("other {id}"), b"", EDGE, 0);
        }
        assert_eq!(joiner.counts(1000, 0).unknown, 10);
    }

    #[test]
    fn parts_of_a_record_are_no_duplicates() {
        let mut joiner = Joiner::windowed(Window { age_ms: 100, ids: 10 });
        joiner.sent("a", 0, 0);
        assert_eq!(joiner.arrived("a", b"[0, 2]", EDGE, 0), Arrival::First);
        assert_eq!(joiner.arrived("a", b"[1]", FOG, 0), Arrival::Part);
        assert_eq!(joiner.arrived("a", b"[1]", FOG, 0), Arrival::Again);
        assert_eq!(joiner.arrived("a", b"[0, 2]", EDGE, 0), Arrival::Again);
        joiner.pass(1000);
        let expected = Counts { sent: 1, duplicated: 2, ..Counts::default() };
        assert_eq!(joiner.counts(0, 1000), expected);
    }

    #[test]
    fn numbers_are_never_forgotten() {
        let mut joiner = Joiner::numbered(2);
        assert_eq!(joiner.arrived_number(1), Arrival::First);
        assert_eq!(joiner.arrived_number(1), Arrival::Again);
        assert_eq!(joiner.arrived_number(2), Arrival::Unknown);
        assert_eq!((joiner.waiting(), joiner.counts(0, 0).duplicated), (1, 1));
    }
}
