//! OpenFaaS: what its file format lets through, and what the Community Edition refuses.

use super::document::{self, Document, Kind};
use super::duration::seconds;
use super::settings::{Variables, variables, whole};
use super::{At, Edition, Findings};
use crate::openfaas::{COMMUNITY_REPLICAS, NAMESPACE};
use crate::yaml::Node;

const SCALE: &str = "com.openfaas.scale.";
const COMMUNITY: &str = "the Community Edition refuses it";
/// Functions that the Community Edition has, at most.
const COMMUNITY_FUNCTIONS: usize = 15;
/// How long the gateway waits for a function, as its chart has it.
const GATEWAY_TIMEOUT_S: f64 = 60.0;
/// How long a watchdog lets a function run, unless told otherwise.
const EXEC_TIMEOUT_S: f64 = 30.0;

pub(super) fn check(documents: &[Document<'_>], findings: &mut Findings<'_>) {
    for stack in document::all(documents, Kind::Stack) {
        let functions = stack.root.get("functions").map(Node::entries).unwrap_or_default();
        let community = findings.settings.edition == Edition::Community;
        if community && COMMUNITY_FUNCTIONS < functions.len() {
            let expected = format!("at most {COMMUNITY_FUNCTIONS}");
            findings.error(
                stack.at("functions"),
                format!("{} functions", functions.len()),
                expected,
                COMMUNITY,
            );
        }
        for (name, function) in functions {
            let path = format!("functions.{}", name.name);
            let environment =
                variables(function.get("environment"), &format!("{path}.environment"));
            scale(stack, function, &path, findings);
            places(stack, function, &path, findings);
            timeouts(stack, &environment, findings);
            quantities(stack, function, &path, findings);
            topics(stack, function, &path, &environment, findings);
            if community {
                limits(stack, function, &path, findings);
            }
        }
    }
}

fn scale(stack: &Document<'_>, function: &Node, path: &str, findings: &mut Findings<'_>) {
    let Some(labels) = function.get("labels") else { return };
    let at = |key: &str| stack.of_key(labels, key, &format!("{path}.labels"));
    let [min, max] = ["min", "max"].map(|key| whole(Some(labels), &format!("{SCALE}{key}")));
    if let (Some(min), Some(max)) = (min, max)
        && max < min
    {
        findings.error(at("com.openfaas.scale.min"), min, format!("at most scale.max, {max}"), "");
    }
    for (key, value) in labels.entries() {
        let Some(name) = key.name.strip_prefix(SCALE) else { continue };
        if matches!(name, "min" | "max" | "factor") && value.whole().is_none() {
            let why = "what is no number counts as the default";
            findings.error(at(&key.name), value.shown(), "a whole number", why);
        }
    }
}

/// What only the Community Edition has not.
fn limits(stack: &Document<'_>, function: &Node, path: &str, findings: &mut Findings<'_>) {
    if let Some(labels) = function.get("labels") {
        let at = |key: &str| stack.of_key(labels, key, &format!("{path}.labels"));
        for (key, value) in labels.entries() {
            match key.name.strip_prefix(SCALE) {
                Some("zero" | "zero-duration") => {
                    findings.error(at(&key.name), value.shown(), "none", COMMUNITY);
                }
                Some("min" | "max") if value.whole().is_some_and(|n| COMMUNITY_REPLICAS < n) => {
                    let expected = format!("at most {COMMUNITY_REPLICAS}");
                    findings.error(
                        at(&key.name),
                        value.shown(),
                        expected,
                        "the Community Edition runs no more replicas",
                    );
                }
                Some("type" | "target" | "target-proportion") => {
                    let why = "the Community Edition scales by an alert on successful calls a second, whatever this says";
                    findings.warning(at(&key.name), value.shown(), "none", why);
                }
                _ => {}
            }
        }
    }
    let namespace = function.get("namespace").and_then(Node::text).filter(|one| *one != NAMESPACE);
    if let Some(namespace) = namespace {
        let at = stack.of_key(function, "namespace", path);
        findings.error(at, namespace, NAMESPACE, "the Community Edition has no other namespace");
    }
}

/// Labels among the annotations, and the other way round.
fn places(stack: &Document<'_>, function: &Node, path: &str, findings: &mut Findings<'_>) {
    for (key, value) in function.get("annotations").map(Node::entries).unwrap_or_default() {
        if key.name.starts_with(SCALE) {
            let at = At {
                file: stack.file,
                line: key.line,
                key: format!("{path}.annotations.{}", key.name),
            };
            findings.error(at, value.shown(), "it under `labels`", "scaling is read from labels");
        }
    }
    for (key, value) in function.get("labels").map(Node::entries).unwrap_or_default() {
        if key.name == "topic"
            || key.name.starts_with("com.openfaas.health")
            || key.name.starts_with("com.openfaas.ready")
        {
            let at =
                At { file: stack.file, line: key.line, key: format!("{path}.labels.{}", key.name) };
            findings.error(
                at,
                value.shown(),
                "it under `annotations`",
                "connectors and probes are read from annotations",
            );
        }
    }
}

/// The three of a watchdog, and the gateway's own: the shortest of them ends a call.
fn timeouts(stack: &Document<'_>, environment: &Variables<'_>, findings: &mut Findings<'_>) {
    let time = |name: &str| environment.value(name).and_then(seconds);
    let at = |name: &str| {
        let variable = environment.get(name).expect("it was just read");
        At { file: stack.file, line: variable.line, key: variable.key.clone() }
    };
    for name in ["exec_timeout", "read_timeout", "write_timeout", "healthcheck_interval"] {
        if let (Some(value), None) = (environment.value(name), time(name)) {
            findings.error(at(name), value, "a time as 30s or 5m", "");
        }
    }
    let exec = time("exec_timeout");
    let shown = |name: &str| environment.value(name).unwrap_or_default().to_owned();
    for name in ["read_timeout", "write_timeout"] {
        if let (Some(time), Some(exec)) = (time(name), exec)
            && time < exec
        {
            let expected = format!("at least exec_timeout, {}", shown("exec_timeout"));
            findings.error(
                at(name),
                shown(name),
                expected,
                "the connection ends before the call may",
            );
        }
        if let (Some(time), None) = (time(name), exec)
            && EXEC_TIMEOUT_S < time
            && !environment.is_ours()
        {
            let why = "without `exec_timeout` the watchdog ends a call after 30s";
            findings.warning(at(name), shown(name), "`exec_timeout` beside it", why);
        }
    }
    if let Some(exec) = exec
        && GATEWAY_TIMEOUT_S < exec
    {
        let why = "the gateway gives up after its own `upstream_timeout`, 60s unless the chart's values say otherwise";
        findings.warning(at("exec_timeout"), shown("exec_timeout"), "at most 60s", why);
    }
}

fn quantities(stack: &Document<'_>, function: &Node, path: &str, findings: &mut Findings<'_>) {
    for table in ["limits", "requests"] {
        for (key, value) in function.get(table).map(Node::entries).unwrap_or_default() {
            if !["memory", "cpu"].contains(&key.name.as_str()) {
                let at = At {
                    file: stack.file,
                    line: key.line,
                    key: format!("{path}.{table}.{}", key.name),
                };
                findings.error(
                    at,
                    value.shown(),
                    "`memory` or `cpu`",
                    "faas-cli passes over others",
                );
            }
        }
    }
}

/// A topic that is read twice, and more readers than there is to read.
fn topics(
    stack: &Document<'_>,
    function: &Node,
    path: &str,
    environment: &Variables<'_>,
    findings: &mut Findings<'_>,
) {
    if let Some(annotation) = function.at("annotations.topic").and_then(Node::text) {
        let others = stack.root.get("functions").map(Node::entries).unwrap_or_default();
        let reads = |topic: &str| {
            others.iter().find(|(_, other)| {
                let variables = variables(other.get("environment"), "");
                variables.is_connector() && variables.value("OFFRAMP_TOPIC") == Some(topic)
            })
        };
        for topic in annotation.split(',').map(str::trim) {
            if let Some((other, _)) = reads(topic) {
                let at = stack.at(&format!("{path}.annotations.topic"));
                let why = format!(
                    "`{}` takes the topic's records to a function as well: each comes twice",
                    other.name
                );
                findings.error(at, topic, "no connector for the same topic", &why);
            }
        }
    }
    let max = whole(function.get("labels"), "com.openfaas.scale.max");
    let topic = environment.value("OFFRAMP_TOPIC").filter(|_| environment.is_connector());
    if let (Some(max), Some(partitions)) = (max, topic.and_then(|topic| findings.partitions(topic)))
        && partitions < max
    {
        let at = stack.at(&format!("{path}.labels"));
        let expected = format!("at most {partitions}, the topic's partitions");
        findings.error(
            at,
            format!("scale.max {max}"),
            expected,
            "further connectors get none of them",
        );
    }
}
