//! What is scaled, by what, and within which bounds: the same keys as flags and as keys of a file.
//!
//! [`Given`] is what somebody wrote, [`Target`] what holds; [`Given::target`] goes from one to the other and finds all
//! that is wrong. A flag is the key with dashes for underscores.

use std::path::{Path, PathBuf};
use std::time::Duration;

use autoscale::Policy;

/// What waits is committed within this by most clients: the default of Java's and of librdkafka's consumers.
const DEFAULT_COMMIT: Duration = Duration::from_secs(5);
/// What a pod takes whose image is there already.
const DEFAULT_COLD_START: Duration = Duration::from_secs(3);
const DEFAULT_MAX_SCALE: u32 = 10;
/// Rather too short than too long: too few instances show in a backlog, which is measured; too many show in nothing.
const DEFAULT_SERVICE: Duration = Duration::from_millis(10);
const LONGEST_COMMIT: Duration = Duration::from_mins(1);
const MAX_CONCURRENCY: u32 = 1000;
/// Where a pod finds what it may do at its cluster's API, and who that is.
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// One target, as it was written.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct Given {
    /// Name of the target in what is said; default: that of the function or Deployment.
    #[arg(long, help_heading = "Load")]
    pub(super) name: Option<String>,
    #[arg(skip)]
    pub(super) bootstrap_servers: Option<String>,
    /// Topic that the function's records come from.
    #[arg(long, help_heading = "Load")]
    pub(super) topic: Option<String>,
    /// Consumer group that reads it.
    #[arg(long, help_heading = "Load")]
    pub(super) group: Option<String>,
    /// How often the group commits, in milliseconds: what is younger than this does not yet wait, as it may be done
    /// already. Default: 5000, which most clients have; functions of this program need no more than 500.
    #[arg(long, value_name = "MS", help_heading = "Load")]
    pub(super) commit_ms: Option<u64>,
    /// URL of a gateway with the routes `/system/function` and `/system/scale-function`.
    #[arg(long, value_name = "URL", help_heading = "Gateway")]
    pub(super) gateway: Option<String>,
    /// Function to scale there, as `NAME` or `NAME.NAMESPACE`.
    #[arg(long, help_heading = "Gateway")]
    pub(super) function: Option<String>,
    /// User, where the gateway asks for one.
    #[arg(long, help_heading = "Gateway")]
    pub(super) user: Option<String>,
    /// File with the user's password.
    #[arg(long, value_name = "FILE", help_heading = "Gateway")]
    pub(super) password_file: Option<PathBuf>,
    /// Kubernetes Deployment to scale.
    #[arg(long, value_name = "NAME", help_heading = "Kubernetes")]
    pub(super) deployment: Option<String>,
    /// Its namespace; default: that of the pod this runs in, or `default`.
    #[arg(long, help_heading = "Kubernetes")]
    pub(super) namespace: Option<String>,
    /// URL of the API server, as `http://127.0.0.1:8001` for `kubectl proxy`; default: that of the cluster this runs
    /// in.
    #[arg(long, value_name = "URL", help_heading = "Kubernetes")]
    pub(super) api_server: Option<String>,
    /// File with a bearer token, read anew for each request; default in a cluster: the service account's.
    #[arg(long, value_name = "FILE", help_heading = "Kubernetes")]
    pub(super) token_file: Option<PathBuf>,
    /// File with the certificates that servers are trusted by, instead of the public ones; default in a cluster: the
    /// service account's.
    #[arg(long, value_name = "FILE", help_heading = "Kubernetes")]
    pub(super) ca_file: Option<PathBuf>,
    /// Instances are no members of the group, so that more of them than the topic has partitions are of use. Always so
    /// with a gateway.
    #[arg(long, help_heading = "Kubernetes")]
    pub(super) beyond_partitions: bool,
    /// Fewest instances. Default: 0; with none, starting must take less than half of the wait that is allowed.
    #[arg(long, value_name = "N", help_heading = "Scaling")]
    pub(super) min_scale: Option<u32>,
    /// Most instances. Default: 10.
    #[arg(long, value_name = "N", help_heading = "Scaling")]
    pub(super) max_scale: Option<u32>,
    /// How long a record may wait for an instance, in milliseconds. Default: 500.
    #[arg(long, value_name = "MS", help_heading = "Scaling")]
    pub(super) wait_ms: Option<u64>,
    /// What a record takes, in milliseconds, until a backlog has shown it. Default: 10. The first backlog corrects what
    /// is too short; what is too long keeps too many instances.
    #[arg(long, value_name = "MS", help_heading = "Scaling")]
    pub(super) service_ms: Option<f64>,
    /// Records that an instance handles at once. Default: 1.
    #[arg(long, value_name = "N", help_heading = "Scaling")]
    pub(super) concurrency: Option<u32>,
    /// How long an instance takes from being asked for to its first record, in milliseconds. Default: 3000.
    #[arg(long, value_name = "MS", help_heading = "Scaling")]
    pub(super) cold_start_ms: Option<u64>,
    /// Fewer instances must have been enough for this long, in milliseconds, before there are fewer. Default: 60000.
    #[arg(long, value_name = "MS", help_heading = "Scaling")]
    pub(super) down_window_ms: Option<u64>,
    /// Nothing must have come for this long, in milliseconds, before there are none. Default: 60000.
    #[arg(long, value_name = "MS", help_heading = "Scaling")]
    pub(super) idle_ms: Option<u64>,
    #[arg(skip)]
    pub(super) forward_share: Option<f64>,
    #[arg(skip)]
    pub(super) feeds_next: bool,
}

/// Something that is scaled.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Target {
    pub(super) name: String,
    pub(super) servers: String,
    pub(super) topic: String,
    pub(super) group: String,
    pub(super) commit: Duration,
    pub(super) place: Place,
    pub(super) policy: Policy,
    pub(super) concurrency: u32,
    pub(super) cold_start: Duration,
    /// Instances share the topic's partitions, so that more of them have nothing to do.
    pub(super) is_bounded_by_partitions: bool,
    /// What it forwards goes to the topic of the next target.
    pub(super) feeds_next: bool,
}

/// Where instances are asked for.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Place {
    /// A function behind a gateway.
    Function { server: Server, name: String, namespace: Option<String> },
    /// A Deployment of a Kubernetes cluster.
    Deployment { server: Server, namespace: String, name: String },
}

/// An HTTP server, and who asks it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Server {
    pub(super) url: String,
    pub(super) login: Login,
    pub(super) ca_file: Option<PathBuf>,
}

/// How somebody says who it is. Files are read for each request: what they hold changes.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Login {
    Nobody,
    Basic { user: String, password_file: PathBuf },
    Bearer { token_file: PathBuf },
}

/// What is wrong with a key.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct KeyProblem {
    pub(super) key: &'static str,
    /// What goes on after the key: `is 3, expected …`.
    pub(super) text: String,
}

/// Collects what is wrong.
#[derive(Debug, Default)]
struct Problems(Vec<KeyProblem>);

impl Problems {
    fn add(&mut self, key: &'static str, text: impl Into<String>) {
        self.0.push(KeyProblem { key, text: text.into() });
    }

    fn required(&mut self, key: &'static str, value: Option<String>, expected: &str) -> String {
        if value.as_ref().is_none_or(String::is_empty) {
            self.add(key, format!("is missing, expected {expected}"));
        }
        value.unwrap_or_default()
    }

    /// A name that stands in a URL as it is.
    fn name(&mut self, key: &'static str, name: &str) {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if name.is_empty() || name.len() > 253 || !name.chars().all(is_plain) {
            self.add(key, format!("is \"{name}\", expected letters, digits, `-`, `_` and `.`"));
        }
    }

    fn url(&mut self, key: &'static str, url: &str) {
        let rest = url.strip_prefix("http://").or(url.strip_prefix("https://"));
        if rest.is_none_or(|rest| rest.is_empty() || rest.starts_with('/')) {
            self.add(key, format!("is \"{url}\", expected http:// or https://, a host and a port"));
        }
    }
}

impl Given {
    /// The target that is meant, on these brokers unless it names its own.
    pub(super) fn target(self, servers: &str) -> Result<Target, Vec<KeyProblem>> {
        let mut problems = Problems::default();
        let policy = self.policy(&mut problems);
        let commit = self.commit_ms.map_or(DEFAULT_COMMIT, Duration::from_millis);
        if !(Duration::from_millis(1)..=LONGEST_COMMIT).contains(&commit) {
            let most = LONGEST_COMMIT.as_millis();
            problems.add("commit_ms", format!("is {}, expected 1 to {most}", commit.as_millis()));
        }
        let concurrency = self.concurrency.unwrap_or(1);
        if !(1..=MAX_CONCURRENCY).contains(&concurrency) {
            let text = format!("is {concurrency}, expected 1 to {MAX_CONCURRENCY}");
            problems.add("concurrency", text);
        }
        let place = self.place(&mut problems);
        let topic = problems.required("topic", self.topic, "the topic that its records come from");
        let group = problems.required("group", self.group, "the consumer group that reads it");
        let Some(place) = place.filter(|_| problems.0.is_empty()) else { return Err(problems.0) };
        let default = match &place {
            Place::Function { name, .. } | Place::Deployment { name, .. } => name.clone(),
        };
        Ok(Target {
            name: self.name.unwrap_or(default),
            servers: self.bootstrap_servers.unwrap_or_else(|| servers.to_owned()),
            topic,
            group,
            commit,
            is_bounded_by_partitions: matches!(place, Place::Deployment { .. })
                && !self.beyond_partitions,
            place,
            policy,
            concurrency,
            cold_start: self.cold_start_ms.map_or(DEFAULT_COLD_START, Duration::from_millis),
            feeds_next: self.feeds_next,
        })
    }

    fn policy(&self, problems: &mut Problems) -> Policy {
        let default = Policy::default();
        let or = |ms: Option<u64>, default| ms.map_or(default, Duration::from_millis);
        // Not a number and what is less than nothing are found as 0.
        let service = self.service_ms.map(|ms| ms.clamp(0.0, 1e9) / 1000.0);
        let service = service.map(|s| Duration::try_from_secs_f64(s).unwrap_or_default());
        let policy = Policy {
            min_scale: self.min_scale.unwrap_or(0),
            max_scale: self.max_scale.unwrap_or(DEFAULT_MAX_SCALE),
            wait: or(self.wait_ms, default.wait),
            down_window: or(self.down_window_ms, default.down_window),
            idle: or(self.idle_ms, default.idle),
            expected_service: service.unwrap_or(DEFAULT_SERVICE),
            expected_forward_share: self.forward_share.unwrap_or(0.0),
            ..default
        };
        if let Err(autoscale::PolicyError(wrong)) = policy.check() {
            for problem in wrong {
                let key = match problem.key {
                    "wait" => "wait_ms",
                    "down_window" => "down_window_ms",
                    "idle" => "idle_ms",
                    "expected_service" => "service_ms",
                    "expected_forward_share" => "forward_share",
                    key => key,
                };
                problems.add(key, format!("is {}, expected {}", problem.value, problem.expected));
            }
        }
        policy
    }

    fn place(&self, problems: &mut Problems) -> Option<Place> {
        match (&self.function, &self.deployment) {
            (Some(function), None) => self.behind_gateway(function, problems),
            (None, Some(deployment)) => self.in_cluster(deployment, problems),
            (None, None) => {
                let text = "is missing, expected this or `deployment`: what is to be scaled";
                problems.add("function", text);
                None
            }
            (Some(_), Some(deployment)) => {
                let text = format!("is \"{deployment}\", expected it or `function`, and not both");
                problems.add("deployment", text);
                None
            }
        }
    }

    fn behind_gateway(&self, function: &str, problems: &mut Problems) -> Option<Place> {
        problems.name("function", function);
        let url = problems.required("gateway", self.gateway.clone(), "the URL of the gateway");
        problems.url("gateway", &url);
        for (key, is_there) in [
            ("namespace", self.namespace.is_some()),
            ("api_server", self.api_server.is_some()),
            ("token_file", self.token_file.is_some()),
            ("beyond_partitions", self.beyond_partitions),
        ] {
            if is_there {
                problems.add(key, "is of a `deployment`, and there is a `function`");
            }
        }
        let login = match (&self.user, &self.password_file) {
            (Some(user), Some(file)) => {
                Login::Basic { user: user.clone(), password_file: file.clone() }
            }
            (None, None) => Login::Nobody,
            (Some(_), None) => {
                problems.add("password_file", "is missing, expected the password of `user`");
                return None;
            }
            (None, Some(_)) => {
                problems.add("user", "is missing, expected the one whose `password_file` it is");
                return None;
            }
        };
        let (name, namespace) = match function.rsplit_once('.') {
            Some((name, namespace)) => (name, Some(namespace.to_owned())),
            None => (function, None),
        };
        let server = Server { url, login, ca_file: self.ca_file.clone() };
        Some(Place::Function { server, name: name.to_owned(), namespace })
    }

    fn in_cluster(&self, deployment: &str, problems: &mut Problems) -> Option<Place> {
        problems.name("deployment", deployment);
        for (key, is_there) in [
            ("gateway", self.gateway.is_some()),
            ("user", self.user.is_some()),
            ("password_file", self.password_file.is_some()),
        ] {
            if is_there {
                problems.add(key, "is of a `function`, and there is a `deployment`");
            }
        }
        let of_account = |name: &str| {
            let file = Path::new(SERVICE_ACCOUNT).join(name);
            // Of an API server that was named, the account of the pod is none of its business.
            Some(file).filter(|file| self.api_server.is_none() && file.exists())
        };
        let Some(url) = self.api_server.clone().or_else(own_cluster) else {
            let text = "is missing, expected the URL of the API server: this is not in a cluster";
            problems.add("api_server", text);
            return None;
        };
        problems.url("api_server", &url);
        let of_pod = of_account("namespace").and_then(|file| std::fs::read_to_string(file).ok());
        let namespace = self.namespace.clone().or(of_pod.map(|name| name.trim().to_owned()));
        let namespace = namespace.unwrap_or_else(|| "default".to_owned());
        problems.name("namespace", &namespace);
        let token_file = self.token_file.clone().or_else(|| of_account("token"));
        let login = token_file.map_or(Login::Nobody, |token_file| Login::Bearer { token_file });
        let ca_file = self.ca_file.clone().or_else(|| of_account("ca.crt"));
        let server = Server { url, login, ca_file };
        Some(Place::Deployment { server, namespace, name: deployment.to_owned() })
    }
}

/// The API server of the cluster that this process is a pod of, as each pod is told.
fn own_cluster() -> Option<String> {
    let host = std::env::var("KUBERNETES_SERVICE_HOST").ok()?;
    let port = std::env::var("KUBERNETES_SERVICE_PORT").unwrap_or_else(|_| "443".to_owned());
    let host = if host.contains(':') { format!("[{host}]") } else { host };
    Some(format!("https://{host}:{port}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given() -> Given {
        let text = |text: &str| Some(text.to_owned());
        Given {
            topic: text("t"),
            group: text("g"),
            gateway: text("http://gateway:8080"),
            function: text("edge.ns"),
            ..Given::default()
        }
    }

    #[track_caller]
    fn check(given: Given, expected: &[(&str, &str)]) {
        let problems = given.target("b:9092").unwrap_err();
        let found: Vec<_> = problems.iter().map(|p| (p.key, p.text.as_str())).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_function_is_named_with_its_namespace_behind_the_last_dot() {
        let target = given().target("b:9092").unwrap();
        assert_eq!((target.name.as_str(), target.servers.as_str()), ("edge", "b:9092"));
        let Place::Function { name, namespace, .. } = target.place else { panic!() };
        assert_eq!((name.as_str(), namespace.as_deref()), ("edge", Some("ns")));
        assert!(!target.is_bounded_by_partitions);
    }

    #[test]
    fn everything_that_is_wrong_is_found() {
        let wrong = Given {
            topic: None,
            function: Some("a/b".to_owned()),
            gateway: Some("gateway:8080".to_owned()),
            max_scale: Some(0),
            wait_ms: Some(0),
            service_ms: Some(f64::NAN),
            concurrency: Some(0),
            ..given()
        };
        check(
            wrong,
            &[
                ("max_scale", "is 0, expected 1 to 1000"),
                ("wait_ms", "is 0ns, expected 1ms to 86400s"),
                ("service_ms", "is 0ns, expected 1µs to 86400s"),
                ("concurrency", "is 0, expected 1 to 1000"),
                ("function", "is \"a/b\", expected letters, digits, `-`, `_` and `.`"),
                ("gateway", "is \"gateway:8080\", expected http:// or https://, a host and a port"),
                ("topic", "is missing, expected the topic that its records come from"),
            ],
        );
    }

    #[test]
    fn one_place_is_expected() {
        let deployment = Some("fog".to_owned());
        check(
            Given { deployment: deployment.clone(), ..given() },
            &[("deployment", "is \"fog\", expected it or `function`, and not both")],
        );
        let api_server = Some("http://127.0.0.1:8001".to_owned());
        check(
            Given { deployment, function: None, api_server: api_server.clone(), ..given() },
            &[("gateway", "is of a `function`, and there is a `deployment`")],
        );
        check(
            Given { function: None, gateway: None, ..given() },
            &[("function", "is missing, expected this or `deployment`: what is to be scaled")],
        );
        let user = Some("admin".to_owned());
        check(
            Given { user, ..given() },
            &[("password_file", "is missing, expected the password of `user`")],
        );
    }
}
