//! What a client knows of a cluster: its brokers, and who leads which partition.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use protocol::cluster::{MetadataRequest, MetadataRequestTopic, MetadataResponse};
use protocol::{ErrorCode, Request};
use rand::seq::SliceRandom as _;

use crate::connection::{CallError, Connection};
use crate::error::KafkaError;

/// A broker that does not say what it was asked within this time is not waited for any longer.
pub(crate) const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Pauses between attempts: from the first to the last, each twice the one before, less a fifth by chance. A broker
/// that comes back is found again within the last: an edge node that restarted its broker answers nothing until
/// then.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LAST_PAUSE: Duration = Duration::from_millis(500);
const DEFAULT_PORT: u16 = 9092;

/// The broker with this id, in its cluster.
pub(crate) type NodeId = i32;

/// A partition of a topic.
pub(crate) type Place = (Arc<str>, i32);

/// How long to wait before the next attempt.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Backoff(Duration);

impl Default for Backoff {
    fn default() -> Self {
        Self(FIRST_PAUSE)
    }
}

impl Backoff {
    pub(crate) fn next(&mut self) -> Duration {
        let pause = self.0;
        self.0 = (2 * pause).min(LAST_PAUSE);
        pause.mul_f64(rand::random::<f64>().mul_add(-0.2, 1.0))
    }
}

/// The addresses in a list of `bootstrap.servers`.
pub(crate) fn addresses(servers: &str) -> Result<Vec<String>, KafkaError> {
    let address = |server: &str| {
        let (host, port) = match server.rsplit_once(':') {
            // More than one colon, without brackets, is an IPv6 address without a port.
            Some((host, port)) if !host.contains(':') || host.ends_with(']') => {
                (host, port.parse().ok()?)
            }
            _ => (server, DEFAULT_PORT),
        };
        (!host.is_empty()).then(|| match host {
            host if host.contains(':') && !host.starts_with('[') => format!("[{host}]:{port}"),
            host => format!("{host}:{port}"),
        })
    };
    let named = servers.split(',').map(str::trim).filter(|server| !server.is_empty());
    let found: Option<Vec<_>> = named.map(address).collect();
    found
        .filter(|found| !found.is_empty())
        .ok_or_else(|| KafkaError::Servers { servers: servers.to_owned() })
}

/// What is known of a topic.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Topic {
    /// None unless it can be used.
    pub(crate) error: Option<ErrorCode>,
    /// The leader of each partition, if it has one.
    pub(crate) leaders: Vec<Option<NodeId>>,
}

/// A cluster as a client last heard of it.
#[derive(Debug)]
pub(crate) struct Cluster {
    bootstrap: Vec<String>,
    nodes: HashMap<NodeId, String>,
    topics: HashMap<String, Topic>,
}

impl Cluster {
    pub(crate) fn new(servers: &str) -> Result<Self, KafkaError> {
        let bootstrap = addresses(servers)?;
        Ok(Self { bootstrap, nodes: HashMap::new(), topics: HashMap::new() })
    }

    /// Where a broker is.
    pub(crate) fn address(&self, node: NodeId) -> Option<&String> {
        self.nodes.get(&node)
    }

    /// The ids of all brokers.
    pub(crate) fn nodes(&self) -> Vec<NodeId> {
        self.nodes.keys().copied().collect()
    }

    pub(crate) fn topic(&self, name: &str) -> Option<&Topic> {
        self.topics.get(name)
    }

    /// How many partitions a topic has; 0 while that is not known.
    pub(crate) fn partitions(&self, topic: &str) -> usize {
        self.topic(topic).map_or(0, |topic| topic.leaders.len())
    }

    pub(crate) fn topics(&self) -> impl Iterator<Item = (&String, &Topic)> {
        self.topics.iter()
    }

    /// Who leads a partition, if it is known where that is.
    pub(crate) fn leader(&self, topic: &str, partition: i32) -> Option<NodeId> {
        let leaders = &self.topic(topic)?.leaders;
        let leader = leaders.get(usize::try_from(partition).ok()?).copied().flatten();
        leader.filter(|leader| self.nodes.contains_key(leader))
    }

    /// Where to ask: brokers that are known by now and those named at first, in random order, each once.
    pub(crate) fn candidates(&self) -> Vec<String> {
        let mut known: Vec<_> = self.nodes.values().cloned().collect();
        let mut named = self.bootstrap.clone();
        known.shuffle(&mut rand::rng());
        named.shuffle(&mut rand::rng());
        named.retain(|address| !known.contains(address));
        known.append(&mut named);
        known
    }

    /// Takes note of an answer.
    pub(crate) fn learn(&mut self, metadata: MetadataResponse) {
        if !metadata.brokers.is_empty() {
            self.nodes = metadata
                .brokers
                .into_iter()
                .map(|broker| (broker.node_id, address_of(&broker.host, broker.port)))
                .collect();
        }
        for topic in metadata.topics {
            let Some(name) = topic.name else { continue };
            let mut leaders = vec![None; topic.partitions.len()];
            for partition in topic.partitions {
                let index = usize::try_from(partition.partition_index).unwrap_or(usize::MAX);
                if let Some(leader) = leaders.get_mut(index) {
                    *leader = (0 <= partition.leader_id).then_some(partition.leader_id);
                }
            }
            let error = (topic.error_code != ErrorCode::None).then_some(topic.error_code);
            self.topics.insert(name, Topic { error, leaders });
        }
    }
}

/// The address of a broker, as it says itself where it is.
pub(crate) fn address_of(host: &str, port: i32) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// What there is of partitions, by topic: topics and partitions in the order in which they come.
pub(crate) fn by_topic<T>(items: impl IntoIterator<Item = (Arc<str>, T)>) -> Vec<(String, Vec<T>)> {
    let mut topics: Vec<(String, Vec<T>)> = Vec::new();
    for (topic, item) in items {
        match topics.iter_mut().find(|(name, _)| **name == *topic) {
            Some((_, items)) => items.push(item),
            None => topics.push((topic.as_ref().to_owned(), vec![item])),
        }
    }
    topics
}

/// What a broker says of a refusal.
pub(crate) fn said(error: ErrorCode, words: Option<String>) -> String {
    match words.filter(|words| !words.is_empty()) {
        Some(words) => format!("{error}: {words}"),
        None => error.to_string(),
    }
}

/// A question about these topics, or about all. Those that are not there are created, if asked to and if the broker
/// does so.
pub(crate) fn question(topics: Option<Vec<String>>, create: bool) -> MetadataRequest {
    let named = |name| MetadataRequestTopic { name: Some(name), ..Default::default() };
    MetadataRequest {
        topics: topics.map(|topics| topics.into_iter().map(named).collect()),
        allow_auto_topic_creation: create,
        ..Default::default()
    }
}

/// Connects to the first of these that answers.
pub(crate) async fn connect_any(candidates: Vec<String>) -> Result<Connection, CallError> {
    let mut failure = None;
    for address in candidates {
        match Connection::open(&address).await {
            Ok(connection) => return Ok(connection),
            Err(error) => failure = Some(error),
        }
    }
    Err(failure.unwrap_or_else(|| CallError::Connect {
        address: Arc::from("no broker"),
        reason: Arc::from("none is known"),
    }))
}

/// Asks over a connection that was there, or else the first broker that answers, and returns the connection for the
/// next question.
pub(crate) async fn ask_any<R: Request + Send + 'static>(
    connection: Option<Connection>,
    candidates: Vec<String>,
    question: R,
) -> Result<(Connection, R::Response), CallError> {
    let connection = match connection.filter(|connection| !connection.is_lost()) {
        Some(connection) => connection,
        None => connect_any(candidates).await?,
    };
    let answer = connection.call(&question, ANSWER_TIMEOUT).await?;
    Ok((connection, answer))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_ports() {
        for (servers, expected) in [
            ("kafka", vec!["kafka:9092"]),
            ("kafka-0:9093, kafka-1", vec!["kafka-0:9093", "kafka-1:9092"]),
            ("[::1]:9094,::1", vec!["[::1]:9094", "[::1]:9092"]),
        ] {
            assert_eq!(addresses(servers).unwrap(), expected);
        }
        for servers in ["", ",", "kafka:port", ":9092", "kafka:99999"] {
            let error = addresses(servers).unwrap_err().to_string();
            assert!(error.contains(&format!("`{servers}`")), "{error}");
        }
    }

    #[test]
    fn pauses_grow_up_to_a_bound() {
        let mut backoff = Backoff::default();
        let pauses: Vec<_> = (0..10).map(|_| backoff.next()).collect();
        assert!(pauses[0] <= FIRST_PAUSE && FIRST_PAUSE.mul_f64(0.8) <= pauses[0]);
        assert!(pauses.iter().all(|pause| *pause <= LAST_PAUSE));
        assert!(LAST_PAUSE.mul_f64(0.8) <= pauses[9]);
    }
}
