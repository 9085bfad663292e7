//! `CreateTopics`, `DeleteTopics` and `CreatePartitions`.

use tracing::info;

use super::configs;
use crate::node::{NODE_ID, Node};
use crate::protocol::ErrorCode;
use crate::protocol::admin::{
    CreatableTopic, CreatePartitionsRequest, CreatePartitionsResponse, CreatePartitionsResult,
    CreatePartitionsTopic, CreateTopicsRequest, CreateTopicsResponse, CreatedTopic,
    CreatedTopicConfig, DeleteTopicsRequest, DeleteTopicsResponse, DeletedTopic,
    PartitionAssignment,
};
use crate::topic_config::Overrides;
use crate::topics::TopicError;

/// Stands for "the broker's default" in a request.
const DEFAULT: i32 = -1;

pub(crate) async fn create_topics(
    node: &Node,
    request: CreateTopicsRequest,
) -> CreateTopicsResponse {
    let mut topics = Vec::new();
    for topic in request.topics {
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
) -> Result<(i64, Overrides), (ErrorCode, String)> {
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

fn partitions_of(node: &Node, topic: &CreatableTopic) -> Result<i64, (ErrorCode, String)> {
    if !topic.assignments.is_empty() {
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
    for name in request.topic_names {
        let (error_code, error_message) = match node.delete_topic(&name).await {
            Ok(()) => {
                info!(topic = name, "deleted a topic");
                (ErrorCode::None, None)
            }
            Err(error) => (error.code(), Some(error.to_string())),
        };
        responses.push(DeletedTopic { name, error_code, error_message });
    }
    DeleteTopicsResponse { throttle_time_ms: 0, responses }
}

pub(crate) async fn create_partitions(
    node: &Node,
    request: CreatePartitionsRequest,
) -> CreatePartitionsResponse {
    let mut results = Vec::new();
    for CreatePartitionsTopic { name, count, assignments } in request.topics {
        let is_ours = |assignment: &PartitionAssignment| assignment.broker_ids == [NODE_ID];
        if !assignments.iter().flatten().all(is_ours) {
            let error_code = ErrorCode::InvalidReplicaAssignment;
            let message = format!("partitions have to be assigned to broker {NODE_ID} alone");
            let error_message = Some(message);
            results.push(CreatePartitionsResult { name, error_code, error_message });
            continue;
        }
        let owned = name.clone();
        let grown = if request.validate_only {
            node.topics.check_grow(&owned, count.into())
        } else {
            node.change_topics(move |topics| topics.grow(&owned, count.into())).await
        };
        let (error_code, error_message) = match grown {
            Ok(()) => (ErrorCode::None, None),
            Err(error) => (error.code(), Some(error.to_string())),
        };
        results.push(CreatePartitionsResult { name, error_code, error_message });
    }
    CreatePartitionsResponse { throttle_time_ms: 0, results }
}
