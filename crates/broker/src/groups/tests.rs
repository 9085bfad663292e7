//! The group state machine: joins, generations, shares, and what time does to them.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::group::{Caller, Group, GroupPolicy, Phase, Sync};
use super::member::{Join, Protocol, Ticket};
use super::reply::{Joined, Reply};
use protocol::ErrorCode;

const DELAY: Duration = Duration::from_millis(200);
const SESSION: Duration = Duration::from_secs(10);
const REBALANCE: Duration = Duration::from_mins(1);

/// A group, its time, and the replies that have come out.
struct Scene {
    group: Group,
    now: Instant,
    last_ticket: u64,
    replies: Vec<Reply>,
}

impl Scene {
    fn new() -> Self {
        let policy = GroupPolicy { initial_rebalance_delay: DELAY, members: 3 };
        Self { group: Group::new(policy), now: Instant::now(), last_ticket: 0, replies: Vec::new() }
    }

    /// Moves time, stopping wherever the group asks to be called.
    fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        let mut calls = 0;
        while let Some(deadline) = self.group.next_deadline().filter(|&at| at <= until) {
            self.now = self.now.max(deadline);
            self.group.expire(self.now);
            calls += 1;
            assert!(calls < 100, "the group asks to be called again and again: {:?}", self.group);
        }
        self.now = until;
        self.replies.extend(self.group.take_replies());
    }

    fn send_join(&mut self, join: Join) -> Ticket {
        self.last_ticket += 1;
        let ticket = Ticket(self.last_ticket);
        let new_id = format!("m{}", self.last_ticket);
        self.group.join(join, new_id, ticket, self.now);
        self.replies.extend(self.group.take_replies());
        ticket
    }

    fn send_sync(&mut self, joined: &Joined, assignments: &[(&str, &'static str)]) -> Ticket {
        self.last_ticket += 1;
        let ticket = Ticket(self.last_ticket);
        let share = |(id, share): &(&str, &'static str)| {
            (id.to_string(), Bytes::from_static(share.as_bytes()))
        };
        let sync = Sync {
            caller: caller(joined),
            protocol_type: Some("consumer".to_owned()),
            protocol: Some(joined.protocol.clone()),
            assignments: assignments.iter().map(share).collect(),
        };
        self.group.sync(sync, ticket, self.now);
        self.replies.extend(self.group.take_replies());
        ticket
    }

    fn joined(&mut self, ticket: Ticket) -> Result<Joined, ErrorCode> {
        match self.take(ticket).expect("a reply to the join") {
            Reply::Join(_, result) => result.map_err(|refused| refused.error),
            Reply::Sync(..) => panic!("{ticket:?} is a join"),
        }
    }

    fn share(&mut self, ticket: Ticket) -> Result<Bytes, ErrorCode> {
        match self.take(ticket).expect("a reply to the sync") {
            Reply::Sync(_, result) => result.map(|synced| synced.assignment),
            Reply::Join(..) => panic!("{ticket:?} is a sync"),
        }
    }

    fn take(&mut self, wanted: Ticket) -> Option<Reply> {
        let is_wanted = |reply: &Reply| match reply {
            Reply::Join(ticket, _) | Reply::Sync(ticket, _) => *ticket == wanted,
        };
        let position = self.replies.iter().position(is_wanted)?;
        Some(self.replies.remove(position))
    }

    fn heartbeat(&mut self, joined: &Joined) -> Result<(), ErrorCode> {
        self.group.heartbeat(&caller(joined), self.now)
    }

    /// Two members, `(leader, follower)`, with their shares.
    fn stable() -> (Self, Joined, Joined) {
        let mut scene = Self::new();
        let (first, second) = (scene.send_join(join("")), scene.send_join(join("")));
        scene.pass(DELAY);
        let (leader, follower) = (scene.joined(first).unwrap(), scene.joined(second).unwrap());
        let waiting = scene.send_sync(&follower, &[]);
        assert_eq!(scene.take(waiting), None);
        let shares = [(leader.member_id.as_str(), "left"), (follower.member_id.as_str(), "right")];
        let leading = scene.send_sync(&leader, &shares);
        assert_eq!(scene.share(leading).unwrap(), "left");
        assert_eq!(scene.share(waiting).unwrap(), "right");
        assert_eq!(scene.group.phase(), Phase::Stable);
        (scene, leader, follower)
    }
}

fn join(member_id: &str) -> Join {
    Join {
        member_id: member_id.to_owned(),
        instance_id: None,
        client_id: "client".to_owned(),
        client_host: "127.0.0.1".to_owned(),
        session_timeout: SESSION,
        rebalance_timeout: REBALANCE,
        protocol_type: "consumer".to_owned(),
        protocols: vec![protocol("range", "a"), protocol("sticky", "b")],
        takes_id_first: false,
        may_skip_assignment: false,
    }
}

fn static_join(instance_id: &str) -> Join {
    Join { instance_id: Some(instance_id.to_owned()), ..join("") }
}

fn protocol(name: &str, metadata: &'static str) -> Protocol {
    Protocol { name: name.to_owned(), metadata: Bytes::from_static(metadata.as_bytes()) }
}

fn caller(joined: &Joined) -> Caller {
    let (member_id, generation) = (joined.member_id.clone(), joined.generation);
    Caller { member_id, instance_id: None, generation }
}

#[test]
fn members_that_start_together_meet_in_the_first_generation() {
    let (_, leader, follower) = Scene::stable();
    assert_eq!((leader.generation, follower.generation), (1, 1));
    assert_eq!(leader.leader, leader.member_id);
    assert_eq!(follower.leader, leader.member_id);
    assert_eq!((leader.members.len(), follower.members.len()), (2, 0));
    assert_eq!(leader.protocol, "range");
}

#[test]
fn a_newcomer_calls_everyone_to_join_again() {
    let (mut scene, leader, follower) = Scene::stable();
    let third = scene.send_join(join(""));
    assert_eq!(scene.heartbeat(&leader), Err(ErrorCode::RebalanceInProgress));
    let again =
        [scene.send_join(join(&leader.member_id)), scene.send_join(join(&follower.member_id))];
    let third = scene.joined(third).unwrap();
    assert_eq!(third.generation, 2);
    assert_eq!(third.leader, leader.member_id);
    assert_eq!(scene.joined(again[0]).unwrap().members.len(), 3);
    assert_eq!(scene.heartbeat(&leader), Err(ErrorCode::IllegalGeneration));
}

#[test]
fn a_member_that_falls_silent_is_out_after_its_session() {
    let (mut scene, leader, follower) = Scene::stable();
    for _ in 0..4 {
        scene.pass(SESSION / 2);
        let _ = scene.heartbeat(&leader);
    }
    assert_eq!(scene.heartbeat(&follower), Err(ErrorCode::UnknownMemberId));
    assert_eq!(scene.heartbeat(&leader), Err(ErrorCode::RebalanceInProgress));
    let again = scene.send_join(join(&leader.member_id));
    assert_eq!(scene.joined(again).unwrap().members.len(), 1);
}

#[test]
fn a_rebalance_ends_without_those_who_do_not_join() {
    let (mut scene, leader, follower) = Scene::stable();
    let third = scene.send_join(join(""));
    let again = scene.send_join(join(&follower.member_id));
    // The leader still sends heartbeats, but never joins.
    for _ in 0..12 {
        scene.pass(REBALANCE / 12);
        let _ = scene.heartbeat(&leader);
    }
    assert_eq!(scene.heartbeat(&leader), Err(ErrorCode::UnknownMemberId));
    let members = [scene.joined(third).unwrap(), scene.joined(again).unwrap()];
    assert_eq!(members[0].leader, follower.member_id);
    assert_eq!(members[1].members.len(), 2);
}

#[test]
fn a_leader_that_never_assigns_is_out() {
    let mut scene = Scene::new();
    let (first, second) = (scene.send_join(join("")), scene.send_join(join("")));
    scene.pass(DELAY);
    let (leader, follower) = (scene.joined(first).unwrap(), scene.joined(second).unwrap());
    let waiting = scene.send_sync(&follower, &[]);
    for _ in 0..12 {
        scene.pass(REBALANCE / 12);
        let _ = scene.heartbeat(&leader);
    }
    assert_eq!(scene.share(waiting), Err(ErrorCode::RebalanceInProgress));
    assert_eq!(scene.heartbeat(&leader), Err(ErrorCode::UnknownMemberId));
}

#[test]
fn the_last_member_to_leave_empties_the_group() {
    let (mut scene, leader, follower) = Scene::stable();
    for member in [&leader, &follower] {
        assert_eq!(
            scene.group.leave(&member.member_id, None, scene.now).unwrap(),
            member.member_id
        );
        assert_eq!(scene.heartbeat(member), Err(ErrorCode::UnknownMemberId));
    }
    let unknown = scene.group.leave(&leader.member_id, None, scene.now);
    assert_eq!(unknown, Err(ErrorCode::UnknownMemberId));
    assert_eq!(scene.group.phase(), Phase::Empty);
    assert!(scene.group.is_unused());
    assert_eq!(scene.group.next_deadline(), None);
}

#[test]
fn a_client_that_can_is_told_its_id_first() {
    let mut scene = Scene::new();
    let first = scene.send_join(Join { takes_id_first: true, ..join("") });
    assert_eq!(scene.joined(first), Err(ErrorCode::MemberIdRequired));
    let second = scene.send_join(Join { takes_id_first: true, ..join("m1") });
    scene.pass(DELAY);
    assert_eq!(scene.joined(second).unwrap().member_id, "m1");
    let stranger = scene.send_join(join("someone"));
    assert_eq!(scene.joined(stranger), Err(ErrorCode::UnknownMemberId));
}

#[test]
fn an_invitation_nobody_takes_up_is_forgotten() {
    let mut scene = Scene::new();
    scene.send_join(Join { takes_id_first: true, ..join("") });
    let other = scene.send_join(join(""));
    scene.pass(DELAY);
    assert_eq!(scene.joined(other).unwrap().members.len(), 1);
    scene.pass(SESSION);
    let late = scene.send_join(join("m1"));
    assert_eq!(scene.joined(late), Err(ErrorCode::UnknownMemberId));
}

#[test]
fn members_must_have_a_strategy_in_common() {
    let (mut scene, ..) = Scene::stable();
    let other = Join { protocols: vec![protocol("other", "")], ..join("") };
    let refused = scene.send_join(other);
    assert_eq!(scene.joined(refused), Err(ErrorCode::InconsistentGroupProtocol));
    let other_type = scene.send_join(Join { protocol_type: "connect".to_owned(), ..join("") });
    assert_eq!(scene.joined(other_type), Err(ErrorCode::InconsistentGroupProtocol));
    let none = scene.send_join(Join { protocols: Vec::new(), ..join("") });
    assert_eq!(scene.joined(none), Err(ErrorCode::InconsistentGroupProtocol));
}

#[test]
fn the_strategy_most_members_prefer_wins_among_common_ones() {
    let mut scene = Scene::new();
    let wants = |names: &[&str]| Join {
        protocols: names.iter().map(|name| protocol(name, "")).collect(),
        ..join("")
    };
    let first = scene.send_join(wants(&["own", "range", "sticky"]));
    scene.send_join(wants(&["sticky", "range"]));
    scene.send_join(wants(&["sticky", "range", "own"]));
    scene.pass(DELAY);
    assert_eq!(scene.joined(first).unwrap().protocol, "sticky");
}

#[test]
fn a_group_takes_no_more_members_than_its_bound() {
    let mut scene = Scene::new();
    (0..3).for_each(|_| {
        scene.send_join(join(""));
    });
    let fourth = scene.send_join(join(""));
    assert_eq!(scene.joined(fourth), Err(ErrorCode::GroupMaxSizeReached));
}

#[test]
fn sessions_without_or_with_too_much_time_are_refused() {
    let mut scene = Scene::new();
    for session_timeout in [Duration::ZERO, Duration::from_mins(31)] {
        let refused = scene.send_join(Join { session_timeout, ..join("") });
        assert_eq!(scene.joined(refused), Err(ErrorCode::InvalidSessionTimeout));
    }
}

#[test]
fn replies_that_were_lost_are_given_again() {
    let (mut scene, leader, follower) = Scene::stable();
    let again = scene.send_join(join(&follower.member_id));
    assert_eq!(scene.joined(again).unwrap(), follower);
    let share = scene.send_sync(&follower, &[]);
    assert_eq!(scene.share(share).unwrap(), "right");
    // A leader that joins again wants to assign again.
    scene.send_join(join(&leader.member_id));
    assert_eq!(scene.heartbeat(&follower), Err(ErrorCode::RebalanceInProgress));
}

#[test]
fn commits_count_from_members_of_the_generation_and_from_outsiders_of_empty_groups() {
    let outsider = Caller { member_id: String::new(), instance_id: None, generation: -1 };
    let mut scene = Scene::new();
    assert_eq!(scene.group.check_commit(&outsider, scene.now), Ok(()));
    let (mut scene, leader, follower) = Scene::stable();
    assert_eq!(scene.group.check_commit(&caller(&follower), scene.now), Ok(()));
    assert_eq!(scene.group.check_commit(&outsider, scene.now), Err(ErrorCode::UnknownMemberId));
    let old = Caller { generation: 0, ..caller(&leader) };
    assert_eq!(scene.group.check_commit(&old, scene.now), Err(ErrorCode::IllegalGeneration));
    // While members are called to join they may still commit what they have done.
    scene.send_join(join(""));
    assert_eq!(scene.group.check_commit(&caller(&follower), scene.now), Ok(()));
}

#[test]
fn a_static_member_comes_back_to_its_share_unnoticed() {
    let mut scene = Scene::new();
    let tickets = [scene.send_join(static_join("one")), scene.send_join(static_join("two"))];
    scene.pass(DELAY);
    let [leader, follower] = tickets.map(|ticket| scene.joined(ticket).unwrap());
    let shares = [(leader.member_id.as_str(), "left"), (follower.member_id.as_str(), "right")];
    scene.send_sync(&leader, &shares);

    let back = scene.send_join(static_join("two"));
    let back = scene.joined(back).unwrap();
    assert_ne!(back.member_id, follower.member_id);
    assert_eq!((back.generation, back.leader.as_str()), (1, leader.member_id.as_str()));
    let share = scene.send_sync(&back, &[]);
    assert_eq!(scene.share(share).unwrap(), "right");
    assert_eq!(scene.heartbeat(&leader), Ok(()));
    // Its former self is fenced.
    let former = Caller { instance_id: Some("two".to_owned()), ..caller(&follower) };
    assert_eq!(scene.group.heartbeat(&former, scene.now), Err(ErrorCode::FencedInstanceId));

    // The leader comes back too: told to skip the assignment if it can be told.
    let able = scene.send_join(Join { may_skip_assignment: true, ..static_join("one") });
    let able = scene.joined(able).unwrap();
    assert!(able.skip_assignment && able.leader == able.member_id && able.members.len() == 2);
    let old = scene.send_join(static_join("one"));
    let old = scene.joined(old).unwrap();
    assert!(!old.skip_assignment && old.leader == able.member_id && old.members.is_empty());
}

#[test]
fn a_static_member_leaves_by_its_instance() {
    let mut scene = Scene::new();
    let ticket = scene.send_join(static_join("one"));
    scene.pass(DELAY);
    let member = scene.joined(ticket).unwrap();
    let wrong = scene.group.leave("other", Some("one"), scene.now);
    assert_eq!(wrong, Err(ErrorCode::FencedInstanceId));
    assert_eq!(scene.group.leave("", Some("one"), scene.now), Ok(member.member_id));
}
