//! `CreateTopics`, `DeleteTopics` and `CreatePartitions`.

use std::collections::HashMap;

use tracing::info;

use super::configs;
use crate::node::{NODE_ID, Node};
use crate::topic_config::Overrides;
use crate::topics::TopicError;
use protocol::ErrorCode;
use protocol::admin::{
    CreatableTopic, CreatePartitionsRequest, CreatePartitionsResponse, CreatePartitionsResult,
    CreatePartitionsTopic, CreateTopicsRequest, CreateTopicsResponse, CreatedTopic,
    CreatedTopicConfig, DeleteTopicsRequest, DeleteTopicsResponse, DeletedTopic,
    PartitionAssignment,
};

type Refusal = (ErrorCode, String);

/// Stands for "the broker's default" in a request.
const DEFAULT: i32 = -1;

pub(crate) async fn create_topics(
    node: &Node,
    request: CreateTopicsRequest,
) -> CreateTopicsResponse {
    let mut topics = Vec::new();
    for topic in named_once(request.topics, |topic| &topic.name) {
        let topic = match topic {
            Ok(topic) => topic,
            Err(name) => {
                let (error_code, message) = named_more_than_once(&name);
                let error_message = Some(message);
                topics.push(CreatedTopic {
                    name,
                    error_code,
                    error_message,
                    ..CreatedTopic::default()
                });
                continue;
            }
        };
        let created = create(node, &topic, request.validate_only).await;
        let mut response = CreatedTopic { name: topic.name, ..CreatedTopic::default() };
        match created {
            Ok((partitions, overrides)) => {
                response.num_partitions = partitions as i32;
                response.replication_factor = 1;
                response.configs = Some(describe(node, &overrides));
            }
            Err((code, message)) => {
                (response.error_code, response.error_message) = (code, Some(message));
            }
        }
        topics.push(response);
    }
    CreateTopicsResponse { throttle_time_ms: 0, topics }
}

/// Creates a topic, or checks whether it could be, and returns its number of partitions and what is set.
async fn create(
    node: &Node,
    topic: &CreatableTopic,
    validate_only: bool,
) -> Result<(i64, Overrides), Refusal> {
    let partitions = partitions_of(node, topic)?;
    let settings = topic.configs.iter().map(|entry| (entry.name.as_str(), entry.value.as_deref()));
    let overrides = configs::overrides(settings)
        .map_err(|error| (ErrorCode::InvalidConfig, error.to_string()))?;
    let refused = |error: TopicError| (error.code(), error.to_string());
    if validate_only {
        node.topics.check_create(&topic.name, partitions).map_err(refused)?;
    } else {
        let created = node.create_topic(&topic.name, partitions, overrides.clone()).await;
        created.map_err(refused)?;
        info!(topic = topic.name, partitions, "created a topic");
    }
    Ok((partitions, overrides))
}

fn describe(node: &Node, overrides: &Overrides) -> Vec<CreatedTopicConfig> {
    let config = overrides.over(node.topics.defaults());
    let described = configs::describe_values(&config, Some(overrides)).into_iter();
    let created = described.map(|described| CreatedTopicConfig {
        name: described.name,
        value: described.value,
        read_only: described.read_only,
        config_source: described.config_source,
        is_sensitive: described.is_sensitive,
    });
    created.collect()
}

fn partitions_of(node: &Node, topic: &CreatableTopic) -> Result<i64, Refusal> {
    if !topic.assignments.is_empty() {
        if (topic.num_partitions, topic.replication_factor) != (DEFAULT, DEFAULT as i16) {
            let message = "numbers of partitions and replicas follow from the assignments, so that both have to be -1".to_owned();
            return Err((ErrorCode::InvalidRequest, message));
        }
        let is_ours = |brokers: &[i32]| brokers == [NODE_ID];
        let mut indexes: Vec<_> = topic.assignments.iter().map(|a| a.partition_index).collect();
        indexes.sort_unstable();
        let are_consecutive = indexes.iter().zip(0..).all(|(&index, nth)| index == nth);
        if !are_consecutive || !topic.assignments.iter().all(|a| is_ours(&a.broker_ids)) {
            let message = "partitions have to be assigned from 0 on, to broker 1 alone".to_owned();
            return Err((ErrorCode::InvalidReplicaAssignment, message));
        }
        return Ok(indexes.len() as i64);
    }
    if !matches!(topic.replication_factor, -1 | 1) {
        let message =
            format!("replication factor {}: there is one broker", topic.replication_factor);
        return Err((ErrorCode::InvalidReplicationFactor, message));
    }
    Ok(match topic.num_partitions {
        DEFAULT => node.default_partitions.into(),
        partitions => partitions.into(),
    })
}

pub(crate) async fn delete_topics(
    node: &Node,
    request: DeleteTopicsRequest,
) -> DeleteTopicsResponse {
    let mut responses = Vec::new();
    for name in named_once(request.topic_names, |name| name) {
        let (name, deleted) = match name {
            Ok(name) => {
                let deleted = node.delete_topic(&name).await;
                (name, deleted.map_err(|error| (error.code(), error.to_string())))
            }
            Err(name) => {
                let refusal = named_more_than_once(&name);
                (name, Err(refusal))
            }
        };
        if deleted.is_ok() {
            info!(topic = name, "deleted a topic");
        }
        let (error_code, error_message) = code_and_message(deleted);
        responses.push(DeletedTopic { name, error_code, error_message });
    }
    DeleteTopicsResponse { throttle_time_ms: 0, responses }
}

pub(crate) async fn create_partitions(
    node: &Node,
    request: CreatePartitionsRequest,
) -> CreatePartitionsResponse {
    let mut results = Vec::new();
    for topic in named_once(request.topics, |topic| &topic.name) {
        let (name, grown) = match topic {
            Ok(topic) => {
                let grown = grow(node, &topic, request.validate_only).await;
                (topic.name, grown)
            }
            Err(name) => {
                let refusal = named_more_than_once(&name);
                (name, Err(refusal))
            }
        };
        let (error_code, error_message) = code_and_message(grown);
        results.push(CreatePartitionsResult { name, error_code, error_message });
    }
    CreatePartitionsResponse { throttle_time_ms: 0, results }
}

async fn grow(
    node: &Node,
    topic: &CreatePartitionsTopic,
    validate_only: bool,
) -> Result<(), Refusal> {
    let (name, count) = (topic.name.clone(), i64::from(topic.count));
    let refused = |error: TopicError| (error.code(), error.to_string());
    let more = node.topics.check_grow(&name, count).map_err(refused)?;
    let is_ours = |assignment: &PartitionAssignment| assignment.broker_ids == [NODE_ID];
    if let Some(assignments) = &topic.assignments
        && (assignments.len() as i64 != more || !assignments.iter().all(is_ours))
    {
        let message =
            format!("{more} new partitions have to be assigned, to broker {NODE_ID} alone");
        return Err((ErrorCode::InvalidReplicaAssignment, message));
    }
    if validate_only {
        return Ok(());
    }
    node.change_topics(move |topics| topics.grow(&name, count)).await.map_err(refused)
}

/// What a request names once, and the names that it gives more than once: what is meant by those is unclear.
/// In the order in which they come first.
fn named_once<T>(named: Vec<T>, name: impl Fn(&T) -> &String) -> Vec<Result<T, String>> {
    let mut times = HashMap::<String, usize>::new();
    for item in &named {
        *times.entry(name(item).clone()).or_default() += 1;
    }
    let mut sorted = Vec::new();
    for item in named {
        match times.remove(name(&item)) {
            Some(1) => sorted.push(Ok(item)),
            Some(_) => sorted.push(Err(name(&item).clone())),
            None => {}
        }
    }
    sorted
}

fn named_more_than_once(name: &str) -> Refusal {
    (ErrorCode::InvalidRequest, format!("topic `{name}` is named more than once"))
}

fn code_and_message(result: Result<(), Refusal>) -> (ErrorCode, Option<String>) {
    match result {
        Ok(()) => (ErrorCode::None, None),
        Err((code, message)) => (code, Some(message)),
    }
}
