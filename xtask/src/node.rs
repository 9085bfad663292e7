//! The figures of an edge node: memory and processor time within a control group, cold starts, calls over HTTP.
//!
//! The node is broker, gateway and the edge tier of `mnist-dense`, in one process, whose memory a control group bounds
//! (64 MiB). The fog's broker is not there: what should go up is held.

use std::fmt::Write as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use serde_json::{Value, json};

use crate::program::{self, Running};
use crate::run;

/// What the node may have.
const MEMORY_LIMIT: u64 = 64 << 20;
const SETTLE: Duration = Duration::from_secs(5);
const IDLE: Duration = Duration::from_secs(30);
const RATE: &str = "1000";
const RECORDS: &str = "30000";
const COLD_STARTS: &str = "200";
/// Where control groups are, version 2 and 1.
const GROUPS: &str = "/sys/fs/cgroup";
/// Ticks of a second in `/proc`.
const TICKS: f64 = 100.0;

pub(crate) fn run(arguments: &[&str]) -> anyhow::Result<()> {
    let offramp = match arguments {
        [] => {
            run::cargo(&["build", "--release", "--package", "offramp"])?;
            program::offramp()?
        }
        // The node names it in a file of its own folder.
        ["--program", path] => std::path::absolute(path)?.display().to_string(),
        _ => bail!("node has --program PATH, not `{}`", arguments.join(" ")),
    };
    let dir = program::temporary("node")?;
    let figures = measure(&offramp, &dir);
    std::fs::remove_dir_all(&dir)?;
    for (name, value) in figures? {
        println_row(&name, &value);
    }
    Ok(())
}

fn println_row(name: &str, value: &str) {
    use std::io::Write as _;
    // Whoever reads may have gone.
    let _ = writeln!(std::io::stdout().lock(), "| {name} | {value} |");
}

type Figures = Vec<(String, String)>;

fn measure(offramp: &str, dir: &Path) -> anyhow::Result<Figures> {
    let mut figures = Figures::new();
    let size = std::fs::metadata(offramp)?.len() as f64 / 1e6;
    figures.push(("program, as built".to_owned(), format!("{size:.1} MB")));
    let group = Group::make()?;
    let node = Node::start(offramp, dir, &group)?;
    node.footprint(&group, &mut figures)?;
    node.functions(dir, &mut figures)?;
    drop(node);
    eprintln!("xtask: node: the demo within {} MiB", MEMORY_LIMIT >> 20);
    let mut demo = group.command(offramp);
    demo.args(["demo", "-o", "json"]);
    // Else it downloads images, or draws some.
    let mnist = run::root().join("../shared/data/mnist");
    if mnist.is_dir() {
        demo.arg("--data").arg(mnist);
    }
    let demo = demo.output();
    let demo = demo.context("the demo does not start")?;
    ensure!(demo.status.success(), "the demo: {}", String::from_utf8_lossy(&demo.stderr));
    let peak = group.peak().unwrap_or_default() as f64 / f64::from(1 << 20);
    figures.push((
        format!("demo of three tiers within {} MiB", MEMORY_LIMIT >> 20),
        format!("done; the group's most, with its files' pages: {peak:.1} MiB"),
    ));
    Ok(figures)
}

/// A control group that bounds memory.
struct Group {
    dir: PathBuf,
    is_unified: bool,
}

impl Group {
    fn make() -> anyhow::Result<Self> {
        let root = Path::new(GROUPS);
        let is_unified = root.join("cgroup.controllers").exists();
        let parent = if is_unified { root.to_owned() } else { root.join("memory") };
        let dir = parent.join(format!("offramp-node-{}", std::process::id()));
        std::fs::create_dir_all(&dir).with_context(|| {
            format!("{}: a control group can't be made (it takes root)", dir.display())
        })?;
        let file = if is_unified { "memory.max" } else { "memory.limit_in_bytes" };
        std::fs::write(dir.join(file), MEMORY_LIMIT.to_string())
            .with_context(|| format!("{}/{file}", dir.display()))?;
        Ok(Self { dir, is_unified })
    }

    /// A program that runs within it.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new("sh");
        let procs = self.dir.join("cgroup.procs");
        let script = "echo $$ > \"$0\" && exec \"$@\"";
        command.args(["-c", script]).arg(procs).arg(program);
        command
    }

    /// The most memory that it had, pages of files with it.
    fn peak(&self) -> Option<u64> {
        let file = if self.is_unified { "memory.peak" } else { "memory.max_usage_in_bytes" };
        std::fs::read_to_string(self.dir.join(file)).ok()?.trim().parse().ok()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(&self.dir);
    }
}

struct Node {
    offramp: String,
    process: Running,
    broker: String,
    gateway: String,
}

fn free_address() -> anyhow::Result<String> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}

impl Node {
    fn start(offramp: &str, dir: &Path, group: &Group) -> anyhow::Result<Self> {
        let (broker, gateway, away) = (free_address()?, free_address()?, free_address()?);
        let models = run::root().join("models").join("mnist-dense");
        let model = |tier: &str| models.join(format!("{tier}.onnx")).display().to_string();
        let mut text = format!(
            "[pipeline]\nname = \"node\"\n[broker]\nlisten = \"{broker}\"\n[gateway]\nlisten = \"{gateway}\"\n\
             [[function]]\nname = \"beside\"\ncommand = [\"{offramp}\", \"function\", \"inference\", \"--model\", \
             \"{}\", \"--last\"]\nscale = {{ min = 0, max = 1, zero_after_s = 3600 }}\n",
            model("edge")
        );
        write!(
            text,
            "[[tier]]\nname = \"edge\"\nmodel = \"{}\"\nfeatures = \"int8\"\n\
             input = {{ encoding = \"u8\", shape = [28, 28] }}\n",
            model("edge")
        )?;
        for tier in ["fog", "cloud"] {
            let model = model(tier);
            write!(
                text,
                "[[tier]]\nname = \"{tier}\"\nmodel = \"{model}\"\nbootstrap_servers = \"{away}\"\n"
            )?;
        }
        let file = dir.join("offramp.toml");
        std::fs::write(&file, text)?;
        let mut command = group.command(offramp);
        command.arg("up").arg(file).args(["--tier", "edge"]);
        let (process, _) = program::start(&mut command, "ready_ms=")?;
        Ok(Self {
            offramp: offramp.to_owned(),
            process,
            broker,
            gateway: format!("http://{gateway}"),
        })
    }

    fn pid(&self) -> u32 {
        self.process.0.id()
    }

    fn memory(&self) -> anyhow::Result<String> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid()))?;
        let mib = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<f64>().ok());
            kib.map(|kib| kib / 1024.0).with_context(|| format!("{name} in the process's status"))
        };
        let (all, anonymous) = (mib("VmRSS:")?, mib("RssAnon:")?);
        Ok(format!("{all:.1} MiB, of it {anonymous:.1} MiB not pages of files"))
    }

    /// Processor time that it has taken.
    fn cpu(&self) -> anyhow::Result<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid()))?;
        let (_, fields) = stat.rsplit_once(')').context("a process has a name")?;
        let fields: Vec<&str> = fields.split_whitespace().collect();
        let ticks = fields.get(11..13).context("a process has its times")?;
        let ticks: Vec<f64> = ticks.iter().map(|ticks| ticks.parse()).collect::<Result<_, _>>()?;
        Ok(ticks.iter().sum::<f64>() / TICKS)
    }

    fn footprint(&self, group: &Group, figures: &mut Figures) -> anyhow::Result<()> {
        eprintln!("xtask: node: idle for {} s", IDLE.as_secs());
        program::wait(SETTLE);
        let (before, started) = (self.cpu()?, Instant::now());
        program::wait(IDLE);
        let share = (self.cpu()? - before) / started.elapsed().as_secs_f64();
        figures.push(("resident, idle".to_owned(), self.memory()?));
        figures
            .push(("processor time, idle".to_owned(), format!("{:.2} % of a core", share * 100.0)));
        eprintln!("xtask: node: {RATE} records/s");
        let before = self.cpu()?;
        let bench = Command::new(&self.offramp)
            .args(["bench", "run", "-b", &self.broker, "--in", "node.edge-input"])
            .args(["--out", "node.edge-output,node.edge-to-fog", "--encoding", "raw"])
            .args(["--records", RECORDS, "--rate", RATE, "-o", "json"])
            .output()?;
        let error = String::from_utf8_lossy(&bench.stderr);
        ensure!(bench.status.success(), "bench run: {error}");
        let report: Value = serde_json::from_slice(&bench.stdout)?;
        let records: f64 = RECORDS.parse()?;
        let each = (self.cpu()? - before) / records * 1e6;
        figures.push((format!("resident, at {RATE} records/s"), self.memory()?));
        let peak = group.peak().unwrap_or_default() as f64 / f64::from(1 << 20);
        figures.push((
            "the group's most, with its files' pages".to_owned(),
            format!("{peak:.1} of {} MiB", MEMORY_LIMIT >> 20),
        ));
        figures.push((
            format!("at {RATE} records/s, broker with it"),
            format!(
                "p50 {:.2}, p99 {:.2} ms, {each:.0} us processor time a record, {} lost",
                report["all"]["latency_ms_p50"].as_f64().unwrap_or(f64::NAN),
                report["all"]["latency_ms_p99"].as_f64().unwrap_or(f64::NAN),
                report["lost"]
            ),
        ));
        Ok(())
    }

    fn functions(&self, dir: &Path, figures: &mut Figures) -> anyhow::Result<()> {
        let models = run::root().join("models").join("mnist-dense");
        let deployment = json!({
            "service": "inside",
            "image": "offramp/inference",
            "envVars": { "OFFRAMP_MODEL": models.join("edge.onnx"), "OFFRAMP_LAST": "true" },
            "labels": { "com.openfaas.scale.zero": "true", "com.openfaas.scale.zero-duration": "1h" },
        });
        let deployed = Command::new("curl")
            .args(["-sf", "-d", &deployment.to_string()])
            .arg(format!("{}/system/functions", self.gateway))
            .status();
        ensure!(deployed.context("curl is not there")?.success(), "the function is not deployed");
        let body = dir.join("image.json");
        let row = (0..28).map(|at| (at * 9).to_string()).collect::<Vec<_>>().join(", ");
        let image = vec![format!("[{row}]"); 28].join(", ");
        std::fs::write(&body, format!("{{\"value\": [{image}]}}"))?;
        for (name, home) in [("inside", "in this process"), ("beside", "as a process")] {
            eprintln!("xtask: node: cold starts {home}");
            let report = Command::new(&self.offramp)
                .args(["bench", "cold-start", name, "-n", COLD_STARTS, "-o", "json", "--body"])
                .arg(&body)
                .args(["-g", &self.gateway])
                .output()?;
            let error = String::from_utf8_lossy(&report.stderr);
            ensure!(report.status.success(), "bench cold-start: {error}");
            let report: Value = serde_json::from_slice(&report.stdout)?;
            let ms = |of: &str, name: &str| report[of][name].as_f64().unwrap_or(f64::NAN);
            figures.push((
                format!("zero to first answer {home}, {COLD_STARTS} times"),
                format!(
                    "p50 {:.2}, p99 {:.2} ms (with an instance {:.2}, {:.2})",
                    ms("cold", "ms_p50"),
                    ms("cold", "ms_p99"),
                    ms("warm", "ms_p50"),
                    ms("warm", "ms_p99")
                ),
            ));
        }
        if Command::new("wrk").arg("-v").stdout(Stdio::null()).status().is_err() {
            eprintln!("xtask: node: no wrk (package `wrk`): calls over HTTP are not measured");
            return Ok(());
        }
        for connections in ["1", "8"] {
            eprintln!("xtask: node: wrk, {connections} connections");
            figures.push(self.wrk(dir, &body, connections)?);
        }
        Ok(())
    }

    fn wrk(&self, dir: &Path, body: &Path, connections: &str) -> anyhow::Result<(String, String)> {
        let script = dir.join("post.lua");
        let body = std::fs::read_to_string(body)?;
        std::fs::write(&script, format!("wrk.method = \"POST\"\nwrk.body = [==[{body}]==]\n"))?;
        let before = self.cpu()?;
        let output = Command::new("wrk")
            .args(["-t", "1", "-c", connections, "-d", "10s", "--latency", "-s"])
            .arg(script)
            .arg(format!("{}/function/inside", self.gateway))
            .output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(!text.contains("Non-2xx"), "calls failed:\n{text}");
        let after = |name: &str| {
            let line = text.lines().find_map(|line| line.trim().strip_prefix(name));
            line.map(|line| line.trim().to_owned()).with_context(|| format!("{name} in {text}"))
        };
        let requests: f64 = text
            .lines()
            .find_map(|line| line.trim().split_once(" requests in")?.0.parse().ok())
            .context("how many requests there were")?;
        let each = (self.cpu()? - before) / requests * 1e6;
        Ok((
            format!("an image in JSON over HTTP, {connections} connections"),
            format!(
                "{}/s, p50 {}, p99 {}, {each:.1} us processor time each",
                after("Requests/sec:")?,
                after("50%")?,
                after("99%")?
            ),
        ))
    }
}
