//! Fission: functions that are stopped while they work, and triggers that lose records.

use super::document::{self, Document, Kind};
use super::settings::{containers, variables, whole};
use super::{At, Findings};
use crate::yaml::Node;

/// The platform's own, in seconds.
const FUNCTION_TIMEOUT_S: i64 = 60;
const IDLE_TIMEOUT_S: i64 = 120;
const IDLE_TIMEOUT_OF_CONTAINER_S: i64 = 60;
const STRATEGY: &str = "spec.InvokeStrategy.ExecutionStrategy";

pub(super) fn check(documents: &[Document<'_>], findings: &mut Findings<'_>) {
    for function in document::all(documents, Kind::FissionFunction) {
        idle(function, findings);
        scale(function, findings);
        if executor(function) == "container" {
            container(function, findings);
        } else {
            packaged(function, documents, findings);
        }
    }
    for trigger in document::all(documents, Kind::MessageQueueTrigger) {
        target(trigger, documents, findings);
        queue(trigger, documents, findings);
    }
    for trigger in document::all(documents, Kind::HttpTrigger) {
        target(trigger, documents, findings);
        route(trigger, findings);
    }
    for environment in document::all(documents, Kind::Environment) {
        let spec = environment.root.get("spec");
        if let (Some(version), Some(poolsize)) = (whole(spec, "version"), whole(spec, "poolsize"))
            && version < 3
        {
            findings.warning(
                environment.at("spec.poolsize"),
                poolsize,
                "version 3",
                "only that has a pool of its own size",
            );
        }
    }
}

fn executor<'d>(function: &'d Document<'_>) -> &'d str {
    let executor = function.root.at(&format!("{STRATEGY}.ExecutorType")).and_then(Node::text);
    executor.unwrap_or("poolmgr")
}

fn idle(function: &Document<'_>, findings: &mut Findings<'_>) {
    let spec = function.root.get("spec");
    let timeout = whole(spec, "functionTimeout").unwrap_or(FUNCTION_TIMEOUT_S);
    let is_container = executor(function) == "container";
    let default = if is_container { IDLE_TIMEOUT_OF_CONTAINER_S } else { IDLE_TIMEOUT_S };
    let idle = whole(spec, "idletimeout");
    if idle.unwrap_or(default) < 2 * timeout {
        let shown = idle.map_or_else(|| format!("{default}, the default"), |idle| idle.to_string());
        let expected = format!("at least {}, twice `functionTimeout`", 2 * timeout);
        let why = "a pod counts as idle from the start of its last call, and is stopped in the middle of a long one \
                   (fission#2992)";
        findings.error(function.at("spec.idletimeout"), shown, expected, why);
    }
}

fn scale(function: &Document<'_>, findings: &mut Findings<'_>) {
    let strategy = function.root.at(STRATEGY);
    let at = |key: &str| function.at(&format!("{STRATEGY}.{key}"));
    if executor(function) != "poolmgr" {
        let (min, max) =
            (whole(strategy, "MinScale").unwrap_or(0), whole(strategy, "MaxScale").unwrap_or(0));
        if max < 1 {
            findings.error(at("MaxScale"), max, "at least 1", "the API server refuses it");
        } else if max < min {
            findings.error(
                at("MinScale"),
                min,
                format!("at most MaxScale, {max}"),
                "the API server refuses it",
            );
        }
        let target = whole(strategy, "TargetCPUPercent");
        if target == Some(0) && min < max {
            let why = "0 is none, so the default of 80 holds";
            findings.warning(at("TargetCPUPercent"), 0, "from 1 to 100, or no such key", why);
        }
    } else if let (Some(requests), Some(1) | None) =
        (function.root.at("spec.concurrency"), whole(function.root.get("spec"), "requestsPerPod"))
    {
        let why = "each pod then has one call at a time, and `concurrency` is a number of pods";
        findings.warning(
            function.of(requests, "spec.concurrency"),
            requests.shown(),
            "`requestsPerPod` above 1 beside it",
            why,
        );
    }
}

fn container(function: &Document<'_>, findings: &mut Findings<'_>) {
    let all = containers(function);
    let [(path, container)] = all.as_slice() else {
        let why = "the executor `container` runs exactly one";
        let shown = if all.is_empty() {
            "without containers".to_owned()
        } else {
            format!("of {} containers", all.len())
        };
        findings.error(function.at("spec.podspec"), shown, "one container", why);
        return;
    };
    let ports = container.get("ports").map(Node::items).unwrap_or_default().len();
    if ports != 1 {
        let why = "the platform's service has the only port there is";
        let at = function.of(container, format!("{path}.ports"));
        findings.error(at, format!("a list of {ports}"), "one port", why);
    }
    for key in ["environment", "package"] {
        if let Some(node) = function.root.get("spec").and_then(|spec| spec.get(key)) {
            let at = function.of(node, format!("spec.{key}"));
            findings.warning(at, node.shown(), "none", "the executor `container` passes over it");
        }
    }
}

fn packaged(function: &Document<'_>, documents: &[Document<'_>], findings: &mut Findings<'_>) {
    for (path, kind) in [
        ("spec.environment.name", Kind::Environment),
        ("spec.package.packageref.name", Kind::Package),
    ] {
        let mut known = document::all(documents, kind).filter_map(Document::name);
        match function.root.at(path).and_then(Node::text) {
            None => {
                let why = "only the executor `container` does without";
                findings.error(function.at(path), "missing", "a name", why);
            }
            Some(name) if known.clone().next().is_some() && !known.any(|one| one == name) => {
                let why = "none of these files has it, and a function without it is never called";
                findings.error(function.at(path), name, "one that is there", why);
            }
            Some(_) => {}
        }
    }
    if function.root.at("spec.podspec").is_some() {
        let why = "only the executor `container` reads it";
        findings.error(function.at("spec.podspec"), "set", "none", why);
    }
}

/// What a trigger calls has to be there, where functions are.
fn target(trigger: &Document<'_>, documents: &[Document<'_>], findings: &mut Findings<'_>) {
    let Some(name) = trigger.root.at("spec.functionref.name").and_then(Node::text) else { return };
    let mut functions = document::all(documents, Kind::FissionFunction).filter_map(Document::name);
    if functions.clone().next().is_some() && !functions.any(|function| function == name) {
        let known: Vec<&str> =
            document::all(documents, Kind::FissionFunction).filter_map(Document::name).collect();
        let expected = format!("one of these files' functions: {}", known.join(", "));
        findings.error(
            trigger.at("spec.functionref.name"),
            name,
            expected,
            "the trigger would call nobody",
        );
    }
}

fn queue(trigger: &Document<'_>, documents: &[Document<'_>], findings: &mut Findings<'_>) {
    let text = |key: &str| trigger.root.at(&format!("spec.{key}")).and_then(Node::text);
    if text("messageQueueType") != Some("kafka") {
        return;
    }
    if text("mqtkind") == Some("keda") {
        for key in ["bootstrapServers", "consumerGroup"] {
            if trigger.root.at(&format!("spec.metadata.{key}")).is_none() {
                let why = "KEDA and the connector read the topic by it";
                findings.error(
                    trigger.at(&format!("spec.metadata.{key}")),
                    "missing",
                    "a value",
                    why,
                );
            }
        }
        let why = "its connector does not sign its calls: with `internalAuth.enabled`, the chart's default, each is refused \
                   with 401";
        findings.warning(trigger.at("spec.mqtkind"), "keda", "fission", why);
    }
    if let Some(topic) = text("errorTopic") {
        let why = "it gets the text of the error and not the record";
        findings.warning(
            trigger.at("spec.errorTopic"),
            topic,
            "none, and OFFRAMP_DEAD_LETTER_URL of the function",
            why,
        );
    }
    let called = text("functionref.name");
    for function in document::all(documents, Kind::FissionFunction) {
        if function.name() != called {
            continue;
        }
        for (path, container) in containers(function) {
            let env = variables(container.get("env"), &format!("{path}.env"));
            if env.is_ours() && env.get("OFFRAMP_DEAD_LETTER_URL").is_none() {
                let at =
                    At { file: function.file, line: container.line, key: format!("{path}.env") };
                let why = "the trigger tries a refused record again, and then drops it and marks it as read";
                findings.error(
                    at,
                    "without OFFRAMP_DEAD_LETTER_URL",
                    "it, as kafka://BROKERS/TOPIC",
                    why,
                );
            }
        }
    }
}

fn route(trigger: &Document<'_>, findings: &mut Findings<'_>) {
    let Some(url) = trigger.root.at("spec.relativeurl").and_then(Node::text) else { return };
    let reserved = ["/router-healthz", "/readyz", "/_version", "/auth/login"];
    if !url.starts_with('/')
        || url == "/"
        || url.starts_with("/fission-function/")
        || reserved.contains(&url)
    {
        let expected = "a path below `/` that is not the router's own";
        findings.error(trigger.at("spec.relativeurl"), url, expected, "the API server refuses it");
    }
}
