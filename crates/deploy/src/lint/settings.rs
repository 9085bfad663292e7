//! The settings of our own functions, on whatever platform: a slip in a variable's name has no effect, and nobody says so.

use super::document::{Document, Kind};
use super::{At, Findings};
use crate::yaml::{Key, Node, Value};

/// Every variable that the program reads, without `OFFRAMP_`.
pub const VARIABLES: [&str; 43] = [
    "ATTEMPTS",
    "BACKOFF_MS_MAX",
    "BACKOFF_MS_MIN",
    "BOOTSTRAP_SERVERS",
    "BROKER_ADVERTISE",
    "BROKER_DIR",
    "BROKER_FLUSH",
    "BROKER_LISTEN",
    "CLASS_THRESHOLDS",
    "CRITERION",
    "DATA",
    "DEAD_LETTER_TOPIC",
    "DEAD_LETTER_URL",
    "DRAIN_MS",
    "ENCODING",
    "ENGINE",
    "EXIT_URL",
    "FEATURES",
    "FORWARD_URL",
    "FUNCTION",
    "GATEWAY",
    "GATEWAY_PASSWORD_FILE",
    "GATEWAY_USER",
    "GROUP",
    "IN_FLIGHT",
    "LAST",
    "LINGER_MS",
    "LISTEN",
    "LOG",
    "MAX_BATCH",
    "METRICS",
    "MODEL",
    "ON_UPLINK_LOSS",
    "ORDER",
    "PLATFORM",
    "SCALE_MAX",
    "SCALE_MIN",
    "TEMPERATURE",
    "THRESHOLD",
    "TIER",
    "TOPIC",
    "URL",
    "WAIT_MS",
];

/// A variable of a function.
#[derive(Debug, Clone)]
pub(super) struct Variable<'d> {
    pub(super) name: &'d str,
    pub(super) value: String,
    pub(super) line: usize,
    pub(super) key: String,
}

/// The variables of one container or function.
#[derive(Debug, Default)]
pub(super) struct Variables<'d>(pub(super) Vec<Variable<'d>>);

impl<'d> Variables<'d> {
    pub(super) fn get(&self, name: &str) -> Option<&Variable<'d>> {
        self.0.iter().find(|variable| variable.name == name)
    }

    pub(super) fn value(&self, name: &str) -> Option<&str> {
        self.get(name).map(|variable| variable.value.as_str())
    }

    /// Whether it is one of our functions.
    pub(super) fn is_ours(&self) -> bool {
        self.0.iter().any(|variable| variable.name.starts_with("OFFRAMP_"))
    }

    pub(super) fn is_connector(&self) -> bool {
        self.value("OFFRAMP_FUNCTION") == Some("connector")
    }
}

/// Variables in any form: a table, a list of `name` and `value`, or of `NAME=VALUE`.
pub(super) fn variables<'d>(node: Option<&'d Node>, path: &str) -> Variables<'d> {
    let Some(node) = node else { return Variables::default() };
    let of_table = node.entries().iter().map(|(key, value)| Variable {
        name: key.name.as_str(),
        value: value.shown(),
        line: key.line,
        key: format!("{path}.{}", key.name),
    });
    let of_list = node.items().iter().filter_map(|item| {
        if let Some((name, value)) = item.text().and_then(|text| text.split_once('=')) {
            let key = format!("{path}.{name}");
            return Some(Variable { name, value: value.to_owned(), line: item.line, key });
        }
        let name = item.get("name")?.text()?;
        let key = format!("{path}.{name}");
        Some(Variable { name, value: item.get("value").map(Node::shown)?, line: item.line, key })
    });
    Variables(of_table.chain(of_list).collect())
}

/// The containers of a document's pods, each with the path of its key.
pub(super) fn containers<'d>(document: &'d Document<'_>) -> Vec<(String, &'d Node)> {
    let path = match document.kind {
        Kind::Deployment | Kind::KnativeService => "spec.template.spec.containers",
        Kind::FissionFunction => "spec.podspec.containers",
        _ => return Vec::new(),
    };
    let items = document.root.at(path).map(Node::items).unwrap_or_default();
    items.iter().enumerate().map(|(at, item)| (format!("{path}[{at}]"), item)).collect()
}

/// All sets of variables of a document.
fn all<'d>(document: &'d Document<'_>) -> Vec<Variables<'d>> {
    let of_entries = |table: &str, key: &str| {
        let entries = document.root.get(table).map(Node::entries).unwrap_or_default();
        let of_entry = |(name, node): &'d (Key, Node)| {
            variables(node.get(key), &format!("{table}.{}.{key}", name.name))
        };
        entries.iter().map(of_entry).collect::<Vec<_>>()
    };
    match document.kind {
        Kind::Stack => of_entries("functions", "environment"),
        Kind::Compose => of_entries("services", "environment"),
        Kind::NuclioFunction => vec![variables(document.root.at("spec.env"), "spec.env")],
        Kind::Environment => {
            vec![variables(
                document.root.at("spec.runtime.container.env"),
                "spec.runtime.container.env",
            )]
        }
        _ => containers(document)
            .into_iter()
            .map(|(path, container)| variables(container.get("env"), &format!("{path}.env")))
            .collect(),
    }
}

/// What `OFFRAMP_PLATFORM` should be in a document.
const fn platform(kind: Kind) -> Option<&'static [&'static str]> {
    match kind {
        Kind::Stack => Some(&["openfaas"]),
        Kind::FissionFunction | Kind::Environment => Some(&["fission"]),
        Kind::KnativeService => Some(&["knative"]),
        Kind::NuclioFunction => Some(&["nuclio"]),
        Kind::Deployment | Kind::Compose => Some(&["plain"]),
        _ => None,
    }
}

pub(super) fn check(document: &Document<'_>, findings: &mut Findings<'_>) {
    for variables in all(document) {
        let at = |variable: &Variable<'_>| At {
            file: document.file,
            line: variable.line,
            key: variable.key.clone(),
        };
        for variable in &variables.0 {
            let Some(name) = variable.name.strip_prefix("OFFRAMP_") else { continue };
            if !VARIABLES.contains(&name) {
                let nearest = VARIABLES.iter().min_by_key(|known| strsim::levenshtein(name, known));
                let expected = format!(
                    "one that offramp reads: OFFRAMP_{}?",
                    nearest.expect("there are some")
                );
                findings.error(
                    at(variable),
                    &variable.value,
                    expected,
                    "an unknown variable has no effect",
                );
            }
        }
        if let (Some(variable), Some(expected)) =
            (variables.get("OFFRAMP_PLATFORM"), platform(document.kind))
            && !expected.contains(&variable.value.as_str())
        {
            let why = "the function would answer another platform's contract";
            findings.error(at(variable), &variable.value, expected.join(" or "), why);
        }
        if let (Some(last), Some(forward)) =
            (variables.get("OFFRAMP_LAST"), variables.get("OFFRAMP_FORWARD_URL"))
            && last.value == "true"
        {
            findings.error(
                at(forward),
                &forward.value,
                "none",
                "the last tier answers everything and forwards nothing",
            );
        }
        if variables.is_ours() && !variables.is_connector() {
            missing_model(document, &variables, findings);
        }
    }
}

/// An inference function needs a sub-model, and says so when it starts; here is earlier.
fn missing_model(document: &Document<'_>, variables: &Variables<'_>, findings: &mut Findings<'_>) {
    let is_inference = variables.value("OFFRAMP_FUNCTION") == Some("inference");
    if is_inference && variables.get("OFFRAMP_MODEL").is_none() {
        let function = variables.get("OFFRAMP_FUNCTION").expect("it was just read");
        let at = At { file: document.file, line: function.line, key: function.key.clone() };
        findings.error(
            at,
            "inference",
            "OFFRAMP_MODEL beside it",
            "without a sub-model it does not start",
        );
    }
}

/// A whole number of a table, where it is one.
pub(super) fn whole(table: Option<&Node>, key: &str) -> Option<i64> {
    table?.get(key).filter(|node| node.value != Value::Null)?.whole()
}
