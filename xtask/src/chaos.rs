//! The three tiers under load while what they are made of is killed, stopped and cut off, at random.
//!
//! Two stages, each on our broker or on Apache Kafka:
//!
//! - **functions**: every connector (two a tier), inference function and funnel is a process of its own, called
//!   over HTTP, on one broker;
//! - **nodes**: each tier is one process with a broker of its own, which the tier below holds records for while
//!   it is away.
//!
//! Between any two of them is a link that can be cut. Devices send all along; at the end everything is healed, and
//! what was sent must have been answered or dead-lettered: none lost, and none of a key out of order.

mod link;
pub(crate) mod outage;
mod stage;

use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;

use crate::{program, run};
use link::{Condition, Link};
use stage::{Brokers, Stage};

/// Records a second that the devices send.
const RATE: u64 = 200;
/// A pause between two blows.
const PAUSE_MS: std::ops::Range<u64> = 1000..4000;
/// How long something stays stopped or cut off. Beyond ten seconds a group gives a consumer's partitions away.
const SHORT_MS: std::ops::Range<u64> = 200..5000;
const LONG_MS: std::ops::Range<u64> = 11_000..14_000;
/// One blow in so many is a long one.
const LONG_ONE_IN: u64 = 6;

struct Options {
    seconds: u64,
    seed: u64,
    stages: Vec<&'static str>,
    brokers: Vec<Brokers>,
}

pub(crate) fn test(arguments: &[&str]) -> anyhow::Result<()> {
    let options = options(arguments)?;
    run::build_tests()?;
    let mut failed = Vec::new();
    for &brokers in &options.brokers {
        for stage in &options.stages {
            let what = format!("{stage} on {}", brokers.name());
            eprintln!("xtask: chaos: {what} for {} s, seed {}", options.seconds, options.seed);
            if let Err(error) = endure(stage, brokers, &options) {
                eprintln!("xtask: chaos: {what}: {error:#}");
                failed.push(what);
            }
        }
    }
    ensure!(failed.is_empty(), "did not endure: {}", failed.join(", "));
    Ok(())
}

fn options(arguments: &[&str]) -> anyhow::Result<Options> {
    let mut options = Options {
        seconds: 600,
        seed: std::time::UNIX_EPOCH.elapsed()?.as_secs(),
        stages: vec!["functions", "nodes"],
        brokers: vec![Brokers::Ours, Brokers::Kafka],
    };
    for option in arguments.chunks(2) {
        match option {
            ["--seconds", text] => {
                options.seconds = text.parse().with_context(|| format!("`{text}` seconds"))?;
            }
            ["--seed", text] => {
                options.seed = text.parse().with_context(|| format!("seed `{text}`"))?;
            }
            ["--stage", "functions"] => options.stages = vec!["functions"],
            ["--stage", "nodes"] => options.stages = vec!["nodes"],
            ["--against", "offramp"] => options.brokers = vec![Brokers::Ours],
            ["--against", "kafka"] => options.brokers = vec![Brokers::Kafka],
            _ => bail!(
                "chaos has --seconds N, --seed N, --stage functions|nodes and --against offramp|kafka, not `{}`",
                option.join(" ")
            ),
        }
    }
    Ok(options)
}

/// Something that is done to a part, and undone later.
struct Blow {
    part: usize,
    until: Instant,
}

fn endure(stage: &str, brokers: Brokers, options: &Options) -> anyhow::Result<()> {
    let dir = program::temporary("chaos")?;
    let mut stage = match stage {
        "functions" => Stage::functions(&dir, brokers)?,
        _ => Stage::nodes(&dir, brokers)?,
    };
    let mut bench = stage.bench(RATE, RATE * options.seconds, &dir)?;
    let mut random = Random(options.seed | 1);
    let mut blows: Vec<Blow> = Vec::new();
    let mut counts = std::collections::BTreeMap::<String, usize>::new();
    let end = Instant::now() + Duration::from_secs(options.seconds);
    let mut next = Instant::now() + Duration::from_secs(1);
    while Instant::now() < end {
        std::thread::park_timeout(Duration::from_millis(20));
        let now = Instant::now();
        stage.supervise()?;
        for blow in blows.extract_if(.., |blow| blow.until <= now).collect::<Vec<_>>() {
            stage.heal(blow.part)?;
        }
        if now < next {
            continue;
        }
        next = now + random.time(PAUSE_MS);
        let part = random.below(stage.parts().len() as u64) as usize;
        if blows.iter().any(|blow| blow.part == part) {
            continue;
        }
        let long = random.below(LONG_ONE_IN) == 0;
        let lasts = random.time(if long { LONG_MS } else { SHORT_MS });
        let what = stage.strike(part, random.below(2) == 0)?;
        eprintln!("xtask: {what} {} for {} ms", stage.parts()[part].name(), lasts.as_millis());
        *counts.entry(format!("{what} {}", stage.parts()[part].kind())).or_default() += 1;
        blows.push(Blow { part, until: now + lasts });
    }
    for blow in blows {
        stage.heal(blow.part)?;
    }
    let blows = counts.values().sum::<usize>();
    while bench.try_wait()?.is_none() {
        stage.supervise()?;
        std::thread::park_timeout(Duration::from_millis(200));
    }
    let report = bench.wait_with_output()?.stdout;
    let report: Value = serde_json::from_slice(&report).context("the devices gave no report")?;
    verdict(&report, stage.kind(), brokers, options, &counts, blows, &dir)?;
    drop(stage);
    std::fs::remove_dir_all(&dir)?;
    Ok(())
}

fn verdict(
    report: &Value,
    stage: &str,
    brokers: Brokers,
    options: &Options,
    counts: &std::collections::BTreeMap<String, usize>,
    blows: usize,
    dir: &Path,
) -> anyhow::Result<()> {
    let figure =
        |name: &str| report[name].as_u64().with_context(|| format!("`{name}` in: {report}"));
    let (sent, answered, lost) = (figure("records")?, figure("answered")?, figure("lost")?);
    let (dead_lettered, duplicated) = (figure("dead_lettered")?, figure("duplicated")?);
    let (disordered, unknown) = (figure("disordered")?, figure("unknown")?);
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "{stage} on {}, {} s, seed {}: {blows} blows; {sent} sent = {answered} answered + {dead_lettered} \
         dead-lettered; {lost} lost, {duplicated} duplicates of one id, {disordered} out of order, {unknown} unknown",
        brokers.name(),
        options.seconds,
        options.seed
    )?;
    for (what, count) in counts {
        writeln!(out, "  {count:>4} x {what}")?;
    }
    ensure!(
        sent == answered + dead_lettered && lost + disordered + unknown == 0,
        "something is lost or out of order; all logs are in {}",
        dir.display()
    );
    Ok(())
}

/// Numbers that look like chance and are a function of the seed: xorshift64*.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % bound
    }

    fn time(&mut self, range: std::ops::Range<u64>) -> Duration {
        Duration::from_millis(range.start + self.below(range.end - range.start))
    }
}
