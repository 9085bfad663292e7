//! Nuclio: triggers that nobody serves, and workers without a partition.

use super::Findings;
use super::document::{self, Document, Kind};
use super::duration::seconds;
use super::settings::{variables, whole};
use crate::yaml::Node;

pub(super) fn check(documents: &[Document<'_>], findings: &mut Findings<'_>) {
    for function in document::all(documents, Kind::NuclioFunction) {
        scale(function, findings);
        let env = variables(function.root.at("spec.env"), "spec.env");
        let build = function.root.at("spec.build");
        let from_image = build.and_then(|build| build.get("codeEntryType")).and_then(Node::text)
            == Some("image");
        let replaced = env.is_ours() && (from_image || build.is_none());
        for (name, trigger) in
            function.root.at("spec.triggers").map(Node::entries).unwrap_or_default()
        {
            let path = format!("spec.triggers.{}", name.name);
            let kind = trigger.get("kind").and_then(Node::text).unwrap_or_default();
            if replaced && kind != "http" {
                let at = function.of_key(trigger, "kind", &path);
                let why = "the image takes the place of Nuclio's processor, which alone serves triggers: nothing would arrive";
                findings.error(at, kind, "only http, and a connector", why);
            }
            if kind == "kafka-cluster" {
                kafka(function, trigger, &path, findings);
            }
        }
    }
}

fn scale(function: &Document<'_>, findings: &mut Findings<'_>) {
    let spec = function.root.get("spec");
    let (min, max) = (whole(spec, "minReplicas"), whole(spec, "maxReplicas"));
    if let (Some(min), Some(max)) = (min, max)
        && max < min
    {
        findings.error(
            function.at("spec.minReplicas"),
            min,
            format!("at most maxReplicas, {max}"),
            "",
        );
    }
    if min == Some(0) && function.root.at("spec.scaleToZero").is_none() {
        let why =
            "none needs it, and the platform's autoscaler and dlx, which its chart leaves out";
        findings.error(
            function.at("spec.minReplicas"),
            0,
            "`scaleToZero` beside it, or at least 1",
            why,
        );
    }
    if whole(spec, "replicas").is_some() && (min.is_some() || max.is_some()) {
        findings.error(
            function.at("spec.replicas"),
            "set",
            "no such key beside minReplicas and maxReplicas",
            "they contradict",
        );
    }
}

fn kafka(function: &Document<'_>, trigger: &Node, path: &str, findings: &mut Findings<'_>) {
    let attributes = trigger.get("attributes");
    let get = |key: &str| attributes.and_then(|attributes| attributes.get(key));
    let path_of = format!("{path}.attributes");
    let at = |key: &str| function.of_key(attributes.unwrap_or(trigger), key, &path_of);
    for key in ["topics", "brokers", "consumerGroup"] {
        let absent = get(key).is_none();
        // An address may be the trigger's `url`.
        if absent && !(key == "brokers" && trigger.get("url").is_some()) {
            findings.error(at(key), "missing", "a value", "the trigger does not start without");
        }
    }
    if get("initialOffset").and_then(Node::text).is_none_or(|offset| offset == "latest") {
        let shown =
            get("initialOffset").map_or_else(|| "latest, the default".to_owned(), Node::shown);
        findings.warning(
            at("initialOffset"),
            shown,
            "earliest",
            "what was sent before the function is ready is passed over",
        );
    }
    let time = |key: &str| get(key).map(Node::shown).and_then(|text| seconds(&text));
    if let (Some(session), Some(beat)) = (time("sessionTimeout"), time("heartbeatInterval"))
        && session < 3.0 * beat
    {
        let shown = get("heartbeatInterval").map(Node::shown).unwrap_or_default();
        findings.error(
            at("heartbeatInterval"),
            shown,
            "at most a third of sessionTimeout",
            "one late beat costs the membership",
        );
    }
    let topics = get("topics").map(Node::items).unwrap_or_default();
    let known: Option<i64> = topics.iter().map(|topic| findings.partitions(topic.text()?)).sum();
    let workers = whole(Some(trigger), "maxWorkers").or(whole(Some(trigger), "numWorkers"));
    if let (Some(workers), Some(partitions)) = (workers, known)
        && partitions < workers
    {
        let expected = format!("at most {partitions}, the topics' partitions");
        findings.error(
            function.of_key(trigger, "maxWorkers", path),
            workers,
            expected,
            "further workers get none of them",
        );
    }
}
