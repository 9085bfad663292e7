//! The connector against a real log and a function that misbehaves.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use broker::{Broker, BrokerConfig};
use bytes::Bytes;
use function::connector::{Settings, Target};
use function::counters::Counts;
use function::http::client::HttpFunction;
use function::stop::{self, Stopper};
use function::{Connector, Funnel};
use kafka::{Consumer, Delivery, Producer};
use pipeline::{Order, Retry};
use tokio::task::JoinHandle;
use wire::{Header, Record};

use crate::scripted::{Script, Scripted};

const ANYWHERE: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);
const DEADLINE: Duration = Duration::from_secs(60);
const RETRY: Retry = Retry {
    attempts: 3,
    backoff_min: Duration::from_millis(1),
    backoff_max: Duration::from_millis(5),
};

/// A broker with an input topic, and a connector from it to a URL.
struct Fixture {
    broker: Broker,
    _dir: tempfile::TempDir,
}

struct Running {
    stopper: Stopper,
    task: JoinHandle<Result<(), kafka::KafkaError>>,
    counters: Arc<function::counters::Counters>,
}

impl Fixture {
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let broker = Broker::start(BrokerConfig::new(dir.path(), ANYWHERE)).await.unwrap();
        Self { broker, _dir: dir }
    }

    fn servers(&self) -> &str {
        self.broker.advertised()
    }

    async fn send(&self, records: &[Record]) {
        let producer = Producer::new(self.servers()).unwrap();
        for record in records {
            producer.send("in", record).await.unwrap();
        }
    }

    fn connect(&self, url: &str, in_flight: usize) -> Running {
        let consumer = Consumer::subscribe(self.servers(), "group", &["in"]).unwrap();
        let dead_letters = Funnel::new(Producer::new(self.servers()).unwrap(), "dead");
        let target = Target::Url(HttpFunction::new(url).unwrap());
        let settings = Settings { in_flight, order: Order::Key, retry: RETRY };
        let connector = Connector::new(consumer, target, dead_letters, settings);
        let counters = connector.counters();
        let (stopper, stop) = stop::channel();
        Running { stopper, task: tokio::spawn(connector.run(stop)), counters }
    }

    async fn dead_letters(&self, count: usize) -> Vec<Delivery> {
        let consumer = Consumer::subscribe(self.servers(), "reader", &["dead"]).unwrap();
        let mut letters = Vec::new();
        while letters.len() < count {
            letters.push(tokio::time::timeout(DEADLINE, consumer.recv()).await.unwrap().unwrap());
        }
        letters
    }
}

impl Running {
    async fn until(&self, reached: impl Fn(Counts) -> bool) {
        let wait = async {
            while !reached(self.counters.counts()) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let outcome = tokio::time::timeout(DEADLINE, wait).await;
        outcome.unwrap_or_else(|_| panic!("stuck at {:?}", self.counters.counts()));
    }

    async fn stop(self) -> Counts {
        self.stopper.stop();
        self.task.await.unwrap().unwrap();
        self.counters.counts()
    }
}

fn record(key: Option<&'static str>, value: usize) -> Record {
    Record {
        key: key.map(Bytes::from),
        headers: vec![Header::new("h", &b"\xff"[..])],
        timestamp_ms: Some(7),
        value: Some(Bytes::from(format!("[{value}]"))),
    }
}

async fn function(
    takes_ms: u64,
    script: impl Fn(&Record, usize) -> (u16, &'static str) + Send + Sync + 'static,
) -> Scripted {
    let script: Arc<Script> = Arc::new(script);
    Scripted::start(ANYWHERE, Duration::from_millis(takes_ms), script).await
}

#[tokio::test(flavor = "multi_thread")]
async fn many_records_of_one_partition_are_in_flight_and_bounded() {
    let fixture = Fixture::start().await;
    let function = function(30, |_, _| (200, "")).await;
    fixture.send(&(0..60).map(|at| record(None, at)).collect::<Vec<_>>()).await;
    let running = fixture.connect(&function.url(), 8);
    running.until(|counts| counts.answered == 60).await;
    assert_eq!(running.stop().await.in_flight(), 0);
    let most = function.calls().iter().map(|call| call.at_once).max().unwrap();
    assert_eq!(most, 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn records_of_one_key_arrive_in_order_also_when_some_are_tried_again() {
    let fixture = Fixture::start().await;
    // Every third record fails once.
    let function = function(3, |record, earlier| {
        let value: usize = String::from_utf8_lossy(record.value.as_ref().unwrap())
            .trim_matches(['[', ']'])
            .parse()
            .unwrap();
        if value.is_multiple_of(3) && earlier == 0 { (500, "not now") } else { (200, "") }
    })
    .await;
    let keys = ["a", "b", "c", "d"];
    let sent: Vec<Record> = (0..80).map(|at| record(Some(keys[at % 4]), at)).collect();
    fixture.send(&sent).await;
    let running = fixture.connect(&function.url(), 16);
    running.until(|counts| counts.answered == 80).await;
    let counts = running.stop().await;
    assert_eq!((counts.dead_lettered, counts.retried), (0, 27));
    let calls = function.calls();
    for key in keys {
        let mut values: Vec<_> = calls
            .iter()
            .filter(|call| call.record.key.as_deref() == Some(key.as_bytes()))
            .map(|call| call.record.value.clone())
            .collect();
        values.dedup();
        let expected: Vec<_> = sent
            .iter()
            .filter(|record| record.key.as_deref() == Some(key.as_bytes()))
            .map(|record| record.value.clone())
            .collect();
        assert_eq!(values, expected, "key {key}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn poison_is_dead_lettered_at_once_and_spent_attempts_after_the_last() {
    let fixture = Fixture::start().await;
    let function = function(0, |record, _| match record.value.as_deref() {
        Some(b"[1]") => (400, "{\"code\": \"wrong-shape\", \"reason\": \"too small\"}"),
        Some(b"[2]") => (500, "broken"),
        Some(b"[3]") => (422, "no thanks"),
        _ => (200, ""),
    })
    .await;
    fixture.send(&(0..5).map(|at| record(None, at)).collect::<Vec<_>>()).await;
    let running = fixture.connect(&function.url(), 4);
    running.until(|counts| counts.answered == 2 && counts.dead_lettered == 3).await;
    running.stop().await;
    let mut letters: Vec<[String; 4]> = fixture
        .dead_letters(3)
        .await
        .iter()
        .map(|letter| {
            assert_eq!(letter.record.headers[0], Header::new("h", &b"\xff"[..]));
            let text = |bytes: Option<&Bytes>| String::from_utf8_lossy(bytes.unwrap()).into_owned();
            let header = |name| text(letter.record.header(name));
            [
                text(letter.record.value.as_ref()),
                header("offramp-dead-letter-code"),
                header("offramp-dead-letter-attempts"),
                header("offramp-dead-letter-reason"),
            ]
        })
        .collect();
    letters.sort();
    assert_eq!(letters[0], ["[1]", "wrong-shape", "1", "too small"]);
    assert_eq!(letters[1][..3], ["[2]", "attempts-spent", "3"]);
    assert!(letters[1][3].contains("500") && letters[1][3].contains("broken"), "{letters:?}");
    assert_eq!(letters[2][..3], ["[3]", "refused", "1"]);
    let tries =
        function.calls().iter().filter(|call| call.record.value.as_deref() == Some(b"[2]")).count();
    assert_eq!(tries, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn overload_and_absence_are_waited_out_and_are_no_attempts() {
    let fixture = Fixture::start().await;
    let function = function(0, |_, earlier| match earlier {
        0..5 => (429, ""),
        5..10 => (503, "draining"),
        _ => (200, ""),
    })
    .await;
    fixture.send(&[record(None, 0), record(None, 1)]).await;
    let running = fixture.connect(&function.url(), 4);
    running.until(|counts| counts.answered == 2).await;
    let counts = running.stop().await;
    assert_eq!((counts.dead_lettered, counts.retried), (0, 20));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_that_is_not_there_yet_is_waited_for() {
    let fixture = Fixture::start().await;
    let address = {
        let free = std::net::TcpListener::bind(ANYWHERE).unwrap();
        free.local_addr().unwrap()
    };
    fixture.send(&[record(None, 0)]).await;
    let running = fixture.connect(&format!("http://{address}/"), 4);
    // Many more refusals than there are attempts.
    running.until(|counts| counts.retried > 4 * u64::from(RETRY.attempts)).await;
    let script: Arc<Script> = Arc::new(|_, _| (200, ""));
    let function = Scripted::start(address, Duration::ZERO, script).await;
    running.until(|counts| counts.answered == 1).await;
    assert_eq!(running.stop().await.dead_lettered, 0);
    assert_eq!(function.calls().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn records_in_flight_are_finished_before_a_stop_and_not_delivered_again() {
    let fixture = Fixture::start().await;
    let function = function(50, |_, _| (200, "")).await;
    fixture.send(&(0..20).map(|at| record(None, at)).collect::<Vec<_>>()).await;
    let running = fixture.connect(&function.url(), 4);
    running.until(|counts| counts.answered >= 4).await;
    let counts = running.stop().await;
    assert_eq!(counts.in_flight(), 0);
    let again = fixture.connect(&function.url(), 4);
    again.until(|later| later.answered + counts.answered == 20).await;
    again.stop().await;
    assert_eq!(function.calls().len(), 20);
}
