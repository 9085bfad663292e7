//! Reads topics from a place that the caller chooses, without a consumer group: for looking at what is there.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use rdkafka::client::ClientContext;
use rdkafka::consumer::{Consumer as _, ConsumerContext, StreamConsumer};
use rdkafka::error::KafkaError as RdKafkaError;
use rdkafka::{Message as _, Offset, TopicPartitionList};
use wire::{Record, Source};

use crate::admin::{self, ANSWER_TIMEOUT};
use crate::client;
use crate::error::KafkaError;
use crate::message;

/// Where in each partition to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// At the first record that is there.
    Beginning,
    /// After the last one.
    End,
    /// At this offset.
    Offset(i64),
    /// This many records before the end.
    Last(i64),
    /// At the first record that is not older, in milliseconds since the epoch.
    Time(i64),
}

/// What a reader came upon.
#[derive(Debug)]
pub enum Event {
    /// A record.
    Record(Source, Record),
    /// Everything that was there when the reader was opened has been read. Said once.
    End,
}

/// Reads partitions of topics.
pub struct Reader {
    servers: String,
    topics: String,
    client: StreamConsumer<Quiet>,
    /// Where what was there at first ends, by topic and partition; without those that have been read.
    /// None once the end was said.
    unread: Mutex<Option<HashMap<(String, i32), i64>>>,
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").field("servers", &self.servers).finish_non_exhaustive()
    }
}

/// Errors come with the records; the end of a partition, which is one of them, is not to be logged each time.
#[derive(Debug)]
struct Quiet;

impl ClientContext for Quiet {
    fn error(&self, error: RdKafkaError, reason: &str) {
        tracing::debug!("reader: {error}: {reason}");
    }
}

impl ConsumerContext for Quiet {}

impl Reader {
    /// Reads all partitions of `topics`, or only those with the number `partition`.
    pub async fn open(
        servers: &str,
        topics: &[&str],
        partition: Option<i32>,
        start: Start,
    ) -> Result<Self, KafkaError> {
        let mut extents = Vec::new();
        for topic in topics {
            let partitions = admin::extents(servers, topic).await?;
            if let Some(wanted) = partition
                && partitions.iter().all(|extent| extent.partition != wanted)
            {
                return Err(KafkaError::UnknownPartition {
                    topic: (*topic).to_owned(),
                    partition: wanted,
                    count: partitions.len(),
                });
            }
            let chosen = |extent: &admin::Extent| partition.is_none_or(|p| p == extent.partition);
            extents.extend(
                partitions.into_iter().filter(chosen).map(|extent| ((*topic).to_owned(), extent)),
            );
        }
        let client: StreamConsumer<Quiet> = client::reading(servers)
            // Nothing is committed, but librdkafka wants a name.
            .set("group.id", "offramp-reader")
            .set("enable.auto.commit", "false")
            .set("enable.partition.eof", "true")
            .set("auto.offset.reset", "earliest")
            .create_with_context(Quiet)
            .map_err(|source| KafkaError::client(servers, source))?;
        let (servers, topics) = (servers.to_owned(), topics.join(", "));
        let opening = tokio::task::spawn_blocking(move || {
            let unread = begin(&client, &extents, start);
            let unread = unread.map_err(|source| KafkaError::Consumer {
                servers: servers.clone(),
                topics: topics.clone(),
                source: Box::new(source),
            })?;
            Ok(Self { servers, topics, client, unread: Mutex::new(Some(unread)) })
        });
        opening.await.expect("asking for offsets does not panic")
    }

    /// The next record, or that there was no more. A broker that is away is waited for. Dropping the future
    /// loses nothing.
    pub async fn next(&self) -> Result<Event, KafkaError> {
        loop {
            if self.has_ended() {
                return Ok(Event::End);
            }
            match self.client.recv().await {
                Ok(found) => {
                    let (source, next) = (message::source(&found), found.offset() + 1);
                    self.read(|topic, partition, end| {
                        topic == source.topic && partition == source.partition && end <= next
                    });
                    return Ok(Event::Record(source, message::record(&found)));
                }
                // Compaction may have taken the last records, so that they never come. The binding does not
                // say of which topic this is the end; what is at its end is not behind.
                Err(RdKafkaError::PartitionEOF(partition)) => {
                    let position = self.client.position().ok();
                    self.read(|topic, number, end| {
                        let at =
                            position.as_ref().and_then(|list| list.find_partition(topic, number));
                        let at = at.and_then(|at| at.offset().to_raw()).unwrap_or(i64::MAX);
                        number == partition && (end <= at || self.is_single_topic())
                    });
                }
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

    fn is_single_topic(&self) -> bool {
        !self.topics.contains(", ")
    }

    /// Takes note of what has been read.
    fn read(&self, is_read: impl Fn(&str, i32, i64) -> bool) {
        let mut unread = self.unread.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(unread) = &mut *unread {
            unread.retain(|(topic, partition), end| !is_read(topic, *partition, *end));
        }
    }

    fn has_ended(&self) -> bool {
        let mut unread = self.unread.lock().unwrap_or_else(PoisonError::into_inner);
        unread.take_if(|unread| unread.is_empty()).is_some()
    }
}

/// The record that stands at this place, or None where there is none: deleted, compacted away, or not yet there.
pub async fn record_at(servers: &str, place: &Source) -> Result<Option<Record>, KafkaError> {
    let start = Start::Offset(place.offset);
    let reader = Reader::open(servers, &[&place.topic], Some(place.partition), start).await?;
    // Where the place is empty, the next record that is there comes, or the end.
    match reader.next().await? {
        Event::Record(source, record) if source == *place => Ok(Some(record)),
        _ => Ok(None),
    }
}

/// Assigns the partitions, and returns where those end that there is something to read of.
fn begin(
    client: &StreamConsumer<Quiet>,
    extents: &[(String, admin::Extent)],
    start: Start,
) -> Result<HashMap<(String, i32), i64>, RdKafkaError> {
    let mut list = TopicPartitionList::with_capacity(extents.len());
    for (topic, extent) in extents {
        let offset = match start {
            Start::Beginning => extent.start,
            Start::End => extent.end,
            Start::Offset(offset) | Start::Time(offset) => offset,
            Start::Last(count) => (extent.end - count).max(extent.start),
        };
        list.add_partition_offset(topic, extent.partition, Offset::Offset(offset))?;
    }
    if let Start::Time(_) = start {
        list = client.offsets_for_times(list, ANSWER_TIMEOUT)?;
    }
    client.assign(&list)?;
    let mut unread = HashMap::new();
    for (topic, extent) in extents {
        let from = list.find_partition(topic, extent.partition).and_then(|at| at.offset().to_raw());
        // Offset::End and its like are negative.
        if from.is_some_and(|from| 0 <= from && from < extent.end) {
            unread.insert((topic.clone(), extent.partition), extent.end);
        }
    }
    Ok(unread)
}
