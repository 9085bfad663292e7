//! `Fetch`: how much comes back, when, and what is said where nothing can.

use kafka_protocol::error::ResponseError::{
    FetchSessionIdNotFound, OffsetOutOfRange, UnknownLeaderEpoch, UnknownTopicOrPartition,
};
use kafka_protocol::messages::{DeleteTopicsRequest, FetchRequest};
use tokio::time::{Duration, Instant};

use super::batch::{Batch, records};
use super::connection::fetch_request;
use super::records::delete_before;
use super::{Peer, outcome, topic_name, unique};
use crate::SOON;

#[tokio::test]
async fn records_come_back_from_the_batch_that_holds_the_offset() {
    let peer = Peer::new().await;
    let mut connection = peer.connect().await;
    let topic = connection.topic(1, &[]).await;
    connection.append(&topic, &Batch::of(&["a", "b", "c"])).await;
    connection.append(&topic, &Batch::of(&["d"])).await;
    for (offset, expected) in [(0, 0..4), (2, 0..4), (3, 3..4), (4, 4..4)] {
        let fetched = connection.fetch(&topic, 0, offset).await;
        let offsets: Vec<_> =
            records(fetched.records.unwrap()).into_iter().map(|(offset, ..)| offset).collect();
        assert_eq!(offsets, expected.collect::<Vec<_>>(), "{offset}");
        let marks = (fetched.high_watermark, fetched.last_stable_offset, fetched.log_start_offset);
        assert_eq!((fetched.error_code, marks), (0, (4, 4, 0)));
        assert_eq!(fetched.preferred_read_replica.0, -1);
    }
}

#[tokio::test]
async fn either_isolation_level_sees_everything_where_there_are_no_transactions() {
    let peer = Peer::new().await;
    let mut connection = peer.connect().await;
    let topic = connection.topic(1, &[]).await;
    connection.append(&topic, &Batch::of(&["a", "b"])).await;
    // Who wants committed records only is told of aborted transactions: of none.
    for (level, aborted) in [(0, None), (1, Some(0))] {
        let request = fetch_request(&[(&topic, 0, 0, 1000)]).with_isolation_level(level);
        let fetched = connection.call(12, &request).await.responses[0].partitions[0].clone();
        assert_eq!((fetched.high_watermark, fetched.last_stable_offset), (2, 2));
        assert_eq!(records(fetched.records.unwrap()).len(), 2);
        assert_eq!(fetched.aborted_transactions.map(|aborted| aborted.len()), aborted, "{level}");
    }
}

#[tokio::test]
async fn an_empty_fetch_waits_for_as_long_as_it_may() {
    let peer = Peer::new().await;
    let mut connection = peer.connect().await;
    let topic = connection.topic(1, &[]).await;
    let start = Instant::now();
    let request = fetch_request(&[(&topic, 0, 0, 1000)]).with_max_wait_ms(300);
    let fetched = connection.call(12, &request).await.responses[0].partitions[0].clone();
    assert_eq!((fetched.error_code, fetched.high_watermark), (0, 0));
    assert_eq!(fetched.records.unwrap_or_default().len(), 0);
    // Neither broker's clock is finer than a millisecond.
    assert!(Duration::from_millis(299) <= start.elapsed(), "{:?}", start.elapsed());
}

/// Waits in a fetch, appends when it has begun to wait, and returns what the fetch says.
async fn woken(peer: &Peer, min_bytes: i32, batches: &[Batch]) -> (usize, Duration) {
    let (mut waiting, mut other) = (peer.connect().await, peer.connect().await);
    let topic = other.topic(1, &[]).await;
    let request = fetch_request(&[(&topic, 0, 0, 1 << 20)])
        .with_max_wait_ms(20_000)
        .with_min_bytes(min_bytes);
    waiting.send(12, &request).await;
    for batch in batches {
        assert!(waiting.is_silent(Duration::from_millis(50)).await);
        other.append(&topic, batch).await;
    }
    let appended = Instant::now();
    let fetched = waiting.receive::<FetchRequest>(12).await.responses[0].partitions[0].clone();
    (records(fetched.records.unwrap()).len(), appended.elapsed())
}

#[tokio::test]
async fn a_waiting_fetch_is_woken_by_an_append() {
    let peer = Peer::new().await;
    let (count, waited) = woken(&peer, 1, &[Batch::of(&["a"])]).await;
    assert!(count == 1 && waited < SOON / 4, "{count} {waited:?}");
}

#[tokio::test]
async fn a_waiting_fetch_sleeps_until_there_are_enough_bytes() {
    let peer = Peer::new().await;
    let half = Batch::of(&[&"x".repeat(600)]);
    let (count, waited) = woken(&peer, 1000, &[half.clone(), half]).await;
    assert!(count == 2 && waited < SOON / 4, "{count} {waited:?}");
}

#[tokio::test]
async fn too_few_bytes_are_returned_when_the_wait_is_over() {
    let peer = Peer::new().await;
    let mut connection = peer.connect().await;
    let topic = connection.topic(1, &[]).await;
    connection.append(&topic, &Batch::of(&["a"])).await;
    let request =
        fetch_request(&[(&topic, 0, 0, 1000)]).with_max_wait_ms(300).with_min_bytes(100_000);
    let start = Instant::now();
    let fetched = connection.call(12, &request).await.responses[0].partitions[0].clone();
    assert_eq!(records(fetched.records.unwrap()).len(), 1);
    assert!(Duration::from_millis(299) <= start.elapsed(), "{:?}", start.elapsed());
}

#[tokio::test]
async fn the_first_batch_is_returned_whole_however_little_was_asked_for() {
    let peer = Peer::new().await;
    let mut connection = peer.connect().await;
    let topics = [connection.topic(1, &[]).await, connection.topic(1, &[]).await];
    for topic in &topics {
        for value in ["a", "b"] {
            connection.append(topic, &Batch::of(&[&value.repeat(500)])).await;
        }
    }
    // Whether one partition's bytes are used up, or those of the whole response.
    for (partition_bytes, all_bytes) in [(1, 1 << 20), (1 << 20, 1), (1, 1)] {
        let wanted = topics.each_ref().map(|topic| (topic.as_str(), 0, 0, partition_bytes));
        let request = fetch_request(&wanted).with_max_bytes(all_bytes);
        let mut counts: Vec<_> = connection
            .call(12, &request)
            .await
            .responses
            .iter()
            .map(|topic| {
                let fetched = &topic.partitions[0];
                assert_eq!((fetched.error_code, fetched.high_watermark), (0, 2));
                records(fetched.records.clone().unwrap_or_default()).len()
            })
            .collect();
        counts.sort_unstable();
        assert_eq!(counts, [0, 1], "{partition_bytes} {all_bytes}");
    }
}

#[tokio::test]
async fn a_partition_gets_no_more_than_it_asks_for() {
    let peer = Peer::new().await;
    let mut connection = peer.connect().await;
    let topic = connection.topic(1, &[]).await;
    for _ in 0..5 {
        connection.append(&topic, &Batch::of(&[&"x".repeat(500)])).await;
    }
    let size = Batch::of(&[&"x".repeat(500)]).bytes().len() as i32;
    for (max_bytes, count) in [(size, 1), (2 * size, 2), (3 * size - 1, 2), (9 * size, 5)] {
        let request = fetch_request(&[(&topic, 0, 0, max_bytes)]);
        let fetched = connection.call(12, &request).await.responses[0].partitions[0].clone();
        // Kafka cuts the last batch off in the middle where it does not fit; a client drops that.
        assert_eq!(records(fetched.records.unwrap()).len(), count, "{max_bytes}");
    }
}

#[tokio::test]
async fn offsets_out_of_range_are_refused_at_once_on_both_sides() {
    let peer = Peer::new().await;
    let mut connection = peer.connect().await;
    let topic = connection.topic(1, &[]).await;
    connection.append(&topic, &Batch::of(&["a", "b", "c"])).await;
    let request = delete_before(&topic, &[(0, 2)]);
    assert_eq!(connection.call(2, &request).await.topics[0].partitions[0].low_watermark, 2);
    for offset in [4, 1, -1] {
        let request = fetch_request(&[(&topic, 0, offset, 1000)]).with_max_wait_ms(20_000);
        let start = Instant::now();
        let fetched = connection.call(12, &request).await.responses[0].partitions[0].clone();
        assert_eq!(outcome(fetched.error_code), Err(OffsetOutOfRange), "{offset}");
        let marks = (fetched.high_watermark, fetched.last_stable_offset, fetched.log_start_offset);
        assert_eq!(marks, (-1, -1, -1), "{offset}");
        assert!(fetched.records.unwrap_or_default().is_empty() && start.elapsed() < SOON / 4);
    }
    assert_eq!(connection.read(&topic, 2).await.len(), 3);
}

#[tokio::test]
async fn several_partitions_are_answered_each_for_itself() {
    let peer = Peer::new().await;
    let mut connection = peer.connect().await;
    let topic = connection.topic(2, &[]).await;
    connection.produce(&topic, 1, Batch::of(&["b"]).bytes()).await;
    let unknown = unique("unknown");
    let wanted = [
        (&*topic, 0, 0, 1000),
        (&*topic, 1, 0, 1000),
        (&*topic, 2, 0, 1000),
        (&unknown, 0, 0, 1000),
    ];
    let response = connection.call(12, &fetch_request(&wanted)).await;
    let mut answers = Vec::new();
    for answered in response.responses {
        for partition in answered.partitions {
            let count = records(partition.records.unwrap_or_default()).len();
            let is_known = answered.topic.as_str() == topic;
            let high = partition.high_watermark;
            let code = outcome(partition.error_code);
            answers.push((!is_known, partition.partition_index, code, high, count));
        }
    }
    answers.sort_by_key(|answer| (answer.0, answer.1));
    let unknown = Err(UnknownTopicOrPartition);
    let expected = [
        (false, 0, Ok(()), 0, 0),
        (false, 1, Ok(()), 1, 1),
        (false, 2, unknown, -1, 0),
        (true, 0, unknown, -1, 0),
    ];
    assert_eq!((response.error_code, response.session_id, &answers[..]), (0, 0, &expected[..]));
}

#[tokio::test]
async fn an_epoch_that_has_not_come_yet_is_unknown() {
    let peer = Peer::new().await;
    let mut connection = peer.connect().await;
    let topic = connection.topic(1, &[]).await;
    for (epoch, expected) in [(-1, Ok(())), (0, Ok(())), (5, Err(UnknownLeaderEpoch))] {
        let mut request = fetch_request(&[(&topic, 0, 0, 1000)]);
        request.topics[0].partitions[0].current_leader_epoch = epoch;
        let fetched = connection.call(12, &request).await.responses[0].partitions[0].clone();
        assert_eq!(outcome(fetched.error_code), expected, "{epoch}");
    }
}

#[tokio::test]
async fn a_session_that_nobody_has_begun_does_not_go_on() {
    let peer = Peer::new().await;
    let mut connection = peer.connect().await;
    let topic = connection.topic(1, &[]).await;
    for (id, epoch, expected) in [
        (0, -1, Ok(())),
        (123, -1, Ok(())),
        (123, 1, Err(FetchSessionIdNotFound)),
        (0, 1, Err(FetchSessionIdNotFound)),
    ] {
        let request = fetch_request(&[(&topic, 0, 0, 1000)])
            .with_session_id(id)
            .with_session_epoch(epoch)
            .with_max_wait_ms(100);
        let response = connection.call(12, &request).await;
        assert_eq!(outcome(response.error_code), expected, "{id} {epoch}");
        let partitions = usize::from(expected.is_ok());
        assert_eq!((response.session_id, response.responses.len()), (0, partitions));
    }
}

#[tokio::test]
async fn a_waiting_fetch_hears_that_its_topic_is_deleted() {
    let peer = Peer::new().await;
    let (mut waiting, mut other) = (peer.connect().await, peer.connect().await);
    let topic = other.topic(1, &[]).await;
    let request = fetch_request(&[(&topic, 0, 0, 1000)]).with_max_wait_ms(20_000);
    waiting.send(12, &request).await;
    assert!(waiting.is_silent(Duration::from_millis(50)).await);
    let delete = DeleteTopicsRequest::default()
        .with_topic_names(vec![topic_name(&topic)])
        .with_timeout_ms(10_000);
    assert_eq!(other.call(5, &delete).await.responses[0].error_code, 0);
    let start = Instant::now();
    let fetched = waiting.receive::<FetchRequest>(12).await.responses[0].partitions[0].clone();
    assert_eq!(outcome(fetched.error_code), Err(UnknownTopicOrPartition));
    assert!(start.elapsed() < SOON / 4);
}

#[tokio::test]
async fn a_partition_that_is_named_twice_is_fetched_once() {
    let peer = Peer::new().await;
    let mut connection = peer.connect().await;
    let topic = connection.topic(2, &[]).await;
    connection.append(&topic, &Batch::of(&["a"])).await;
    let named = [(&*topic, 0, 0, 1000), (&topic, 1, 0, 1000), (&topic, 0, 0, 1000)];
    let fetched = connection.call(12, &fetch_request(&named)).await.responses;
    let mut partitions: Vec<_> = fetched
        .iter()
        .flat_map(|topic| &topic.partitions)
        .map(|p| (p.partition_index, p.error_code))
        .collect();
    partitions.sort_unstable();
    assert_eq!(partitions, [(0, 0), (1, 0)]);
}
