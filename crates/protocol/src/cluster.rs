//! The cluster as clients see it: `ApiVersions`, `Metadata`, `FindCoordinator` and `DescribeCluster`.

use uuid::Uuid;

use crate::ErrorCode;
use crate::schema::messages;

/// Stands for "not asked for" in the bit sets of allowed operations.
pub const OPERATIONS_NOT_ASKED: i32 = i32::MIN;

messages! {
    /// Asks which APIs and versions are spoken. Always a connection's first request.
    struct ApiVersionsRequest {
        client_software_name: String [3..],
        client_software_version: String [3..],
    }

    struct ApiVersionsResponse {
        error_code: ErrorCode [0..],
        api_keys: Vec<ApiVersion> [0..],
        throttle_time_ms: i32 [1..],
    }

    struct ApiVersion {
        api_key: i16 [0..],
        min_version: i16 [0..],
        max_version: i16 [0..],
    }

    /// Asks for brokers and topics; no list of topics asks for all of them.
    struct MetadataRequest {
        topics: Option<Vec<MetadataRequestTopic>> [0..; null 1..],
        allow_auto_topic_creation: bool [4..] = true,
        include_cluster_authorized_operations: bool [8..=10],
        include_topic_authorized_operations: bool [8..],
    }

    struct MetadataRequestTopic {
        topic_id: Uuid [10..],
        name: Option<String> [0..; null 10..],
    }

    struct MetadataResponse {
        throttle_time_ms: i32 [3..],
        brokers: Vec<MetadataBroker> [0..],
        cluster_id: Option<String> [2..],
        controller_id: i32 [1..] = -1,
        topics: Vec<MetadataTopic> [0..],
        cluster_authorized_operations: i32 [8..=10] = OPERATIONS_NOT_ASKED,
    }

    struct MetadataBroker {
        node_id: i32 [0..],
        host: String [0..],
        port: i32 [0..],
        rack: Option<String> [1..],
    }

    struct MetadataTopic {
        error_code: ErrorCode [0..],
        name: Option<String> [0..; null 12..],
        topic_id: Uuid [10..],
        is_internal: bool [1..],
        partitions: Vec<MetadataPartition> [0..],
        topic_authorized_operations: i32 [8..] = OPERATIONS_NOT_ASKED,
    }

    struct MetadataPartition {
        error_code: ErrorCode [0..],
        partition_index: i32 [0..],
        leader_id: i32 [0..],
        leader_epoch: i32 [7..] = -1,
        replica_nodes: Vec<i32> [0..],
        isr_nodes: Vec<i32> [0..],
        offline_replicas: Vec<i32> [5..],
    }

    /// Asks which broker coordinates a consumer group (key type 0) or a transaction (1).
    struct FindCoordinatorRequest {
        key: String [0..=3],
        key_type: i8 [1..],
        coordinator_keys: Vec<String> [4..],
    }

    struct FindCoordinatorResponse {
        throttle_time_ms: i32 [1..],
        error_code: ErrorCode [0..=3],
        error_message: Option<String> [1..=3],
        node_id: i32 [0..=3],
        host: String [0..=3],
        port: i32 [0..=3],
        coordinators: Vec<Coordinator> [4..],
    }

    struct Coordinator {
        key: String [4..],
        node_id: i32 [4..],
        host: String [4..],
        port: i32 [4..],
        error_code: ErrorCode [4..],
        error_message: Option<String> [4..],
    }

    struct DescribeClusterRequest {
        include_cluster_authorized_operations: bool [0..],
        endpoint_type: i8 [1..] = 1,
    }

    struct DescribeClusterResponse {
        throttle_time_ms: i32 [0..],
        error_code: ErrorCode [0..],
        error_message: Option<String> [0..],
        endpoint_type: i8 [1..] = 1,
        cluster_id: String [0..],
        controller_id: i32 [0..] = -1,
        brokers: Vec<DescribeClusterBroker> [0..],
        cluster_authorized_operations: i32 [0..] = OPERATIONS_NOT_ASKED,
    }

    struct DescribeClusterBroker {
        broker_id: i32 [0..],
        host: String [0..],
        port: i32 [0..],
        rack: Option<String> [0..],
    }
}
