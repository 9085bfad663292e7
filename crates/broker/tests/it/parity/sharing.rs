//! `SyncGroup` and `Heartbeat`: how members get their shares, and how they hear of changes.

use kafka_protocol::error::ResponseError::{
    IllegalGeneration, InconsistentGroupProtocol, InvalidGroupId, RebalanceInProgress,
    UnknownMemberId,
};
use tokio::time::Duration;

use super::member::{Member, gather, pair};
use super::{Peer, outcome, unique};

#[tokio::test]
async fn a_follower_waits_for_its_share_until_the_leader_has_brought_it() {
    let peer = Peer::new().await;
    let group = peer.connect().await.group().await;
    let (mut leader, mut follower) =
        (Member::of(&peer, &group).await, Member::of(&peer, &group).await);
    leader.join().await;
    gather(&mut [&mut leader], &mut follower).await;
    follower.send_sync(&[]).await;
    assert!(follower.connection.is_silent(Duration::from_millis(50)).await);
    // A member the leader forgets has no share, and one that is none gets none.
    let shares = [(&*follower.id, "all"), ("stranger", "none")];
    assert_eq!(leader.sync(&shares).await, Ok(String::new()));
    let share = follower.synced().await;
    assert_eq!((outcome(share.error_code), &share.assignment[..]), (Ok(()), &b"all"[..]));
    assert_eq!(share.protocol_type.as_deref(), Some("consumer"));
    assert_eq!(share.protocol_name.as_deref(), Some("range"));
    // It may ask again, and cannot bring another.
    assert_eq!(follower.sync(&[]).await, Ok("all".to_owned()));
    assert_eq!(leader.sync(&[(&*follower.id, "other")]).await, Ok(String::new()));
    assert_eq!(follower.sync(&[]).await, Ok("all".to_owned()));
}

#[tokio::test]
async fn a_rebalance_ends_the_wait_for_a_share() {
    let peer = Peer::new().await;
    let group = peer.connect().await.group().await;
    let (mut leader, mut follower) =
        (Member::of(&peer, &group).await, Member::of(&peer, &group).await);
    leader.join().await;
    gather(&mut [&mut leader], &mut follower).await;
    follower.send_sync(&[]).await;
    let mut third = Member::of(&peer, &group).await;
    third.begin_to_join().await;
    let share = follower.synced().await;
    assert_eq!(outcome(share.error_code), Err(RebalanceInProgress));
    assert_eq!((&share.protocol_type, &share.protocol_name), (&None, &None));
    assert_eq!(share.assignment.len(), 0);
    assert_eq!(leader.sync(&[]).await, Err(RebalanceInProgress));
}

#[tokio::test]
async fn hearts_beat_on_while_shares_are_awaited_and_hear_of_a_rebalance() {
    let peer = Peer::new().await;
    let group = peer.connect().await.group().await;
    let mut member = Member::of(&peer, &group).await;
    member.join().await;
    assert_eq!(member.heartbeat().await, Ok(()));
    assert_eq!(member.sync(&[]).await, Ok(String::new()));
    assert_eq!(member.heartbeat().await, Ok(()));
    let mut newcomer = Member::of(&peer, &group).await;
    newcomer.begin_to_join().await;
    member.called().await;
    assert_eq!(member.heartbeat().await, Err(RebalanceInProgress));
}

#[tokio::test]
async fn whoever_is_not_a_member_of_this_generation_is_told_so() {
    let peer = Peer::new().await;
    let (leader, follower) = pair(&peer).await;
    let (group, id) = (leader.group.clone(), leader.id.clone());
    for (group, id, generation, expected) in [
        (group.clone(), "stranger".to_owned(), 2, UnknownMemberId),
        (group.clone(), String::new(), 2, UnknownMemberId),
        (group.clone(), id.clone(), 1, IllegalGeneration),
        (group.clone(), id.clone(), 3, IllegalGeneration),
        (group, id.clone(), -1, IllegalGeneration),
        (unique("unknown"), id.clone(), 2, UnknownMemberId),
        (String::new(), id, 2, InvalidGroupId),
    ] {
        let base = Member::of(&peer, &group).await;
        let mut member = Member { id, generation, ..base };
        let answers = (member.heartbeat().await, member.sync(&[]).await);
        let message = format!("{} {generation}", member.id);
        assert_eq!(answers, (Err(expected), Err(expected)), "{message}");
    }
    drop(follower);
}

#[tokio::test]
async fn shares_of_another_strategy_are_refused() {
    let peer = Peer::new().await;
    let (mut leader, _follower) = pair(&peer).await;
    leader.protocol = "sticky".to_owned();
    assert_eq!(leader.sync(&[]).await, Err(InconsistentGroupProtocol));
    leader.protocol = "range".to_owned();
    leader.protocol_type = "connect";
    assert_eq!(leader.sync(&[]).await, Err(InconsistentGroupProtocol));
    leader.protocol_type = "consumer";
    assert_eq!(leader.sync(&[]).await, Ok("left".to_owned()));
}
