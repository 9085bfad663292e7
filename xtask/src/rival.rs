//! One edge tier, ours beside what one writes without us: confluent-kafka and ONNX Runtime in some 25 lines of
//! Python (`crates/bench/baselines/edge_tier.py`), and the same with Keras (`edge_tier_keras.py`).
//!
//! All run the same sub-model on the same images, 784 bytes each, from one partition of the same broker, `offramp
//! broker` with its sync before every acknowledgement, and answer to one topic and forward 196 features as f32 to
//! another. One runs after the other, in turn, each on a broker and topics of its own; the devices and the
//! collector, `offramp bench run`, share the machine with them. Every run is saved under `target/rival`, and
//! `offramp bench report` compares them: means of trials and ratios with intervals, as text, a page and figures.
//!
//! Logs go to the temporary folder. On a disk that others use, its syncs are what is measured, of all alike;
//! `TMPDIR=/dev/shm` leaves them out.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};
use serde_json::Value;

use crate::program::{self, Running};
use crate::{peers, run};

/// Pinned: a peer that changes by itself would make yesterday's figures others.
const PACKAGES: [&str; 3] = ["confluent-kafka==2.16.1", "onnxruntime==1.32.0", "numpy==2.4.6"];
const KERAS: [&str; 3] = ["confluent-kafka==2.16.1", "tensorflow-cpu==2.21.0", "onnx==1.23.2"];
const RUNS: usize = 3;
const RECORDS: u64 = 100_000;
const RATE: u64 = 1000;
/// Seconds of sending at that rate.
const STEADY_S: u64 = 10;
/// Records before those that are measured, so that groups are joined and engines are warm.
const WARM_UP: &str = "2000";

const INPUT: &str = "mnist.edge-input";
const ANSWERS: &str = "mnist.edge-output";
const FEATURES: &str = "mnist.fog-input";

struct Options {
    runs: usize,
    records: u64,
    rate: u64,
    data: Option<PathBuf>,
    /// Without Keras, which is half a gigabyte.
    without_keras: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Subject {
    Script,
    Keras,
    Offramp,
}

impl Subject {
    fn name(self) -> &'static str {
        match self {
            Self::Script => "script",
            Self::Keras => "keras",
            Self::Offramp => "offramp",
        }
    }
}

pub(crate) fn run(arguments: &[&str]) -> anyhow::Result<()> {
    let options = options(arguments)?;
    let script = peers::venv("rival", &PACKAGES)?;
    let mut subjects = vec![(Subject::Script, Some(script))];
    if !options.without_keras {
        subjects.push((Subject::Keras, Some(peers::venv("rival-keras", &KERAS)?)));
    }
    subjects.push((Subject::Offramp, None));
    run::cargo(&["build", "--release", "--package", "offramp"])?;
    match &options.data {
        Some(dir) => eprintln!("xtask: images of {}", dir.display()),
        None => eprintln!("xtask: images drawn by the program; --data DIR has MNIST"),
    }
    let loads =
        [("at-once", 0, options.records), ("at-a-rate", options.rate, options.rate * STEADY_S)];
    let kept = run::root().join("target").join("rival");
    if kept.exists() {
        std::fs::remove_dir_all(&kept)?;
    }
    for (load, rate, records) in loads {
        let dir = kept.join(load);
        for nth in 1..=options.runs {
            for (subject, python) in &subjects {
                let name = subject.name();
                eprintln!("xtask: {name}, {load}, run {nth} of {}", options.runs);
                let save = dir.join(format!("{name}-{nth}"));
                measure(*subject, python.as_deref(), (rate, records), &options, &save)?;
            }
        }
        report(&dir, &subjects, options.runs)?;
    }
    Ok(())
}

/// Compares all runs under a load; the script is what others are compared with.
fn report(dir: &Path, subjects: &[(Subject, Option<PathBuf>)], runs: usize) -> anyhow::Result<()> {
    let mut report = Command::new(program::offramp()?);
    report.args(["bench", "report"]);
    for (subject, _) in subjects {
        let name = subject.name();
        let trials = (1..=runs).map(|nth| format!("{}/{name}-{nth}", dir.display()));
        report.arg(format!("{name}={}", trials.collect::<Vec<_>>().join("+")));
    }
    let status = report.arg("--out").arg(dir.join("report")).status()?;
    anyhow::ensure!(status.success(), "{report:?}: {status}");
    Ok(())
}

fn options(arguments: &[&str]) -> anyhow::Result<Options> {
    let shared = run::root().parent().map(|dir| dir.join("shared").join("data").join("mnist"));
    let mut options = Options {
        runs: RUNS,
        records: RECORDS,
        rate: RATE,
        data: shared.filter(|dir| dir.is_dir()),
        without_keras: arguments.contains(&"--without-keras"),
    };
    let pairs: Vec<&str> =
        arguments.iter().copied().filter(|argument| *argument != "--without-keras").collect();
    for option in pairs.chunks(2) {
        let number = |text: &str| text.parse::<u64>().ok().filter(|&number| 0 < number);
        match *option {
            ["--data", dir] => options.data = Some(PathBuf::from(dir)),
            [name @ ("--runs" | "--records" | "--rate"), text] => {
                let number = number(text)
                    .with_context(|| format!("`{name} {text}`: expected a number above 0"))?;
                match name {
                    "--runs" => options.runs = number as usize,
                    "--records" => options.records = number,
                    _ => options.rate = number,
                }
            }
            _ => bail!(
                "rival has --runs N, --records N, --rate R, --data DIR and --without-keras, not `{}`",
                option.join(" ")
            ),
        }
    }
    Ok(options)
}

/// One run of one of them, saved in a folder.
fn measure(
    subject: Subject,
    python: Option<&Path>,
    load: (u64, u64),
    options: &Options,
    save: &Path,
) -> anyhow::Result<()> {
    let dir = program::temporary("rival")?;
    let outcome = measure_in(&dir, subject, python, load, options, save);
    std::fs::remove_dir_all(&dir)?;
    outcome
}

fn measure_in(
    dir: &Path,
    subject: Subject,
    python: Option<&Path>,
    (rate, records): (u64, u64),
    options: &Options,
    save: &Path,
) -> anyhow::Result<()> {
    let program = program::offramp()?;
    let (_broker, servers) = program::start_broker(&dir.join("log"))?;
    let servers = servers.as_str();
    for topic in [INPUT, ANSWERS, FEATURES] {
        run::program(&program, &["topic", "create", topic, "-p", "1", "-b", servers])?;
    }
    let model = |tier: &str| run::root().join("models/mnist-conv").join(format!("{tier}.onnx"));
    let running = match subject {
        Subject::Script | Subject::Keras => {
            let file =
                if subject == Subject::Keras { "edge_tier_keras.py" } else { "edge_tier.py" };
            let mut script = Command::new(python.context("a script has an interpreter")?);
            script.arg(run::root().join("crates/bench/baselines").join(file));
            script.arg(servers).arg(model("edge")).args([INPUT, ANSWERS, FEATURES]);
            Running(script.spawn().context("the script could not be started")?)
        }
        Subject::Offramp => {
            let file = dir.join("offramp.toml");
            std::fs::write(&file, pipeline(servers, &model("edge"), &model("fog"))?)?;
            let mut up = Command::new(&program);
            up.arg("up").arg(&file).args(["--tier", "edge"]);
            program::start(&mut up, "ready_ms")?.0
        }
    };
    let pid = running.0.id().to_string();
    let name = subject.name();
    let bench = |rate: &str, records: &str, keep: Option<&Path>| -> anyhow::Result<Value> {
        let mut bench = Command::new(&program);
        bench.args(["bench", "run", "--format", "raw", "--in", INPUT, "--out"]);
        bench.arg(format!("{ANSWERS},{FEATURES}"));
        bench.args(["-b", servers, "--rate", rate, "--records", records]);
        bench.args(["--pid", &format!("{name}={pid}"), "--silence-s", "60", "--output", "json"]);
        bench.args(options.data.iter().flat_map(|dir| ["--data".as_ref(), dir.as_os_str()]));
        bench.args(keep.iter().flat_map(|dir| ["--save".as_ref(), dir.as_os_str()]));
        let output = bench.stderr(Stdio::inherit()).output()?;
        if !output.status.success() {
            bail!("{bench:?}: {}", output.status);
        }
        Ok(serde_json::from_slice(&output.stdout)?)
    };
    bench("0", WARM_UP, None)?;
    let report = bench(&rate.to_string(), &records.to_string(), Some(save))?;
    for wrong in ["lost", "duplicated", "disordered", "dead_lettered"] {
        if report[wrong] != 0 {
            eprintln!("xtask: {name}: {} {wrong}", report[wrong]);
        }
    }
    Ok(())
}

fn pipeline(servers: &str, edge: &Path, fog: &Path) -> anyhow::Result<String> {
    let path = |path: &Path| -> anyhow::Result<String> {
        let path = path.to_str().context("the path of the checkout is not UTF-8")?;
        // A JSON text is a TOML text.
        Ok(Value::from(path).to_string())
    };
    let tier = |name: &str, model: &Path, more: &str| -> anyhow::Result<String> {
        let model = path(model)?;
        Ok(format!(
            "[[tier]]\nname = \"{name}\"\nmodel = {model}\nbootstrap_servers = \"{servers}\"\n{more}"
        ))
    };
    let own = "input = { encoding = \"u8\" }\nfeatures = \"f32\"\n";
    Ok(format!(
        "[pipeline]\nname = \"mnist\"\n{}{}",
        tier("edge", edge, own)?,
        tier("fog", fog, "")?
    ))
}
