//! A broker to run commands against: a process of ours, or Apache Kafka where `OFFRAMP_PARITY_SERVERS` says so.

use std::io::Write as _;
use std::process::Stdio;

use crate::process::{Service, broker, offramp, run, run_ok};

pub(crate) struct Place {
    pub(crate) dir: tempfile::TempDir,
    _broker: Option<Service>,
    pub(crate) servers: String,
}

impl Place {
    /// A broker of ours.
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (broker, servers) = broker(&dir.path().join("log"), "127.0.0.1:0");
        Self { dir, _broker: Some(broker), servers }
    }

    /// The broker that parity is checked of. Others use it as well, so topics need names of their own.
    pub(crate) fn of_parity() -> Self {
        match std::env::var("OFFRAMP_PARITY_SERVERS") {
            Ok(servers) => Self { dir: tempfile::tempdir().unwrap(), _broker: None, servers },
            Err(_) => Self::new(),
        }
    }

    /// Creates a topic, whose name begins with `name` and is its own.
    pub(crate) fn topic(&self, name: &str, partitions: u32) -> String {
        let topic = format!("{name}-{}", uuid::Uuid::new_v4().simple());
        self.run(&["topic", "create", &topic, "-p", &partitions.to_string()]);
        topic
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> String {
        run_ok(&[arguments, &["-b", &self.servers]].concat())
    }

    pub(crate) fn fails(&self, arguments: &[&str]) -> String {
        let output = run(&[arguments, &["-b", &self.servers]].concat());
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        String::from_utf8(output.stderr).unwrap()
    }

    pub(crate) fn produce(&self, arguments: &[&str], input: &str) {
        let mut child =
            offramp(&[&["topic", "produce"], arguments, &["-b", &self.servers]].concat())
                .stdin(Stdio::piped())
                .spawn()
                .unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success());
    }
}
