//! Administration, as Kafka's tools do it.

use std::collections::BTreeMap;
use std::time::Duration;

use broker::TopicConfig;
use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, NewPartitions, NewTopic, ResourceSpecifier,
    TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{CommitMode, Consumer};
use rdkafka::producer::FutureRecord;
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{Message, Offset, TopicPartitionList};
use tokio::time::{Instant, sleep, timeout};

use crate::clients::{consume, consumer, produce, producer, values};
use crate::{Place, SOON};

type Admin = AdminClient<DefaultClientContext>;

fn admin(place: &Place) -> Admin {
    place.client(&[]).create().unwrap()
}

async fn setting(admin: &Admin, topic: &str, name: &str) -> (String, bool) {
    let resource = ResourceSpecifier::Topic(topic);
    let described = admin.describe_configs([&resource], &AdminOptions::new()).await.unwrap();
    let described = described[0].as_ref().unwrap();
    let entry = described.entries.iter().find(|entry| entry.name == name).unwrap();
    (entry.value.clone().unwrap(), entry.is_default)
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_are_kept_over_restarts_and_can_be_taken_back() {
    let place = Place::new().await;
    let options = AdminOptions::new();
    let topic = NewTopic::new("t", 1, TopicReplication::Fixed(1)).set("retention.ms", "1234");
    assert!(admin(&place).create_topics([&topic], &options).await.unwrap()[0].is_ok());
    assert_eq!(setting(&admin(&place), "t", "retention.ms").await, ("1234".to_owned(), false));

    let place = place.restarted().await;
    let admin = admin(&place);
    assert_eq!(setting(&admin, "t", "retention.ms").await, ("1234".to_owned(), false));
    let change = AlterConfig::new(ResourceSpecifier::Topic("t")).set("segment.bytes", "65536");
    assert!(admin.alter_configs([&change], &options).await.unwrap()[0].is_ok());
    assert_eq!(setting(&admin, "t", "segment.bytes").await, ("65536".to_owned(), false));
    assert_eq!(setting(&admin, "t", "retention.ms").await, ("604800000".to_owned(), true));

    for (name, value) in [("cleanup.policy", "shred"), ("nonsense", "1")] {
        let change = AlterConfig::new(ResourceSpecifier::Topic("t")).set(name, value);
        // This client does not pass on why; but nothing may have changed.
        let _ = admin.alter_configs([&change], &options).await.unwrap();
        assert_eq!(setting(&admin, "t", "segment.bytes").await, ("65536".to_owned(), false));
    }
    let wrong = NewTopic::new("u", 1, TopicReplication::Fixed(1)).set("retention.ms", "soon");
    let refused = admin.create_topics([&wrong], &options).await.unwrap();
    assert_eq!(refused[0].as_ref().unwrap_err().1, RDKafkaErrorCode::InvalidConfig);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_brokers_settings_have_kafkas_names() {
    let place = Place::new().await;
    let resource = ResourceSpecifier::Broker(1);
    let admin = admin(&place);
    let described = admin.describe_configs([&resource], &AdminOptions::new()).await.unwrap();
    let described = described[0].as_ref().unwrap().entry_map();
    let value = |name| described.get(name).and_then(|entry| entry.value.as_deref());
    assert_eq!(value("log.retention.ms"), Some("604800000"));
    assert_eq!(value("retention.ms"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_can_grow_and_not_shrink() {
    let place = Place::new().await;
    let admin = admin(&place);
    place.broker.create_topic("t", 1).await.unwrap();
    produce(&producer(&place, &[]), "t", 0, &values(0..5)).await;
    let grow = |count| NewPartitions::new("t", count);
    assert!(admin.create_partitions([&grow(3)], &AdminOptions::new()).await.unwrap()[0].is_ok());
    for count in [1, 3] {
        let refused = admin.create_partitions([&grow(count)], &AdminOptions::new()).await.unwrap();
        assert_eq!(refused[0].as_ref().unwrap_err().1, RDKafkaErrorCode::InvalidPartitions);
    }
    let place = place.restarted().await;
    produce(&producer(&place, &[]), "t", 2, &values(0..5)).await;
    let records = consume(&consumer(&place, "g", "t", &[]), 10).await;
    assert_eq!(records.iter().filter(|(partition, ..)| *partition == 2).count(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn records_before_an_offset_are_deleted_for_good() {
    let place = Place::new().await;
    produce(&producer(&place, &[]), "t", 0, &values(0..10)).await;
    let delete = async |place: &Place, offset| {
        let mut offsets = TopicPartitionList::new();
        offsets.add_partition_offset("t", 0, offset).unwrap();
        let deleted = admin(place).delete_records(&offsets, &AdminOptions::new()).await.unwrap();
        let deleted = deleted.elements_for_topic("t")[0].offset();
        (deleted, consumer(place, "x", "t", &[]).fetch_watermarks("t", 0, SOON).unwrap())
    };
    assert_eq!(delete(&place, Offset::Offset(4)).await, (Offset::Offset(4), (4, 10)));
    // What was deleted does not come back.
    assert_eq!(delete(&place, Offset::Offset(2)).await, (Offset::Offset(4), (4, 10)));
    let place = place.restarted().await;
    assert_eq!(consume(&consumer(&place, "g", "t", &[]), 6).await[0].1, 4);
    assert_eq!(delete(&place, Offset::End).await, (Offset::Offset(10), (10, 10)));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_been_kept_long_enough_goes_and_the_rest_stays() {
    let place = Place::with(|config| {
        config.cleaning_interval = Duration::from_millis(20);
        config.topic_defaults = TopicConfig {
            segment_bytes: 20_000,
            retention_bytes: Some(50_000),
            ..TopicConfig::default()
        };
    })
    .await;
    let sender = producer(&place, &[("linger.ms", "0")]);
    for n in 0..100 {
        produce(&sender, "t", 0, &[format!("{n} {}", "x".repeat(1990))]).await;
    }
    let reader = consumer(&place, "g", "t", &[]);
    let deadline = Instant::now() + SOON;
    // What is promised and one segment more goes no further.
    while 70_000 <= place.broker.stats().log_bytes {
        assert!(Instant::now() < deadline, "{:?}", place.broker.stats());
        sleep(Duration::from_millis(10)).await;
    }
    let (start, end) = reader.fetch_watermarks("t", 0, SOON).unwrap();
    assert!(60 < start && start <= 75 && end == 100, "{start}..{end}");
    let records = consume(&reader, (end - start) as usize).await;
    assert_eq!((records[0].1, records.last().unwrap().1), (start, 99));
    assert!(records[0].2.as_ref().unwrap().starts_with(&format!("{start} ")));
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_are_listed_described_and_deleted() {
    let place = Place::new().await;
    produce(&producer(&place, &[]), "t", 0, &values(0..5)).await;
    let member = consumer(&place, "g", "t", &[("client.id", "someone")]);
    consume(&member, 5).await;
    member.commit_consumer_state(CommitMode::Sync).unwrap();
    let watcher = consumer(&place, "watcher", "t", &[]);
    let list = || watcher.fetch_group_list(Some("g"), SOON).unwrap();
    let groups = list();
    let group = &groups.groups()[0];
    assert_eq!((group.name(), group.state(), group.protocol_type()), ("g", "Stable", "consumer"));
    assert_eq!(group.members()[0].client_id(), "someone");
    assert!(group.members()[0].assignment().is_some_and(|assignment| !assignment.is_empty()));

    let options = AdminOptions::new();
    let refused = admin(&place).delete_groups(&["g"], &options).await.unwrap();
    assert_eq!(refused[0].as_ref().unwrap_err().1, RDKafkaErrorCode::NonEmptyGroup);
    drop(member);
    let deadline = Instant::now() + SOON;
    while list().groups()[0].state() != "Empty" {
        assert!(Instant::now() < deadline);
        sleep(Duration::from_millis(20)).await;
    }
    assert!(admin(&place).delete_groups(&["g"], &options).await.unwrap()[0].is_ok());
    let gone = admin(&place).delete_groups(&["g"], &options).await.unwrap();
    assert_eq!(gone[0].as_ref().unwrap_err().1, RDKafkaErrorCode::GroupIdNotFound);
    // Its offsets went with it.
    assert_eq!(consume(&consumer(&place, "g", "t", &[]), 5).await[0].1, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_is_counted() {
    let place = Place::new().await;
    produce(&producer(&place, &[]), "t", 0, &values(0..50)).await;
    consume(&consumer(&place, "g", "t", &[]), 50).await;
    let stats = place.broker.stats();
    assert_eq!((stats.topics, stats.partitions, stats.records_in_total), (1, 1, 50));
    assert_eq!(stats.bytes_in_total, stats.log_bytes);
    assert!(stats.log_bytes <= stats.bytes_out_total && 0 < stats.log_bytes);
    assert!(0 < stats.connections_total && 0 < stats.syncs_total && 0 < stats.requests_total);
    assert_eq!((stats.batches_refused_total, stats.syncs_failed_total), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compacted_topic_keeps_the_newest_value_of_each_key_and_refuses_records_without_one() {
    let place = Place::with(|config| config.cleaning_interval = Duration::from_millis(20)).await;
    let topic = NewTopic::new("t", 1, TopicReplication::Fixed(1))
        .set("cleanup.policy", "compact")
        .set("segment.bytes", "16384")
        .set("min.cleanable.dirty.ratio", "0");
    admin(&place).create_topics([&topic], &AdminOptions::new()).await.unwrap()[0].clone().unwrap();
    let sender = producer(&place, &[("compression.type", "lz4"), ("linger.ms", "0")]);
    for n in 0..2000 {
        let (key, value) = (format!("key {}", n % 10), format!("{n} {}", "x".repeat(n % 50)));
        let record = FutureRecord::to("t").key(&key).payload(&value);
        sender.send(record, SOON).await.map_err(|(error, _)| error).unwrap();
    }
    let without = FutureRecord::<(), _>::to("t").payload("x");
    let refused = sender.send(without, SOON).await.unwrap_err().0;
    assert_eq!(refused.rdkafka_error_code(), Some(RDKafkaErrorCode::InvalidRecord));
    let deadline = Instant::now() + SOON;
    while 20_000 < place.broker.stats().log_bytes {
        assert!(Instant::now() < deadline, "{:?}", place.broker.stats());
        sleep(Duration::from_millis(10)).await;
    }
    let reader = consumer(&place, "g", "t", &[]);
    let mut newest = BTreeMap::new();
    while newest.len() < 10 || newest.values().any(|offset| *offset < 1990) {
        let record = timeout(SOON, reader.recv()).await.unwrap().unwrap();
        newest.insert(record.key().unwrap().to_vec(), record.offset());
    }
}
