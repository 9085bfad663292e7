//! The broker's parts, as requests see them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::sync::watch;

use crate::bounds::Bounds;
use crate::groups::coordinator::Coordinator;
use crate::identity::Identity;
use crate::offsets::Offsets;
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
    /// The host and port at which this client reaches the broker.
    pub(crate) fn address_for(&self, client: &Client) -> (String, i32) {
        match &self.advertised {
            Some((host, port)) => (host.clone(), i32::from(*port)),
            None => (client.local.ip().to_string(), i32::from(client.local.port())),
        }
    }

    /// Creates a topic off the runtime's threads, because that waits for the disk.
    pub(crate) async fn create_topic(
        &self,
        name: &str,
        partitions: i64,
    ) -> Result<Arc<Topic>, TopicError> {
        let (topics, name) = (Arc::clone(&self.topics), name.to_owned());
        let creating = tokio::task::spawn_blocking(move || topics.create(&name, partitions));
        creating.await.expect("creating a topic does not panic and is not cancelled")
    }

    /// Deletes a topic and the offsets committed for it.
    pub(crate) async fn delete_topic(&self, name: &str) -> Result<(), TopicError> {
        let topics = Arc::clone(&self.topics);
        let owned = name.to_owned();
        let deleting = tokio::task::spawn_blocking(move || topics.delete(&owned));
        deleting.await.expect("deleting a topic does not panic and is not cancelled")?;
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
