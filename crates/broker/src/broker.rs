//! Starting and stopping.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;
use tracing::{info, warn};

use crate::bounds::Bounds;
use crate::connection;
use crate::error::BrokerError;
use crate::groups::coordinator::Coordinator;
use crate::groups::group::GroupPolicy;
use crate::identity::Identity;
use crate::log::compaction::CompactionBounds;
use crate::log::flusher::{Flush, Flusher, FlusherThread};
use crate::memory::Memory;
use crate::node::{Node, wall_clock_ms};
use crate::offsets::Offsets;
use crate::stats::{Counters, PartitionStats, Stats};
use crate::topic_config::{Overrides, TopicConfig};
use crate::topics::{TopicBounds, TopicError, Topics};

/// Partitions of a topic that nobody gave a number.
const DEFAULT_PARTITIONS: u32 = 1;
/// Long enough for consumers that are started together to meet in their group's first generation, and not
/// noticed by anyone. Apache Kafka waits three seconds.
const INITIAL_REBALANCE_DELAY: Duration = Duration::from_millis(200);
/// Pause between two looks for records that may go.
const CLEANING_INTERVAL: Duration = Duration::from_secs(30);
/// Time that connections have to take their last responses, below the ten seconds that supervisors such as
/// systemd and Kubernetes give at the least.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
/// Pause after the system refused to accept a connection, for want of descriptors for instance.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What a broker needs to know.
#[derive(Debug, Clone)]
pub struct BrokerConfig {
    /// Where everything is kept; created if missing.
    pub dir: PathBuf,
    /// The address to listen on; port 0 for any free port.
    pub listen: SocketAddr,
    /// `host:port` that clients are told to connect to. By default the bound address, or the address that each
    /// client connected to if that is unspecified (0.0.0.0).
    pub advertise: Option<String>,
    /// Partitions of a topic that is created without a number.
    pub default_partitions: u32,
    /// Whether asking for a topic's metadata creates the topic, where the client allows it.
    pub creates_topics: bool,
    /// When records are made durable.
    pub flush: Flush,
    /// How records of a topic are kept unless the topic says otherwise.
    pub topic_defaults: TopicConfig,
    /// Pause between two looks for records that have been kept long enough or were replaced by newer ones.
    pub cleaning_interval: Duration,
    /// How long a consumer group that starts from nothing waits for more members.
    pub initial_rebalance_delay: Duration,
    /// How much of everything.
    pub bounds: Bounds,
}

impl BrokerConfig {
    /// A durable broker with one partition per topic.
    pub fn new(dir: impl Into<PathBuf>, listen: SocketAddr) -> Self {
        Self {
            dir: dir.into(),
            listen,
            advertise: None,
            default_partitions: DEFAULT_PARTITIONS,
            creates_topics: true,
            flush: Flush::Always,
            topic_defaults: TopicConfig::default(),
            cleaning_interval: CLEANING_INTERVAL,
            initial_rebalance_delay: INITIAL_REBALANCE_DELAY,
            bounds: Bounds::default(),
        }
    }
}

/// A running broker. Dropping it stops it without waiting for anyone.
#[derive(Debug)]
pub struct Broker {
    node: Arc<Node>,
    local_addr: SocketAddr,
    advertised: String,
    accepting: JoinHandle<()>,
    keeping_time: JoinHandle<()>,
    flusher: Option<FlusherThread>,
}

impl Broker {
    /// Opens the directory, checks its logs, and listens.
    pub async fn start(config: BrokerConfig) -> Result<Self, BrokerError> {
        let advertised = config.advertise.as_deref().map(parse_advertised).transpose()?;
        let listen_error = |source| BrokerError::Listen { address: config.listen, source };
        let listener = TcpListener::bind(config.listen).await.map_err(listen_error)?;
        let local_addr = listener.local_addr().map_err(listen_error)?;
        let cleaning_interval = config.cleaning_interval;
        let opening = tokio::task::spawn_blocking(move || open(&config, advertised));
        let (node, flusher) =
            opening.await.map_err(|error| BrokerError::Thread(error.into()))??;
        let node = Arc::new(node);
        let advertised = match &node.advertised {
            Some((host, port)) => format!("{host}:{port}"),
            None if local_addr.ip().is_unspecified() => format!("127.0.0.1:{}", local_addr.port()),
            None => local_addr.to_string(),
        };
        info!(%local_addr, advertised, topics = node.topics.all().len(), "the broker listens");
        let accepting = tokio::spawn(accept(Arc::clone(&node), listener));
        let timed = Arc::clone(&node);
        let keeping_time = tokio::spawn(async move {
            tokio::join!(timed.coordinator.keep_time(), keep_house(&timed, cleaning_interval));
        });
        Ok(Self { node, local_addr, advertised, accepting, keeping_time, flusher: Some(flusher) })
    }

    /// The address that the broker listens on.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// The `host:port` for a client on this machine to bootstrap from.
    pub fn advertised(&self) -> &str {
        &self.advertised
    }

    /// What the broker has counted and holds.
    pub fn stats(&self) -> Stats {
        self.node.stats()
    }

    /// A way to look at the broker from elsewhere, which does not keep it from ending.
    pub fn monitor(&self) -> Monitor {
        Monitor { node: Arc::downgrade(&self.node) }
    }

    /// Creates a topic, unless it exists.
    pub async fn create_topic(&self, name: &str, partitions: u32) -> Result<(), BrokerError> {
        match self.node.create_topic(name, partitions.into(), Overrides::default()).await {
            Ok(_) | Err(TopicError::Exists { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Stops accepting, lets connections take what is due to them, makes everything durable, and gives the
    /// directory up.
    pub async fn shutdown(mut self) -> Result<(), BrokerError> {
        self.node.stopping.send_replace(true);
        let _ = (&mut self.accepting).await;
        self.keeping_time.abort();
        let _ = (&mut self.keeping_time).await;
        if let Some(flusher) = self.flusher.take() {
            flusher.stop().await;
        }
        info!("the broker has stopped");
        Ok(())
    }
}

/// Looks at a broker for as long as that runs.
#[derive(Debug, Clone)]
pub struct Monitor {
    node: Weak<Node>,
}

impl Monitor {
    /// What the broker has counted and holds; None once it has ended.
    pub fn stats(&self) -> Option<Stats> {
        self.node.upgrade().map(|node| node.stats())
    }

    /// What there is of each partition, by topic and number; None once the broker has ended.
    pub fn partitions(&self) -> Option<Vec<PartitionStats>> {
        self.node.upgrade().map(|node| node.partition_stats())
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.accepting.abort();
        self.keeping_time.abort();
    }
}

fn parse_advertised(value: &str) -> Result<(String, u16), BrokerError> {
    let parsed = value.rsplit_once(':').and_then(|(host, port)| {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let port = port.parse().ok().filter(|&port| port != 0)?;
        (!host.is_empty()).then(|| (host.to_owned(), port))
    });
    parsed.ok_or_else(|| BrokerError::Advertise { value: value.to_owned() })
}

pub(crate) fn open(
    config: &BrokerConfig,
    advertised: Option<(String, u16)>,
) -> Result<(Node, FlusherThread), BrokerError> {
    let BrokerConfig { dir, flush, bounds, .. } = config;
    let identity = Identity::open(dir)?;
    let (flusher, thread) = Flusher::start(*flush).map_err(BrokerError::Thread)?;
    let topic_bounds = TopicBounds {
        topics: bounds.topics,
        partitions: bounds.partitions,
        producers: bounds.producers,
        compaction: CompactionBounds {
            keys: bounds.compaction_keys,
            inflated_bytes: bounds.inflated_bytes,
        },
    };
    let topics = Topics::open(dir, topic_bounds, config.topic_defaults, *flush, flusher.clone())?;
    let unusable = |source| BrokerError::Directory { path: dir.clone(), source };
    let offsets = Offsets::open(dir, *flush, flusher.clone()).map_err(unusable)?;
    let policy = GroupPolicy {
        initial_rebalance_delay: config.initial_rebalance_delay,
        members: bounds.group_members,
    };
    let node = Node {
        identity,
        topics: Arc::new(topics),
        offsets,
        coordinator: Coordinator::new(policy, bounds.groups),
        flusher,
        counters: Counters::default(),
        memory: Memory::new(bounds.memory_bytes),
        bounds: bounds.clone(),
        default_partitions: config.default_partitions,
        creates_topics: config.creates_topics,
        advertised,
        stopping: watch::Sender::new(false),
    };
    Ok((node, thread))
}

/// Accepts connections until the broker stops, then waits for those that are open.
async fn accept(node: Arc<Node>, listener: TcpListener) {
    let mut connections = JoinSet::new();
    let slots = Arc::new(Semaphore::new(node.bounds.connections));
    let mut stopping = node.stopping.subscribe();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
            _ = stopping.wait_for(|&stopping| stopping) => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                warn!(%error, "a connection cannot be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Ok(slot) = Arc::clone(&slots).try_acquire_owned() else {
            node.counters.connections_refused.add(1);
            warn!(%peer, bound = node.bounds.connections, "too many connections");
            continue;
        };
        let node = Arc::clone(&node);
        connections.spawn(async move {
            node.counters.connections.add(1);
            connection::serve(&node, stream, peer).await;
            node.counters.connections_ended.add(1);
            drop(slot);
        });
    }
    drop(listener);
    let drained = async { while connections.join_next().await.is_some() {} };
    if timeout(DRAIN_TIMEOUT, drained).await.is_err() {
        warn!("some connections did not end in time and are cut off");
        // Until the last of them is gone it holds the directory's lock.
        connections.shutdown().await;
    }
}

/// Removes what has been kept long enough and what newer records have replaced, again and again.
async fn keep_house(node: &Arc<Node>, interval: Duration) {
    loop {
        tokio::time::sleep(interval).await;
        // The directory is given up with the last of these, so that no other broker meets this one's work.
        let node = Arc::clone(node);
        if let Err(error) = tokio::task::spawn_blocking(move || clean(&node)).await {
            warn!(%error, "old records were not removed");
        }
    }
}

pub(crate) fn clean(node: &Node) {
    let is_stopping = || *node.stopping.borrow();
    for topic in node.topics.all() {
        for partition in &topic.partitions {
            let now_ms = wall_clock_ms();
            let cleaned = partition
                .enforce_retention(now_ms)
                .and_then(|()| partition.compact(now_ms, &is_stopping));
            match cleaned {
                _ if is_stopping() => return,
                Ok(()) => {}
                Err(error) => warn!(%error, "records stay longer than they should"),
            }
        }
    }
}
