//! The same through librdkafka: what its users see of either broker.

use std::collections::BTreeSet;

use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::consumer::{CommitMode, Consumer, StreamConsumer};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{Message, Offset, TopicPartitionList};
use tokio::time::{Duration, timeout};

use super::batch::now_ms;
use super::{Peer, eventually, unique};
use crate::SOON;

const RECORDS: i64 = 40;

async fn send(producer: &FutureProducer, topic: &str, partition: i32, stamps: &[i64]) {
    for stamp in stamps {
        let value = stamp.to_string();
        let record = FutureRecord::<(), _>::to(topic).partition(partition).payload(&value);
        let sent = producer.send(record.timestamp(*stamp), SOON).await;
        sent.map_err(|(error, _)| error).unwrap();
    }
}

fn consumer(peer: &Peer, group: &str, strategy: &str) -> StreamConsumer {
    let settings = [
        ("group.id", group),
        ("partition.assignment.strategy", strategy),
        ("auto.offset.reset", "earliest"),
        ("enable.auto.commit", "false"),
        ("heartbeat.interval.ms", "100"),
    ];
    peer.client(&settings).create().unwrap()
}

/// A record by who has read it, its partition and its offset.
type Reading = (usize, i32, i64);

/// Polls both until each has so many partitions: a consumer joins only while it is polled.
async fn share(consumers: [&StreamConsumer; 2], counts: [usize; 2]) -> BTreeSet<Reading> {
    let mut read = BTreeSet::new();
    eventually("shares", async || {
        for (nth, consumer) in consumers.iter().enumerate() {
            while let Ok(record) = timeout(Duration::from_millis(10), consumer.recv()).await {
                let record = record.unwrap();
                read.insert((nth, record.partition(), record.offset()));
            }
        }
        let has = consumers.map(|consumer| consumer.assignment().unwrap().count());
        (has == counts).then_some(())
    })
    .await;
    read
}

#[tokio::test(flavor = "multi_thread")]
async fn consumers_share_and_take_over_with_either_kind_of_rebalance() {
    let peer = Peer::new().await;
    for strategy in ["range", "cooperative-sticky"] {
        let topic = peer.connect().await.topic(4, &[]).await;
        let group = unique("group");
        let (first, second) =
            (consumer(&peer, &group, strategy), consumer(&peer, &group, strategy));
        first.subscribe(&[&topic]).unwrap();
        share([&first, &second], [4, 0]).await;
        second.subscribe(&[&topic]).unwrap();
        share([&first, &second], [2, 2]).await;
        let producer: FutureProducer = peer.client(&[("linger.ms", "0")]).create().unwrap();
        for partition in 0..4 {
            send(&producer, &topic, partition, &[now_ms()]).await;
        }
        let mut read = BTreeSet::new();
        eventually("one record of each partition", async || {
            read.extend(share([&first, &second], [2, 2]).await);
            (read.len() == 4).then_some(())
        })
        .await;
        let of = |nth| read.iter().filter(|(reader, ..)| *reader == nth).count();
        assert_eq!((of(0), of(1)), (2, 2), "{strategy}");
        second.commit_consumer_state(CommitMode::Sync).unwrap();
        second.unsubscribe();
        share([&first, &second], [4, 0]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idempotent_producer_writes_each_record_once_and_in_order() {
    let peer = Peer::new().await;
    let topic = peer.connect().await.topic(1, &[]).await;
    let settings = [("enable.idempotence", "true"), ("compression.type", "lz4")];
    let producer: FutureProducer = peer.client(&settings).create().unwrap();
    let base = now_ms() - RECORDS;
    let stamps: Vec<_> = (base..base + RECORDS).collect();
    send(&producer, &topic, 0, &stamps).await;
    let reader = consumer(&peer, &unique("group"), "range");
    reader.subscribe(&[&topic]).unwrap();
    for (stamp, offset) in stamps.iter().zip(0..) {
        let record = timeout(SOON, reader.recv()).await.unwrap().unwrap();
        assert_eq!(record.offset(), offset);
        assert_eq!(record.payload(), Some(stamp.to_string().as_bytes()));
        assert_eq!(record.timestamp().to_millis(), Some(*stamp));
    }
    assert_eq!(reader.fetch_watermarks(&topic, 0, SOON).unwrap(), (0, RECORDS));
}

#[tokio::test(flavor = "multi_thread")]
async fn records_are_found_by_time_and_deleted_by_offset() {
    let peer = Peer::new().await;
    let topic = peer.connect().await.topic(1, &[]).await;
    let producer: FutureProducer = peer.client(&[("linger.ms", "0")]).create().unwrap();
    let base = now_ms() - 1000;
    send(&producer, &topic, 0, &[base, base + 10, base + 20]).await;
    let reader = consumer(&peer, &unique("group"), "range");
    for (time, expected) in
        [(base, Offset::Offset(0)), (base + 11, Offset::Offset(2)), (base + 21, Offset::End)]
    {
        let mut times = TopicPartitionList::new();
        times.add_partition_offset(&topic, 0, Offset::Offset(time)).unwrap();
        let found = reader.offsets_for_times(times, SOON).unwrap();
        assert_eq!(found.elements()[0].offset(), expected);
    }
    let admin: AdminClient<_> = peer.client(&[]).create().unwrap();
    let beyond = Err(RDKafkaErrorCode::OffsetOutOfRange);
    for (before, expected) in [(2, Ok(Offset::Offset(2))), (9, beyond)] {
        let mut offsets = TopicPartitionList::new();
        offsets.add_partition_offset(&topic, 0, Offset::Offset(before)).unwrap();
        let deleted = admin.delete_records(&offsets, &AdminOptions::new()).await.unwrap();
        let deleted = &deleted.elements_for_topic(&topic)[0];
        let outcome = deleted.error().map(|()| deleted.offset());
        assert_eq!(outcome.map_err(|error| error.rdkafka_error_code().unwrap()), expected);
        assert_eq!(reader.fetch_watermarks(&topic, 0, SOON).unwrap(), (2, 3));
    }
}
