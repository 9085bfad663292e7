//! Administration: `CreateTopics`, `DeleteTopics`, `CreatePartitions` and `DeleteRecords`.

use uuid::Uuid;

use crate::ErrorCode;
use crate::schema::messages;

messages! {
    struct CreateTopicsRequest {
        topics: Vec<CreatableTopic> [0..],
        timeout_ms: i32 [0..] = 60_000,
        validate_only: bool [1..],
    }

    struct CreatableTopic {
        name: String [0..],
        /// -1 for the broker's default.
        num_partitions: i32 [0..],
        /// -1 for the broker's default.
        replication_factor: i16 [0..],
        assignments: Vec<ReplicaAssignment> [0..],
        configs: Vec<TopicConfigEntry> [0..],
    }

    struct ReplicaAssignment {
        partition_index: i32 [0..],
        broker_ids: Vec<i32> [0..],
    }

    struct TopicConfigEntry {
        name: String [0..],
        value: Option<String> [0..],
    }

    struct CreateTopicsResponse {
        throttle_time_ms: i32 [2..],
        topics: Vec<CreatedTopic> [0..],
    }

    struct CreatedTopic {
        name: String [0..],
        topic_id: Uuid [7..],
        error_code: ErrorCode [0..],
        error_message: Option<String> [1..],
        num_partitions: i32 [5..] = -1,
        replication_factor: i16 [5..] = -1,
        configs: Option<Vec<CreatedTopicConfig>> [5..],
    }

    struct CreatedTopicConfig {
        name: String [5..],
        value: Option<String> [5..],
        read_only: bool [5..],
        config_source: i8 [5..] = -1,
        is_sensitive: bool [5..],
    }

    struct DeleteTopicsRequest {
        topic_names: Vec<String> [0..=5],
        timeout_ms: i32 [0..],
    }

    struct DeleteTopicsResponse {
        throttle_time_ms: i32 [1..],
        responses: Vec<DeletedTopic> [0..],
    }

    struct DeletedTopic {
        name: String [0..=5],
        error_code: ErrorCode [0..],
        error_message: Option<String> [5..],
    }

    struct CreatePartitionsRequest {
        topics: Vec<CreatePartitionsTopic> [0..],
        timeout_ms: i32 [0..],
        validate_only: bool [0..],
    }

    struct CreatePartitionsTopic {
        name: String [0..],
        /// Partitions that the topic should have in all.
        count: i32 [0..],
        assignments: Option<Vec<PartitionAssignment>> [0..],
    }

    struct PartitionAssignment {
        broker_ids: Vec<i32> [0..],
    }

    struct CreatePartitionsResponse {
        throttle_time_ms: i32 [0..],
        results: Vec<CreatePartitionsResult> [0..],
    }

    struct CreatePartitionsResult {
        name: String [0..],
        error_code: ErrorCode [0..],
        error_message: Option<String> [0..],
    }

    struct DeleteRecordsRequest {
        topics: Vec<DeleteRecordsTopic> [0..],
        timeout_ms: i32 [0..],
    }

    struct DeleteRecordsTopic {
        name: String [0..],
        partitions: Vec<DeleteRecordsPartition> [0..],
    }

    struct DeleteRecordsPartition {
        partition_index: i32 [0..],
        /// The first offset to keep; -1 for none.
        offset: i64 [0..],
    }

    struct DeleteRecordsResponse {
        throttle_time_ms: i32 [0..],
        topics: Vec<DeleteRecordsTopicResponse> [0..],
    }

    struct DeleteRecordsTopicResponse {
        name: String [0..],
        partitions: Vec<DeleteRecordsPartitionResponse> [0..],
    }

    struct DeleteRecordsPartitionResponse {
        partition_index: i32 [0..],
        low_watermark: i64 [0..],
        error_code: ErrorCode [0..],
    }
}
