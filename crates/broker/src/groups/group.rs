//! One group's state machine.
//!
//! ```text
//! Empty ──join──► PreparingRebalance ──all have joined, or time is up──► CompletingRebalance
//!   ▲                  ▲    ▲                                                 │ leader's sync
//!   │ last member gone │    └──────────join, leave, expiry──── Stable ◄───────┘
//!   └──────────────────┘
//! ```
//!
//! Every method takes the time and returns at once. A request that has to wait leaves a [`Ticket`]; replies to
//! tickets, whenever they are due, come out as [`Reply`]s, each ticket exactly once.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::member::{Join, Member, Ticket, select_protocol};
use super::reply::{JoinRefused, Joined, Reply, Synced};
use protocol::ErrorCode;

/// Longest session a member may ask for: what Apache Kafka allows.
pub(crate) const MAX_SESSION: Duration = Duration::from_mins(30);

/// A request for this member's share.
#[derive(Debug, Clone)]
pub(crate) struct Sync {
    pub(crate) caller: Caller,
    pub(crate) protocol_type: Option<String>,
    pub(crate) protocol: Option<String>,
    pub(crate) assignments: Vec<(String, Bytes)>,
}

/// Who makes a request, and in which generation it believes to be.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub(crate) member_id: String,
    pub(crate) instance_id: Option<String>,
    pub(crate) generation: i32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Empty,
    PreparingRebalance {
        /// Not before: a group that starts from nothing waits a moment for more than its first member.
        settles_at: Instant,
        /// Whoever has not joined by then is out.
        ends_at: Instant,
    },
    /// Whoever has not asked for its share by `ends_at` is out.
    CompletingRebalance {
        ends_at: Instant,
    },
    Stable,
}

impl Phase {
    /// The state's name in the protocol.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::PreparingRebalance { .. } => "PreparingRebalance",
            Self::CompletingRebalance { .. } => "CompletingRebalance",
            Self::Stable => "Stable",
        }
    }
}

/// An id that was given out to a member that has yet to join with it.
#[derive(Debug)]
struct Invited {
    member_id: String,
    expires_at: Instant,
}

#[derive(Debug)]
pub(crate) struct Group {
    phase: Phase,
    generation: i32,
    protocol_type: String,
    protocol: String,
    leader: String,
    /// In the order in which they joined first.
    members: Vec<Member>,
    invited: Vec<Invited>,
    replies: Vec<Reply>,
    policy: GroupPolicy,
}

/// What the broker decides for all groups.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GroupPolicy {
    pub(crate) initial_rebalance_delay: Duration,
    pub(crate) members: usize,
}

impl Group {
    pub(crate) fn new(policy: GroupPolicy) -> Self {
        Self {
            phase: Phase::Empty,
            generation: 0,
            protocol_type: String::new(),
            protocol: String::new(),
            leader: String::new(),
            members: Vec::new(),
            invited: Vec::new(),
            replies: Vec::new(),
            policy,
        }
    }

    pub(crate) fn phase(&self) -> Phase {
        self.phase
    }

    pub(crate) fn members(&self) -> &[Member] {
        &self.members
    }

    pub(crate) fn protocol_type(&self) -> &str {
        &self.protocol_type
    }

    pub(crate) fn protocol(&self) -> &str {
        &self.protocol
    }

    /// Nothing would be lost with this group but its generation number.
    pub(crate) fn is_unused(&self) -> bool {
        self.members.is_empty() && self.invited.is_empty()
    }

    /// The replies that have become due.
    pub(crate) fn take_replies(&mut self) -> Vec<Reply> {
        std::mem::take(&mut self.replies)
    }

    /// A member asks to be part of the group. `new_id` is for it to keep if it has none.
    pub(crate) fn join(&mut self, join: Join, new_id: String, ticket: Ticket, now: Instant) {
        if let Err(refused) = self.try_join(join, new_id, ticket, now) {
            self.replies.push(Reply::Join(ticket, Err(refused)));
        }
    }

    fn try_join(
        &mut self,
        join: Join,
        new_id: String,
        ticket: Ticket,
        now: Instant,
    ) -> Result<(), JoinRefused> {
        let refuse = |error| Err(JoinRefused::because(error, &join.member_id));
        if join.session_timeout.is_zero() || MAX_SESSION < join.session_timeout {
            return refuse(ErrorCode::InvalidSessionTimeout);
        }
        if !self.is_compatible(&join) {
            return refuse(ErrorCode::InconsistentGroupProtocol);
        }
        let known_instance = join.instance_id.as_ref().and_then(|id| self.position_of_instance(id));
        if join.member_id.is_empty() {
            if let Some(position) = known_instance {
                self.replace_instance(position, join, new_id, ticket, now);
                return Ok(());
            }
            if self.policy.members <= self.members.len() + self.invited.len() {
                return refuse(ErrorCode::GroupMaxSizeReached);
            }
            if join.takes_id_first && join.instance_id.is_none() {
                let expires_at = now + join.session_timeout;
                self.invited.push(Invited { member_id: new_id.clone(), expires_at });
                return Err(JoinRefused::because(ErrorCode::MemberIdRequired, &new_id));
            }
            self.add(new_id, join, ticket, now);
            return Ok(());
        }
        if let Some(position) = known_instance
            && self.members[position].id != join.member_id
        {
            return refuse(ErrorCode::FencedInstanceId);
        }
        if let Some(position) = self.invited.iter().position(|i| i.member_id == join.member_id) {
            let invited = self.invited.remove(position);
            self.add(invited.member_id, join, ticket, now);
            return Ok(());
        }
        let Some(position) = self.position(&join.member_id) else {
            return refuse(ErrorCode::UnknownMemberId);
        };
        self.join_again(position, join, ticket, now);
        Ok(())
    }

    fn is_compatible(&self, join: &Join) -> bool {
        if join.protocol_type.is_empty() || join.protocols.is_empty() {
            return false;
        }
        let others = || self.members.iter().filter(|member| member.id != join.member_id);
        let is_alone = others().next().is_none();
        is_alone
            || self.protocol_type == join.protocol_type
                && join.protocols.iter().any(|own| others().all(|other| other.knows(&own.name)))
    }

    fn add(&mut self, id: String, join: Join, ticket: Ticket, now: Instant) {
        if self.members.is_empty() {
            self.protocol_type.clone_from(&join.protocol_type);
        }
        let mut member = Member::new(id, join, now);
        member.joining = Some(ticket);
        self.members.push(member);
        self.prepare(now);
        self.complete_if_all_joined(now);
    }

    fn join_again(&mut self, position: usize, join: Join, ticket: Ticket, now: Instant) {
        let is_leader = self.members[position].id == self.leader;
        let is_unchanged = self.members[position].protocols == join.protocols;
        match self.phase {
            // The reply was lost on its way.
            Phase::CompletingRebalance { .. } if is_unchanged => {
                self.repeat_joined(position, ticket);
            }
            Phase::Stable if is_unchanged && !is_leader => self.repeat_joined(position, ticket),
            _ => {
                self.cancel_waiting(position, ErrorCode::RebalanceInProgress);
                self.members[position].update(join, now);
                self.members[position].joining = Some(ticket);
                self.prepare(now);
                self.complete_if_all_joined(now);
            }
        }
    }

    fn repeat_joined(&mut self, position: usize, ticket: Ticket) {
        let joined = self.joined(position, false);
        self.replies.push(Reply::Join(ticket, Ok(joined)));
    }

    /// A static member that was restarted takes its old place under a new id. In a stable group nobody else
    /// notices, unless it subscribes to something new.
    fn replace_instance(
        &mut self,
        position: usize,
        join: Join,
        new_id: String,
        ticket: Ticket,
        now: Instant,
    ) {
        self.cancel_waiting(position, ErrorCode::FencedInstanceId);
        let old_id = std::mem::replace(&mut self.members[position].id, new_id.clone());
        let was_leader = self.leader == old_id;
        if was_leader {
            self.leader = new_id;
        }
        let old = &self.members[position];
        let keeps_share = self.phase == Phase::Stable
            && self.select_protocol_with(position, &join) == self.protocol
            && old.metadata(&self.protocol)
                == join
                    .protocols
                    .iter()
                    .find(|protocol| protocol.name == self.protocol)
                    .map(|protocol| protocol.metadata.clone())
                    .unwrap_or_default();
        let may_skip_assignment = join.may_skip_assignment;
        self.members[position].update(join, now);
        if keeps_share {
            let mut joined = self.joined(position, was_leader && may_skip_assignment);
            if was_leader && !may_skip_assignment {
                // An old client would assign if it were named leader, so it is told of its former self.
                joined.leader = old_id;
                joined.members.clear();
            }
            self.replies.push(Reply::Join(ticket, Ok(joined)));
        } else {
            self.members[position].joining = Some(ticket);
            self.prepare(now);
            self.complete_if_all_joined(now);
        }
    }

    /// Ends the wait of a member's earlier requests.
    fn cancel_waiting(&mut self, position: usize, error: ErrorCode) {
        let member = &mut self.members[position];
        if let Some(ticket) = member.joining.take() {
            let refused = JoinRefused::because(error, &member.id);
            self.replies.push(Reply::Join(ticket, Err(refused)));
        }
        if let Some(ticket) = member.syncing.take() {
            self.replies.push(Reply::Sync(ticket, Err(error)));
        }
    }

    /// Calls everyone to join, unless they were called already.
    fn prepare(&mut self, now: Instant) {
        let (settles_at, ends_at) = match self.phase {
            Phase::PreparingRebalance { .. } => return,
            // Nobody is missing from such a group but those who have been invited, and who may never come.
            Phase::Empty => {
                let settles_at = now + self.policy.initial_rebalance_delay;
                (settles_at, settles_at)
            }
            Phase::CompletingRebalance { .. } | Phase::Stable => {
                (now, now + self.rebalance_timeout())
            }
        };
        for member in &mut self.members {
            member.assignment = Bytes::new();
            if let Some(ticket) = member.syncing.take() {
                member.heard(now);
                self.replies.push(Reply::Sync(ticket, Err(ErrorCode::RebalanceInProgress)));
            }
        }
        self.phase = Phase::PreparingRebalance { settles_at, ends_at };
    }

    fn rebalance_timeout(&self) -> Duration {
        self.members.iter().map(|member| member.rebalance_timeout).max().unwrap_or_default()
    }

    fn complete_if_all_joined(&mut self, now: Instant) {
        let Phase::PreparingRebalance { settles_at, .. } = self.phase else { return };
        let all_joined = self.members.iter().all(|member| member.joining.is_some());
        if settles_at <= now && all_joined && self.invited.is_empty() {
            self.complete(now);
        }
    }

    /// Forms the next generation from those who have joined. Static members stay although they are late: they
    /// are expected back.
    fn complete(&mut self, now: Instant) {
        self.members.retain(|member| member.joining.is_some() || member.instance_id.is_some());
        self.generation = self.generation.checked_add(1).unwrap_or(1);
        if self.members.is_empty() {
            self.phase = Phase::Empty;
            self.protocol.clear();
            self.leader.clear();
            return;
        }
        self.protocol = self.select_protocol();
        let has_joined = |member: &&Member| member.joining.is_some();
        let is_led = self.members.iter().filter(has_joined).any(|m| m.id == self.leader);
        if !is_led {
            let first = self.members.iter().find(has_joined).unwrap_or(&self.members[0]);
            self.leader = first.id.clone();
        }
        self.phase = Phase::CompletingRebalance { ends_at: now + self.rebalance_timeout() };
        for position in 0..self.members.len() {
            let joined = self.joined(position, false);
            let member = &mut self.members[position];
            member.heard(now);
            if let Some(ticket) = member.joining.take() {
                self.replies.push(Reply::Join(ticket, Ok(joined)));
            }
        }
    }

    /// The strategy that most members prefer among those that all know; the first member's order breaks ties.
    fn select_protocol(&self) -> String {
        let everyone: Vec<_> = self.members.iter().map(|member| &member.protocols[..]).collect();
        select_protocol(&everyone)
    }

    fn select_protocol_with(&self, position: usize, join: &Join) -> String {
        let own = |nth: usize| {
            if nth == position { &join.protocols } else { &self.members[nth].protocols }
        };
        let everyone: Vec<_> = (0..self.members.len()).map(|nth| &own(nth)[..]).collect();
        select_protocol(&everyone)
    }

    fn joined(&self, position: usize, skip_assignment: bool) -> Joined {
        let member = &self.members[position];
        let everyone = self.members.iter();
        let members = everyone
            .filter(|_| member.id == self.leader)
            .map(|m| (m.id.clone(), m.instance_id.clone(), m.metadata(&self.protocol)))
            .collect();
        Joined {
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            member_id: member.id.clone(),
            skip_assignment,
            members,
        }
    }

    /// A member asks for its share; the leader brings everyone's.
    pub(crate) fn sync(&mut self, sync: Sync, ticket: Ticket, now: Instant) {
        if let Err(error) = self.try_sync(sync, ticket, now) {
            self.replies.push(Reply::Sync(ticket, Err(error)));
        }
    }

    fn try_sync(&mut self, sync: Sync, ticket: Ticket, now: Instant) -> Result<(), ErrorCode> {
        let position = self.check(&sync.caller)?;
        let differs =
            |theirs: &Option<String>, ours: &str| theirs.as_ref().is_some_and(|t| t != ours);
        if differs(&sync.protocol_type, &self.protocol_type)
            || differs(&sync.protocol, &self.protocol)
        {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        self.members[position].heard(now);
        match self.phase {
            Phase::Empty => Err(ErrorCode::UnknownMemberId),
            Phase::PreparingRebalance { .. } => Err(ErrorCode::RebalanceInProgress),
            Phase::Stable => {
                self.members[position].syncing = Some(ticket);
                self.hand_out(now);
                Ok(())
            }
            Phase::CompletingRebalance { .. } => {
                if let Some(earlier) = self.members[position].syncing.replace(ticket) {
                    let retried = Err(ErrorCode::RebalanceInProgress);
                    self.replies.push(Reply::Sync(earlier, retried));
                }
                if self.members[position].id == self.leader {
                    for (member_id, assignment) in sync.assignments {
                        if let Some(position) = self.position(&member_id) {
                            self.members[position].assignment = assignment;
                        }
                    }
                    self.phase = Phase::Stable;
                    self.hand_out(now);
                }
                Ok(())
            }
        }
    }

    /// Gives everyone who asked its share.
    fn hand_out(&mut self, now: Instant) {
        for member in &mut self.members {
            if let Some(ticket) = member.syncing.take() {
                member.heard(now);
                let synced = Synced {
                    protocol_type: self.protocol_type.clone(),
                    protocol: self.protocol.clone(),
                    assignment: member.assignment.clone(),
                };
                self.replies.push(Reply::Sync(ticket, Ok(synced)));
            }
        }
    }

    /// A member says that it lives, and is told whether it should join again.
    pub(crate) fn heartbeat(&mut self, caller: &Caller, now: Instant) -> Result<(), ErrorCode> {
        let position = self.check(caller)?;
        self.members[position].heard(now);
        match self.phase {
            Phase::PreparingRebalance { .. } => Err(ErrorCode::RebalanceInProgress),
            _ => Ok(()),
        }
    }

    /// Whether a commit from this caller counts.
    pub(crate) fn check_commit(&mut self, caller: &Caller, now: Instant) -> Result<(), ErrorCode> {
        // Someone who assigns partitions by hand, which only an unused group allows.
        if caller.generation < 0 && self.members.is_empty() {
            return Ok(());
        }
        let position = self.check(caller)?;
        self.members[position].heard(now);
        match self.phase {
            Phase::CompletingRebalance { .. } => Err(ErrorCode::RebalanceInProgress),
            _ => Ok(()),
        }
    }

    /// A member goes, by its id or as the static member it is. Returns the id that it had.
    pub(crate) fn leave(
        &mut self,
        member_id: &str,
        instance_id: Option<&str>,
        now: Instant,
    ) -> Result<String, ErrorCode> {
        if let Some(position) = self.invited.iter().position(|i| i.member_id == member_id) {
            self.invited.remove(position);
            self.complete_if_all_joined(now);
            return Ok(member_id.to_owned());
        }
        let position = match instance_id.and_then(|id| self.position_of_instance(id)) {
            Some(position) if member_id.is_empty() => position,
            Some(position) if self.members[position].id == member_id => position,
            Some(_) => return Err(ErrorCode::FencedInstanceId),
            None => self.position(member_id).ok_or(ErrorCode::UnknownMemberId)?,
        };
        let id = self.members[position].id.clone();
        self.remove(position, now);
        Ok(id)
    }

    fn remove(&mut self, position: usize, now: Instant) {
        self.cancel_waiting(position, ErrorCode::UnknownMemberId);
        self.members.remove(position);
        self.prepare(now);
        self.complete_if_all_joined(now);
    }

    /// The next time at which [`Group::expire`] has something to do.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let members = self.members.iter().filter(|member| !member.is_waiting());
        let sessions = members.map(|member| member.expires_at);
        let invitations = self.invited.iter().map(|invited| invited.expires_at);
        let phase = match self.phase {
            Phase::Empty | Phase::Stable => None,
            Phase::CompletingRebalance { ends_at } => Some(ends_at),
            Phase::PreparingRebalance { settles_at, ends_at } => {
                let all_joined = self.members.iter().all(|member| member.joining.is_some());
                let waits = !all_joined || !self.invited.is_empty();
                Some(if waits { ends_at } else { settles_at })
            }
        };
        sessions.chain(invitations).chain(phase).min()
    }

    /// Does what the passing of time asks for.
    pub(crate) fn expire(&mut self, now: Instant) {
        self.invited.retain(|invited| now < invited.expires_at);
        let is_gone = |member: &Member| !member.is_waiting() && member.expires_at <= now;
        while let Some(position) = self.members.iter().position(is_gone) {
            self.remove(position, now);
        }
        match self.phase {
            Phase::PreparingRebalance { ends_at, .. } if ends_at <= now => self.complete(now),
            Phase::CompletingRebalance { ends_at } if ends_at <= now => {
                let is_late = |member: &Member| member.syncing.is_none();
                while let Some(position) = self.members.iter().position(is_late) {
                    self.members.remove(position);
                }
                self.prepare(now);
                self.complete_if_all_joined(now);
            }
            _ => self.complete_if_all_joined(now),
        }
    }

    fn check(&self, caller: &Caller) -> Result<usize, ErrorCode> {
        let instance = caller.instance_id.as_ref().map(|id| self.position_of_instance(id));
        let position = match instance {
            Some(Some(position)) if self.members[position].id != caller.member_id => {
                return Err(ErrorCode::FencedInstanceId);
            }
            Some(found) => found,
            None => self.position(&caller.member_id),
        };
        let position = position.ok_or(ErrorCode::UnknownMemberId)?;
        if caller.generation == self.generation {
            Ok(position)
        } else {
            Err(ErrorCode::IllegalGeneration)
        }
    }

    fn position(&self, member_id: &str) -> Option<usize> {
        self.members.iter().position(|member| member.id == member_id)
    }

    fn position_of_instance(&self, instance_id: &str) -> Option<usize> {
        self.members.iter().position(|member| member.instance_id.as_deref() == Some(instance_id))
    }
}
