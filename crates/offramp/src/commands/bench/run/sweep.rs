//! Rising rates, up to the knee: the highest rate at which a latency objective holds and nothing is lost.
//!
//! The rate is doubled from `--rate` on until a step fails, and then halved between the last that held and the first that
//! failed, until they are within 5 %. Each step is a trial of a few seconds. A step fails where its p99 is above the
//! objective, where something is lost, or where the devices themselves fall behind: then it is not the system's knee, and
//! that is said.

use std::io::Write as _;
use std::time::Duration;

use anyhow::ensure;
use bench::Schedule;
use bench::report::number;
use bench::run::check::SEND_ERROR_MS;
use bench::run::{Run, Trial as Measured, file};
use bench::stats::Summary;
use serde::Serialize;

use super::trial::Trial;
use crate::commands::demo::{OutputFormat, print_json};

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Sweep")]
pub(super) struct Args {
    /// Find the highest rate at which the objective holds, from --rate on upwards.
    #[arg(long)]
    pub(super) sweep: bool,
    /// The p99 of latency that a step may have, in milliseconds.
    #[arg(long, default_value_t = 50.0, value_parser = positive, requires = "sweep", value_name = "MS")]
    objective_ms: f64,
    /// Seconds that a step sends.
    #[arg(long, default_value_t = 5.0, value_parser = positive, requires = "sweep", value_name = "S")]
    step_s: f64,
}

fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number > 0.0 && number <= 1e6 => Ok(number),
        _ => Err("expected a number above 0, and at most 1000000".to_owned()),
    }
}

/// Steps end when those that hold and those that fail are this close.
const CLOSE: f64 = 1.05;
/// More steps than doubling and halving ever need.
const MAX_STEPS: usize = 40;
/// Between two steps.
const PAUSE: Duration = Duration::from_millis(500);

/// One rate; field names are the JSON's.
#[derive(Debug, Clone, Serialize)]
struct Step {
    rate_per_s: f64,
    throughput_per_s: Option<f64>,
    latency_ms_p50: Option<f64>,
    latency_ms_p99: Option<f64>,
    lost: u64,
    send_error_ms_p99: Option<f64>,
    holds: bool,
    /// Why it does not.
    because: Option<String>,
}

#[derive(Debug, Serialize)]
struct Report {
    objective_ms_p99: f64,
    /// The highest rate that held.
    knee_per_s: Option<f64>,
    /// Whether the devices could not send fast enough to find it.
    bound_by_devices: bool,
    steps: Vec<Step>,
}

pub(super) async fn run(trial: &Trial<'_>, mut run: Run) -> anyhow::Result<()> {
    let args = trial.args;
    ensure!(args.load.rate > 0.0, "`--rate` is 0, expected the rate at which a sweep begins");
    let mut steps: Vec<Step> = Vec::new();
    let (mut held, mut failed) = (None::<f64>, None::<f64>);
    while steps.len() < MAX_STEPS {
        let rate = match (held, failed) {
            (Some(held), Some(failed)) if failed / held <= CLOSE => break,
            (Some(held), Some(failed)) => f64::midpoint(held, failed),
            (Some(held), None) => held * 2.0,
            (None, None) => args.load.rate,
            (None, Some(failed)) if failed < 0.5 => break,
            (None, Some(failed)) => failed / 2.0,
        };
        let records = (rate * args.sweep.step_s).ceil().max(1.0) as u64;
        let schedule = Schedule::Even { rate };
        let load = args.load.load_of(trial.images, trial.system.join(), schedule, records);
        let measured = trial.run(&load).await?;
        let step = judged(rate, &measured, args.sweep.objective_ms);
        if args.output == OutputFormat::Text {
            line(&step)?;
        }
        if step.holds { &mut held } else { &mut failed }.replace(rate);
        steps.push(step);
        run.trials.push(measured);
        // What a step that failed has left behind is not the next one's to answer for.
        tokio::time::sleep(PAUSE).await;
    }
    let failing =
        failed.and_then(|rate| steps.iter().rfind(|step| step.rate_per_s <= rate && !step.holds));
    let report = Report {
        objective_ms_p99: args.sweep.objective_ms,
        knee_per_s: held,
        bound_by_devices: failing.is_some_and(|step| {
            step.send_error_ms_p99.is_some_and(|error| args.sweep.objective_ms / 2.0 < error)
        }),
        steps,
    };
    if let Some(dir) = &args.save.save {
        run.about.load = format!("a sweep, steps of {} s", args.sweep.step_s);
        file::save(&run, dir)?;
    }
    if args.output == OutputFormat::Json {
        return print_json(&report);
    }
    conclusion(&report)
}

fn judged(rate: f64, measured: &Measured, objective_ms: f64) -> Step {
    let summary = Summary::of(measured.latencies(None));
    let p99 = summary.map(|summary| summary.p99 * 1e3);
    let lost = measured.fates(f64::INFINITY).lost;
    let error = measured.send_error_ms.map(|error| error.p99);
    let because = match (lost, p99) {
        (1.., _) => Some(format!("{lost} lost")),
        (0, None) => Some("no answer".to_owned()),
        (0, Some(p99)) if objective_ms < p99 => Some(format!("p99 {} ms", number(p99))),
        _ => None,
    };
    Step {
        rate_per_s: rate,
        throughput_per_s: measured.throughput(),
        latency_ms_p50: summary.map(|summary| summary.median * 1e3),
        latency_ms_p99: p99,
        lost,
        send_error_ms_p99: error,
        holds: because.is_none(),
        because,
    }
}

fn line(step: &Step) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    let shown = |value: Option<f64>| value.map_or("–".to_owned(), number);
    let late = step.send_error_ms_p99.filter(|error| SEND_ERROR_MS < *error);
    let late =
        late.map_or(String::new(), |error| format!("  (devices late by {} ms)", number(error)));
    writeln!(
        out,
        "{:>10}/s  p50 {:>8} ms  p99 {:>8} ms  {}{late}",
        number(step.rate_per_s),
        shown(step.latency_ms_p50),
        shown(step.latency_ms_p99),
        step.because.as_ref().map_or("holds".to_owned(), |because| format!("fails: {because}")),
    )?;
    Ok(())
}

fn conclusion(report: &Report) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    let objective = number(report.objective_ms_p99);
    match report.knee_per_s {
        Some(knee) => {
            writeln!(
                out,
                "\nthe knee: {} records/s with a p99 of at most {objective} ms",
                number(knee)
            )?;
        }
        None => writeln!(out, "\nno rate has a p99 of at most {objective} ms and loses nothing")?,
    }
    if report.bound_by_devices {
        writeln!(out, "the devices fell behind first: the system's own knee is higher")?;
    }
    Ok(())
}
