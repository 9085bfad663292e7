//! Knative: annotations where nobody reads them, ports that are taken, and sources that start anew each time.

use super::document::{self, Document, Kind};
use super::settings::{containers, variables, whole};
use super::{At, Findings};
use crate::yaml::Node;

const SCALING: &str = "autoscaling.knative.dev/";
/// What the platform has on each pod: its proxy's ports, metrics, profiles.
const RESERVED_PORTS: [i64; 7] = [8008, 8012, 8013, 8022, 8112, 9090, 9091];
const MAX_TIMEOUT_S: i64 = 600;
const TIMEOUT_S: i64 = 300;

pub(super) fn check(documents: &[Document<'_>], findings: &mut Findings<'_>) {
    for service in document::all(documents, Kind::KnativeService) {
        annotations(service, findings);
        scale(service, findings);
        timeouts(service, findings);
        ports(service, findings);
        environment(service, findings);
    }
    for source in document::all(documents, Kind::KafkaSource) {
        of_kafka(source, findings);
        sink(source, documents, findings);
    }
}

/// Scaling is read from the revision's template alone.
fn annotations(service: &Document<'_>, findings: &mut Findings<'_>) {
    let why = "scaling is read from spec.template.metadata.annotations";
    for place in ["metadata.annotations", "metadata.labels", "spec.template.metadata.labels"] {
        for (key, value) in service.root.at(place).map(Node::entries).unwrap_or_default() {
            if key.name.starts_with(SCALING) {
                let at =
                    At { file: service.file, line: key.line, key: format!("{place}.{}", key.name) };
                findings.error(at, value.shown(), "it in the template's annotations", why);
            }
        }
    }
    let template = "spec.template.metadata.annotations";
    let visibility = "networking.knative.dev/visibility";
    for place in [template, "metadata.annotations"] {
        let table = service.root.at(place);
        if let Some(value) = table.and_then(|table| table.get(visibility)) {
            let at =
                At { file: service.file, line: value.line, key: format!("{place}.{visibility}") };
            findings.error(
                at,
                value.shown(),
                "it in metadata.labels",
                "visibility is read from the service's labels",
            );
        }
    }
}

fn scale(service: &Document<'_>, findings: &mut Findings<'_>) {
    let place = "spec.template.metadata.annotations";
    let Some(table) = service.root.at(place) else { return };
    let text = |key: &str| table.get(&format!("{SCALING}{key}")).map(Node::shown);
    let at = |key: &str| service.of_key(table, &format!("{SCALING}{key}"), place);
    // The older spelling is still read.
    let number = |keys: [&str; 2]| {
        keys.into_iter().find_map(|key| whole(Some(table), &format!("{SCALING}{key}")))
    };
    let (min, max) = (number(["min-scale", "minScale"]), number(["max-scale", "maxScale"]));
    if let (Some(min), Some(max)) = (min, max)
        && 0 < max
        && max < min
    {
        findings.error(
            at("min-scale"),
            min,
            format!("at most max-scale, {max}"),
            "the API server refuses it",
        );
    }
    let is_hpa = text("class").is_some_and(|class| class.starts_with("hpa."));
    let metric = text("metric");
    if is_hpa {
        if let Some(metric) =
            metric.as_deref().filter(|metric| ["concurrency", "rps"].contains(metric))
        {
            findings.error(
                at("metric"),
                metric,
                "cpu or memory",
                "the class hpa knows no other metric",
            );
        }
        if min == Some(0) {
            findings.error(
                at("min-scale"),
                0,
                "at least 1",
                "the class hpa does not scale to zero",
            );
        }
    } else if let Some(metric) =
        metric.as_deref().filter(|metric| ["cpu", "memory"].contains(metric))
    {
        findings.error(
            at("metric"),
            metric,
            "concurrency or rps",
            "only the class hpa.autoscaling.knative.dev knows it",
        );
    }
    let concurrency =
        whole(service.root.at("spec.template.spec"), "containerConcurrency").filter(|n| 0 < *n);
    if let (Some(target), Some(bound)) = (number(["target", "target"]), concurrency)
        && bound < target
        && metric.as_deref() != Some("rps")
    {
        let expected = format!("at most containerConcurrency, {bound}");
        findings.warning(
            at("target"),
            target,
            expected,
            "a replica never has as many calls at once",
        );
    }
}

fn timeouts(service: &Document<'_>, findings: &mut Findings<'_>) {
    let spec = service.root.at("spec.template.spec");
    let at = |key: &str| service.at(&format!("spec.template.spec.{key}"));
    let timeout = whole(spec, "timeoutSeconds");
    if let Some(timeout) = timeout.filter(|timeout| MAX_TIMEOUT_S < *timeout) {
        let why =
            "the API server refuses more, unless `max-revision-timeout-seconds` says otherwise";
        findings.error(at("timeoutSeconds"), timeout, format!("at most {MAX_TIMEOUT_S}"), why);
    }
    for key in ["responseStartTimeoutSeconds", "idleTimeoutSeconds"] {
        if let Some(part) = whole(spec, key)
            && timeout.unwrap_or(TIMEOUT_S) < part
        {
            let expected = format!("at most timeoutSeconds, {}", timeout.unwrap_or(TIMEOUT_S));
            findings.error(at(key), part, expected, "the API server refuses it");
        }
    }
}

fn ports(service: &Document<'_>, findings: &mut Findings<'_>) {
    let mut serving = 0;
    for (path, container) in containers(service) {
        let ports = container.get("ports").map(Node::items).unwrap_or_default();
        serving += ports.len();
        for port in ports {
            if let Some(number) =
                whole(Some(port), "containerPort").filter(|port| RESERVED_PORTS.contains(port))
            {
                let at = service.of_key(port, "containerPort", &format!("{path}.ports"));
                findings.error(at, number, "another port", "the platform has it on each pod");
            }
            let name = port.get("name").and_then(Node::text);
            if let Some(name) =
                name.filter(|name| !name.is_empty() && !["http1", "h2c"].contains(name))
            {
                let at = service.of_key(port, "name", &format!("{path}.ports"));
                findings.error(at, name, "http1 or h2c", "the API server refuses it");
            }
        }
    }
    if 1 < serving {
        let at = service.at("spec.template.spec.containers");
        findings.error(
            at,
            format!("{serving} ports"),
            "one",
            "a revision serves one port; the API server refuses more",
        );
    }
}

fn environment(service: &Document<'_>, findings: &mut Findings<'_>) {
    for (path, container) in containers(service) {
        let env = variables(container.get("env"), &format!("{path}.env"));
        for variable in &env.0 {
            let at = || At { file: service.file, line: variable.line, key: variable.key.clone() };
            if ["PORT", "K_SERVICE", "K_CONFIGURATION", "K_REVISION"].contains(&variable.name) {
                findings.error(
                    at(),
                    &variable.value,
                    "none",
                    "the platform sets it; the API server refuses it",
                );
            }
            let port = variable.value.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
            let listens = ["OFFRAMP_METRICS", "OFFRAMP_LISTEN"].contains(&variable.name);
            if listens && port.is_some_and(|port: i64| RESERVED_PORTS.contains(&port)) {
                findings.error(
                    at(),
                    &variable.value,
                    "another port",
                    "the platform has it on each pod",
                );
            }
        }
        if env.is_connector() {
            let at = service.of(container, format!("{path}.env"));
            let why = "it takes no calls, so nothing but min-scale keeps it, and a proxy stands before nothing";
            findings.warning(at, "a connector", "a Deployment for it", why);
        }
    }
}

fn of_kafka(source: &Document<'_>, findings: &mut Findings<'_>) {
    let spec = source.root.get("spec");
    let text = |key: &str| spec.and_then(|spec| spec.get(key)).and_then(Node::text);
    if text("consumerGroup").is_none() {
        let why =
            "without one the platform makes up a new one, and its offsets are lost with the source";
        findings.error(source.at("spec.consumerGroup"), "missing", "a name", why);
    }
    if text("initialOffset").is_none_or(|offset| offset == "latest") {
        let shown = text("initialOffset").unwrap_or("latest, the default");
        let why = "what was sent before the source is ready is passed over";
        findings.warning(source.at("spec.initialOffset"), shown, "earliest", why);
    }
    if source.root.at("spec.delivery.deadLetterSink").is_none() {
        let why = "a record that fails as often as `retry` says is dropped";
        findings.warning(source.at("spec.delivery"), "without deadLetterSink", "one", why);
    }
    let topics = spec.and_then(|spec| spec.get("topics")).map(Node::items).unwrap_or_default();
    let known: Option<i64> = topics.iter().map(|topic| findings.partitions(topic.text()?)).sum();
    if let (Some(consumers), Some(partitions)) = (whole(spec, "consumers"), known)
        && partitions < consumers
    {
        let expected = format!("at most {partitions}, the topics' partitions");
        findings.error(
            source.at("spec.consumers"),
            consumers,
            expected,
            "further consumers get none of them",
        );
    }
}

fn sink(source: &Document<'_>, documents: &[Document<'_>], findings: &mut Findings<'_>) {
    let reference = source.root.at("spec.sink.ref");
    let text = |key: &str| reference.and_then(|reference| reference.get(key)).and_then(Node::text);
    let services = document::all(documents, Kind::KnativeService);
    if let (Some("Service"), Some(version), Some(name)) =
        (text("kind"), text("apiVersion"), text("name"))
        && version.starts_with("serving.knative.dev/")
        && services.clone().next().is_some()
        && !services.filter_map(Document::name).any(|service| service == name)
    {
        findings.error(
            source.at("spec.sink.ref.name"),
            name,
            "one of these files' services",
            "the source would not get ready",
        );
    }
}
