//! `DescribeConfigs`, `AlterConfigs` and `IncrementalAlterConfigs`, for the settings of topics that both have.

use kafka_protocol::error::ResponseError::{
    self, InvalidConfig, InvalidRequest, InvalidTopicException, UnknownTopicOrPartition,
};
use kafka_protocol::messages::alter_configs_request as alter;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult,
};
use kafka_protocol::messages::incremental_alter_configs_request as incremental;
use kafka_protocol::messages::{
    AlterConfigsRequest, DescribeConfigsRequest, IncrementalAlterConfigsRequest,
};

use super::connection::Connection;
use super::{Peer, eventually, outcome, text, unique};

const TOPIC: i8 = 2;

/// Where a value comes from.
const SET_FOR_TOPIC: i8 = 1;
const DEFAULT: i8 = 5;

/// Operations on a setting.
const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

async fn describe(
    connection: &mut Connection,
    resource_type: i8,
    name: &str,
    keys: Option<&[&str]>,
) -> DescribeConfigsResult {
    let resource = DescribeConfigsResource::default()
        .with_resource_type(resource_type)
        .with_resource_name(text(name))
        .with_configuration_keys(keys.map(|keys| keys.iter().map(|key| text(key)).collect()));
    let request = DescribeConfigsRequest::default().with_resources(vec![resource]);
    let mut results = connection.call(4, &request).await.results;
    assert_eq!(results.len(), 1);
    results.remove(0)
}

async fn setting(
    connection: &mut Connection,
    topic: &str,
    key: &str,
) -> DescribeConfigsResourceResult {
    let described = describe(connection, TOPIC, topic, Some(&[key])).await;
    assert_eq!((described.error_code, described.configs.len()), (0, 1), "{key}");
    described.configs[0].clone()
}

/// Waits for a value: Kafka answers a change before all of its parts have heard of it.
async fn becomes(connection: &mut Connection, topic: &str, key: &str, value: &str, source: i8) {
    eventually(&format!("{key} = {value}"), async || {
        let described = setting(connection, topic, key).await;
        let shown = described.value.as_ref().unwrap();
        (shown.as_str() == value && described.config_source == source).then_some(())
    })
    .await;
}

#[tokio::test]
async fn settings_are_shown_with_their_defaults_types_and_origin() {
    let peer = Peer::new().await;
    let mut connection = peer.connect().await;
    let topic = connection.topic(1, &[("retention.bytes", "1000000")]).await;
    let (list, int, long, double) = (7, 3, 5, 6);
    for (key, value, kind, source) in [
        ("cleanup.policy", "delete", list, DEFAULT),
        ("retention.ms", "604800000", long, DEFAULT),
        ("retention.bytes", "1000000", long, SET_FOR_TOPIC),
        ("segment.ms", "604800000", long, DEFAULT),
        ("delete.retention.ms", "86400000", long, DEFAULT),
        ("min.compaction.lag.ms", "0", long, DEFAULT),
        ("min.cleanable.dirty.ratio", "0.5", double, DEFAULT),
    ] {
        let described = setting(&mut connection, &topic, key).await;
        assert_eq!(described.value.as_deref(), Some(value), "{key}");
        assert_eq!((described.config_type, described.config_source), (kind, source), "{key}");
        assert_eq!((described.read_only, described.is_sensitive), (false, false), "{key}");
        assert_eq!((described.synonyms.len(), described.documentation), (0, None), "{key}");
    }
    for key in ["segment.bytes", "max.message.bytes"] {
        assert_eq!(setting(&mut connection, &topic, key).await.config_type, int, "{key}");
    }
}

#[tokio::test]
async fn settings_are_chosen_by_name() {
    let peer = Peer::new().await;
    let mut connection = peer.connect().await;
    let topic = connection.topic(1, &[]).await;
    let some = Some(&["retention.ms", "nonsense", "segment.ms"][..]);
    let described = describe(&mut connection, TOPIC, &topic, some).await;
    let mut names: Vec<_> = described.configs.iter().map(|c| c.name.to_string()).collect();
    names.sort();
    assert_eq!(names, ["retention.ms", "segment.ms"]);
    for keys in [None, Some(&[][..])] {
        let described = describe(&mut connection, TOPIC, &topic, keys).await;
        assert!(described.configs.iter().any(|c| c.name.as_str() == "segment.ms"), "{keys:?}");
    }
}

#[tokio::test]
async fn what_is_no_topic_has_no_settings() {
    let peer = Peer::new().await;
    let mut connection = peer.connect().await;
    for (resource_type, name, expected) in [
        (TOPIC, unique("unknown"), UnknownTopicOrPartition),
        (TOPIC, "a/b".to_owned(), InvalidTopicException),
        (TOPIC, String::new(), InvalidTopicException),
        (99, "x".to_owned(), InvalidRequest),
    ] {
        let described = describe(&mut connection, resource_type, &name, None).await;
        assert_eq!(outcome(described.error_code), Err(expected), "`{name}`");
        assert_eq!((described.resource_type, described.configs.len()), (resource_type, 0));
    }
}

async fn replace(
    connection: &mut Connection,
    topic: &str,
    settings: &[(&str, Option<&str>)],
    validate_only: bool,
) -> Result<(), ResponseError> {
    let configs = settings.iter().map(|(name, value)| {
        alter::AlterableConfig::default().with_name(text(name)).with_value(value.map(text))
    });
    let resource = alter::AlterConfigsResource::default()
        .with_resource_type(TOPIC)
        .with_resource_name(text(topic))
        .with_configs(configs.collect());
    let request = AlterConfigsRequest::default()
        .with_resources(vec![resource])
        .with_validate_only(validate_only);
    let altered = connection.call(2, &request).await.responses.remove(0);
    assert_eq!((altered.resource_type, altered.resource_name.as_str()), (TOPIC, topic));
    outcome(altered.error_code)
}

#[tokio::test]
async fn altering_replaces_all_that_was_set() {
    let peer = Peer::new().await;
    let mut connection = peer.connect().await;
    let topic = connection.topic(1, &[("retention.ms", "1234")]).await;
    let change = [("retention.bytes", Some("5000000"))];
    assert_eq!(replace(&mut connection, &topic, &change, true).await, Ok(()));
    assert_eq!(replace(&mut connection, &topic, &change, false).await, Ok(()));
    becomes(&mut connection, &topic, "retention.bytes", "5000000", SET_FOR_TOPIC).await;
    becomes(&mut connection, &topic, "retention.ms", "604800000", DEFAULT).await;
    assert_eq!(replace(&mut connection, &topic, &[], false).await, Ok(()));
    becomes(&mut connection, &topic, "retention.bytes", "-1", DEFAULT).await;
}

#[tokio::test]
async fn alterations_that_cannot_be_are_refused_and_change_nothing() {
    let peer = Peer::new().await;
    let mut connection = peer.connect().await;
    let topic = connection.topic(1, &[("retention.ms", "1234")]).await;
    for (settings, expected) in [
        (&[("nonsense", Some("1"))][..], InvalidConfig),
        (&[("retention.ms", Some("soon"))], InvalidConfig),
        (&[("retention.bytes", Some("7")), ("cleanup.policy", Some("shred"))], InvalidConfig),
        (&[("retention.ms", None)], InvalidRequest),
    ] {
        for validate_only in [true, false] {
            let refused = replace(&mut connection, &topic, settings, validate_only).await;
            assert_eq!(refused, Err(expected), "{settings:?}");
        }
    }
    becomes(&mut connection, &topic, "retention.ms", "1234", SET_FOR_TOPIC).await;
    becomes(&mut connection, &topic, "retention.bytes", "-1", DEFAULT).await;
}

async fn change(
    connection: &mut Connection,
    topic: &str,
    operations: &[(i8, &str, Option<&str>)],
    validate_only: bool,
) -> Result<(), ResponseError> {
    let configs = operations.iter().map(|(operation, name, value)| {
        incremental::AlterableConfig::default()
            .with_config_operation(*operation)
            .with_name(text(name))
            .with_value(value.map(text))
    });
    let resource = incremental::AlterConfigsResource::default()
        .with_resource_type(TOPIC)
        .with_resource_name(text(topic))
        .with_configs(configs.collect());
    let request = IncrementalAlterConfigsRequest::default()
        .with_resources(vec![resource])
        .with_validate_only(validate_only);
    let altered = connection.call(1, &request).await.responses.remove(0);
    assert_eq!((altered.resource_type, altered.resource_name.as_str()), (TOPIC, topic));
    outcome(altered.error_code)
}

#[tokio::test]
async fn settings_are_set_and_taken_back_one_by_one() {
    let peer = Peer::new().await;
    let mut connection = peer.connect().await;
    let topic = connection.topic(1, &[("retention.ms", "1234")]).await;
    let set = [(SET, "retention.bytes", Some("5000000"))];
    assert_eq!(change(&mut connection, &topic, &set, true).await, Ok(()));
    assert_eq!(change(&mut connection, &topic, &set, false).await, Ok(()));
    becomes(&mut connection, &topic, "retention.bytes", "5000000", SET_FOR_TOPIC).await;
    becomes(&mut connection, &topic, "retention.ms", "1234", SET_FOR_TOPIC).await;
    let both = [(DELETE, "retention.ms", None), (SET, "segment.ms", Some("777"))];
    assert_eq!(change(&mut connection, &topic, &both, false).await, Ok(()));
    becomes(&mut connection, &topic, "segment.ms", "777", SET_FOR_TOPIC).await;
    becomes(&mut connection, &topic, "retention.ms", "604800000", DEFAULT).await;
    // What is not set may be taken back.
    let again = [(DELETE, "retention.ms", None)];
    assert_eq!(change(&mut connection, &topic, &again, false).await, Ok(()));
}

#[tokio::test]
async fn a_list_grows_and_shrinks_by_its_members() {
    let peer = Peer::new().await;
    let mut connection = peer.connect().await;
    let topic = connection.topic(1, &[("cleanup.policy", "compact")]).await;
    for (operation, value, expected) in [
        (APPEND, "delete", "compact,delete"),
        (APPEND, "delete", "compact,delete"),
        (SUBTRACT, "compact", "delete"),
        (SUBTRACT, "compact", "delete"),
    ] {
        let operations = [(operation, "cleanup.policy", Some(value))];
        assert_eq!(change(&mut connection, &topic, &operations, false).await, Ok(()));
        becomes(&mut connection, &topic, "cleanup.policy", expected, SET_FOR_TOPIC).await;
    }
}

#[tokio::test]
async fn operations_that_cannot_be_are_refused_and_change_nothing() {
    let peer = Peer::new().await;
    let mut connection = peer.connect().await;
    let topic = connection.topic(1, &[("retention.ms", "1234")]).await;
    for (operations, expected) in [
        (&[(SET, "nonsense", Some("1"))][..], InvalidConfig),
        (&[(SET, "retention.ms", Some("soon"))], InvalidConfig),
        (&[(SET, "retention.ms", None)], InvalidRequest),
        (&[(APPEND, "retention.ms", Some("1"))], InvalidConfig),
        (&[(APPEND, "cleanup.policy", Some("shred"))], InvalidConfig),
        (&[(SET, "segment.ms", Some("7")), (SET, "segment.ms", Some("8"))], InvalidRequest),
    ] {
        for validate_only in [true, false] {
            let refused = change(&mut connection, &topic, operations, validate_only).await;
            assert_eq!(refused, Err(expected), "{operations:?}");
        }
    }
    let set = [(SET, "retention.ms", Some("1"))];
    for (name, expected) in
        [(&*unique("unknown"), UnknownTopicOrPartition), ("a/b", InvalidTopicException)]
    {
        assert_eq!(change(&mut connection, name, &set, false).await, Err(expected));
        let refused = replace(&mut connection, name, &[], false).await;
        assert_eq!(refused, Err(expected));
    }
    becomes(&mut connection, &topic, "retention.ms", "1234", SET_FOR_TOPIC).await;
}
