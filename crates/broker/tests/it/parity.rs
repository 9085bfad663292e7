//! What a broker does, whichever it is: the same tests run against this one and against Apache Kafka.
//!
//! `cargo test` runs them against a broker of this crate, `cargo xtask parity` against both. With
//! `OFFRAMP_PARITY_SERVERS=host:port` they run against whatever listens there; all names are unique, so that it
//! may be shared and used again. A test says what Kafka was seen to do, and this broker does the same.

mod batch;
mod cluster;
mod compaction;
mod configs;
mod connection;
mod fetch;
mod group_admin;
mod joining;
mod list_offsets;
mod member;
mod offsets;
mod produce;
mod records;
mod sharing;
mod static_members;
mod topics;

use broker::BrokerConfig;
use kafka_protocol::error::{ParseResponseErrorCode, ResponseError};
use kafka_protocol::messages::{GroupId, TopicName};
use kafka_protocol::protocol::StrBytes;
use tokio::time::{Duration, Instant, sleep};
use uuid::Uuid;

use crate::parity::connection::Connection;
use crate::{Place, SOON};

/// Where another broker listens that the tests should run against.
const SERVERS: &str = "OFFRAMP_PARITY_SERVERS";
/// Between two looks at a state that is waited for.
const PAUSE: Duration = Duration::from_millis(10);

/// A broker under test.
struct Peer {
    address: String,
    /// The broker itself, where it is ours: it stops with the test.
    _place: Option<Place>,
}

impl Peer {
    async fn new() -> Self {
        if let Ok(address) = std::env::var(SERVERS) {
            return Self { address, _place: None };
        }
        let place = Place::with(|config: &mut BrokerConfig| {
            config.cleaning_interval = Duration::from_millis(20);
        })
        .await;
        Self { address: place.broker.advertised().to_owned(), _place: Some(place) }
    }

    async fn connect(&self) -> Connection {
        Connection::open(&self.address).await
    }
}

/// A name that nobody else uses.
fn unique(noun: &str) -> String {
    format!("{noun}-{}", Uuid::new_v4())
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn topic_name(name: &str) -> TopicName {
    TopicName(text(name))
}

fn group_id(id: &str) -> GroupId {
    GroupId(text(id))
}

fn outcome(code: i16) -> Result<(), ResponseError> {
    code.err().map_or(Ok(()), Err)
}

/// Looks again and again until there is something to see.
async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + SOON;
    loop {
        if let Some(seen) = look().await {
            return seen;
        }
        assert!(Instant::now() < deadline, "in vain: {what}");
        sleep(PAUSE).await;
    }
}
