//! `Produce` and `InitProducerId`.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, timeout_at};
use tracing::{debug, error};

use crate::log::partition::{PartitionError, PendingAppend};
use crate::node::Node;
use protocol::ErrorCode;
use protocol::batch::{BatchError, NewBatch};
use protocol::produce::{
    InitProducerIdRequest, InitProducerIdResponse, PartitionProduceResponse, ProduceRequest,
    ProduceResponse, RecordError, TopicProduceResponse,
};

/// A Produce request whose batches are written and not yet known to be durable.
#[derive(Debug)]
pub(crate) struct PendingProduce {
    /// The producer asked not to be answered.
    pub(crate) is_silent: bool,
    deadline: Instant,
    topics: Vec<(String, Vec<PendingPartition>)>,
}

/// A partition's index and what became of its batch.
type PendingPartition = (i32, Result<PendingAppend, Refusal>);

/// Why a partition's batch was not appended.
#[derive(Debug)]
struct Refusal {
    code: ErrorCode,
    message: String,
    /// Which of the batch's records is at fault, if one is.
    record: Option<usize>,
}

/// Appends a request's batches, in order. Does not wait for the disk beyond the page cache.
pub(crate) fn append(node: &Node, request: ProduceRequest) -> PendingProduce {
    let refusal = match request.acks {
        -1..=1 if request.transactional_id.is_none() => None,
        -1..=1 => Some((
            ErrorCode::TransactionalIdAuthorizationFailed,
            "this broker has no transactions".to_owned(),
        )),
        acks => Some((ErrorCode::InvalidRequiredAcks, format!("acks {acks} is not -1, 0 or 1"))),
    };
    let append_one = |topic: &str, index: i32, records: Option<Bytes>| {
        let appended = match &refusal {
            Some((code, message)) => {
                Err(Refusal { code: *code, message: message.clone(), record: None })
            }
            None => append_batch(node, topic, index, records),
        };
        node.counters.batches_refused.add(appended.is_err().into());
        appended
    };
    let mut topics = Vec::with_capacity(request.topic_data.len());
    for topic in request.topic_data {
        let partitions = topic.partition_data.into_iter();
        let partitions = partitions
            .map(|data| (data.index, append_one(&topic.name, data.index, data.records)))
            .collect();
        topics.push((topic.name, partitions));
    }
    let wait = Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or(0));
    PendingProduce { is_silent: request.acks == 0, deadline: Instant::now() + wait, topics }
}

fn append_batch(
    node: &Node,
    topic: &str,
    index: i32,
    records: Option<Bytes>,
) -> Result<PendingAppend, Refusal> {
    let refuse = |code, message: String| {
        debug!(topic, partition = index, %message, "a batch is refused");
        Refusal { code, message, record: None }
    };
    let unfit = |error: BatchError| Refusal {
        record: error.record(),
        ..refuse(error.code(), error.to_string())
    };
    let found = node.topics.get(topic);
    let partition = found.as_ref().and_then(|topic| topic.partition(index).map(|p| (topic, p)));
    let (found, partition) = partition.ok_or_else(|| {
        refuse(ErrorCode::UnknownTopicOrPartition, format!("no partition {index} of `{topic}`"))
    })?;
    let records = records.unwrap_or_default();
    let bound = node.bounds.batch_bytes.min(found.config.max_batch_bytes as usize);
    if bound < records.len() {
        let message = format!("a batch of {} bytes; {bound} are allowed", records.len());
        return Err(refuse(ErrorCode::MessageTooLarge, message));
    }
    let batch = NewBatch::check(records).map_err(unfit)?;
    if found.config.cleanup.compacts() {
        batch.check_keys(node.bounds.inflated_bytes).map_err(unfit)?;
    }
    let (records, bytes) = (batch.header.record_count as u64, batch.header.size as u64);
    let appended = partition.append(batch).map_err(|error| {
        if let PartitionError::Append(_) = error
            && error.code() == ErrorCode::KafkaStorageError
        {
            error!(topic, partition = index, %error, "a batch cannot be written");
        }
        refuse(error.code(), error.to_string())
    })?;
    node.counters.records_in.add(records);
    node.counters.bytes_in.add(bytes);
    Ok(appended)
}

impl PendingProduce {
    /// Whether any batch was refused. A producer that asked not to be answered learns it by losing its
    /// connection.
    pub(crate) fn has_refusals(&self) -> bool {
        self.topics.iter().flat_map(|(_, partitions)| partitions).any(|(_, result)| result.is_err())
    }

    /// Waits until each batch is durable or will never be, or until the producer's time is up.
    pub(crate) async fn response(self) -> ProduceResponse {
        let mut responses = Vec::with_capacity(self.topics.len());
        for (name, partitions) in self.topics {
            let mut partition_responses = Vec::with_capacity(partitions.len());
            for (index, appended) in partitions {
                partition_responses.push(acknowledge(index, appended, self.deadline).await);
            }
            responses.push(TopicProduceResponse { name, partition_responses });
        }
        ProduceResponse { responses, throttle_time_ms: 0 }
    }
}

async fn acknowledge(
    index: i32,
    appended: Result<PendingAppend, Refusal>,
    deadline: Instant,
) -> PartitionProduceResponse {
    let mut response = PartitionProduceResponse { index, ..PartitionProduceResponse::default() };
    let (error_code, message) = match appended {
        Err(Refusal { code, message, record }) => {
            let at_fault = record.map(|index| RecordError {
                batch_index: index as i32,
                batch_index_error_message: Some(message.clone()),
            });
            response.record_errors.extend(at_fault);
            (code, message)
        }
        Ok(mut appended) => match timeout_at(deadline, appended.durable()).await {
            Ok(true) => {
                response.base_offset = appended.base_offset;
                response.log_start_offset = appended.start_offset;
                return response;
            }
            Ok(false) => (ErrorCode::KafkaStorageError, "the disk failed".to_owned()),
            Err(_) => (ErrorCode::RequestTimedOut, "the disk is slow".to_owned()),
        },
    };
    (response.error_code, response.error_message) = (error_code, Some(message));
    response
}

pub(crate) fn init_producer_id(
    node: &Node,
    request: &InitProducerIdRequest,
) -> InitProducerIdResponse {
    let refused = |error_code| InitProducerIdResponse {
        error_code,
        producer_epoch: -1,
        ..InitProducerIdResponse::default()
    };
    if request.transactional_id.is_some() {
        return refused(ErrorCode::TransactionalIdAuthorizationFailed);
    }
    if (request.producer_id == -1) != (request.producer_epoch == -1) {
        return refused(ErrorCode::InvalidRequest);
    }
    match node.identity.new_producer_id() {
        Ok(producer_id) => {
            InitProducerIdResponse { producer_id, ..InitProducerIdResponse::default() }
        }
        Err(error) => {
            error!(%error, "reserving producer ids");
            refused(ErrorCode::KafkaStorageError)
        }
    }
}
