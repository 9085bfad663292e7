//! A consumer group whose members do anything at any time.
//!
//! Requests of members that wait overlap here, as they do on connections of their own, which the targets that
//! know one connection don't have.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::world::LONGEST_REBALANCE;
use crate::groups::group::{Caller, Group, GroupPolicy, Phase, Sync};
use crate::groups::member::{Join, Protocol, Ticket};
use crate::groups::reply::Reply;
use protocol::ErrorCode;

const MAX_STEPS: usize = 100;
/// Deadlines that are due at one time: a rebalance that has no time ends, begins and ends again, without one
/// more of its members.
const MAX_CALLS: usize = 3 * CLIENTS;
/// Clients, of which the odd ones are static members.
const CLIENTS: usize = 4;
const INSTANCES: [Option<&str>; CLIENTS] = [None, Some("one"), None, Some("three")];
const SESSIONS: [u64; CLIENTS] = [10, 30, 600, 1800];
const REBALANCES: [u64; CLIENTS] = [60, 10, 0, 1];
const PROTOCOLS: [&[&str]; 4] = [&["a"], &["a", "b"], &["b", "a"], &["b"]];

/// What a client remembers of the last answers that it got.
#[derive(Debug, Clone, Default)]
struct Client {
    id: String,
    generation: i32,
}

#[derive(Debug)]
struct Scene {
    group: Group,
    now: Instant,
    clients: [Client; CLIENTS],
    tickets: u64,
    waiting: BTreeMap<Ticket, usize>,
}

/// Carries out steps of two bytes: what is done, and who does it, how.
pub(super) fn run(input: &[u8]) {
    let mut scene = Scene {
        group: new_group(),
        now: Instant::now(),
        clients: Default::default(),
        tickets: 0,
        waiting: BTreeMap::new(),
    };
    for step in input.chunks_exact(2).take(MAX_STEPS) {
        scene.step(step[0], usize::from(step[1]));
        scene.settle();
    }
    scene.pass(LONGEST_REBALANCE);
    assert!(scene.group.is_unused(), "a group whose members are gone: {:?}", scene.group);
    assert!(scene.waiting.is_empty(), "requests without a reply: {:?}", scene.waiting);
}

fn new_group() -> Group {
    Group::new(GroupPolicy {
        initial_rebalance_delay: Duration::from_secs(3),
        members: CLIENTS - 1,
    })
}

impl Scene {
    fn step(&mut self, what: u8, how: usize) {
        let (who, how) = (how % CLIENTS, how / CLIENTS);
        let now = self.now;
        let Client { id: member_id, generation } = self.clients[who].clone();
        let instance_id = INSTANCES[who].map(ToOwned::to_owned);
        let caller = Caller { member_id, instance_id, generation };
        match what % 6 {
            0 => self.join(who, how),
            1 => {
                let ticket = self.ticket(who);
                let share = |client: &Client| (client.id.clone(), Bytes::from_static(b"share"));
                let assignments = self.clients.iter().map(share).collect();
                let sync = Sync { caller, protocol_type: None, protocol: None, assignments };
                self.group.sync(sync, ticket, now);
            }
            2 => drop(self.group.heartbeat(&caller, now)),
            3 => {
                let id = if how & 1 == 0 { &caller.member_id } else { "" };
                drop(self.group.leave(id, caller.instance_id.as_deref(), now));
            }
            4 => drop(self.group.check_commit(&caller, now)),
            _ => self.pass(Duration::from_millis((how * how * 500) as u64)),
        }
    }

    fn join(&mut self, who: usize, how: usize) {
        let is_known = how & 4 == 0 && !self.group.is_unused();
        let protocols = PROTOCOLS[how % PROTOCOLS.len()].iter();
        let join = Join {
            member_id: if is_known { self.clients[who].id.clone() } else { String::new() },
            instance_id: INSTANCES[who].map(ToOwned::to_owned),
            client_id: String::new(),
            client_host: String::new(),
            session_timeout: Duration::from_secs(SESSIONS[who]),
            rebalance_timeout: Duration::from_secs(REBALANCES[who]),
            protocol_type: "consumer".to_owned(),
            protocols: protocols
                .map(|name| Protocol { name: (*name).to_owned(), metadata: Bytes::new() })
                .collect(),
            takes_id_first: how & 8 == 0,
            may_skip_assignment: how & 16 == 0,
        };
        let ticket = self.ticket(who);
        self.group.join(join, format!("member-{}", ticket.0), ticket, self.now);
    }

    fn ticket(&mut self, who: usize) -> Ticket {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        self.waiting.insert(ticket, who);
        ticket
    }

    /// Lets time pass, as the coordinator does.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        let mut calls = 0;
        while let Some(due) = self.group.next_deadline().filter(|&due| due <= end) {
            calls = if self.now < due { 0 } else { calls + 1 };
            assert!(calls < MAX_CALLS, "a deadline that does not pass: {:?}", self.group);
            self.now = self.now.max(due);
            self.group.expire(self.now);
            self.settle();
        }
        self.now = end;
    }

    /// Delivers what is due, and looks at what is left.
    fn settle(&mut self) {
        for reply in self.group.take_replies() {
            let (Reply::Join(ticket, _) | Reply::Sync(ticket, _)) = reply;
            let who = self.waiting.remove(&ticket).expect("one reply to a request");
            let client = &mut self.clients[who];
            match reply {
                Reply::Join(_, Ok(joined)) => {
                    *client = Client { id: joined.member_id, generation: joined.generation };
                }
                Reply::Join(_, Err(refused)) if refused.error == ErrorCode::MemberIdRequired => {
                    client.id = refused.member_id;
                }
                _ => {}
            }
        }
        let members = self.group.members();
        assert!(members.len() < CLIENTS, "more members than are allowed");
        let ids = members.iter().map(|member| &member.id);
        let instances = members.iter().filter_map(|member| member.instance_id.as_ref());
        for names in [ids.collect::<Vec<_>>(), instances.collect()] {
            let is_again = |nth: usize| names[..nth].contains(&names[nth]);
            assert!(!(0..names.len()).any(is_again), "a name that two members have");
        }
        let waits = members.iter().filter(|member| match self.group.phase() {
            Phase::Empty | Phase::Stable => member.is_waiting(),
            Phase::PreparingRebalance { .. } => member.syncing.is_some(),
            Phase::CompletingRebalance { .. } => member.joining.is_some(),
        });
        assert_eq!(waits.count(), 0, "members that wait for what has come");
        let is_empty = matches!(self.group.phase(), Phase::Empty);
        assert!(!is_empty || members.is_empty(), "members of an empty group");
        if self.group.is_unused() {
            assert!(self.waiting.is_empty(), "requests of nobody");
            self.group = new_group();
        }
    }
}
