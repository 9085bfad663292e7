//! Committed offsets: `OffsetCommit`, `OffsetFetch` and `OffsetDelete`.

use crate::ErrorCode;
use crate::schema::messages;

messages! {
    struct OffsetCommitRequest {
        group_id: String [0..],
        generation_id: i32 [1..] = -1,
        member_id: String [1..],
        group_instance_id: Option<String> [7..],
        retention_time_ms: i64 [2..=4] = -1,
        topics: Vec<OffsetCommitTopic> [0..],
    }

    struct OffsetCommitTopic {
        name: String [0..],
        partitions: Vec<OffsetCommitPartition> [0..],
    }

    struct OffsetCommitPartition {
        partition_index: i32 [0..],
        committed_offset: i64 [0..],
        committed_leader_epoch: i32 [6..] = -1,
        committed_metadata: Option<String> [0..],
    }

    struct OffsetCommitResponse {
        throttle_time_ms: i32 [3..],
        topics: Vec<OffsetCommitTopicResponse> [0..],
    }

    struct OffsetCommitTopicResponse {
        name: String [0..],
        partitions: Vec<OffsetCommitPartitionResponse> [0..],
    }

    struct OffsetCommitPartitionResponse {
        partition_index: i32 [0..],
        error_code: ErrorCode [0..],
    }

    /// Asks for one group's offsets, or from version 8 on for several groups'. No topics asks for all.
    struct OffsetFetchRequest {
        group_id: String [0..=7],
        topics: Option<Vec<OffsetFetchTopic>> [0..=7; null 2..],
        groups: Vec<OffsetFetchGroup> [8..],
        require_stable: bool [7..],
    }

    struct OffsetFetchGroup {
        group_id: String [8..],
        topics: Option<Vec<OffsetFetchTopic>> [8..],
    }

    struct OffsetFetchTopic {
        name: String [0..],
        partition_indexes: Vec<i32> [0..],
    }

    struct OffsetFetchResponse {
        throttle_time_ms: i32 [3..],
        topics: Vec<OffsetFetchTopicResponse> [0..=7],
        error_code: ErrorCode [2..=7],
        groups: Vec<OffsetFetchGroupResponse> [8..],
    }

    struct OffsetFetchGroupResponse {
        group_id: String [8..],
        topics: Vec<OffsetFetchTopicResponse> [8..],
        error_code: ErrorCode [8..],
    }

    struct OffsetFetchTopicResponse {
        name: String [0..],
        partitions: Vec<OffsetFetchPartitionResponse> [0..],
    }

    struct OffsetFetchPartitionResponse {
        partition_index: i32 [0..],
        /// -1 where nothing is committed.
        committed_offset: i64 [0..] = -1,
        committed_leader_epoch: i32 [5..] = -1,
        metadata: Option<String> [0..],
        error_code: ErrorCode [0..],
    }

    /// Takes committed offsets away from a group.
    struct OffsetDeleteRequest {
        group_id: String [0..],
        topics: Vec<OffsetDeleteTopic> [0..],
    }

    struct OffsetDeleteTopic {
        name: String [0..],
        partitions: Vec<OffsetDeletePartition> [0..],
    }

    struct OffsetDeletePartition {
        partition_index: i32 [0..],
    }

    struct OffsetDeleteResponse {
        error_code: ErrorCode [0..],
        throttle_time_ms: i32 [0..],
        topics: Vec<OffsetDeleteTopicResponse> [0..],
    }

    struct OffsetDeleteTopicResponse {
        name: String [0..],
        partitions: Vec<OffsetDeletePartitionResponse> [0..],
    }

    struct OffsetDeletePartitionResponse {
        partition_index: i32 [0..],
        error_code: ErrorCode [0..],
    }
}
