//! Simulated devices: they send records on an open-loop schedule.
//!
//! Record: key = a UUID, or one of a few; headers `X-INFERENCE-TS` (send time in seconds since the epoch, as the
//! paper's devices write it) and `offramp-id`. A record's latency counts from when it was to be sent, so a system
//! that holds its senders back does not look faster for it (no coordinated omission).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use kafka::Producer;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep_until};
use wire::{Header, Record, header};

/// What the devices are to send.
#[derive(Debug, Clone)]
pub struct Load {
    /// Records in all.
    pub records: u64,
    /// Records a second, all devices together; 0 as fast as it goes.
    pub rate: f64,
    /// Devices that share the work.
    pub devices: u64,
    /// Keys that the records share, in turn; 0 gives each its own.
    pub keys: u64,
    /// Values, shown in order and again from the first; never empty.
    pub payloads: Arc<Vec<Bytes>>,
    /// The class of each value; empty if they are not known.
    pub labels: Vec<u8>,
}

/// Records of one device that wait for their delivery report, at most.
const UNCONFIRMED: usize = 4096;

/// What was sent, as far as a collector must know.
#[derive(Debug)]
pub struct Sent {
    load: Load,
    start: Instant,
    prefix: String,
    /// Send time of each record in nanoseconds after `start`, plus one; 0 before it is sent.
    send_times: Vec<AtomicU64>,
    confirmed: AtomicU64,
}

impl Sent {
    /// The number of a record by its `offramp-id`.
    pub fn number(&self, id: &str) -> Option<u64> {
        let number = id.strip_prefix(&self.prefix)?.parse().ok()?;
        (number < self.load.records).then_some(number)
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
        if self.load.rate > 0.0 {
            return self.start + schedule(self.load.rate, number);
        }
        let sent_at = self.send_times[number as usize].load(Ordering::Acquire);
        self.start + Duration::from_nanos(sent_at.saturating_sub(1))
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
}

fn schedule(rate: f64, number: u64) -> Duration {
    Duration::from_secs_f64(number as f64 / rate)
}

/// Starts the devices. Record `n` has value `n`. The handle ends when the last record is acknowledged.
pub fn start(producer: Producer, topic: &str, load: Load) -> (Arc<Sent>, JoinHandle<()>) {
    let devices = load.devices;
    let sent = Arc::new(Sent {
        start: Instant::now(),
        prefix: format!("{}-", uuid::Uuid::new_v4().simple()),
        send_times: match load.rate {
            rate if rate > 0.0 => Vec::new(),
            _ => (0..load.records).map(|_| AtomicU64::new(0)).collect(),
        },
        confirmed: AtomicU64::new(0),
        load,
    });
    let device = Device { producer, topic: topic.into(), sent: Arc::clone(&sent) };
    let all = tokio::spawn(async move {
        let mut running: JoinSet<()> =
            (0..devices).map(|first| device.clone().run(first, devices)).collect();
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
    /// Sends every `step`th record from `first` on, each on time whatever became of the one before.
    async fn run(self, first: u64, step: u64) {
        let mut unconfirmed = FuturesUnordered::new();
        let mut number = first;
        let due = async |number| {
            // Timers count in milliseconds: where there is no schedule, there is no timer either.
            if self.sent.load.rate > 0.0 {
                sleep_until(self.sent.intended(number)).await;
            }
        };
        while number < self.sent.load.records {
            tokio::select! {
                biased;
                Some(()) = unconfirmed.next(), if !unconfirmed.is_empty() => {}
                () = due(number), if unconfirmed.len() < UNCONFIRMED => {
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

    async fn confirmed(&self, number: u64, confirmation: kafka::Confirmation) {
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
        let key = match self.sent.key(number) {
            Some(key) => format!("device-{key}"),
            None => uuid::Uuid::new_v4().to_string(),
        };
        let payloads = &self.sent.load.payloads;
        Record {
            key: Some(Bytes::from(key)),
            headers: vec![
                Header::new(header::INFERENCE_TS, seconds),
                Header::new(header::ID, format!("{}{number}", self.sent.prefix)),
            ],
            timestamp_ms: Some(now.as_millis() as i64),
            value: Some(payloads[number as usize % payloads.len()].clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schedule_is_even() {
        assert_eq!(schedule(100.0, 0), Duration::ZERO);
        assert_eq!(schedule(100.0, 250), Duration::from_millis(2500));
    }
}
