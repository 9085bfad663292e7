//! Asking brokers about topics and groups, and having them change topics.

mod observer;

use std::collections::HashMap;
use std::time::Duration;

use protocol::admin::{
    CreatableTopic, CreateTopicsRequest, CreatedTopic, DeleteRecordsPartition,
    DeleteRecordsRequest, DeleteRecordsTopic, DeleteTopicsRequest, TopicConfigEntry,
};
use protocol::configs::{DescribeConfigsRequest, DescribeConfigsResource};
use protocol::groups::{DescribeGroupsRequest, ListGroupsRequest};
use protocol::{ErrorCode, Request};
use tokio::time::{Instant, sleep, timeout_at};

use crate::cluster::{
    ANSWER_TIMEOUT, Backoff, Cluster, NodeId, Place, connect_any, question, said,
};
use crate::connection::{CallError, Connection};
use crate::error::KafkaError;
use crate::fetcher::{EARLIEST, LATEST, offsets_request};
use crate::group::{committed_in, committed_request, find_coordinator};
use crate::sender::leader_may_have_moved;

pub use observer::{Observer, Standing};

/// How long a broker may take to carry out a change.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(30);
const TOPIC: i8 = 2;
/// The source of a setting that was made for the topic.
const SET_FOR_TOPIC: i8 = 1;

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
    Client::connect(servers).await.map(drop)
}

/// All topics, by name; those that brokers keep for themselves included.
pub async fn topics(servers: &str) -> Result<Vec<Topic>, KafkaError> {
    let client = Client::connect(servers).await?;
    let usable = client.cluster.topics().filter(|(_, topic)| topic.error.is_none());
    let mut topics: Vec<_> = usable
        .map(|(name, topic)| Topic { name: name.clone(), partitions: topic.leaders.len() })
        .collect();
    topics.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(topics)
}

/// What there is of each partition of a topic.
pub async fn extents(servers: &str, topic: &str) -> Result<Vec<Extent>, KafkaError> {
    let mut client = Client::connect(servers).await?;
    let places = client.places(topic)?;
    client.extents(&places).await
}

/// All consumer groups, by name.
pub async fn groups(servers: &str) -> Result<Vec<Group>, KafkaError> {
    let mut client = Client::connect(servers).await?;
    let mut groups = Vec::new();
    for node in client.cluster.nodes() {
        let what = "list groups";
        let listed = client.ask(node, ListGroupsRequest::default(), what).await?;
        client.check(listed.error_code, what)?;
        let names: Vec<_> = listed.groups.into_iter().map(|group| group.group_id).collect();
        let request = DescribeGroupsRequest { groups: names, ..Default::default() };
        let described = client.ask(node, request, "describe groups").await?;
        groups.extend(described.groups.into_iter().map(|group| Group {
            name: group.group_id,
            state: group.group_state,
            members: group.members.len(),
        }));
    }
    groups.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(groups)
}

/// How far a group has read each partition for which it has committed an offset.
pub async fn progress(servers: &str, group: &str) -> Result<Vec<Progress>, KafkaError> {
    let mut client = Client::connect(servers).await?;
    let what = format!("say what group `{group}` has committed");
    let coordinator = client.coordinator(group, &what).await?;
    let answer = client.call(&coordinator, &committed_request(group, None, false), &what).await?;
    let (error, topics) = committed_in(answer);
    client.check(error, &what)?;
    let mut committed = Vec::new();
    for topic in topics {
        // What was committed of a topic that was deleted since is nothing to lag behind.
        if client.cluster.topic(&topic.name).is_none_or(|known| known.error.is_some()) {
            continue;
        }
        for partition in topic.partitions {
            client.check(partition.error_code, &what)?;
            if 0 <= partition.committed_offset {
                let place: Place = (topic.name.as_str().into(), partition.partition_index);
                committed.push((place, partition.committed_offset));
            }
        }
    }
    committed.sort();
    let places: Vec<Place> = committed.iter().map(|(place, _)| place.clone()).collect();
    let extents = client.extents(&places).await?;
    let progress = committed.into_iter().zip(extents).map(|((place, committed), extent)| {
        Progress { topic: place.0.as_ref().to_owned(), extent, committed }
    });
    Ok(progress.collect())
}

/// A topic's settings, by name.
pub async fn settings(servers: &str, topic: &str) -> Result<Vec<Setting>, KafkaError> {
    let client = Client::connect(servers).await?;
    let what = format!("describe topic `{topic}`");
    let request = DescribeConfigsRequest {
        resources: vec![DescribeConfigsResource {
            resource_type: TOPIC,
            resource_name: topic.to_owned(),
            configuration_keys: None,
        }],
        ..Default::default()
    };
    let described = client.call(&client.any, &request, &what).await?.results.into_iter().next();
    let described = described.ok_or_else(|| client.refused(&what, &"no answer"))?;
    client.check_with(described.error_code, described.error_message, &what)?;
    let setting = |config: protocol::configs::DescribedConfig| Setting {
        name: config.name,
        value: config.value.unwrap_or_default(),
        is_set: config.config_source == SET_FOR_TOPIC,
    };
    let mut settings: Vec<_> = described.configs.into_iter().map(setting).collect();
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
    let mut client = Client::connect(servers).await?;
    let wanted = CreatableTopic {
        configs: settings
            .iter()
            .map(|(name, value)| TopicConfigEntry {
                name: name.clone(),
                value: Some(value.clone()),
            })
            .collect(),
        ..new_topic(topic, partitions.map_or(-1, |partitions| partitions as i32))
    };
    for created in client.create(vec![wanted]).await? {
        match created.error_code {
            ErrorCode::None => {}
            error => return Err(client.not_created(created.name, error, created.error_message)),
        }
    }
    Ok(())
}

/// Deletes a topic and all that is in it.
pub async fn delete_topic(servers: &str, topic: &str) -> Result<(), KafkaError> {
    let mut client = Client::connect(servers).await?;
    let what = format!("delete topic `{topic}`");
    let request = DeleteTopicsRequest {
        topic_names: vec![topic.to_owned()],
        timeout_ms: CHANGE_TIMEOUT.as_millis() as i32,
    };
    let deleted = client.change(request, &what).await?.responses.into_iter().next();
    match deleted {
        Some(deleted) if deleted.error_code == ErrorCode::UnknownTopicOrPartition => {
            Err(KafkaError::UnknownTopic { topic: topic.to_owned(), servers: servers.to_owned() })
        }
        Some(deleted) => client.check_with(deleted.error_code, deleted.error_message, &what),
        None => Err(client.refused(&what, &"no answer")),
    }
}

/// Of each partition, the first offset whose record is not older than `time_ms`, in milliseconds since the epoch;
/// where all are older, its end.
pub async fn offsets_at(
    servers: &str,
    topic: &str,
    time_ms: i64,
) -> Result<Vec<(i32, i64)>, KafkaError> {
    let mut client = Client::connect(servers).await?;
    let places = client.places(topic)?;
    let extents = client.extents(&places).await?;
    let found = client.offsets(&places, time_ms).await?;
    let at = |(extent, found): (&Extent, &i64)| {
        // Where all are older, there is none.
        (extent.partition, if *found < 0 { extent.end } else { *found })
    };
    Ok(extents.iter().zip(&found).map(at).collect())
}

/// Deletes the records of a topic that stand before the offset given for each partition. Returns where each of
/// those partitions begins then.
pub async fn delete_records(
    servers: &str,
    topic: &str,
    before: &[(i32, i64)],
) -> Result<Vec<(i32, i64)>, KafkaError> {
    let mut client = Client::connect(servers).await?;
    let mut starts = Vec::with_capacity(before.len());
    let what = format!("delete records of `{topic}`");
    let mut by_leader: HashMap<NodeId, Vec<DeleteRecordsPartition>> = HashMap::new();
    for &(partition, offset) in before {
        let leader = client.leader(&(topic.into(), partition))?;
        let partition = DeleteRecordsPartition { partition_index: partition, offset };
        by_leader.entry(leader).or_default().push(partition);
    }
    for (leader, partitions) in by_leader {
        let topics = vec![DeleteRecordsTopic { name: topic.to_owned(), partitions }];
        let timeout_ms = CHANGE_TIMEOUT.as_millis() as i32;
        let request = DeleteRecordsRequest { topics, timeout_ms };
        let deleted = client.ask(leader, request, &what).await?;
        for partition in deleted.topics.into_iter().flat_map(|topic| topic.partitions) {
            let number = partition.partition_index;
            client.check(partition.error_code, &format!("{what}, partition {number}"))?;
            starts.push((number, partition.low_watermark));
        }
    }
    starts.sort_unstable();
    Ok(starts)
}

/// Creates the topics that are not there yet, with the broker's own number of replicas.
pub async fn ensure_topics(
    servers: &str,
    topics: &[&str],
    partitions: u32,
) -> Result<(), KafkaError> {
    let mut client = Client::connect(servers).await?;
    let wanted = topics.iter().map(|topic| new_topic(topic, partitions as i32)).collect();
    for created in client.create(wanted).await? {
        match created.error_code {
            ErrorCode::None | ErrorCode::TopicAlreadyExists => {}
            error => return Err(client.not_created(created.name, error, created.error_message)),
        }
    }
    Ok(())
}

fn new_topic(name: &str, partitions: i32) -> CreatableTopic {
    CreatableTopic {
        name: name.to_owned(),
        num_partitions: partitions,
        replication_factor: -1,
        ..Default::default()
    }
}

/// A connection to a cluster, and what it says of itself.
struct Client {
    servers: String,
    cluster: Cluster,
    any: Connection,
    controller: NodeId,
    connections: HashMap<NodeId, Connection>,
}

impl Client {
    /// Connects, trying again while no broker answers.
    async fn connect(servers: &str) -> Result<Self, KafkaError> {
        let mut cluster = Cluster::new(servers)?;
        let due = Instant::now() + ANSWER_TIMEOUT;
        let mut backoff = Backoff::default();
        let mut reason = "no answer".to_owned();
        loop {
            let attempt = async {
                let any = connect_any(cluster.candidates()).await?;
                let metadata = any.call(&question(None, false), ANSWER_TIMEOUT).await?;
                Ok::<_, CallError>((any, metadata))
            };
            let unreachable = |reason: String| KafkaError::Unreachable {
                servers: servers.to_owned(),
                waited_s: ANSWER_TIMEOUT.as_secs(),
                reason,
            };
            match timeout_at(due, attempt).await {
                Ok(Ok((any, metadata))) => {
                    let controller = metadata.controller_id;
                    cluster.learn(metadata);
                    let servers = servers.to_owned();
                    let connections = HashMap::new();
                    return Ok(Self { servers, cluster, any, controller, connections });
                }
                Ok(Err(error)) => reason = error.to_string(),
                Err(_) => return Err(unreachable(reason)),
            }
            let pause = backoff.next();
            if due < Instant::now() + pause {
                return Err(unreachable(reason));
            }
            sleep(pause).await;
        }
    }

    fn refused(&self, what: &str, reason: &dyn std::fmt::Display) -> KafkaError {
        KafkaError::Refused {
            servers: self.servers.clone(),
            what: what.to_owned(),
            reason: reason.to_string(),
        }
    }

    fn check(&self, error: ErrorCode, what: &str) -> Result<(), KafkaError> {
        self.check_with(error, None, what)
    }

    fn check_with(
        &self,
        error: ErrorCode,
        words: Option<String>,
        what: &str,
    ) -> Result<(), KafkaError> {
        match error {
            ErrorCode::None => Ok(()),
            _ => Err(self.refused(what, &said(error, words))),
        }
    }

    fn not_created(&self, topic: String, error: ErrorCode, words: Option<String>) -> KafkaError {
        KafkaError::Topic { topic, servers: self.servers.clone(), reason: said(error, words) }
    }

    /// The partitions of a topic.
    fn places(&self, topic: &str) -> Result<Vec<Place>, KafkaError> {
        let known = self.cluster.topic(topic).filter(|topic| topic.error.is_none());
        let known = known.ok_or_else(|| KafkaError::UnknownTopic {
            topic: topic.to_owned(),
            servers: self.servers.clone(),
        })?;
        let name: std::sync::Arc<str> = topic.into();
        Ok((0..known.leaders.len()).map(|at| (std::sync::Arc::clone(&name), at as i32)).collect())
    }

    fn leader(&self, place: &Place) -> Result<NodeId, KafkaError> {
        let count = self.places(&place.0)?.len();
        if usize::try_from(place.1).ok().is_none_or(|at| count <= at) {
            let (topic, partition) = (place.0.as_ref().to_owned(), place.1);
            return Err(KafkaError::UnknownPartition { topic, partition, count });
        }
        self.cluster.leader(&place.0, place.1).ok_or_else(|| {
            self.refused(&format!("say who leads `{}`, partition {}", place.0, place.1), &"nobody")
        })
    }

    async fn call<R: Request + Send + 'static>(
        &self,
        connection: &Connection,
        request: &R,
        what: &str,
    ) -> Result<R::Response, KafkaError> {
        let answer = connection.call(request, CHANGE_TIMEOUT).await;
        answer.map_err(|error| self.refused(what, &error))
    }

    /// Asks one of the brokers.
    async fn ask<R: Request + Send + 'static>(
        &mut self,
        node: NodeId,
        request: R,
        what: &str,
    ) -> Result<R::Response, KafkaError> {
        let known = self.connections.get(&node).filter(|connection| !connection.is_lost());
        let connection = if let Some(connection) = known {
            connection.clone()
        } else {
            let address = self.cluster.address(node).cloned();
            let address = address.ok_or_else(|| {
                self.refused(what, &format!("its broker {node} is not in its metadata"))
            })?;
            let opened = Connection::open(&address).await;
            let opened = opened.map_err(|error| self.refused(what, &error))?;
            self.connections.insert(node, opened.clone());
            opened
        };
        self.call(&connection, &request, what).await
    }

    /// Has the controller change something.
    async fn change<R: Request + Send + 'static>(
        &mut self,
        request: R,
        what: &str,
    ) -> Result<R::Response, KafkaError> {
        match self.cluster.address(self.controller) {
            Some(_) => self.ask(self.controller, request, what).await,
            // In KRaft mode any broker passes it on.
            None => self.call(&self.any.clone(), &request, what).await,
        }
    }

    async fn create(
        &mut self,
        topics: Vec<CreatableTopic>,
    ) -> Result<Vec<CreatedTopic>, KafkaError> {
        let names: Vec<_> = topics.iter().map(|topic| format!("`{}`", topic.name)).collect();
        let timeout_ms = CHANGE_TIMEOUT.as_millis() as i32;
        let request = CreateTopicsRequest { topics, timeout_ms, validate_only: false };
        let what = format!("create {}", names.join(", "));
        Ok(self.change(request, &what).await?.topics)
    }

    async fn coordinator(&mut self, group: &str, what: &str) -> Result<Connection, KafkaError> {
        let mut backoff = Backoff::default();
        let due = Instant::now() + ANSWER_TIMEOUT;
        loop {
            let found = find_coordinator(&self.any, group).await;
            match found.map_err(|error| self.refused(what, &error))? {
                Ok(address) => {
                    let opened = Connection::open(&address).await;
                    return opened.map_err(|error| self.refused(what, &error));
                }
                // A cluster that has had no group yet first makes the topic for them.
                Err(ErrorCode::CoordinatorNotAvailable | ErrorCode::CoordinatorLoadInProgress)
                    if Instant::now() < due =>
                {
                    sleep(backoff.next()).await;
                }
                Err(error) => return Err(self.refused(what, &error)),
            }
        }
    }

    async fn extents(&mut self, places: &[Place]) -> Result<Vec<Extent>, KafkaError> {
        let starts = self.offsets(places, EARLIEST).await?;
        let ends = self.offsets(places, LATEST).await?;
        let extents = places.iter().zip(starts).zip(ends);
        Ok(extents.map(|((place, start), end)| Extent { partition: place.1, start, end }).collect())
    }

    /// The offset of a time in each of these partitions. A leader that is just moving is waited for.
    async fn offsets(&mut self, places: &[Place], time: i64) -> Result<Vec<i64>, KafkaError> {
        let mut found: HashMap<Place, i64> = HashMap::new();
        let mut backoff = Backoff::default();
        let due = Instant::now() + ANSWER_TIMEOUT;
        loop {
            let mut failure = None;
            let mut by_leader: HashMap<NodeId, Vec<Place>> = HashMap::new();
            for place in places.iter().filter(|place| !found.contains_key(*place)) {
                match self.leader(place) {
                    Ok(leader) => by_leader.entry(leader).or_default().push(place.clone()),
                    Err(error @ KafkaError::Refused { .. }) => failure = Some(error),
                    Err(error) => return Err(error),
                }
            }
            for (leader, asked) in by_leader {
                let request = offsets_request(asked.into_iter().map(|place| (place, time)));
                let what = "say where records stand";
                let answer = match self.ask(leader, request, what).await {
                    Ok(answer) => answer,
                    Err(error) => {
                        failure = Some(error);
                        continue;
                    }
                };
                for topic in answer.topics {
                    let name: std::sync::Arc<str> = topic.name.into();
                    for partition in topic.partitions {
                        let place = (std::sync::Arc::clone(&name), partition.partition_index);
                        let what = format!("say where `{name}` begins and ends");
                        match partition.error_code {
                            ErrorCode::None => drop(found.insert(place, partition.offset)),
                            error if leader_may_have_moved(error) => {
                                failure = Some(self.refused(&what, &error));
                            }
                            error => return Err(self.refused(&what, &error)),
                        }
                    }
                }
            }
            let Some(failure) = failure else {
                return Ok(places
                    .iter()
                    .map(|place| found.get(place).copied().unwrap_or(-1))
                    .collect());
            };
            if due <= Instant::now() {
                return Err(failure);
            }
            sleep(backoff.next()).await;
            let metadata = self.any.call(&question(None, false), ANSWER_TIMEOUT).await;
            self.cluster.learn(metadata.map_err(|error| self.refused("describe topics", &error))?);
        }
    }
}
