//! Kubernetes: selectors that select nothing, and pods that are stopped too early or not admitted.

use super::Findings;
use super::document::{self, Document, Kind};
use super::settings::{containers, variables, whole};
use crate::yaml::Node;

/// What a connector takes to finish the records that it has in flight.
const DRAIN_S: i64 = 20;

pub(super) fn check(documents: &[Document<'_>], findings: &mut Findings<'_>) {
    for deployment in document::all(documents, Kind::Deployment) {
        selector(deployment, findings);
        if runs_offramp(deployment) {
            grace(deployment, findings);
            restricted(deployment, findings);
            connectors(deployment, findings);
        }
    }
    for service in document::all(documents, Kind::Service) {
        serves(service, documents, findings);
    }
}

fn runs_offramp(deployment: &Document<'_>) -> bool {
    containers(deployment).iter().any(|(path, container)| {
        let args = container.get("args").map(Node::items).unwrap_or_default();
        let is_up = args.first().and_then(Node::text) == Some("up");
        is_up || variables(container.get("env"), path).is_ours()
    })
}

fn pairs(table: Option<&Node>) -> Vec<(&str, String)> {
    let entries = table.map(Node::entries).unwrap_or_default();
    entries.iter().map(|(key, value)| (key.name.as_str(), value.shown())).collect()
}

fn selector(deployment: &Document<'_>, findings: &mut Findings<'_>) {
    let labels = pairs(deployment.root.at("spec.template.metadata.labels"));
    for pair in pairs(deployment.root.at("spec.selector.matchLabels")) {
        if !labels.contains(&pair) {
            let at = deployment.at("spec.selector.matchLabels");
            let value = format!("{} = {}", pair.0, pair.1);
            findings.error(
                at,
                value,
                "a label of spec.template.metadata",
                "the API server refuses it",
            );
        }
    }
}

fn grace(deployment: &Document<'_>, findings: &mut Findings<'_>) {
    let grace = whole(deployment.root.at("spec.template.spec"), "terminationGracePeriodSeconds");
    if let Some(grace) = grace.filter(|grace| *grace <= DRAIN_S) {
        let at = deployment.at("spec.template.spec.terminationGracePeriodSeconds");
        let why = "offramp finishes what is in flight within that; records of one that is killed come again";
        findings.error(at, grace, format!("more than {DRAIN_S}"), why);
    }
}

/// What the profile `restricted` of Pod Security asks for.
fn restricted(deployment: &Document<'_>, findings: &mut Findings<'_>) {
    let why = "namespaces with the profile `restricted` of Pod Security do not admit the pod";
    let of_pod = deployment.root.at("spec.template.spec.securityContext");
    for (path, container) in containers(deployment) {
        let own = container.get("securityContext");
        let either = |key: &str| {
            own.and_then(|one| one.at(key)).or_else(|| of_pod.and_then(|one| one.at(key)))
        };
        let drops =
            own.and_then(|one| one.at("capabilities.drop")).map(Node::items).unwrap_or_default();
        let expected = [
            ("runAsNonRoot", either("runAsNonRoot").and_then(Node::flag) == Some(true), "true"),
            (
                "allowPrivilegeEscalation",
                own.and_then(|one| one.get("allowPrivilegeEscalation")).and_then(Node::flag)
                    == Some(false),
                "false",
            ),
            ("capabilities.drop", drops.iter().any(|drop| drop.text() == Some("ALL")), "[ALL]"),
            ("seccompProfile.type", either("seccompProfile.type").is_some(), "RuntimeDefault"),
        ];
        for (key, fits, expected) in expected {
            if !fits {
                let found = own.and_then(|one| one.at(key));
                let shown = found.map_or_else(|| "missing".to_owned(), Node::shown);
                let at = deployment.of(
                    found.or(own).unwrap_or(container),
                    format!("{path}.securityContext.{key}"),
                );
                findings.warning(at, shown, expected, why);
            }
        }
    }
}

fn connectors(deployment: &Document<'_>, findings: &mut Findings<'_>) {
    let replicas = whole(deployment.root.get("spec"), "replicas");
    for (path, container) in containers(deployment) {
        let env = variables(container.get("env"), &path);
        let topic = env.value("OFFRAMP_TOPIC").filter(|_| env.is_connector());
        if let (Some(replicas), Some(partitions)) =
            (replicas, topic.and_then(|topic| findings.partitions(topic)))
            && partitions < replicas
        {
            let expected = format!("at most {partitions}, the topic's partitions");
            findings.error(
                deployment.at("spec.replicas"),
                replicas,
                expected,
                "further connectors get none of them",
            );
        }
    }
}

fn serves(service: &Document<'_>, documents: &[Document<'_>], findings: &mut Findings<'_>) {
    let wanted = pairs(service.root.at("spec.selector"));
    let mut deployments = document::all(documents, Kind::Deployment);
    if wanted.is_empty() || deployments.clone().next().is_none() {
        return;
    }
    let selects = |deployment: &&Document<'_>| {
        let labels = pairs(deployment.root.at("spec.template.metadata.labels"));
        wanted.iter().all(|pair| labels.contains(pair))
    };
    let Some(deployment) = deployments.find(selects) else {
        let shown =
            wanted.iter().map(|(key, value)| format!("{key} = {value}")).collect::<Vec<_>>();
        let why = "no pod of these files has all of its labels, so calls go nowhere";
        findings.error(service.at("spec.selector"), shown.join(", "), "labels of a pod", why);
        return;
    };
    let ports = service.root.at("spec.ports").map(Node::items).unwrap_or_default();
    for (at, port) in ports.iter().enumerate() {
        let Some(name) = port.get("targetPort").and_then(Node::text) else { continue };
        let has = containers(deployment).iter().any(|(_, container)| {
            let ports = container.get("ports").map(Node::items).unwrap_or_default();
            ports.iter().any(|port| port.get("name").and_then(Node::text) == Some(name))
        });
        if !has {
            let at = service.of_key(port, "targetPort", &format!("spec.ports[{at}]"));
            findings.error(at, name, "the name of a port of the pods", "calls go nowhere");
        }
    }
}
