//! Docker Compose: brokers that nobody reaches, and records that are cut off.

use super::Findings;
use super::document::{self, Document, Kind};
use super::duration::seconds;
use super::settings::{variables, whole};
use crate::yaml::{Node, Value};

/// How long Compose waits before it kills, unless told otherwise.
const GRACE_S: f64 = 10.0;
/// What a connector takes to finish the records that it has in flight.
const DRAIN_S: f64 = 20.0;

pub(super) fn check(documents: &[Document<'_>], findings: &mut Findings<'_>) {
    for file in document::all(documents, Kind::Compose) {
        let services = file.root.get("services").map(Node::entries).unwrap_or_default();
        let known: Vec<&str> = services.iter().map(|(key, _)| key.name.as_str()).collect();
        for (name, service) in services {
            let path = format!("services.{}", name.name);
            depends(file, service, &path, &known, findings);
            replicas(file, service, &path, findings);
            volumes(file, service, &path, findings);
            let words = command(service);
            let first = words.first().map(String::as_str);
            if first == Some("broker") {
                broker(file, service, &path, &words, findings);
            }
            let env = variables(service.get("environment"), &path);
            if first == Some("up") || env.is_connector() {
                grace(file, service, &path, findings);
            }
        }
    }
}

fn command(service: &Node) -> Vec<String> {
    match service.get("command").map(|node| &node.value) {
        Some(Value::List(items)) => items.iter().map(Node::shown).collect(),
        Some(Value::Text(text)) => text.split_whitespace().map(str::to_owned).collect(),
        _ => Vec::new(),
    }
}

fn depends(
    file: &Document<'_>,
    service: &Node,
    path: &str,
    known: &[&str],
    findings: &mut Findings<'_>,
) {
    let Some(node) = service.get("depends_on") else { return };
    let names = node.items().iter().filter_map(Node::text);
    let names: Vec<&str> =
        names.chain(node.entries().iter().map(|(key, _)| key.name.as_str())).collect();
    for name in names.into_iter().filter(|name| !known.contains(name)) {
        let at = file.of_key(service, "depends_on", path);
        findings.error(
            at,
            name,
            format!("one of {}", known.join(", ")),
            "docker compose refuses it",
        );
    }
}

fn replicas(file: &Document<'_>, service: &Node, path: &str, findings: &mut Findings<'_>) {
    let replicas = whole(service.get("deploy"), "replicas").or(whole(Some(service), "scale"));
    if replicas.is_none_or(|replicas| replicas < 2) {
        return;
    }
    let shown = replicas.unwrap_or_default();
    if service.get("container_name").is_some() {
        let at = file.of_key(service, "container_name", path);
        findings.error(
            at,
            format!("set, with {shown} replicas"),
            "no such key",
            "a name is one container's",
        );
    }
    for port in service.get("ports").map(Node::items).unwrap_or_default() {
        let fixed = port.text().is_some_and(|text| text.contains(':') && !text.contains('-'));
        if fixed {
            let at = file.of(port, format!("{path}.ports"));
            findings.error(
                at,
                port.shown(),
                "no port of the host",
                "the second replica finds it taken",
            );
        }
    }
}

fn volumes(file: &Document<'_>, service: &Node, path: &str, findings: &mut Findings<'_>) {
    let known = file.root.get("volumes").map(Node::entries).unwrap_or_default();
    for volume in service.get("volumes").map(Node::items).unwrap_or_default() {
        let Some((name, _)) = volume.text().and_then(|text| text.split_once(':')) else { continue };
        let is_name = !name.starts_with(['.', '/', '~', '$']);
        if is_name && !known.iter().any(|(key, _)| key.name == name) {
            let at = file.of(volume, format!("{path}.volumes"));
            findings.error(at, name, "a volume under `volumes`", "docker compose refuses it");
        }
    }
}

fn broker(
    file: &Document<'_>,
    service: &Node,
    path: &str,
    words: &[String],
    findings: &mut Findings<'_>,
) {
    let env = variables(service.get("environment"), path);
    let says =
        |flag: &str| words.iter().any(|word| word == flag || word.starts_with(&format!("{flag}=")));
    if !says("--advertise") && env.get("OFFRAMP_BROKER_ADVERTISE").is_none() {
        let why =
            "clients are told to connect to where it listens, which is their own container to them";
        let at = file.of_key(service, "command", path);
        findings.error(at, words.join(" "), "--advertise SERVICE:PORT", why);
    }
    if service.get("volumes").is_none() {
        let why = "the log goes with the container";
        findings.warning(
            file.of_key(service, "volumes", path),
            "missing",
            "a volume for --dir",
            why,
        );
    }
}

fn grace(file: &Document<'_>, service: &Node, path: &str, findings: &mut Findings<'_>) {
    let given = service.get("stop_grace_period").map(Node::shown);
    let grace = given.as_deref().map_or(Some(GRACE_S), seconds);
    if grace.is_some_and(|grace| grace <= DRAIN_S) {
        let at = file.of_key(service, "stop_grace_period", path);
        let why = "offramp finishes what is in flight within that; records of one that is killed come again";
        let shown = given.unwrap_or_else(|| "10s, the default".to_owned());
        findings.error(at, shown, format!("more than {DRAIN_S}s"), why);
    }
}
