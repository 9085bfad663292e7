//! Static members: an instance that comes back takes its old place, and its former self is shut out.

use kafka_protocol::error::ResponseError::{FencedInstanceId, UnknownMemberId};
use kafka_protocol::messages::JoinGroupRequest;

use super::member::{Member, leave, pair, static_pair};
use super::{Peer, outcome};

#[tokio::test]
async fn an_instance_joins_at_once() {
    let peer = Peer::new().await;
    let group = peer.connect().await.group().await;
    let joined = Member::of_instance(&peer, &group, "one").await.ask_to_join(9).await;
    assert_eq!((outcome(joined.error_code), joined.generation_id), (Ok(()), 1));
    assert_eq!(joined.members[0].group_instance_id.as_deref(), Some("one"));
    assert!(joined.member_id.starts_with("one-"), "{joined:?}");
}

#[tokio::test]
async fn a_follower_comes_back_to_its_share_unnoticed() {
    let peer = Peer::new().await;
    let (mut leader, mut former) = static_pair(&peer).await;
    let mut back = Member::of_instance(&peer, &leader.group, "two").await;
    let joined = back.join().await;
    assert_ne!(back.id, former.id);
    assert_eq!((joined.generation_id, joined.leader.as_str()), (2, &*leader.id));
    assert_eq!((joined.skip_assignment, joined.members.len()), (false, 0));
    assert_eq!(back.sync(&[]).await, Ok("right".to_owned()));
    assert_eq!(leader.heartbeat().await, Ok(()));
    // Whatever its former self asks for.
    assert_eq!(former.heartbeat().await, Err(FencedInstanceId));
    assert_eq!(former.sync(&[]).await, Err(FencedInstanceId));
    let refused = former.ask_to_join(9).await;
    assert_eq!(outcome(refused.error_code), Err(FencedInstanceId));
    let who = [(&*former.id, Some("two"))];
    let left = leave(&mut former.connection, &leader.group, &who).await;
    assert_eq!(outcome(left.members[0].error_code), Err(FencedInstanceId));
}

#[tokio::test]
async fn a_leader_comes_back_and_is_told_to_leave_shares_as_they_are() {
    let peer = Peer::new().await;
    let (former, mut follower) = static_pair(&peer).await;
    let mut back = Member::of_instance(&peer, &former.group, "one").await;
    let joined = back.join().await;
    assert_eq!((joined.generation_id, joined.leader.as_str()), (2, &*back.id));
    assert_eq!((joined.skip_assignment, joined.members.len()), (true, 2));
    assert_eq!(back.sync(&[]).await, Ok("left".to_owned()));
    // An older client would assign if it were named the leader.
    let mut older = Member::of_instance(&peer, &former.group, "one").await;
    let joined = older.ask_to_join(8).await;
    assert_eq!((joined.error_code, joined.generation_id), (0, 2));
    assert_eq!((joined.leader.as_str(), joined.members.len()), (&*back.id, 0));
    assert_eq!(follower.heartbeat().await, Ok(()));
}

#[tokio::test]
async fn an_instance_that_comes_back_with_another_strategy_calls_everybody() {
    let peer = Peer::new().await;
    let (mut leader, follower) = static_pair(&peer).await;
    let mut back = Member::of_instance(&peer, &leader.group, "two").await;
    back.protocols = vec![("sticky", "topics")];
    back.begin_to_join().await;
    leader.called().await;
    let joined = leader.join().await;
    assert_eq!((joined.generation_id, joined.members.len()), (3, 2));
    assert_eq!(joined.protocol_name.as_deref(), Some("sticky"));
    assert_eq!(back.joined().await.generation_id, 3);
    assert_ne!(back.id, follower.id);
}

#[tokio::test]
async fn an_instance_that_still_waits_is_shut_out_by_the_next() {
    let peer = Peer::new().await;
    let (mut leader, mut follower) = pair(&peer).await;
    let mut waiting = Member::of_instance(&peer, &leader.group, "one").await;
    waiting.begin_to_join().await;
    leader.called().await;
    let mut next = Member::of_instance(&peer, &leader.group, "one").await;
    next.begin_to_join().await;
    let refused = waiting.connection.receive::<JoinGroupRequest>(9).await;
    assert_eq!(outcome(refused.error_code), Err(FencedInstanceId));
    for member in [&mut leader, &mut follower] {
        member.begin_to_join().await;
    }
    assert_eq!(leader.joined().await.members.len(), 3);
    assert_eq!(next.joined().await.generation_id, 3);
}

#[tokio::test]
async fn an_instance_leaves_by_its_name() {
    let peer = Peer::new().await;
    let (leader, mut follower) = static_pair(&peer).await;
    let mut connection = peer.connect().await;
    let who = [("stranger", Some("two")), ("", Some("two")), ("", Some("two"))];
    let left = leave(&mut connection, &leader.group, &who).await;
    let outcomes: Vec<_> = left.members.iter().map(|m| outcome(m.error_code)).collect();
    assert_eq!(outcomes, [Err(FencedInstanceId), Ok(()), Err(UnknownMemberId)]);
    assert_eq!(follower.heartbeat().await, Err(UnknownMemberId));
}

#[tokio::test]
async fn a_member_is_no_instance_unless_it_says_so_and_none_that_it_is_not() {
    let peer = Peer::new().await;
    let (mut leader, mut follower) = static_pair(&peer).await;
    leader.instance = None;
    assert_eq!(leader.heartbeat().await, Ok(()));
    follower.instance = Some("one".to_owned());
    assert_eq!(follower.heartbeat().await, Err(FencedInstanceId));
    follower.instance = Some("nobody".to_owned());
    assert_eq!(follower.heartbeat().await, Err(UnknownMemberId));
}
