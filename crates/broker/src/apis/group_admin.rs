//! `ListGroups`, `DescribeGroups`, `DeleteGroups` and `OffsetDelete`.
//!
//! A group exists while somebody is in it or while it has committed offsets.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::once;
use crate::groups::group::{Group, Phase};
use crate::groups::member::Member;
use crate::node::Node;
use protocol::ErrorCode;
use protocol::groups::{
    DeleteGroupsRequest, DeleteGroupsResponse, DeletedGroup, DescribeGroupsRequest,
    DescribeGroupsResponse, DescribedGroup, DescribedMember, ListGroupsRequest, ListGroupsResponse,
    ListedGroup,
};
use protocol::offsets::{
    OffsetDeletePartition, OffsetDeletePartitionResponse, OffsetDeleteRequest,
    OffsetDeleteResponse, OffsetDeleteTopic, OffsetDeleteTopicResponse,
};

/// The states of a group that nobody is in: with offsets, and without.
const EMPTY: &str = "Empty";
const DEAD: &str = "Dead";

pub(crate) fn list(node: &Node, request: &ListGroupsRequest) -> ListGroupsResponse {
    let mut groups = BTreeMap::new();
    for group_id in node.offsets.groups() {
        let group_state = EMPTY.to_owned();
        groups.insert(
            group_id.clone(),
            ListedGroup { group_id, group_state, ..ListedGroup::default() },
        );
    }
    for listed in node.coordinator.inspect_all(|id, group| ListedGroup {
        group_id: id.to_owned(),
        protocol_type: group.protocol_type().to_owned(),
        group_state: group.phase().name().to_owned(),
    }) {
        groups.insert(listed.group_id.clone(), listed);
    }
    let filter = &request.states_filter;
    let is_asked = |group: &ListedGroup| {
        filter.is_empty()
            || filter.iter().any(|state| state.eq_ignore_ascii_case(&group.group_state))
    };
    let groups = groups.into_values().filter(is_asked).collect();
    ListGroupsResponse { groups, ..ListGroupsResponse::default() }
}

pub(crate) fn describe(node: &Node, request: DescribeGroupsRequest) -> DescribeGroupsResponse {
    let groups = once(request.groups, String::clone).into_iter().map(|group_id| {
        let described = node.coordinator.inspect(&group_id, |group| describe_one(&group_id, group));
        described.unwrap_or_else(|| {
            let (offsets, _) = node.offsets.counts(&group_id);
            let group_state = if offsets == 0 { DEAD } else { EMPTY }.to_owned();
            DescribedGroup { group_id, group_state, ..DescribedGroup::default() }
        })
    });
    DescribeGroupsResponse { throttle_time_ms: 0, groups: groups.collect() }
}

/// What was chosen and what members subscribe to is shown while it holds, in a stable group.
fn describe_one(group_id: &str, group: &Group) -> DescribedGroup {
    let protocol = if group.phase() == Phase::Stable { group.protocol() } else { "" };
    let members = group.members().iter().map(|member| describe_member(member, protocol));
    DescribedGroup {
        group_id: group_id.to_owned(),
        group_state: group.phase().name().to_owned(),
        protocol_type: group.protocol_type().to_owned(),
        protocol_data: protocol.to_owned(),
        members: members.collect(),
        ..DescribedGroup::default()
    }
}

fn describe_member(member: &Member, protocol: &str) -> DescribedMember {
    DescribedMember {
        member_id: member.id.clone(),
        group_instance_id: member.instance_id.clone(),
        client_id: member.client_id.clone(),
        client_host: member.client_host.clone(),
        member_metadata: member.metadata(protocol),
        member_assignment: member.assignment.clone(),
    }
}

pub(crate) async fn delete(node: &Node, request: DeleteGroupsRequest) -> DeleteGroupsResponse {
    let mut results = Vec::new();
    for group_id in request.groups_names {
        let error_code = delete_one(node, &group_id).await.err().unwrap_or_default();
        results.push(DeletedGroup { group_id, error_code });
    }
    DeleteGroupsResponse { throttle_time_ms: 0, results }
}

async fn delete_one(node: &Node, group_id: &str) -> Result<(), ErrorCode> {
    if node.coordinator.inspect(group_id, |_| ()).is_some() {
        return Err(ErrorCode::NonEmptyGroup);
    }
    if node.offsets.counts(group_id).0 == 0 {
        return Err(ErrorCode::GroupIdNotFound);
    }
    let unavailable = |_| ErrorCode::CoordinatorNotAvailable;
    let removal = node.offsets.remove(|group, _, _| group == group_id).map_err(unavailable)?;
    removal.durable().await.map_err(unavailable)
}

/// Takes offsets away. A group that somebody is in keeps them: which topics its members subscribe to is
/// written in their own encoding, which the broker does not read.
pub(crate) async fn delete_offsets(
    node: &Node,
    request: OffsetDeleteRequest,
) -> OffsetDeleteResponse {
    let refusal = if node.coordinator.inspect(&request.group_id, |_| ()).is_some() {
        Some(ErrorCode::NonEmptyGroup)
    } else if node.offsets.counts(&request.group_id).0 == 0 {
        Some(ErrorCode::GroupIdNotFound)
    } else {
        None
    };
    if let Some(error_code) = refusal {
        return OffsetDeleteResponse { error_code, ..OffsetDeleteResponse::default() };
    }
    let mut named = HashMap::<&str, HashSet<i32>>::new();
    for OffsetDeleteTopic { name, partitions } in &request.topics {
        named.entry(name).or_default().extend(partitions.iter().map(|p| p.partition_index));
    }
    let is_named = |(topic, index): &(String, i32)| {
        named.get(topic.as_str()).is_some_and(|indexes| indexes.contains(index))
    };
    let removed =
        match node.offsets.remove(|group, at, _| group == request.group_id && is_named(at)) {
            Ok(removal) => removal.durable().await,
            Err(error) => Err(error),
        };
    let outcome = |topic: &str, index: i32| match removed {
        _ if node.topics.partition(topic, index).is_none() => ErrorCode::UnknownTopicOrPartition,
        Ok(()) => ErrorCode::None,
        Err(_) => ErrorCode::CoordinatorNotAvailable,
    };
    let topics = request.topics.into_iter().map(|OffsetDeleteTopic { name, partitions }| {
        let partitions = partitions.iter().map(|&OffsetDeletePartition { partition_index }| {
            let error_code = outcome(&name, partition_index);
            OffsetDeletePartitionResponse { partition_index, error_code }
        });
        OffsetDeleteTopicResponse { partitions: partitions.collect(), name: name.clone() }
    });
    OffsetDeleteResponse { topics: topics.collect(), ..OffsetDeleteResponse::default() }
}
