//! Asking again and again how far a group has read a topic.
//!
//! [`Observer`] keeps its connections, so that a look costs four requests and no handshake. It does not try again: who
//! looks every second does so anyway, and has to know that there was nothing to see.

use protocol::offsets::OffsetFetchTopic;

use super::{Client, Extent};
use crate::cluster::question;
use crate::connection::Connection;
use crate::error::KafkaError;
use crate::group::{committed_in, committed_request};

/// How far a group has read a partition, whether or not it has begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// What there is.
    pub extent: Extent,
    /// The offset that the group goes on at; `None` until it has committed one.
    pub committed: Option<i64>,
}

/// A group and a topic that are looked at again and again.
pub struct Observer {
    client: Client,
    coordinator: Connection,
    group: String,
    topic: String,
}

impl std::fmt::Debug for Observer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { group, topic, .. } = self;
        f.debug_struct("Observer")
            .field("group", group)
            .field("topic", topic)
            .finish_non_exhaustive()
    }
}

impl Standing {
    /// The first offset that the group has not read: where it has committed nothing or what it has not read was
    /// deleted, the first there is.
    pub fn position(&self) -> i64 {
        self.committed.unwrap_or(self.extent.start).max(self.extent.start)
    }
}

impl Observer {
    /// Connects. The group need not be there yet.
    ///
    /// # Errors
    ///
    /// No broker answers, or none coordinates the group.
    pub async fn connect(servers: &str, group: &str, topic: &str) -> Result<Self, KafkaError> {
        let mut client = Client::connect(servers).await?;
        let what = format!("say who coordinates group `{group}`");
        let coordinator = client.coordinator(group, &what).await?;
        Ok(Self { client, coordinator, group: group.to_owned(), topic: topic.to_owned() })
    }

    /// How far the group has read each partition of the topic at present, in their order.
    ///
    /// # Errors
    ///
    /// The topic is not there, or a broker does not answer for all of it. After that, connect anew.
    pub async fn look(&mut self) -> Result<Vec<Standing>, KafkaError> {
        let Self { client, coordinator, group, topic } = self;
        let about = question(Some(vec![topic.clone()]), false);
        client.cluster.learn(client.call(&client.any, &about, "describe topics").await?);
        let places = client.places(topic)?;
        let what = format!("say what group `{group}` has committed");
        let partition_indexes = places.iter().map(|place| place.1).collect();
        let asked = OffsetFetchTopic { name: topic.clone(), partition_indexes };
        let request = committed_request(group, Some(vec![asked]), false);
        // Before the ends, which then are never behind it.
        let (error, topics) = committed_in(client.call(coordinator, &request, &what).await?);
        client.check(error, &what)?;
        let mut committed = vec![None; places.len()];
        for partition in topics.into_iter().flat_map(|topic| topic.partitions) {
            client.check(partition.error_code, &what)?;
            let at = usize::try_from(partition.partition_index).unwrap_or(usize::MAX);
            if let Some(committed) = committed.get_mut(at) {
                *committed =
                    (0 <= partition.committed_offset).then_some(partition.committed_offset);
            }
        }
        let extents = client.extents(&places).await?;
        let standings = extents.into_iter().zip(committed);
        Ok(standings.map(|(extent, committed)| Standing { extent, committed }).collect())
    }
}
