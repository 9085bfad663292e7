//! `ListOffsets`: the start, the end, and offsets by time.

use kafka_protocol::error::ResponseError::{
    UnknownLeaderEpoch, UnknownTopicOrPartition, UnsupportedVersion,
};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::{BrokerId, ListOffsetsRequest};

use super::batch::{Batch, now_ms};
use super::connection::{Connection, EARLIEST, LATEST};
use super::{Peer, outcome, topic_name, unique};

const NEWEST: i64 = -3;

/// Offset, timestamp and leader epoch that a time leads to.
async fn list(connection: &mut Connection, topic: &str, time: i64) -> (i64, i64, i32) {
    let listed = connection.list_offset(topic, 0, time).await;
    assert_eq!(outcome(listed.error_code), Ok(()), "{listed:?}");
    (listed.offset, listed.timestamp, listed.leader_epoch)
}

#[tokio::test]
async fn an_empty_partition_starts_and_ends_at_zero() {
    let peer = Peer::new().await;
    let mut connection = peer.connect().await;
    let topic = connection.topic(1, &[]).await;
    assert_eq!(list(&mut connection, &topic, EARLIEST).await, (0, -1, 0));
    assert_eq!(list(&mut connection, &topic, LATEST).await, (0, -1, 0));
    for time in [NEWEST, 0, now_ms()] {
        assert_eq!(list(&mut connection, &topic, time).await, (-1, -1, -1), "{time}");
    }
}

#[tokio::test]
async fn a_time_leads_to_the_first_record_that_is_not_older() {
    let peer = Peer::new().await;
    let mut connection = peer.connect().await;
    let topic = connection.topic(1, &[]).await;
    let base = now_ms() - 100_000;
    for stamps in [[base, base + 10], [base + 20, base + 30], [base + 25, base + 40]] {
        connection.append(&topic, &Batch::of(&["a", "b"]).stamped(&stamps)).await;
    }
    let mut check = async |time, expected| {
        assert_eq!(list(&mut connection, &topic, time).await, expected, "{time}");
    };
    check(EARLIEST, (0, -1, 0)).await;
    check(LATEST, (6, -1, 0)).await;
    check(NEWEST, (5, base + 40, 0)).await;
    check(0, (0, base, 0)).await;
    check(base, (0, base, 0)).await;
    check(base + 1, (1, base + 10, 0)).await;
    check(base + 11, (2, base + 20, 0)).await;
    // The offset counts, not the time: a later record is older.
    check(base + 21, (3, base + 30, 0)).await;
    check(base + 31, (5, base + 40, 0)).await;
    check(base + 41, (-1, -1, -1)).await;
}

#[tokio::test]
async fn the_newest_record_is_the_first_of_its_time_wherever_it_lies() {
    let peer = Peer::new().await;
    let mut connection = peer.connect().await;
    let topic = connection.topic(1, &[]).await;
    let base = now_ms() - 100_000;
    for stamps in [[base, base], [base + 50, base + 10], [base + 20, base + 50]] {
        connection.append(&topic, &Batch::of(&["a", "b"]).stamped(&stamps)).await;
    }
    assert_eq!(list(&mut connection, &topic, NEWEST).await, (2, base + 50, 0));
}

#[tokio::test]
async fn times_that_mean_nothing_in_a_version_are_refused() {
    let peer = Peer::new().await;
    let mut connection = peer.connect().await;
    let topic = connection.topic(1, &[]).await;
    for (version, time) in [(7, -4), (7, -5), (7, -100), (6, NEWEST), (1, NEWEST)] {
        let mut request = request(&topic, 0, -1);
        request.topics[0].partitions[0].timestamp = time;
        let listed = connection.call(version, &request).await;
        let listed = &listed.topics[0].partitions[0];
        assert_eq!(outcome(listed.error_code), Err(UnsupportedVersion), "{version} {time}");
        assert_eq!((listed.offset, listed.timestamp), (-1, -1));
    }
}

fn request(topic: &str, partition: i32, epoch: i32) -> ListOffsetsRequest {
    let partition = ListOffsetsPartition::default()
        .with_partition_index(partition)
        .with_current_leader_epoch(epoch)
        .with_timestamp(LATEST);
    let topic =
        ListOffsetsTopic::default().with_name(topic_name(topic)).with_partitions(vec![partition]);
    ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_topics(vec![topic])
}

#[tokio::test]
async fn what_is_not_there_has_no_offsets() {
    let peer = Peer::new().await;
    let mut connection = peer.connect().await;
    let topic = connection.topic(1, &[]).await;
    for (topic, partition, epoch, expected) in [
        (unique("unknown"), 0, -1, UnknownTopicOrPartition),
        (topic.clone(), 1, -1, UnknownTopicOrPartition),
        (topic, 0, 5, UnknownLeaderEpoch),
    ] {
        let listed = connection.call(7, &request(&topic, partition, epoch)).await;
        let listed = &listed.topics[0].partitions[0];
        assert_eq!(outcome(listed.error_code), Err(expected), "{topic} {partition} {epoch}");
        assert_eq!((listed.offset, listed.timestamp, listed.leader_epoch), (-1, -1, -1));
    }
}

#[tokio::test]
async fn the_end_is_the_same_for_either_isolation_level() {
    let peer = Peer::new().await;
    let mut connection = peer.connect().await;
    let topic = connection.topic(1, &[]).await;
    connection.append(&topic, &Batch::of(&["a", "b"])).await;
    for level in [0, 1] {
        let request = request(&topic, 0, 0).with_isolation_level(level);
        let listed = connection.call(7, &request).await;
        assert_eq!(listed.topics[0].partitions[0].offset, 2);
    }
}

#[tokio::test]
async fn a_partition_that_is_named_twice_is_refused_once() {
    let peer = Peer::new().await;
    let mut connection = peer.connect().await;
    let name = connection.topic(2, &[]).await;
    let partition = |index| {
        ListOffsetsPartition::default().with_partition_index(index).with_timestamp(EARLIEST)
    };
    let topic = ListOffsetsTopic::default().with_name(topic_name(&name)).with_partitions(vec![
        partition(0),
        partition(1),
        partition(0),
    ]);
    let request =
        ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_topics(vec![topic]);
    let listed = connection.call(7, &request).await.topics;
    let mut partitions: Vec<_> = listed
        .iter()
        .flat_map(|topic| &topic.partitions)
        .map(|p| (p.partition_index, p.error_code))
        .collect();
    partitions.sort_unstable();
    assert_eq!(partitions, [(0, 42), (1, 0)]);
}
