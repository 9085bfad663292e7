//! The client matrix, for rdkafka: what a client of librdkafka does to any broker, ours or Kafka.
//!
//! Prints a line per check, which `cargo xtask clients` reads: `ok NAME`, `FAIL NAME: why`, `- NAME: why not`.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, NewPartitions, NewTopic, ResourceSpecifier,
    TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{
    BaseConsumer, CommitMode, Consumer, ConsumerContext, Rebalance, StreamConsumer,
};
use rdkafka::message::{Header, Headers, OwnedHeaders, OwnedMessage};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::topic_partition_list::TopicPartitionListElem;
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{ClientConfig, ClientContext, Message, Offset, TopicPartitionList};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use crate::clients::{consume, produce, values};
use crate::{SOON, client_of};

/// Longer than the waits of any one check together when nothing is wrong.
const CHECK: Duration = Duration::from_secs(90);
const PARTITIONS: i32 = 4;
const BULK_RECORDS: usize = 20_000;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a broker at OFFRAMP_BOOTSTRAP: cargo xtask clients"]
async fn rdkafka_does_what_the_matrix_asks() {
    let address = std::env::var("OFFRAMP_BOOTSTRAP").unwrap();
    let target = Arc::new(Target { address });
    let mut failed = 0;
    // The test's name stands at the beginning of the line.
    println!();
    macro_rules! checks {
        ($($name:literal = $check:ident;)*) => {
            $(failed += u32::from(!run($name, $check(Arc::clone(&target))).await);)*
        };
    }
    checks! {
        "produce" = keys_headers_and_timestamps;
        "compression" = compressions;
        "idempotence" = idempotence;
        "bulk" = bulk;
        "resume" = resume;
        "seek" = seek;
        "rebalance" = rebalance;
        "cooperative" = cooperative;
        "static" = static_membership;
        "topics" = topics;
        "configs" = configs;
        "groups" = groups;
        "offsets" = offsets;
    }
    println!("- death: a process that can be killed is librdkafka's in kcat and confluent-kafka");
    assert_eq!(failed, 0, "checks failed");
}

async fn run(name: &str, check: impl Future<Output = ()> + Send + 'static) -> bool {
    // A task of its own, so that a panic in it fails it alone.
    let why = match timeout(CHECK, tokio::spawn(check)).await {
        Ok(Ok(())) => {
            println!("ok {name}");
            return true;
        }
        Ok(Err(error)) => match error.into_panic().downcast::<String>() {
            Ok(why) => why.split_whitespace().collect::<Vec<_>>().join(" "),
            Err(_) => "it panicked".to_owned(),
        },
        Err(_) => format!("no end after {CHECK:?}"),
    };
    println!("FAIL {name}: {why}");
    false
}

/// The broker that is checked, which others use as well.
struct Target {
    address: String,
}

impl Target {
    fn topic(check: &str) -> String {
        format!("rdkafka.{check}")
    }

    fn client(&self, settings: &[(&str, &str)]) -> ClientConfig {
        client_of(&self.address, settings)
    }

    fn producer(&self, settings: &[(&str, &str)]) -> FutureProducer {
        self.client(settings).create().unwrap()
    }

    /// For a member of a group of the topic's name.
    fn membership(&self, topic: &str, settings: &[(&str, &str)]) -> ClientConfig {
        let own = [("group.id", topic), ("auto.offset.reset", "earliest")];
        self.client(&[&own, settings].concat())
    }

    fn member(&self, topic: &str, settings: &[(&str, &str)]) -> StreamConsumer {
        let member: StreamConsumer = self.membership(topic, settings).create().unwrap();
        member.subscribe(&[topic]).unwrap();
        member
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        self.client(&[]).create().unwrap()
    }

    async fn create(&self, topic: &str, partitions: i32) -> Result<(), RDKafkaErrorCode> {
        let admin = self.admin();
        let new = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
        let created = admin.create_topics([&new], &AdminOptions::new()).await.unwrap();
        created[0].clone().map_err(|(_, code)| code)?;
        // Where it is created need not be where it is asked about next.
        until(|| 0 < partitions_of(&admin, topic), "the topic is listed").await;
        Ok(())
    }

    /// Sends values to all partitions in turn; returns them.
    async fn send(&self, topic: &str, range: std::ops::Range<usize>) -> BTreeSet<String> {
        let producer = self.producer(&[]);
        let values = values(range);
        for (partition, values) in (0..PARTITIONS).zip(values.chunks(values.len() / 4)) {
            produce(&producer, topic, partition, values).await;
        }
        values.into_iter().collect()
    }
}

fn partitions_of(admin: &AdminClient<DefaultClientContext>, topic: &str) -> usize {
    let all = admin.inner().fetch_metadata(None, SOON).unwrap();
    all.topics().iter().find(|found| found.name() == topic).map_or(0, |t| t.partitions().len())
}

async fn until(mut condition: impl FnMut() -> bool, what: &str) {
    let deadline = Instant::now() + SOON;
    while !condition() {
        assert!(Instant::now() < deadline, "not within {SOON:?}: {what}");
        sleep(Duration::from_millis(20)).await;
    }
}

fn at(topic: &str, offset: i64) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, 0, Offset::Offset(offset)).unwrap();
    list
}

/// An hour ago: no broker's own time, and nothing that is too old to keep.
fn base_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    (now.as_secs() as i64 - 3600) * 1000
}

async fn keys_headers_and_timestamps(target: Arc<Target>) {
    let topic = Target::topic("produce");
    let (producer, base) = (target.producer(&[]), base_ms());
    for n in 0..100_i64 {
        let (key, value) = (format!("ключ {n}"), vec![0xff; n as usize]);
        let header = Header { key: "trace", value: Some(&b"\x00\xff"[..]) };
        let nothing = Header::<&[u8]> { key: "nothing", value: None };
        let headers = OwnedHeaders::new().insert(header).insert(nothing);
        let record = FutureRecord::to(&topic).key(&key).payload(&value).headers(headers);
        let record = record.timestamp(base + 1000 * n);
        producer.send(record, SOON).await.map_err(|(error, _)| error).unwrap();
    }
    let tombstone = FutureRecord::<_, ()>::to(&topic).key("tombstone");
    producer.send(tombstone, SOON).await.map_err(|(error, _)| error).unwrap();
    let member = target.member(&topic, &[]);
    let next = async || -> OwnedMessage {
        timeout(SOON, member.recv()).await.expect("a record in time").unwrap().detach()
    };
    for n in 0..100_i64 {
        let record = next().await;
        assert_eq!(record.key(), Some(format!("ключ {n}").as_bytes()));
        assert_eq!(record.payload().unwrap_or_default(), vec![0xff; n as usize]);
        assert_eq!(record.timestamp().to_millis(), Some(base + 1000 * n));
        let headers = record.headers().unwrap();
        let header = |index| (headers.get(index).key, headers.get(index).value);
        assert_eq!(header(0), ("trace", Some(&b"\x00\xff"[..])));
        assert_eq!(header(1), ("nothing", None));
    }
    let tombstone = next().await;
    assert_eq!((tombstone.key(), tombstone.payload()), (Some(&b"tombstone"[..]), None));
}

async fn compressions(target: Arc<Target>) {
    // What librdkafka is built with here; zstd is checked through confluent-kafka's.
    for codec in ["gzip", "snappy", "lz4"] {
        let topic = Target::topic(codec);
        target.create(&topic, 1).await.unwrap();
        let producer = target.producer(&[("compression.type", codec), ("linger.ms", "20")]);
        produce(&producer, &topic, 0, &values(0..500)).await;
        let records = consume(&target.member(&topic, &[]), 500).await;
        let found: Vec<_> = records.into_iter().map(|(_, _, value)| value.unwrap()).collect();
        assert_eq!(found, values(0..500), "{codec}");
    }
}

async fn idempotence(target: Arc<Target>) {
    let topic = Target::topic("idempotence");
    target.create(&topic, 1).await.unwrap();
    for start in [0, 300, 600] {
        let producer = target.producer(&[("enable.idempotence", "true")]);
        produce(&producer, &topic, 0, &values(start..start + 300)).await;
    }
    let records = consume(&target.member(&topic, &[]), 900).await;
    let expected: Vec<_> =
        values(0..900).into_iter().zip(0..).map(|(value, n)| (0, n, Some(value))).collect();
    assert_eq!(records, expected);
}

async fn bulk(target: Arc<Target>) {
    let topic = Target::topic("bulk");
    target.create(&topic, PARTITIONS).await.unwrap();
    let padding = "x".repeat(1000);
    let sent: Vec<_> = (0..BULK_RECORDS).map(|n| format!("{n} {padding}")).collect();
    let producer = target.producer(&[]);
    for (partition, values) in (0..PARTITIONS).zip(sent.chunks(BULK_RECORDS / 4)) {
        produce(&producer, &topic, partition, values).await;
    }
    let mut records = consume(&target.member(&topic, &[]), BULK_RECORDS).await;
    // Sorting is stable, so that what came out of order stays so.
    records.sort_by_key(|(partition, ..)| *partition);
    let values: Vec<_> = records.into_iter().map(|(.., value)| value.unwrap()).collect();
    assert!(values == sent, "the values that came are not those sent, or not in order");
}

async fn resume(target: Arc<Target>) {
    let topic = Target::topic("resume");
    target.create(&topic, 1).await.unwrap();
    produce(&target.producer(&[]), &topic, 0, &values(0..100)).await;
    let first = target.member(&topic, &[("enable.auto.commit", "false")]);
    consume(&first, 100).await;
    first.commit(&at(&topic, 60), CommitMode::Sync).unwrap();
    drop(first);
    let second = target.member(&topic, &[]);
    assert_eq!(consume(&second, 40).await[0].1, 60);
    drop(second);
    let third = target.member(&topic, &[]);
    produce(&target.producer(&[]), &topic, 0, &values(100..101)).await;
    assert_eq!(consume(&third, 1).await[0].1, 100, "committed on leaving");
}

async fn seek(target: Arc<Target>) {
    let topic = Target::topic("seek");
    target.create(&topic, 1).await.unwrap();
    let (producer, base) = (target.producer(&[]), base_ms());
    for n in 0..100 {
        let record = FutureRecord::<(), _>::to(&topic).payload("x").timestamp(base + 1000 * n);
        producer.send(record, SOON).await.map_err(|(error, _)| error).unwrap();
    }
    let member = target.member(&topic, &[]);
    consume(&member, 100).await;
    member.seek(&topic, 0, Offset::Offset(40), SOON).unwrap();
    assert_eq!(consume(&member, 60).await[0].1, 40);
    let find = |ms| {
        let found = member.offsets_for_times(at(&topic, ms), SOON).unwrap();
        found.elements()[0].offset()
    };
    assert_eq!(find(base + 69_500), Offset::Offset(70));
    assert_eq!(find(base + 100_000), Offset::End);
    member.seek(&topic, 0, Offset::Offset(70), SOON).unwrap();
    assert_eq!(consume(&member, 30).await[0].1, 70);
    member.seek(&topic, 0, Offset::Beginning, SOON).unwrap();
    assert_eq!(consume(&member, 100).await[0].1, 0);
}

/// What a member has seen, and what rebalances took from it and gave it.
#[derive(Default)]
struct Notes {
    seen: BTreeSet<String>,
    lost: BTreeSet<i32>,
    assignments: usize,
}

#[derive(Clone, Default)]
struct Watched(Arc<Mutex<Notes>>);

impl ClientContext for Watched {}

impl ConsumerContext for Watched {
    fn pre_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        let mut notes = self.0.lock().unwrap();
        match rebalance {
            Rebalance::Assign(_) => notes.assignments += 1,
            Rebalance::Revoke(partitions) => {
                notes
                    .lost
                    .extend(partitions.elements().iter().map(TopicPartitionListElem::partition));
            }
            Rebalance::Error(_) => {}
        }
    }
}

/// A member at work: it is polled until it is dropped, which leaves the group.
struct Working {
    consumer: Arc<StreamConsumer<Watched>>,
    notes: Arc<Mutex<Notes>>,
    polling: JoinHandle<()>,
}

impl Working {
    fn start(target: &Target, topic: &str, settings: &[(&str, &str)]) -> Self {
        let watched = Watched::default();
        let notes = Arc::clone(&watched.0);
        let consumer: StreamConsumer<Watched> =
            target.membership(topic, settings).create_with_context(watched).unwrap();
        consumer.subscribe(&[topic]).unwrap();
        let consumer = Arc::new(consumer);
        let polling = tokio::spawn({
            let (consumer, notes) = (Arc::clone(&consumer), Arc::clone(&notes));
            async move {
                loop {
                    let record = consumer.recv().await.unwrap();
                    let value = String::from_utf8(record.payload().unwrap().to_vec()).unwrap();
                    notes.lock().unwrap().seen.insert(value);
                }
            }
        });
        Self { consumer, notes, polling }
    }

    fn assigned(&self) -> BTreeSet<i32> {
        let assignment = self.consumer.assignment().unwrap();
        assignment.elements().iter().map(TopicPartitionListElem::partition).collect()
    }

    /// Leaves the group; returns what it has seen.
    async fn leave(self) -> BTreeSet<String> {
        self.polling.abort();
        let _ = self.polling.await;
        tokio::task::spawn_blocking(move || drop(self.consumer)).await.unwrap();
        std::mem::take(&mut self.notes.lock().unwrap().seen)
    }

    async fn until_it_has(&self, count: usize) {
        until(|| self.assigned().len() == count, "the member has its partitions").await;
    }

    async fn until_seen(&self, by_others: &BTreeSet<String>, sent: &BTreeSet<String>) {
        let sees =
            |value| by_others.contains(value) || self.notes.lock().unwrap().seen.contains(value);
        until(|| sent.iter().all(sees), "all that was sent is seen").await;
    }
}

async fn until_they_share(first: &Working, second: &Working) {
    let share = || {
        let (first, second) = (first.assigned(), second.assigned());
        first.len() == 2 && second.len() == 2 && first.is_disjoint(&second)
    };
    until(share, "the two share").await;
}

async fn rebalance(target: Arc<Target>) {
    let topic = Target::topic("rebalance");
    target.create(&topic, PARTITIONS).await.unwrap();
    let first = Working::start(&target, &topic, &[]);
    first.until_it_has(4).await;
    let second = Working::start(&target, &topic, &[]);
    until_they_share(&first, &second).await;
    let mut sent = target.send(&topic, 0..200).await;
    until(|| 100 <= second.notes.lock().unwrap().seen.len(), "the second reads its share").await;
    let seen = second.leave().await;
    sent.extend(target.send(&topic, 200..400).await);
    first.until_seen(&seen, &sent).await;
    first.until_it_has(4).await;
    first.leave().await;
}

/// A member keeps what it keeps while another gets its share.
async fn cooperative(target: Arc<Target>) {
    let topic = Target::topic("cooperative");
    target.create(&topic, PARTITIONS).await.unwrap();
    let settings = [("partition.assignment.strategy", "cooperative-sticky")];
    let first = Working::start(&target, &topic, &settings);
    first.until_it_has(4).await;
    let second = Working::start(&target, &topic, &settings);
    until_they_share(&first, &second).await;
    let lost = || first.notes.lock().unwrap().lost.clone();
    assert_eq!(lost(), second.assigned(), "what the first lost is what the second has");
    let mut sent = target.send(&topic, 0..200).await;
    until(|| 100 <= second.notes.lock().unwrap().seen.len(), "the second reads its share").await;
    let seen = second.leave().await;
    first.until_it_has(4).await;
    assert_eq!(lost().len(), 2, "what the first has lost in all");
    sent.extend(target.send(&topic, 200..400).await);
    first.until_seen(&seen, &sent).await;
    first.leave().await;
}

/// A static member that is back within its session has its partitions again, and no one else notices.
async fn static_membership(target: Arc<Target>) {
    let topic = Target::topic("static");
    target.create(&topic, PARTITIONS).await.unwrap();
    let first = Working::start(&target, &topic, &[("group.instance.id", "first")]);
    let second = Working::start(&target, &topic, &[("group.instance.id", "second")]);
    until_they_share(&first, &second).await;
    let (had, assignments) = (second.assigned(), first.notes.lock().unwrap().assignments);
    second.leave().await;
    let second = Working::start(&target, &topic, &[("group.instance.id", "second")]);
    until(|| second.assigned() == had, "the member that came back has its partitions").await;
    let sent = target.send(&topic, 0..200).await;
    until(|| 100 <= second.notes.lock().unwrap().seen.len(), "the second reads its share").await;
    first.until_seen(&second.leave().await, &sent).await;
    assert_eq!(first.notes.lock().unwrap().assignments, assignments, "assignments of the other");
    first.leave().await;
}

async fn topics(target: Arc<Target>) {
    let (topic, admin, options) = (Target::topic("topics"), target.admin(), AdminOptions::new());
    target.create(&topic, 3).await.unwrap();
    assert_eq!(partitions_of(&admin, &topic), 3);
    let again = target.create(&topic, 3).await;
    assert_eq!(again, Err(RDKafkaErrorCode::TopicAlreadyExists));
    let grow = NewPartitions::new(&topic, 5);
    assert!(admin.create_partitions([&grow], &options).await.unwrap()[0].is_ok());
    until(|| partitions_of(&admin, &topic) == 5, "the topic has grown to 5 partitions").await;
    assert!(admin.delete_topics(&[&topic], &options).await.unwrap()[0].is_ok());
    until(|| partitions_of(&admin, &topic) == 0, "the topic is gone").await;
}

async fn configs(target: Arc<Target>) {
    let (topic, admin) = (Target::topic("configs"), target.admin());
    target.create(&topic, 1).await.unwrap();
    let retention = async || {
        let resource = ResourceSpecifier::Topic(&topic);
        let described = admin.describe_configs([&resource], &AdminOptions::new()).await.unwrap();
        let described = described[0].as_ref().unwrap();
        let entry = described.entries.iter().find(|entry| entry.name == "retention.ms").unwrap();
        (entry.value.clone().unwrap(), entry.is_default)
    };
    assert_eq!(retention().await, ("604800000".to_owned(), true));
    let change = AlterConfig::new(ResourceSpecifier::Topic(&topic)).set("retention.ms", "7200000");
    assert!(admin.alter_configs([&change], &AdminOptions::new()).await.unwrap()[0].is_ok());
    let deadline = Instant::now() + SOON;
    while retention().await != ("7200000".to_owned(), false) {
        assert!(Instant::now() < deadline, "retention.ms is what was set");
        sleep(Duration::from_millis(20)).await;
    }
}

async fn groups(target: Arc<Target>) {
    let (topic, admin) = (Target::topic("groups"), target.admin());
    target.create(&topic, 1).await.unwrap();
    produce(&target.producer(&[]), &topic, 0, &values(0..10)).await;
    let member = target.member(&topic, &[]);
    consume(&member, 10).await;
    let described = || {
        let groups = admin.inner().fetch_group_list(None, SOON).unwrap();
        let group = groups.groups().iter().find(|group| group.name() == topic);
        group.map(|group| (group.state().to_owned(), group.members().len()))
    };
    assert_eq!(described(), Some(("Stable".to_owned(), 1)));
    member.commit_consumer_state(CommitMode::Sync).unwrap();
    drop(member);
    until(|| described() == Some(("Empty".to_owned(), 0)), "the group is empty").await;
    assert!(admin.delete_groups(&[&topic], &AdminOptions::new()).await.unwrap()[0].is_ok());
    until(|| described().is_none(), "the group is gone").await;
}

async fn offsets(target: Arc<Target>) {
    let topic = Target::topic("offsets");
    target.create(&topic, 1).await.unwrap();
    produce(&target.producer(&[]), &topic, 0, &values(0..100)).await;
    let member = target.member(&topic, &[("enable.auto.commit", "false")]);
    consume(&member, 100).await;
    member.commit(&at(&topic, 20), CommitMode::Sync).unwrap();
    let committed = member.committed_offsets(at(&topic, 0), SOON).unwrap();
    assert_eq!(committed.elements()[0].offset(), Offset::Offset(20));
    assert_eq!(member.fetch_watermarks(&topic, 0, SOON).unwrap(), (0, 100));
    drop(member);
    let options = AdminOptions::new();
    target.admin().delete_records(&at(&topic, 25), &options).await.unwrap();
    let member = target.member(&topic, &[]);
    assert_eq!(member.fetch_watermarks(&topic, 0, SOON).unwrap(), (25, 100));
    assert_eq!(consume(&member, 75).await[0].1, 25);
}
