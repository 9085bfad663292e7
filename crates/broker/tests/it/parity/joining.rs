//! `JoinGroup`: who becomes a member, who leads, and when everybody has to join again.

use kafka_protocol::error::ResponseError::{
    InconsistentGroupProtocol, InvalidGroupId, InvalidSessionTimeout, MemberIdRequired,
    UnknownMemberId,
};
use kafka_protocol::messages::JoinGroupResponse;
use tokio::time::Duration;

use super::member::{Member, gather, pair};
use super::{Peer, outcome};

/// Member ids and subscriptions, as a leader is told them.
pub(super) fn members(joined: &JoinGroupResponse) -> Vec<(String, String)> {
    let members = joined.members.iter().map(|member| {
        (member.member_id.to_string(), String::from_utf8(member.metadata.to_vec()).unwrap())
    });
    members.collect()
}

#[tokio::test]
async fn a_new_member_is_told_its_id_and_joins_with_it() {
    let peer = Peer::new().await;
    let group = peer.connect().await.group().await;
    let mut member = Member::of(&peer, &group).await;
    let invited = member.ask_to_join(9).await;
    assert_eq!(outcome(invited.error_code), Err(MemberIdRequired));
    assert_eq!((invited.generation_id, invited.leader.as_str()), (-1, ""));
    assert_eq!((&invited.protocol_type, &invited.protocol_name), (&None, &None));
    assert_eq!((invited.skip_assignment, invited.members.len()), (false, 0));
    // Ids begin with what the client calls itself.
    assert!(invited.member_id.starts_with("by hand-"), "{invited:?}");
    member.id = invited.member_id.to_string();
    let joined = member.join().await;
    assert_eq!((joined.generation_id, &joined.leader), (1, &joined.member_id));
    assert_eq!(joined.member_id.as_str(), invited.member_id.as_str());
    assert_eq!(joined.protocol_type.as_deref(), Some("consumer"));
    assert_eq!(joined.protocol_name.as_deref(), Some("range"));
    assert!(!joined.skip_assignment);
    assert_eq!(members(&joined), [(member.id, "topics".to_owned())]);
}

#[tokio::test]
async fn a_client_that_knows_no_better_joins_at_once() {
    let peer = Peer::new().await;
    for version in [2, 3] {
        let group = peer.connect().await.group().await;
        let joined = Member::of(&peer, &group).await.ask_to_join(version).await;
        assert_eq!((outcome(joined.error_code), joined.generation_id), (Ok(()), 1));
        assert_eq!(joined.protocol_name.as_deref(), Some("range"));
    }
}

#[tokio::test]
async fn members_that_cannot_be_are_refused() {
    let peer = Peer::new().await;
    let group = peer.connect().await.group().await;
    let mut connection = Member::of(&peer, &group).await.connection;
    let base = async || Member::of(&peer, &group).await;
    let refused = [
        (Member { group: String::new(), ..base().await }, InvalidGroupId),
        (Member { session: Duration::ZERO, ..base().await }, InvalidSessionTimeout),
        (Member { session: Duration::from_mins(31), ..base().await }, InvalidSessionTimeout),
        (Member { id: "stranger".to_owned(), ..base().await }, UnknownMemberId),
        (Member { protocols: vec![], ..base().await }, InconsistentGroupProtocol),
        (Member { protocol_type: "", ..base().await }, InconsistentGroupProtocol),
    ];
    for (mut member, expected) in refused {
        let refused = member.ask_to_join(9).await;
        assert_eq!(outcome(refused.error_code), Err(expected), "{refused:?}");
        assert_eq!((refused.generation_id, refused.leader.as_str()), (-1, ""));
        assert_eq!(refused.member_id.as_str(), member.id);
        assert_eq!((&refused.protocol_type, &refused.protocol_name), (&None, &None));
    }
    assert!(connection.is_silent(Duration::ZERO).await);
    connection.group().await;
}

#[tokio::test]
async fn members_must_have_a_strategy_in_common() {
    let peer = Peer::new().await;
    let (leader, _follower) = pair(&peer).await;
    for (protocol_type, protocols, expected) in [
        ("consumer", vec![("other", "")], Err(InconsistentGroupProtocol)),
        ("connect", vec![("range", "")], Err(InconsistentGroupProtocol)),
        ("consumer", vec![("other", ""), ("range", "")], Err(MemberIdRequired)),
    ] {
        let base = Member::of(&peer, &leader.group).await;
        let mut member = Member { protocol_type, protocols, ..base };
        let answer = member.ask_to_join(9).await;
        assert_eq!(outcome(answer.error_code), expected, "{protocol_type}");
    }
}

#[tokio::test]
async fn the_strategy_that_most_prefer_among_common_ones_wins() {
    let peer = Peer::new().await;
    let group = peer.connect().await.group().await;
    let wants = async |protocols| Member { protocols, ..Member::of(&peer, &group).await };
    let mut first = wants(vec![("own", ""), ("range", ""), ("cooperative-sticky", "1")]).await;
    let mut second = wants(vec![("cooperative-sticky", "2"), ("range", "")]).await;
    let mut third = wants(vec![("cooperative-sticky", "3"), ("range", ""), ("own", "")]).await;
    assert_eq!(first.join().await.protocol_name.as_deref(), Some("own"));
    gather(&mut [&mut first], &mut second).await;
    let (joined, others) = gather(&mut [&mut first, &mut second], &mut third).await;
    for joined in others.iter().chain([&joined]) {
        assert_eq!(joined.protocol_name.as_deref(), Some("cooperative-sticky"));
    }
    let mut subscriptions: Vec<_> = members(&others[0]).into_iter().map(|(_, s)| s).collect();
    subscriptions.sort();
    assert_eq!(subscriptions, ["1", "2", "3"]);
}

#[tokio::test]
async fn a_second_member_calls_the_first_and_only_the_leader_is_told_of_everyone() {
    let peer = Peer::new().await;
    let group = peer.connect().await.group().await;
    let (mut first, mut second) =
        (Member::of(&peer, &group).await, Member::of(&peer, &group).await);
    first.join().await;
    let (follower, leader) = gather(&mut [&mut first], &mut second).await;
    assert_eq!((follower.generation_id, leader[0].generation_id), (2, 2));
    assert_eq!((&follower.leader, &leader[0].leader), (&leader[0].member_id, &leader[0].member_id));
    assert_eq!(members(&follower), []);
    let mut ids: Vec<_> = members(&leader[0]).into_iter().map(|(id, _)| id).collect();
    ids.sort();
    let mut expected = [first.id, second.id];
    expected.sort();
    assert_eq!(ids, expected);
}

#[tokio::test]
async fn a_follower_that_joins_again_unchanged_learns_what_it_knew() {
    let peer = Peer::new().await;
    let (mut leader, mut follower) = pair(&peer).await;
    let again = follower.join().await;
    assert_eq!((again.generation_id, again.leader.as_str()), (2, &*leader.id));
    assert_eq!(follower.sync(&[]).await, Ok("right".to_owned()));
    assert_eq!(leader.heartbeat().await, Ok(()));
}

#[tokio::test]
async fn members_that_join_again_unchanged_before_they_have_shares_learn_what_they_knew() {
    let peer = Peer::new().await;
    let group = peer.connect().await.group().await;
    let (mut leader, mut follower) =
        (Member::of(&peer, &group).await, Member::of(&peer, &group).await);
    leader.join().await;
    assert_eq!(leader.join().await.generation_id, 1);
    gather(&mut [&mut leader], &mut follower).await;
    for member in [&mut follower, &mut leader] {
        assert_eq!(member.join().await.generation_id, 2);
    }
    assert_eq!(leader.sync(&[(&*follower.id, "right")]).await, Ok(String::new()));
    assert_eq!(follower.sync(&[]).await, Ok("right".to_owned()));
}

#[tokio::test]
async fn a_leader_that_joins_again_and_a_changed_follower_call_everybody() {
    let peer = Peer::new().await;
    let (mut leader, mut follower) = pair(&peer).await;
    leader.begin_to_join().await;
    follower.called().await;
    follower.begin_to_join().await;
    assert_eq!(
        (leader.joined().await.generation_id, follower.joined().await.generation_id),
        (3, 3)
    );
    assert_eq!(leader.sync(&[]).await, Ok(String::new()));
    assert_eq!(follower.sync(&[]).await, Ok(String::new()));

    follower.protocols = vec![("range", "more topics")];
    follower.begin_to_join().await;
    leader.called().await;
    let joined = leader.join().await;
    assert_eq!((joined.generation_id, &joined.leader), (4, &joined.member_id));
    assert_eq!(follower.joined().await.generation_id, 4);
}
