//! `DeleteRecords` and `OffsetForLeaderEpoch`: where a partition begins, and where its leader's reign ends.

use std::sync::Arc;

use tracing::{info, warn};

use super::partition_in_epoch;
use crate::log::partition::{Partition, PartitionError};
use crate::node::{Node, wall_clock_ms};
use protocol::ErrorCode;
use protocol::admin::{
    DeleteRecordsPartitionResponse, DeleteRecordsRequest, DeleteRecordsResponse,
    DeleteRecordsTopicResponse,
};
use protocol::batch::LEADER_EPOCH;
use protocol::fetch::{
    EpochEndOffset, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse,
    OffsetForLeaderPartition, OffsetForLeaderTopicResponse,
};

pub(crate) async fn delete(node: &Node, request: DeleteRecordsRequest) -> DeleteRecordsResponse {
    let mut topics = Vec::new();
    for topic in request.topics {
        let mut partitions = Vec::new();
        for asked in topic.partitions {
            let deleted = match deletable(node, &topic.name, asked.partition_index) {
                Ok(partition) => delete_before(partition, asked.offset).await,
                Err(error_code) => Err(error_code),
            };
            if let Ok(start) = deleted {
                let partition = asked.partition_index;
                info!(topic = topic.name, partition, start, "deleted records");
            }
            partitions.push(DeleteRecordsPartitionResponse {
                partition_index: asked.partition_index,
                low_watermark: deleted.unwrap_or(-1),
                error_code: deleted.err().unwrap_or_default(),
            });
        }
        topics.push(DeleteRecordsTopicResponse { name: topic.name, partitions });
    }
    DeleteRecordsResponse { throttle_time_ms: 0, topics }
}

/// A partition whose records may be deleted. One that is only compacted is a table: its records go by key.
fn deletable(node: &Node, topic: &str, index: i32) -> Result<Arc<Partition>, ErrorCode> {
    let topic = node.topics.get(topic).ok_or(ErrorCode::UnknownTopicOrPartition)?;
    let partition = topic.partition(index).ok_or(ErrorCode::UnknownTopicOrPartition)?;
    if topic.config.cleanup.deletes() {
        Ok(Arc::clone(partition))
    } else {
        Err(ErrorCode::PolicyViolation)
    }
}

async fn delete_before(partition: Arc<Partition>, offset: i64) -> Result<i64, ErrorCode> {
    let deleting = tokio::task::spawn_blocking(move || {
        let start = partition.delete_before(offset)?;
        // Whoever deletes records may do so because the disk is full.
        partition.enforce_retention(wall_clock_ms())?;
        Ok(start)
    });
    let deleted = deleting.await.expect("deleting records does not panic and is not cancelled");
    deleted.map_err(|error: PartitionError| {
        warn!(%error, "records are not deleted");
        error.code()
    })
}

/// There is one leader, so its reign ends where the log does.
pub(crate) fn offset_for_leader_epoch(
    node: &Node,
    request: OffsetForLeaderEpochRequest,
) -> OffsetForLeaderEpochResponse {
    let topics = request.topics.into_iter().map(|topic| OffsetForLeaderTopicResponse {
        partitions: topic.partitions.iter().map(|p| epoch_end(node, &topic.topic, p)).collect(),
        topic: topic.topic,
    });
    OffsetForLeaderEpochResponse { throttle_time_ms: 0, topics: topics.collect() }
}

fn epoch_end(node: &Node, topic: &str, asked: &OffsetForLeaderPartition) -> EpochEndOffset {
    let mut end = EpochEndOffset { partition: asked.partition, ..EpochEndOffset::default() };
    let found = partition_in_epoch(node, topic, asked.partition, asked.current_leader_epoch);
    match found.and_then(|partition| partition.watermarks().map_err(|error| error.code())) {
        Err(error_code) => end.error_code = error_code,
        Ok(watermarks) if asked.leader_epoch == LEADER_EPOCH => {
            (end.leader_epoch, end.end_offset) = (LEADER_EPOCH, watermarks.high);
        }
        // No leader had that epoch.
        Ok(_) => {}
    }
    end
}
