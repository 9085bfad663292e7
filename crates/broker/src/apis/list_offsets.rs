//! `ListOffsets`: the start, the end, and offsets by time.

use super::partition_in_epoch;
use crate::log::batch::LEADER_EPOCH;
use crate::log::partition::{Partition, PartitionError};
use crate::node::Node;
use crate::protocol::fetch::{
    ListOffsetsPartition, ListOffsetsPartitionResponse, ListOffsetsRequest, ListOffsetsResponse,
    ListOffsetsTopicResponse,
};

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const NEWEST_RECORD: i64 = -3;

pub(crate) fn list_offsets(node: &Node, request: &ListOffsetsRequest) -> ListOffsetsResponse {
    let topics = request.topics.iter().map(|topic| ListOffsetsTopicResponse {
        name: topic.name.clone(),
        partitions: topic.partitions.iter().map(|asked| list(node, &topic.name, asked)).collect(),
    });
    ListOffsetsResponse { throttle_time_ms: 0, topics: topics.collect() }
}

fn list(node: &Node, topic: &str, asked: &ListOffsetsPartition) -> ListOffsetsPartitionResponse {
    let mut response = ListOffsetsPartitionResponse {
        partition_index: asked.partition_index,
        ..ListOffsetsPartitionResponse::default()
    };
    let (index, epoch) = (asked.partition_index, asked.current_leader_epoch);
    let found = partition_in_epoch(node, topic, index, epoch)
        .and_then(|partition| find(&partition, asked.timestamp).map_err(|error| error.code()));
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

fn find(partition: &Partition, timestamp: i64) -> Result<Option<(i64, i64)>, PartitionError> {
    let watermarks = partition.watermarks()?;
    match timestamp {
        LATEST => Ok(Some((watermarks.high, -1))),
        EARLIEST => Ok(Some((watermarks.start, -1))),
        NEWEST_RECORD => match partition.max_timestamp()? {
            Some(newest) => partition.find(newest),
            None => Ok(None),
        },
        timestamp => partition.find(timestamp),
    }
}
