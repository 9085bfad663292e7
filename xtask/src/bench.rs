//! The broker's figures, beside Apache Kafka's on the same machine, one after the other.
//!
//! Our broker syncs before it acknowledges. Kafka by default never does, so it is measured twice: as it comes,
//! and with `flush.messages=1`, which syncs each batch. Medians of some runs; the load generator, librdkafka,
//! shares the machine with the broker. Prints a Markdown table.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use crate::kafka::{Kafka, Waits};
use crate::program::{self, Running, median};
use crate::run;

/// What is measured: the line's name, and what `benches/hop.rs` is told.
const TASKS: [(&str, &[&str]); 4] = [
    ("1,000 records/s of 1 KiB, linger 0", &["latency", "1000", "10", "1024", "0"]),
    ("1,000 records/s of 1 KiB, linger 5 ms", &["latency", "1000", "10", "1024", "5"]),
    ("1,000,000 records of 1,000 bytes", &["throughput", "1000000", "1000"]),
    ("3,000,000 records of 100 bytes", &["throughput", "3000000", "100"]),
];
const RUNS: usize = 5;

/// A broker under measurement.
struct Subject {
    name: &'static str,
    servers: String,
    pid: u32,
    setting: Option<&'static str>,
}

pub(crate) fn run(arguments: &[&str]) -> anyhow::Result<()> {
    let (mut runs, mut only) = (RUNS, None);
    for option in arguments.chunks(2) {
        match option {
            ["--runs", count] => runs = count.parse().with_context(|| format!("`{count}` runs"))?,
            ["--only", name @ ("offramp" | "kafka")] => only = Some(*name),
            _ => bail!("bench has --runs N and --only offramp|kafka, not `{}`", option.join(" ")),
        }
    }
    run::cargo(&["build", "--release", "--package", "offramp"])?;
    run::cargo(&["bench", "--package", "broker", "--bench", "hop", "--no-run"])?;
    let mut out = std::io::stdout();
    writeln!(out, "| broker | load | figure | median of {runs} | all |\n|---|---|---|---|---|")?;
    if only != Some("kafka") {
        let dir = program::temporary("bench")?;
        let (ours, running) = offramp(&dir)?;
        settle();
        let idle = resident_mib(ours.pid)?;
        writeln!(out, "| offramp | idle | resident_mib | {idle:.1} | |")?;
        measure(&ours, runs, &mut out)?;
        footprint(&ours, &mut out)?;
        drop(running);
        restart(&dir, &mut out)?;
        std::fs::remove_dir_all(&dir)?;
    }
    if only != Some("offramp") {
        let kafka = Kafka::start(Waits::AsShipped)?;
        let (servers, pid) = (kafka.bootstrap(), kafka.pid()?);
        settle();
        let idle = resident_mib(pid)?;
        writeln!(out, "| Kafka | idle | resident_mib | {idle:.1} | |")?;
        for (name, setting) in [("Kafka", None), ("Kafka, syncing", Some("flush.messages=1"))] {
            let subject = Subject { name, servers: servers.clone(), pid, setting };
            measure(&subject, runs, &mut out)?;
        }
    }
    Ok(())
}

fn measure(subject: &Subject, runs: usize, out: &mut impl std::io::Write) -> anyhow::Result<()> {
    for (task, arguments) in TASKS {
        let mut figures: BTreeMap<String, Vec<f64>> = BTreeMap::new();
        for nth in 0..runs {
            eprintln!("xtask: {}, {task}, run {} of {runs}", subject.name, nth + 1);
            for (name, value) in hop(subject, arguments)? {
                figures.entry(name).or_default().push(value);
            }
        }
        for (name, values) in figures {
            let all: Vec<_> = values.iter().map(|value| format!("{value:.2}")).collect();
            let median = median(values);
            let (broker, all) = (subject.name, all.join(", "));
            writeln!(out, "| {broker} | {task} | {name} | {median:.2} | {all} |")?;
        }
    }
    Ok(())
}

/// One run; what was measured, by name.
fn hop(subject: &Subject, arguments: &[&str]) -> anyhow::Result<Vec<(String, f64)>> {
    let mut command = Command::new(env!("CARGO"));
    command.args(["bench", "--quiet", "--package", "broker", "--bench", "hop", "--"]);
    command.args(arguments).args(["--servers", &subject.servers]);
    command.args(["--pid", &subject.pid.to_string()]);
    command.args(subject.setting.iter().flat_map(|setting| ["--set", setting]));
    let output = command.current_dir(run::root()).stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        bail!("{command:?}: {}", output.status);
    }
    let text = String::from_utf8(output.stdout)?;
    let mut figures = Vec::new();
    for line in text.lines() {
        let (what, pairs) = line.split_once(' ').unwrap_or((line, ""));
        for (name, value) in pairs.split(' ').filter_map(|pair| pair.split_once('=')) {
            let is_input = ["rate", "seconds", "bytes", "linger_ms", "records"].contains(&name);
            if let Some(value) = value.parse().ok().filter(|_| !is_input) {
                figures.push((format!("{what} {name}"), value));
            }
        }
    }
    Ok(figures)
}

/// Memory and start with many partitions and a large log.
fn footprint(ours: &Subject, out: &mut impl std::io::Write) -> anyhow::Result<()> {
    hop(ours, &["throughput", "10000000", "100"])?;
    let loaded = resident_mib(ours.pid)?;
    writeln!(out, "| offramp | after 10,000,000 more records | resident_mib | {loaded:.1} | |")?;
    let servers = ["--bootstrap-servers", &ours.servers];
    let create = ["topic", "create", "many", "--partitions", "1000"];
    run::program(&program::offramp()?, &[&create[..], &servers].concat())?;
    let many = resident_mib(ours.pid)?;
    writeln!(out, "| offramp | and 1,000 more partitions | resident_mib | {many:.1} | |")?;
    // Ten gigabytes in all, with what the runs before have left.
    hop(ours, &["throughput", "10000000", "1000"])?;
    let large = resident_mib(ours.pid)?;
    writeln!(out, "| offramp | and 10 GB of log | resident_mib | {large:.1} | |")?;
    Ok(())
}

/// Time from the start of the process, after it was killed, until the broker answers.
fn restart(dir: &Path, out: &mut impl std::io::Write) -> anyhow::Result<()> {
    let mut times = Vec::new();
    for _ in 0..RUNS {
        let begun = Instant::now();
        let started = offramp(dir)?;
        times.push(begun.elapsed().as_secs_f64() * 1e3);
        drop(started);
    }
    let all: Vec<_> = times.iter().map(|time| format!("{time:.0}")).collect();
    let (median, all) = (median(times), all.join(", "));
    writeln!(
        out,
        "| offramp | start with all that, after kill -9 | ready_ms | {median:.0} | {all} |"
    )?;
    Ok(())
}

/// Starts our broker, as a process of its own.
fn offramp(dir: &Path) -> anyhow::Result<(Subject, Running)> {
    let (running, servers) = program::start_broker(dir)?;
    let pid = running.0.id();
    Ok((Subject { name: "offramp", servers, pid, setting: None }, running))
}

/// Lets a start do whatever it has left to do.
#[expect(
    clippy::disallowed_methods,
    reason = "a measurement, not a test: nothing tells when it is idle"
)]
fn settle() {
    std::thread::sleep(Duration::from_secs(1));
}

fn resident_mib(pid: u32) -> anyhow::Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib: f64 =
        line.and_then(|line| line.split_whitespace().next()).context("no VmRSS")?.parse()?;
    Ok(kib / 1024.0)
}
