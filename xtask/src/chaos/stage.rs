//! What chaos is let loose on: processes, and the links between them.

use std::fmt::Write as _;
use std::fs::File;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};

use super::{Condition, Link};
use crate::kafka::{Kafka, Waits};
use crate::{program, run};

/// Whose brokers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Brokers {
    Ours,
    Kafka,
}

impl Brokers {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Ours => "offramp's broker",
            Self::Kafka => "Apache Kafka",
        }
    }
}

/// The tiers, and the confidence at which each answers: so high that many records go all the way.
const TIERS: [(&str, &str); 3] = [("edge", "0.9999"), ("fog", "0.99999"), ("cloud", "")];
const PARTITIONS: &str = "3";
/// Connectors of a tier: more than one, so that partitions change hands.
const CONNECTORS: usize = 2;

/// What a process says last that ends because its broker does not answer, or no more, while it starts.
const BROKER_NOT_THERE: [&str; 3] =
    ["does not answer within", "could not be created on", "refuses to"];

/// Something that can be struck.
pub(super) enum Part {
    Process(Process),
    Broker(BrokerProcess),
    Cable { name: String, link: Link },
}

/// A process of ours.
pub(super) struct Process {
    name: String,
    kind: &'static str,
    arguments: Vec<String>,
    log: PathBuf,
    child: Option<Child>,
}

/// A broker, ours or Kafka, on a directory and a port that it keeps.
pub(super) struct BrokerProcess {
    name: String,
    dir: PathBuf,
    port: u16,
    advertised: u16,
    running: Option<Running>,
    is_kafka: bool,
}

enum Running {
    Ours(Process),
    Kafka(Kafka),
}

impl Part {
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Process(process) => &process.name,
            Self::Broker(broker) => &broker.name,
            Self::Cable { name, .. } => name,
        }
    }

    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Process(process) => process.kind,
            Self::Broker(_) => "broker",
            Self::Cable { .. } => "link",
        }
    }
}

impl Process {
    pub(super) fn start(
        name: impl Into<String>,
        kind: &'static str,
        arguments: Vec<String>,
        dir: &Path,
    ) -> anyhow::Result<Self> {
        let name = name.into();
        let log = dir.join(format!("{name}.log"));
        let mut process = Self { name, kind, arguments, log, child: None };
        process.launch()?;
        Ok(process)
    }

    fn launch(&mut self) -> anyhow::Result<()> {
        let log = File::options().create(true).append(true).open(&self.log)?;
        let child = Command::new(program::offramp()?)
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("{} could not be started", self.name))?;
        self.child = Some(child);
        Ok(())
    }

    fn kill(&mut self) -> anyhow::Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    /// Starts it again, or has it go on.
    fn revive(&mut self) -> anyhow::Result<()> {
        match &mut self.child {
            None => self.launch(),
            Some(child) => signal("CONT", child.id()),
        }
    }

    /// Starts it again if it ended because its broker was not there when it started, as a supervisor would. That it
    /// ends for any other reason is a failure.
    fn supervise(&mut self) -> anyhow::Result<()> {
        let Some(child) = &mut self.child else { return Ok(()) };
        let Some(status) = child.try_wait()? else { return Ok(()) };
        let said = std::fs::read_to_string(&self.log)?;
        let last = said.lines().last().unwrap_or_default();
        if !BROKER_NOT_THERE.iter().any(|part| last.contains(part)) {
            bail!("{} ended by itself, {status}: {last}; see {}", self.name, self.log.display());
        }
        self.launch()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

impl BrokerProcess {
    fn launch(&mut self) -> anyhow::Result<()> {
        self.running = Some(if self.is_kafka {
            let (port, advertised) = (Some(self.port), Some(self.advertised));
            Running::Kafka(Kafka::start_at(port, advertised, Some(&self.dir), Waits::AsShipped)?)
        } else {
            let arguments = ["broker", "--listen", &format!("127.0.0.1:{}", self.port)]
                .into_iter()
                .chain(["--advertise", &format!("127.0.0.1:{}", self.advertised)])
                .chain(["--dir", self.dir.to_str().context("the directory is not UTF-8")?])
                .map(str::to_owned)
                .collect();
            let beside = self.dir.parent().context("the directory has a parent")?;
            Running::Ours(Process::start(self.name.clone(), "broker", arguments, beside)?)
        });
        Ok(())
    }

    fn pid(&self) -> anyhow::Result<u32> {
        match &self.running {
            Some(Running::Ours(Process { child: Some(child), .. })) => Ok(child.id()),
            Some(Running::Kafka(kafka)) => kafka.pid(),
            _ => bail!("{} does not run", self.name),
        }
    }
}

/// Everything that runs.
pub(super) struct Stage {
    kind: &'static str,
    parts: Vec<Part>,
    input: String,
    /// Each `TOPIC@BROKER`.
    outputs: Vec<String>,
    dead_letters: Vec<String>,
}

impl Stage {
    pub(super) fn kind(&self) -> &'static str {
        self.kind
    }

    pub(super) fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// All functions on their own, on one broker.
    pub(super) fn functions(dir: &Path, brokers: Brokers) -> anyhow::Result<Self> {
        let mut parts = Vec::new();
        let servers = broker(&mut parts, "broker", dir, brokers)?;
        let mut stage = Self {
            kind: "functions",
            parts,
            input: String::new(),
            outputs: Vec::new(),
            dead_letters: Vec::new(),
        };
        let at = |topic: &str| format!("{topic}@{servers}");
        stage.input = at("edge-input");
        let topics = |tier: &str| ["input", "output", "dead"].map(|end| format!("{tier}-{end}"));
        for topic in TIERS.into_iter().flat_map(|(tier, _)| topics(tier)) {
            topic_create(&servers, &topic)?;
        }
        for (nth, (tier, threshold)) in TIERS.into_iter().enumerate() {
            let [input, output, dead] = topics(tier);
            stage.outputs.push(at(&output));
            stage.dead_letters.push(at(&dead));
            let mut inference = words("function inference --model");
            inference.push(model(tier)?);
            let exit = stage.funnel(&format!("{tier}-exit"), &servers, &output, dir)?;
            inference.extend(["--exit-url".into(), exit]);
            match TIERS.get(nth + 1) {
                Some((next, _)) => {
                    let topic = format!("{next}-input");
                    let up = stage.funnel(&format!("{tier}-up"), &servers, &topic, dir)?;
                    inference.extend(["--forward-url".into(), up]);
                    inference.extend(words(&format!("--threshold {threshold} --features int8")));
                }
                None => inference.push("--last".into()),
            }
            let url = stage.serve(format!("{tier}-inference"), "function", inference, dir)?;
            for nth in 0..CONNECTORS {
                let arguments = words(&format!(
                    "function connector --bootstrap-servers {servers} --topic {input} --url {url} \
                     --dead-letter-topic {dead} --backoff-ms-max 1000 --attempts 100"
                ));
                let name = format!("{tier}-connector-{nth}");
                let process = Process::start(name, "connector", arguments, dir)?;
                stage.parts.push(Part::Process(process));
            }
        }
        Ok(stage)
    }

    /// Each tier in one process, on a broker of its own.
    pub(super) fn nodes(dir: &Path, brokers: Brokers) -> anyhow::Result<Self> {
        let tiers = TIERS.map(|(tier, _)| tier);
        let mut stage = Self::nodes_of(dir, brokers, &tiers, "")?;
        let path = dir.join("offramp.toml");
        let path = path.to_str().context("the directory is not UTF-8")?;
        for tier in tiers {
            let arguments = words(&format!("up {path} --tier {tier}"));
            stage.push(Part::Process(Process::start(tier, "node", arguments, dir)?));
        }
        Ok(stage)
    }

    /// A broker for each of these tiers, and the pipeline file: all but the tiers' own processes. `keys` are lines
    /// of the first one's table.
    pub(super) fn nodes_of(
        dir: &Path,
        brokers: Brokers,
        tiers: &[&str],
        keys: &str,
    ) -> anyhow::Result<Self> {
        let mut parts = Vec::new();
        let mut file = "[pipeline]\nname = \"chaos\"\n".to_owned();
        let (mut outputs, mut dead_letters, mut input) = (Vec::new(), Vec::new(), String::new());
        for (nth, tier) in tiers.iter().enumerate() {
            let servers = broker(&mut parts, &format!("{tier}-broker"), dir, brokers)?;
            let topic = |end: &str| format!("chaos.{tier}-{end}");
            topic_create(&servers, &topic("input"))?;
            topic_create(&servers, &topic("output"))?;
            topic_create(&servers, &topic("dead-letter"))?;
            if input.is_empty() {
                input = format!("{}@{servers}", topic("input"));
            }
            outputs.push(format!("{}@{servers}", topic("output")));
            dead_letters.push(format!("{}@{servers}", topic("dead-letter")));
            write!(
                file,
                "[[tier]]\nname = \"{tier}\"\nmodel = \"{}\"\nbootstrap_servers = \"{servers}\"\n\
                 retry = {{ attempts = 100, backoff_ms_max = 1000 }}\n",
                model(tier)?
            )?;
            if nth == 0 {
                writeln!(file, "{keys}")?;
            }
            if nth + 1 < tiers.len() {
                let threshold = TIERS[nth].1;
                writeln!(file, "exit = {{ threshold = {threshold} }}\nfeatures = \"int8\"")?;
            }
        }
        std::fs::write(dir.join("offramp.toml"), file)?;
        Ok(Self { kind: "nodes", parts, input, outputs, dead_letters })
    }

    pub(super) fn push(&mut self, part: Part) {
        self.parts.push(part);
    }

    /// Starts the devices and the collector, and waits until they send.
    pub(super) fn bench(&self, rate: u64, records: u64, dir: &Path) -> anyhow::Result<Child> {
        let (topic, servers) = self.input.split_once('@').context("TOPIC@BROKER")?;
        let log = File::create(dir.join("bench.log"))?;
        let mut bench = Command::new(program::offramp()?)
            .args(["bench", "run", "--in", topic, "--bootstrap-servers", servers])
            .args(["--out", &self.outputs.join(",")])
            .args(["--dead-letter", &self.dead_letters.join(",")])
            .args(["--rate", &rate.to_string(), "--records", &records.to_string()])
            .args(["--devices", "4", "--keys", "100", "--silence-s", "90", "--output", "json"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .context("the devices could not be started")?;
        // They look at every broker before they send, so nothing may be struck before their first record.
        let mut first = Command::new(program::offramp()?)
            .args(["topic", "consume", topic, "--bootstrap-servers", servers, "--count", "1"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .context("the first record could not be waited for")?;
        loop {
            if let Some(status) = first.try_wait()? {
                ensure!(status.success(), "the first record was not read: {status}");
                return Ok(bench);
            }
            if bench.try_wait()?.is_some() {
                first.kill()?;
                first.wait()?;
                let said = std::fs::read_to_string(dir.join("bench.log"))?;
                bail!("the devices ended before they sent anything: {said}");
            }
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }

    /// Strikes a part. Returns what was done.
    pub(super) fn strike(&mut self, part: usize, hard: bool) -> anyhow::Result<&'static str> {
        match (&mut self.parts[part], hard) {
            (Part::Process(process), true) => process.kill().map(|()| "kill"),
            (Part::Process(process), false) => {
                let child = process.child.as_ref().context("a part that is whole runs")?;
                signal("STOP", child.id()).map(|()| "stop")
            }
            (Part::Broker(broker), true) => {
                broker.running = None;
                Ok("kill")
            }
            (Part::Broker(broker), false) => signal("STOP", broker.pid()?).map(|()| "stop"),
            (Part::Cable { link, .. }, true) => {
                link.set(Condition::Broken);
                Ok("break")
            }
            (Part::Cable { link, .. }, false) => {
                link.set(Condition::Silent);
                Ok("silence")
            }
        }
    }

    pub(super) fn heal(&mut self, part: usize) -> anyhow::Result<()> {
        match &mut self.parts[part] {
            Part::Process(process) => process.revive(),
            Part::Broker(broker) => match &mut broker.running {
                None => broker.launch(),
                Some(_) => signal("CONT", broker.pid()?),
            },
            Part::Cable { link, .. } => {
                link.set(Condition::Whole);
                Ok(())
            }
        }
    }

    /// Has what ended by itself start again, where it may.
    pub(super) fn supervise(&mut self) -> anyhow::Result<()> {
        for part in &mut self.parts {
            if let Part::Process(process) = part {
                process.supervise()?;
            }
        }
        Ok(())
    }

    fn funnel(
        &mut self,
        name: &str,
        servers: &str,
        topic: &str,
        dir: &Path,
    ) -> anyhow::Result<String> {
        let arguments =
            words(&format!("function funnel --bootstrap-servers {servers} --topic {topic}"));
        self.serve(format!("{name}-funnel"), "funnel", arguments, dir)
    }

    /// Starts a function that listens. Returns its URL, behind a link.
    fn serve(
        &mut self,
        name: String,
        kind: &'static str,
        mut arguments: Vec<String>,
        dir: &Path,
    ) -> anyhow::Result<String> {
        let port = free_port()?;
        let link = Link::to(port)?;
        let url = format!("http://127.0.0.1:{}/", link.port());
        arguments.extend(words(&format!("--listen 127.0.0.1:{port}")));
        self.parts.push(Part::Cable { name: format!("{name}-link"), link });
        self.parts.push(Part::Process(Process::start(name, kind, arguments, dir)?));
        Ok(url)
    }
}

/// Starts a broker behind a link. Returns the address of the link.
fn broker(
    parts: &mut Vec<Part>,
    name: &str,
    dir: &Path,
    brokers: Brokers,
) -> anyhow::Result<String> {
    let port = free_port()?;
    let link = Link::to(port)?;
    let mut broker = BrokerProcess {
        name: name.to_owned(),
        dir: dir.join(format!("{name}-log")),
        port,
        advertised: link.port(),
        running: None,
        is_kafka: brokers == Brokers::Kafka,
    };
    broker.launch()?;
    let servers = format!("127.0.0.1:{}", link.port());
    parts.push(Part::Broker(broker));
    parts.push(Part::Cable { name: format!("{name}-link"), link });
    Ok(servers)
}

fn topic_create(servers: &str, topic: &str) -> anyhow::Result<()> {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let created = Command::new(program::offramp()?)
            .args(["topic", "create", topic, "--partitions", PARTITIONS, "-b", servers])
            .output()?;
        if created.status.success() {
            return Ok(());
        }
        if deadline < Instant::now() {
            bail!("{topic}: {}", String::from_utf8_lossy(&created.stderr));
        }
        std::thread::park_timeout(Duration::from_millis(200));
    }
}

fn model(tier: &str) -> anyhow::Result<String> {
    let path = run::root().join("models").join("mnist-conv").join(format!("{tier}.onnx"));
    Ok(path.to_str().context("the path of the checkout is not UTF-8")?.to_owned())
}

pub(super) fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

pub(super) fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

fn signal(name: &str, pid: u32) -> anyhow::Result<()> {
    let status = Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status()?;
    anyhow::ensure!(status.success(), "`kill -{name} {pid}` failed");
    Ok(())
}
