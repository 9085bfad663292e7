//! Consumer groups: who is a member, which generation counts, who consumes what.
//!
//! [`group::Group`] decides, purely: it takes requests and the time and returns replies.
//! [`coordinator::Coordinator`] holds all groups, delivers replies to the requests that wait for them, and
//! calls the groups when a deadline passes. Groups live in memory: after a restart members are unknown, join
//! again, and continue from their committed offsets.

pub(crate) mod coordinator;
pub(crate) mod group;
pub(crate) mod member;
pub(crate) mod reply;

#[cfg(test)]
mod tests;
