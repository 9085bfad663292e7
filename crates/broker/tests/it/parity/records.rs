//! `DeleteRecords` and `OffsetForLeaderEpoch`: where a partition begins, and where its leader's reign ends.

use kafka_protocol::error::ResponseError::{
    self, OffsetOutOfRange, PolicyViolation, UnknownLeaderEpoch, UnknownTopicOrPartition,
};
use kafka_protocol::messages::delete_records_request::{
    DeleteRecordsPartition, DeleteRecordsTopic,
};
use kafka_protocol::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use kafka_protocol::messages::{BrokerId, DeleteRecordsRequest, OffsetForLeaderEpochRequest};

use super::batch::Batch;
use super::connection::Connection;
use super::{Peer, outcome, topic_name, unique};

/// Asks to delete what is before these offsets of these partitions.
pub(super) fn delete_before(topic: &str, offsets: &[(i32, i64)]) -> DeleteRecordsRequest {
    let partitions = offsets.iter().map(|(partition, offset)| {
        DeleteRecordsPartition::default().with_partition_index(*partition).with_offset(*offset)
    });
    let topic = DeleteRecordsTopic::default()
        .with_name(topic_name(topic))
        .with_partitions(partitions.collect());
    DeleteRecordsRequest::default().with_topics(vec![topic]).with_timeout_ms(10_000)
}

async fn delete(
    connection: &mut Connection,
    topic: &str,
    partition: i32,
    offset: i64,
) -> (Result<(), ResponseError>, i64) {
    let response = connection.call(2, &delete_before(topic, &[(partition, offset)])).await;
    let deleted = &response.topics[0].partitions[0];
    assert_eq!(deleted.partition_index, partition);
    (outcome(deleted.error_code), deleted.low_watermark)
}

#[tokio::test]
async fn records_are_deleted_up_to_an_offset_and_never_come_back() {
    let peer = Peer::new().await;
    let mut connection = peer.connect().await;
    let topic = connection.topic(1, &[]).await;
    connection.append(&topic, &Batch::of(&["a", "b", "c", "d", "e"])).await;
    for (offset, expected) in [
        (2, (Ok(()), 2)),
        (1, (Ok(()), 2)),
        (0, (Ok(()), 2)),
        (6, (Err(OffsetOutOfRange), -1)),
        (-2, (Err(OffsetOutOfRange), -1)),
    ] {
        assert_eq!(delete(&mut connection, &topic, 0, offset).await, expected, "{offset}");
        assert_eq!(connection.watermarks(&topic, 0).await, (2, 5), "{offset}");
    }
    assert_eq!(delete(&mut connection, &topic, 0, -1).await, (Ok(()), 5));
    assert_eq!(connection.watermarks(&topic, 0).await, (5, 5));
    assert_eq!(connection.append(&topic, &Batch::of(&["f"])).await, 5);
}

#[tokio::test]
async fn a_retry_of_a_deleted_batch_names_the_new_start() {
    let peer = Peer::new().await;
    let mut connection = peer.connect().await;
    let topic = connection.topic(1, &[]).await;
    connection.append(&topic, &Batch::of(&["a", "b"])).await;
    assert_eq!(delete(&mut connection, &topic, 0, 1).await, (Ok(()), 1));
    let stored = connection.produce(&topic, 0, Batch::of(&["c"]).bytes()).await;
    assert_eq!((stored.base_offset, stored.log_start_offset), (2, 1));
}

#[tokio::test]
async fn records_are_not_deleted_from_what_is_not_there_or_only_compacted() {
    let peer = Peer::new().await;
    let mut connection = peer.connect().await;
    let table = connection.topic(1, &[("cleanup.policy", "compact")]).await;
    connection.append(&table, &Batch::keyed("k", Some("v"))).await;
    let unknown = unique("unknown");
    for (topic, partition, expected) in [
        (&unknown, 0, UnknownTopicOrPartition),
        (&table, 1, UnknownTopicOrPartition),
        (&table, 0, PolicyViolation),
    ] {
        let deleted = delete(&mut connection, topic, partition, 1).await;
        assert_eq!(deleted, (Err(expected), -1), "{topic} {partition}");
    }
}

#[tokio::test]
async fn the_only_epoch_ends_where_the_log_does() {
    let peer = Peer::new().await;
    let mut connection = peer.connect().await;
    let topic = connection.topic(1, &[]).await;
    connection.append(&topic, &Batch::of(&["a", "b", "c"])).await;
    let unknown = unique("unknown");
    for (topic, partition, current_epoch, epoch, expected) in [
        (&topic, 0, -1, 0, (Ok(()), 0, 3)),
        (&topic, 0, 0, 0, (Ok(()), 0, 3)),
        (&topic, 0, -1, 5, (Ok(()), -1, -1)),
        (&topic, 0, 5, 0, (Err(UnknownLeaderEpoch), -1, -1)),
        (&topic, 1, -1, 0, (Err(UnknownTopicOrPartition), -1, -1)),
        (&unknown, 0, -1, 0, (Err(UnknownTopicOrPartition), -1, -1)),
    ] {
        let asked = OffsetForLeaderPartition::default()
            .with_partition(partition)
            .with_current_leader_epoch(current_epoch)
            .with_leader_epoch(epoch);
        let asked = OffsetForLeaderTopic::default()
            .with_topic(topic_name(topic))
            .with_partitions(vec![asked]);
        let request = OffsetForLeaderEpochRequest::default()
            .with_replica_id(BrokerId(-1))
            .with_topics(vec![asked]);
        let end = connection.call(4, &request).await.topics[0].partitions[0].clone();
        let answer = (outcome(end.error_code), end.leader_epoch, end.end_offset);
        assert_eq!(answer, expected, "{partition} {current_epoch} {epoch}");
    }
}
