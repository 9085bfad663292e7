//! Functions beside the tiers' own, and the gateway to them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Where the gateway listens unless told otherwise: where `faas-cli` looks for one, on this machine only.
pub const DEFAULT_GATEWAY_LISTEN: &str = "127.0.0.1:8080";
/// Where the runtime keeps its state unless told otherwise, relative to the pipeline file.
pub const DEFAULT_STATE_DIR: &str = ".offramp/runtime";
/// Where programs are that may be deployed through the gateway, unless told otherwise, relative to the pipeline file.
pub const DEFAULT_PROGRAMS_DIR: &str = "functions";
/// How long a function before or after the inference may take for a record.
pub const DEFAULT_STEP_TIMEOUT: Duration = Duration::from_secs(10);

/// The edge runtime of the process.
#[derive(Debug, Clone, PartialEq)]
pub struct Runtime {
    /// Where it keeps what was deployed, secrets and waiting calls.
    pub dir: PathBuf,
    /// The programs that may be deployed.
    pub programs: PathBuf,
    /// The gateway, if there is to be one.
    pub gateway: Option<Gateway>,
    /// The functions that the file describes.
    pub functions: Vec<Function>,
}

/// The gateway: functions are deployed and called through it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gateway {
    /// Address to listen on.
    pub listen: SocketAddr,
    /// Who may deploy; `None` lets anybody.
    pub auth: Option<Auth>,
}

/// A user, and where the password is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Auth {
    /// The user's name.
    pub user: String,
    /// A file with the password and nothing else, but for a line's end.
    pub password_file: PathBuf,
}

/// A function that the file describes. What is `None` is as the runtime has it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// A built-in function, as `offramp/inference`; empty for a program.
    pub image: String,
    /// The program and its arguments; empty for a built-in function.
    pub command: Vec<String>,
    /// Environment variables.
    pub env: BTreeMap<String, String>,
    /// Names of secrets that it may read.
    pub secrets: Vec<String>,
    /// Topics whose records are calls.
    pub topics: Vec<String>,
    /// Instances that stay while nothing is called.
    pub min_scale: Option<u32>,
    /// Instances at most.
    pub max_scale: Option<u32>,
    /// Without a call for this long, none stays.
    pub zero_after: Option<Duration>,
    /// Calls that one instance has at once, at most.
    pub concurrency: Option<u32>,
    /// How long a call may take.
    pub timeout: Option<Duration>,
    /// Memory of an instance, at most.
    pub memory_mib: Option<u64>,
    /// Processor time of an instance, in thousandths of a core, at most.
    pub cpu_millis: Option<u64>,
    /// Path that says whether an instance is healthy.
    pub health_path: Option<String>,
}

/// A function before or after a tier's inference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Which.
    pub callee: Callee,
    /// How long it may take for a record.
    pub timeout: Duration,
}

/// Who is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Callee {
    /// A function of the file, by its name.
    Function(String),
    /// Whoever answers at a URL.
    Url(String),
}
