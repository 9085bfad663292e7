//! `offramp bench cold-start`: how long the first call takes when there is no instance.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::commands::demo::{OutputFormat, print_json};
use crate::commands::gateway::GatewayArgs;

/// A function that still has instances after this long has calls, or may not have none.
const ZERO_TIMEOUT: Duration = Duration::from_secs(30);
/// Between two looks whether there is an instance.
const LOOK: Duration = Duration::from_millis(2);
/// Three significant digits.
const DIGITS: u8 = 3;

/// Take a function's instances away and time a call, again and again; then calls with an instance there, to compare.
///
/// The gateway is asked as any of its kind is; the function must be one that may go to zero.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The function.
    function: String,
    /// How often.
    #[arg(short = 'n', long, default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    count: u64,
    /// File with the body of the calls; default: none.
    #[arg(long, value_name = "FILE")]
    body: Option<PathBuf>,
    /// How to print the result.
    #[arg(short, long, value_enum, default_value_t)]
    output: OutputFormat,
    #[command(flatten)]
    gateway: GatewayArgs,
}

/// What the gateway says of a function.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Found {
    #[serde(default)]
    available_replicas: u32,
}

/// The result; its field names are the JSON's.
#[derive(Debug, Serialize)]
struct Report {
    function: String,
    cold: Times,
    warm: Times,
}

/// From the call to its answer, in milliseconds.
#[derive(Debug, Serialize)]
struct Times {
    calls: u64,
    ms_p50: f64,
    ms_p90: f64,
    ms_p99: f64,
    ms_max: f64,
}

pub(super) async fn run(args: Args) -> anyhow::Result<()> {
    let format = args.output;
    let report = tokio::task::spawn_blocking(move || measure(&args)).await??;
    report.print(format)
}

fn measure(args: &Args) -> anyhow::Result<Report> {
    let body = match &args.body {
        Some(path) => std::fs::read_to_string(path)
            .with_context(|| format!("body file `{}`", path.display()))?,
        None => String::new(),
    };
    let call = || {
        let started = Instant::now();
        args.gateway.send(&format!("/function/{}", args.function), &body)?;
        anyhow::Ok(started.elapsed())
    };
    let (mut cold, mut warm) = (Histogram::<u64>::new(DIGITS)?, Histogram::<u64>::new(DIGITS)?);
    call().context("the first call, which is not counted")?;
    for _ in 0..args.count {
        to_zero(args)?;
        cold.record(call()?.as_micros() as u64)?;
    }
    for _ in 0..args.count {
        warm.record(call()?.as_micros() as u64)?;
    }
    Ok(Report { function: args.function.clone(), cold: Times::of(&cold), warm: Times::of(&warm) })
}

/// Takes all instances away, and waits until there is none.
fn to_zero(args: &Args) -> anyhow::Result<()> {
    let Args { function, gateway, .. } = args;
    let none = serde_json::json!({ "serviceName": function, "replicas": 0 }).to_string();
    gateway.send(&format!("/system/scale-function/{function}"), &none)?;
    let deadline = Instant::now() + ZERO_TIMEOUT;
    loop {
        let found: Found = gateway.get(&format!("/system/function/{function}"))?;
        if found.available_replicas == 0 {
            return Ok(());
        }
        ensure!(
            Instant::now() < deadline,
            "function `{function}` has {} instances, expected none: may it go to zero?",
            found.available_replicas
        );
        std::thread::park_timeout(LOOK);
    }
}

impl Times {
    fn of(microseconds: &Histogram<u64>) -> Self {
        let ms = |percentile| microseconds.value_at_percentile(percentile) as f64 / 1e3;
        let calls = microseconds.len();
        Self { calls, ms_p50: ms(50.0), ms_p90: ms(90.0), ms_p99: ms(99.0), ms_max: ms(100.0) }
    }
}

impl Report {
    fn print(&self, format: OutputFormat) -> anyhow::Result<()> {
        if format == OutputFormat::Json {
            return print_json(self);
        }
        let mut out = std::io::stdout().lock();
        writeln!(
            out,
            "{:<20}{:>8}{:>10}{:>10}{:>10}{:>10}",
            self.function, "calls", "p50 ms", "p90 ms", "p99 ms", "max ms"
        )?;
        for (name, times) in [("from no instance", &self.cold), ("with one", &self.warm)] {
            let Times { calls, ms_p50, ms_p90, ms_p99, ms_max } = times;
            writeln!(
                out,
                "{name:<20}{calls:>8}{ms_p50:>10.2}{ms_p90:>10.2}{ms_p99:>10.2}{ms_max:>10.2}"
            )?;
        }
        Ok(())
    }
}
