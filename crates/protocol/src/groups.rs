//! Consumer groups: `JoinGroup`, `SyncGroup`, `Heartbeat`, `LeaveGroup`, and what lists, describes and deletes
//! them.

use bytes::Bytes;

use crate::ErrorCode;
use crate::cluster::OPERATIONS_NOT_ASKED;
use crate::schema::messages;

messages! {
    /// Asks to be a member of the next generation.
    struct JoinGroupRequest {
        group_id: String [0..],
        session_timeout_ms: i32 [0..],
        /// Version 0 has none: its session timeout serves as both.
        rebalance_timeout_ms: i32 [1..] = -1,
        member_id: String [0..],
        group_instance_id: Option<String> [5..],
        protocol_type: String [0..],
        protocols: Vec<JoinGroupProtocol> [0..],
        reason: Option<String> [8..],
    }

    struct JoinGroupProtocol {
        name: String [0..],
        metadata: Bytes [0..],
    }

    struct JoinGroupResponse {
        throttle_time_ms: i32 [2..],
        error_code: ErrorCode [0..],
        generation_id: i32 [0..] = -1,
        protocol_type: Option<String> [7..],
        protocol_name: Option<String> [0..; null 7..],
        leader: String [0..],
        skip_assignment: bool [9..],
        member_id: String [0..],
        members: Vec<JoinGroupMember> [0..],
    }

    struct JoinGroupMember {
        member_id: String [0..],
        group_instance_id: Option<String> [5..],
        metadata: Bytes [0..],
    }

    /// Asks for this member's share; the leader's request carries everyone's.
    struct SyncGroupRequest {
        group_id: String [0..],
        generation_id: i32 [0..],
        member_id: String [0..],
        group_instance_id: Option<String> [3..],
        protocol_type: Option<String> [5..],
        protocol_name: Option<String> [5..],
        assignments: Vec<SyncGroupAssignment> [0..],
    }

    struct SyncGroupAssignment {
        member_id: String [0..],
        assignment: Bytes [0..],
    }

    struct SyncGroupResponse {
        throttle_time_ms: i32 [1..],
        error_code: ErrorCode [0..],
        protocol_type: Option<String> [5..],
        protocol_name: Option<String> [5..],
        assignment: Bytes [0..],
    }

    struct HeartbeatRequest {
        group_id: String [0..],
        generation_id: i32 [0..],
        member_id: String [0..],
        group_instance_id: Option<String> [3..],
    }

    struct HeartbeatResponse {
        throttle_time_ms: i32 [1..],
        error_code: ErrorCode [0..],
    }

    struct LeaveGroupRequest {
        group_id: String [0..],
        member_id: String [0..=2],
        members: Vec<LeavingMember> [3..],
    }

    struct LeavingMember {
        member_id: String [3..],
        group_instance_id: Option<String> [3..],
        reason: Option<String> [5..],
    }

    struct LeaveGroupResponse {
        throttle_time_ms: i32 [1..],
        error_code: ErrorCode [0..],
        members: Vec<LeftMember> [3..],
    }

    struct LeftMember {
        member_id: String [3..],
        group_instance_id: Option<String> [3..],
        error_code: ErrorCode [3..],
    }

    struct ListGroupsRequest {
        states_filter: Vec<String> [4..],
    }

    struct ListGroupsResponse {
        throttle_time_ms: i32 [1..],
        error_code: ErrorCode [0..],
        groups: Vec<ListedGroup> [0..],
    }

    struct ListedGroup {
        group_id: String [0..],
        protocol_type: String [0..],
        group_state: String [4..],
    }

    struct DescribeGroupsRequest {
        groups: Vec<String> [0..],
        include_authorized_operations: bool [3..],
    }

    struct DescribeGroupsResponse {
        throttle_time_ms: i32 [1..],
        groups: Vec<DescribedGroup> [0..],
    }

    struct DescribedGroup {
        error_code: ErrorCode [0..],
        group_id: String [0..],
        group_state: String [0..],
        protocol_type: String [0..],
        protocol_data: String [0..],
        members: Vec<DescribedMember> [0..],
        authorized_operations: i32 [3..] = OPERATIONS_NOT_ASKED,
    }

    struct DescribedMember {
        member_id: String [0..],
        group_instance_id: Option<String> [4..],
        client_id: String [0..],
        client_host: String [0..],
        member_metadata: Bytes [0..],
        member_assignment: Bytes [0..],
    }

    struct DeleteGroupsRequest {
        groups_names: Vec<String> [0..],
    }

    struct DeleteGroupsResponse {
        throttle_time_ms: i32 [0..],
        results: Vec<DeletedGroup> [0..],
    }

    struct DeletedGroup {
        group_id: String [0..],
        error_code: ErrorCode [0..],
    }
}
