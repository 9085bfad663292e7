//! Asking brokers about topics and groups, and having them change topics.

use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError as RdKafkaError, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};

use crate::client;
use crate::error::KafkaError;

/// Long enough for a broker that is just starting and for a slow link.
pub(crate) const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// A topic, as a broker lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    /// Its name.
    pub name: String,
    /// How many partitions it has.
    pub partitions: usize,
}

/// What there is of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// Partition number.
    pub partition: i32,
    /// The first offset that is there.
    pub start: i64,
    /// The offset that the next record gets.
    pub end: i64,
}

/// A topic's setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// Its name, as in `retention.ms`.
    pub name: String,
    /// Its value.
    pub value: String,
    /// Whether it was set for the topic; otherwise it is the broker's.
    pub is_set: bool,
}

/// A consumer group, as a broker lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// `Stable`, `Empty`, …, as the broker says it.
    pub state: String,
    /// How many members it has.
    pub members: usize,
}

/// How far a group has read a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// Topic name.
    pub topic: String,
    /// What there is.
    pub extent: Extent,
    /// The offset that the group goes on at.
    pub committed: i64,
}

impl Progress {
    /// Records that the group has not read.
    pub fn lag(&self) -> i64 {
        (self.extent.end - self.committed.max(self.extent.start)).max(0)
    }
}

/// Waits until a broker answers at `servers`.
pub async fn reach(servers: &str) -> Result<(), KafkaError> {
    topics(servers).await.map(drop)
}

/// All topics, by name; those that brokers keep for themselves included.
pub async fn topics(servers: &str) -> Result<Vec<Topic>, KafkaError> {
    blocking(servers, |servers, client| metadata(servers, client, None)).await
}

/// What there is of each partition of a topic.
pub async fn extents(servers: &str, topic: &str) -> Result<Vec<Extent>, KafkaError> {
    let topic = topic.to_owned();
    blocking(servers, move |servers, client| {
        let partitions = partitions_of(servers, client, &topic)?;
        let extents = (0..partitions).map(|partition| extent(servers, client, &topic, partition));
        extents.collect()
    })
    .await
}

/// All consumer groups, by name.
pub async fn groups(servers: &str) -> Result<Vec<Group>, KafkaError> {
    blocking(servers, |servers, client| {
        let listed = client.fetch_group_list(None, ANSWER_TIMEOUT);
        let listed = listed.map_err(|error| refused(servers, "list groups", &error))?;
        let mut groups: Vec<_> = listed
            .groups()
            .iter()
            .map(|group| Group {
                name: group.name().to_owned(),
                state: group.state().to_owned(),
                members: group.members().len(),
            })
            .collect();
        groups.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(groups)
    })
    .await
}

/// How far a group has read each partition for which it has committed an offset.
pub async fn progress(servers: &str, group: &str) -> Result<Vec<Progress>, KafkaError> {
    let group = group.to_owned();
    blocking(servers, move |servers, client| {
        let topics = metadata(servers, client, None)?;
        let mut partitions = TopicPartitionList::new();
        for topic in &topics {
            partitions.add_partition_range(&topic.name, 0, topic.partitions as i32 - 1);
        }
        let member: BaseConsumer = client::config(servers)
            .set("group.id", &group)
            .create()
            .map_err(|source| KafkaError::client(servers, source))?;
        let committed = member.committed_offsets(partitions, ANSWER_TIMEOUT);
        let what = format!("say what group `{group}` has committed");
        let committed = committed.map_err(|error| refused(servers, &what, &error))?;
        let mut progress = Vec::new();
        for element in committed.elements() {
            let Offset::Offset(committed) = element.offset() else { continue };
            let topic = element.topic().to_owned();
            let extent = extent(servers, client, &topic, element.partition())?;
            progress.push(Progress { topic, extent, committed });
        }
        Ok(progress)
    })
    .await
}

/// A topic's settings, by name.
pub async fn settings(servers: &str, topic: &str) -> Result<Vec<Setting>, KafkaError> {
    let what = format!("describe topic `{topic}`");
    let resource = ResourceSpecifier::Topic(topic);
    let described = admin(servers)?.describe_configs([&resource], &options()).await;
    let described = described.map_err(|error| refused(servers, &what, &error))?.into_iter().next();
    let described = described.ok_or_else(|| refused(servers, &what, &"no answer"))?;
    let described = described.map_err(|code| refused(servers, &what, &code))?;
    let mut settings: Vec<_> = described
        .entries
        .into_iter()
        .map(|entry| Setting {
            name: entry.name,
            value: entry.value.unwrap_or_default(),
            is_set: entry.source == rdkafka::admin::ConfigSource::DynamicTopic,
        })
        .collect();
    settings.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(settings)
}

/// Creates a topic, with the broker's own number of replicas, and of partitions unless one is given.
pub async fn create_topic(
    servers: &str,
    topic: &str,
    partitions: Option<u32>,
    settings: &[(String, String)],
) -> Result<(), KafkaError> {
    let partitions = partitions.map_or(-1, |partitions| partitions as i32);
    let mut wanted = NewTopic::new(topic, partitions, TopicReplication::Fixed(-1));
    for (name, value) in settings {
        wanted = wanted.set(name, value);
    }
    let failed = |reason: String| KafkaError::Topic {
        topic: topic.to_owned(),
        servers: servers.to_owned(),
        reason,
    };
    let created = admin(servers)?.create_topics([&wanted], &options()).await;
    match created.map_err(|error| failed(error.to_string()))?.into_iter().next() {
        // The binding keeps the broker's own words to itself.
        Some(Err((_, RDKafkaErrorCode::InvalidConfig))) => {
            let asked: Vec<_> =
                settings.iter().map(|(name, value)| format!("{name}={value}")).collect();
            Err(failed(format!("it refuses a setting of {}", asked.join(", "))))
        }
        Some(Err((_, code))) => Err(failed(code.to_string())),
        _ => Ok(()),
    }
}

/// Deletes a topic and all that is in it.
pub async fn delete_topic(servers: &str, topic: &str) -> Result<(), KafkaError> {
    let what = format!("delete topic `{topic}`");
    let deleted = admin(servers)?.delete_topics(&[topic], &options()).await;
    match deleted.map_err(|error| refused(servers, &what, &error))?.into_iter().next() {
        Some(Err((_, RDKafkaErrorCode::UnknownTopicOrPartition))) => {
            Err(KafkaError::UnknownTopic { topic: topic.to_owned(), servers: servers.to_owned() })
        }
        Some(Err((_, code))) => Err(refused(servers, &what, &code)),
        _ => Ok(()),
    }
}

/// Of each partition, the first offset whose record is not older than `time_ms`, in milliseconds since the epoch;
/// where all are older, its end.
pub async fn offsets_at(
    servers: &str,
    topic: &str,
    time_ms: i64,
) -> Result<Vec<(i32, i64)>, KafkaError> {
    let extents = extents(servers, topic).await?;
    let topic = topic.to_owned();
    blocking(servers, move |servers, client| {
        let asked = extents.iter().try_fold(TopicPartitionList::new(), |mut list, extent| {
            list.add_partition_offset(&topic, extent.partition, Offset::Offset(time_ms))?;
            Ok(list)
        });
        let found = asked.and_then(|list| client.offsets_for_times(list, ANSWER_TIMEOUT));
        let what = format!("say where `{topic}` has records of a time");
        let found = found.map_err(|error| refused(servers, &what, &error))?;
        let at = |extent: &Extent| {
            let found = found.find_partition(&topic, extent.partition);
            let offset = found.and_then(|found| found.offset().to_raw());
            // Where all are older, the answer is a name for the end, which is negative.
            (extent.partition, offset.filter(|&offset| 0 <= offset).unwrap_or(extent.end))
        };
        Ok(extents.iter().map(at).collect())
    })
    .await
}

/// Deletes the records of a topic that stand before the offset given for each partition. Returns where each of
/// those partitions begins then.
pub async fn delete_records(
    servers: &str,
    topic: &str,
    before: &[(i32, i64)],
) -> Result<Vec<(i32, i64)>, KafkaError> {
    let what = format!("delete records of `{topic}`");
    let mut offsets = TopicPartitionList::with_capacity(before.len());
    for &(partition, offset) in before {
        let added = offsets.add_partition_offset(topic, partition, Offset::Offset(offset));
        added.map_err(|error| refused(servers, &what, &error))?;
    }
    let deleted = admin(servers)?.delete_records(&offsets, &options()).await;
    let deleted = deleted.map_err(|error| refused(servers, &what, &error))?;
    let mut starts = Vec::with_capacity(before.len());
    for partition in deleted.elements() {
        let number = partition.partition();
        if let Err(error) = partition.error() {
            let what = format!("delete records of `{topic}`, partition {number}");
            return Err(refused(servers, &what, &error));
        }
        starts.push((number, partition.offset().to_raw().unwrap_or_default()));
    }
    Ok(starts)
}

/// Creates the topics that are not there yet, with the broker's own number of replicas.
pub async fn ensure_topics(
    servers: &str,
    topics: &[&str],
    partitions: u32,
) -> Result<(), KafkaError> {
    reach(servers).await?;
    let wanted: Vec<NewTopic<'_>> = topics
        .iter()
        .map(|topic| NewTopic::new(topic, partitions as i32, TopicReplication::Fixed(-1)))
        .collect();
    let outcomes = admin(servers)?.create_topics(&wanted, &options()).await.map_err(|error| {
        KafkaError::Topic {
            topic: topics.join("`, `"),
            servers: servers.to_owned(),
            reason: error.to_string(),
        }
    })?;
    for outcome in outcomes {
        match outcome {
            Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((topic, code)) => {
                return Err(KafkaError::Topic {
                    topic,
                    servers: servers.to_owned(),
                    reason: code.to_string(),
                });
            }
        }
    }
    Ok(())
}

fn admin(servers: &str) -> Result<AdminClient<DefaultClientContext>, KafkaError> {
    client::config(servers).create().map_err(|source| KafkaError::client(servers, source))
}

fn options() -> AdminOptions {
    AdminOptions::new()
        .request_timeout(Some(ANSWER_TIMEOUT))
        .operation_timeout(Some(ANSWER_TIMEOUT))
}

fn refused(servers: &str, what: &str, reason: &impl ToString) -> KafkaError {
    KafkaError::Refused {
        servers: servers.to_owned(),
        what: what.to_owned(),
        reason: reason.to_string(),
    }
}

/// Asks with a client of its own, off the runtime's threads: librdkafka's questions block.
async fn blocking<T: Send + 'static>(
    servers: &str,
    ask: impl FnOnce(&str, &BaseConsumer) -> Result<T, KafkaError> + Send + 'static,
) -> Result<T, KafkaError> {
    let servers = servers.to_owned();
    let asked = tokio::task::spawn_blocking(move || {
        let client: BaseConsumer = client::config(&servers)
            .create()
            .map_err(|source| KafkaError::client(&servers, source))?;
        ask(&servers, &client)
    });
    asked.await.expect("the question does not panic")
}

fn metadata(
    servers: &str,
    client: &BaseConsumer,
    topic: Option<&str>,
) -> Result<Vec<Topic>, KafkaError> {
    let metadata = client.fetch_metadata(topic, ANSWER_TIMEOUT);
    let metadata = metadata.map_err(|error| unreachable(servers, &error))?;
    let mut topics: Vec<_> = metadata
        .topics()
        .iter()
        .filter(|topic| topic.error().is_none())
        .map(|topic| Topic { name: topic.name().to_owned(), partitions: topic.partitions().len() })
        .collect();
    topics.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(topics)
}

fn partitions_of(servers: &str, client: &BaseConsumer, topic: &str) -> Result<i32, KafkaError> {
    // All are asked for: a question about one topic would create it.
    let topics = metadata(servers, client, None)?;
    let found = topics.iter().find(|found| found.name == topic);
    found.map(|found| found.partitions as i32).ok_or_else(|| KafkaError::UnknownTopic {
        topic: topic.to_owned(),
        servers: servers.to_owned(),
    })
}

fn extent(
    servers: &str,
    client: &BaseConsumer,
    topic: &str,
    partition: i32,
) -> Result<Extent, KafkaError> {
    let (start, end) = client
        .fetch_watermarks(topic, partition, ANSWER_TIMEOUT)
        .map_err(|error| refused(servers, &format!("say where `{topic}` ends"), &error))?;
    Ok(Extent { partition, start, end })
}

fn unreachable(servers: &str, error: &RdKafkaError) -> KafkaError {
    KafkaError::Unreachable {
        servers: servers.to_owned(),
        waited_s: ANSWER_TIMEOUT.as_secs(),
        reason: error.rdkafka_error_code().map_or(error.to_string(), |code| code.to_string()),
    }
}
