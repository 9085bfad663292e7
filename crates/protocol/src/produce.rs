//! Producing: `Produce` and `InitProducerId`.

use bytes::Bytes;

use crate::ErrorCode;
use crate::schema::messages;

messages! {
    /// Records to append, per topic and partition.
    struct ProduceRequest {
        transactional_id: Option<String> [3..],
        acks: i16 [0..],
        timeout_ms: i32 [0..],
        topic_data: Vec<TopicProduceData> [0..],
    }

    struct TopicProduceData {
        name: String [0..],
        partition_data: Vec<PartitionProduceData> [0..],
    }

    struct PartitionProduceData {
        index: i32 [0..],
        /// One record batch: the protocol allows no more per partition from version 3 on.
        records: Option<Bytes> [0..],
    }

    /// Where each partition's records went.
    struct ProduceResponse {
        responses: Vec<TopicProduceResponse> [0..],
        throttle_time_ms: i32 [1..],
    }

    struct TopicProduceResponse {
        name: String [0..],
        partition_responses: Vec<PartitionProduceResponse> [0..],
    }

    struct PartitionProduceResponse {
        index: i32 [0..],
        error_code: ErrorCode [0..],
        base_offset: i64 [0..] = -1,
        log_append_time_ms: i64 [2..] = -1,
        log_start_offset: i64 [5..] = -1,
        record_errors: Vec<RecordError> [8..],
        error_message: Option<String> [8..],
    }

    struct RecordError {
        batch_index: i32 [8..],
        batch_index_error_message: Option<String> [8..],
    }

    /// Asks for a producer id, which makes a producer's retries recognisable.
    struct InitProducerIdRequest {
        transactional_id: Option<String> [0..],
        transaction_timeout_ms: i32 [0..],
        producer_id: i64 [3..] = -1,
        producer_epoch: i16 [3..] = -1,
    }

    struct InitProducerIdResponse {
        throttle_time_ms: i32 [0..],
        error_code: ErrorCode [0..],
        producer_id: i64 [0..] = -1,
        producer_epoch: i16 [0..],
    }
}
