//! The client matrix: other people's clients, unchanged, against the embedded broker or against Kafka.
//!
//! Each client has a script of its own (`xtask/clients`, `crates/broker/tests/it/matrix.rs`) that gets the
//! address, runs its checks and prints a line for each. Kafka shows that the checks are fair: one that fails
//! against both is wrong itself.
//!
//! ```text
//! target/peers/python-clients/    the Python clients
//! target/peers/node-clients/      kafkajs
//! target/peers/matrix/            what the broker and each client said on standard error
//! ```

mod broker;
mod matrix;

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::Instant;

use anyhow::{Context as _, bail};

use crate::{kafka, peers, run};
use broker::{Against, Broker};
use matrix::{Column, Report};

/// Python clients and the codecs they load, pinned: a client that changes by itself would make yesterday's
/// commit fail.
const PYTHON: [&str; 7] = [
    "confluent-kafka==2.16.1",
    "kafka-python==3.0.12",
    "aiokafka==0.14.0",
    "python-snappy==0.7.3",
    "lz4==4.4.5",
    "zstandard==0.25.0",
    "cramjam==2.14.0",
];
const NODE: [&str; 2] = ["kafkajs@2.2.4", "kafkajs-snappy@1.1.0"];
/// Clients that are checked at a time. Most of a check is waiting: for heartbeats, for a session to end.
const LANES: usize = 3;
/// The slowest client needs about a minute; each check and each wait in it has its own, shorter bound.
const CLIENT_TIMEOUT_S: &str = "300";

/// A client's name, and how its checks are started against an address.
type Client = (&'static str, fn(&Tools, &str) -> Command);

/// The slowest first, so that none of the lanes ends long after the others.
const CLIENTS: [Client; 8] = [
    ("kafka-tools", |tools, address| tools.python("kafka_tools.py", address)),
    ("java", |tools, address| tools.java("Matrix.java", address)),
    ("kafkajs", |tools, address| tools.node("kafkajs.js", address)),
    ("rdkafka", |_, address| rdkafka(address)),
    ("kafka-python", |tools, address| tools.python("kafka_python.py", address)),
    ("confluent", |tools, address| tools.python("confluent.py", address)),
    ("kcat", |tools, address| tools.python("kcat.py", address)),
    ("aiokafka", |tools, address| tools.python("aiokafka_client.py", address)),
];

/// Where the clients are.
struct Tools {
    python: PathBuf,
    node_modules: PathBuf,
    jars: PathBuf,
}

pub(crate) fn test(arguments: &[&str]) -> anyhow::Result<()> {
    let (against, names) = match arguments {
        ["--against", "kafka", names @ ..] => (Against::Kafka, names),
        names => (Against::Ours, names),
    };
    let known = CLIENTS.map(|(name, _)| name);
    if let Some(unknown) = names.iter().find(|name| !known.contains(name)) {
        bail!("`{unknown}` is no client; there are {}", known.join(", "));
    }
    let tools = Tools::fetch()?;
    run::build_tests()?;
    let logs = run::root().join("target").join("peers").join("matrix");
    std::fs::create_dir_all(&logs)?;
    let broker = Broker::start(against, &logs)?;
    eprintln!("xtask: {} at {}", against.name(), broker.address());
    let chosen = CLIENTS.iter().filter(|(name, _)| names.is_empty() || names.contains(name));
    let columns = check_all(chosen, &tools, broker.address(), &logs)?;
    drop(broker);
    let report = Report::new(columns);
    writeln!(std::io::stdout(), "\n{report}")?;
    if 0 < report.failed() {
        bail!("checks against {} failed; {} has what was said", against.name(), logs.display());
    }
    Ok(())
}

fn check_all<'a>(
    clients: impl Iterator<Item = &'a Client> + Send,
    tools: &Tools,
    address: &str,
    logs: &Path,
) -> anyhow::Result<Vec<Column>> {
    let (waiting, columns) = (Mutex::new(clients), Mutex::new(Vec::new()));
    let lane = || -> anyhow::Result<()> {
        loop {
            let next = waiting.lock().expect("no lane panics").next();
            let Some((name, start)) = next else { return Ok(()) };
            let log = logs.join(format!("{name}.log"));
            let column = check(name, &start(tools, address), &log)
                .with_context(|| format!("checking {name}"))?;
            columns.lock().expect("no lane panics").push(column);
        }
    };
    std::thread::scope(|scope| {
        let lanes: Vec<_> = (0..LANES).map(|_| scope.spawn(lane)).collect();
        lanes.into_iter().try_for_each(|lane| lane.join().expect("no lane panics"))
    })?;
    Ok(columns.into_inner().expect("no lane panics"))
}

/// Runs a client's checks to their end.
fn check(name: &'static str, command: &Command, log: &Path) -> anyhow::Result<Column> {
    let start = Instant::now();
    let mut column = Column::new(name);
    // It kills what the client has started as well.
    let mut child = Command::new("timeout")
        .args(["--kill-after=5", CLIENT_TIMEOUT_S])
        .arg(command.get_program())
        .args(command.get_args())
        .envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))))
        .current_dir(run::root())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(File::create(log)?)
        .spawn()
        .with_context(|| format!("`{}` could not be started", command.get_program().display()))?;
    let output = BufReader::new(child.stdout.take().expect("standard output is piped"));
    for line in output.lines() {
        let line = line?;
        if column.read(&line) {
            eprintln!("xtask: {:5.1} s  {name}: {line}", start.elapsed().as_secs_f64());
        }
    }
    let status = child.wait()?;
    column.end(&format!("not reported ({status}); see {}", log.display()), start.elapsed());
    Ok(column)
}

impl Tools {
    /// Installs what is missing, or says what could not be had.
    fn fetch() -> anyhow::Result<Self> {
        run::installed("kcat", "-V", "kcat")?;
        run::installed("node", "--version", "nodejs")?;
        // Java runs a program from its source where its compiler is.
        run::installed("javac", "-version", "default-jdk-headless")?;
        let jars = kafka::fetch()?;
        let python = peers::venv("python-clients", &PYTHON)?;
        let node_modules = node_modules()?;
        Ok(Self { python, node_modules, jars })
    }

    fn python(&self, script: &str, address: &str) -> Command {
        let mut command = Command::new(&self.python);
        // The scripts import each other, which is to leave nothing in the tree.
        command.arg("-B").arg(scripts().join(script)).arg(address);
        command.env("OFFRAMP_KAFKA_JARS", &self.jars);
        command
    }

    fn node(&self, script: &str, address: &str) -> Command {
        let mut command = Command::new("node");
        command.arg(scripts().join(script)).arg(address);
        command.env("NODE_PATH", &self.node_modules);
        command
    }

    fn java(&self, source: &str, address: &str) -> Command {
        let mut command = Command::new("java");
        command.args(["-XX:+UseSerialGC", "-Dorg.slf4j.simpleLogger.defaultLogLevel=error", "-cp"]);
        command.arg(self.jars.join("*")).arg(scripts().join(source)).arg(address);
        command
    }
}

fn rdkafka(address: &str) -> Command {
    let mut command = Command::new(env!("CARGO"));
    command.args(run::TESTS).args(["--quiet", "--"]);
    command.args(["--ignored", "matrix::", "--nocapture"]).env("OFFRAMP_BOOTSTRAP", address);
    command
}

fn scripts() -> PathBuf {
    run::root().join("xtask").join("clients")
}

/// The folder of the Node clients, filled if need be.
fn node_modules() -> anyhow::Result<PathBuf> {
    let dir = run::root().join("target").join("peers").join("node-clients");
    let (modules, installed) = (dir.join("node_modules"), dir.join("installed.txt"));
    let wanted = NODE.join("\n");
    if std::fs::read_to_string(&installed).is_ok_and(|installed| installed == wanted) {
        return Ok(modules);
    }
    run::installed("npm", "--version", "npm")?;
    std::fs::create_dir_all(&dir)?;
    let prefix = dir.to_str().context("the path of the checkout is not UTF-8")?;
    let mut arguments = vec!["install", "--silent", "--no-audit", "--no-fund", "--no-save"];
    arguments.extend(["--prefix", prefix]);
    arguments.extend(NODE);
    run::program("npm", &arguments)
        .with_context(|| format!("{} could not be installed", NODE.join(", ")))?;
    std::fs::write(installed, wanted)?;
    Ok(modules)
}
