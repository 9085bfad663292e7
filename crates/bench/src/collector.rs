//! Reads answers and dead letters and joins them to what the devices have sent.
//!
//! Each record that was sent counts once, where it arrived first: answered by a tier, or dead-lettered. What
//! arrives again is a duplicate, what never arrives is lost ([`Joiner`]).

use std::collections::HashMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use kafka::{KafkaError, Start};
use tokio::time::{Instant, timeout};

use crate::answer;
use crate::arrivals::{Arrivals, Arrived, Place, QUEUE};
use crate::devices::{Join, Sent};
use crate::joiner::{Arrival, Joiner};

/// Latencies are kept from 1 µs to 1 h, to three digits.
const LATENCY_US_MAX: u64 = 3_600_000_000;
/// Pause between two looks at whether too long nothing came.
const TICK: Duration = Duration::from_millis(100);

/// How a record can end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Answered by this tier, counted from 0.
    Answered(usize),
    /// In a dead-letter topic.
    DeadLettered,
}

/// A topic on which records end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outlet {
    /// The topic.
    pub place: Place,
    /// What it means to arrive there.
    pub end: End,
}

/// When to give up on what has not arrived.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Nothing new for this long after the last record was to be sent, and the rest counts as lost.
    pub silence: Duration,
    /// An answer that takes longer than this counts as late.
    pub late: Duration,
    /// How long to look for what comes twice, once everything has come.
    pub settle: Duration,
}

/// Reads every topic on which a record can end.
#[derive(Debug)]
pub struct Collector {
    arrivals: Arrivals,
    /// What it means to arrive at each place.
    ends: Vec<End>,
    keeps: Keeps,
}

/// Whether what became of each record is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Keeps {
    Counts,
    Each,
}

/// What became of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept {
    /// From when it was to be sent to when it arrived, in microseconds.
    pub latency_us: u32,
    /// How it ended, once it has arrived.
    pub end: Option<End>,
    /// Whether the answer is right, where the class is known.
    pub correct: Option<bool>,
}

impl Kept {
    const LOST: Self = Self { latency_us: 0, end: None, correct: None };
}

/// What was collected.
#[derive(Debug)]
pub struct Collected {
    /// Answers of each tier.
    pub tiers: Vec<Answers>,
    /// Records in dead-letter topics.
    pub dead_lettered: u64,
    /// Records that arrived more than once, counting each further arrival.
    pub duplicated: u64,
    /// Answers that took longer than they should.
    pub late: u64,
    /// Answers that overtook one of the same key in the same topic. Known where devices share keys.
    pub disordered: u64,
    /// Answers to nothing that was sent.
    pub unknown: u64,
    /// When the first answer arrived.
    pub first: Option<Instant>,
    /// When the last answer arrived.
    pub last: Option<Instant>,
    /// What became of each record, by its number; empty unless that was asked for.
    pub kept: Vec<Kept>,
    /// The newest record of each key in each topic.
    newest: HashMap<(String, u64), u64>,
}

/// The answers of one tier.
#[derive(Debug)]
pub struct Answers {
    /// Records answered.
    pub answered: u64,
    /// Of them, those with the right label.
    pub correct: u64,
    /// Of them, those that the tier answered because it could not forward (`offramp-degraded`).
    pub degraded: u64,
    /// End-to-end latency from the intended send time, in microseconds.
    pub latency_us: Histogram<u64>,
}

impl Collector {
    /// Starts to read, from the ends of the topics on. They have to exist.
    pub async fn start(outlets: Vec<Outlet>) -> Result<Self, KafkaError> {
        let (places, ends): (Vec<Place>, Vec<End>) =
            outlets.into_iter().map(|outlet| (outlet.place, outlet.end)).unzip();
        let arrivals = Arrivals::open(&places, Start::End).await?;
        Ok(Self { arrivals, ends, keeps: Keeps::Counts })
    }

    /// Keeps what becomes of each record, 12 bytes for each.
    #[must_use]
    pub fn keeping_each(mut self) -> Self {
        self.keeps = Keeps::Each;
        self
    }

    /// Collects until every record has met its fate, or patience ends. `show` is called now and then.
    pub async fn collect(
        mut self,
        sent: &Sent,
        patience: Patience,
        mut show: impl FnMut(&Collected),
    ) -> Collected {
        let mut collected = Collected::new(&self.ends);
        if self.keeps == Keeps::Each {
            collected.kept = vec![Kept::LOST; sent.planned() as usize];
        }
        let mut joiner = Joiner::numbered(sent.planned());
        let mut missing = sent.planned();
        let mut silent_since = Instant::now();
        let mut arrived = Vec::with_capacity(QUEUE);
        let mut in_order = 0..;
        while missing > 0 || silent_since.elapsed() < patience.settle {
            arrived.clear();
            let some = timeout(TICK, self.arrivals.take(&mut arrived)).await;
            show(&collected);
            if some.is_err() {
                let due = sent.intended(sent.planned().saturating_sub(1));
                if silent_since.max(due).elapsed() > patience.silence {
                    break;
                }
                continue;
            }
            for arrival in &arrived {
                let number = match sent.join() {
                    Join::Order => in_order.next(),
                    _ => sent.number_of(&arrival.record),
                };
                match number.map(|number| (number, joiner.arrived_number(number))) {
                    Some((number, Arrival::First)) => {
                        silent_since = arrival.at;
                        missing -= 1;
                        let end = self.ends[arrival.place];
                        collected.note(end, arrival, sent, number, patience.late);
                    }
                    Some((_, Arrival::Again)) => collected.duplicated += 1,
                    _ => collected.unknown += 1,
                }
            }
        }
        collected
    }
}

impl Answers {
    fn new() -> Self {
        Self {
            answered: 0,
            correct: 0,
            degraded: 0,
            latency_us: Histogram::new_with_max(LATENCY_US_MAX, 3).expect("the bounds are legal"),
        }
    }
}

impl Collected {
    fn new(ends: &[End]) -> Self {
        let tiers = ends.iter().filter_map(|end| match end {
            End::Answered(tier) => Some(tier + 1),
            End::DeadLettered => None,
        });
        let tiers = tiers.max().unwrap_or(0);
        Self {
            tiers: (0..tiers).map(|_| Answers::new()).collect(),
            dead_lettered: 0,
            duplicated: 0,
            late: 0,
            disordered: 0,
            unknown: 0,
            first: None,
            last: None,
            kept: Vec::new(),
            newest: HashMap::new(),
        }
    }

    fn note(&mut self, end: End, arrival: &Arrived, sent: &Sent, number: u64, late: Duration) {
        let latency = arrival.at.saturating_duration_since(sent.intended(number));
        let label = sent.label(number).filter(|_| sent.join() != Join::Order);
        // What says no class, as features that count as answered on their way up, is neither right nor wrong.
        let correct = label.and_then(|label| {
            let classes = answer::classes(&arrival.record);
            classes.first().map(|class| *class == usize::from(label))
        });
        if let Some(kept) = self.kept.get_mut(number as usize) {
            let latency_us = u32::try_from(latency.as_micros()).unwrap_or(u32::MAX);
            *kept = Kept { latency_us, end: Some(end), correct };
        }
        let End::Answered(tier) = end else {
            self.dead_lettered += 1;
            return;
        };
        let answers = &mut self.tiers[tier];
        answers.answered += 1;
        answers.correct += u64::from(correct == Some(true));
        answers.degraded += u64::from(arrival.record.header(wire::header::DEGRADED).is_some());
        answers.latency_us.saturating_record(latency.as_micros() as u64);
        self.late += u64::from(late < latency);
        if let Some(key) = sent.key(number) {
            let newest = self.newest.entry((arrival.source.topic.clone(), key)).or_insert(number);
            self.disordered += u64::from(number < *newest);
            *newest = number.max(*newest);
        }
        self.first.get_or_insert(arrival.at);
        self.last = Some(arrival.at);
    }

    /// The answers of all tiers together.
    pub fn all(&self) -> Answers {
        let mut all = Answers::new();
        for tier in &self.tiers {
            all.answered += tier.answered;
            all.correct += tier.correct;
            all.degraded += tier.degraded;
            all.latency_us.add(&tier.latency_us).expect("all histograms have the same bounds");
        }
        all
    }

    /// Records answered by any tier.
    pub fn answered(&self) -> u64 {
        self.tiers.iter().map(|tier| tier.answered).sum()
    }
}
