//! How the requests of members end, at once or when the group has come that far.

use bytes::Bytes;

use super::member::Ticket;
use protocol::ErrorCode;

/// What a member learns when the group has formed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Joined {
    pub(crate) generation: i32,
    pub(crate) protocol_type: String,
    pub(crate) protocol: String,
    pub(crate) leader: String,
    pub(crate) member_id: String,
    pub(crate) skip_assignment: bool,
    /// Id, instance id and subscription of everyone, for the leader only.
    pub(crate) members: Vec<(String, Option<String>, Bytes)>,
}

/// Why a member may not join.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct JoinRefused {
    pub(crate) error: ErrorCode,
    /// The id to use from then on, where the error is [`ErrorCode::MemberIdRequired`].
    pub(crate) member_id: String,
}

impl JoinRefused {
    pub(crate) fn because(error: ErrorCode, member_id: &str) -> Self {
        Self { error, member_id: member_id.to_owned() }
    }
}

/// What a member learns when the leader has assigned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Synced {
    pub(crate) protocol_type: String,
    pub(crate) protocol: String,
    pub(crate) assignment: Bytes,
}

/// The end of a waiting request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reply {
    Join(Ticket, Result<Joined, JoinRefused>),
    Sync(Ticket, Result<Synced, ErrorCode>),
}
