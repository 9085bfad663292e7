//! `ListOffsets`: the start, the end, and offsets by time.

use std::collections::HashMap;
use std::sync::Arc;

use super::{once_each, partition_in_epoch};
use crate::log::partition::{Partition, PartitionError};
use crate::node::Node;
use protocol::ErrorCode;
use protocol::batch::LEADER_EPOCH;
use protocol::fetch::{
    ListOffsetsPartition, ListOffsetsPartitionResponse, ListOffsetsRequest, ListOffsetsResponse,
    ListOffsetsTopic, ListOffsetsTopicResponse,
};

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const NEWEST_RECORD: i64 = -3;
/// The first version that may ask for it.
const NEWEST_RECORD_SINCE: i16 = 7;

pub(crate) async fn list_offsets(
    node: &Node,
    version: i16,
    mut request: ListOffsetsRequest,
) -> ListOffsetsResponse {
    let mut times = HashMap::<String, HashMap<i32, usize>>::new();
    for topic in &request.topics {
        let times = times.entry(topic.name.clone()).or_default();
        for partition in &topic.partitions {
            *times.entry(partition.partition_index).or_default() += 1;
        }
    }
    once_each(&mut request.topics, |t| (&t.name, &mut t.partitions), |p| p.partition_index);
    let mut topics = Vec::with_capacity(request.topics.len());
    for ListOffsetsTopic { name, partitions: asked } in request.topics {
        let mut partitions = Vec::with_capacity(asked.len());
        for asked in asked {
            partitions.push(if times[&name][&asked.partition_index] == 1 {
                list(node, version, &name, &asked).await
            } else {
                // Which of the times is meant is unclear.
                let (partition_index, error_code) =
                    (asked.partition_index, ErrorCode::InvalidRequest);
                ListOffsetsPartitionResponse { partition_index, error_code, ..Default::default() }
            });
        }
        topics.push(ListOffsetsTopicResponse { name, partitions });
    }
    ListOffsetsResponse { throttle_time_ms: 0, topics }
}

async fn list(
    node: &Node,
    version: i16,
    topic: &str,
    asked: &ListOffsetsPartition,
) -> ListOffsetsPartitionResponse {
    let mut response = ListOffsetsPartitionResponse {
        partition_index: asked.partition_index,
        ..ListOffsetsPartitionResponse::default()
    };
    let (index, epoch) = (asked.partition_index, asked.current_leader_epoch);
    let partition = partition_in_epoch(node, topic, index, epoch)
        .and_then(|partition| check_meaning(version, asked.timestamp).map(|()| partition));
    let found = match partition {
        Ok(partition) => find(partition, asked.timestamp).await.map_err(|error| error.code()),
        Err(error_code) => Err(error_code),
    };
    match found {
        Ok(Some((offset, timestamp))) => {
            (response.offset, response.timestamp) = (offset, timestamp);
            response.leader_epoch = LEADER_EPOCH;
        }
        // No record is that new: offset -1 says so.
        Ok(None) => {}
        Err(error_code) => response.error_code = error_code,
    }
    response
}

/// Times are not negative; what is has a meaning, which depends on the version.
fn check_meaning(version: i16, timestamp: i64) -> Result<(), ErrorCode> {
    match timestamp {
        0.. | LATEST | EARLIEST => Ok(()),
        NEWEST_RECORD if NEWEST_RECORD_SINCE <= version => Ok(()),
        _ => Err(ErrorCode::UnsupportedVersion),
    }
}

async fn find(
    partition: Arc<Partition>,
    timestamp: i64,
) -> Result<Option<(i64, i64)>, PartitionError> {
    let watermarks = partition.watermarks()?;
    match timestamp {
        LATEST => return Ok(Some((watermarks.high, -1))),
        EARLIEST => return Ok(Some((watermarks.start, -1))),
        _ => {}
    }
    // Batches are read, which may be old: a memory card takes its time, and others share this thread.
    let finding = tokio::task::spawn_blocking(move || match timestamp {
        NEWEST_RECORD => match partition.max_timestamp()? {
            Some(newest) => partition.find(newest),
            None => Ok(None),
        },
        timestamp => partition.find(timestamp),
    });
    finding.await.expect("finding does not panic and is not cancelled")
}
