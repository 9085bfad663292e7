//! `CreateTopics` and `DeleteTopics`.

use kafka_protocol::error::ResponseError::{
    self, InvalidConfig, InvalidPartitions, InvalidReplicaAssignment, InvalidReplicationFactor,
    InvalidRequest, InvalidTopicException, TopicAlreadyExists, UnknownTopicOrPartition,
};
use kafka_protocol::messages::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig,
};
use kafka_protocol::messages::create_topics_response::CreatableTopicResult;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{
    BrokerId, CreateTopicsRequest, DeleteTopicsRequest, MetadataRequest,
};

use super::batch::Batch;
use super::connection::{Connection, LATEST};
use super::{Peer, eventually, outcome, text, topic_name, unique};

fn topic(name: &str, partitions: i32, replication_factor: i16) -> CreatableTopic {
    CreatableTopic::default()
        .with_name(topic_name(name))
        .with_num_partitions(partitions)
        .with_replication_factor(replication_factor)
}

fn with_setting(topic: CreatableTopic, name: &str, value: Option<&str>) -> CreatableTopic {
    let config = CreatableTopicConfig::default().with_name(text(name)).with_value(value.map(text));
    topic.with_configs(vec![config])
}

async fn create(
    connection: &mut Connection,
    topics: Vec<CreatableTopic>,
    validate_only: bool,
) -> Vec<CreatableTopicResult> {
    let request = CreateTopicsRequest::default()
        .with_topics(topics)
        .with_timeout_ms(10_000)
        .with_validate_only(validate_only);
    connection.call(7, &request).await.topics
}

async fn creates(connection: &mut Connection, topic: CreatableTopic) -> Result<(), ResponseError> {
    let name = topic.name.clone();
    let created = create(connection, vec![topic], false).await;
    assert_eq!((created.len(), &created[0].name), (1, &name));
    let created = &created[0];
    assert_eq!(created.error_message.is_none(), created.error_code == 0, "{created:?}");
    outcome(created.error_code)
}

/// Partitions of a topic, or why there are none.
pub(super) async fn partitions(
    connection: &mut Connection,
    name: &str,
) -> Result<usize, ResponseError> {
    let asked = MetadataRequestTopic::default().with_name(Some(topic_name(name)));
    let request = MetadataRequest::default()
        .with_topics(Some(vec![asked]))
        .with_allow_auto_topic_creation(false);
    let topic = connection.call(12, &request).await.topics[0].clone();
    outcome(topic.error_code).map(|()| topic.partitions.len())
}

pub(super) async fn node_id(connection: &mut Connection) -> BrokerId {
    connection.call(12, &MetadataRequest::default()).await.brokers[0].node_id
}

#[tokio::test]
async fn a_topic_is_created_with_what_was_asked_for_and_told_what_is_set() {
    let peer = Peer::new().await;
    let mut connection = peer.connect().await;
    let name = unique("topic");
    let asked = with_setting(topic(&name, 3, 1), "retention.ms", Some("1234"));
    let created = create(&mut connection, vec![asked], false).await.remove(0);
    assert_eq!((created.error_code, created.num_partitions), (0, 3));
    assert_eq!((created.replication_factor, created.topic_config_error_code), (1, 0));
    let configs = created.configs.unwrap();
    let setting = |name: &str| {
        let config = configs.iter().find(|config| config.name.as_str() == name).unwrap();
        let value = config.value.as_ref().unwrap().to_string();
        (value, config.config_source, config.read_only, config.is_sensitive)
    };
    assert_eq!(setting("retention.ms"), ("1234".to_owned(), 1, false, false));
    assert_eq!(setting("cleanup.policy"), ("delete".to_owned(), 5, false, false));
    connection.is_usable(&name, 3).await;
    assert_eq!(partitions(&mut connection, &name).await, Ok(3));
}

#[tokio::test]
async fn what_is_validated_only_is_refused_all_the_same_and_not_created() {
    let peer = Peer::new().await;
    let mut connection = peer.connect().await;
    let existing = connection.topic(1, &[]).await;
    let name = unique("topic");
    for (topic, expected) in [
        (topic(&name, 2, 1), Ok(())),
        (topic(&existing, 1, 1), Err(TopicAlreadyExists)),
        (topic(&name, 0, 1), Err(InvalidPartitions)),
        (with_setting(topic(&name, 1, 1), "retention.ms", Some("soon")), Err(InvalidConfig)),
    ] {
        let created = create(&mut connection, vec![topic], true).await;
        assert_eq!(outcome(created[0].error_code), expected);
    }
    let gone = partitions(&mut connection, &name).await;
    assert_eq!(gone, Err(UnknownTopicOrPartition));
}

#[tokio::test]
async fn numbers_that_cannot_be_are_refused_and_minus_one_is_the_default() {
    let peer = Peer::new().await;
    let mut connection = peer.connect().await;
    for (partitions, factor, expected) in [
        (0, 1, Err(InvalidPartitions)),
        (-2, 1, Err(InvalidPartitions)),
        (1, 0, Err(InvalidReplicationFactor)),
        (1, -2, Err(InvalidReplicationFactor)),
        (1, 2, Err(InvalidReplicationFactor)),
        (0, 0, Err(InvalidReplicationFactor)),
        (-1, -1, Ok(())),
        (2, -1, Ok(())),
    ] {
        let asked = topic(&unique("topic"), partitions, factor);
        let created = creates(&mut connection, asked).await;
        assert_eq!(created, expected, "{partitions} {factor}");
    }
}

#[tokio::test]
async fn names_that_exist_or_cannot_are_refused() {
    let peer = Peer::new().await;
    let mut connection = peer.connect().await;
    let existing = connection.topic(1, &[]).await;
    let refused = creates(&mut connection, topic(&existing, 1, 1)).await;
    assert_eq!(refused, Err(TopicAlreadyExists));
    for name in ["", ".", "..", "a/b", "a b", "ä", &"x".repeat(250)] {
        let refused = creates(&mut connection, topic(name, 1, 1)).await;
        assert_eq!(refused, Err(InvalidTopicException), "`{name}`");
    }
}

#[tokio::test]
async fn a_name_that_is_given_twice_is_created_neither_time() {
    let peer = Peer::new().await;
    let mut connection = peer.connect().await;
    let (twice, once) = (unique("topic"), unique("topic"));
    let asked = vec![topic(&twice, 1, 1), topic(&once, 1, 1), topic(&twice, 1, 1)];
    let mut created: Vec<_> = create(&mut connection, asked, false)
        .await
        .into_iter()
        .map(|created| (created.name.to_string(), outcome(created.error_code)))
        .collect();
    created.sort_by_key(|(name, _)| *name == once);
    assert_eq!(created, [(twice.clone(), Err(InvalidRequest)), (once.clone(), Ok(()))]);
    connection.is_usable(&once, 1).await;
    let absent = partitions(&mut connection, &twice).await;
    assert_eq!(absent, Err(UnknownTopicOrPartition));
}

#[tokio::test]
async fn settings_that_do_not_exist_or_cannot_be_are_refused() {
    let peer = Peer::new().await;
    let mut connection = peer.connect().await;
    for (name, value) in [
        ("nonsense", Some("1")),
        ("retention.ms", Some("soon")),
        ("retention.ms", Some("-2")),
        ("retention.ms", None),
        ("cleanup.policy", Some("shred")),
        ("segment.bytes", Some("9")),
        ("min.cleanable.dirty.ratio", Some("1.5")),
        ("max.message.bytes", Some("-1")),
        ("delete.retention.ms", Some("-1")),
    ] {
        let asked = with_setting(topic(&unique("topic"), 1, 1), name, value);
        let refused = creates(&mut connection, asked).await;
        assert_eq!(refused, Err(InvalidConfig), "{name} = {value:?}");
    }
}

#[tokio::test]
async fn partitions_may_be_assigned_to_the_one_broker() {
    let peer = Peer::new().await;
    let mut connection = peer.connect().await;
    let node_id = node_id(&mut connection).await;
    let assigned = |partitions, factor, assignments: &[(i32, &[BrokerId])]| {
        let assignments = assignments.iter().map(|(index, brokers)| {
            CreatableReplicaAssignment::default()
                .with_partition_index(*index)
                .with_broker_ids(brokers.to_vec())
        });
        topic(&unique("topic"), partitions, factor).with_assignments(assignments.collect())
    };
    let (ours, nobody) = (&[node_id][..], &[BrokerId(77)][..]);
    for (asked, expected) in [
        (assigned(-1, -1, &[(0, ours), (1, ours)]), Ok(())),
        (assigned(-1, -1, &[(1, ours), (0, ours)]), Ok(())),
        (assigned(-1, -1, &[(0, nobody)]), Err(InvalidReplicaAssignment)),
        (assigned(-1, -1, &[(0, &[])]), Err(InvalidReplicaAssignment)),
        (assigned(-1, -1, &[(0, &[node_id, node_id])]), Err(InvalidReplicaAssignment)),
        (assigned(-1, -1, &[(0, ours), (2, ours)]), Err(InvalidReplicaAssignment)),
        (assigned(-1, -1, &[(0, ours), (0, ours)]), Err(InvalidReplicaAssignment)),
        (assigned(1, -1, &[(0, ours)]), Err(InvalidRequest)),
        (assigned(-1, 1, &[(0, ours)]), Err(InvalidRequest)),
    ] {
        let message = format!("{asked:?}");
        assert_eq!(creates(&mut connection, asked).await, expected, "{message}");
    }
}

async fn delete(
    connection: &mut Connection,
    names: &[&str],
) -> Vec<(String, Result<(), ResponseError>)> {
    let request = DeleteTopicsRequest::default()
        .with_topic_names(names.iter().map(|name| topic_name(name)).collect())
        .with_timeout_ms(10_000);
    let deleted = connection.call(5, &request).await.responses;
    let outcomes = deleted.into_iter().map(|deleted| {
        let name = deleted.name.unwrap().to_string();
        (name, outcome(deleted.error_code))
    });
    outcomes.collect()
}

#[tokio::test]
async fn a_deleted_topic_is_gone_and_its_name_may_be_used_again() {
    let peer = Peer::new().await;
    let mut connection = peer.connect().await;
    let name = connection.topic(1, &[]).await;
    connection.append(&name, &Batch::of(&["a", "b"])).await;
    let impossible = delete(&mut connection, &["a/b"]).await.remove(0).1;
    assert_eq!(impossible, Err(UnknownTopicOrPartition));
    let unknown = unique("unknown");
    let mut deleted = delete(&mut connection, &[&name, &unknown]).await;
    deleted.sort_by_key(|(deleted, _)| *deleted == unknown);
    assert_eq!(deleted, [(name.clone(), Ok(())), (unknown, Err(UnknownTopicOrPartition))]);
    eventually("the topic is gone", async || {
        let listed = connection.list_offset(&name, 0, LATEST).await;
        (outcome(listed.error_code) == Err(UnknownTopicOrPartition)).then_some(())
    })
    .await;
    assert_eq!(partitions(&mut connection, &name).await, Err(UnknownTopicOrPartition));
    assert_eq!(creates(&mut connection, topic(&name, 1, 1)).await, Ok(()));
    connection.is_usable(&name, 1).await;
    assert_eq!(connection.watermarks(&name, 0).await, (0, 0));
}

#[tokio::test]
async fn a_name_that_is_given_twice_is_deleted_neither_time() {
    let peer = Peer::new().await;
    let mut connection = peer.connect().await;
    let name = connection.topic(1, &[]).await;
    let deleted = delete(&mut connection, &[&name, &name]).await;
    assert_eq!(deleted, [(name.clone(), Err(InvalidRequest))]);
    assert_eq!(connection.watermarks(&name, 0).await, (0, 0));
}
