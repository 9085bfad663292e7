//! `ApiVersions`, `Metadata`, `FindCoordinator` and `DescribeCluster`.

use bytes::BytesMut;
use kafka_protocol::error::ResponseError::{
    self, InvalidRequest, InvalidTopicException, MismatchedEndpointType, UnknownTopicId,
    UnknownTopicOrPartition, UnsupportedEndpointType, UnsupportedVersion,
};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{
    ApiKey, ApiVersionsRequest, ApiVersionsResponse, DescribeClusterRequest,
    FindCoordinatorRequest, MetadataRequest, MetadataResponse,
};
use kafka_protocol::protocol::Decodable;
use uuid::Uuid;

use super::connection::Connection;
use super::{Peer, eventually, outcome, text, topic_name, unique};
use crate::frames::{frame, raw_frame};

#[tokio::test]
async fn versions_nobody_speaks_are_answered_in_the_oldest_with_those_of_this_api_alone() {
    let peer = Peer::new().await;
    let mut connection = peer.connect().await;
    // Its header is that of the newest version that is known.
    let mut request =
        BytesMut::from(&frame(ApiKey::ApiVersions, 3, 7, &ApiVersionsRequest::default())[..]);
    request[6..8].copy_from_slice(&99i16.to_be_bytes());
    let (id, mut body) = connection.exchange(&request).await;
    let versions = ApiVersionsResponse::decode(&mut body, 0).unwrap();
    assert_eq!((id, outcome(versions.error_code)), (7, Err(UnsupportedVersion)));
    let keys: Vec<_> = versions.api_keys.iter().map(|api| api.api_key).collect();
    assert_eq!((keys, versions.api_keys[0].min_version), (vec![18], 0));
    // The connection goes on.
    let request = ApiVersionsRequest::default()
        .with_client_software_name(text("by-hand"))
        .with_client_software_version(text("1"));
    let versions = connection.call(3, &request).await;
    assert_eq!(outcome(versions.error_code), Ok(()));
    assert!(versions.api_keys.iter().any(|api| api.api_key == 18 && 3 <= api.max_version));
}

fn metadata(topics: Option<&[&str]>, creates: bool) -> MetadataRequest {
    let topics = topics.map(|topics| {
        let asked = topics
            .iter()
            .map(|topic| MetadataRequestTopic::default().with_name(Some(topic_name(topic))));
        asked.collect()
    });
    MetadataRequest::default().with_topics(topics).with_allow_auto_topic_creation(creates)
}

/// What is said of one topic: error, internal, number of partitions.
fn answer(response: &MetadataResponse, topic: &str) -> (Result<(), ResponseError>, bool, usize) {
    let is_meant = |name: &Option<_>| *name == Some(topic_name(topic));
    let topic = response.topics.iter().find(|topic| is_meant(&topic.name)).unwrap();
    (outcome(topic.error_code), topic.is_internal, topic.partitions.len())
}

#[tokio::test]
async fn a_topic_is_described_as_led_and_in_sync() {
    let peer = Peer::new().await;
    let mut connection = peer.connect().await;
    let topic = connection.topic(3, &[]).await;
    let response = connection.call(12, &metadata(Some(&[&topic]), false)).await;
    assert_eq!(answer(&response, &topic), (Ok(()), false, 3));
    let [broker] = &response.brokers[..] else { panic!("{response:?}") };
    assert_eq!(format!("{}:{}", broker.host.as_str(), broker.port), peer.address);
    assert!(broker.rack.is_none() && response.cluster_id.is_some_and(|id| !id.is_empty()));
    assert_eq!(response.controller_id, broker.node_id);
    let described = &response.topics[0];
    assert_eq!(described.topic_authorized_operations, i32::MIN);
    let mut indexes: Vec<_> = described.partitions.iter().map(|p| p.partition_index).collect();
    indexes.sort_unstable();
    assert_eq!(indexes, [0, 1, 2]);
    for partition in &described.partitions {
        let (leader, epoch) = (partition.leader_id, partition.leader_epoch);
        assert_eq!((partition.error_code, leader, epoch), (0, broker.node_id, 0));
        assert_eq!(partition.replica_nodes, [broker.node_id]);
        assert_eq!(partition.isr_nodes, [broker.node_id]);
        assert!(partition.offline_replicas.is_empty());
    }
}

#[tokio::test]
async fn no_list_asks_for_all_topics_and_an_empty_one_for_none() {
    let peer = Peer::new().await;
    let mut connection = peer.connect().await;
    let topic = connection.topic(1, &[]).await;
    let all = connection.call(12, &metadata(None, true)).await;
    assert_eq!(answer(&all, &topic), (Ok(()), false, 1));
    let none = connection.call(12, &metadata(Some(&[]), true)).await;
    assert_eq!(none.topics.len(), 0);
    // The oldest version has no null.
    let all = connection.call(0, &metadata(Some(&[]), true)).await;
    assert_eq!(answer(&all, &topic), (Ok(()), false, 1));
}

#[tokio::test]
async fn topics_are_created_for_who_asks_for_them_and_only_then() {
    let peer = Peer::new().await;
    let mut connection = peer.connect().await;
    let topic = unique("topic");
    let unwanted = connection.call(12, &metadata(Some(&[&topic]), false)).await;
    assert_eq!(answer(&unwanted, &topic), (Err(UnknownTopicOrPartition), false, 0));
    // Kafka creates it meanwhile, and says at first that it is not there.
    let request = metadata(Some(&[&topic]), true);
    eventually("the topic is there", async || {
        let response = connection.call(12, &request).await;
        (answer(&response, &topic) == (Ok(()), false, 1)).then_some(())
    })
    .await;
    connection.is_usable(&topic, 1).await;
}

#[tokio::test]
async fn names_that_are_none_are_refused_whether_or_not_topics_are_created() {
    let peer = Peer::new().await;
    let mut connection = peer.connect().await;
    for name in ["a/b", "..", "", "ä", &"x".repeat(250)] {
        for creates in [false, true] {
            let response = connection.call(12, &metadata(Some(&[name]), creates)).await;
            let expected = (Err(InvalidTopicException), false, 0);
            assert_eq!(answer(&response, name), expected, "`{name}` {creates}");
        }
    }
}

#[tokio::test]
async fn an_id_that_no_topic_has_is_unknown() {
    let peer = Peer::new().await;
    let mut connection = peer.connect().await;
    let id = Uuid::new_v4();
    let topic = MetadataRequestTopic::default().with_name(None).with_topic_id(id);
    let request = MetadataRequest::default().with_topics(Some(vec![topic]));
    let response = connection.call(12, &request).await;
    let topic = &response.topics[0];
    assert_eq!(outcome(topic.error_code), Err(UnknownTopicId));
    assert_eq!((&topic.name, topic.topic_id, topic.partitions.len()), (&None, id, 0));
}

/// The outcome and the `host:port` of the coordinators that are found for keys.
async fn find(
    connection: &mut Connection,
    version: i16,
    key_type: i8,
    keys: &[&str],
) -> Vec<(Result<(), ResponseError>, String)> {
    let mut request = FindCoordinatorRequest::default();
    if 1 <= version {
        request.key_type = key_type;
    }
    if 4 <= version {
        request.coordinator_keys = keys.iter().map(|key| text(key)).collect();
        let response = connection.call(version, &request).await;
        let found = response.coordinators.iter().zip(keys).map(|(found, key)| {
            assert_eq!(found.key.as_str(), *key);
            (outcome(found.error_code), format!("{}:{}", found.host.as_str(), found.port))
        });
        return found.collect();
    }
    let mut found = Vec::new();
    for key in keys {
        let response = connection.call(version, &request.clone().with_key(text(key))).await;
        let address = format!("{}:{}", response.host.as_str(), response.port);
        found.push((outcome(response.error_code), address));
    }
    found
}

#[tokio::test]
async fn every_group_has_its_coordinator_in_every_version() {
    let peer = Peer::new().await;
    let mut connection = peer.connect().await;
    connection.group().await;
    let keys = [unique("group"), unique("group")];
    let keys = keys.each_ref().map(String::as_str);
    for version in 0..=4 {
        let expected = vec![(Ok(()), peer.address.clone()); 2];
        assert_eq!(find(&mut connection, version, 0, &keys).await, expected, "{version}");
    }
}

#[tokio::test]
async fn coordinators_of_nothing_known_are_not_found() {
    let peer = Peer::new().await;
    let mut connection = peer.connect().await;
    for version in 1..=3 {
        let found = find(&mut connection, version, 9, &["x"]).await;
        assert_eq!(found, [(Err(InvalidRequest), ":-1".to_owned())], "{version}");
    }
}

#[tokio::test]
async fn the_cluster_is_one_broker_that_controls_itself() {
    let peer = Peer::new().await;
    let mut connection = peer.connect().await;
    let cluster = connection.call(1, &DescribeClusterRequest::default()).await;
    assert_eq!(outcome(cluster.error_code), Ok(()));
    let [broker] = &cluster.brokers[..] else { panic!("{cluster:?}") };
    assert_eq!(format!("{}:{}", broker.host.as_str(), broker.port), peer.address);
    assert!(!cluster.cluster_id.is_empty() && broker.rack.is_none());
    assert_eq!((cluster.controller_id, cluster.endpoint_type), (broker.broker_id, 1));
    assert_eq!(cluster.cluster_authorized_operations, i32::MIN);
    for (endpoint_type, expected) in [(2, MismatchedEndpointType), (9, UnsupportedEndpointType)] {
        let request = DescribeClusterRequest::default().with_endpoint_type(endpoint_type);
        let refused = connection.call(1, &request).await;
        assert_eq!(outcome(refused.error_code), Err(expected));
        assert_eq!((refused.controller_id.0, refused.brokers.len()), (-1, 0));
    }
}

#[tokio::test]
async fn apis_and_versions_nobody_speaks_close_the_connection() {
    let peer = Peer::new().await;
    let (metadata, produce, fetch) = (3, 0, 1);
    for (key, version) in [(metadata, 99), (produce, 2), (fetch, 3), (999, 0), (-1, 0)] {
        let frame = raw_frame(key, version, &[]);
        assert!(peer.connect().await.closes(&frame).await, "{key} {version}");
    }
}
