//! A deployment that was understood: what is left out filled in, every amount a number.

mod retry;

use std::collections::BTreeMap;
use std::time::Duration;

pub use retry::Retry;

use crate::deployment::Deployment;

/// Labels that say how a function scales start with this.
pub const SCALE_LABELS: &str = "com.openfaas.scale";
/// The annotation that says where a function's health is asked for.
pub const HEALTH_ANNOTATION: &str = "com.openfaas.health.http.path";
/// Longest name of a function; a cgroup's and a log line's are made of it.
const MAX_NAME: usize = 63;
/// Longest name of a secret, as Kubernetes has it.
const MAX_SECRET_NAME: usize = 253;
/// Instances that a function has at most unless its label says otherwise: as many as `OpenFaaS` allows for free.
const DEFAULT_MAX_SCALE: u32 = 5;
/// More instances than a single node has use for.
const MAX_SCALE: u32 = 1000;
/// How long a function that may go to zero keeps its instances without a call, unless its label says otherwise.
const DEFAULT_ZERO_AFTER: Duration = Duration::from_mins(15);
/// How long a call may take, and wait for an instance, unless the function says otherwise: the gateways' default.
const DEFAULT_TIMEOUT: Duration = Duration::from_mins(1);
/// Calls that one instance has at once, at most, unless the function says otherwise.
const DEFAULT_CONCURRENCY: u32 = 100;
/// Share of `target` at which a function is to have another instance, unless its label says otherwise.
const DEFAULT_PROPORTION: f64 = 0.9;

/// A function as it is to run.
#[derive(Debug, Clone, PartialEq)]
pub struct Spec {
    /// What it is called on this node: its name, with its namespace unless that is the default one.
    pub name: String,
    /// Its namespace, which its secrets are those of.
    pub namespace: String,
    /// What it runs.
    pub image: String,
    /// Command line, split at spaces; empty for the image alone.
    pub command: Vec<String>,
    /// Its environment variables.
    pub env: BTreeMap<String, String>,
    /// Secrets that it may read.
    pub secrets: Vec<String>,
    /// Topics whose records are calls.
    pub topics: Vec<String>,
    /// How many instances it has.
    pub scaling: Scaling,
    /// Calls that one instance has at once, at most.
    pub concurrency: u32,
    /// How long a call may take, and how long it waits for an instance.
    pub timeout: Duration,
    /// Resident memory of an instance, at most, in bytes.
    pub memory_bytes: Option<u64>,
    /// Processor time of an instance in thousandths of a core, at most.
    pub cpu_millis: Option<u64>,
    /// Path that says whether an instance is healthy.
    pub health_path: String,
    /// How calls that are carried out later are tried again.
    pub retry: Retry,
}

/// How many instances a function has.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scaling {
    /// Instances that stay while nothing is called; at least one are needed at first.
    pub min: u32,
    /// Instances at most.
    pub max: u32,
    /// Without a call for this long, none stays; `None` for a function that keeps `min`.
    pub zero_after: Option<Duration>,
    /// What an instance is to bear, if the function says so; else it follows from how long calls take.
    pub target: Option<Target>,
    /// Calls that an instance is taken to work on at once: as many as it may have, if the function says so, else one,
    /// since a call that waits for a processor takes no less of it.
    pub concurrency: u32,
}

/// What an instance is to bear: a function's label, with the share of it at which there is to be another instance.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Target {
    /// Calls a second.
    Rate(f64),
    /// Calls at once.
    InFlight(f64),
}

/// Everything about a deployment that can't be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("; "))]
pub struct Invalid(pub Vec<String>);

impl Spec {
    /// Understands a deployment.
    pub fn of(deployment: &Deployment) -> Result<Self, Invalid> {
        let mut problems = Vec::new();
        let name = &deployment.service;
        if !is_name(name) {
            problems.push(format!(
                "service: `{name}` is not a name, expected 1 to {MAX_NAME} letters, digits, `-` and `_`"
            ));
        }
        let namespace = deployment.namespace();
        if !is_namespace(namespace) {
            problems.push(format!("namespace: `{namespace}` is not one, expected {NAMESPACES}"));
        }
        if deployment.image.is_empty() {
            problems.push("image: is missing, expected what the function runs".to_owned());
        }
        for secret in &deployment.secrets {
            if !is_secret_name(secret) {
                let expected = "letters, digits, `-`, `_` and `.`, and no `.` at its start";
                problems.push(format!("secrets: `{secret}` is not a name, expected {expected}"));
            }
        }
        let mut labels = Labels { of: &deployment.labels, kind: "label", problems: &mut problems };
        let mut scaling = labels.scaling();
        let mut env =
            Labels { of: &deployment.env_vars, kind: "environment", problems: &mut problems };
        let concurrency = env.number("max_inflight", 1..=100_000);
        scaling.concurrency = concurrency.unwrap_or(1);
        let concurrency = concurrency.unwrap_or(DEFAULT_CONCURRENCY);
        let timeout = env.duration("exec_timeout").unwrap_or(DEFAULT_TIMEOUT);
        let mut annotations =
            Labels { of: &deployment.annotations, kind: "annotation", problems: &mut problems };
        let retry = annotations.retry();
        let limits = &deployment.limits;
        let memory_bytes = amount("memory", &limits.memory, memory_bytes, "128Mi", &mut problems);
        let cpu_millis = amount("cpu", &limits.cpu, cpu_millis, "500m", &mut problems);
        let topics = deployment.annotations.get("topic").map_or("", String::as_str);
        let spec = Self {
            name: deployment.key(),
            namespace: namespace.to_owned(),
            image: deployment.image.clone(),
            command: deployment.env_process.split_whitespace().map(str::to_owned).collect(),
            env: deployment.env_vars.clone(),
            secrets: deployment.secrets.clone(),
            topics: topics
                .split(',')
                .map(str::trim)
                .filter(|topic| !topic.is_empty())
                .map(str::to_owned)
                .collect(),
            scaling,
            concurrency,
            timeout,
            memory_bytes,
            cpu_millis,
            health_path: deployment
                .annotations
                .get(HEALTH_ANNOTATION)
                .cloned()
                .unwrap_or_else(|| "/_/health".to_owned()),
            retry,
        };
        if problems.is_empty() { Ok(spec) } else { Err(Invalid(problems)) }
    }
}

fn is_name(name: &str) -> bool {
    let is_legal = |letter: u8| letter.is_ascii_alphanumeric() || matches!(letter, b'-' | b'_');
    (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(is_legal)
}

/// What a namespace may be called.
pub(crate) const NAMESPACES: &str =
    "1 to 63 small letters, digits and `-`, and a letter or digit at both ends";

/// Whether a namespace may be called so: as a label of a host name, as everywhere where there are namespaces.
pub(crate) fn is_namespace(name: &str) -> bool {
    let is_legal = |letter: u8| matches!(letter, b'a'..=b'z' | b'0'..=b'9' | b'-');
    (1..=MAX_NAME).contains(&name.len())
        && name.bytes().all(is_legal)
        && !name.starts_with('-')
        && !name.ends_with('-')
}

/// Whether a secret may be called so: its name is that of a file.
pub(crate) fn is_secret_name(name: &str) -> bool {
    let is_legal =
        |letter: u8| letter.is_ascii_alphanumeric() || matches!(letter, b'-' | b'_' | b'.');
    (1..=MAX_SECRET_NAME).contains(&name.len())
        && name.bytes().all(is_legal)
        && !name.starts_with('.')
}

/// Settings that are text, read one by one.
struct Labels<'a> {
    of: &'a BTreeMap<String, String>,
    kind: &'static str,
    problems: &'a mut Vec<String>,
}

impl Labels<'_> {
    fn scaling(&mut self) -> Scaling {
        let min = self.number("com.openfaas.scale.min", 0..=MAX_SCALE);
        let max = self.number("com.openfaas.scale.max", 1..=MAX_SCALE);
        let max = max.unwrap_or_else(|| min.unwrap_or_default().max(DEFAULT_MAX_SCALE));
        let min = min.unwrap_or(1);
        if max < min {
            self.problems.push(format!(
                "label com.openfaas.scale.min: is {min}, expected at most com.openfaas.scale.max, {max}"
            ));
        }
        let goes_to_zero =
            self.one_of("com.openfaas.scale.zero", &["true", "false"]) == Some("true");
        let zero_after = self.duration("com.openfaas.scale.zero-duration");
        let zero_after =
            (goes_to_zero || min == 0).then(|| zero_after.unwrap_or(DEFAULT_ZERO_AFTER));
        let proportion = self.float("com.openfaas.scale.target-proportion");
        let target = self.float("com.openfaas.scale.target").map(|target| {
            let target = target * proportion.unwrap_or(DEFAULT_PROPORTION);
            match self.one_of("com.openfaas.scale.type", &["rps", "capacity"]) {
                Some("capacity") => Target::InFlight(target),
                _ => Target::Rate(target),
            }
        });
        Scaling { min, max, zero_after, target, concurrency: 1 }
    }

    fn number(&mut self, key: &str, range: std::ops::RangeInclusive<u32>) -> Option<u32> {
        let (low, high) = (range.start(), range.end());
        self.parsed(key, &format!("a number from {low} to {high}"), |text| {
            text.parse().ok().filter(|number| range.contains(number))
        })
    }

    fn float(&mut self, key: &str) -> Option<f64> {
        self.parsed(key, "a number above 0", |text| {
            text.parse().ok().filter(|number: &f64| number.is_finite() && *number > 0.0)
        })
    }

    fn duration(&mut self, key: &str) -> Option<Duration> {
        self.parsed(key, "a time as 30s, 5m or 1h30m", duration)
    }

    fn one_of(&mut self, key: &str, names: &[&'static str]) -> Option<&'static str> {
        self.parsed(key, &format!("one of {}", names.join(", ")), |text| {
            names.iter().copied().find(|name| *name == text)
        })
    }

    fn parsed<T>(
        &mut self,
        key: &str,
        expected: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let text = self.of.get(key)?.trim();
        let value = parse(text);
        if value.is_none() {
            let kind = self.kind;
            self.problems.push(format!("{kind} {key}: is `{text}`, expected {expected}"));
        }
        value
    }
}

fn amount(
    key: &str,
    text: &str,
    parse: fn(&str) -> Option<u64>,
    example: &str,
    problems: &mut Vec<String>,
) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    let amount = parse(text).filter(|amount| *amount > 0);
    if amount.is_none() {
        problems.push(format!("limits.{key}: is `{text}`, expected an amount as {example}"));
    }
    amount
}

/// A time as Go writes it, `1h30m`, `250ms`, or whole seconds without a unit. At least a millisecond, at most a year.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    let mut seconds = 0.0;
    let mut rest = text.trim();
    if let Ok(whole) = rest.parse::<u32>() {
        seconds = f64::from(whole);
        rest = "";
    } else if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|letter: char| !letter.is_ascii_digit() && letter != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let unit = rest.find(|letter: char| letter.is_ascii_digit()).unwrap_or(rest.len());
        seconds += number
            * match &rest[..unit] {
                "ms" => 1e-3,
                "s" => 1.0,
                "m" => 60.0,
                "h" => 3600.0,
                _ => return None,
            };
        rest = &rest[unit..];
    }
    (1e-3..=365.0 * 86_400.0).contains(&seconds).then(|| Duration::from_secs_f64(seconds))
}

/// Bytes: `1048576`, `64Mi`, `1.5G`.
fn memory_bytes(text: &str) -> Option<u64> {
    let digits = text.find(|letter: char| letter.is_ascii_alphabetic()).unwrap_or(text.len());
    let unit = match &text[digits..] {
        "" => 1.0,
        "k" | "K" => 1e3,
        "M" | "m" => 1e6,
        "G" | "g" => 1e9,
        "Ki" => 1024.0,
        "Mi" => 1024.0 * 1024.0,
        "Gi" => 1024.0 * 1024.0 * 1024.0,
        _ => return None,
    };
    let number: f64 = text[..digits].parse().ok()?;
    (number.is_finite() && number >= 0.0).then_some((number * unit) as u64)
}

/// Thousandths of a core: `500m`, `1.5`.
fn cpu_millis(text: &str) -> Option<u64> {
    let millis: f64 = match text.strip_suffix('m') {
        Some(millis) => millis.parse().ok()?,
        None => text.parse::<f64>().ok()? * 1000.0,
    };
    (millis.is_finite() && (0.0..1e9).contains(&millis)).then_some(millis as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deployment::Resources;

    fn deployment(labels: &[(&str, &str)], env: &[(&str, &str)]) -> Deployment {
        let map = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect()
        };
        Deployment {
            service: "echo".into(),
            image: "echo:latest".into(),
            labels: map(labels),
            env_vars: map(env),
            ..Deployment::default()
        }
    }

    #[test]
    fn what_is_left_out_is_filled_in() {
        let spec = Spec::of(&deployment(&[], &[])).unwrap();
        let scaling = Scaling { min: 1, max: 5, zero_after: None, target: None, concurrency: 1 };
        assert_eq!((spec.scaling, spec.concurrency), (scaling, 100));
        assert_eq!((spec.timeout, spec.memory_bytes), (Duration::from_secs(60), None));
    }

    #[test]
    fn labels_decide_how_it_scales() {
        let labels = [
            ("com.openfaas.scale.min", "2"),
            ("com.openfaas.scale.max", "8"),
            ("com.openfaas.scale.zero", "true"),
            ("com.openfaas.scale.zero-duration", "2m30s"),
            ("com.openfaas.scale.target", "10"),
            ("com.openfaas.scale.target-proportion", "0.5"),
            ("com.openfaas.scale.type", "capacity"),
        ];
        let spec = Spec::of(&deployment(&labels, &[("max_inflight", "4")])).unwrap();
        let expected = Scaling {
            min: 2,
            max: 8,
            zero_after: Some(Duration::from_secs(150)),
            target: Some(Target::InFlight(5.0)),
            concurrency: 4,
        };
        assert_eq!((spec.scaling, spec.concurrency), (expected, 4));
    }

    #[test]
    fn every_problem_is_named() {
        let mut wrong = deployment(
            &[
                ("com.openfaas.scale.min", "many"),
                ("com.openfaas.scale.type", "cpu"),
                ("com.openfaas.scale.target", "3"),
            ],
            &[("exec_timeout", "soon")],
        );
        wrong.service = "a b".into();
        wrong.limits = Resources { memory: "lots".into(), cpu: "500m".into() };
        let Invalid(problems) = Spec::of(&wrong).unwrap_err();
        assert_eq!(
            problems,
            [
                "service: `a b` is not a name, expected 1 to 63 letters, digits, `-` and `_`",
                "label com.openfaas.scale.min: is `many`, expected a number from 0 to 1000",
                "label com.openfaas.scale.type: is `cpu`, expected one of rps, capacity",
                "environment exec_timeout: is `soon`, expected a time as 30s, 5m or 1h30m",
                "limits.memory: is `lots`, expected an amount as 128Mi",
            ]
        );
    }

    #[test]
    fn amounts_are_read_as_kubernetes_writes_them() {
        let memory = ["64Mi", "1Gi", "1.5G", "1048576", "12kB"].map(memory_bytes);
        assert_eq!(
            memory,
            [Some(64 << 20), Some(1 << 30), Some(1_500_000_000), Some(1 << 20), None]
        );
        assert_eq!(
            ["500m", "2", "0.25", "x"].map(cpu_millis),
            [Some(500), Some(2000), Some(250), None]
        );
        let times = ["30", "250ms", "1h30m", "1.5s", "5", "", "3d", "s"].map(duration);
        let expected = [30.0, 0.25, 5400.0, 1.5, 5.0].map(|s| Some(Duration::from_secs_f64(s)));
        assert_eq!(times[..5], expected);
        assert_eq!(times[5..], [None, None, None]);
    }
}
