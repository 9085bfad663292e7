//! Simulated devices: they send images as the paper's do, on an open-loop schedule.
//!
//! Record: key = a UUID; value = `[[[…28], …28 rows]]`, JSON; headers `X-INFERENCE-TS` (send time in seconds
//! since the epoch) and `offramp-id`. A record's latency counts from when it was to be sent, so a system that
//! holds its senders back does not look faster for it (no coordinated omission).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use kafka::Producer;
use model::dataset::Dataset;
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep_until};
use wire::{Header, Record, header};

/// What the devices are to send.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    /// Records in all.
    pub(crate) records: u64,
    /// Records a second, all devices together; 0 as fast as it goes.
    pub(crate) rate: f64,
    /// Devices that share the work.
    pub(crate) devices: u64,
}

/// Records that wait for their delivery report, at most, where no rate holds the devices back.
const UNCONFIRMED: usize = 4096;

/// What was sent, as far as a collector must know.
#[derive(Debug)]
pub(crate) struct Sent {
    plan: Plan,
    start: Instant,
    labels: Vec<u8>,
    prefix: String,
    /// Send time of each record in nanoseconds after `start`, plus one; 0 before it is sent.
    send_times: Vec<AtomicU64>,
}

impl Sent {
    /// The number of a record by its `offramp-id`.
    pub(crate) fn number(&self, id: &str) -> Option<u64> {
        let number = id.strip_prefix(&self.prefix)?.parse().ok()?;
        (number < self.plan.records).then_some(number)
    }

    /// The class of a record's image.
    pub(crate) fn label(&self, number: u64) -> u8 {
        self.labels[number as usize % self.labels.len()]
    }

    /// When a record was to be sent: on schedule, or, where there is none, when it was.
    pub(crate) fn intended(&self, number: u64) -> Instant {
        if self.plan.rate > 0.0 {
            return self.start + schedule(self.plan.rate, number);
        }
        let sent_at = self.send_times[number as usize].load(Ordering::Acquire);
        self.start + Duration::from_nanos(sent_at.saturating_sub(1))
    }

    /// When the first record was to be sent.
    pub(crate) fn start(&self) -> Instant {
        self.start
    }

    /// Records that are to be sent.
    pub(crate) fn planned(&self) -> u64 {
        self.plan.records
    }
}

fn schedule(rate: f64, number: u64) -> Duration {
    Duration::from_secs_f64(number as f64 / rate)
}

/// Starts the devices. Record `n` shows image `n`, again from the first after the last.
pub(crate) fn start(
    producer: Producer,
    topic: &str,
    dataset: &Dataset,
    plan: Plan,
) -> (Arc<Sent>, JoinHandle<()>) {
    let bodies: Arc<Vec<Bytes>> = Arc::new(
        (0..dataset.len().min(plan.records as usize))
            .map(|image| to_json(dataset.sample(image), &dataset.shape))
            .collect(),
    );
    let sent = Arc::new(Sent {
        plan,
        start: Instant::now(),
        labels: dataset.labels.clone(),
        prefix: format!("{}-", uuid::Uuid::new_v4().simple()),
        send_times: match plan.rate {
            rate if rate > 0.0 => Vec::new(),
            _ => (0..plan.records).map(|_| AtomicU64::new(0)).collect(),
        },
    });
    let device = Device {
        producer,
        topic: topic.into(),
        bodies,
        sent: Arc::clone(&sent),
        unconfirmed: Arc::new(Semaphore::new(UNCONFIRMED)),
    };
    let all = tokio::spawn(async move {
        let mut devices: JoinSet<()> =
            (0..plan.devices).map(|first| device.clone().run(first, plan.devices)).collect();
        while devices.join_next().await.is_some() {}
    });
    (sent, all)
}

#[derive(Debug, Clone)]
struct Device {
    producer: Producer,
    topic: Arc<str>,
    bodies: Arc<Vec<Bytes>>,
    sent: Arc<Sent>,
    unconfirmed: Arc<Semaphore>,
}

impl Device {
    /// Sends every `step`th record from `first` on, each on time whatever became of the one before.
    async fn run(self, first: u64, step: u64) {
        let mut sending = JoinSet::new();
        let mut number = first;
        while number < self.sent.plan.records {
            if self.sent.plan.rate > 0.0 {
                sleep_until(self.sent.intended(number)).await;
            }
            let permit = Arc::clone(&self.unconfirmed).acquire_owned().await.expect("never closed");
            let device = self.clone();
            sending.spawn(async move {
                device.send(number).await;
                drop(permit);
            });
            while sending.try_join_next().is_some() {}
            number += step;
        }
        while sending.join_next().await.is_some() {}
    }

    async fn send(&self, number: u64) {
        let record = self.record(number);
        if let Some(sent_at) = self.sent.send_times.get(number as usize) {
            let nanos = self.sent.start.elapsed().as_nanos() as u64;
            sent_at.store(nanos + 1, Ordering::Release);
        }
        if let Err(error) = self.producer.send(&self.topic, &record).await {
            tracing::error!(number, "a device could not send: {error}");
        }
    }

    fn record(&self, number: u64) -> Record {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is past 1970");
        let seconds = format!("{}.{:06}", now.as_secs(), now.subsec_micros());
        Record {
            key: Some(Bytes::from(uuid::Uuid::new_v4().to_string())),
            headers: vec![
                Header::new(header::INFERENCE_TS, seconds),
                Header::new(header::ID, format!("{}{number}", self.sent.prefix)),
            ],
            timestamp_ms: Some(now.as_millis() as i64),
            value: Some(self.bodies[number as usize % self.bodies.len()].clone()),
        }
    }
}

/// An image as the paper's devices write it: nested lists, a batch dimension of one first.
pub(crate) fn to_json(sample: &[u8], shape: &[usize]) -> Bytes {
    fn level(out: &mut String, sample: &[u8], shape: &[usize]) {
        use std::fmt::Write as _;
        let Some((&length, inner)) = shape.split_first() else {
            write!(out, "{}", sample[0]).expect("writing to memory does not fail");
            return;
        };
        out.push('[');
        for at in 0..length {
            if at > 0 {
                out.push_str(", ");
            }
            let size = sample.len() / length;
            level(out, &sample[at * size..(at + 1) * size], inner);
        }
        out.push(']');
    }
    let mut out = String::with_capacity(sample.len() * 4);
    out.push('[');
    level(&mut out, sample, shape);
    out.push(']');
    Bytes::from(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_written_as_the_papers_devices_write_it() {
        assert_eq!(to_json(&[0, 255, 7, 12], &[2, 2]), "[[[0, 255], [7, 12]]]");
    }

    #[test]
    fn the_schedule_is_even() {
        assert_eq!(schedule(100.0, 0), Duration::ZERO);
        assert_eq!(schedule(100.0, 250), Duration::from_millis(2500));
    }
}
