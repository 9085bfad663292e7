//! `OffsetCommit`: whose commits count, and when.

use kafka_protocol::error::ResponseError::{
    self, FencedInstanceId, IllegalGeneration, OffsetMetadataTooLarge, RebalanceInProgress,
    UnknownMemberId, UnknownTopicOrPartition,
};
use kafka_protocol::messages::OffsetCommitRequest;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};

use super::connection::Connection;
use super::member::{Member, pair, static_pair};
use super::offsets::committed;
use super::{Peer, eventually, group_id, outcome, text, topic_name, unique};

type Outcome = Result<(), ResponseError>;

/// Who commits: nobody in particular, or a member of a generation.
struct Committer<'a> {
    id: &'a str,
    instance: Option<&'a str>,
    generation: i32,
}

const NOBODY: Committer = Committer { id: "", instance: None, generation: -1 };

/// Commits offsets with metadata for partitions of a topic.
pub(super) async fn commit(
    connection: &mut Connection,
    group: &str,
    topic: &str,
    offsets: &[(i32, i64, Option<&str>)],
) -> Vec<Outcome> {
    commit_as(connection, &NOBODY, group, topic, offsets).await
}

async fn commit_as(
    connection: &mut Connection,
    committer: &Committer<'_>,
    group: &str,
    topic: &str,
    offsets: &[(i32, i64, Option<&str>)],
) -> Vec<Outcome> {
    let request = request(committer, group, topic, offsets);
    let answer = connection.call(8, &request).await;
    let mut partitions = answer.topics[0].partitions.clone();
    // Kafka answers what it refuses first.
    let asked = |index| offsets.iter().position(|(partition, ..)| *partition == index);
    partitions.sort_by_key(|partition| asked(partition.partition_index));
    partitions.iter().map(|partition| outcome(partition.error_code)).collect()
}

fn request(
    committer: &Committer<'_>,
    group: &str,
    topic: &str,
    offsets: &[(i32, i64, Option<&str>)],
) -> OffsetCommitRequest {
    let partitions = offsets.iter().map(|(partition, offset, metadata)| {
        OffsetCommitRequestPartition::default()
            .with_partition_index(*partition)
            .with_committed_offset(*offset)
            .with_committed_leader_epoch(3)
            .with_committed_metadata(metadata.map(text))
    });
    let topic = OffsetCommitRequestTopic::default()
        .with_name(topic_name(topic))
        .with_partitions(partitions.collect());
    OffsetCommitRequest::default()
        .with_group_id(group_id(group))
        .with_generation_id_or_member_epoch(committer.generation)
        .with_member_id(text(committer.id))
        .with_group_instance_id(committer.instance.map(text))
        .with_topics(vec![topic])
}

pub(super) async fn commit_of(member: &mut Member, topic: &str) -> Outcome {
    let Member { connection, group, id, instance, generation, .. } = member;
    let committer = Committer { id, instance: instance.as_deref(), generation: *generation };
    commit_as(connection, &committer, group, topic, &[(0, 1, None)]).await[0]
}

#[tokio::test]
async fn a_commit_is_refused_by_partition() {
    let peer = Peer::new().await;
    let mut connection = peer.connect().await;
    let (group, topic) = (connection.group().await, connection.topic(2, &[]).await);
    let (longest, too_long) = ("x".repeat(4096), "x".repeat(4097));
    let offsets = [(0, 1, Some(&*longest)), (1, 1, Some(&*too_long)), (2, 1, None), (-1, 1, None)];
    let outcomes = commit(&mut connection, &group, &topic, &offsets).await;
    let unknown = Err(UnknownTopicOrPartition);
    assert_eq!(outcomes, [Ok(()), Err(OffsetMetadataTooLarge), unknown, unknown]);
    let elsewhere = commit(&mut connection, &group, &unique("unknown"), &[(0, 1, None)]).await;
    assert_eq!(elsewhere, [Err(UnknownTopicOrPartition)]);
    assert_eq!(committed(&mut connection, &group, None).await.len(), 1);
}

#[tokio::test]
async fn a_group_nobody_knows_takes_commits_of_nobody_alone() {
    let peer = Peer::new().await;
    let mut connection = peer.connect().await;
    connection.group().await;
    let topic = connection.topic(1, &[]).await;
    for (id, generation, expected) in [
        ("", 0, Err(IllegalGeneration)),
        ("stranger", 1, Err(IllegalGeneration)),
        ("stranger", -1, Ok(())),
        ("", -1, Ok(())),
    ] {
        let group = unique("group");
        let committer = Committer { id, instance: None, generation };
        let offsets = [(0, 1, None)];
        let outcomes = commit_as(&mut connection, &committer, &group, &topic, &offsets).await;
        assert_eq!(outcomes, [expected], "`{id}` {generation}");
    }
}

#[tokio::test]
async fn a_group_with_members_takes_commits_of_theirs_alone() {
    let peer = Peer::new().await;
    let mut connection = peer.connect().await;
    let topic = connection.topic(1, &[]).await;
    let (mut leader, mut follower) = pair(&peer).await;
    assert_eq!(commit_of(&mut leader, &topic).await, Ok(()));
    assert_eq!(commit_of(&mut follower, &topic).await, Ok(()));
    let id = leader.id.clone();
    for (id, generation, expected) in [
        ("", -1, UnknownMemberId),
        ("stranger", -1, UnknownMemberId),
        ("stranger", 2, UnknownMemberId),
        (&id, 1, IllegalGeneration),
        (&id, 3, IllegalGeneration),
        (&id, -1, IllegalGeneration),
    ] {
        let committer = Committer { id, instance: None, generation };
        let outcomes =
            commit_as(&mut connection, &committer, &leader.group, &topic, &[(0, 9, None)]).await;
        assert_eq!(outcomes, [Err(expected)], "`{id}` {generation}");
    }
    assert_eq!(committed(&mut connection, &leader.group, None).await[0].2, 1);
}

#[tokio::test]
async fn members_may_commit_what_they_have_done_when_called_and_not_once_others_may_have_it() {
    let peer = Peer::new().await;
    let mut connection = peer.connect().await;
    let topic = connection.topic(1, &[]).await;
    let (mut leader, mut follower) = pair(&peer).await;
    let mut third = Member::of(&peer, &leader.group).await;
    third.begin_to_join().await;
    leader.called().await;
    assert_eq!(commit_of(&mut follower, &topic).await, Ok(()));
    for member in [&mut leader, &mut follower] {
        member.begin_to_join().await;
    }
    for member in [&mut leader, &mut follower, &mut third] {
        member.joined().await;
    }
    assert_eq!(commit_of(&mut follower, &topic).await, Err(RebalanceInProgress));
    assert_eq!(leader.sync(&[]).await, Ok(String::new()));
    assert_eq!(commit_of(&mut follower, &topic).await, Ok(()));
}

#[tokio::test]
async fn a_former_instance_commits_no_more() {
    let peer = Peer::new().await;
    let mut connection = peer.connect().await;
    let topic = connection.topic(1, &[]).await;
    let (leader, mut former) = static_pair(&peer).await;
    assert_eq!(commit_of(&mut former, &topic).await, Ok(()));
    let mut back = Member::of_instance(&peer, &leader.group, "two").await;
    back.join().await;
    assert_eq!(commit_of(&mut former, &topic).await, Err(FencedInstanceId));
    assert_eq!(commit_of(&mut back, &topic).await, Ok(()));
}

#[tokio::test]
async fn a_group_that_is_left_takes_commits_of_nobody_again() {
    let peer = Peer::new().await;
    let mut connection = peer.connect().await;
    let topic = connection.topic(1, &[]).await;
    let (mut leader, mut follower) = pair(&peer).await;
    assert_eq!(commit_of(&mut leader, &topic).await, Ok(()));
    leader.leave().await;
    follower.leave().await;
    let outcomes = commit(&mut connection, &leader.group, &topic, &[(0, 8, None)]).await;
    assert_eq!(outcomes, [Ok(())]);
    assert_eq!(commit_of(&mut leader, &topic).await, Err(UnknownMemberId));
    leader.generation = -1;
    assert_eq!(commit_of(&mut leader, &topic).await, Ok(()));
    assert_eq!(committed(&mut connection, &leader.group, None).await[0].2, 1);
}

#[tokio::test]
async fn a_client_that_has_gone_has_committed() {
    let peer = Peer::new().await;
    let mut connection = peer.connect().await;
    let group = connection.group().await;
    let topic = connection.topic(1, &[]).await;
    let mut leaving = peer.connect().await;
    leaving.send(8, &request(&NOBODY, &group, &topic, &[(0, 7, None)])).await;
    drop(leaving);
    eventually("the offset is committed", async || {
        let committed = committed(&mut connection, &group, None).await;
        committed.first().filter(|committed| committed.2 == 7).map(|_| ())
    })
    .await;
}

#[tokio::test]
async fn all_that_was_sent_before_a_client_ended_is_answered() {
    let peer = Peer::new().await;
    let mut connection = peer.connect().await;
    let group = connection.group().await;
    let topic = connection.topic(1, &[]).await;
    let mut ids = Vec::new();
    for offset in 0..20 {
        let request = request(&NOBODY, &group, &topic, &[(0, offset, None)]);
        ids.push(connection.send(8, &request).await);
    }
    connection.end().await;
    for id in ids {
        let answer = connection.receive_next::<OffsetCommitRequest>(8, id).await;
        assert_eq!(outcome(answer.topics[0].partitions[0].error_code), Ok(()));
    }
    let committed = committed(&mut peer.connect().await, &group, None).await;
    assert_eq!(committed[0].2, 19);
}
