//! All groups: finds or makes them, delivers replies to the requests that wait, and keeps their clock.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, sleep_until};
use tracing::debug;
use uuid::Uuid;

use super::group::{Caller, Group, GroupPolicy, Sync};
use super::member::{Join, Ticket};
use super::reply::{JoinRefused, Joined, Reply, Synced};
use protocol::ErrorCode;

#[derive(Debug)]
pub(crate) struct Coordinator {
    policy: GroupPolicy,
    max_groups: usize,
    state: Mutex<State>,
    /// A deadline was set that is earlier than the one [`Coordinator::keep_time`] sleeps for.
    earlier: Notify,
}

#[derive(Debug, Default)]
struct State {
    groups: HashMap<String, Group>,
    waiting: HashMap<Ticket, Waiting>,
    last_ticket: u64,
    sleeps_until: Option<Instant>,
}

#[derive(Debug)]
enum Waiting {
    Join(oneshot::Sender<Result<Joined, JoinRefused>>),
    Sync(oneshot::Sender<Result<Synced, ErrorCode>>),
}

impl Coordinator {
    pub(crate) fn new(policy: GroupPolicy, max_groups: usize) -> Self {
        Self { policy, max_groups, state: Mutex::default(), earlier: Notify::new() }
    }

    /// A panic while the lock was held can only have left one group in a state that its timeouts end.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) async fn join(&self, group_id: &str, join: Join) -> Result<Joined, JoinRefused> {
        let member_id = join.member_id.clone();
        let refused = |error| JoinRefused::because(error, &member_id);
        let receiver = {
            let mut state = self.lock();
            if !state.groups.contains_key(group_id) {
                if !join.member_id.is_empty() {
                    return Err(refused(ErrorCode::UnknownMemberId));
                }
                if self.max_groups <= state.groups.len() {
                    return Err(refused(ErrorCode::GroupMaxSizeReached));
                }
                state.groups.insert(group_id.to_owned(), Group::new(self.policy));
            }
            let (sender, receiver) = oneshot::channel();
            let ticket = state.wait(Waiting::Join(sender));
            let named = join.instance_id.as_ref().unwrap_or(&join.client_id);
            let new_id = format!("{named}-{}", Uuid::new_v4());
            self.change(&mut state, group_id, |group, now| group.join(join, new_id, ticket, now));
            receiver
        };
        receiver.await.unwrap_or_else(|_| Err(refused(ErrorCode::CoordinatorNotAvailable)))
    }

    pub(crate) async fn sync(&self, group_id: &str, sync: Sync) -> Result<Synced, ErrorCode> {
        let receiver = {
            let mut state = self.lock();
            let (sender, receiver) = oneshot::channel();
            let ticket = state.wait(Waiting::Sync(sender));
            let changed =
                self.change(&mut state, group_id, |group, now| group.sync(sync, ticket, now));
            if changed.is_none() {
                state.waiting.remove(&ticket);
                return Err(ErrorCode::UnknownMemberId);
            }
            receiver
        };
        receiver.await.unwrap_or(Err(ErrorCode::CoordinatorNotAvailable))
    }

    pub(crate) fn heartbeat(&self, group_id: &str, caller: &Caller) -> Result<(), ErrorCode> {
        let mut state = self.lock();
        self.change(&mut state, group_id, |group, now| group.heartbeat(caller, now))
            .unwrap_or(Err(ErrorCode::UnknownMemberId))
    }

    pub(crate) fn leave(
        &self,
        group_id: &str,
        member_id: &str,
        instance_id: Option<&str>,
    ) -> Result<String, ErrorCode> {
        let mut state = self.lock();
        self.change(&mut state, group_id, |group, now| group.leave(member_id, instance_id, now))
            .unwrap_or(Err(ErrorCode::UnknownMemberId))
    }

    /// Whether a commit from this caller counts. A group without members takes those of outsiders; a caller
    /// that believes to be a member is told that it is none, or, where the group has no offsets either, that
    /// there is no such group.
    pub(crate) fn check_commit(
        &self,
        group_id: &str,
        caller: &Caller,
        has_offsets: bool,
    ) -> Result<(), ErrorCode> {
        let mut state = self.lock();
        self.change(&mut state, group_id, |group, now| group.check_commit(caller, now)).unwrap_or(
            match caller.generation {
                ..0 => Ok(()),
                _ if has_offsets => Err(ErrorCode::UnknownMemberId),
                _ => Err(ErrorCode::IllegalGeneration),
            },
        )
    }

    /// Looks at one group; None if nobody is in it.
    pub(crate) fn inspect<T>(&self, group_id: &str, look: impl FnOnce(&Group) -> T) -> Option<T> {
        self.lock().groups.get(group_id).map(look)
    }

    /// Looks at all groups that somebody is in.
    pub(crate) fn inspect_all<T>(&self, mut look: impl FnMut(&str, &Group) -> T) -> Vec<T> {
        self.lock().groups.iter().map(|(id, group)| look(id, group)).collect()
    }

    /// Requests that have not been replied to.
    #[cfg(any(fuzzing, test))]
    pub(crate) fn waiting(&self) -> usize {
        self.lock().waiting.len()
    }

    /// Calls groups when their deadlines pass. Runs for as long as the broker does.
    pub(crate) async fn keep_time(&self) {
        loop {
            let deadline = {
                let mut state = self.lock();
                let now = Instant::now();
                let is_due = |group: &Group| group.next_deadline().is_some_and(|at| at <= now);
                let due = state.groups.iter().filter(|(_, group)| is_due(group));
                let due: Vec<_> = due.map(|(id, _)| id.clone()).collect();
                for group_id in due {
                    self.change(&mut state, &group_id, Group::expire);
                }
                state.sleeps_until = state.groups.values().filter_map(Group::next_deadline).min();
                state.sleeps_until
            };
            match deadline {
                None => self.earlier.notified().await,
                Some(deadline) => tokio::select! {
                    () = sleep_until(deadline) => {}
                    () = self.earlier.notified() => {}
                },
            }
        }
    }

    /// Changes a group, then does what follows from any change: replies go out, the clock is set, and a group
    /// that nobody is in is forgotten.
    fn change<T>(
        &self,
        state: &mut State,
        group_id: &str,
        change: impl FnOnce(&mut Group, Instant) -> T,
    ) -> Option<T> {
        let group = state.groups.get_mut(group_id)?;
        let before = (group.phase(), group.members().len());
        let result = change(group, Instant::now());
        if (group.phase(), group.members().len()) != before {
            let (phase, members) = (group.phase().name(), group.members().len());
            debug!(group = group_id, phase, members, "a group changed");
        }
        let replies = group.take_replies();
        let deadline = group.next_deadline();
        if group.is_unused() {
            state.groups.remove(group_id);
        }
        let is_earlier = |at| state.sleeps_until.is_none_or(|sleeps_until| at < sleeps_until);
        if deadline.is_some_and(is_earlier) {
            state.sleeps_until = deadline;
            self.earlier.notify_one();
        }
        for reply in replies {
            state.deliver(reply);
        }
        Some(result)
    }
}

impl State {
    fn wait(&mut self, waiting: Waiting) -> Ticket {
        self.last_ticket += 1;
        let ticket = Ticket(self.last_ticket);
        self.waiting.insert(ticket, waiting);
        ticket
    }

    /// The request may have been given up with its connection; then nobody is there to be told.
    fn deliver(&mut self, reply: Reply) {
        let ticket = match reply {
            Reply::Join(ticket, _) | Reply::Sync(ticket, _) => ticket,
        };
        match (reply, self.waiting.remove(&ticket)) {
            (Reply::Join(_, result), Some(Waiting::Join(sender))) => drop(sender.send(result)),
            (Reply::Sync(_, result), Some(Waiting::Sync(sender))) => drop(sender.send(result)),
            _ => {}
        }
    }
}
