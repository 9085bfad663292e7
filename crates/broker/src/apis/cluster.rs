//! The cluster of one: `ApiVersions`, `Metadata`, `FindCoordinator` and `DescribeCluster`.

use tracing::warn;

use super::once;
use crate::node::{Client, NODE_ID, Node};
use crate::topic_config::Overrides;
use crate::topics::{Topic, TopicError};
use protocol::batch::LEADER_EPOCH;
use protocol::cluster::{
    ApiVersion, ApiVersionsResponse, Coordinator, DescribeClusterBroker, DescribeClusterRequest,
    DescribeClusterResponse, FindCoordinatorRequest, FindCoordinatorResponse, MetadataBroker,
    MetadataPartition, MetadataRequest, MetadataRequestTopic, MetadataResponse, MetadataTopic,
};
use protocol::{Api, ErrorCode};

/// What a coordinator may be asked for, as the protocol numbers it.
const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;
/// What a cluster's endpoints may be.
const BROKERS: i8 = 1;
const CONTROLLERS: i8 = 2;
/// The node that is named where there is no coordinator.
const NOBODY: i32 = -1;

/// A client that asked in a version nobody speaks here is told in which to ask again, and no more.
pub(crate) fn api_versions(error_code: ErrorCode) -> ApiVersionsResponse {
    let apis = match error_code {
        ErrorCode::UnsupportedVersion => &[Api::ApiVersions],
        _ => Api::ALL,
    };
    let api_keys = apis.iter().map(|&api| ApiVersion {
        api_key: api as i16,
        min_version: *api.versions().start(),
        max_version: *api.versions().end(),
    });
    ApiVersionsResponse { error_code, api_keys: api_keys.collect(), throttle_time_ms: 0 }
}

pub(crate) async fn metadata(
    node: &Node,
    client: &Client,
    version: i16,
    request: MetadataRequest,
) -> MetadataResponse {
    let asks_for_all = match &request.topics {
        None => true,
        // Version 0 has no null: there, no topics means all of them.
        Some(topics) => topics.is_empty() && version == 0,
    };
    let topics = if asks_for_all {
        node.topics.all().iter().map(|topic| describe(topic)).collect()
    } else {
        let creates = request.allow_auto_topic_creation && node.creates_topics;
        let mut topics = Vec::new();
        let asked = request.topics.unwrap_or_default();
        for asked in once(asked, |topic| (topic.name.clone(), topic.topic_id)) {
            topics.push(find_or_create(node, asked, creates).await);
        }
        topics
    };
    let (host, port) = node.address_for(client);
    MetadataResponse {
        brokers: vec![MetadataBroker { node_id: NODE_ID, host, port, rack: None }],
        cluster_id: Some(node.identity.cluster_id.clone()),
        controller_id: NODE_ID,
        topics,
        ..MetadataResponse::default()
    }
}

async fn find_or_create(node: &Node, asked: MetadataRequestTopic, creates: bool) -> MetadataTopic {
    let Some(name) = asked.name else {
        let error_code = ErrorCode::UnknownTopicId;
        let (name, topic_id) = (None, asked.topic_id);
        return MetadataTopic { error_code, name, topic_id, ..MetadataTopic::default() };
    };
    if let Some(topic) = node.topics.get(&name) {
        return describe(&topic);
    }
    let found = if creates {
        node.create_topic(&name, node.default_partitions.into(), Overrides::default()).await
    } else {
        Err(TopicError::missing(&name))
    };
    match (found, node.topics.get(&name)) {
        // Someone else may have created it meanwhile.
        (Ok(topic), _) | (Err(TopicError::Exists { .. }), Some(topic)) => describe(&topic),
        (Err(error), _) => {
            if creates {
                warn!(%error, "a client asked for a topic that cannot be created");
            }
            let error_code = error.code();
            MetadataTopic { error_code, name: Some(name), ..MetadataTopic::default() }
        }
    }
}

fn describe(topic: &Topic) -> MetadataTopic {
    let partitions = (0..topic.partitions.len()).map(|index| MetadataPartition {
        partition_index: index as i32,
        leader_id: NODE_ID,
        leader_epoch: LEADER_EPOCH,
        replica_nodes: vec![NODE_ID],
        isr_nodes: vec![NODE_ID],
        ..MetadataPartition::default()
    });
    MetadataTopic {
        name: Some(topic.name.clone()),
        partitions: partitions.collect(),
        ..MetadataTopic::default()
    }
}

pub(crate) fn find_coordinator(
    node: &Node,
    client: &Client,
    version: i16,
    request: FindCoordinatorRequest,
) -> FindCoordinatorResponse {
    let refused =
        |error_code, message: String| (error_code, Some(message), NOBODY, (String::new(), -1));
    let (error_code, error_message, node_id, (host, port)) = match request.key_type {
        GROUP => (ErrorCode::None, None, NODE_ID, node.address_for(client)),
        TRANSACTION => refused(
            ErrorCode::TransactionalIdAuthorizationFailed,
            "this broker has no transactions".to_owned(),
        ),
        other => refused(
            ErrorCode::InvalidRequest,
            format!("nothing is coordinated by key type {other}"),
        ),
    };
    if version < 4 {
        return FindCoordinatorResponse {
            error_code,
            error_message,
            node_id,
            host,
            port,
            ..FindCoordinatorResponse::default()
        };
    }
    let coordinators = request.coordinator_keys.into_iter().map(|key| Coordinator {
        key,
        node_id,
        host: host.clone(),
        port,
        error_code,
        error_message: error_message.clone(),
    });
    FindCoordinatorResponse {
        coordinators: coordinators.collect(),
        ..FindCoordinatorResponse::default()
    }
}

pub(crate) fn describe_cluster(
    node: &Node,
    client: &Client,
    request: &DescribeClusterRequest,
) -> DescribeClusterResponse {
    let refusal = match request.endpoint_type {
        BROKERS => None,
        CONTROLLERS => Some(ErrorCode::MismatchedEndpointType),
        _ => Some(ErrorCode::UnsupportedEndpointType),
    };
    if let Some(error_code) = refusal {
        let message = format!("endpoints of type {}: this is a broker", request.endpoint_type);
        return DescribeClusterResponse {
            error_code,
            error_message: Some(message),
            ..DescribeClusterResponse::default()
        };
    }
    let (host, port) = node.address_for(client);
    DescribeClusterResponse {
        cluster_id: node.identity.cluster_id.clone(),
        controller_id: NODE_ID,
        brokers: vec![DescribeClusterBroker { broker_id: NODE_ID, host, port, rack: None }],
        ..DescribeClusterResponse::default()
    }
}
