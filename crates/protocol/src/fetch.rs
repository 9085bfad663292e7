//! Consuming: `Fetch`, `ListOffsets` and `OffsetForLeaderEpoch`.
//!
//! The tagged fields of `Fetch` version 12 (diverging epochs, leader changes, snapshots) only concern
//! replicas, so they are neither read nor sent.

use bytes::Bytes;

use crate::ErrorCode;
use crate::schema::messages;

messages! {
    /// Asks for records, per topic and partition, and says how long to wait for some to arrive.
    struct FetchRequest {
        replica_id: i32 [0..] = -1,
        max_wait_ms: i32 [0..],
        min_bytes: i32 [0..],
        max_bytes: i32 [3..] = i32::MAX,
        isolation_level: i8 [4..],
        session_id: i32 [7..],
        session_epoch: i32 [7..] = -1,
        topics: Vec<FetchTopic> [0..],
        forgotten_topics: Vec<ForgottenTopic> [7..],
        rack_id: String [11..],
    }

    struct FetchTopic {
        topic: String [0..],
        partitions: Vec<FetchPartition> [0..],
    }

    struct FetchPartition {
        partition: i32 [0..],
        current_leader_epoch: i32 [9..] = -1,
        fetch_offset: i64 [0..],
        last_fetched_epoch: i32 [12..] = -1,
        log_start_offset: i64 [5..] = -1,
        partition_max_bytes: i32 [0..],
    }

    struct ForgottenTopic {
        topic: String [7..],
        partitions: Vec<i32> [7..],
    }

    /// Record batches as they lie in the log.
    struct FetchResponse {
        throttle_time_ms: i32 [1..],
        error_code: ErrorCode [7..],
        session_id: i32 [7..],
        responses: Vec<FetchTopicResponse> [0..],
    }

    struct FetchTopicResponse {
        topic: String [0..],
        partitions: Vec<FetchPartitionResponse> [0..],
    }

    struct FetchPartitionResponse {
        partition_index: i32 [0..],
        error_code: ErrorCode [0..],
        high_watermark: i64 [0..] = -1,
        last_stable_offset: i64 [4..] = -1,
        log_start_offset: i64 [5..] = -1,
        aborted_transactions: Option<Vec<AbortedTransaction>> [4..],
        preferred_read_replica: i32 [11..] = -1,
        records: Option<Bytes> [0..],
    }

    struct AbortedTransaction {
        producer_id: i64 [4..],
        first_offset: i64 [4..],
    }

    /// Asks for an offset by time; -1 is the end of the log and -2 its start.
    struct ListOffsetsRequest {
        replica_id: i32 [0..] = -1,
        isolation_level: i8 [2..],
        topics: Vec<ListOffsetsTopic> [0..],
    }

    struct ListOffsetsTopic {
        name: String [0..],
        partitions: Vec<ListOffsetsPartition> [0..],
    }

    struct ListOffsetsPartition {
        partition_index: i32 [0..],
        current_leader_epoch: i32 [4..] = -1,
        timestamp: i64 [0..],
    }

    struct ListOffsetsResponse {
        throttle_time_ms: i32 [2..],
        topics: Vec<ListOffsetsTopicResponse> [0..],
    }

    struct ListOffsetsTopicResponse {
        name: String [0..],
        partitions: Vec<ListOffsetsPartitionResponse> [0..],
    }

    struct ListOffsetsPartitionResponse {
        partition_index: i32 [0..],
        error_code: ErrorCode [0..],
        timestamp: i64 [1..] = -1,
        offset: i64 [1..] = -1,
        leader_epoch: i32 [4..] = -1,
    }

    /// Asks where a leader's epoch ends, to notice a log that was cut.
    struct OffsetForLeaderEpochRequest {
        replica_id: i32 [3..] = -2,
        topics: Vec<OffsetForLeaderTopic> [0..],
    }

    struct OffsetForLeaderTopic {
        topic: String [0..],
        partitions: Vec<OffsetForLeaderPartition> [0..],
    }

    struct OffsetForLeaderPartition {
        partition: i32 [0..],
        current_leader_epoch: i32 [2..] = -1,
        leader_epoch: i32 [0..],
    }

    struct OffsetForLeaderEpochResponse {
        throttle_time_ms: i32 [2..],
        topics: Vec<OffsetForLeaderTopicResponse> [0..],
    }

    struct OffsetForLeaderTopicResponse {
        topic: String [0..],
        partitions: Vec<EpochEndOffset> [0..],
    }

    struct EpochEndOffset {
        error_code: ErrorCode [0..],
        partition: i32 [0..],
        leader_epoch: i32 [1..] = -1,
        end_offset: i64 [0..] = -1,
    }
}
