//! A tier whose next tier's broker is away for a while.

use std::collections::HashMap;
use std::path::Path;
use std::time::{Duration, Instant};

use broker::{Broker, BrokerConfig};
use bytes::Bytes;
use function::Uplink;
use function::stop::{self, Stopper};
use function::tier::{Brokers, Composed, compose};
use function::uplink::Status;
use kafka::{Event, Producer, Reader, Start, admin};
use pipeline::Pipeline;
use tokio::task::JoinSet;
use wire::{Header, Record, header};

use crate::inference::{demo_model, image};
use crate::link::Linked;

const DEADLINE: Duration = Duration::from_secs(60);
const ANYWHERE: &str = "127.0.0.1:0";
const KEYS: [&str; 5] = ["a", "b", "c", "d", "e"];

/// An edge node, and a fog broker behind a link. The edge forwards everything.
struct Fixture {
    fog: Linked,
    edge: Broker,
    keys: &'static str,
    _dir: tempfile::TempDir,
}

/// The edge's tier.
struct Running {
    stopper: Stopper,
    tasks: JoinSet<Result<(), kafka::KafkaError>>,
    uplink: Uplink,
}

impl Fixture {
    /// `keys` are lines of the edge's tier in the pipeline file.
    async fn start(keys: &'static str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = BrokerConfig::new(dir.path(), ANYWHERE.parse().unwrap());
        let edge = Broker::start(config).await.unwrap();
        Self { fog: Linked::start().await, edge, keys, _dir: dir }
    }

    fn pipeline(&self) -> Pipeline {
        let text = format!(
            "[pipeline]
            name = \"p\"
            [[tier]]
            name = \"edge\"
            model = \"edge.onnx\"
            bootstrap_servers = \"{}\"
            exit = {{ threshold = 1 }}
            uplink_timeout_ms = 1000
            retry = {{ attempts = 2, backoff_ms_min = 5, backoff_ms_max = 50 }}
            {}
            [[tier]]
            name = \"fog\"
            model = \"fog.onnx\"
            bootstrap_servers = \"{}\"",
            self.edge.advertised(),
            self.keys,
            self.fog.servers
        );
        Pipeline::parse(&text, Path::new("")).unwrap_or_else(|invalid| panic!("{invalid}"))
    }

    async fn run(&self) -> Running {
        let pipeline = self.pipeline();
        let mut brokers = Brokers::new("");
        let own: Vec<&str> = function::tier::topics(&pipeline, &pipeline.tiers[0])
            .into_iter()
            .map(|topic| topic.name.as_str())
            .collect();
        admin::ensure_topics(self.edge.advertised(), &own, 1).await.unwrap();
        let Composed { connector, uplink, .. } = compose(
            &pipeline,
            &pipeline.tiers[0],
            demo_model("edge"),
            &mut brokers,
            &|_| unreachable!(),
        )
        .unwrap();
        let (stopper, stop) = stop::channel();
        let uplink = uplink.expect("the fog's broker is another one");
        let mut tasks = JoinSet::new();
        tasks.spawn(uplink.clone().keep(stop.clone()));
        tasks.spawn(connector.run(stop));
        Running { stopper, tasks, uplink }
    }

    /// Sends records `numbers`, each with its number as its id and one of a few keys.
    async fn send(&self, numbers: std::ops::Range<usize>) {
        let producer = Producer::new(self.edge.advertised()).unwrap();
        let image = Bytes::from(image(0));
        let mut sent = Vec::new();
        for number in numbers {
            let record = Record {
                key: Some(Bytes::from(KEYS[number % KEYS.len()])),
                headers: vec![Header::new(header::ID, number.to_string())],
                timestamp_ms: Some(number as i64),
                value: Some(image.clone()),
            };
            sent.push(producer.enqueue("p.edge-input", &record).await.unwrap());
        }
        for sent in sent {
            sent.confirmed().await.unwrap();
        }
    }

    /// The first of each of the records that the fog has, until it has `count`, in the order of its log.
    async fn arrived(&self, count: usize) -> Vec<usize> {
        let mut arrived = Vec::new();
        read(&self.fog.servers, "p.fog-input", |record| {
            let number = number(record);
            if !arrived.contains(&number) {
                arrived.push(number);
            }
            arrived.len() == count
        })
        .await;
        arrived
    }
}

/// Reads a topic from its beginning until told that it is enough.
async fn read(servers: &str, topic: &str, mut is_enough: impl FnMut(&Record) -> bool) {
    let reading = async {
        let reader = loop {
            match Reader::open(servers, &[topic], None, Start::Beginning).await {
                Ok(reader) => break reader,
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        };
        loop {
            if let Event::Record(_, record) = reader.next().await.unwrap()
                && is_enough(&record)
            {
                return;
            }
        }
    };
    tokio::time::timeout(DEADLINE, reading).await.expect("the records arrive");
}

fn number(record: &Record) -> usize {
    record.id().unwrap().parse().unwrap()
}

fn assert_in_order(arrived: &[usize]) {
    let mut last: HashMap<usize, usize> = HashMap::new();
    for &number in arrived {
        let before = last.insert(number % KEYS.len(), number);
        assert!(before < Some(number), "{number} of its key came after {before:?}: {arrived:?}");
    }
}

impl Running {
    async fn until(&self, reached: impl Fn(Status) -> bool) {
        let wait = async {
            while !reached(self.uplink.status()) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let outcome = tokio::time::timeout(DEADLINE, wait).await;
        outcome.unwrap_or_else(|_| panic!("stuck at {:?}", self.uplink.status()));
    }

    async fn stop(mut self) -> Status {
        self.stopper.stop();
        while let Some(ended) = self.tasks.join_next().await {
            ended.unwrap().unwrap();
        }
        self.uplink.status()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn records_wait_while_the_link_is_cut_and_go_on_in_order_once_it_is_mended() {
    let fixture = Fixture::start("").await;
    let running = fixture.run().await;
    running.until(|status| status.is_up).await;
    fixture.send(0..50).await;
    fixture.arrived(50).await;
    fixture.fog.cut();
    fixture.send(50..150).await;
    running.until(|status| 100 <= status.waiting_records).await;
    assert!(!running.uplink.status().is_up);
    fixture.fog.mend();
    fixture.send(150..200).await;
    let arrived = fixture.arrived(200).await;
    assert_in_order(&arrived);
    running.until(|status| status.is_up && status.waiting_records == 0).await;
    fixture.send(200..210).await;
    assert_in_order(&fixture.arrived(210).await);
    assert_eq!(running.stop().await.waiting_bytes, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_survives_a_restart_and_a_broker_that_was_never_there() {
    let fixture = Fixture::start("").await;
    fixture.fog.cut();
    let running = fixture.run().await;
    fixture.send(0..60).await;
    running.until(|status| status.waiting_records == 60).await;
    let waiting_bytes = running.stop().await.waiting_bytes;
    let running = fixture.run().await;
    fixture.send(60..80).await;
    running.until(|status| status.waiting_records == 80).await;
    assert_eq!(running.uplink.status().waiting_bytes / 80, waiting_bytes / 60);
    fixture.fog.mend();
    assert_in_order(&fixture.arrived(80).await);
    running.until(|status| status.is_up).await;
    running.stop().await;
    let (extent, next) =
        function::uplink::buffer_extent(fixture.edge.advertised(), "p.edge-to-fog").await.unwrap();
    assert_eq!((extent.end, next), (80, 80), "none is sent again by the next start");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tier_that_is_to_answer_here_does_and_says_so() {
    let fixture = Fixture::start("on_uplink_loss = \"answer-here\"").await;
    let running = fixture.run().await;
    running.until(|status| status.is_up).await;
    fixture.send(0..20).await;
    fixture.arrived(20).await;
    fixture.fog.cut();
    fixture.send(20..60).await;
    // Those before may be answered here as well: the fog has them, but its word of it may be what the cut took.
    let cut_off: Vec<usize> = (20..60).collect();
    let mut answered = Vec::new();
    read(fixture.edge.advertised(), "p.edge-output", |record| {
        assert_eq!(record.header(header::DEGRADED).unwrap().as_ref(), b"uplink-loss");
        answered.push(number(record));
        cut_off.iter().all(|number| answered.contains(number))
    })
    .await;
    assert_in_order(&answered);
    fixture.fog.mend();
    running.until(|status| status.is_up).await;
    fixture.send(60..80).await;
    let arrived = fixture.arrived(40).await;
    assert!((60..80).all(|number| arrived.contains(&number)), "{arrived:?}");
    let status = running.stop().await;
    let answers = admin::extents(fixture.edge.advertised(), "p.edge-output").await.unwrap();
    assert_eq!((status.held, status.answered_here), (0, answers[0].end as u64));
}

/// Records of which a buffer of one MiB takes only some.
const MANY: usize = 6000;

#[tokio::test(flavor = "multi_thread")]
async fn a_full_buffer_refuses_and_its_tier_waits() {
    let fixture = Fixture::start("buffer = { max_mib = 1 }").await;
    fixture.fog.cut();
    let running = fixture.run().await;
    fixture.send(0..MANY).await;
    running.until(|status| (1 << 20) - 4096 < status.waiting_bytes).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let full = running.uplink.status();
    assert!(full.waiting_bytes <= 1 << 20 && full.waiting_records < MANY as u64, "{full:?}");
    fixture.fog.mend();
    assert_in_order(&fixture.arrived(MANY).await);
    running.until(|status| status.is_up).await;
    assert_eq!(running.stop().await.dropped, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_buffer_drops_the_oldest_where_asked_to_and_every_one_is_accounted_for() {
    let fixture = Fixture::start("buffer = { max_mib = 1, when_full = \"drop-oldest\" }").await;
    fixture.fog.cut();
    let running = fixture.run().await;
    fixture.send(0..MANY).await;
    running
        .until(|status| status.held == MANY as u64 && status.waiting_bytes <= status.max_bytes)
        .await;
    fixture.fog.mend();
    running.until(|status| status.is_up).await;
    let dropped = running.uplink.status().dropped as usize;
    assert!(0 < dropped && dropped < MANY, "{dropped}");
    let arrived = fixture.arrived(MANY - dropped).await;
    assert_in_order(&arrived);
    let mut letters = Vec::new();
    read(fixture.edge.advertised(), "p.edge-dead-letter", |record| {
        assert_eq!(record.header(header::DEAD_LETTER_CODE).unwrap().as_ref(), b"buffer-full");
        assert_eq!(record.value, None);
        letters.push(number(record));
        letters.len() == dropped
    })
    .await;
    letters.extend(arrived);
    letters.sort_unstable();
    assert_eq!(letters, (0..MANY).collect::<Vec<_>>());
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_buffer_is_emptied_at_the_set_rate_and_live_records_need_not_wait_for_it() {
    let fixture = Fixture::start("buffer = { drain_rate = 100, live_first = true }").await;
    fixture.fog.cut();
    let running = fixture.run().await;
    fixture.send(0..200).await;
    running.until(|status| status.waiting_records == 200).await;
    fixture.fog.mend();
    let started = Instant::now();
    running.until(|status| status.is_up).await;
    fixture.send(200..210).await;
    let arrived = fixture.arrived(210).await;
    let live: Vec<_> = (0..210).filter(|&at| 200 <= arrived[at]).collect();
    assert!(live[9] < 200, "live records at {live:?} of 210");
    assert!(Duration::from_millis(1500) < started.elapsed(), "{:?}", started.elapsed());
    running.stop().await;
}
