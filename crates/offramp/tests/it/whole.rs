//! Sending through the whole system and collecting what comes out.

use std::collections::BTreeMap;

use kafka::{Consumer, Producer};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};
use wire::{Record, Source};

use crate::process::DEADLINE;

/// Sends records, many at once; returns when all are confirmed.
pub(crate) async fn send(servers: &str, topic: &str, records: impl IntoIterator<Item = Record>) {
    let producer = Producer::new(servers).unwrap();
    let mut sending = JoinSet::new();
    for record in records {
        let (producer, topic) = (producer.clone(), topic.to_owned());
        sending.spawn(async move { producer.send(&topic, &record).await.unwrap() });
    }
    sending.join_all().await;
}

/// What came out, by id.
#[derive(Debug, Default)]
pub(crate) struct Arrived {
    pub(crate) records: BTreeMap<String, (Source, Record)>,
    pub(crate) duplicated: usize,
}

impl Arrived {
    /// How many distinct records are in `topic`.
    pub(crate) fn count(&self, topic: &str) -> u64 {
        self.records.values().filter(|(source, _)| source.topic == topic).count() as u64
    }
}

/// Reads `topics` until `count` different records have arrived.
pub(crate) async fn collect(servers: &str, topics: &[&str], count: usize) -> Arrived {
    let group = format!("collector-{}", uuid::Uuid::new_v4());
    let consumer = Consumer::subscribe(servers, &group, topics).unwrap();
    let deadline = Instant::now() + DEADLINE;
    let mut arrived = Arrived::default();
    while arrived.records.len() < count {
        let Ok(delivery) = timeout_at(deadline, consumer.recv()).await else {
            panic!("{} of {count} records arrived in {topics:?}", arrived.records.len());
        };
        let delivery = delivery.unwrap();
        let id = delivery.record.id().unwrap_or("none").to_owned();
        if arrived.records.insert(id, (delivery.source, delivery.record)).is_some() {
            arrived.duplicated += 1;
        }
    }
    arrived
}
