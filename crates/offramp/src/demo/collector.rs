//! Reads answers and dead letters and joins them to what was sent, by id.

use std::collections::BTreeMap;
use std::time::Duration;

use function::tier::Brokers;
use hdrhistogram::Histogram;
use kafka::{Consumer, Delivery, KafkaError};
use pipeline::{Pipeline, Topic};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use wire::Tensor;

use crate::demo::SILENCE;
use crate::demo::devices::Sent;
use crate::demo::progress::Progress;

/// Deliveries between the consumers and the collector.
const QUEUE: usize = 1024;
/// Latencies are kept from 1 µs to 1 h, to three digits.
const LATENCY_US_MAX: u64 = 3_600_000_000;

/// Reads every topic on which a record can end.
#[derive(Debug)]
pub(crate) struct Collector {
    arrivals: mpsc::Receiver<(Delivery, Instant)>,
    assigned: Vec<watch::Receiver<bool>>,
    /// Read until the collector goes.
    _readers: JoinSet<()>,
    /// Position of the tier, by output topic.
    outputs: BTreeMap<String, usize>,
    tiers: usize,
}

/// What was collected.
#[derive(Debug)]
pub(crate) struct Collected {
    /// Answers of each tier.
    pub(crate) tiers: Vec<Answers>,
    /// Records in dead-letter topics.
    pub(crate) dead_lettered: u64,
    /// Records that arrived more than once, counting each further arrival.
    pub(crate) duplicated: u64,
    /// Answers to nothing that was sent.
    pub(crate) unknown: u64,
    /// When the first answer arrived.
    pub(crate) first: Option<Instant>,
    /// When the last answer arrived.
    pub(crate) last: Option<Instant>,
}

/// The answers of one tier.
#[derive(Debug)]
pub(crate) struct Answers {
    /// Records answered.
    pub(crate) answered: u64,
    /// Of them, those with the right label.
    pub(crate) correct: u64,
    /// End-to-end latency from the intended send time, in microseconds.
    pub(crate) latency_us: Histogram<u64>,
}

impl Collector {
    /// Starts to read the output and dead-letter topics of all tiers.
    pub(crate) fn start(pipeline: &Pipeline, brokers: &Brokers) -> Result<Self, KafkaError> {
        let mut by_broker: BTreeMap<&str, Vec<&Topic>> = BTreeMap::new();
        let mut outputs = BTreeMap::new();
        for (at, tier) in pipeline.tiers.iter().enumerate() {
            outputs.insert(tier.output.name.clone(), at);
            for topic in [&tier.output, &tier.dead_letter] {
                by_broker.entry(brokers.servers(&topic.servers)).or_default().push(topic);
            }
        }
        // A group of its own: it reads everything, whoever else reads too.
        let group = format!("offramp-demo-{}", uuid::Uuid::new_v4().simple());
        let (sender, arrivals) = mpsc::channel(QUEUE);
        let mut readers = JoinSet::new();
        let mut assigned = Vec::new();
        for (servers, topics) in by_broker {
            let names: Vec<&str> = topics.iter().map(|topic| topic.name.as_str()).collect();
            let consumer = Consumer::subscribe(servers, &group, &names)?;
            assigned.push(consumer.assigned());
            readers.spawn(read(consumer, sender.clone()));
        }
        let tiers = pipeline.tiers.len();
        Ok(Self { arrivals, assigned, _readers: readers, outputs, tiers })
    }

    /// Waits until it reads.
    pub(crate) async fn ready(&self) {
        for assigned in &self.assigned {
            let _ = assigned.clone().wait_for(|assigned| *assigned).await;
        }
    }

    /// Collects until every record has met its fate, or nothing new came for [`SILENCE`].
    pub(crate) async fn collect(mut self, sent: &Sent, progress: &mut Progress) -> Collected {
        let mut collected = Collected::new(self.tiers);
        let mut seen = vec![false; sent.planned() as usize];
        let mut missing = sent.planned();
        let mut silent_since = Instant::now();
        while missing > 0 {
            let arrival = timeout(Duration::from_millis(100), self.arrivals.recv()).await;
            progress.show(&collected, sent);
            let Ok(Some((delivery, at))) = arrival else {
                let due = sent.intended(sent.planned().saturating_sub(1));
                if silent_since.max(due).elapsed() > SILENCE {
                    break;
                }
                continue;
            };
            let number = delivery.record.id().and_then(|id| sent.number(id));
            let Some(number) = number else {
                collected.unknown += 1;
                continue;
            };
            if std::mem::replace(&mut seen[number as usize], true) {
                collected.duplicated += 1;
                continue;
            }
            silent_since = at;
            missing -= 1;
            match self.outputs.get(&delivery.source.topic) {
                Some(&tier) => collected.answer(tier, &delivery, at, sent, number),
                None => collected.dead_lettered += 1,
            }
        }
        collected
    }
}

async fn read(consumer: Consumer, arrivals: mpsc::Sender<(Delivery, Instant)>) {
    loop {
        match consumer.recv().await {
            Ok(delivery) => {
                if arrivals.send((delivery, Instant::now())).await.is_err() {
                    return;
                }
            }
            Err(error) => return tracing::error!("the collector can't read on: {error}"),
        }
    }
}

impl Collected {
    fn new(tiers: usize) -> Self {
        let answers = || Answers {
            answered: 0,
            correct: 0,
            latency_us: Histogram::new_with_max(LATENCY_US_MAX, 3).expect("the bounds are legal"),
        };
        Self {
            tiers: (0..tiers).map(|_| answers()).collect(),
            dead_lettered: 0,
            duplicated: 0,
            unknown: 0,
            first: None,
            last: None,
        }
    }

    fn answer(&mut self, tier: usize, delivery: &Delivery, at: Instant, sent: &Sent, number: u64) {
        let answers = &mut self.tiers[tier];
        answers.answered += 1;
        if predicted(delivery) == Some(usize::from(sent.label(number))) {
            answers.correct += 1;
        }
        let latency = at.saturating_duration_since(sent.intended(number));
        answers.latency_us.saturating_record(latency.as_micros() as u64);
        self.first.get_or_insert(at);
        self.last = Some(at);
    }

    /// Records answered by any tier.
    pub(crate) fn answered(&self) -> u64 {
        self.tiers.iter().map(|tier| tier.answered).sum()
    }
}

/// The class with the largest probability.
fn predicted(delivery: &Delivery) -> Option<usize> {
    let row = Tensor::from_json(delivery.record.value.as_deref()?).ok()?.data;
    let best = row.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1))?;
    Some(best.0)
}
