//! Starting, stopping, and what is said when that fails.

use std::net::SocketAddr;
use std::time::Duration;

use broker::{Broker, BrokerConfig, BrokerError};
use kafka_protocol::messages::{ApiKey, ApiVersionsRequest};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use crate::frames::{frame, response};
use crate::{Place, SOON};

fn any_port() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

async fn failure(config: BrokerConfig) -> BrokerError {
    Broker::start(config).await.expect_err("the broker cannot start")
}

#[tokio::test]
async fn what_is_wrong_is_named() {
    let place = Place::new().await;
    let path = place.dir.path();
    let locked = failure(BrokerConfig::new(path, any_port())).await;
    let expected = format!(
        "broker directory {} is in use by another broker; stop it, or give each its own",
        path.display()
    );
    assert_eq!(locked.to_string(), expected);

    let other = tempfile::tempdir().unwrap();
    let taken = place.broker.local_addr();
    let error = failure(BrokerConfig::new(other.path(), taken)).await;
    assert!(error.to_string().starts_with(&format!("cannot listen on {taken}: ")), "{error}");

    let file = other.path().join("file");
    std::fs::write(&file, "").unwrap();
    let error = failure(BrokerConfig::new(file.join("dir"), any_port())).await;
    let expected = format!("broker directory {} cannot be used: ", file.join("dir").display());
    assert!(error.to_string().starts_with(&expected), "{error}");

    for value in ["", "host", "host:", "host:0", ":9092", "host:99999"] {
        let mut config = BrokerConfig::new(other.path(), any_port());
        config.advertise = Some(value.to_owned());
        let error = failure(config).await;
        assert_eq!(error.to_string(), format!("advertised address `{value}` is not `host:port`"));
    }
    let error = place.broker.create_topic("a/b", 1).await.unwrap_err();
    assert!(error.to_string().starts_with("topic name `a/b` is not 1 to 249 letters"), "{error}");
}

#[tokio::test]
async fn creating_a_topic_again_is_fine() {
    let place = Place::new().await;
    place.broker.create_topic("t", 2).await.unwrap();
    place.broker.create_topic("t", 2).await.unwrap();
}

#[tokio::test]
async fn a_broker_that_stops_frees_its_port_and_directory_at_once() {
    let place = Place::new().await;
    let address = place.broker.local_addr();
    // Someone stays connected and says nothing.
    let mut idle = TcpStream::connect(address).await.unwrap();
    let request = frame(ApiKey::ApiVersions, 0, 1, &ApiVersionsRequest::default());
    idle.write_all(&request).await.unwrap();
    response(&mut idle).await;
    let start = Instant::now();
    let Place { dir, broker } = place;
    timeout(SOON, broker.shutdown()).await.unwrap().unwrap();
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    let again = Broker::start(BrokerConfig::new(dir.path(), address)).await.unwrap();
    again.shutdown().await.unwrap();
}
