//! `OffsetFetch` and `OffsetDelete`.

use kafka_protocol::error::ResponseError::{
    self, GroupIdNotFound, NonEmptyGroup, UnknownTopicOrPartition,
};
use kafka_protocol::messages::offset_delete_request::{
    OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use kafka_protocol::messages::{DeleteTopicsRequest, OffsetDeleteRequest, OffsetFetchRequest};

use super::commits::{commit, commit_of};
use super::connection::Connection;
use super::member::{Member, gather};
use super::{Peer, eventually, group_id, outcome, topic_name, unique};

type Outcome = Result<(), ResponseError>;

/// What a group has committed: topic, partition, offset, leader epoch, metadata. No topics asks for all.
pub(super) async fn committed(
    connection: &mut Connection,
    group: &str,
    wanted: Option<&[(&str, &[i32])]>,
) -> Vec<(String, i32, i64, i32, String)> {
    let topics = wanted.map(|wanted| {
        let topics = wanted.iter().map(|(topic, partitions)| {
            OffsetFetchRequestTopics::default()
                .with_name(topic_name(topic))
                .with_partition_indexes(partitions.to_vec())
        });
        topics.collect()
    });
    let asked =
        OffsetFetchRequestGroup::default().with_group_id(group_id(group)).with_topics(topics);
    let request = OffsetFetchRequest::default().with_groups(vec![asked]).with_require_stable(true);
    let mut response = connection.call(8, &request).await;
    let fetched = response.groups.remove(0);
    assert_eq!((outcome(fetched.error_code), fetched.group_id.as_str()), (Ok(()), group));
    let mut offsets = Vec::new();
    for topic in fetched.topics {
        for partition in topic.partitions {
            assert_eq!(partition.error_code, 0);
            let (index, offset) = (partition.partition_index, partition.committed_offset);
            let metadata = partition.metadata.unwrap().to_string();
            let epoch = partition.committed_leader_epoch;
            offsets.push((topic.name.to_string(), index, offset, epoch, metadata));
        }
    }
    offsets.sort();
    offsets
}

#[tokio::test]
async fn offsets_of_nobody_in_particular_are_kept_and_replaced() {
    let peer = Peer::new().await;
    let mut connection = peer.connect().await;
    let (group, topic) = (connection.group().await, connection.topic(3, &[]).await);
    let nothing = |index| (topic.clone(), index, -1, -1, String::new());
    let wanted = [(&*topic, &[0, 1, 2][..])];
    let before = committed(&mut connection, &group, Some(&wanted)).await;
    assert_eq!(before, [nothing(0), nothing(1), nothing(2)]);
    assert_eq!(committed(&mut connection, &group, None).await, []);

    let offsets = [(0, 7, Some("seven")), (1, 0, None)];
    assert_eq!(commit(&mut connection, &group, &topic, &offsets).await, [Ok(()), Ok(())]);
    // Whether the log goes that far, or was further before, is nobody's business.
    assert_eq!(commit(&mut connection, &group, &topic, &[(0, 5, Some("five"))]).await, [Ok(())]);
    let (five, zero) =
        ((topic.clone(), 0, 5, 3, "five".to_owned()), (topic.clone(), 1, 0, 3, String::new()));
    let after = committed(&mut connection, &group, Some(&wanted)).await;
    assert_eq!(after, [five.clone(), zero.clone(), nothing(2)]);
    assert_eq!(committed(&mut connection, &group, None).await, [five, zero]);
    let unknown = unique("unknown");
    let elsewhere = committed(&mut connection, &group, Some(&[(&unknown, &[0])])).await;
    assert_eq!(elsewhere, [(unknown, 0, -1, -1, String::new())]);
    let others = unique("group");
    assert_eq!(committed(&mut connection, &others, None).await, []);
}

#[tokio::test]
async fn offsets_are_fetched_in_every_version_and_of_several_groups() {
    let peer = Peer::new().await;
    let mut connection = peer.connect().await;
    let topic = connection.topic(1, &[]).await;
    let groups = [connection.group().await, connection.group().await];
    for (group, offset) in groups.iter().zip([10, 20]) {
        let outcomes = commit(&mut connection, group, &topic, &[(0, offset, Some("m"))]).await;
        assert_eq!(outcomes, [Ok(())]);
    }
    for version in 1..=7 {
        let wanted = OffsetFetchRequestTopic::default()
            .with_name(topic_name(&topic))
            .with_partition_indexes(vec![0]);
        let request = OffsetFetchRequest::default()
            .with_group_id(group_id(&groups[0]))
            .with_topics(Some(vec![wanted]));
        let fetched = connection.call(version, &request).await;
        let partition = &fetched.topics[0].partitions[0];
        let answer = (fetched.error_code, partition.error_code, partition.committed_offset);
        assert_eq!(answer, (0, 0, 10), "{version}");
        assert_eq!(partition.metadata.as_deref(), Some("m"), "{version}");
        let epoch = if 5 <= version { 3 } else { -1 };
        assert_eq!(partition.committed_leader_epoch, epoch, "{version}");
    }
    let asked = groups.each_ref().map(|group| {
        OffsetFetchRequestGroup::default().with_group_id(group_id(group)).with_topics(None)
    });
    let request = OffsetFetchRequest::default().with_groups(asked.to_vec());
    let mut offsets: Vec<_> = connection
        .call(8, &request)
        .await
        .groups
        .iter()
        .map(|group| group.topics[0].partitions[0].committed_offset)
        .collect();
    offsets.sort_unstable();
    assert_eq!(offsets, [10, 20]);
}

#[tokio::test]
async fn offsets_go_with_their_topic() {
    let peer = Peer::new().await;
    let mut connection = peer.connect().await;
    let group = connection.group().await;
    let (gone, stays) = (connection.topic(1, &[]).await, connection.topic(1, &[]).await);
    for topic in [&gone, &stays] {
        assert_eq!(commit(&mut connection, &group, topic, &[(0, 1, None)]).await, [Ok(())]);
    }
    let delete = DeleteTopicsRequest::default()
        .with_topic_names(vec![topic_name(&gone)])
        .with_timeout_ms(10_000);
    assert_eq!(connection.call(5, &delete).await.responses[0].error_code, 0);
    let left = [(stays, 0, 1, 3, String::new())];
    eventually("the offsets are gone", async || {
        (committed(&mut connection, &group, None).await == left).then_some(())
    })
    .await;
}

/// The answer as a whole, and those of partitions.
async fn delete(
    connection: &mut Connection,
    group: &str,
    topic: &str,
    partitions: &[i32],
) -> (Outcome, Vec<(i32, Outcome)>) {
    let partitions = partitions
        .iter()
        .map(|index| OffsetDeleteRequestPartition::default().with_partition_index(*index));
    let topic = OffsetDeleteRequestTopic::default()
        .with_name(topic_name(topic))
        .with_partitions(partitions.collect());
    let request =
        OffsetDeleteRequest::default().with_group_id(group_id(group)).with_topics(vec![topic]);
    let deleted = connection.call(0, &request).await;
    let mut outcomes = Vec::new();
    for topic in deleted.topics {
        for partition in topic.partitions {
            outcomes.push((partition.partition_index, outcome(partition.error_code)));
        }
    }
    outcomes.sort_by_key(|(index, _)| *index);
    (outcome(deleted.error_code), outcomes)
}

#[tokio::test]
async fn offsets_are_deleted_by_partition() {
    let peer = Peer::new().await;
    let mut connection = peer.connect().await;
    let (group, topic) = (connection.group().await, connection.topic(3, &[]).await);
    let offsets = [(0, 1, None), (1, 1, None)];
    assert_eq!(commit(&mut connection, &group, &topic, &offsets).await, [Ok(()), Ok(())]);
    let deleted = delete(&mut connection, &group, &topic, &[0, 2, 3]).await;
    let unknown = Err(UnknownTopicOrPartition);
    assert_eq!(deleted, (Ok(()), vec![(0, Ok(())), (2, Ok(())), (3, unknown)]));
    let left = committed(&mut connection, &group, None).await;
    assert_eq!(left, [(topic, 1, 1, 3, String::new())]);
    let elsewhere = delete(&mut connection, &group, &unique("unknown"), &[0]).await;
    assert_eq!(elsewhere, (Ok(()), vec![(0, unknown)]));
}

#[tokio::test]
async fn offsets_of_no_group_or_of_one_at_work_are_not_deleted() {
    let peer = Peer::new().await;
    let mut connection = peer.connect().await;
    let topic = connection.topic(1, &[]).await;
    let unknown = delete(&mut connection, &unique("unknown"), &topic, &[0]).await;
    assert_eq!(unknown, (Err(GroupIdNotFound), vec![]));
    let group = connection.group().await;
    let base = Member::of(&peer, &group).await;
    // Of consumers, Kafka knows to what they subscribe.
    let mut member = Member { protocol_type: "connect", ..base };
    member.join().await;
    assert_eq!(member.sync(&[]).await, Ok(String::new()));
    assert_eq!(commit_of(&mut member, &topic).await, Ok(()));
    let at_work = delete(&mut connection, &group, &topic, &[0]).await;
    assert_eq!(at_work, (Err(NonEmptyGroup), vec![]));
    let mut second = Member { protocol_type: "connect", ..Member::of(&peer, &group).await };
    gather(&mut [&mut member], &mut second).await;
    assert_eq!(committed(&mut connection, &group, None).await.len(), 1);
}
