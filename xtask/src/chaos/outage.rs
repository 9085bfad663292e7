//! An edge node whose uplink is cut for a minute.
//!
//! Two nodes, edge and fog, each one process with a broker of its own, and between them a link. Devices send all
//! along. Three runs: the link whole; the link cut, records held; the link cut, records answered by the edge.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;

use super::Condition;
use super::stage::{self, Brokers, Part, Process, Stage};
use crate::{program, run};

const RATE: u64 = 200;
/// Before the link is cut, and after it is mended.
const BEFORE: Duration = Duration::from_secs(20);
const AFTER: Duration = Duration::from_secs(20);
/// Records a second by which those that wait become fewer.
const DRAIN_RATE: u64 = 500;

/// Devices that must not wait on a dead link want it found out sooner than by default.
const ANSWER_HERE: &str = "on_uplink_loss = \"answer-here\"\nuplink_timeout_ms = 250";

/// What was seen of one run.
struct Seen {
    report: Value,
    /// Records that waited when the link was mended, and how long until none did.
    drained: Option<(u64, Duration)>,
}

pub(crate) fn test(arguments: &[&str]) -> anyhow::Result<()> {
    let cut = match arguments {
        [] => 60,
        ["--seconds", text] => text.parse().with_context(|| format!("`{text}` seconds"))?,
        _ => bail!("outage has --seconds N, not `{}`", arguments.join(" ")),
    };
    let cut = Duration::from_secs(cut);
    run::cargo(&["build", "--release", "--package", "offramp"])?;
    let buffer = format!("buffer = {{ drain_rate = {DRAIN_RATE} }}");
    let whole = endure("whole", &buffer, cut, false)?;
    let held = endure("hold", &buffer, cut, true)?;
    let here = endure("answer-here", ANSWER_HERE, cut, true)?;
    let mut out = std::io::stdout().lock();
    let seconds = cut.as_secs();
    writeln!(out, "an uplink cut for {seconds} s at {RATE} records/s, all in milliseconds:\n")?;
    writeln!(out, "| run | answered | of it degraded | lost | p50 | p99 | max |")?;
    writeln!(out, "|---|---|---|---|---|---|---|")?;
    for (name, seen) in [("link whole", &whole), ("hold", &held), ("answer-here", &here)] {
        let count = |pointer: &str| {
            seen.report.pointer(pointer).and_then(Value::as_u64).with_context(|| pointer.to_owned())
        };
        let ms = |name: &str| seen.report["all"][name].as_f64().with_context(|| name.to_owned());
        writeln!(
            out,
            "| {name} | {} | {} | {} | {:.2} | {:.2} | {:.2} |",
            count("/answered")?,
            count("/all/degraded")?,
            count("/lost")?,
            ms("latency_ms_p50")?,
            ms("latency_ms_p99")?,
            ms("latency_ms_max")?
        )?;
        ensure!(count("/lost")? == 0, "records are lost");
    }
    let (records, took) = held.drained.context("the held run has drained")?;
    writeln!(
        out,
        "\n{records} records waited when the link was mended; none did {:.2} s later: {:.0} a second, where \
         {DRAIN_RATE} were set",
        took.as_secs_f64(),
        records as f64 / took.as_secs_f64()
    )?;
    Ok(())
}

fn endure(name: &str, keys: &str, cut: Duration, is_cut: bool) -> anyhow::Result<Seen> {
    eprintln!("xtask: outage: {name}");
    let dir = program::temporary("outage")?;
    let (stage, metrics) = nodes(&dir, keys)?;
    let seconds = (BEFORE + cut + AFTER).as_secs();
    let bench = stage.bench(RATE, RATE * seconds, &dir)?;
    let uplink = stage.parts().iter().find_map(|part| match part {
        Part::Cable { name, link } if name == "fog-broker-link" => Some(link.clone()),
        _ => None,
    });
    let uplink = uplink.context("the stage has the fog's link")?;
    let mut drained = None;
    std::thread::park_timeout(BEFORE);
    if is_cut {
        uplink.set(Condition::Silent);
        std::thread::park_timeout(cut);
        let waiting = waiting(metrics)?;
        uplink.set(Condition::Broken);
        uplink.set(Condition::Whole);
        let mended = Instant::now();
        while 0 < self::waiting(metrics)? && mended.elapsed() < Duration::from_secs(120) {
            std::thread::park_timeout(Duration::from_millis(20));
        }
        drained = (0 < waiting).then(|| (waiting, mended.elapsed()));
    }
    let report = bench.wait_with_output()?.stdout;
    let report = serde_json::from_slice(&report).context("the devices gave no report")?;
    drop(stage);
    std::fs::remove_dir_all(&dir)?;
    Ok(Seen { report, drained })
}

/// Edge and fog. Returns them and the port of the edge's metrics.
fn nodes(dir: &Path, keys: &str) -> anyhow::Result<(Stage, u16)> {
    let mut stage = Stage::nodes_of(dir, Brokers::Ours, &["edge", "fog"], keys)?;
    let metrics = stage::free_port()?;
    let path = dir.join("offramp.toml");
    let path = path.to_str().context("the directory is not UTF-8")?;
    for tier in ["edge", "fog"] {
        let mut arguments = stage::words(&format!("up {path} --tier {tier}"));
        if tier == "edge" {
            arguments.extend(stage::words(&format!("--metrics 127.0.0.1:{metrics}")));
        }
        stage.push(Part::Process(Process::start(tier, "node", arguments, dir)?));
    }
    let deadline = Instant::now() + Duration::from_secs(30);
    while waiting(metrics).is_err() {
        ensure!(Instant::now() < deadline, "the edge does not start; see {}", dir.display());
        std::thread::park_timeout(Duration::from_millis(50));
    }
    Ok((stage, metrics))
}

/// How many records wait for the uplink.
fn waiting(metrics: u16) -> anyhow::Result<u64> {
    let mut stream = TcpStream::connect(("127.0.0.1", metrics))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let line = text.lines().find(|line| line.starts_with("offramp_uplink_waiting{"));
    let value = line.and_then(|line| line.rsplit(' ').next()).context("no metric of the uplink")?;
    Ok(value.parse::<f64>()? as u64)
}
