//! Consumers that share a topic, with each other and with librdkafka's.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kafka::{Consumer, Producer, admin};
use rdkafka::ClientConfig;
use rdkafka::consumer::{Consumer as _, StreamConsumer};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::{Place, record};

const PARTITIONS: u32 = 4;

/// Who got which partitions' records lately, and which values were got at all.
#[derive(Debug, Default)]
struct Seen {
    partitions: BTreeMap<&'static str, BTreeSet<i32>>,
    values: BTreeMap<String, usize>,
}

#[derive(Clone)]
struct Stage {
    servers: String,
    seen: Arc<Mutex<Seen>>,
}

impl Stage {
    async fn send(&self, round: usize) {
        let producer = Producer::new(&self.servers).unwrap();
        for number in 0..40 {
            let (key, value) = (format!("k{number}"), format!("{round}/{number}"));
            producer.send("t", &record(Some(&key), value)).await.unwrap();
        }
    }

    /// Sends until records of these many partitions come to each.
    async fn shares(&self, expected: &[(&'static str, usize)], rounds: &mut usize) {
        let settled = async {
            loop {
                self.seen.lock().unwrap().partitions.clear();
                self.send(*rounds).await;
                *rounds += 1;
                sleep(Duration::from_millis(300)).await;
                let seen = self.seen.lock().unwrap();
                let shares: Vec<_> =
                    seen.partitions.iter().map(|(who, share)| (*who, share.len())).collect();
                if shares == expected {
                    return;
                }
            }
        };
        let settled = timeout(Duration::from_secs(60), settled).await;
        settled.unwrap_or_else(|_| panic!("expected {expected:?}: {:?}", self.seen));
    }

    fn got(&self, who: &'static str, partition: i32, value: &[u8]) {
        let mut seen = self.seen.lock().unwrap();
        seen.partitions.entry(who).or_default().insert(partition);
        let value = String::from_utf8(value.to_vec()).unwrap();
        *seen.values.entry(value).or_default() += 1;
    }

    fn consume(&self, who: &'static str) -> (JoinHandle<()>, tokio::sync::oneshot::Sender<()>) {
        let stage = self.clone();
        let (stop, mut stopped) = tokio::sync::oneshot::channel();
        let task = tokio::spawn(async move {
            let consumer = Consumer::subscribe(&stage.servers, "group", &["t"]).unwrap();
            loop {
                tokio::select! {
                    deliveries = consumer.recv_many(16) => for delivery in deliveries.unwrap() {
                        let value = delivery.record.value.as_ref().unwrap();
                        stage.got(who, delivery.source.partition, value);
                        consumer.done([delivery.ticket]);
                    },
                    _ = &mut stopped => break,
                }
            }
            consumer.close().await;
        });
        (task, stop)
    }

    /// A member of librdkafka's.
    fn consume_with_librdkafka(&self, who: &'static str) -> JoinHandle<()> {
        let stage = self.clone();
        let consumer: StreamConsumer = ClientConfig::new()
            .set("bootstrap.servers", &self.servers)
            .set("group.id", "group")
            .set("auto.offset.reset", "earliest")
            .set("partition.assignment.strategy", "cooperative-sticky")
            .create()
            .unwrap();
        consumer.subscribe(&["t"]).unwrap();
        // Never dropped: it would wait for its group's coordinator, which may be gone by then.
        let consumer = std::mem::ManuallyDrop::new(consumer);
        tokio::spawn(async move {
            use rdkafka::Message as _;
            loop {
                if let Ok(message) = consumer.recv().await {
                    stage.got(who, message.partition(), message.payload().unwrap());
                }
            }
        })
    }
}

async fn stage() -> (Place, Stage) {
    let place = Place::start().await;
    admin::create_topic(place.servers(), "t", Some(PARTITIONS), &[]).await.unwrap();
    let stage = Stage { servers: place.servers().to_owned(), seen: Arc::default() };
    (place, stage)
}

impl Stage {
    fn assert_all_came(&self, rounds: usize) {
        let seen = self.seen.lock().unwrap();
        for round in 0..rounds {
            for number in 0..40 {
                assert!(seen.values.contains_key(&format!("{round}/{number}")), "{round}/{number}");
            }
        }
    }
}

#[tokio::test]
async fn members_share_partitions_and_what_one_leaves_the_other_goes_on_with() {
    let (_place, stage) = stage().await;
    let mut rounds = 0;
    let (a, stop_a) = stage.consume("a");
    stage.shares(&[("a", 4)], &mut rounds).await;
    let (b, stop_b) = stage.consume("b");
    stage.shares(&[("a", 2), ("b", 2)], &mut rounds).await;
    stop_a.send(()).unwrap();
    a.await.unwrap();
    stage.shares(&[("b", 4)], &mut rounds).await;
    stop_b.send(()).unwrap();
    b.await.unwrap();
    stage.assert_all_came(rounds);
    // All that was done is committed: another finds nothing left.
    let progress = admin::progress(&stage.servers, "group").await.unwrap();
    assert_eq!(progress.len(), PARTITIONS as usize);
    assert!(progress.iter().all(|progress| progress.lag() == 0), "{progress:?}");
    let groups = admin::groups(&stage.servers).await.unwrap();
    assert_eq!(groups.len(), 1);
    assert_eq!((groups[0].name.as_str(), groups[0].members), ("group", 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_member_of_librdkafka_shares_with_ours_whoever_leads() {
    for ours_first in [true, false] {
        let (_place, stage) = stage().await;
        let mut rounds = 0;
        let (first, second) = if ours_first { ("ours", "theirs") } else { ("theirs", "ours") };
        let mut tasks = Vec::new();
        let mut stops = Vec::new();
        for who in [first, second] {
            if who == "ours" {
                let (task, stop) = stage.consume(who);
                tasks.push(task);
                stops.push(stop);
            } else {
                tasks.push(stage.consume_with_librdkafka(who));
            }
            if who == first {
                stage.shares(&[(first, 4)], &mut rounds).await;
            }
        }
        stage.shares(&[("ours", 2), ("theirs", 2)], &mut rounds).await;
        stage.assert_all_came(rounds);
        drop(stops);
        tasks.iter().for_each(JoinHandle::abort);
    }
}

#[tokio::test]
async fn a_topic_that_comes_later_is_waited_for() {
    let place = Place::start().await;
    let servers = place.servers().to_owned();
    let consumer = Consumer::subscribe(&servers, "group", &["later"]).unwrap();
    let waiting = tokio::spawn(async move {
        let delivery = consumer.recv().await.unwrap();
        consumer.done([delivery.ticket]);
        consumer.close().await;
        delivery.record
    });
    sleep(Duration::from_millis(500)).await;
    let sent = record(None, "at last");
    Producer::new(&servers).unwrap().send("later", &sent).await.unwrap();
    let received = timeout(Duration::from_secs(30), waiting).await.unwrap().unwrap();
    assert_eq!(received, sent);
}

#[tokio::test]
async fn an_offset_that_is_gone_is_gone_on_from_at_the_first_that_is_there() {
    let (_place, stage) = stage().await;
    let servers = &stage.servers;
    let producer = Producer::new(servers).unwrap();
    let consume = async || {
        let consumer = Consumer::subscribe(servers, "group", &["t"]).unwrap();
        let delivery = consumer.recv().await.unwrap();
        let value = delivery.record.value.clone().unwrap();
        consumer.done([delivery.ticket]);
        consumer.close().await;
        value
    };
    for number in 0..10 {
        producer.send("t", &record(Some("k"), number.to_string())).await.unwrap();
    }
    assert_eq!(consume().await, "0");
    let extents = admin::extents(servers, "t").await.unwrap();
    let partition = extents.iter().find(|extent| extent.end == 10).unwrap().partition;
    admin::delete_records(servers, "t", &[(partition, 5)]).await.unwrap();
    assert_eq!(consume().await, "5");
}
