//! Simulated devices: they send records on an open-loop schedule.
//!
//! Record: key = a UUID, or one of a few; headers `X-INFERENCE-TS` (send time in seconds since the epoch, as the
//! paper's devices write it), `offramp-id` and, where it is asked for, `offramp-label`. A record's latency counts from
//! when it was to be sent, so a system that holds its senders back does not look faster for it (no coordinated omission).
//!
//! One thread sends for all devices that have a schedule: it sleeps until a record is due, to some 60 µs where the
//! machine lets it, while the timers of an asynchronous runtime count in milliseconds. How late records are handed to the
//! client is measured ([`Sent::lateness`]). Devices without a schedule are tasks.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use hdrhistogram::Histogram;
use kafka::{Confirmation, Producer};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;
use wire::{Header, Record, header};

use crate::schedule::Schedule;

/// The header with the class of a record's value.
pub const LABEL: &str = "offramp-label";

/// What the devices are to send.
#[derive(Debug, Clone)]
pub struct Load {
    /// Records in all.
    pub records: u64,
    /// When each is to be sent.
    pub schedule: Schedule,
    /// Devices that share the work.
    pub devices: u64,
    /// Keys that the records share, in turn; 0 gives each its own.
    pub keys: u64,
    /// Values, shown in order and again from the first; never empty.
    pub payloads: Arc<Vec<Bytes>>,
    /// The class of each value; empty if they are not known.
    pub labels: Vec<u8>,
    /// By what answers are joined to records.
    pub join: Join,
    /// What is in the headers.
    pub headers: Headers,
}

/// By what an answer is joined to the record that it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Join {
    /// The header `offramp-id`.
    #[default]
    Id,
    /// The key, which then is the id.
    Key,
    /// The order of arrival: the first answer is that to the first record. Right on the whole where nothing is lost or
    /// comes twice, and of single records where they stay in order.
    Order,
}

/// What the headers of a record tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Headers {
    /// The device's time and the id.
    #[default]
    Ids,
    /// These, and the class.
    IdsAndLabels,
}

/// Records of one device that wait for their delivery report, at most, where it has no schedule. With one, what the
/// client takes before it has them wait is the bound.
const UNCONFIRMED: usize = 4096;
/// A thread that is to end notices it within this.
const NOTICE: Duration = Duration::from_millis(50);
/// Lateness is kept from 1 µs to 1 h, to three digits.
const LATENESS_US_MAX: u64 = 3_600_000_000;

/// What was sent, as far as a collector must know.
#[derive(Debug)]
pub struct Sent {
    load: Load,
    start: Instant,
    prefix: String,
    /// Send time of each record in nanoseconds after `start`, plus one; 0 before it is sent. Only without a schedule.
    send_times: Vec<AtomicU64>,
    confirmed: AtomicU64,
    lateness_us: Mutex<Histogram<u64>>,
}

impl Sent {
    /// The number of the record that this one answers, where it says so.
    pub fn number_of(&self, record: &Record) -> Option<u64> {
        let id = match self.load.join {
            Join::Id => record.id(),
            Join::Key => std::str::from_utf8(record.key.as_deref()?).ok(),
            Join::Order => None,
        };
        let number = id?.strip_prefix(&self.prefix)?.parse().ok()?;
        (number < self.load.records).then_some(number)
    }

    /// By what answers are joined.
    pub fn join(&self) -> Join {
        self.load.join
    }

    /// The class of a record's value.
    pub fn label(&self, number: u64) -> Option<u8> {
        let labels = &self.load.labels;
        (!labels.is_empty()).then(|| labels[number as usize % labels.len()])
    }

    /// Which of the shared keys a record has.
    pub fn key(&self, number: u64) -> Option<u64> {
        number.checked_rem(self.load.keys)
    }

    /// When a record was to be sent: on schedule, or, where there is none, when it was.
    pub fn intended(&self, number: u64) -> Instant {
        let after = self.load.schedule.due(number).unwrap_or_else(|| {
            let sent_at = self.send_times[number as usize].load(Ordering::Acquire);
            Duration::from_nanos(sent_at.saturating_sub(1))
        });
        self.start + after
    }

    /// When the first record was to be sent.
    pub fn start(&self) -> Instant {
        self.start
    }

    /// Records that are to be sent.
    pub fn planned(&self) -> u64 {
        self.load.records
    }

    /// Records that the broker has acknowledged.
    pub fn confirmed(&self) -> u64 {
        self.confirmed.load(Ordering::Relaxed)
    }

    /// How late records were handed to the client, in microseconds; empty without a schedule.
    pub fn lateness(&self) -> Histogram<u64> {
        self.lateness_us.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Starts the devices. Record `n` has value `n`. The handle ends when the last record is acknowledged.
pub fn start(producer: Producer, topic: &str, load: Load) -> (Arc<Sent>, JoinHandle<()>) {
    let devices = load.devices;
    let has_schedule = load.schedule.due(0).is_some();
    let sent = Arc::new(Sent {
        start: Instant::now(),
        prefix: format!("{}-", uuid::Uuid::new_v4().simple()),
        send_times: if has_schedule {
            Vec::new()
        } else {
            (0..load.records).map(|_| AtomicU64::new(0)).collect()
        },
        confirmed: AtomicU64::new(0),
        lateness_us: Mutex::new(
            Histogram::new_with_max(LATENESS_US_MAX, 3).expect("the bounds are legal"),
        ),
        load,
    });
    let device = Device { producer, topic: topic.into(), sent: Arc::clone(&sent) };
    let all = tokio::spawn(async move {
        if has_schedule {
            return device.on_schedule().await;
        }
        let mut running: JoinSet<()> =
            (0..devices).map(|first| device.clone().one_by_one(first, devices)).collect();
        while running.join_next().await.is_some() {}
    });
    (sent, all)
}

#[derive(Debug, Clone)]
struct Device {
    producer: Producer,
    topic: Arc<str>,
    sent: Arc<Sent>,
}

impl Device {
    /// Sends every record when it is due, from a thread of its own, whatever became of those before.
    async fn on_schedule(self) {
        let (given, mut taken) = mpsc::unbounded_channel();
        let (device, runtime) = (self.clone(), Handle::current());
        let thread = std::thread::Builder::new().name("devices".to_owned());
        if let Err(error) = thread.spawn(move || device.pace(&runtime, &given)) {
            return tracing::error!("the devices have no thread: {error}");
        }
        let mut unconfirmed = FuturesUnordered::new();
        let mut is_sending = true;
        while is_sending || !unconfirmed.is_empty() {
            tokio::select! {
                sent = taken.recv(), if is_sending => match sent {
                    Some((number, confirmation)) => unconfirmed.push(self.confirmed(number, confirmation)),
                    None => is_sending = false,
                },
                Some(()) = unconfirmed.next(), if !unconfirmed.is_empty() => {}
            }
        }
    }

    fn pace(&self, runtime: &Handle, given: &mpsc::UnboundedSender<(u64, Confirmation)>) {
        for number in 0..self.sent.load.records {
            let due = self.sent.intended(number);
            if !sleep_until(due, || given.is_closed()) {
                return;
            }
            let record = self.record(number);
            let enqueued = async {
                tokio::select! {
                    biased;
                    enqueued = self.producer.enqueue(&self.topic, &record) => Some(enqueued),
                    () = given.closed() => None,
                }
            };
            match runtime.block_on(enqueued) {
                None => return,
                Some(Err(error)) => tracing::error!(number, "a device could not send: {error}"),
                Some(Ok(confirmation)) => drop(given.send((number, confirmation))),
            }
            let late = due.elapsed().as_micros() as u64;
            let mut lateness = self.sent.lateness_us.lock().unwrap_or_else(PoisonError::into_inner);
            lateness.saturating_record(late);
        }
    }

    /// Sends every `step`th record from `first` on, one after the other.
    async fn one_by_one(self, first: u64, step: u64) {
        let mut unconfirmed = FuturesUnordered::new();
        let mut number = first;
        while number < self.sent.load.records {
            tokio::select! {
                biased;
                Some(()) = unconfirmed.next(), if !unconfirmed.is_empty() => {}
                () = std::future::ready(()), if unconfirmed.len() < UNCONFIRMED => {
                    match self.producer.enqueue(&self.topic, &self.record(number)).await {
                        Ok(confirmation) => unconfirmed.push(self.confirmed(number, confirmation)),
                        Err(error) => tracing::error!(number, "a device could not send: {error}"),
                    }
                    number += step;
                }
            }
        }
        while unconfirmed.next().await.is_some() {}
    }

    async fn confirmed(&self, number: u64, confirmation: Confirmation) {
        match confirmation.confirmed().await {
            Ok(_) => drop(self.sent.confirmed.fetch_add(1, Ordering::Relaxed)),
            Err(error) => tracing::error!(number, "a device could not send: {error}"),
        }
    }

    fn record(&self, number: u64) -> Record {
        if let Some(sent_at) = self.sent.send_times.get(number as usize) {
            let nanos = self.sent.start.elapsed().as_nanos() as u64;
            sent_at.store(nanos + 1, Ordering::Release);
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is past 1970");
        let seconds = format!("{}.{:06}", now.as_secs(), now.subsec_micros());
        let id = format!("{}{number}", self.sent.prefix);
        let Load { join, headers, payloads, .. } = &self.sent.load;
        let key = match (join, self.sent.key(number)) {
            (Join::Key, _) => id.clone(),
            (_, Some(key)) => format!("device-{key}"),
            (_, None) => uuid::Uuid::new_v4().to_string(),
        };
        let label = self.sent.label(number).filter(|_| *headers == Headers::IdsAndLabels);
        let time = Header::new(header::INFERENCE_TS, seconds);
        let label = label.map(|label| Header::new(LABEL, label.to_string()));
        Record {
            key: Some(Bytes::from(key)),
            headers: [time, Header::new(header::ID, id)].into_iter().chain(label).collect(),
            timestamp_ms: Some(now.as_millis() as i64),
            value: Some(payloads[number as usize % payloads.len()].clone()),
        }
    }
}

/// Sleeps until a time, unless it is to end before: false then.
#[expect(clippy::disallowed_methods, reason = "a thread that keeps time is what this is for")]
fn sleep_until(due: Instant, is_over: impl Fn() -> bool) -> bool {
    loop {
        if is_over() {
            return false;
        }
        let left = due.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return true;
        }
        std::thread::sleep(left.min(NOTICE));
    }
}
