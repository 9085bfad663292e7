//! `JoinGroup`, `SyncGroup`, `Heartbeat` and `LeaveGroup`.

use std::time::Duration;

use crate::groups::group::{Caller, Sync};
use crate::groups::member::{Join, Protocol};
use crate::groups::reply::{JoinRefused, Joined, Synced};
use crate::node::{Client, Node};
use protocol::ErrorCode;
use protocol::groups::{
    HeartbeatRequest, HeartbeatResponse, JoinGroupMember, JoinGroupProtocol, JoinGroupRequest,
    JoinGroupResponse, LeaveGroupRequest, LeaveGroupResponse, LeavingMember, LeftMember,
    SyncGroupRequest, SyncGroupResponse,
};

pub(crate) async fn join(
    node: &Node,
    client: &Client,
    version: i16,
    request: JoinGroupRequest,
) -> JoinGroupResponse {
    let millis = |ms: i32| Duration::from_millis(u64::try_from(ms).unwrap_or(0));
    let rebalance_timeout_ms = match request.rebalance_timeout_ms {
        ..0 => request.session_timeout_ms,
        timeout_ms => timeout_ms,
    };
    // With what holds them, which bounds their number as well: members' protocols are compared with each other.
    let size = |p: &JoinGroupProtocol| size_of::<Protocol>() + p.name.len() + p.metadata.len();
    let stored: usize = request.protocols.iter().map(size).sum();
    let is_within_bound = || {
        let is_over = node.bounds.group_member_bytes < stored;
        if is_over { Err(ErrorCode::PolicyViolation) } else { Ok(()) }
    };
    if let Err(error) = check_id(&request.group_id).and_then(|()| is_within_bound()) {
        return refused(JoinRefused::because(error, &request.member_id));
    }
    let protocols = request.protocols.into_iter();
    let join = Join {
        member_id: request.member_id,
        instance_id: request.group_instance_id,
        client_id: client.id.clone(),
        // With the slash that Kafka writes before an address it has no name for.
        client_host: format!("/{}", client.peer.ip()),
        session_timeout: millis(request.session_timeout_ms),
        rebalance_timeout: millis(rebalance_timeout_ms),
        protocol_type: request.protocol_type,
        // Copied, because a slice would keep its whole frame in memory for as long as the member lives.
        protocols: protocols
            .map(|p| Protocol { name: p.name, metadata: p.metadata.to_vec().into() })
            .collect(),
        takes_id_first: 4 <= version,
        may_skip_assignment: 9 <= version,
    };
    match node.coordinator.join(&request.group_id, join).await {
        Ok(joined) => formed(joined),
        Err(refusal) => refused(refusal),
    }
}

fn formed(joined: Joined) -> JoinGroupResponse {
    let members = joined.members.into_iter().map(|(member_id, group_instance_id, metadata)| {
        JoinGroupMember { member_id, group_instance_id, metadata }
    });
    JoinGroupResponse {
        generation_id: joined.generation,
        protocol_type: Some(joined.protocol_type),
        protocol_name: Some(joined.protocol),
        leader: joined.leader,
        skip_assignment: joined.skip_assignment,
        member_id: joined.member_id,
        members: members.collect(),
        ..JoinGroupResponse::default()
    }
}

fn refused(refusal: JoinRefused) -> JoinGroupResponse {
    let JoinRefused { error: error_code, member_id } = refusal;
    JoinGroupResponse { error_code, member_id, ..JoinGroupResponse::default() }
}

pub(crate) async fn sync(node: &Node, request: SyncGroupRequest) -> SyncGroupResponse {
    if let Err(error_code) = check_id(&request.group_id) {
        return SyncGroupResponse { error_code, ..SyncGroupResponse::default() };
    }
    let largest = request.assignments.iter().map(|a| a.assignment.len()).max().unwrap_or(0);
    if node.bounds.group_member_bytes < largest {
        let error_code = ErrorCode::PolicyViolation;
        return SyncGroupResponse { error_code, ..SyncGroupResponse::default() };
    }
    let assignments = request.assignments.into_iter();
    let sync = Sync {
        caller: Caller {
            member_id: request.member_id,
            instance_id: request.group_instance_id,
            generation: request.generation_id,
        },
        protocol_type: request.protocol_type,
        protocol: request.protocol_name,
        assignments: assignments
            .map(|share| (share.member_id, share.assignment.to_vec().into()))
            .collect(),
    };
    match node.coordinator.sync(&request.group_id, sync).await {
        Ok(Synced { protocol_type, protocol, assignment }) => SyncGroupResponse {
            protocol_type: Some(protocol_type),
            protocol_name: Some(protocol),
            assignment,
            ..SyncGroupResponse::default()
        },
        Err(error_code) => SyncGroupResponse { error_code, ..SyncGroupResponse::default() },
    }
}

pub(crate) fn heartbeat(node: &Node, request: HeartbeatRequest) -> HeartbeatResponse {
    let caller = Caller {
        member_id: request.member_id,
        instance_id: request.group_instance_id,
        generation: request.generation_id,
    };
    let beaten = check_id(&request.group_id)
        .and_then(|()| node.coordinator.heartbeat(&request.group_id, &caller));
    let error_code = code(beaten);
    HeartbeatResponse { throttle_time_ms: 0, error_code }
}

pub(crate) fn leave(node: &Node, version: i16, request: &LeaveGroupRequest) -> LeaveGroupResponse {
    if let Err(error_code) = check_id(&request.group_id) {
        return LeaveGroupResponse { error_code, ..LeaveGroupResponse::default() };
    }
    let leave_one = |member: LeavingMember| {
        let LeavingMember { member_id, group_instance_id, reason: _ } = member;
        let instance_id = group_instance_id.as_deref();
        let left = node.coordinator.leave(&request.group_id, &member_id, instance_id);
        LeftMember { error_code: code(left.map(drop)), member_id, group_instance_id }
    };
    if version < 3 {
        let member_id = request.member_id.clone();
        let left = leave_one(LeavingMember { member_id, ..LeavingMember::default() });
        let error_code = left.error_code;
        return LeaveGroupResponse { error_code, ..LeaveGroupResponse::default() };
    }
    let members = request.members.iter().cloned().map(leave_one).collect();
    LeaveGroupResponse { members, ..LeaveGroupResponse::default() }
}

/// A group of members has a name; offsets alone may be committed without one.
fn check_id(group_id: &str) -> Result<(), ErrorCode> {
    if group_id.is_empty() { Err(ErrorCode::InvalidGroupId) } else { Ok(()) }
}

fn code(result: Result<(), ErrorCode>) -> ErrorCode {
    result.err().unwrap_or_default()
}
