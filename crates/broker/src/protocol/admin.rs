//! Administration: `CreateTopics` and `DeleteTopics`.

use uuid::Uuid;

use super::ErrorCode;
use super::schema::messages;

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
}
