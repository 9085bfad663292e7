//! Requests made by hand: order, pipelining, versions nobody speaks.

use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestTopic;
use kafka_protocol::messages::{
    ApiKey, ApiVersionsRequest, ApiVersionsResponse, FetchRequest, FetchResponse, GroupId,
    MetadataRequest, MetadataResponse, OffsetCommitRequest, OffsetCommitResponse,
    OffsetFetchRequest, OffsetFetchResponse, RequestHeader, TopicName,
};
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use crate::{Place, SOON};

pub(crate) fn frame(key: ApiKey, version: i16, id: i32, body: &impl Encodable) -> BytesMut {
    let header = RequestHeader::default()
        .with_request_api_key(key as i16)
        .with_request_api_version(version)
        .with_correlation_id(id)
        .with_client_id(Some(StrBytes::from_static_str("by hand")));
    let mut bytes = BytesMut::new();
    header.encode(&mut bytes, key.request_header_version(version)).unwrap();
    body.encode(&mut bytes, version).unwrap();
    let mut frame = BytesMut::new();
    frame.put_u32(bytes.len() as u32);
    frame.put(bytes);
    frame
}

/// A frame with a body made by hand, behind a sound header for an API and version.
pub(crate) fn raw_frame(key: i16, version: i16, body: &[u8]) -> BytesMut {
    let mut bytes = BytesMut::new();
    bytes.put_u32(10 + body.len() as u32);
    bytes.put_i16(key);
    bytes.put_i16(version);
    bytes.put_i32(1);
    bytes.put_i16(-1);
    bytes.put_slice(body);
    bytes
}

/// The next response: its correlation id, and what follows.
pub(crate) async fn response(stream: &mut TcpStream) -> (i32, Bytes) {
    let read = async {
        let length = stream.read_u32().await.unwrap();
        let mut bytes = vec![0; length as usize];
        stream.read_exact(&mut bytes).await.unwrap();
        Bytes::from(bytes)
    };
    let mut bytes = timeout(SOON, read).await.expect("a response in time");
    (bytes.get_i32(), bytes)
}

fn metadata(topic: &'static str) -> MetadataRequest {
    let topic = MetadataRequestTopic::default().with_name(Some(name(topic)));
    MetadataRequest::default().with_topics(Some(vec![topic])).with_allow_auto_topic_creation(true)
}

fn name(topic: &'static str) -> TopicName {
    TopicName(StrBytes::from_static_str(topic))
}

fn parked_fetch(topic: &'static str) -> FetchRequest {
    let partition = FetchPartition::default().with_partition_max_bytes(1000);
    let topic = FetchTopic::default().with_topic(name(topic)).with_partitions(vec![partition]);
    FetchRequest::default().with_max_wait_ms(20_000).with_min_bytes(1).with_topics(vec![topic])
}

#[tokio::test]
async fn versions_from_the_future_are_answered_in_the_oldest() {
    let place = Place::new().await;
    let mut stream = TcpStream::connect(place.broker.local_addr()).await.unwrap();
    let mut request = BytesMut::new();
    request.put_slice(&[0, 0, 0, 11, 0, 18, 0, 99, 0, 0, 0, 7, 0xff, 0xff, 1]);
    stream.write_all(&request).await.unwrap();
    let (id, mut body) = response(&mut stream).await;
    let versions = ApiVersionsResponse::decode(&mut body, 0).unwrap();
    assert_eq!((id, versions.error_code), (7, 35));
    let own = versions.api_keys.iter().find(|api| api.api_key == 18).unwrap();
    assert_eq!((own.min_version, own.max_version), (0, 3));
    // The connection goes on with a version that both sides know.
    let request = frame(ApiKey::ApiVersions, 3, 8, &ApiVersionsRequest::default());
    stream.write_all(&request).await.unwrap();
    assert_eq!(response(&mut stream).await.0, 8);
}

#[tokio::test]
async fn requests_in_one_write_are_answered_in_order() {
    let place = Place::new().await;
    let mut stream = TcpStream::connect(place.broker.local_addr()).await.unwrap();
    let mut all = BytesMut::new();
    for id in 0..500 {
        let version = (id % 13) as i16;
        all.put(frame(ApiKey::Metadata, version, id, &metadata("t").with_topics(Some(vec![]))));
    }
    // Written and read side by side: neither end buffers without bound.
    let (mut reader, mut writer) = stream.split();
    let write = async { writer.write_all(&all).await.unwrap() };
    let read = async {
        for id in 0..500 {
            let length = reader.read_u32().await.unwrap();
            let mut bytes = vec![0; length as usize];
            reader.read_exact(&mut bytes).await.unwrap();
            assert_eq!((&bytes[..4]).get_i32(), id);
        }
    };
    timeout(SOON, async { tokio::join!(write, read) }).await.unwrap();
}

#[tokio::test]
async fn asking_for_a_topic_creates_it_where_the_client_allows_it() {
    let place = Place::with(|config| config.default_partitions = 3).await;
    let mut stream = TcpStream::connect(place.broker.local_addr()).await.unwrap();
    let refusing = metadata("t").with_allow_auto_topic_creation(false);
    for (request, expected) in
        [(refusing, (3, 0)), (metadata("t"), (0, 3)), (metadata("a/b"), (17, 0))]
    {
        stream.write_all(&frame(ApiKey::Metadata, 8, 0, &request)).await.unwrap();
        let (_, mut body) = response(&mut stream).await;
        let topics = MetadataResponse::decode(&mut body, 8).unwrap().topics;
        assert_eq!((topics[0].error_code, topics[0].partitions.len()), expected);
    }
}

const OFFSETS_VERSION: i16 = 5;

/// Commits an offset of group `g` for the first partition of topic `t`.
fn commit(offset: i64) -> OffsetCommitRequest {
    let partition = OffsetCommitRequestPartition::default().with_committed_offset(offset);
    let topic = OffsetCommitRequestTopic::default().with_name(name("t"));
    OffsetCommitRequest::default()
        .with_group_id(GroupId(StrBytes::from_static_str("g")))
        .with_generation_id_or_member_epoch(-1)
        .with_topics(vec![topic.with_partitions(vec![partition])])
}

/// What [`commit`] has committed last; -1 for nothing.
async fn committed(place: &Place) -> i64 {
    let topic = OffsetFetchRequestTopic::default().with_name(name("t"));
    let fetch = OffsetFetchRequest::default()
        .with_group_id(GroupId(StrBytes::from_static_str("g")))
        .with_topics(Some(vec![topic.with_partition_indexes(vec![0])]));
    let mut stream = TcpStream::connect(place.broker.local_addr()).await.unwrap();
    stream.write_all(&frame(ApiKey::OffsetFetch, OFFSETS_VERSION, 2, &fetch)).await.unwrap();
    let (_, mut body) = response(&mut stream).await;
    let fetched = OffsetFetchResponse::decode(&mut body, OFFSETS_VERSION).unwrap();
    fetched.topics[0].partitions[0].committed_offset
}

/// kafkajs commits -2, the beginning, for a group whose offset lies before the start of the log.
#[tokio::test]
async fn a_negative_offset_is_committed_and_kept() {
    let place = Place::new().await;
    place.broker.create_topic("t", 1).await.unwrap();
    let mut stream = TcpStream::connect(place.broker.local_addr()).await.unwrap();
    stream.write_all(&frame(ApiKey::OffsetCommit, OFFSETS_VERSION, 1, &commit(-2))).await.unwrap();
    let (_, mut body) = response(&mut stream).await;
    let answer = OffsetCommitResponse::decode(&mut body, OFFSETS_VERSION).unwrap();
    assert_eq!(answer.topics[0].partitions[0].error_code, 0);
    assert_eq!(committed(&place).await, -2);
    assert_eq!(committed(&place.restarted().await).await, -2);
}

#[tokio::test]
async fn all_that_came_whole_from_a_client_that_has_gone_is_done() {
    const LAST: i64 = 50;
    let place = Place::new().await;
    place.broker.create_topic("t", 1).await.unwrap();
    let mut all = BytesMut::new();
    all.put(frame(ApiKey::Fetch, 11, 0, &parked_fetch("t")));
    for offset in 1..=LAST {
        all.put(frame(ApiKey::OffsetCommit, OFFSETS_VERSION, 0, &commit(offset)));
    }
    // The last one is cut off.
    all.put(&frame(ApiKey::OffsetCommit, OFFSETS_VERSION, 0, &commit(99))[..20]);
    let mut stream = TcpStream::connect(place.broker.local_addr()).await.unwrap();
    stream.write_all(&all).await.unwrap();
    drop(stream);
    let deadline = Instant::now() + SOON;
    loop {
        let committed = committed(&place).await;
        if committed == LAST {
            break;
        }
        assert!(Instant::now() < deadline, "{committed}");
    }
    // The connection is gone, and no answer to the fetch is waited for.
    while place.broker.stats().connections != 0 {
        assert!(Instant::now() < deadline, "{:?}", place.broker.stats());
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_fetch_that_waits_gives_way_to_the_request_behind_it() {
    let place = Place::new().await;
    place.broker.create_topic("t", 1).await.unwrap();
    let mut stream = TcpStream::connect(place.broker.local_addr()).await.unwrap();
    let start = Instant::now();
    stream.write_all(&frame(ApiKey::Fetch, 11, 1, &parked_fetch("t"))).await.unwrap();
    let early = timeout(Duration::from_millis(50), stream.readable()).await;
    assert!(early.is_err(), "an empty fetch waits");
    stream.write_all(&frame(ApiKey::Metadata, 8, 2, &metadata("t"))).await.unwrap();
    let (id, mut body) = response(&mut stream).await;
    let fetched = FetchResponse::decode(&mut body, 11).unwrap();
    assert_eq!((id, fetched.responses[0].partitions[0].error_code), (1, 0));
    assert_eq!(response(&mut stream).await.0, 2);
    assert!(start.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn a_fetch_of_what_is_not_there_is_answered_at_once() {
    let place = Place::new().await;
    place.broker.create_topic("t", 1).await.unwrap();
    let mut stream = TcpStream::connect(place.broker.local_addr()).await.unwrap();
    let mut beyond = parked_fetch("t");
    beyond.topics[0].partitions[0].fetch_offset = 5;
    for (request, expected) in [(parked_fetch("unknown"), 3), (beyond, 1)] {
        stream.write_all(&frame(ApiKey::Fetch, 12, 1, &request)).await.unwrap();
        let (_, mut body) = response(&mut stream).await;
        body.advance(1);
        let fetched = FetchResponse::decode(&mut body, 12).unwrap();
        assert_eq!(fetched.responses[0].partitions[0].error_code, expected);
    }
}
