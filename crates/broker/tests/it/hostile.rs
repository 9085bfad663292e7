//! Whatever is sent, the connection it came on is closed, and nothing else happens.

use std::time::Duration;

use bytes::BytesMut;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use kafka_protocol::messages::{
    ApiKey, ApiVersionsRequest, DescribeConfigsRequest, DescribeGroupsRequest, GroupId,
    JoinGroupRequest, JoinGroupResponse, MetadataRequest, OffsetFetchRequest, TopicName,
};
use kafka_protocol::protocol::{Decodable, StrBytes};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use crate::frames::{frame, raw_frame, response};
use crate::{Place, SOON};

async fn connect(place: &Place) -> TcpStream {
    TcpStream::connect(place.broker.local_addr()).await.unwrap()
}

/// Waits until the broker closes the connection, whatever it says before.
async fn closes(mut stream: TcpStream) {
    let mut sink = vec![0; 64 * 1024];
    let drained = async { while matches!(stream.read(&mut sink).await, Ok(1..)) {} };
    timeout(SOON, drained).await.expect("the connection is closed");
}

async fn still_serves(place: &Place) {
    let mut stream = connect(place).await;
    let request = frame(ApiKey::ApiVersions, 0, 1, &ApiVersionsRequest::default());
    stream.write_all(&request).await.unwrap();
    assert_eq!(response(&mut stream).await.0, 1);
}

#[tokio::test]
async fn lengths_that_are_none_close_the_connection_at_once() {
    let place = Place::new().await;
    for length in [0, -1, i32::MIN, i32::MAX, 17 * 1024 * 1024] {
        let mut stream = connect(&place).await;
        stream.write_all(&length.to_be_bytes()).await.unwrap();
        closes(stream).await;
    }
    // Allowed for Produce alone.
    let mut stream = connect(&place).await;
    stream.write_all(&[0, 0x20, 0, 0, 0, 3, 0, 9]).await.unwrap();
    closes(stream).await;
    still_serves(&place).await;
}

#[tokio::test]
async fn other_protocols_are_closed() {
    let place = Place::new().await;
    for text in [
        "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "\x16\x03\x01\x02\x00\x01\x00\x01",
        "SSH-2.0-x\r\n",
    ] {
        let mut stream = connect(&place).await;
        stream.write_all(text.as_bytes()).await.unwrap();
        closes(stream).await;
    }
    still_serves(&place).await;
}

#[tokio::test]
async fn promised_megabytes_take_no_memory_until_they_come() {
    let place = Place::with(|config| config.bounds.stalled = Duration::from_millis(300)).await;
    let mut streams = Vec::new();
    for _ in 0..50 {
        let mut stream = connect(&place).await;
        stream.write_all(&[0, 0xf0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 1]).await.unwrap();
        streams.push(stream);
    }
    still_serves(&place).await;
    for stream in streams {
        closes(stream).await;
    }
}

#[tokio::test]
async fn huge_counts_close_the_connection() {
    let place = Place::new().await;
    let counts: [&[u8]; 3] =
        [&[0x7f, 0xff, 0xff, 0xff], &[0xff, 0xff, 0xff, 0xff, 0x0f], &[0, 1, 0x80, 0]];
    for key in 0..70 {
        for version in 0..14 {
            for count in counts {
                let mut stream = connect(&place).await;
                // Twice, and with zeros around: whichever field it meets.
                let body = [&[0, 0, 0], count, &[0; 8], count].concat();
                stream.write_all(&raw_frame(key, version, &body)).await.unwrap();
                stream.shutdown().await.unwrap();
                closes(stream).await;
            }
        }
    }
    still_serves(&place).await;
}

#[tokio::test]
async fn random_bytes_close_the_connection() {
    let place = Place::new().await;
    let seed = rand::rng().random();
    println!("seed {seed}");
    let mut random = SmallRng::seed_from_u64(seed);
    for _ in 0..2000 {
        let mut body = vec![0; random.random_range(0..200)];
        random.fill(&mut body[..]);
        let bytes = match random.random_range(0..3) {
            0 => BytesMut::from(&body[..]),
            _ => raw_frame(random.random_range(0..61), random.random_range(0..13), &body),
        };
        let mut stream = connect(&place).await;
        stream.write_all(&bytes).await.unwrap();
        stream.shutdown().await.unwrap();
        closes(stream).await;
    }
    still_serves(&place).await;
}

#[tokio::test]
async fn idle_and_stalled_connections_are_closed() {
    let place = Place::with(|config| {
        config.bounds.idle = Duration::from_millis(200);
        config.bounds.stalled = Duration::from_millis(200);
    })
    .await;
    closes(connect(&place).await).await;
    let mut stalled = connect(&place).await;
    stalled.write_all(&[0, 0, 1, 0, 0, 3]).await.unwrap();
    closes(stalled).await;
    still_serves(&place).await;
}

#[tokio::test]
async fn a_connection_beyond_the_bound_is_closed_and_leaves_room_for_the_next() {
    let place = Place::with(|config| config.bounds.connections = 2).await;
    let mut first = connect(&place).await;
    let second = connect(&place).await;
    let request = frame(ApiKey::ApiVersions, 0, 1, &ApiVersionsRequest::default());
    first.write_all(&request).await.unwrap();
    response(&mut first).await;
    closes(connect(&place).await).await;
    drop((first, second));
    let served = async {
        loop {
            let mut stream = connect(&place).await;
            let _ = stream.write_all(&request).await;
            if stream.read_u32().await.is_ok() {
                break;
            }
        }
    };
    timeout(SOON, served).await.unwrap();
}

#[tokio::test]
async fn a_frame_that_trickles_in_is_closed_even_though_it_never_stops() {
    let place = Place::with(|config| config.bounds.stalled = Duration::from_millis(400)).await;
    let mut slow = connect(&place).await;
    slow.write_all(&[0, 0, 1, 0]).await.unwrap();
    let start = Instant::now();
    let trickled = async {
        // An error means that the broker has closed the connection.
        while slow.write_all(&[0]).await.is_ok() {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(SOON, trickled).await.expect("the connection is closed");
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    still_serves(&place).await;
}

#[tokio::test]
async fn large_frames_share_their_memory_and_each_gets_its_turn() {
    const FRAME: usize = 400 * 1024;
    let place = Place::with(|config| config.bounds.memory_bytes = 1024 * 1024).await;
    // Each is a Produce request of the wrong shape, which closes its connection once it is whole.
    let whole = raw_frame(0, 3, &vec![0xff; FRAME]);
    let mut streams = Vec::new();
    for _ in 0..10 {
        let mut stream = connect(&place).await;
        stream.write_all(&whole[..9000]).await.unwrap();
        streams.push(stream);
    }
    let deadline = Instant::now() + SOON;
    while place.broker.stats().request_bytes < 2 * FRAME as u64 {
        assert!(Instant::now() < deadline, "{:?}", place.broker.stats());
        sleep(Duration::from_millis(5)).await;
    }
    assert!(place.broker.stats().request_bytes <= 1024 * 1024);
    still_serves(&place).await;
    for mut stream in streams {
        let _ = stream.write_all(&whole[9000..]).await;
        closes(stream).await;
    }
    assert_eq!(place.broker.stats().request_bytes, 0);
}

#[tokio::test]
async fn what_is_named_again_and_again_is_described_once() {
    let place = Place::new().await;
    place.broker.create_topic("t", 1).await.unwrap();
    let requests = |times| {
        let name = StrBytes::from_static_str("t");
        let topic = MetadataRequestTopic::default().with_name(Some(TopicName(name.clone())));
        let resource = DescribeConfigsResource::default()
            .with_resource_type(2)
            .with_resource_name(name.clone())
            .with_configuration_keys(None);
        let group = OffsetFetchRequestGroup::default().with_group_id(GroupId(name.clone()));
        let metadata = MetadataRequest::default().with_topics(Some(vec![topic; times]));
        let configs = DescribeConfigsRequest::default().with_resources(vec![resource; times]);
        let offsets = OffsetFetchRequest::default().with_groups(vec![group; times]);
        let groups = DescribeGroupsRequest::default().with_groups(vec![GroupId(name); times]);
        [
            frame(ApiKey::Metadata, 9, 1, &metadata),
            frame(ApiKey::DescribeConfigs, 4, 1, &configs),
            frame(ApiKey::OffsetFetch, 8, 1, &offsets),
            frame(ApiKey::DescribeGroups, 5, 1, &groups),
        ]
    };
    let mut stream = connect(&place).await;
    for (once, again) in requests(1).iter().zip(&requests(1000)) {
        let mut answers = Vec::new();
        for request in [once, again] {
            stream.write_all(request).await.unwrap();
            answers.push(response(&mut stream).await.1);
        }
        assert_eq!(answers[0], answers[1]);
    }
}

/// Each is compared with each of the other members: a hundred thousand would hold up all groups for long.
#[tokio::test]
async fn a_member_knows_a_bounded_number_of_strategies_however_short_their_names() {
    let place = Place::new().await;
    let mut stream = connect(&place).await;
    for (count, expected) in [(100, 0), (10_000, 44)] {
        let protocols = (0..count).map(|n| {
            let name = StrBytes::from_string(format!("{n:x}"));
            JoinGroupRequestProtocol::default().with_name(name)
        });
        let request = JoinGroupRequest::default()
            .with_group_id(GroupId(StrBytes::from_static_str("g")))
            .with_session_timeout_ms(10_000)
            .with_protocol_type(StrBytes::from_static_str("consumer"))
            .with_protocols(protocols.collect());
        stream.write_all(&frame(ApiKey::JoinGroup, 0, 1, &request)).await.unwrap();
        let mut body = response(&mut stream).await.1;
        assert_eq!(JoinGroupResponse::decode(&mut body, 0).unwrap().error_code, expected);
    }
}
