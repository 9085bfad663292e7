//! A member of a consumer group, in frames: each on a connection of its own, because its requests wait.

use bytes::Bytes;
use kafka_protocol::error::ResponseError::{self, MemberIdRequired, RebalanceInProgress};
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::leave_group_response::LeaveGroupResponse;
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::{
    HeartbeatRequest, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, SyncGroupRequest,
    SyncGroupResponse,
};
use tokio::time::Duration;

use super::connection::Connection;
use super::{Peer, eventually, group_id, outcome, text};

/// Longer than any test waits.
const LONG: Duration = Duration::from_secs(30);

pub(super) struct Member {
    pub(super) connection: Connection,
    pub(super) group: String,
    pub(super) id: String,
    pub(super) instance: Option<String>,
    pub(super) generation: i32,
    pub(super) session: Duration,
    pub(super) rebalance: Duration,
    pub(super) protocol_type: &'static str,
    /// Names, and what is said with them.
    pub(super) protocols: Vec<(&'static str, &'static str)>,
    /// The one that was chosen.
    pub(super) protocol: String,
}

impl Member {
    pub(super) async fn of(peer: &Peer, group: &str) -> Self {
        Self {
            connection: peer.connect().await,
            group: group.to_owned(),
            id: String::new(),
            instance: None,
            generation: -1,
            session: LONG,
            rebalance: LONG,
            protocol_type: "consumer",
            protocols: vec![("range", "topics"), ("sticky", "topics")],
            protocol: "range".to_owned(),
        }
    }

    pub(super) async fn of_instance(peer: &Peer, group: &str, instance: &str) -> Self {
        Self { instance: Some(instance.to_owned()), ..Self::of(peer, group).await }
    }

    /// Asks to join once, and returns the answer as it is.
    pub(super) async fn ask_to_join(&mut self, version: i16) -> JoinGroupResponse {
        self.send_join(version).await;
        self.connection.receive::<JoinGroupRequest>(version).await
    }

    pub(super) async fn send_join(&mut self, version: i16) {
        let protocols = self.protocols.iter().map(|(name, metadata)| {
            JoinGroupRequestProtocol::default()
                .with_name(text(name))
                .with_metadata(Bytes::from_static(metadata.as_bytes()))
        });
        let request = JoinGroupRequest::default()
            .with_group_id(group_id(&self.group))
            .with_session_timeout_ms(self.session.as_millis() as i32)
            .with_rebalance_timeout_ms(self.rebalance.as_millis() as i32)
            .with_member_id(text(&self.id))
            .with_group_instance_id(self.instance.as_deref().map(text))
            .with_protocol_type(text(self.protocol_type))
            .with_protocols(protocols.collect());
        self.connection.send(version, &request).await;
    }

    /// Sends what makes it a member in the end, and leaves the answer to [`Self::joined`].
    pub(super) async fn begin_to_join(&mut self) {
        if self.id.is_empty() && self.instance.is_none() {
            let invited = self.ask_to_join(9).await;
            assert_eq!(outcome(invited.error_code), Err(MemberIdRequired), "{invited:?}");
            self.id = invited.member_id.to_string();
        }
        self.send_join(9).await;
    }

    pub(super) async fn joined(&mut self) -> JoinGroupResponse {
        let joined = self.connection.receive::<JoinGroupRequest>(9).await;
        assert_eq!(outcome(joined.error_code), Ok(()), "{joined:?}");
        (self.id, self.generation) = (joined.member_id.to_string(), joined.generation_id);
        self.protocol = joined.protocol_name.as_ref().unwrap().to_string();
        joined
    }

    pub(super) async fn join(&mut self) -> JoinGroupResponse {
        self.begin_to_join().await;
        self.joined().await
    }

    pub(super) async fn send_sync(&mut self, shares: &[(&str, &'static str)]) {
        let shares = shares.iter().map(|(member, share)| {
            SyncGroupRequestAssignment::default()
                .with_member_id(text(member))
                .with_assignment(Bytes::from_static(share.as_bytes()))
        });
        let request = SyncGroupRequest::default()
            .with_group_id(group_id(&self.group))
            .with_generation_id(self.generation)
            .with_member_id(text(&self.id))
            .with_group_instance_id(self.instance.as_deref().map(text))
            .with_protocol_type(Some(text(self.protocol_type)))
            .with_protocol_name(Some(text(&self.protocol)))
            .with_assignments(shares.collect());
        self.connection.send(5, &request).await;
    }

    pub(super) async fn synced(&mut self) -> SyncGroupResponse {
        self.connection.receive::<SyncGroupRequest>(5).await
    }

    /// Asks for its share, bringing those of others if it leads.
    pub(super) async fn sync(
        &mut self,
        shares: &[(&str, &'static str)],
    ) -> Result<String, ResponseError> {
        self.send_sync(shares).await;
        let synced = self.synced().await;
        outcome(synced.error_code)?;
        Ok(String::from_utf8(synced.assignment.to_vec()).unwrap())
    }

    pub(super) async fn heartbeat(&mut self) -> Result<(), ResponseError> {
        let request = HeartbeatRequest::default()
            .with_group_id(group_id(&self.group))
            .with_generation_id(self.generation)
            .with_member_id(text(&self.id))
            .with_group_instance_id(self.instance.as_deref().map(text));
        outcome(self.connection.call(4, &request).await.error_code)
    }

    /// Beats until it is called to join again.
    pub(super) async fn called(&mut self) {
        eventually("a rebalance", async || match self.heartbeat().await {
            Ok(()) => None,
            Err(error) => {
                assert_eq!(error, RebalanceInProgress);
                Some(())
            }
        })
        .await;
    }

    pub(super) async fn leave(&mut self) {
        let who = (&*self.id.clone(), None);
        let left = leave(&mut self.connection, &self.group, &[who]).await;
        assert_eq!((left.error_code, left.members[0].error_code), (0, 0), "{left:?}");
    }
}

/// Has members leave, by their ids and instances.
pub(super) async fn leave(
    connection: &mut Connection,
    group: &str,
    who: &[(&str, Option<&str>)],
) -> LeaveGroupResponse {
    let members = who.iter().map(|(id, instance)| {
        MemberIdentity::default()
            .with_member_id(text(id))
            .with_group_instance_id(instance.map(text))
    });
    let request =
        LeaveGroupRequest::default().with_group_id(group_id(group)).with_members(members.collect());
    connection.call(5, &request).await
}

/// Has another member join those who are in the group already, and returns its answer and theirs.
pub(super) async fn gather(
    members: &mut [&mut Member],
    newcomer: &mut Member,
) -> (JoinGroupResponse, Vec<JoinGroupResponse>) {
    newcomer.begin_to_join().await;
    for member in &mut *members {
        member.called().await;
        member.begin_to_join().await;
    }
    let joined = newcomer.joined().await;
    let mut others = Vec::new();
    for member in members {
        others.push(member.joined().await);
    }
    (joined, others)
}

/// A group of a leader and a follower that have their shares, `left` and `right`, in generation 2.
pub(super) async fn pair(peer: &Peer) -> (Member, Member) {
    let group = peer.connect().await.group().await;
    let (leader, follower) = (Member::of(peer, &group).await, Member::of(peer, &group).await);
    stable(leader, follower).await
}

/// As [`pair`], of two instances: `one` and `two`.
pub(super) async fn static_pair(peer: &Peer) -> (Member, Member) {
    let group = peer.connect().await.group().await;
    let leader = Member::of_instance(peer, &group, "one").await;
    let follower = Member::of_instance(peer, &group, "two").await;
    stable(leader, follower).await
}

async fn stable(mut leader: Member, mut follower: Member) -> (Member, Member) {
    leader.join().await;
    assert_eq!(leader.sync(&[]).await, Ok(String::new()));
    gather(&mut [&mut leader], &mut follower).await;
    let shares = [(&*leader.id.clone(), "left"), (&*follower.id.clone(), "right")];
    assert_eq!(leader.sync(&shares).await, Ok("left".to_owned()));
    assert_eq!(follower.sync(&[]).await, Ok("right".to_owned()));
    (leader, follower)
}
