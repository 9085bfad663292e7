//! What a broker does, whichever it is: the same tests run against this one and against Apache Kafka.
//!
//! `cargo test` runs them against a broker of this crate, `cargo xtask parity` against both. With
//! `OFFRAMP_PARITY_SERVERS=host:port` they run against whatever listens there; all names are unique, so that it
//! may be shared and used again. A test says what Kafka was seen to do, and this broker does the same.
//!
//! Left out, beside what Kafka has and this broker has not (transactions, TLS, quotas, access control), is where
//! the two differ and may:
//!
//! | what | Kafka | here | why |
//! |---|---|---|---|
//! | messages beside error codes, throttle times, cluster ids | its own | ours | nobody decides by them |
//! | a new topic | is there a moment after the answer | with it | one node has nobody to tell |
//! | topic ids | in Metadata from version 10 on | zero | Produce and Fetch stop where topics are named |
//! | versions | up to its newest | see `protocol::api` | what names topics, and what clients of one node need |
//! | `ApiVersions` of a client without a name | refused with 42 | answered | no harm is done |
//! | fetch sessions | begun where asked for | never | see `apis::fetch` |
//! | a batch too large for what is left of a fetch | cut off | left out | clients drop it |
//! | a retry of a batch older than the last five | 45, out of order | 46, a duplicate | it is stored; see `producers` |
//! | time stamps an hour from now or later | refused with 32 | taken | devices' clocks err; see `log::retention` |
//! | a time within a compressed batch | leads to its record | to the batch's first | see `log::read` |
//! | smallest and default `segment.bytes` | larger | smaller | small disks |
//! | default `max.message.bytes` | 1 MB | 8 MB | see `bounds` |
//! | settings | all of Kafka's, with synonyms | nine, without | see `topic_config` |
//! | order of the policies in `cleanup.policy` | as it was set | `compact,delete` | it means the same |
//! | settings of a broker | can be changed | read only | its embedder's; see `apis::configs` |
//! | topic names that differ in `.` and `_` only | collide, 17 | do not | no metrics are named after them |
//! | a segment is full | by its records' times, when the next one comes | by the clock, at any time | nothing waits for a record |
//! | a group that nobody is in and that has no offsets | forgotten in time | at once | its generation is all it has |
//! | protocol type of an empty group | kept | not | only offsets are kept |
//! | shares in `DescribeGroups` during a rebalance | the last ones | none | they hold no more |
//! | a static member that comes back with another subscription | unnoticed | a rebalance | see `groups::group` |
//! | `OffsetDelete` in a group of consumers | 86, by subscription | 68 | see `apis::group_admin` |
//! | shortest session | a setting, 6 s by default | above 0 | tests and hand-offs want short ones |
//! | a fetch with a request behind it, or whose client sends no more | waits | is answered early | see `connection` |

mod batch;
mod clients;
mod cluster;
mod commits;
mod compaction;
mod configs;
mod connection;
mod fetch;
mod group_admin;
mod joining;
mod leaving;
mod list_offsets;
mod member;
mod offsets;
mod partitions;
mod produce;
mod records;
mod sharing;
mod static_members;
mod topics;

use broker::BrokerConfig;
use kafka_protocol::error::{ParseResponseErrorCode, ResponseError};
use kafka_protocol::messages::{GroupId, TopicName};
use kafka_protocol::protocol::StrBytes;
use rdkafka::ClientConfig;
use tokio::time::{Duration, Instant, sleep};
use uuid::Uuid;

use crate::parity::connection::Connection;
use crate::{Place, SOON, client_of};

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

    fn client(&self, settings: &[(&str, &str)]) -> ClientConfig {
        client_of(&self.address, settings)
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
