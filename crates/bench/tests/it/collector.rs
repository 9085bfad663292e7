//! A system that loses, repeats, reorders and errs on purpose: the collector has to find all of it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bench::collector::Patience;
use bench::{Collector, End, Headers, Join, Load, Outlet, Place, Schedule, devices};
use broker::{Broker, BrokerConfig};
use bytes::Bytes;
use kafka::{Event, Producer, Reader, Start};
use wire::Record;

const RECORDS: u64 = 40;
const LOST: u64 = 3;
const TWICE: u64 = 5;
/// Answered after the next of its key.
const OVERTAKEN: u64 = 8;
const DEAD: u64 = 11;
const WRONG: u64 = 13;
const CLOUD: u64 = 16;
const KEYS: u64 = 4;

struct Setting {
    broker: Broker,
    _log: tempfile::TempDir,
}

async fn setting() -> Setting {
    let log = tempfile::tempdir().unwrap();
    let listen = SocketAddr::from(([127, 0, 0, 1], 0));
    let broker = Broker::start(BrokerConfig::new(log.path(), listen)).await.unwrap();
    for topic in ["in", "edge", "cloud", "dead"] {
        broker.create_topic(topic, 1).await.unwrap();
    }
    Setting { broker, _log: log }
}

fn load(schedule: Schedule, join: Join) -> Load {
    Load {
        records: RECORDS,
        schedule,
        devices: 2,
        keys: if join == Join::Id { KEYS } else { 0 },
        payloads: Arc::new(vec![Bytes::from_static(b"0"), Bytes::from_static(b"1")]),
        labels: vec![0, 1],
        join,
        headers: Headers::IdsAndLabels,
    }
}

fn patience() -> Patience {
    Patience {
        silence: Duration::from_secs(2),
        late: Duration::from_secs(30),
        settle: Duration::from_millis(500),
    }
}

async fn collector(servers: &str) -> Collector {
    let outlet = |topic: &str, end| Outlet {
        place: Place { servers: servers.to_owned(), topic: topic.to_owned() },
        end,
    };
    let outlets = vec![
        outlet("edge", End::Answered(0)),
        outlet("cloud", End::Answered(1)),
        outlet("dead", End::DeadLettered),
    ];
    Collector::start(outlets).await.unwrap().keeping_each()
}

/// The answer to a record: its value is its class.
fn answer(record: &Record, class: usize) -> Record {
    let value = ["[[0.9, 0.1]]", "[[0.1, 0.9]]"][class];
    Record { value: Some(Bytes::from_static(value.as_bytes())), ..record.clone() }
}

/// Answers everything but for what it does wrong; `strip` takes from a record what the system does not keep.
async fn system(servers: String, strip: fn(Record) -> Record) {
    let reader = Reader::open(&servers, &["in"], None, Start::Beginning).await.unwrap();
    let producer = Producer::new(&servers).unwrap();
    let mut held = None;
    let send = async |topic: &str, record: Record| {
        producer.send(topic, &strip(record)).await.unwrap();
    };
    let mut number = 0;
    while number < RECORDS {
        let Event::Record(_, record) = reader.next().await.unwrap() else { continue };
        let class = usize::from(record.value.as_deref() == Some(b"1"));
        let right = answer(&record, class);
        match number {
            LOST => {}
            TWICE => {
                send("edge", right.clone()).await;
                send("edge", right).await;
            }
            OVERTAKEN => held = Some(right),
            DEAD => send("dead", record).await,
            WRONG => send("edge", answer(&record, 1 - class)).await,
            CLOUD => send("cloud", right).await,
            _ => send("edge", right).await,
        }
        if number == OVERTAKEN + KEYS {
            send("edge", held.take().unwrap()).await;
        }
        number += 1;
    }
    send("edge", Record::default()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn losses_duplicates_and_reordering_are_found() {
    let setting = setting().await;
    let servers = setting.broker.advertised().to_owned();
    let collector = collector(&servers).await;
    let system = tokio::spawn(system(servers.clone(), |record| record));
    let load = load(Schedule::Even { rate: 400.0 }, Join::Id);
    let (sent, sending) = devices::start(Producer::new(&servers).unwrap(), "in", load);
    let collected = collector.collect(&sent, patience(), |_| ()).await;
    sending.await.unwrap();
    system.await.unwrap();
    assert_eq!(collected.answered(), RECORDS - 2);
    assert_eq!((collected.duplicated, collected.disordered, collected.unknown), (1, 1, 1));
    assert_eq!((collected.dead_lettered, collected.tiers[1].answered), (1, 1));
    assert_eq!(collected.all().correct, RECORDS - 3);
    let ended = |number: u64| collected.kept[number as usize];
    assert_eq!((ended(LOST).end, ended(DEAD).end), (None, Some(End::DeadLettered)));
    assert_eq!((ended(CLOUD).end, ended(0).end), (Some(End::Answered(1)), Some(End::Answered(0))));
    assert_eq!((ended(WRONG).correct, ended(0).correct), (Some(false), Some(true)));
    assert_eq!(sent.confirmed(), RECORDS);
    assert_eq!(sent.lateness().len(), RECORDS);
    // The label is in the headers too, for whoever else reads the topic.
    let reader = Reader::open(&servers, &["in"], None, Start::Beginning).await.unwrap();
    let Event::Record(_, record) = reader.next().await.unwrap() else { panic!("no record") };
    assert_eq!(record.header(devices::LABEL).unwrap(), &b"0"[..]);
    setting.broker.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_system_that_drops_headers_is_joined_by_key() {
    let setting = setting().await;
    let servers = setting.broker.advertised().to_owned();
    let collector = collector(&servers).await;
    let without = |record| Record { headers: Vec::new(), ..record };
    let system = tokio::spawn(system(servers.clone(), without));
    let load = load(Schedule::AsFast, Join::Key);
    let (sent, _sending) = devices::start(Producer::new(&servers).unwrap(), "in", load);
    let collected = collector.collect(&sent, patience(), |_| ()).await;
    system.await.unwrap();
    assert_eq!((collected.answered(), collected.duplicated), (RECORDS - 2, 1));
    // Two devices that go as fast as they can decide which record is the fourth.
    assert_eq!(collected.kept.iter().filter(|kept| kept.end.is_none()).count(), 1);
    setting.broker.shutdown().await.unwrap();
}

/// Two answers to one record hide that another has none: what joining by order can't tell.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn joined_by_order_a_duplicate_takes_the_place_of_a_loss() {
    let setting = setting().await;
    let servers = setting.broker.advertised().to_owned();
    let collector = collector(&servers).await;
    let without = |record| Record { headers: Vec::new(), key: None, ..record };
    let system = tokio::spawn(system(servers.clone(), without));
    let load = load(Schedule::Even { rate: 400.0 }, Join::Order);
    let (sent, _sending) = devices::start(Producer::new(&servers).unwrap(), "in", load);
    let collected = collector.collect(&sent, patience(), |_| ()).await;
    system.await.unwrap();
    assert_eq!(
        (collected.answered() + collected.dead_lettered, collected.duplicated),
        (RECORDS, 0)
    );
    assert_eq!(collected.unknown, 1);
    assert!(collected.kept.iter().all(|kept| kept.correct.is_none()));
    setting.broker.shutdown().await.unwrap();
}
