//! What a client of librdkafka sees.

use std::collections::BTreeSet;
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::consumer::{CommitMode, Consumer, StreamConsumer};
use rdkafka::message::{Header, Headers, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord, Producer};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{Message, Offset, TopicPartitionList};
use tokio::time::timeout;

use crate::{Place, SOON};

pub(crate) fn producer(place: &Place, settings: &[(&str, &str)]) -> FutureProducer {
    place.client(settings).create().unwrap()
}

pub(crate) async fn produce(
    producer: &FutureProducer,
    topic: &str,
    partition: i32,
    values: &[String],
) {
    let sends: Vec<_> = values
        .iter()
        .map(|value| {
            let record = FutureRecord::<(), _>::to(topic).partition(partition).payload(value);
            producer.send_result(record).map_err(|(error, _)| error).unwrap()
        })
        .collect();
    for send in sends {
        send.await.unwrap().unwrap();
    }
}

pub(crate) fn consumer(
    place: &Place,
    group: &str,
    topic: &str,
    settings: &[(&str, &str)],
) -> StreamConsumer {
    let consumer: StreamConsumer = place
        .client(&[
            ("group.id", group),
            ("auto.offset.reset", "earliest"),
            ("enable.auto.commit", "false"),
        ])
        .set("session.timeout.ms", "6000")
        .set("heartbeat.interval.ms", "200")
        .set("check.crcs", "true")
        .create_with(settings);
    consumer.subscribe(&[topic]).unwrap();
    consumer
}

/// Creates a consumer with a few more settings.
trait CreateWith {
    fn create_with(&mut self, settings: &[(&str, &str)]) -> StreamConsumer;
}

impl CreateWith for rdkafka::ClientConfig {
    fn create_with(&mut self, settings: &[(&str, &str)]) -> StreamConsumer {
        for (key, value) in settings {
            self.set(*key, *value);
        }
        self.create().unwrap()
    }
}

pub(crate) async fn consume(
    consumer: &StreamConsumer,
    count: usize,
) -> Vec<(i32, i64, Option<String>)> {
    let mut records = Vec::new();
    while records.len() < count {
        let record = timeout(SOON, consumer.recv()).await.expect("a record in time").unwrap();
        let value = record.payload().map(|value| String::from_utf8(value.to_vec()).unwrap());
        records.push((record.partition(), record.offset(), value));
    }
    records
}

pub(crate) fn values(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|n| format!("value {n} {}", "x".repeat(n % 100))).collect()
}

async fn create_topic(place: &Place, topic: &str, partitions: i32) -> Result<(), RDKafkaErrorCode> {
    let admin: AdminClient<_> = place.client(&[]).create().unwrap();
    let topic = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
    let results = admin.create_topics([&topic], &AdminOptions::new()).await.unwrap();
    results[0].clone().map(drop).map_err(|(_, code)| code)
}

#[tokio::test(flavor = "multi_thread")]
async fn records_come_back_as_they_were_sent_in_every_compression() {
    let place = Place::new().await;
    for compression in ["none", "gzip", "snappy", "lz4"] {
        let producer = producer(
            &place,
            &[
                ("compression.type", compression),
                ("linger.ms", "20"),
                ("enable.idempotence", "true"),
            ],
        );
        produce(&producer, compression, 0, &values(0..500)).await;
        let consumer = consumer(&place, compression, compression, &[]);
        let expected: Vec<_> =
            values(0..500).into_iter().zip(0..).map(|(value, n)| (0, n, Some(value))).collect();
        assert_eq!(consume(&consumer, 500).await, expected, "{compression}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_headers_timestamps_and_tombstones_survive() {
    let place = Place::new().await;
    let producer = producer(&place, &[]);
    let header = Header { key: "trace", value: Some(&b"\x00\xff"[..]) };
    let nothing = Header::<&[u8]> { key: "nothing", value: None };
    let headers = OwnedHeaders::new().insert(header).insert(nothing);
    let record = FutureRecord::<_, ()>::to("t").key("key").headers(headers.clone()).timestamp(1234);
    producer.send(record, SOON).await.map_err(|(error, _)| error).unwrap();
    let consumer = consumer(&place, "g", "t", &[]);
    let record = timeout(SOON, consumer.recv()).await.unwrap().unwrap().detach();
    assert_eq!((record.key(), record.payload()), (Some(&b"key"[..]), None));
    assert_eq!(record.timestamp().to_millis(), Some(1234));
    let received = record.headers().unwrap();
    assert_eq!((received.get(0), received.get(1)), (headers.get(0), headers.get(1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn records_and_committed_offsets_survive_a_restart() {
    let place = Place::new().await;
    create_topic(&place, "t", 2).await.unwrap();
    let sender = producer(&place, &[]);
    produce(&sender, "t", 1, &values(0..100)).await;
    let reader = consumer(&place, "g", "t", &[]);
    consume(&reader, 40).await;
    let mut offsets = TopicPartitionList::new();
    offsets.add_partition_offset("t", 1, Offset::Offset(40)).unwrap();
    reader.commit(&offsets, CommitMode::Sync).unwrap();
    drop((reader, sender));

    let place = place.restarted().await;
    let reader = consumer(&place, "g", "t", &[]);
    let expected: Vec<_> =
        values(40..100).into_iter().zip(40..).map(|(v, n)| (1, n, Some(v))).collect();
    assert_eq!(consume(&reader, 60).await, expected);
    produce(&producer(&place, &[]), "t", 1, &values(100..101)).await;
    assert_eq!(consume(&reader, 1).await[0].1, 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_members_share_and_one_takes_over_without_loss() {
    let place = Place::new().await;
    create_topic(&place, "t", 4).await.unwrap();
    let sender = producer(&place, &[]);
    let first = consumer(&place, "g", "t", &[]);
    let second = consumer(&place, "g", "t", &[]);
    let mut seen = BTreeSet::new();
    // Until both have a share; a consumer joins only while it is polled.
    let has_share = |consumer: &StreamConsumer| {
        consumer.assignment().is_ok_and(|assignment| assignment.count() == 2)
    };
    let deadline = tokio::time::Instant::now() + SOON;
    while !(has_share(&first) && has_share(&second)) {
        assert!(tokio::time::Instant::now() < deadline, "no assignment");
        let pause = Duration::from_millis(20);
        let _ = tokio::join!(timeout(pause, first.recv()), timeout(pause, second.recv()));
    }
    for partition in 0..4 {
        produce(&sender, "t", partition, &values(0..50)).await;
    }
    for consumer in [&first, &second] {
        let records = consume(consumer, 100).await;
        seen.extend(records.iter().map(|(partition, offset, _)| (*partition, *offset)));
        consumer.commit_consumer_state(CommitMode::Sync).unwrap();
    }
    assert_eq!(seen.len(), 200);
    drop(first);
    for partition in 0..4 {
        produce(&sender, "t", partition, &values(50..60)).await;
    }
    // What it reads of its own share before it takes over, and has not committed, it reads again.
    while seen.len() < 240 {
        let records = consume(&second, 1).await;
        seen.extend(records.iter().map(|(partition, offset, _)| (*partition, *offset)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn offsets_are_found_by_time_and_watermarks_by_name() {
    let place = Place::new().await;
    let sender = producer(&place, &[]);
    for n in 0..10 {
        let record = FutureRecord::<(), _>::to("t").payload("x").timestamp(1000 + n * 10);
        sender.send(record, SOON).await.map_err(|(error, _)| error).unwrap();
    }
    let reader: StreamConsumer = place.client(&[("group.id", "g")]).create().unwrap();
    assert_eq!(reader.fetch_watermarks("t", 0, SOON).unwrap(), (0, 10));
    let find = |time| {
        let mut times = TopicPartitionList::new();
        times.add_partition_offset("t", 0, Offset::Offset(time)).unwrap();
        reader.offsets_for_times(times, SOON).unwrap().elements()[0].offset()
    };
    assert_eq!(find(0), Offset::Offset(0));
    assert_eq!(find(1041), Offset::Offset(5));
    assert_eq!(find(5000), Offset::End);
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_are_created_and_deleted_with_their_offsets() {
    let place = Place::new().await;
    create_topic(&place, "t", 3).await.unwrap();
    assert_eq!(create_topic(&place, "t", 3).await, Err(RDKafkaErrorCode::TopicAlreadyExists));
    assert_eq!(create_topic(&place, "../t", 1).await, Err(RDKafkaErrorCode::InvalidTopic));
    assert_eq!(create_topic(&place, "u", 100_000).await, Err(RDKafkaErrorCode::PolicyViolation));
    let sender = producer(&place, &[]);
    produce(&sender, "t", 2, &values(0..10)).await;
    let reader = consumer(&place, "g", "t", &[]);
    consume(&reader, 10).await;
    reader.commit_consumer_state(CommitMode::Sync).unwrap();
    drop(reader);
    let admin: AdminClient<_> = place.client(&[]).create().unwrap();
    let deleted = admin.delete_topics(&["t", "v"], &AdminOptions::new()).await.unwrap();
    assert!(deleted[0].is_ok());
    assert_eq!(deleted[1].as_ref().unwrap_err().1, RDKafkaErrorCode::UnknownTopicOrPartition);

    // A topic of the same name starts anew, also for the group that had read the old one.
    create_topic(&place, "t", 3).await.unwrap();
    produce(&producer(&place, &[]), "t", 2, &values(0..3)).await;
    assert_eq!(consume(&consumer(&place, "g", "t", &[]), 3).await[0].1, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn transactions_are_refused_at_once() {
    let place = Place::new().await;
    let sender = producer(&place, &[("transactional.id", "x")]);
    let error = sender.init_transactions(SOON).unwrap_err();
    let code = error.rdkafka_error_code();
    assert_eq!(code, Some(RDKafkaErrorCode::TransactionalIdAuthorizationFailed), "{error}");
}
