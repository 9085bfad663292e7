//! `DescribeConfigs`, `AlterConfigs` and `IncrementalAlterConfigs`: what is set for topics.
//!
//! The broker's own settings are its embedder's, so they can be seen, as the topics' defaults, and not changed.

use super::once;
use crate::node::{NODE_ID, Node};
use crate::topic_config::{ConfigError, Key, ListChange, Overrides, TopicConfig};
use crate::topics::TopicError;
use protocol::ErrorCode;
use protocol::configs::{
    AlterConfigsRequest, AlterConfigsResource, AlterConfigsResponse, AlteredResource,
    ConfigOperation, DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResponse,
    DescribeConfigsResult, DescribedConfig, IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse, IncrementalResource,
};

const TOPIC: i8 = 2;
const BROKER: i8 = 4;

/// Where a value comes from, and what is done to one, as the protocol numbers it.
const SET_FOR_TOPIC: i8 = 1;
const DEFAULT: i8 = 5;

const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

type Refusal = (ErrorCode, String);

pub(crate) fn describe(node: &Node, request: DescribeConfigsRequest) -> DescribeConfigsResponse {
    let resources = once(request.resources, |resource| {
        (resource.resource_type, resource.resource_name.clone())
    });
    let results = resources.into_iter().map(|resource| describe_one(node, resource));
    DescribeConfigsResponse { throttle_time_ms: 0, results: results.collect() }
}

fn describe_one(node: &Node, resource: DescribeConfigsResource) -> DescribeConfigsResult {
    let DescribeConfigsResource { resource_type, resource_name, configuration_keys } = resource;
    // No list asks for all, and so does an empty one.
    let asked = configuration_keys.unwrap_or_default();
    let is_asked = |name: &String| asked.is_empty() || asked.contains(name);
    let described = match resource_type {
        TOPIC => match node.topics.get(&resource_name) {
            Some(topic) => Ok(describe_values(&topic.config, Some(&topic.overrides))),
            None => Err(refusal(&TopicError::missing(&resource_name))),
        },
        BROKER if resource_name == NODE_ID.to_string() => {
            Ok(describe_values(node.topics.defaults(), None))
        }
        _ => Err(unknown_resource(resource_type, &resource_name)),
    };
    let mut result =
        DescribeConfigsResult { resource_type, resource_name, ..DescribeConfigsResult::default() };
    match described {
        Ok(configs) => {
            result.configs = configs.into_iter().filter(|config| is_asked(&config.name)).collect();
        }
        Err((code, message)) => (result.error_code, result.error_message) = (code, Some(message)),
    }
    result
}

/// The settings of a topic, or without `overrides` the broker's.
pub(crate) fn describe_values(
    config: &TopicConfig,
    overrides: Option<&Overrides>,
) -> Vec<DescribedConfig> {
    let describe = |key: Key| DescribedConfig {
        name: overrides.map_or_else(|| broker_name(key), |_| key.name()).to_owned(),
        value: Some(key.value(config)),
        read_only: overrides.is_none(),
        config_source: match overrides {
            Some(overrides) if overrides.has(key) => SET_FOR_TOPIC,
            _ => DEFAULT,
        },
        config_type: key.kind() as i8,
        ..DescribedConfig::default()
    };
    Key::ALL.map(describe).into()
}

/// What Kafka calls a broker's default for a topic's setting.
fn broker_name(key: Key) -> &'static str {
    match key {
        Key::CleanupPolicy => "log.cleanup.policy",
        Key::RetentionMs => "log.retention.ms",
        Key::RetentionBytes => "log.retention.bytes",
        Key::SegmentBytes => "log.segment.bytes",
        Key::SegmentMs => "log.roll.ms",
        Key::MaxMessageBytes => "message.max.bytes",
        Key::DeleteRetentionMs => "log.cleaner.delete.retention.ms",
        Key::MinCompactionLagMs => "log.cleaner.min.compaction.lag.ms",
        Key::MinCleanableDirtyRatio => "log.cleaner.min.cleanable.ratio",
    }
}

/// Settings given with a topic that is created.
pub(crate) fn overrides<'a>(
    settings: impl Iterator<Item = (&'a str, Option<&'a str>)>,
) -> Result<Overrides, ConfigError> {
    let mut overrides = Overrides::default();
    for (name, value) in settings {
        let value = value.ok_or_else(|| ConfigError::NoValue(name.to_owned()))?;
        overrides.set(name, value)?;
    }
    Ok(overrides)
}

pub(crate) async fn alter(node: &Node, request: AlterConfigsRequest) -> AlterConfigsResponse {
    let mut responses = Vec::new();
    for AlterConfigsResource { resource_type, resource_name, configs } in request.resources {
        let settings = configs.iter().map(|config| (config.name.as_str(), config.value.as_deref()));
        let altered = match topic_overrides(node, resource_type, &resource_name) {
            Ok(_) => overrides(settings).map_err(|error| invalid(&error)),
            Err(refusal) => Err(refusal),
        };
        let altered = configure(node, &resource_name, altered, request.validate_only).await;
        responses.push(response(resource_type, resource_name, altered));
    }
    AlterConfigsResponse { throttle_time_ms: 0, responses }
}

pub(crate) async fn alter_incrementally(
    node: &Node,
    request: IncrementalAlterConfigsRequest,
) -> IncrementalAlterConfigsResponse {
    let mut responses = Vec::new();
    for IncrementalResource { resource_type, resource_name, configs } in request.resources {
        let altered = topic_overrides(node, resource_type, &resource_name)
            .and_then(|overrides| apply(overrides, node.topics.defaults(), &configs));
        let altered = configure(node, &resource_name, altered, request.validate_only).await;
        responses.push(response(resource_type, resource_name, altered));
    }
    IncrementalAlterConfigsResponse { throttle_time_ms: 0, responses }
}

fn apply(
    mut overrides: Overrides,
    defaults: &TopicConfig,
    configs: &[ConfigOperation],
) -> Result<Overrides, Refusal> {
    for (nth, ConfigOperation { name, config_operation, value }) in configs.iter().enumerate() {
        if configs[..nth].iter().any(|earlier| earlier.name == *name) {
            return Err((ErrorCode::InvalidRequest, format!("`{name}` is named more than once")));
        }
        let mut change_list =
            |change, members| overrides.change_list(name, change, members, defaults);
        let applied = match (*config_operation, value) {
            (APPEND, Some(members)) => change_list(ListChange::Add, members),
            (SUBTRACT, Some(members)) => change_list(ListChange::Remove, members),
            (SET, Some(value)) => overrides.set(name, value),
            (DELETE, _) => overrides.reset(name),
            (APPEND | SUBTRACT | SET, None) => Err(ConfigError::NoValue(name.clone())),
            (operation, _) => {
                let message = format!("operation {operation} on `{name}` is none");
                return Err((ErrorCode::InvalidRequest, message));
            }
        };
        applied.map_err(|error| invalid(&error))?;
    }
    Ok(overrides)
}

/// What is set for the topic that a resource names.
fn topic_overrides(node: &Node, resource_type: i8, name: &str) -> Result<Overrides, Refusal> {
    if resource_type != TOPIC {
        return Err(unknown_resource(resource_type, name));
    }
    match node.topics.get(name) {
        Some(topic) => Ok(topic.overrides.clone()),
        None => Err(refusal(&TopicError::missing(name))),
    }
}

async fn configure(
    node: &Node,
    topic: &str,
    overrides: Result<Overrides, Refusal>,
    validate_only: bool,
) -> Result<(), Refusal> {
    let overrides = overrides?;
    if validate_only {
        return Ok(());
    }
    let topic = topic.to_owned();
    let configured = node.change_topics(move |topics| topics.configure(&topic, overrides)).await;
    configured.map_err(|error| refusal(&error))
}

fn response(
    resource_type: i8,
    resource_name: String,
    altered: Result<(), Refusal>,
) -> AlteredResource {
    let (error_code, error_message) = match altered {
        Ok(()) => (ErrorCode::None, None),
        Err((code, message)) => (code, Some(message)),
    };
    AlteredResource { error_code, error_message, resource_type, resource_name }
}

fn refusal(error: &TopicError) -> Refusal {
    (error.code(), error.to_string())
}

fn invalid(error: &ConfigError) -> Refusal {
    let code = match error {
        ConfigError::NoValue(_) => ErrorCode::InvalidRequest,
        _ => ErrorCode::InvalidConfig,
    };
    (code, error.to_string())
}

fn unknown_resource(resource_type: i8, name: &str) -> Refusal {
    let message = format!("resource `{name}` of type {resource_type} has no settings to change");
    (ErrorCode::InvalidRequest, message)
}
