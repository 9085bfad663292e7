//! A member of a consumer group, and what it asks for.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

/// Names a request that waits for its reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Ticket(pub(crate) u64);

/// An assignment strategy that a member knows, with its subscription in the strategy's own encoding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Protocol {
    pub(crate) name: String,
    pub(crate) metadata: Bytes,
}

/// A request to join.
#[derive(Debug, Clone)]
pub(crate) struct Join {
    /// Empty for a member that has no id yet.
    pub(crate) member_id: String,
    pub(crate) instance_id: Option<String>,
    pub(crate) client_id: String,
    pub(crate) client_host: String,
    pub(crate) session_timeout: Duration,
    pub(crate) rebalance_timeout: Duration,
    pub(crate) protocol_type: String,
    pub(crate) protocols: Vec<Protocol>,
    /// The client's version knows how to be told its id first and to join with it after (version 4 on).
    pub(crate) takes_id_first: bool,
    /// The client's version knows how to lead without assigning (version 9 on).
    pub(crate) may_skip_assignment: bool,
}

#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) id: String,
    pub(crate) instance_id: Option<String>,
    pub(crate) client_id: String,
    pub(crate) client_host: String,
    pub(crate) session_timeout: Duration,
    pub(crate) rebalance_timeout: Duration,
    pub(crate) protocols: Vec<Protocol>,
    pub(crate) assignment: Bytes,
    /// When it counts as gone, unless it is heard from or waits for a reply.
    pub(crate) expires_at: Instant,
    pub(crate) joining: Option<Ticket>,
    pub(crate) syncing: Option<Ticket>,
}

impl Member {
    pub(crate) fn new(id: String, join: Join, now: Instant) -> Self {
        Self {
            id,
            instance_id: join.instance_id,
            client_id: join.client_id,
            client_host: join.client_host,
            session_timeout: join.session_timeout,
            rebalance_timeout: join.rebalance_timeout,
            protocols: join.protocols,
            assignment: Bytes::new(),
            expires_at: now + join.session_timeout,
            joining: None,
            syncing: None,
        }
    }

    /// Takes over what a member that joins again asks for.
    pub(crate) fn update(&mut self, join: Join, now: Instant) {
        self.session_timeout = join.session_timeout;
        self.rebalance_timeout = join.rebalance_timeout;
        self.protocols = join.protocols;
        self.heard(now);
    }

    pub(crate) fn heard(&mut self, now: Instant) {
        self.expires_at = now + self.session_timeout;
    }

    pub(crate) fn is_waiting(&self) -> bool {
        self.joining.is_some() || self.syncing.is_some()
    }

    pub(crate) fn knows(&self, protocol: &str) -> bool {
        self.protocols.iter().any(|known| known.name == protocol)
    }

    pub(crate) fn metadata(&self, protocol: &str) -> Bytes {
        let known = self.protocols.iter().find(|known| known.name == protocol);
        known.map(|known| known.metadata.clone()).unwrap_or_default()
    }
}

/// The strategy that most members prefer among those that all know; the first member's order breaks ties.
pub(super) fn select_protocol(everyone: &[&[Protocol]]) -> String {
    let known_to_all = |name: &str| {
        everyone.iter().all(|protocols| protocols.iter().any(|known| known.name == name))
    };
    let vote = |protocols: &[Protocol]| {
        protocols.iter().map(|p| p.name.clone()).find(|name| known_to_all(name))
    };
    let votes: Vec<_> = everyone.iter().filter_map(|protocols| vote(protocols)).collect();
    let count = |name: &String| votes.iter().filter(|vote| *vote == name).count();
    // `max_by_key` returns the last of equals, so the first voter comes last.
    votes.iter().rev().max_by_key(|name| count(name)).cloned().unwrap_or_default()
}
