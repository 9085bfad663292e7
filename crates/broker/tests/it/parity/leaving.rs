//! `LeaveGroup`, and who is out without it: all that makes a group smaller.

use kafka_protocol::error::ResponseError::{InvalidGroupId, MemberIdRequired, UnknownMemberId};
use kafka_protocol::messages::LeaveGroupRequest;
use tokio::time::Duration;

use super::joining::members;
use super::member::{Member, gather, leave, pair};
use super::{Peer, eventually, group_id, outcome, text, unique};

/// What a member may take where a test waits for its end: more than a busy machine keeps a test waiting.
const SHORT: Duration = Duration::from_secs(1);

#[tokio::test]
async fn the_follower_leads_once_the_leader_has_left() {
    let peer = Peer::new().await;
    let (mut leader, mut follower) = pair(&peer).await;
    leader.leave().await;
    assert_eq!(leader.heartbeat().await, Err(UnknownMemberId));
    follower.called().await;
    let joined = follower.join().await;
    assert_eq!((joined.generation_id, &joined.leader), (3, &joined.member_id));
    assert_eq!(members(&joined).len(), 1);
}

#[tokio::test]
async fn who_does_not_join_again_in_time_is_out() {
    let peer = Peer::new().await;
    let group = peer.connect().await.group().await;
    let mut late = Member { rebalance: SHORT, ..Member::of(&peer, &group).await };
    let mut newcomer = Member { rebalance: SHORT, ..Member::of(&peer, &group).await };
    late.join().await;
    assert_eq!(late.sync(&[]).await, Ok(String::new()));
    let joined = newcomer.join().await;
    assert_eq!((joined.generation_id, &joined.leader), (2, &joined.member_id));
    assert_eq!(members(&joined).len(), 1);
    assert_eq!(late.heartbeat().await, Err(UnknownMemberId));
}

#[tokio::test]
async fn who_does_not_ask_for_its_share_in_time_is_out() {
    let peer = Peer::new().await;
    let group = peer.connect().await.group().await;
    let mut late = Member { rebalance: SHORT, ..Member::of(&peer, &group).await };
    late.join().await;
    eventually("it is out", async || match late.heartbeat().await {
        Ok(()) => None,
        Err(error) => {
            assert_eq!(error, UnknownMemberId);
            Some(())
        }
    })
    .await;
}

#[tokio::test]
async fn who_is_not_heard_from_is_out() {
    let peer = Peer::new().await;
    let group = peer.connect().await.group().await;
    let mut steady = Member::of(&peer, &group).await;
    let mut silent = Member { session: SHORT, ..Member::of(&peer, &group).await };
    steady.join().await;
    gather(&mut [&mut steady], &mut silent).await;
    assert_eq!(steady.sync(&[]).await, Ok(String::new()));
    assert_eq!(silent.sync(&[]).await, Ok(String::new()));
    steady.called().await;
    let joined = steady.join().await;
    assert_eq!((joined.generation_id, members(&joined).len()), (3, 1));
    assert_eq!(silent.heartbeat().await, Err(UnknownMemberId));
}

#[tokio::test]
async fn an_invitation_that_is_not_taken_up_is_forgotten() {
    let peer = Peer::new().await;
    let group = peer.connect().await.group().await;
    let mut member = Member::of(&peer, &group).await;
    // A group that starts from nothing does not wait for it.
    let first = Member::of(&peer, &group).await.ask_to_join(9).await;
    assert_eq!(outcome(first.error_code), Err(MemberIdRequired));
    assert_eq!(members(&member.join().await).len(), 1);
    assert_eq!(member.sync(&[]).await, Ok(String::new()));
    let left = leave(&mut member.connection, &group, &[(&first.member_id, None)]).await;
    assert_eq!(outcome(left.members[0].error_code), Ok(()));
    // Any other does.
    let mut invited = Member { session: SHORT, ..Member::of(&peer, &group).await };
    invited.id = invited.ask_to_join(9).await.member_id.to_string();
    member.begin_to_join().await;
    assert!(member.connection.is_silent(Duration::from_millis(50)).await);
    let joined = member.joined().await;
    assert_eq!((joined.generation_id, members(&joined).len()), (2, 1));
    let late = invited.ask_to_join(9).await;
    assert_eq!(outcome(late.error_code), Err(UnknownMemberId));
}

#[tokio::test]
async fn members_leave_each_with_its_own_answer() {
    let peer = Peer::new().await;
    let (leader, mut follower) = pair(&peer).await;
    let mut connection = peer.connect().await;
    let invited = Member::of(&peer, &leader.group).await.ask_to_join(9).await.member_id;
    let who = [(&*leader.id, None), ("stranger", None), (&*invited, None), ("", Some("nobody"))];
    let left = leave(&mut connection, &leader.group, &who).await;
    assert_eq!(left.error_code, 0);
    let outcomes: Vec<_> = left
        .members
        .iter()
        .map(|member| {
            let instance = member.group_instance_id.as_ref().map(ToString::to_string);
            (member.member_id.to_string(), instance, outcome(member.error_code))
        })
        .collect();
    let expected = [
        (leader.id.clone(), None, Ok(())),
        ("stranger".to_owned(), None, Err(UnknownMemberId)),
        (invited.to_string(), None, Ok(())),
        (String::new(), Some("nobody".to_owned()), Err(UnknownMemberId)),
    ];
    assert_eq!(outcomes, expected);
    follower.called().await;

    let single = |id: &str| {
        LeaveGroupRequest::default().with_group_id(group_id(&leader.group)).with_member_id(text(id))
    };
    let left = connection.call(2, &single("stranger")).await;
    assert_eq!(outcome(left.error_code), Err(UnknownMemberId));
    let left = connection.call(2, &single(&follower.id)).await;
    assert_eq!(outcome(left.error_code), Ok(()));
    assert_eq!(follower.heartbeat().await, Err(UnknownMemberId));
}

#[tokio::test]
async fn nobody_leaves_what_is_not_there() {
    let peer = Peer::new().await;
    let mut connection = peer.connect().await;
    connection.group().await;
    let left = leave(&mut connection, &unique("unknown"), &[("stranger", None)]).await;
    assert_eq!(outcome(left.error_code), Ok(()));
    assert_eq!(outcome(left.members[0].error_code), Err(UnknownMemberId));
    let left = leave(&mut connection, "", &[("stranger", None)]).await;
    assert_eq!((outcome(left.error_code), left.members.len()), (Err(InvalidGroupId), 0));
}
