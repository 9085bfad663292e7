//! KEDA's Kafka scaler: groups and offsets that hold replicas for ever, or never start one.

use super::document::{self, Document, Kind};
use super::settings::{containers, variables, whole};
use super::{At, Findings};
use crate::kubernetes::PARTITIONS;
use crate::yaml::Node;

pub(super) fn check(documents: &[Document<'_>], findings: &mut Findings<'_>) {
    for scaled in document::all(documents, Kind::ScaledObject) {
        counts(scaled, findings);
        target(scaled, documents, findings);
        for (at, trigger) in
            scaled.root.at("spec.triggers").map(Node::items).unwrap_or_default().iter().enumerate()
        {
            let of_kafka = trigger.get("type").and_then(Node::text);
            if let (Some("kafka" | "apache-kafka"), Some(metadata)) =
                (of_kafka, trigger.get("metadata"))
            {
                let path = format!("spec.triggers[{at}].metadata");
                kafka(scaled, metadata, &path, findings);
                group(scaled, metadata, &path, documents, findings);
            }
        }
    }
}

fn counts(scaled: &Document<'_>, findings: &mut Findings<'_>) {
    let spec = scaled.root.get("spec");
    let count = |key: &str| whole(spec, key);
    let (min, max) =
        (count("minReplicaCount").unwrap_or(0), count("maxReplicaCount").unwrap_or(100));
    if max < min {
        let expected = format!("at most maxReplicaCount, {max}");
        findings.error(
            scaled.at("spec.minReplicaCount"),
            min,
            expected,
            "the API server refuses it",
        );
    }
    if let Some(idle) = count("idleReplicaCount").filter(|idle| min <= *idle) {
        let expected = format!("less than minReplicaCount, {min}");
        findings.error(
            scaled.at("spec.idleReplicaCount"),
            idle,
            expected,
            "it is never reached; only 0 works",
        );
    }
}

fn kafka(scaled: &Document<'_>, metadata: &Node, path: &str, findings: &mut Findings<'_>) {
    let at = |key: &str| scaled.of_key(metadata, key, path);
    let text = |key: &str| metadata.get(key).map(Node::shown);
    for key in ["bootstrapServers", "consumerGroup"] {
        if text(key).is_none() {
            findings.error(
                at(key),
                "missing",
                "a value",
                "the lag is that of a group, at a broker",
            );
        }
    }
    let spec = scaled.root.get("spec");
    let to_zero = whole(spec, "minReplicaCount").unwrap_or(0) == 0;
    if text("offsetResetPolicy").is_none_or(|policy| policy == "latest") {
        let shown = text("offsetResetPolicy").unwrap_or_else(|| "latest, the default".to_owned());
        let why = "without a committed offset each partition then counts as a lag of 1, which keeps a replica for ever \
                   (keda#2033)";
        if to_zero {
            findings.error(at("offsetResetPolicy"), shown, "earliest", why);
        } else {
            findings.warning(at("offsetResetPolicy"), shown, "earliest", why);
        }
    }
    if text("scaleToZeroOnInvalidOffset").as_deref() == Some("true") {
        let why = "a group that has not committed yet never gets its first replica";
        findings.error(at("scaleToZeroOnInvalidOffset"), "true", "false", why);
    }
    let noted =
        scaled.root.at("metadata.annotations").and_then(|table| whole(Some(table), PARTITIONS));
    let topic = text("topic");
    let partitions = topic.and_then(|topic| findings.partitions(&topic)).or(noted);
    let idle_allowed = text("allowIdleConsumers").as_deref() == Some("true");
    if let (Some(max), Some(partitions)) = (whole(spec, "maxReplicaCount"), partitions)
        && partitions < max
    {
        let at = scaled.at("spec.maxReplicaCount");
        let expected = format!("at most {partitions}, the topic's partitions");
        let why = if idle_allowed {
            "further replicas get none of them"
        } else {
            "further replicas would get none of them, and KEDA starts none"
        };
        findings.error(at, max, expected, why);
    }
}

/// The `Deployment` that is scaled.
fn scaled_one<'d, 's>(
    scaled: &Document<'_>,
    documents: &'d [Document<'s>],
) -> Option<&'d Document<'s>> {
    let name = scaled.root.at("spec.scaleTargetRef.name").and_then(Node::text)?;
    document::all(documents, Kind::Deployment).find(|deployment| deployment.name() == Some(name))
}

fn target(scaled: &Document<'_>, documents: &[Document<'_>], findings: &mut Findings<'_>) {
    let reference = scaled.root.at("spec.scaleTargetRef");
    let kind = reference.and_then(|reference| reference.get("kind")).and_then(Node::text);
    if kind.is_some_and(|kind| kind != "Deployment") {
        return;
    }
    let Some(deployment) = scaled_one(scaled, documents) else {
        if document::all(documents, Kind::Deployment).next().is_some() {
            let at = scaled.at("spec.scaleTargetRef.name");
            let name = reference.and_then(|reference| reference.get("name"));
            let shown = name.map_or_else(|| "missing".to_owned(), Node::shown);
            findings.error(at, shown, "one of these files' Deployments", "nothing would be scaled");
        }
        return;
    };
    if let Some(replicas) = whole(deployment.root.get("spec"), "replicas") {
        let why = "a ScaledObject has it scaled, and each `kubectl apply` would set this again";
        findings.error(deployment.at("spec.replicas"), replicas, "no such key", why);
    }
}

/// The group whose lag counts has to be the one that reads.
fn group(
    scaled: &Document<'_>,
    metadata: &Node,
    path: &str,
    documents: &[Document<'_>],
    findings: &mut Findings<'_>,
) {
    let Some(deployment) = scaled_one(scaled, documents) else { return };
    let text = |key: &str| metadata.get(key).and_then(Node::text);
    for (place, container) in containers(deployment) {
        let env = variables(container.get("env"), &format!("{place}.env"));
        let topic = env.value("OFFRAMP_TOPIC").filter(|_| env.is_connector());
        let group = env.value("OFFRAMP_GROUP").or(topic);
        for (key, read) in [("topic", topic), ("consumerGroup", group.filter(|_| topic.is_some()))]
        {
            if let (Some(counted), Some(read)) = (text(key), read)
                && counted != read
            {
                let at: At<'_> = scaled.of_key(metadata, key, path);
                let why =
                    "it is another one that the Deployment reads, and its lag stays what it is";
                findings.error(at, counted, read, why);
            }
        }
    }
}
