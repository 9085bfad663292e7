//! The broker's parts, as requests see them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::sync::watch;

use crate::bounds::Bounds;
use crate::groups::coordinator::Coordinator;
use crate::identity::Identity;
use crate::log::flusher::Flusher;
use crate::memory::Memory;
use crate::offsets::Offsets;
use crate::stats::{Counters, PartitionStats, Stats};
use crate::topic_config::Overrides;
use crate::topics::{Topic, TopicError, Topics};

/// The only broker of its cluster.
pub(crate) const NODE_ID: i32 = 1;

/// Everything a request may need.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) identity: Identity,
    pub(crate) topics: Arc<Topics>,
    pub(crate) offsets: Arc<Offsets>,
    pub(crate) coordinator: Coordinator,
    pub(crate) flusher: Flusher,
    pub(crate) counters: Counters,
    pub(crate) memory: Memory,
    pub(crate) bounds: Bounds,
    pub(crate) default_partitions: u32,
    pub(crate) creates_topics: bool,
    /// Where clients are told to connect; None for the address that each one has connected to.
    pub(crate) advertised: Option<(String, u16)>,
    /// Turns true when the broker shuts down.
    pub(crate) stopping: watch::Sender<bool>,
}

/// Who sent a request.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    pub(crate) id: String,
    pub(crate) peer: SocketAddr,
    /// This side of its connection.
    pub(crate) local: SocketAddr,
}

impl Node {
    pub(crate) fn stats(&self) -> Stats {
        let topics = self.topics.all();
        let partitions = || topics.iter().flat_map(|topic| &topic.partitions);
        let (counters, syncs) = (&self.counters, self.flusher.counters());
        Stats {
            connections: counters.connections.get() - counters.connections_ended.get(),
            connections_total: counters.connections.get(),
            connections_refused_total: counters.connections_refused.get(),
            requests_total: counters.requests.get(),
            topics: topics.len() as u64,
            partitions: partitions().count() as u64,
            log_bytes: partitions().map(|partition| partition.size()).sum(),
            groups: self.coordinator.inspect_all(|_, _| ()).len() as u64,
            records_in_total: counters.records_in.get(),
            bytes_in_total: counters.bytes_in.get(),
            batches_refused_total: counters.batches_refused.get(),
            bytes_out_total: counters.bytes_out.get(),
            syncs_total: syncs.syncs.get(),
            syncs_failed_total: syncs.failures.get(),
            sync_microseconds_total: syncs.microseconds.get(),
            request_bytes: self.memory.used() as u64,
        }
    }

    pub(crate) fn partition_stats(&self) -> Vec<PartitionStats> {
        let topics = self.topics.all();
        let partitions = topics.iter().flat_map(|topic| {
            topic.partitions.iter().enumerate().map(|(index, partition)| {
                let offsets = partition.watermarks().ok();
                PartitionStats {
                    topic: topic.name.clone(),
                    partition: index as i32,
                    start_offset: offsets.map_or(0, |offsets| offsets.start),
                    end_offset: offsets.map_or(0, |offsets| offsets.high),
                    bytes: partition.size(),
                    is_writable: partition.is_sound(),
                }
            })
        });
        partitions.collect()
    }

    /// The host and port at which this client reaches the broker.
    pub(crate) fn address_for(&self, client: &Client) -> (String, i32) {
        match &self.advertised {
            Some((host, port)) => (host.clone(), i32::from(*port)),
            None => (client.local.ip().to_string(), i32::from(client.local.port())),
        }
    }

    /// Creates a topic with what is set for it.
    pub(crate) async fn create_topic(
        &self,
        name: &str,
        partitions: i64,
        overrides: Overrides,
    ) -> Result<Arc<Topic>, TopicError> {
        let name = name.to_owned();
        self.change_topics(move |topics| topics.create(&name, partitions, &overrides)).await
    }

    /// Changes the catalogue off the runtime's threads, because that waits for the disk.
    pub(crate) async fn change_topics<T: Send + 'static>(
        &self,
        change: impl FnOnce(&Topics) -> Result<T, TopicError> + Send + 'static,
    ) -> Result<T, TopicError> {
        let topics = Arc::clone(&self.topics);
        let changing = tokio::task::spawn_blocking(move || change(&topics));
        changing.await.expect("changing topics does not panic and is not cancelled")
    }

    /// Deletes a topic and the offsets committed for it.
    pub(crate) async fn delete_topic(&self, name: &str) -> Result<(), TopicError> {
        let owned = name.to_owned();
        self.change_topics(move |topics| topics.delete(&owned)).await?;
        // Offsets that stay behind for want of disk space are out of range in a new topic of that name.
        let _ = self.offsets.remove(|_, (topic, _), _| topic == name);
        Ok(())
    }
}

/// Milliseconds since the epoch, as records and commits are stamped.
pub(crate) fn wall_clock_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
