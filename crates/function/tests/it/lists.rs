//! Several records in one call, over HTTP/1.1 and HTTP/2.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use broker::{Broker, BrokerConfig};
use bytes::Bytes;
use function::connector::{self, Target};
use function::http::Function;
use function::http::client::HttpFunction;
use function::http::server::Server;
use function::inference::{Destination, Settings};
use function::stop::{self, Stop};
use function::{Connector, Failure, Fate, Funnel, Inference, tier};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use kafka::{Consumer, Event, Producer, Reader, Start};
use pipeline::{ExitSettings, Order, Retry};
use wire::{Header, Record, RejectCode, header};

use crate::inference::{demo_model, image, settings};

const ANYWHERE: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);
const DEADLINE: Duration = Duration::from_secs(60);

async fn serve(function: Function, stop: &Stop) -> SocketAddr {
    let server = Server::bind(ANYWHERE).await.unwrap();
    let address = server.address();
    tokio::spawn(server.serve(
        std::sync::Arc::new(function),
        stop.clone(),
        std::time::Duration::ZERO,
    ));
    address
}

fn inference(threshold: f64, exit: Option<Destination>, forward: Option<Destination>) -> Function {
    let sub_model = demo_model("edge");
    let exit_rule = Some(tier::exit_of(&sub_model, &ExitSettings::threshold(threshold)).unwrap().1);
    let settings = Settings { exit: exit_rule, max_batch: 8, ..settings("edge") };
    Function::Inference(Arc::new(Inference::new(sub_model, settings, exit, forward)))
}

fn record(number: usize, value: impl Into<Bytes>) -> Record {
    Record {
        key: Some(Bytes::from(format!("key {}", number % 3))),
        headers: vec![Header::new(header::ID, number.to_string())],
        timestamp_ms: Some(1),
        value: Some(value.into()),
    }
}

async fn start_broker() -> (Broker, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(BrokerConfig::new(dir.path(), ANYWHERE)).await.unwrap();
    (broker, dir)
}

/// The ids of the records of a topic, once there are `count`.
async fn ids(servers: &str, topic: &str, count: usize) -> Vec<usize> {
    let reading = async {
        let reader = Reader::open(servers, &[topic], None, Start::Beginning).await.unwrap();
        let mut ids = Vec::new();
        while ids.len() < count {
            if let Event::Record(_, record) = reader.next().await.unwrap() {
                ids.push(record.id().unwrap().parse().unwrap());
            }
        }
        ids
    };
    tokio::time::timeout(DEADLINE, reading).await.expect("the records are there")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_became_of_each_record_of_a_list_is_said() {
    let (_stopper, stop) = stop::channel();
    let address = serve(inference(0.5, None, None), &stop).await;
    let function = HttpFunction::new(&format!("http://{address}")).unwrap();
    let good = record(0, image(0));
    assert_eq!(function.max_records(), 1, "it has not been asked");
    assert_eq!(function.call(&good, None).await, Ok(Fate::Answered));
    assert_eq!(function.max_records(), 8);
    let records: Vec<Record> = (0..20)
        .map(|at| record(at, if at % 5 == 1 { b"[[1, 2]]".to_vec() } else { image(0) }))
        .collect();
    let list: Vec<_> = records.iter().map(|record| (record, None)).collect();
    for (at, called) in function.call_many(&list).await.into_iter().enumerate() {
        match called {
            Err(Failure::Reject(reject)) if at % 5 == 1 => {
                assert_eq!(reject.code, RejectCode::WrongShape, "{at}");
            }
            called => assert_eq!(called, Ok(Fate::Answered), "{at}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_three_functions_pass_lists_on_in_order_over_either_http() {
    for scheme in ["http", "h2c"] {
        let (broker, _dir) = start_broker().await;
        let servers = broker.advertised();
        let (stopper, stop) = stop::channel();
        kafka::admin::ensure_topics(servers, &["in", "exit", "up", "dead"], 1).await.unwrap();
        let producer = Producer::new(servers).unwrap();
        let funnel = async |topic: &str| {
            let address =
                serve(Function::Funnel(Funnel::new(producer.clone(), topic)), &stop).await;
            Some(Destination::Url(HttpFunction::new(&format!("{scheme}://{address}")).unwrap()))
        };
        let function = inference(0.9999, funnel("exit").await, funnel("up").await);
        let address = serve(function, &stop).await;
        let mut sent = Vec::new();
        for number in 0..300 {
            let value = if number % 50 == 7 { b"poison".to_vec() } else { image(number % 64) };
            sent.push(producer.enqueue("in", &record(number, value)).await.unwrap());
        }
        for sent in sent {
            sent.confirmed().await.unwrap();
        }
        let connector = Connector::new(
            Consumer::subscribe(servers, "group", &["in"]).unwrap(),
            Target::Url(HttpFunction::new(&format!("{scheme}://{address}")).unwrap()),
            Funnel::new(producer.clone(), "dead"),
            connector::Settings { in_flight: 64, order: Order::Key, retry: Retry::default() },
        );
        let counters = connector.counters();
        let task = tokio::spawn(connector.run(stop.clone()));
        let wait = async {
            while counters.counts().consumed < 300 || 0 < counters.counts().in_flight() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(DEADLINE, wait).await.expect("all meet their fates");
        stopper.stop();
        task.await.unwrap().unwrap();
        let counts = counters.counts();
        assert_eq!((counts.dead_lettered, counts.retried), (6, 0), "{counts:?}");
        assert!(0 < counts.answered && 0 < counts.forwarded, "{counts:?}");
        for (topic, count) in [("exit", counts.answered), ("up", counts.forwarded)] {
            let ids = ids(servers, topic, count as usize).await;
            for key in 0..3 {
                let of_key: Vec<_> = ids.iter().filter(|&&id| id % 3 == key).collect();
                assert!(of_key.is_sorted(), "{scheme}, {topic}: {of_key:?}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_that_takes_no_lists_after_all_gets_its_records_one_by_one() {
    let listener = tokio::net::TcpListener::bind(ANYWHERE).await.unwrap();
    let address = listener.local_addr().unwrap();
    let lists = Arc::new(AtomicUsize::new(0));
    let singles = Arc::new(Mutex::new(0));
    let counted = (Arc::clone(&lists), Arc::clone(&singles));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (lists, singles) = counted.clone();
            let answer = move |request: Request<Incoming>| {
                let (lists, singles) = (Arc::clone(&lists), Arc::clone(&singles));
                async move {
                    let body = request.into_body().collect().await.unwrap().to_bytes();
                    let is_list = body.starts_with(b"[");
                    let first = !is_list && {
                        let mut singles = singles.lock().unwrap();
                        *singles += 1;
                        *singles == 1
                    };
                    lists.fetch_add(usize::from(is_list), Ordering::Relaxed);
                    let mut answer = Response::builder().status(if is_list { 400 } else { 200 });
                    if first {
                        answer = answer.header("offramp-max-records", "16");
                    }
                    answer.body(Full::<Bytes>::default())
                }
            };
            let service = hyper::service::service_fn(answer);
            tokio::spawn(async move {
                let builder = auto::Builder::new(TokioExecutor::new());
                let _ = builder.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    let function = HttpFunction::new(&format!("http://{address}")).unwrap();
    let records: Vec<Record> = (0..5).map(|at| record(at, "[1]")).collect();
    let list: Vec<_> = records.iter().map(|record| (record, None)).collect();
    assert_eq!(function.call(&records[0], None).await, Ok(Fate::Answered));
    assert_eq!(function.max_records(), 16);
    let called = function.call_many(&list).await;
    assert!(called.iter().all(|called| *called == Err(Failure::Behind)), "{called:?}");
    assert_eq!(function.max_records(), 1);
    let called = function.call_many(&list).await;
    assert!(called.iter().all(|called| *called == Ok(Fate::Answered)), "{called:?}");
    assert_eq!((lists.load(Ordering::Relaxed), *singles.lock().unwrap()), (1, 6));
}
