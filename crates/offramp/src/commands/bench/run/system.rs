//! What is measured: started here as processes of this program, or running already.
//!
//! ```text
//! offramp     one process: broker, gateway and every tier                  devices ─► offramp up
//! processes   a broker; of each tier a connector, an inference function and funnels, each a process, calls over HTTP
//! gateway     a broker; a node whose functions are the tiers' inference functions and funnels: connectors and functions
//!             call each other through its gateway
//! external    whatever reads --in and writes --out
//! ```
//!
//! What is started here stands in a temporary folder, with a log for each process, and ends with the measurement.

mod processes;

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use bench::collector::Patience;
use bench::run::About;
use bench::usage::Watched;
use bench::{Collector, End, Join, Load, Outlet, Place, Schedule, devices};
use clap::ValueEnum;
use kafka::Producer;
use tempfile::TempDir;
use tokio::sync::OnceCell;

pub(super) use processes::Processes;

use super::faults::Names;
use crate::commands::topic::BrokerArgs;
use crate::demo::pipeline::SUB_MODELS;
use crate::outcome::OrConfig as _;

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "What is measured")]
pub(super) struct Args {
    /// What is measured; default: external where --in is given, else offramp.
    #[arg(long, value_enum)]
    system: Option<Kind>,
    /// Sub-models of the tiers that are started here, first tier first; default: those of the demo.
    #[arg(long = "model", value_name = "FILE", value_delimiter = ',')]
    models: Vec<PathBuf>,
    /// Topic to send to.
    #[arg(long = "in", value_name = "TOPIC", requires = "outputs")]
    input: Option<String>,
    /// Topics of answers, first tier first; separated by commas, or given several times. One on another broker is
    /// given with it: `topic@host:port`.
    #[arg(long = "out", value_name = "TOPIC[@BROKER]", value_delimiter = ',', requires = "input")]
    outputs: Vec<String>,
    /// Topics of dead letters.
    #[arg(
        long = "dead-letter",
        value_name = "TOPIC[@BROKER]",
        value_delimiter = ',',
        requires = "input"
    )]
    dead_letters: Vec<String>,
    /// By what answers are joined to records: the `id` in a header, the `key`, or the `order` of arrival, for systems that
    /// keep neither; that can't tell what was lost from what came twice.
    #[arg(long, value_enum, default_value_t)]
    join: JoinBy,
    #[command(flatten)]
    broker: BrokerArgs,
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// Every tier in one process, with a broker.
    Offramp,
    /// Each function a process, calls over HTTP.
    Processes,
    /// Functions behind the gateway of a node.
    Gateway,
    /// Whatever reads --in and writes --out.
    External,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum JoinBy {
    #[default]
    Id,
    Key,
    Order,
}

/// How long a process may take to be ready, and a system to answer first.
const READY_TIMEOUT: Duration = Duration::from_secs(60);
/// Records that a system answers before it is measured, so that groups are joined and engines are warm.
const FIRST: u64 = 20;
/// The pipeline whose topics the systems here have.
const PIPELINE: &str = "bench";
/// Where a connector puts dead letters, and a node those of functions' topics.
const DEAD_LETTERS: &str = "input-dead-letter";

/// A system that can be measured.
pub(super) struct System {
    kind: Kind,
    tiers: Vec<String>,
    input: Place,
    outlets: Vec<Outlet>,
    join: Join,
    gateway: Option<String>,
    processes: Processes,
    answers: OnceCell<()>,
    /// Outlives the processes.
    _dir: Option<TempDir>,
}

impl Args {
    fn kind(&self) -> Kind {
        self.system.unwrap_or(match self.input {
            Some(_) => Kind::External,
            None => Kind::Offramp,
        })
    }

    pub(super) fn name(&self) -> &'static str {
        match self.kind() {
            Kind::Offramp => "offramp",
            Kind::Processes => "processes",
            Kind::Gateway => "gateway",
            Kind::External => "external",
        }
    }

    pub(super) fn join(&self) -> Join {
        match self.join {
            JoinBy::Id => Join::Id,
            JoinBy::Key => Join::Key,
            JoinBy::Order => Join::Order,
        }
    }
}

/// Starts what is to be measured, or finds it.
pub(super) async fn start(args: &Args, encoding: &str) -> anyhow::Result<System> {
    if args.kind() == Kind::External {
        return external(args).or_config();
    }
    if args.input.is_some() {
        let text = format!("`--in` is given, expected none with `--system {}`", args.name());
        return Err(anyhow::anyhow!(text)).or_config();
    }
    let dir = tempfile::tempdir().context("a temporary folder for the system")?;
    let models = models(args, &dir)?;
    let build =
        Build { models: &models, dir: dir.path(), encoding, processes: Processes::new(dir.path()) };
    let (servers, gateway) = match args.kind() {
        Kind::Offramp => build.in_one().await?,
        Kind::Processes => build.apart().await?,
        _ => build.behind_gateway().await?,
    };
    let processes = build.processes.clone();
    let place = |topic: String| Place { servers: servers.clone(), topic };
    let mut outlets = Vec::new();
    for (at, (tier, _)) in models.iter().enumerate() {
        let end = End::Answered(at);
        outlets.push(Outlet { place: place(topic(tier, "output")), end });
        let dead = if args.kind() == Kind::Offramp { "dead-letter" } else { DEAD_LETTERS };
        outlets.push(Outlet { place: place(topic(tier, dead)), end: End::DeadLettered });
    }
    Ok(System {
        kind: args.kind(),
        tiers: models.iter().map(|(tier, _)| tier.clone()).collect(),
        input: place(topic(&models[0].0, "input")),
        outlets,
        join: args.join(),
        gateway,
        processes,
        answers: OnceCell::new(),
        _dir: Some(dir),
    })
}

fn topic(tier: &str, end: &str) -> String {
    format!("{PIPELINE}.{tier}-{end}")
}

fn external(args: &Args) -> anyhow::Result<System> {
    let servers = &args.broker.bootstrap_servers;
    let place = |topic: &String| {
        let (topic, servers) = topic.split_once('@').unwrap_or((topic, servers));
        Place { servers: servers.to_owned(), topic: topic.to_owned() }
    };
    let input = args.input.as_ref();
    let input =
        input.context("`--system external` has no `--in TOPIC`, expected one to send to")?;
    let answers = args.outputs.iter().enumerate();
    let answers = answers.map(|(at, topic)| Outlet { place: place(topic), end: End::Answered(at) });
    let letters = args.dead_letters.iter();
    let letters = letters.map(|topic| Outlet { place: place(topic), end: End::DeadLettered });
    Ok(System {
        kind: Kind::External,
        tiers: args.outputs.iter().map(|topic| place(topic).topic).collect(),
        input: Place { servers: servers.clone(), topic: input.clone() },
        outlets: answers.chain(letters).collect(),
        join: args.join(),
        gateway: None,
        processes: Processes::default(),
        answers: OnceCell::new(),
        _dir: None,
    })
}

/// Name and file of each tier's sub-model.
fn models(args: &Args, dir: &TempDir) -> anyhow::Result<Vec<(String, PathBuf)>> {
    if args.models.is_empty() {
        let write = |(tier, bytes): &(&str, &[u8])| {
            let path = dir.path().join(format!("{tier}.onnx"));
            std::fs::write(&path, bytes).context("the demo's sub-models")?;
            anyhow::Ok(((*tier).to_owned(), path))
        };
        return SUB_MODELS.iter().map(write).collect();
    }
    let mut models: Vec<(String, PathBuf)> = Vec::new();
    for path in &args.models {
        let file = path.canonicalize();
        let file = file.with_context(|| format!("sub-model `{}`", path.display())).or_config()?;
        let tier = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if models.iter().any(|(other, _)| *other == tier) {
            let text =
                format!("two files of `--model` are called `{tier}`, expected different names");
            return Err(anyhow::anyhow!(text)).or_config();
        }
        models.push((tier, file));
    }
    Ok(models)
}

impl System {
    pub(super) fn tiers(&self) -> Vec<String> {
        self.tiers.clone()
    }

    pub(super) fn outlets(&self) -> Vec<Outlet> {
        self.outlets.clone()
    }

    pub(super) fn input(&self) -> &str {
        &self.input.topic
    }

    pub(super) fn servers(&self) -> &str {
        &self.input.servers
    }

    pub(super) fn join(&self) -> Join {
        self.join
    }

    pub(super) fn processes(&self) -> Processes {
        self.processes.clone()
    }

    pub(super) fn gateway(&self) -> Option<String> {
        self.gateway.clone()
    }

    /// What a script of faults can name.
    pub(super) fn names(&self, given: &[Watched]) -> Names {
        let given = given.iter().map(|watched| watched.name.clone());
        Names { own: self.processes.names(), given: given.collect() }
    }

    pub(super) fn describe(&self, about: &mut About) {
        about.system = match self.kind {
            Kind::Offramp => "offramp: broker and every tier in one process".to_owned(),
            Kind::Processes => {
                "offramp: broker, connectors, inference functions and funnels, a process each"
                    .to_owned()
            }
            Kind::Gateway => {
                "offramp: a broker, and functions behind the gateway of a node".to_owned()
            }
            Kind::External => {
                format!("external: {} to {}", self.input.topic, self.tiers.join(", "))
            }
        };
        let joined_by = match self.join {
            Join::Id => "id, in a header",
            Join::Key => "key",
            Join::Order => "order of arrival",
        };
        joined_by.clone_into(&mut about.joined_by);
    }

    /// Waits, the first time, until what was started here has answered some records, which count nowhere.
    pub(super) async fn ready(&self, load: &Load) -> anyhow::Result<()> {
        if self.kind == Kind::External {
            return Ok(());
        }
        self.answers.get_or_try_init(|| self.first(load)).await.copied()
    }

    async fn first(&self, load: &Load) -> anyhow::Result<()> {
        let collector = Collector::start(self.outlets()).await?;
        let load = Load { records: FIRST, schedule: Schedule::AsFast, ..load.clone() };
        let producer = Producer::new(self.servers())?;
        let (sent, sending) = devices::start(producer, self.input(), load);
        let silence = READY_TIMEOUT;
        let patience = Patience { silence, late: Duration::MAX, settle: Duration::ZERO };
        let collected = collector.collect(&sent, patience, |_| ()).await;
        sending.abort();
        let (answered, dead) = (collected.answered(), collected.dead_lettered);
        if answered < FIRST {
            let logs = self.processes.last_words();
            bail!(
                "of the first {FIRST} records {answered} were answered, {dead} are dead letters{logs}"
            );
        }
        Ok(())
    }
}

/// Builds a system.
struct Build<'a> {
    models: &'a [(String, PathBuf)],
    dir: &'a std::path::Path,
    encoding: &'a str,
    processes: Processes,
}

/// The address of its broker, and the URL of its gateway.
type Built = (String, Option<String>);

impl Build<'_> {
    async fn in_one(&self) -> anyhow::Result<Built> {
        let (port, gateway) = (processes::free_port()?, processes::free_port()?);
        let mut file = format!(
            "[pipeline]\nname = \"{PIPELINE}\"\n[broker]\ndir = \"log\"\nlisten = \"127.0.0.1:{port}\"\n[gateway]\n\
             listen = \"127.0.0.1:{gateway}\"\n"
        );
        for (at, (tier, model)) in self.models.iter().enumerate() {
            writeln!(file, "[[tier]]\nname = \"{tier}\"\nmodel = {}", quoted(model)?)?;
            if at == 0 {
                writeln!(file, "input = {{ encoding = \"{}\" }}", self.encoding)?;
            }
        }
        self.up("offramp", &file).await?;
        Ok((format!("127.0.0.1:{port}"), Some(format!("http://127.0.0.1:{gateway}"))))
    }

    /// A process that runs a pipeline file.
    async fn up(&self, name: &str, file: &str) -> anyhow::Result<()> {
        let path = self.dir.join(format!("{name}.toml"));
        std::fs::write(&path, file)?;
        let path = path.to_str().context("the temporary folder is not UTF-8")?;
        self.processes.start(name, &["up", path], "ready_ms", READY_TIMEOUT).await
    }

    async fn broker(&self) -> anyhow::Result<String> {
        let servers = format!("127.0.0.1:{}", processes::free_port()?);
        let log = self.dir.join("log");
        let log = log.to_str().context("the temporary folder is not UTF-8")?;
        let arguments = ["broker", "--listen", &servers, "--dir", log];
        self.processes.start("broker", &arguments, "broker ready", READY_TIMEOUT).await?;
        for (tier, _) in self.models {
            for end in ["input", "output", DEAD_LETTERS] {
                kafka::admin::create_topic(&servers, &topic(tier, end), Some(1), &[]).await?;
            }
        }
        Ok(servers)
    }

    async fn apart(&self) -> anyhow::Result<Built> {
        let servers = self.broker().await?;
        for (at, (tier, model)) in self.models.iter().enumerate() {
            let exit =
                self.funnel(&format!("{tier}-exit"), &servers, &topic(tier, "output")).await?;
            let model = model.to_str().context("the model's path is not UTF-8")?;
            let mut more = vec!["--model", model, "--tier", tier, "--exit-url", &exit];
            let up = match self.models.get(at + 1) {
                None => None,
                Some((next, _)) => {
                    Some(self.funnel(&format!("{tier}-up"), &servers, &topic(next, "input")).await?)
                }
            };
            more.extend(up.iter().flat_map(|url| ["--forward-url", url.as_str()]));
            if up.is_none() {
                more.push("--last");
            }
            if at == 0 {
                more.extend(["--encoding", self.encoding]);
            }
            let url = self.serve(tier, "inference", &more).await?;
            let (input, dead) = (topic(tier, "input"), topic(tier, DEAD_LETTERS));
            let connector =
                ["function", "connector", "--bootstrap-servers", &servers, "--topic", &input];
            let to = ["--url", &url, "--dead-letter-topic", &dead];
            let arguments = [&connector[..], &to].concat();
            let name = format!("{tier}-connector");
            self.processes.start(&name, &arguments, "connector ready", READY_TIMEOUT).await?;
        }
        Ok((servers, None))
    }

    async fn funnel(&self, name: &str, servers: &str, topic: &str) -> anyhow::Result<String> {
        let more = ["--bootstrap-servers", servers, "--topic", topic];
        self.serve(name, "funnel", &more).await
    }

    /// A function that listens; its URL.
    async fn serve(&self, name: &str, function: &str, more: &[&str]) -> anyhow::Result<String> {
        let listen = format!("127.0.0.1:{}", processes::free_port()?);
        let arguments = [&["function", function, "--listen", &listen], more].concat();
        let ready = format!("{function} ready");
        self.processes.start(name, &arguments, &ready, READY_TIMEOUT).await?;
        Ok(format!("http://{listen}/"))
    }

    async fn behind_gateway(&self) -> anyhow::Result<Built> {
        let servers = self.broker().await?;
        let gateway = format!("127.0.0.1:{}", processes::free_port()?);
        let url = format!("http://{gateway}");
        let mut file = format!(
            "[pipeline]\nname = \"{PIPELINE}\"\n[gateway]\nlisten = \"{gateway}\"\n[runtime]\ndir = \"runtime\"\n"
        );
        let quote = |text: &str| serde_json::Value::from(text).to_string();
        for (at, (tier, model)) in self.models.iter().enumerate() {
            let next = self.models.get(at + 1);
            let funnels = [
                Some((format!("{tier}-exit"), topic(tier, "output"))),
                next.map(|(next, _)| (format!("{tier}-up"), topic(next, "input"))),
            ];
            for (name, topic) in funnels.into_iter().flatten() {
                writeln!(
                    file,
                    "[[function]]\nname = \"{name}\"\nimage = \"offramp/funnel\"\nenv = {{ OFFRAMP_BOOTSTRAP_SERVERS = \
                     \"{servers}\", OFFRAMP_TOPIC = {} }}",
                    quote(&topic)
                )?;
            }
            let ends = match next {
                Some(_) => format!("OFFRAMP_FORWARD_URL = \"{url}/function/{tier}-up\""),
                None => "OFFRAMP_LAST = \"true\"".to_owned(),
            };
            let encoding = if at == 0 { self.encoding } else { "json" };
            writeln!(
                file,
                "[[function]]\nname = \"{tier}\"\nimage = \"offramp/inference\"\ntopics = [{}]\nenv = {{ OFFRAMP_MODEL = {}, \
                 OFFRAMP_TIER = \"{tier}\", OFFRAMP_ENCODING = \"{encoding}\", OFFRAMP_EXIT_URL = \
                 \"{url}/function/{tier}-exit\", {ends} }}",
                quote(&topic(tier, "input")),
                quoted(model)?
            )?;
        }
        // A pipeline has a tier; this one gets no records.
        let (_, last) = self.models.last().context("there is a model")?;
        writeln!(
            file,
            "[[tier]]\nname = \"idle\"\nmodel = {}\nbootstrap_servers = \"{servers}\"",
            quoted(last)?
        )?;
        self.up("node", &file).await?;
        Ok((servers, Some(url)))
    }
}

/// A path as TOML text, which JSON's is.
fn quoted(path: &std::path::Path) -> anyhow::Result<String> {
    let text = path.to_str();
    let text = text.with_context(|| format!("`{}` is not UTF-8", path.display()))?;
    ensure!(!text.contains('\n'), "`{text}` holds a line feed");
    Ok(serde_json::Value::from(text).to_string())
}
