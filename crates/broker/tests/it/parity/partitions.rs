//! `CreatePartitions`.

use kafka_protocol::error::ResponseError::{
    self, InvalidPartitions, InvalidReplicaAssignment, InvalidRequest, UnknownTopicOrPartition,
};
use kafka_protocol::messages::create_partitions_request::{
    CreatePartitionsAssignment, CreatePartitionsTopic,
};
use kafka_protocol::messages::{BrokerId, CreatePartitionsRequest};

use super::batch::Batch;
use super::connection::Connection;
use super::topics::{node_id, partitions};
use super::{Peer, outcome, topic_name, unique};

async fn grow(
    connection: &mut Connection,
    topics: Vec<CreatePartitionsTopic>,
    validate_only: bool,
) -> Vec<Result<(), ResponseError>> {
    let request = CreatePartitionsRequest::default()
        .with_topics(topics)
        .with_timeout_ms(10_000)
        .with_validate_only(validate_only);
    let grown = connection.call(3, &request).await.results;
    grown.iter().map(|grown| outcome(grown.error_code)).collect()
}

fn growth(name: &str, count: i32) -> CreatePartitionsTopic {
    CreatePartitionsTopic::default()
        .with_name(topic_name(name))
        .with_count(count)
        .with_assignments(None)
}

#[tokio::test]
async fn a_topic_can_grow_and_neither_stay_nor_shrink() {
    let peer = Peer::new().await;
    let mut connection = peer.connect().await;
    let name = connection.topic(2, &[]).await;
    let unknown = unique("unknown");
    for (topic, count, validate_only, expected) in [
        (&name, 3, true, Ok(())),
        (&name, 2, false, Err(InvalidPartitions)),
        (&name, 1, false, Err(InvalidPartitions)),
        (&name, 0, false, Err(InvalidPartitions)),
        (&name, -1, false, Err(InvalidPartitions)),
        (&name, 2, true, Err(InvalidPartitions)),
        (&unknown, 3, false, Err(UnknownTopicOrPartition)),
        (&"a/b".to_owned(), 3, false, Err(UnknownTopicOrPartition)),
    ] {
        let grown = grow(&mut connection, vec![growth(topic, count)], validate_only).await;
        assert_eq!(grown, [expected], "{topic} {count}");
    }
    assert_eq!(partitions(&mut connection, &name).await, Ok(2));
    assert_eq!(grow(&mut connection, vec![growth(&name, 4)], false).await, [Ok(())]);
    connection.is_usable(&name, 4).await;
    assert_eq!(connection.produce(&name, 3, Batch::of(&["a"]).bytes()).await.base_offset, 0);
}

#[tokio::test]
async fn new_partitions_are_assigned_each_or_not_at_all() {
    let peer = Peer::new().await;
    let mut connection = peer.connect().await;
    let name = connection.topic(1, &[]).await;
    let node_id = node_id(&mut connection).await;
    let assigned = |brokers: &[&[BrokerId]]| {
        let assignments = brokers
            .iter()
            .map(|brokers| CreatePartitionsAssignment::default().with_broker_ids(brokers.to_vec()));
        growth(&name, 3).with_assignments(Some(assignments.collect()))
    };
    let (ours, nobody) = (&[node_id][..], &[BrokerId(77)][..]);
    for assignments in [&[ours][..], &[ours, ours, ours], &[ours, nobody], &[ours, &[]], &[]] {
        let grown = grow(&mut connection, vec![assigned(assignments)], false).await;
        assert_eq!(grown, [Err(InvalidReplicaAssignment)], "{assignments:?}");
    }
    let twice = vec![growth(&name, 2), growth(&name, 3)];
    assert_eq!(grow(&mut connection, twice, false).await, [Err(InvalidRequest)]);
    assert_eq!(grow(&mut connection, vec![assigned(&[ours, ours])], false).await, [Ok(())]);
    connection.is_usable(&name, 3).await;
}
