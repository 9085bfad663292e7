//! One edge tier, ours beside what one writes without us: confluent-kafka and ONNX Runtime in some 25 lines of
//! Python (`crates/bench/baselines/edge_tier.py`).
//!
//! Both run the same sub-model on the same images, 784 bytes each, from one partition of the same broker, `offramp
//! broker` with its sync before every acknowledgement, and answer to one topic and forward 196 features as f32 to
//! another. One runs after the other, in turn, each on a broker and topics of its own; the devices and the
//! collector, `offramp bench run`, share the machine with them. Medians of some runs; prints a Markdown table.
//!
//! Logs go to the temporary folder. On a disk that others use, its syncs are what is measured, of both alike;
//! `TMPDIR=/dev/shm` leaves them out.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};
use serde_json::Value;

use crate::program::{self, Running, median};
use crate::{peers, run};

/// Pinned: a peer that changes by itself would make yesterday's figures others.
const PACKAGES: [&str; 3] = ["confluent-kafka==2.16.1", "onnxruntime==1.32.0", "numpy==2.4.6"];
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

/// What is measured: name, where the bench says it, and whether less of it is better. Where ours is worse, it is
/// better by less than 1.
const FIGURES: [(&str, &str, bool); 5] = [
    ("records/s", "/throughput_per_s", false),
    ("p50 ms", "/tiers/0/latency_ms_p50", true),
    ("p99 ms", "/tiers/0/latency_ms_p99", true),
    ("CPU us/record", "/cpu_us_per_record", true),
    ("resident MiB", "/resident_mib", true),
];

struct Options {
    runs: usize,
    records: u64,
    rate: u64,
    data: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Subject {
    Script,
    Offramp,
}

pub(crate) fn run(arguments: &[&str]) -> anyhow::Result<()> {
    let options = options(arguments)?;
    let python = peers::venv("rival", &PACKAGES)?;
    run::cargo(&["build", "--release", "--package", "offramp"])?;
    match &options.data {
        Some(dir) => eprintln!("xtask: images of {}", dir.display()),
        None => eprintln!("xtask: images drawn by the program; --data DIR has MNIST"),
    }
    let loads = [
        ("as fast as it goes", 0, options.records),
        ("at the rate", options.rate, options.rate * STEADY_S),
    ];
    let mut out = std::io::stdout();
    writeln!(out, "| load | figure | script | offramp | better by | all: script; offramp |")?;
    writeln!(out, "|---|---|---|---|---|---|")?;
    for (load, rate, records) in loads {
        let mut reports = [Vec::new(), Vec::new()];
        for nth in 1..=options.runs {
            for (subject, reports) in [Subject::Script, Subject::Offramp].iter().zip(&mut reports) {
                eprintln!("xtask: {subject:?}, {load}, run {nth} of {}", options.runs);
                reports.push(measure(*subject, &python, rate, records, &options)?);
            }
        }
        let load = if rate == 0 {
            format!("{records} records at once")
        } else {
            format!("{rate} records/s")
        };
        for (figure, pointer, less_is_better) in FIGURES {
            let [script, offramp] = reports.each_ref().map(|reports| values(reports, pointer));
            let (mid_script, mid_offramp) = (median(script.clone()), median(offramp.clone()));
            let ratio =
                if less_is_better { mid_script / mid_offramp } else { mid_offramp / mid_script };
            let all = [script, offramp].map(|values| {
                values.iter().map(|value| format!("{value:.2}")).collect::<Vec<_>>().join(", ")
            });
            writeln!(
                out,
                "| {load} | {figure} | {mid_script:.2} | {mid_offramp:.2} | {ratio:.1} x | {} |",
                all.join("; ")
            )?;
        }
    }
    Ok(())
}

fn options(arguments: &[&str]) -> anyhow::Result<Options> {
    let shared = run::root().parent().map(|dir| dir.join("shared").join("data").join("mnist"));
    let mut options = Options {
        runs: RUNS,
        records: RECORDS,
        rate: RATE,
        data: shared.filter(|dir| dir.is_dir()),
    };
    for option in arguments.chunks(2) {
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
                "rival has --runs N, --records N, --rate R and --data DIR, not `{}`",
                option.join(" ")
            ),
        }
    }
    Ok(options)
}

/// One run of one of them; what the bench says of it.
fn measure(
    subject: Subject,
    python: &Path,
    rate: u64,
    records: u64,
    options: &Options,
) -> anyhow::Result<Value> {
    let dir = program::temporary("rival")?;
    let outcome = measure_in(&dir, subject, python, rate, records, options);
    std::fs::remove_dir_all(&dir)?;
    outcome
}

fn measure_in(
    dir: &Path,
    subject: Subject,
    python: &Path,
    rate: u64,
    records: u64,
    options: &Options,
) -> anyhow::Result<Value> {
    let program = program::offramp()?;
    let (_broker, servers) = program::start_broker(&dir.join("log"))?;
    let servers = servers.as_str();
    for topic in [INPUT, ANSWERS, FEATURES] {
        run::program(&program, &["topic", "create", topic, "-p", "1", "-b", servers])?;
    }
    let model = |tier: &str| run::root().join("models/mnist-conv").join(format!("{tier}.onnx"));
    let running = match subject {
        Subject::Script => {
            let mut script = Command::new(python);
            script.arg(run::root().join("crates/bench/baselines/edge_tier.py"));
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
    let bench = |rate: &str, records: &str| {
        let mut bench = Command::new(&program);
        bench.args(["bench", "run", "--encoding", "raw", "--in", INPUT, "--out"]);
        bench.arg(format!("{ANSWERS},{FEATURES}"));
        bench.args(["-b", servers, "--rate", rate, "--records", records, "--pid", &pid]);
        bench.args(["--silence-s", "60", "--output", "json"]);
        bench.args(options.data.iter().flat_map(|dir| ["--data".as_ref(), dir.as_os_str()]));
        let output = bench.stderr(Stdio::inherit()).output()?;
        if !output.status.success() {
            bail!("{bench:?}: {}", output.status);
        }
        let report: Value = serde_json::from_slice(&output.stdout)?;
        Ok(report)
    };
    bench("0", WARM_UP)?;
    let report = bench(&rate.to_string(), &records.to_string())?;
    for wrong in ["lost", "duplicated", "disordered", "dead_lettered"] {
        if report[wrong] != 0 {
            eprintln!("xtask: {subject:?}: {} {wrong}", report[wrong]);
        }
    }
    Ok(report)
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

fn values(reports: &[Value], pointer: &str) -> Vec<f64> {
    reports.iter().filter_map(|report| report.pointer(pointer)?.as_f64()).collect()
}
