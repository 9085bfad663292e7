//! `ListGroups`, `DescribeGroups` and `DeleteGroups`.

use kafka_protocol::error::ResponseError::{self, GroupIdNotFound, NonEmptyGroup};
use kafka_protocol::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use kafka_protocol::messages::{DeleteGroupsRequest, DescribeGroupsRequest, ListGroupsRequest};

use super::commits::commit;
use super::connection::Connection;
use super::member::{Member, gather, pair, static_pair};
use super::offsets::committed;
use super::{Peer, group_id, outcome, text, unique};

async fn describe(connection: &mut Connection, group: &str) -> DescribedGroup {
    let request = DescribeGroupsRequest::default().with_groups(vec![group_id(group)]);
    let described = connection.call(5, &request).await.groups.remove(0);
    assert_eq!((outcome(described.error_code), described.group_id.as_str()), (Ok(()), group));
    assert_eq!(described.authorized_operations, i32::MIN);
    described
}

/// State, protocol type and chosen protocol.
fn nature(group: &DescribedGroup) -> (&str, &str, &str) {
    (&group.group_state, &group.protocol_type, &group.protocol_data)
}

/// What is shown of a member's subscription and share.
fn contents(member: &DescribedGroupMember) -> (&[u8], &[u8]) {
    (&member.member_metadata, &member.member_assignment)
}

#[tokio::test]
async fn a_group_nobody_knows_is_dead() {
    let peer = Peer::new().await;
    let mut connection = peer.connect().await;
    connection.group().await;
    let described = describe(&mut connection, &unique("unknown")).await;
    assert_eq!((nature(&described), described.members.len()), (("Dead", "", ""), 0));
}

#[tokio::test]
async fn a_group_of_offsets_alone_is_empty() {
    let peer = Peer::new().await;
    let mut connection = peer.connect().await;
    let (group, topic) = (connection.group().await, connection.topic(1, &[]).await);
    assert_eq!(commit(&mut connection, &group, &topic, &[(0, 1, None)]).await, [Ok(())]);
    let described = describe(&mut connection, &group).await;
    assert_eq!((nature(&described), described.members.len()), (("Empty", "", ""), 0));
}

#[tokio::test]
async fn a_stable_group_is_described_with_subscriptions_and_shares() {
    let peer = Peer::new().await;
    let mut connection = peer.connect().await;
    let (leader, follower) = static_pair(&peer).await;
    let described = describe(&mut connection, &leader.group).await;
    assert_eq!(nature(&described), ("Stable", "consumer", "range"));
    assert_eq!(described.members.len(), 2);
    for (member, share) in [(leader, "left"), (follower, "right")] {
        let is_meant = |shown: &&DescribedGroupMember| shown.member_id.as_str() == member.id;
        let shown = described.members.iter().find(is_meant).unwrap();
        assert_eq!(contents(shown), (&b"topics"[..], share.as_bytes()));
        assert_eq!(shown.group_instance_id.as_deref(), member.instance.as_deref());
        assert_eq!(
            (shown.client_id.as_str(), shown.client_host.as_str()),
            ("by hand", "/127.0.0.1")
        );
    }
}

#[tokio::test]
async fn a_group_that_rebalances_is_described_without() {
    let peer = Peer::new().await;
    let mut connection = peer.connect().await;
    let (mut leader, mut follower) = pair(&peer).await;
    let mut third = Member::of(&peer, &leader.group).await;
    third.begin_to_join().await;
    leader.called().await;
    let described = describe(&mut connection, &leader.group).await;
    assert_eq!(nature(&described), ("PreparingRebalance", "consumer", ""));
    assert_eq!(described.members.len(), 3);
    assert!(described.members.iter().all(|member| member.member_metadata.is_empty()));
    for member in [&mut leader, &mut follower] {
        member.begin_to_join().await;
    }
    third.joined().await;
    let described = describe(&mut connection, &leader.group).await;
    assert_eq!(nature(&described), ("CompletingRebalance", "consumer", ""));
    assert!(described.members.iter().all(|member| member.member_metadata.is_empty()));
}

/// Groups in these states, among those given.
async fn list(
    connection: &mut Connection,
    states: &[&str],
    groups: &[&str],
) -> Vec<(String, String, String)> {
    let request = ListGroupsRequest::default()
        .with_states_filter(states.iter().map(|state| text(state)).collect());
    let listed = connection.call(4, &request).await;
    assert_eq!(outcome(listed.error_code), Ok(()));
    let listed = listed.groups.into_iter().map(|group| {
        let (state, kind) = (group.group_state.to_string(), group.protocol_type.to_string());
        (group.group_id.to_string(), state, kind)
    });
    let mut listed: Vec<_> = listed.filter(|(id, ..)| groups.contains(&id.as_str())).collect();
    listed.sort_by_key(|(id, ..)| groups.iter().position(|group| group == id));
    listed
}

#[tokio::test]
async fn groups_are_listed_with_their_states_and_by_them() {
    let peer = Peer::new().await;
    let mut connection = peer.connect().await;
    let (empty, topic) = (connection.group().await, connection.topic(1, &[]).await);
    assert_eq!(commit(&mut connection, &empty, &topic, &[(0, 1, None)]).await, [Ok(())]);
    let (leader, _follower) = pair(&peer).await;
    let completing = connection.group().await;
    let mut waiting = Member::of(&peer, &completing).await;
    waiting.join().await;
    let of = |id: &str, state: &str, kind: &str| (id.to_owned(), state.to_owned(), kind.to_owned());
    let all = [&*empty, &*leader.group, &*completing];
    let (a, b, c) = (
        of(&empty, "Empty", ""),
        of(&leader.group, "Stable", "consumer"),
        of(&completing, "CompletingRebalance", "consumer"),
    );
    for (states, expected) in [
        (&[][..], vec![a.clone(), b.clone(), c.clone()]),
        (&["Stable"], vec![b.clone()]),
        (&["stable"], vec![b.clone()]),
        (&["Empty", "Stable"], vec![a, b]),
        (&["CompletingRebalance"], vec![c]),
        (&["Dead"], vec![]),
    ] {
        assert_eq!(list(&mut connection, states, &all).await, expected, "{states:?}");
    }
}

async fn delete(
    connection: &mut Connection,
    groups: &[&str],
) -> Vec<(String, Result<(), ResponseError>)> {
    let request = DeleteGroupsRequest::default()
        .with_groups_names(groups.iter().map(|group| group_id(group)).collect());
    let results = connection.call(2, &request).await.results;
    let results =
        results.iter().map(|deleted| (deleted.group_id.to_string(), outcome(deleted.error_code)));
    results.collect()
}

#[tokio::test]
async fn a_group_is_deleted_with_its_offsets_once_nobody_is_in_it() {
    let peer = Peer::new().await;
    let mut connection = peer.connect().await;
    let (mut leader, mut follower) = pair(&peer).await;
    let topic = connection.topic(1, &[]).await;
    let (group, unknown) = (leader.group.clone(), unique("unknown"));
    let mut deleted = delete(&mut connection, &[&group, &unknown]).await;
    deleted.sort_by_key(|(name, _)| *name == unknown);
    let expected = [(group.clone(), Err(NonEmptyGroup)), (unknown.clone(), Err(GroupIdNotFound))];
    assert_eq!(deleted, expected);
    assert_eq!(leader.heartbeat().await, Ok(()));
    leader.leave().await;
    follower.leave().await;
    assert_eq!(commit(&mut connection, &group, &topic, &[(0, 1, None)]).await, [Ok(())]);
    assert_eq!(delete(&mut connection, &[&group]).await, [(group.clone(), Ok(()))]);
    assert_eq!(committed(&mut connection, &group, None).await, []);
    assert_eq!(nature(&describe(&mut connection, &group).await), ("Dead", "", ""));
    let again = delete(&mut connection, &[&group]).await;
    assert_eq!(again, [(group, Err(GroupIdNotFound))]);
}

#[tokio::test]
async fn a_group_that_forms_is_not_deleted() {
    let peer = Peer::new().await;
    let mut connection = peer.connect().await;
    let group = connection.group().await;
    let (mut first, mut second) =
        (Member::of(&peer, &group).await, Member::of(&peer, &group).await);
    first.join().await;
    let forming = [(group.clone(), Err(NonEmptyGroup))];
    assert_eq!(delete(&mut connection, &[&group]).await, forming);
    gather(&mut [&mut first], &mut second).await;
    assert_eq!(delete(&mut connection, &[&group]).await, forming);
}
