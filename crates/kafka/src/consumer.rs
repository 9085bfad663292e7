//! A consumer whose records may finish in any order.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use futures_util::FutureExt as _;
use rdkafka::client::ClientContext;
use rdkafka::consumer::{
    BaseConsumer, CommitMode, Consumer as _, ConsumerContext, Rebalance, StreamConsumer,
};
use rdkafka::error::{KafkaError as RdKafkaError, RDKafkaErrorCode};
use rdkafka::message::BorrowedMessage;
use rdkafka::{Offset, TopicPartitionList};
use tokio::sync::watch;
use wire::{Record, Source};

use crate::client;
use crate::error::KafkaError;
use crate::ledger::{Epoch, Ledger};
use crate::message;

/// What is done is committed this often: the bound, in time, on what a crash delivers again.
const COMMIT_INTERVAL: Duration = Duration::from_millis(200);
/// Silence after which a group gives a dead consumer's partitions to others.
const SESSION_TIMEOUT_MS: u32 = 10_000;

/// Reads topics as a member of a consumer group.
pub struct Consumer {
    servers: String,
    topics: String,
    client: StreamConsumer<Context>,
}

/// A record and the ticket with which it is handed back.
#[derive(Debug)]
pub struct Delivery {
    /// The record.
    pub record: Record,
    /// Where it stands.
    pub source: Source,
    /// When it was handed out, in microseconds since the epoch.
    pub received_us: u64,
    /// Handed back to [`Consumer::done`].
    pub ticket: Ticket,
}

/// Entitles to say once that a record is done.
#[derive(Debug)]
pub struct Ticket {
    source: Source,
    epoch: Epoch,
}

impl std::fmt::Debug for Consumer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Consumer")
            .field("servers", &self.servers)
            .field("topics", &self.topics)
            .finish_non_exhaustive()
    }
}

impl Consumer {
    /// Joins `group` to read `topics`, from their beginning where the group has committed nothing: what was
    /// sent before the first start is not passed over.
    pub fn subscribe(servers: &str, group: &str, topics: &[&str]) -> Result<Self, KafkaError> {
        let failed = |source| KafkaError::Consumer {
            servers: servers.to_owned(),
            topics: topics.join(", "),
            source: Box::new(source),
        };
        let client: StreamConsumer<Context> = client::reading(servers)
            .set("group.id", group)
            .set("auto.offset.reset", "earliest")
            .set("allow.auto.create.topics", "true")
            .set("enable.auto.offset.store", "false")
            .set("enable.auto.commit", "true")
            .set("auto.commit.interval.ms", COMMIT_INTERVAL.as_millis().to_string())
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("session.timeout.ms", SESSION_TIMEOUT_MS.to_string())
            .create_with_context(Context::default())
            .map_err(|source| KafkaError::client(servers, source))?;
        client.subscribe(topics).map_err(failed)?;
        Ok(Self { servers: servers.to_owned(), topics: topics.join(", "), client })
    }

    /// The next records, at least one and at most `max`: all that have arrived. A broker that is away, or a
    /// topic that is not there yet, is waited for. Dropping the future loses nothing.
    pub async fn recv_many(&self, max: usize) -> Result<Vec<Delivery>, KafkaError> {
        let mut deliveries = vec![self.recv().await?];
        deliveries.extend(self.recv_ready(max.saturating_sub(1))?);
        Ok(deliveries)
    }

    /// What has arrived, at most `max` records.
    pub fn recv_ready(&self, max: usize) -> Result<Vec<Delivery>, KafkaError> {
        let mut deliveries = Vec::new();
        while deliveries.len() < max
            && let Some(delivery) = self.recv().now_or_never()
        {
            deliveries.push(delivery?);
        }
        Ok(deliveries)
    }

    /// The next record. A broker that is away, or a topic that is not there yet, is waited for. Dropping the
    /// future loses nothing.
    pub async fn recv(&self) -> Result<Delivery, KafkaError> {
        loop {
            match self.client.recv().await {
                Ok(message) => return Ok(self.hand_out(&message)),
                Err(source) if client::is_fatal(&source) => {
                    return Err(KafkaError::Consumer {
                        servers: self.servers.clone(),
                        topics: self.topics.clone(),
                        source: Box::new(source),
                    });
                }
                Err(error) => tracing::debug!(topics = self.topics, "still waiting: {error}"),
            }
        }
    }

    fn hand_out(&self, message: &BorrowedMessage<'_>) -> Delivery {
        let (source, record) = (message::source(message), message::record(message));
        let epoch = self.ledger().handed_out(&source.topic, source.partition, source.offset);
        let received_us =
            std::time::UNIX_EPOCH.elapsed().map_or(0, |passed| passed.as_micros() as u64);
        Delivery { record, ticket: Ticket { source: source.clone(), epoch }, source, received_us }
    }

    /// Becomes true when the group has given this consumer its first share. Only moves while records are asked
    /// for.
    pub fn assigned(&self) -> watch::Receiver<bool> {
        self.client.context().assigned.subscribe()
    }

    /// Says that records met their fates. The offset of each is committed once that of every record before it
    /// is.
    pub fn done(&self, tickets: impl IntoIterator<Item = Ticket>) {
        let mut ledger = self.ledger();
        let mut moved: HashMap<(String, i32), i64> = HashMap::new();
        for Ticket { source: Source { topic, partition, offset }, epoch } in tickets {
            if let Some(next) = ledger.done(&topic, partition, offset, epoch) {
                moved.insert((topic, partition), next);
            }
        }
        let mut offsets = TopicPartitionList::with_capacity(moved.len());
        let stored = moved
            .iter()
            .try_for_each(|((topic, partition), next)| {
                offsets.add_partition_offset(topic, *partition, Offset::Offset(*next))
            })
            .and_then(|()| self.client.store_offsets(&offsets));
        // The ledger stays locked until here, so that offsets are stored in order. A partition that has just
        // left refuses: its next owner gets the record again.
        if let Err(error) = stored {
            tracing::debug!(?moved, "offsets not stored: {error}");
        }
    }

    /// Stops and resumes fetching. While paused, [`recv`](Self::recv) gives nothing but still answers the
    /// group, so that a consumer that waits for its records keeps its partitions.
    pub fn set_paused(&self, paused: bool) {
        let outcome = self.client.assignment().and_then(|assignment| {
            if paused { self.client.pause(&assignment) } else { self.client.resume(&assignment) }
        });
        if let Err(error) = outcome {
            tracing::warn!(
                topics = self.topics,
                paused,
                "partitions not paused or resumed: {error}"
            );
        }
    }

    /// Commits what is done and leaves the group. Blocks while the broker answers, some seconds at most.
    pub fn close(self) {
        match self.client.commit_consumer_state(CommitMode::Sync) {
            Ok(()) | Err(RdKafkaError::ConsumerCommit(RDKafkaErrorCode::NoOffset)) => {}
            Err(error) => {
                tracing::warn!(topics = self.topics, "last offsets not committed: {error}");
            }
        }
    }

    fn ledger(&self) -> std::sync::MutexGuard<'_, Ledger> {
        self.client.context().ledger.lock().expect("no holder panics")
    }
}

#[derive(Default)]
struct Context {
    ledger: Mutex<Ledger>,
    assigned: watch::Sender<bool>,
}

impl ClientContext for Context {
    fn error(&self, error: RdKafkaError, reason: &str) {
        tracing::debug!("consumer: {error}: {reason}");
    }
}

impl ConsumerContext for Context {
    fn pre_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if let Rebalance::Revoke(partitions) = rebalance {
            let mut ledger = self.ledger.lock().expect("no holder panics");
            for partition in partitions.elements() {
                ledger.revoked(partition.topic(), partition.partition());
            }
        }
    }

    fn post_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if let Rebalance::Assign(_) = rebalance {
            self.assigned.send_replace(true);
        }
    }
}
