//! `OffsetCommit` and `OffsetFetch`.

use std::collections::BTreeMap;

use tracing::debug;

use super::{once, once_each};
use crate::groups::group::Caller;
use crate::node::{Node, wall_clock_ms};
use crate::offsets::{Committed, GroupOffsets};
use protocol::ErrorCode;
use protocol::offsets::{
    OffsetCommitPartition, OffsetCommitPartitionResponse, OffsetCommitRequest,
    OffsetCommitResponse, OffsetCommitTopicResponse, OffsetFetchGroup, OffsetFetchGroupResponse,
    OffsetFetchPartitionResponse, OffsetFetchRequest, OffsetFetchResponse, OffsetFetchTopic,
    OffsetFetchTopicResponse,
};

pub(crate) async fn commit(node: &Node, request: OffsetCommitRequest) -> OffsetCommitResponse {
    let caller = Caller {
        member_id: request.member_id,
        instance_id: request.group_instance_id,
        generation: request.generation_id,
    };
    let asked: usize = request.topics.iter().map(|topic| topic.partitions.len()).sum();
    let (has, groups) = node.offsets.counts(&request.group_id);
    let is_over_bound =
        node.bounds.group_offsets < has.max(asked) || has == 0 && node.bounds.groups <= groups;
    let refusal = match node.coordinator.check_commit(&request.group_id, &caller, 0 < has) {
        Err(error) => error,
        Ok(()) if is_over_bound => ErrorCode::PolicyViolation,
        Ok(()) => ErrorCode::None,
    };
    let mut commits = Vec::new();
    let mut topics = Vec::new();
    for topic in request.topics {
        let count = node.topics.get(&topic.name).map_or(0, |topic| topic.partitions.len());
        let mut partitions = Vec::new();
        for partition in topic.partitions {
            let partition_index = partition.partition_index;
            let mut error_code = refusal;
            if error_code == ErrorCode::None {
                error_code = check(node, &partition, count);
            }
            if error_code == ErrorCode::None {
                commits.push(((topic.name.clone(), partition_index), committed(partition)));
            }
            partitions.push(OffsetCommitPartitionResponse { partition_index, error_code });
        }
        topics.push(OffsetCommitTopicResponse { name: topic.name, partitions });
    }
    debug!(group = request.group_id, offsets = commits.len(), ?refusal, "committing");
    let written = match node.offsets.commit(&request.group_id, commits) {
        Ok(pending) => pending.durable().await,
        Err(error) => Err(error),
    };
    if written.is_err() {
        let partitions = topics.iter_mut().flat_map(|topic| &mut topic.partitions);
        for partition in partitions.filter(|p| p.error_code == ErrorCode::None) {
            // The one error that has all clients try again.
            partition.error_code = ErrorCode::CoordinatorNotAvailable;
        }
    }
    OffsetCommitResponse { throttle_time_ms: 0, topics }
}

fn check(node: &Node, partition: &OffsetCommitPartition, partitions: usize) -> ErrorCode {
    let metadata = partition.committed_metadata.as_deref().unwrap_or_default();
    let is_known = usize::try_from(partition.partition_index).is_ok_and(|index| index < partitions);
    if !is_known {
        ErrorCode::UnknownTopicOrPartition
    } else if node.bounds.offset_metadata_bytes < metadata.len() {
        ErrorCode::OffsetMetadataTooLarge
    } else {
        // Whatever the offset: clients commit negative ones where they want to begin at an end of the log.
        ErrorCode::None
    }
}

fn committed(partition: OffsetCommitPartition) -> Committed {
    Committed {
        offset: partition.committed_offset,
        leader_epoch: partition.committed_leader_epoch,
        metadata: partition.committed_metadata.unwrap_or_default(),
        at_ms: wall_clock_ms(),
    }
}

pub(crate) fn fetch(node: &Node, request: OffsetFetchRequest) -> OffsetFetchResponse {
    if request.groups.is_empty() {
        let topics = offsets_of(node, &request.group_id, request.topics);
        return OffsetFetchResponse { topics, ..OffsetFetchResponse::default() };
    }
    let groups = once(request.groups, |group| group.group_id.clone());
    let groups = groups.into_iter().map(|OffsetFetchGroup { group_id, topics }| {
        let topics = offsets_of(node, &group_id, topics);
        OffsetFetchGroupResponse { group_id, topics, error_code: ErrorCode::None }
    });
    OffsetFetchResponse { groups: groups.collect(), ..OffsetFetchResponse::default() }
}

/// The offsets asked for, or all of the group's.
fn offsets_of(
    node: &Node,
    group_id: &str,
    asked: Option<Vec<OffsetFetchTopic>>,
) -> Vec<OffsetFetchTopicResponse> {
    let offsets = node.offsets.of(group_id);
    let mut asked = asked.unwrap_or_else(|| all_of(&offsets));
    once_each(&mut asked, |topic| (&topic.name, &mut topic.partition_indexes), |index| *index);
    let topics = asked.into_iter().map(|OffsetFetchTopic { name, partition_indexes }| {
        let partitions = partition_indexes
            .into_iter()
            .map(|index| describe(index, offsets.get(&(name.clone(), index))));
        OffsetFetchTopicResponse { partitions: partitions.collect(), name: name.clone() }
    });
    topics.collect()
}

fn all_of(offsets: &GroupOffsets) -> Vec<OffsetFetchTopic> {
    let mut by_topic = BTreeMap::<&String, Vec<i32>>::new();
    for (topic, index) in offsets.keys() {
        by_topic.entry(topic).or_default().push(*index);
    }
    let topics = by_topic.into_iter().map(|(name, partition_indexes)| OffsetFetchTopic {
        name: name.clone(),
        partition_indexes,
    });
    topics.collect()
}

fn describe(partition_index: i32, committed: Option<&Committed>) -> OffsetFetchPartitionResponse {
    let nothing = OffsetFetchPartitionResponse {
        partition_index,
        metadata: Some(String::new()),
        ..OffsetFetchPartitionResponse::default()
    };
    match committed {
        None => nothing,
        Some(Committed { offset, leader_epoch, metadata, .. }) => OffsetFetchPartitionResponse {
            committed_offset: *offset,
            committed_leader_epoch: *leader_epoch,
            metadata: Some(metadata.clone()),
            ..nothing
        },
    }
}
