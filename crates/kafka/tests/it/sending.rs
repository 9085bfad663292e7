//! What is sent is what is read, wherever it goes.

use std::time::Duration;

use kafka::{Compression, Event, Producer, Reader, SendError, Start, admin};
use rdkafka::ClientConfig;
use rdkafka::producer::{FutureProducer, FutureRecord};
use wire::Record;

use crate::{Place, record};

async fn all(servers: &str, topic: &str) -> Vec<(i32, i64, Record)> {
    let reader = Reader::open(servers, &[topic], None, Start::Beginning).await.unwrap();
    let mut found = Vec::new();
    while let Event::Record(source, record) = reader.next().await.unwrap() {
        found.push((source.partition, source.offset, record));
    }
    found
}

#[tokio::test]
async fn records_come_back_as_they_were_in_order_and_at_the_offsets_that_were_said() {
    let place = Place::start().await;
    for compression in Compression::ALL {
        let topic = compression.name();
        admin::create_topic(place.servers(), topic, Some(3), &[]).await.unwrap();
        let producer = Producer::compressing(place.servers(), compression).unwrap();
        let mut sent = Vec::new();
        for number in 0..3_000 {
            let key = (number % 3 != 0).then(|| format!("key {}", number % 7));
            let record = record(key.as_deref(), format!("{number:05}"));
            let sending = producer.enqueue(topic, &record).await.unwrap();
            sent.push((sending, record));
        }
        let found = all(place.servers(), topic).await;
        let mut offsets = Vec::new();
        for (sending, record) in sent {
            offsets.push((sending.confirmed().await.unwrap(), record));
        }
        let found =
            if found.len() < offsets.len() { all(place.servers(), topic).await } else { found };
        assert_eq!(found.len(), offsets.len());
        for (offset, record) in offsets {
            let at = found.iter().filter(|(_, at, found)| *at == offset && *found == record);
            assert_eq!(at.count(), 1, "{record:?} at {offset}");
        }
        for partition in 0..3 {
            let values = found.iter().filter(|(at, ..)| *at == partition);
            assert!(values.map(|(_, _, record)| &record.value).is_sorted());
        }
    }
}

#[tokio::test]
async fn keys_go_where_librdkafka_sends_them() {
    let place = Place::start().await;
    admin::create_topic(place.servers(), "t", Some(7), &[]).await.unwrap();
    let producer = Producer::new(place.servers()).unwrap();
    let other: FutureProducer =
        ClientConfig::new().set("bootstrap.servers", place.servers()).create().unwrap();
    for number in 0..50 {
        let key = format!("device-{number}");
        producer.send("t", &record(Some(&key), "ours")).await.unwrap();
        let record = FutureRecord::to("t").key(&key).payload("theirs");
        other.send(record, Duration::from_secs(10)).await.unwrap();
    }
    let found = all(place.servers(), "t").await;
    for number in 0..50 {
        let key = format!("device-{number}").into_bytes();
        let mut partitions: Vec<i32> = found
            .iter()
            .filter(|(.., record)| record.key.as_deref() == Some(&key[..]))
            .map(|(partition, ..)| *partition)
            .collect();
        assert_eq!(partitions.len(), 2);
        partitions.dedup();
        assert_eq!(partitions.len(), 1, "device-{number}");
    }
}

#[tokio::test]
async fn one_record_that_is_too_large_fails_alone() {
    let place = Place::start().await;
    let settings = [("max.message.bytes".to_owned(), "5000".to_owned())];
    admin::create_topic(place.servers(), "t", Some(1), &settings).await.unwrap();
    let producer = Producer::new(place.servers()).unwrap();
    let mut sent = Vec::new();
    for number in 0..40 {
        let size = if number == 20 { 6000 } else { 400 };
        let record = record(None, vec![number; size]);
        sent.push(producer.enqueue("t", &record).await.unwrap());
    }
    for (number, sent) in sent.into_iter().enumerate() {
        let outcome = sent.confirmed().await;
        if number == 20 {
            let error = outcome.unwrap_err();
            assert!(matches!(error, SendError::TooLarge { bytes: 6000, .. }), "{error}");
        } else {
            outcome.unwrap();
        }
    }
    let found = all(place.servers(), "t").await;
    let values: Vec<u8> =
        found.iter().map(|(.., record)| record.value.as_ref().unwrap()[0]).collect();
    assert_eq!(values, (0..40).filter(|number| *number != 20).collect::<Vec<u8>>());
    let error = producer.send("t", &record(None, vec![0; 17 << 20])).await.unwrap_err();
    assert!(matches!(error, SendError::TooLarge { .. }), "{error}");
}

#[tokio::test]
async fn what_is_sent_before_the_broker_is_there_arrives_and_what_is_abandoned_fails() {
    let dir = tempfile::tempdir().unwrap();
    let address = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    let producer = Producer::new(&address.to_string()).unwrap();
    let abandoned = Producer::new(&address.to_string()).unwrap();
    let early = producer.enqueue("t", &record(None, "early")).await.unwrap();
    let given_up = abandoned.enqueue("t", &record(None, "given up")).await.unwrap();
    abandoned.abandon();
    let error = given_up.confirmed().await.unwrap_err().to_string();
    assert!(error.contains("topic `t` did not take the record"), "{error}");
    let error = abandoned.send("t", &record(None, "late")).await.unwrap_err().to_string();
    assert!(error.contains("the producer has ended"), "{error}");
    let broker =
        broker::Broker::start(broker::BrokerConfig::new(dir.path(), address)).await.unwrap();
    assert_eq!(early.confirmed().await.unwrap(), 0);
    broker.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_producer_is_ready_once_it_could_send_and_says_when_it_never_will_be() {
    let place = Place::start().await;
    admin::create_topic(place.servers(), "t", Some(2), &[]).await.unwrap();
    let producer = Producer::new(place.servers()).unwrap();
    producer.prepare("t").await.unwrap();
    producer.send("t", &record(None, "first")).await.unwrap();
    producer.abandon();
    let error = producer.prepare("t").await.unwrap_err().to_string();
    assert!(error.contains("nobody is there who leads topic `t`"), "{error}");
}
