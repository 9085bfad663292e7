//! The program's processes, killed when a test ends however it ends.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// Generous: the machines are shared, and a test that waits this long has failed.
pub(crate) const DEADLINE: Duration = Duration::from_secs(90);

/// The program, to be run with these arguments: the one that was built, or what `OFFRAMP_TEST_PROGRAM` says.
pub(crate) fn offramp(arguments: &[&str]) -> Command {
    let program = std::env::var("OFFRAMP_TEST_PROGRAM");
    let mut words = match &program {
        Ok(program) => program.split(' '),
        Err(_) => env!("CARGO_BIN_EXE_offramp").split('\0'),
    };
    let mut command = Command::new(words.next().unwrap());
    command.args(words).args(arguments).env_remove("OFFRAMP_DATA").env_remove("OFFRAMP_LOG");
    command
}

/// Runs the program to its end.
pub(crate) fn run(arguments: &[&str]) -> Output {
    offramp(arguments).output().unwrap()
}

/// Runs the program to its end, which must be success; returns what it printed.
pub(crate) fn run_ok(arguments: &[&str]) -> String {
    let output = run(arguments);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "offramp {arguments:?}: {}\n{stderr}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

/// SIGTERM.
pub(crate) fn ask_to_end(child: &Child) {
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
}

/// A process of the program that serves until it is killed.
#[derive(Debug)]
pub(crate) struct Service {
    child: Child,
    lines: Receiver<String>,
    said: Vec<String>,
}

impl Service {
    /// Starts the program.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::spawn(&mut offramp(arguments))
    }

    /// Starts a command that runs the program.
    pub(crate) fn spawn(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Self { child, lines, said: Vec::new() }
    }

    /// Waits for a log line with `text`, and returns its fields (`name=value`).
    pub(crate) fn wait_for(&mut self, text: &str) -> BTreeMap<String, String> {
        let line = self.wait_for_line(text);
        let fields = line.split_whitespace().filter_map(|word| word.split_once('='));
        fields.map(|(k, v)| (k.to_owned(), v.trim_matches('"').to_owned())).collect()
    }

    /// Waits for a log line with `text`.
    pub(crate) fn wait_for_line(&mut self, text: &str) -> String {
        let deadline = Instant::now() + DEADLINE;
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    self.said.push(line.clone());
                    if line.contains(text) {
                        return line;
                    }
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    panic!("`{text}` was not said; said:\n{}", self.said.join("\n"))
                }
            }
        }
    }

    /// kill -9, and waits until it is gone.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM; waits for the end, which must be success.
    pub(crate) fn terminate(self) -> Vec<String> {
        ask_to_end(&self.child);
        self.ended()
    }

    /// Waits for the end, which must be success; returns what was said.
    pub(crate) fn ended(mut self) -> Vec<String> {
        let status = self.child.wait().unwrap();
        self.said.extend(self.lines.iter());
        assert!(status.success(), "{status}; said:\n{}", self.said.join("\n"));
        std::mem::take(&mut self.said)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts a broker on a log in `dir`, listening on `listen`; returns it and its address.
pub(crate) fn broker(dir: &Path, listen: &str) -> (Service, String) {
    let mut broker =
        Service::start(&["broker", "--dir", dir.to_str().unwrap(), "--listen", listen]);
    let address = broker.wait_for("broker ready")["listening"].clone();
    (broker, address)
}

/// An address that nobody listens on at the moment.
pub(crate) fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}
