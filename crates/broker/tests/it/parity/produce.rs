//! `Produce` and `InitProducerId`: what is taken, where it goes, and why it is refused.

use bytes::{BufMut, Bytes};
use kafka_protocol::error::ResponseError::{
    self, CoordinatorLoadInProgress, CorruptMessage, InvalidProducerEpoch, InvalidRecord,
    InvalidRequest, InvalidRequiredAcks, MessageTooLarge, OutOfOrderSequenceNumber,
    UnknownTopicOrPartition,
};
use kafka_protocol::messages::{InitProducerIdRequest, ProduceRequest};

use super::batch::{ATTRIBUTES_AT, Batch, COUNT_AT, LAST_OFFSET_DELTA_AT, MAGIC_AT};
use super::connection::{Connection, produce_request};
use super::{Peer, eventually, outcome};

#[tokio::test]
async fn batches_get_consecutive_offsets_with_any_acks() {
    let peer = Peer::new().await;
    let mut connection = peer.connect().await;
    let topic = connection.topic(1, &[]).await;
    let batch = Batch::of(&["a", "b"]).bytes();
    for (acks, base_offset) in [(1, 0), (-1, 2)] {
        let request = produce_request(acks, &topic, 0, batch.clone());
        let response = connection.call(9, &request).await;
        let stored = &response.responses[0].partition_responses[0];
        let (offset, time) = (stored.base_offset, stored.log_append_time_ms);
        let start = stored.log_start_offset;
        assert_eq!((outcome(stored.error_code), offset, time, start), (Ok(()), base_offset, -1, 0));
        assert_eq!((&stored.error_message, stored.record_errors.len()), (&None, 0));
    }
    connection.send(9, &produce_request(0, &topic, 0, batch)).await;
    // It is not answered: the next answer is the next request's.
    assert_eq!(connection.append(&topic, &Batch::of(&["c"])).await, 6);
    let values: Vec<_> =
        connection.read(&topic, 0).await.into_iter().map(|(n, _, v)| (n, v.unwrap())).collect();
    let expected = ["a", "b", "a", "b", "a", "b", "c"].map(ToOwned::to_owned);
    assert_eq!(values, (0..).zip(expected).collect::<Vec<_>>());
}

#[tokio::test]
async fn acks_that_mean_nothing_are_refused() {
    let peer = Peer::new().await;
    let mut connection = peer.connect().await;
    let topic = connection.topic(1, &[]).await;
    let request = produce_request(2, &topic, 0, Batch::of(&["a"]).bytes());
    let refused = connection.call(9, &request).await.responses[0].partition_responses[0].clone();
    assert_eq!(outcome(refused.error_code), Err(InvalidRequiredAcks));
    let nowhere = (refused.base_offset, refused.log_append_time_ms, refused.log_start_offset);
    assert_eq!(nowhere, (-1, -1, -1));
    assert_eq!(connection.watermarks(&topic, 0).await, (0, 0));
}

#[tokio::test]
async fn a_topic_nobody_knows_is_refused_beside_one_that_is_known() {
    let peer = Peer::new().await;
    let mut connection = peer.connect().await;
    let topic = connection.topic(1, &[]).await;
    let known = produce_request(-1, &topic, 0, Batch::of(&["a"]).bytes()).topic_data.remove(0);
    let beyond = produce_request(-1, &topic, 7, Batch::of(&["a"]).bytes()).topic_data.remove(0);
    let name = super::unique("unknown");
    let unknown = produce_request(-1, &name, 0, Batch::of(&["a"]).bytes()).topic_data.remove(0);
    let mut request = ProduceRequest::default().with_acks(-1).with_timeout_ms(10_000);
    request.topic_data = vec![
        known.clone().with_partition_data([known.partition_data, beyond.partition_data].concat()),
    ];
    request.topic_data.push(unknown);
    let response = connection.call(9, &request).await;
    let mut outcomes = Vec::new();
    for answered in response.responses {
        for partition in answered.partition_responses {
            let offsets = (partition.base_offset, partition.log_start_offset);
            let is_known = answered.name.as_str() == topic;
            outcomes.push((is_known, partition.index, outcome(partition.error_code), offsets));
        }
    }
    outcomes.sort_by_key(|(is_known, index, ..)| (!is_known, *index));
    let refused = Err(UnknownTopicOrPartition);
    let expected =
        [(true, 0, Ok(()), (0, 0)), (true, 7, refused, (-1, -1)), (false, 0, refused, (-1, -1))];
    assert_eq!(outcomes, expected);
}

async fn refusal(connection: &mut Connection, topic: &str, batch: Bytes) -> ResponseError {
    let response = connection.produce(topic, 0, batch).await;
    let offsets = (response.base_offset, response.log_append_time_ms, response.log_start_offset);
    assert_eq!((offsets.0, offsets.1), (-1, -1), "{response:?}");
    outcome(response.error_code).unwrap_err()
}

#[tokio::test]
async fn what_is_not_one_whole_batch_is_refused_with_its_reason() {
    let peer = Peer::new().await;
    let mut connection = peer.connect().await;
    let topic = connection.topic(1, &[("max.message.bytes", "1000")]).await;
    let batch = Batch::of(&["a", "b"]);
    let good = batch.bytes();
    let mut corrupt = good.to_vec();
    *corrupt.last_mut().unwrap() ^= 1;
    let refused = [
        ("too large", Batch::of(&[&"x".repeat(1000)]).bytes(), MessageTooLarge),
        ("a wrong checksum", corrupt.into(), CorruptMessage),
        ("an old magic", batch.edited(|b| b[MAGIC_AT] = 1), InvalidRecord),
        ("a magic from the future", batch.edited(|b| b[MAGIC_AT] = 3), CorruptMessage),
        ("no batch", Bytes::new(), InvalidRecord),
        ("two batches", [&good[..], &good[..]].concat().into(), InvalidRecord),
        ("part of a batch", good.slice(..good.len() - 1), InvalidRecord),
        ("part of a header", good.slice(..30), InvalidRecord),
        ("a control batch", batch.edited(|b| b[ATTRIBUTES_AT + 1] = 0x20), InvalidRecord),
        ("a count too low", batch.edited(|b| (&mut b[COUNT_AT..]).put_i32(1)), InvalidRecord),
        (
            "offsets with a gap",
            batch.edited(|b| (&mut b[LAST_OFFSET_DELTA_AT..]).put_i32(2)),
            InvalidRecord,
        ),
    ];
    for (what, batch, expected) in refused {
        assert_eq!(refusal(&mut connection, &topic, batch).await, expected, "{what}");
    }
    assert_eq!(connection.watermarks(&topic, 0).await, (0, 0));
}

#[tokio::test]
async fn a_compacted_topic_takes_no_record_without_a_key() {
    let peer = Peer::new().await;
    let mut connection = peer.connect().await;
    let topic = connection.topic(1, &[("cleanup.policy", "compact")]).await;
    let mixed = Batch::pairs([(Some("k"), Some("v")), (None, Some("v"))].into_iter());
    let refused = connection.produce(&topic, 0, mixed.bytes()).await;
    assert_eq!(outcome(refused.error_code), Err(InvalidRecord));
    let errors: Vec<_> = refused.record_errors.iter().map(|error| error.batch_index).collect();
    assert_eq!((errors, refused.base_offset), (vec![1], -1));
    assert_eq!(connection.append(&topic, &Batch::keyed("k", None)).await, 0);
}

async fn producer_id(connection: &mut Connection) -> i64 {
    let request = InitProducerIdRequest::default()
        .with_transactional_id(None)
        .with_transaction_timeout_ms(60_000);
    // Kafka has to load a block of ids first.
    let producer = eventually("a producer id", async || {
        let answer = connection.call(4, &request).await;
        (outcome(answer.error_code) != Err(CoordinatorLoadInProgress)).then_some(answer)
    })
    .await;
    assert_eq!((outcome(producer.error_code), producer.producer_epoch), (Ok(()), 0));
    producer.producer_id.0
}

#[tokio::test]
async fn producers_get_ids_of_their_own() {
    let peer = Peer::new().await;
    let mut connection = peer.connect().await;
    let (first, second) = (producer_id(&mut connection).await, producer_id(&mut connection).await);
    assert!(0 <= first && 0 <= second && first != second, "{first} {second}");
    // An id without an epoch, or the other way round, is half of one.
    for (id, epoch) in [(first, -1), (-1, 0)] {
        let request = InitProducerIdRequest::default()
            .with_transactional_id(None)
            .with_transaction_timeout_ms(60_000)
            .with_producer_id(id.into())
            .with_producer_epoch(epoch);
        let refused = connection.call(4, &request).await;
        assert_eq!(outcome(refused.error_code), Err(InvalidRequest), "{id} {epoch}");
        assert_eq!((refused.producer_id.0, refused.producer_epoch), (-1, -1));
    }
}

#[tokio::test]
async fn a_retry_is_acknowledged_with_its_first_offset_and_stored_once() {
    let peer = Peer::new().await;
    let mut connection = peer.connect().await;
    let topic = connection.topic(1, &[]).await;
    let id = producer_id(&mut connection).await;
    let batches: Vec<_> = (0..5).map(|n| Batch::of(&["a", "b"]).from(id, 0, n * 2)).collect();
    for (batch, offset) in batches.iter().zip([0, 2, 4, 6, 8]) {
        assert_eq!(connection.append(&topic, batch).await, offset);
    }
    for (batch, offset) in batches.iter().zip([0, 2, 4, 6, 8]) {
        assert_eq!(connection.append(&topic, batch).await, offset);
    }
    assert_eq!(connection.watermarks(&topic, 0).await, (0, 10));
}

#[tokio::test]
async fn numbering_with_a_gap_or_an_overlap_is_refused() {
    let peer = Peer::new().await;
    let mut connection = peer.connect().await;
    let topic = connection.topic(1, &[]).await;
    let id = producer_id(&mut connection).await;
    // A producer nobody remembers may start anywhere.
    let start = Batch::of(&["a", "b"]).from(id, 0, 40);
    assert_eq!(connection.append(&topic, &start).await, 0);
    for sequence in [43, 41, 44] {
        let batch = Batch::of(&["a", "b"]).from(id, 0, sequence);
        let offered = connection.offer(&topic, batch.bytes()).await;
        assert_eq!(offered, Err(OutOfOrderSequenceNumber), "{sequence}");
    }
    assert_eq!(connection.append(&topic, &Batch::of(&["c"]).from(id, 0, 42)).await, 2);
}

#[tokio::test]
async fn a_new_epoch_starts_at_zero_and_ends_the_old_one() {
    let peer = Peer::new().await;
    let mut connection = peer.connect().await;
    let topic = connection.topic(1, &[]).await;
    let id = producer_id(&mut connection).await;
    let batch = |epoch, sequence| Batch::of(&["a"]).from(id, epoch, sequence).bytes();
    assert_eq!(connection.offer(&topic, batch(1, 0)).await, Ok(0));
    assert_eq!(connection.offer(&topic, batch(0, 1)).await, Err(InvalidProducerEpoch));
    assert_eq!(connection.offer(&topic, batch(2, 1)).await, Err(OutOfOrderSequenceNumber));
    assert_eq!(connection.offer(&topic, batch(2, 0)).await, Ok(1));
}

#[tokio::test]
async fn sequences_go_around() {
    let peer = Peer::new().await;
    let mut connection = peer.connect().await;
    let topic = connection.topic(1, &[]).await;
    let id = producer_id(&mut connection).await;
    let batch = |sequence| Batch::of(&["a", "b"]).from(id, 0, sequence).bytes();
    assert_eq!(connection.offer(&topic, batch(i32::MAX - 1)).await, Ok(0));
    assert_eq!(connection.offer(&topic, batch(0)).await, Ok(2));
    assert_eq!(connection.offer(&topic, batch(i32::MAX - 1)).await, Ok(0));
}
