//! OpenWhisk: its limits, which are refused late, and feeds that do other than they say.

use super::Findings;
use super::document::{self, Document, Kind};
use super::settings::whole;
use crate::yaml::{Node, Value};

const TIMEOUT_MS: std::ops::RangeInclusive<i64> = 100..=300_000;
const MEMORY_MIB: std::ops::RangeInclusive<i64> = 128..=512;
const LOG_MIB: std::ops::RangeInclusive<i64> = 0..=10;

pub(super) fn check(documents: &[Document<'_>], findings: &mut Findings<'_>) {
    for manifest in document::all(documents, Kind::WhiskManifest) {
        for (name, package) in manifest.root.get("packages").map(Node::entries).unwrap_or_default()
        {
            let path = format!("packages.{}", name.name);
            for (name, action) in package.get("actions").map(Node::entries).unwrap_or_default() {
                let path = format!("{path}.actions.{}", name.name);
                limits(manifest, action, &path, findings);
                image(manifest, action, &path, findings);
            }
            rules(manifest, package, &path, findings);
            for (name, trigger) in package.get("triggers").map(Node::entries).unwrap_or_default() {
                feed(manifest, trigger, &format!("{path}.triggers.{}", name.name), findings);
            }
        }
    }
}

fn limits(manifest: &Document<'_>, action: &Node, path: &str, findings: &mut Findings<'_>) {
    let limits = action.get("limits");
    let ranges = [
        ("timeout", TIMEOUT_MS, "milliseconds, not seconds"),
        ("memorySize", MEMORY_MIB, "MiB, unless the platform was configured otherwise"),
        ("logSize", LOG_MIB, "MiB, unless the platform was configured otherwise"),
        (
            "concurrency",
            1..=1,
            "a container has one call at a time, unless the platform was configured otherwise",
        ),
    ];
    for (key, range, why) in ranges {
        if let (Some(limits), Some(value)) =
            (limits, whole(limits, key).filter(|value| !range.contains(value)))
        {
            let expected = if range.start() == range.end() {
                range.start().to_string()
            } else {
                format!("from {} to {}", range.start(), range.end())
            };
            let at = manifest.of_key(limits, key, &format!("{path}.limits"));
            findings.error(at, value, expected, why);
        }
    }
}

fn image(manifest: &Document<'_>, action: &Node, path: &str, findings: &mut Findings<'_>) {
    let Some(image) = action.get("docker").and_then(Node::text) else {
        let native = action.get("native").and_then(Node::flag) == Some(true);
        if !native && action.get("runtime").is_none() && action.get("function").is_none() {
            let why = "an action is code, an image, or both";
            findings.error(
                manifest.of(action, path),
                "an action without either",
                "`docker` or `function`",
                why,
            );
        }
        return;
    };
    let registry = image.split_once('/').map(|(first, _)| first);
    if registry.is_some_and(|first| first.contains(['.', ':']) || first == "localhost") {
        let why =
            "images come from Docker Hub, unless `whisk.docker.image.registry` says otherwise";
        findings.warning(
            manifest.of_key(action, "docker", path),
            image,
            "an image of Docker Hub",
            why,
        );
    }
    if let Some(function) = action.at("inputs.OFFRAMP_FUNCTION").and_then(Node::text)
        && function == "connector"
    {
        let why = "a container is frozen between calls, and a connector is never called";
        let at = manifest.of_key(action, "inputs", path);
        findings.error(
            at,
            "a connector",
            "it elsewhere: as a Deployment, with Compose, or under systemd",
            why,
        );
    }
    let inputs = action.get("inputs").map(Node::entries).unwrap_or_default();
    if let Some((key, value)) = inputs.iter().find(|(key, _)| key.name.starts_with("OFFRAMP_")) {
        let why = "inputs come with each call; variables come with `--env`, or in the archive's offramp.env";
        let at = manifest.of_key(
            action.get("inputs").expect("it has entries"),
            &key.name,
            &format!("{path}.inputs"),
        );
        findings.error(at, value.shown(), "it in an offramp.env of `function`", why);
    }
}

fn rules(manifest: &Document<'_>, package: &Node, path: &str, findings: &mut Findings<'_>) {
    let names = |key: &str| -> Vec<&str> {
        let entries = package.get(key).map(Node::entries).unwrap_or_default();
        entries.iter().map(|(key, _)| key.name.as_str()).collect()
    };
    let rules = package.get("rules").map(Node::entries).unwrap_or_default();
    let mut joined = Vec::new();
    for (name, rule) in rules {
        for (key, known) in [
            ("trigger", names("triggers")),
            ("action", [names("actions"), names("sequences")].concat()),
        ] {
            let Some(value) = rule.get(key).and_then(Node::text) else { continue };
            if key == "trigger" {
                joined.push(value);
            }
            let short = value.rsplit('/').next().unwrap_or(value);
            if !value.starts_with('/') && !known.contains(&short) {
                let at = manifest.of_key(rule, key, &format!("{path}.rules.{}", name.name));
                findings.error(
                    at,
                    value,
                    format!("one of the package's: {}", known.join(", ")),
                    "the rule would join nothing",
                );
            }
        }
    }
    for trigger in names("triggers") {
        if !joined.contains(&trigger) {
            let at = manifest.at(&format!("{path}.triggers.{trigger}"));
            findings.error(
                at,
                "a trigger",
                "a rule with it",
                "a trigger without a rule fires nothing",
            );
        }
    }
}

fn feed(manifest: &Document<'_>, trigger: &Node, path: &str, findings: &mut Findings<'_>) {
    let is_kafka =
        trigger.get("feed").and_then(Node::text).is_some_and(|feed| feed.ends_with("/kafkaFeed"));
    let Some(inputs) = trigger.get("inputs").filter(|_| is_kafka) else { return };
    let at = |key: &str| manifest.of_key(inputs, key, &format!("{path}.inputs"));
    for key in ["brokers", "topic"] {
        if inputs.get(key).is_none() {
            findings.error(at(key), "missing", "a value", "the feed is not created without");
        }
    }
    if let Some(brokers) = inputs.get("brokers")
        && !matches!(brokers.value, Value::List(_))
    {
        findings.error(
            at("brokers"),
            brokers.shown(),
            "a list",
            "the feed is not created otherwise",
        );
    }
    let flag = |key: &str| inputs.get(key).and_then(Node::flag) == Some(true);
    if flag("isJSONData") && flag("isBinaryValue") {
        findings.error(
            at("isJSONData"),
            "true",
            "it or `isBinaryValue`",
            "a value is either JSON or Base64",
        );
    } else if flag("isJSONData") {
        let why = "a value that is not JSON comes as text, and one that is comes otherwise than it was sent";
        findings.warning(at("isJSONData"), "true", "false, and `isBinaryValue` true", why);
    }
}
