//! Compacted topics: of each key, the newest record is left.

use super::batch::{Batch, Read, now_ms};
use super::connection::Connection;
use super::{Peer, eventually};

const KEYS: usize = 5;

/// Every record begins a segment: in Kafka by its time, in our broker soon after it was written.
const SETTINGS: [(&str, &str); 4] = [
    ("cleanup.policy", "compact"),
    ("segment.ms", "100"),
    ("min.cleanable.dirty.ratio", "0"),
    ("retention.ms", "-1"),
];

/// Appends one record a second, as its time says, and then one that is in nobody's way.
async fn append(connection: &mut Connection, topic: &str, records: &[(String, Option<&str>)]) {
    let base = now_ms() - 1000 * (records.len() as i64 + 1);
    let last = ("last".to_owned(), Some("last"));
    for ((key, value), nth) in records.iter().chain([&last]).zip(0..) {
        let batch = Batch::keyed(key, *value).stamped(&[base + 1000 * nth]);
        connection.append(topic, &batch).await;
    }
}

async fn becomes(connection: &mut Connection, topic: &str, expected: &[Read]) {
    eventually("the log is compacted", async || {
        (connection.read(topic, 0).await == expected).then_some(())
    })
    .await;
}

#[tokio::test]
async fn of_each_key_the_newest_record_stays_where_it_was() {
    let peer = Peer::new().await;
    let mut connection = peer.connect().await;
    let topic = connection.topic(1, &SETTINGS).await;
    let records: Vec<_> = (0..30).map(|n| (format!("key {}", n % KEYS), Some("value"))).collect();
    append(&mut connection, &topic, &records).await;
    let read = |n: i64, key: &str| (n, Some(key.to_owned()), Some("value".to_owned()));
    let mut expected: Vec<_> =
        (25..30).map(|n| read(n, &format!("key {}", n as usize % KEYS))).collect();
    expected.push((30, Some("last".to_owned()), Some("last".to_owned())));
    becomes(&mut connection, &topic, &expected).await;
    // Offsets are as they were: the log starts where it did, and what is gone is skipped.
    assert_eq!(connection.watermarks(&topic, 0).await, (0, 31));
    assert_eq!(connection.read(&topic, 3).await, expected);
    assert_eq!(connection.read(&topic, 27).await, expected[2..]);
    assert_eq!(connection.append(&topic, &Batch::keyed("key 0", Some("newer"))).await, 31);
}

#[tokio::test]
async fn a_tombstone_takes_its_key_away_and_stays_for_a_while() {
    let peer = Peer::new().await;
    let mut connection = peer.connect().await;
    let topic = connection.topic(1, &SETTINGS).await;
    let records = [("a", Some("1")), ("b", Some("2")), ("a", None), ("b", Some("3"))];
    append(&mut connection, &topic, &records.map(|(key, value)| (key.to_owned(), value))).await;
    let read =
        |n, key: &str, value: Option<&str>| (n, Some(key.to_owned()), value.map(ToOwned::to_owned));
    let expected = [read(2, "a", None), read(3, "b", Some("3")), read(4, "last", Some("last"))];
    becomes(&mut connection, &topic, &expected).await;
}

#[tokio::test]
async fn what_is_not_compacted_keeps_every_record() {
    let peer = Peer::new().await;
    let mut connection = peer.connect().await;
    let settings = [("segment.ms", "100"), ("retention.ms", "-1")];
    let (plain, table) =
        (connection.topic(1, &settings).await, connection.topic(1, &SETTINGS).await);
    let records: Vec<_> = (0..6).map(|_| ("key".to_owned(), Some("value"))).collect();
    for topic in [&plain, &table] {
        append(&mut connection, topic, &records).await;
    }
    // By then, it would have been compacted.
    eventually("the table is compacted", async || {
        (connection.read(&table, 0).await.len() == 2).then_some(())
    })
    .await;
    assert_eq!(connection.read(&plain, 0).await.len(), 7);
}
