//! `offramp bench autoscale`: the autoscaler beside others, in virtual time.
//!
//! `autoscale::simulate` lets each policy loose on the same loads and the same cluster, with the same random numbers,
//! once for each seed. These figures are simulated, and are the same on every machine. With `--real`, ours is run beside
//! them on processes, in real time.

mod figure;
mod real;

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use autoscale::Policy;
use autoscale::simulate::{Ours, Outcome, Scenario, rivals, run as simulate};
use serde::Serialize;

use crate::commands::demo::{OutputFormat, print_json};

/// Simulate the autoscaler and its rivals on the paper's ramp, bursts and a steady load.
///
/// Rivals follow the rules of: a connector with one call in flight, as the published systems have it; the alert rule of
/// a function platform; KEDA on a consumer group's lag, as it comes and at its quickest; Kubernetes' autoscaler on CPU;
/// and Knative's. Times are virtual: it takes a few seconds.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// How often each load is simulated, with other random numbers each time.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=1000))]
    seeds: u64,
    /// How long an instance takes to start, in milliseconds: 50 is a process, 5000 a pod.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u64).range(0..=600_000))]
    cold_start_ms: u64,
    /// Deviation of a call's time over its mean; at 0 all take the same.
    #[arg(long, default_value_t = 0.0, value_parser = variation)]
    service_variation: f64,
    /// Also run the ramp with this many devices for real, 5 or 10: calls to processes that wait, started and ended by
    /// the edge runtime, for three and a half minutes each; can be given twice.
    #[arg(long, value_name = "DEVICES", value_parser = devices)]
    real: Vec<u32>,
    /// Draw load, instances and latency of the first seed over time, as SVG or PNG; can be given several times.
    #[arg(long, value_name = "FILE")]
    figure: Vec<PathBuf>,
    /// How to print the result.
    #[arg(short, long, value_enum, default_value_t)]
    output: OutputFormat,
}

/// Most instances of the policy, as rivals have them that are not bound to less.
const MAX_SCALE: u32 = 20;
/// How long the ramp takes.
const RAMP: Duration = Duration::from_secs(208);
/// How our policy is called where it was run.
const REAL: &str = "ours, run";
/// Time between two looks of the policy.
const PERIOD: Duration = Duration::from_millis(250);

fn devices(text: &str) -> Result<u32, String> {
    let devices = text.parse().ok().filter(|devices| matches!(devices, 5 | 10));
    devices.ok_or_else(|| "expected 5 or 10".to_owned())
}

fn variation(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(variation) if (0.0..=10.0).contains(&variation) => Ok(variation),
        _ => Err("expected a number from 0 to 10".to_owned()),
    }
}

/// The result; its field names are the JSON's.
#[derive(Debug, Serialize)]
struct Report {
    seeds: u64,
    cold_start_ms: u64,
    service_variation: f64,
    scenarios: Vec<Simulated>,
}

#[derive(Debug, Serialize)]
struct Simulated {
    scenario: String,
    service_ms: u64,
    policies: Vec<Figures>,
    /// Of our policy, with the first seed: what it decided and why.
    decisions: Vec<String>,
    /// Each policy's course with the first seed, for the figure.
    #[serde(skip)]
    courses: Vec<(&'static str, Outcome)>,
}

/// What a policy reached.
#[derive(Debug, Serialize)]
struct Figures {
    policy: &'static str,
    latency_s_p50: Spread,
    latency_s_p95: Spread,
    latency_s_p99: Spread,
    replica_seconds: Spread,
    /// Replica-seconds over what calls took.
    times_ideal: Spread,
    actions: Spread,
    unanswered: usize,
}

/// Of all seeds.
#[derive(Debug, Clone, Copy, Serialize)]
struct Spread {
    median: f64,
    worst: f64,
}

pub(super) async fn run(args: &Args) -> anyhow::Result<()> {
    let loads = [
        (ramp(5), Scenario::ramp(5)),
        (ramp(10), Scenario::ramp(10)),
        ("bursts, 2 and 12 records/s".to_owned(), Scenario::bursts()),
        ("steady, 8 records/s".to_owned(), Scenario::steady(Duration::from_millis(150))),
    ];
    let scenarios = loads.into_iter().map(|(name, scenario)| {
        let cold_start = Duration::from_millis(args.cold_start_ms);
        let service_variation = args.service_variation;
        Simulated::new(name, Scenario { cold_start, service_variation, ..scenario }, args.seeds)
    });
    let mut report = Report {
        seeds: args.seeds,
        cold_start_ms: args.cold_start_ms,
        service_variation: args.service_variation,
        scenarios: scenarios.collect::<Result<_, _>>()?,
    };
    for &devices in &args.real {
        let scenario = Scenario::ramp(devices);
        eprintln!("{devices} devices, for real: about {} s", RAMP.as_secs());
        let outcome = real::run(&scenario, MAX_SCALE).await?;
        report.add(&ramp(devices), outcome);
    }
    for path in &args.figure {
        let figure = figure::courses(&report);
        figure.write(path).with_context(|| format!("figure `{}`", path.display()))?;
    }
    report.print(args.output)
}

/// How a ramp is called.
fn ramp(devices: u32) -> String {
    format!("ramp, {devices} devices")
}

impl Simulated {
    fn new(name: String, scenario: Scenario, seeds: u64) -> anyhow::Result<Self> {
        let with_seed = |seed| Scenario { seed, ..scenario };
        let (mut ours, mut decisions) = (Vec::new(), Vec::new());
        for seed in 0..seeds {
            let policy = Policy { min_scale: 1, max_scale: MAX_SCALE, ..Policy::default() };
            let mut scaler = Ours::new(policy, PERIOD)?;
            ours.push(simulate(&with_seed(seed), &mut scaler));
            if seed == 0 {
                let actions = scaler.history().filter(|decision| decision.is_action());
                decisions.extend(actions.map(ToString::to_string));
            }
        }
        let mut outcomes = vec![(Ours::NAME, ours)];
        for rival in 0..rivals::all().len() {
            let name = rivals::all()[rival].name();
            // Each seed has a rival that has seen nothing.
            let run = |seed| simulate(&with_seed(seed), rivals::all()[rival].as_mut());
            outcomes.push((name, (0..seeds).map(run).collect()));
        }
        let policies = outcomes.iter().map(|(name, outcomes)| Figures::new(name, outcomes));
        Ok(Self {
            scenario: name,
            service_ms: scenario.service.as_millis() as u64,
            policies: policies.collect(),
            decisions,
            courses: outcomes
                .into_iter()
                .filter_map(|(name, outcomes)| Some((name, outcomes.into_iter().next()?)))
                .collect(),
        })
    }
}

impl Figures {
    fn new(policy: &'static str, outcomes: &[Outcome]) -> Self {
        let of = |value: &dyn Fn(&Outcome) -> f64| {
            let mut values: Vec<f64> = outcomes.iter().map(value).collect();
            values.sort_by(f64::total_cmp);
            Spread { median: values[values.len() / 2], worst: values[values.len() - 1] }
        };
        Self {
            policy,
            latency_s_p50: of(&|outcome| outcome.latency(0.5)),
            latency_s_p95: of(&|outcome| outcome.latency(0.95)),
            latency_s_p99: of(&|outcome| outcome.latency(0.99)),
            replica_seconds: of(&|outcome| outcome.replica_seconds),
            times_ideal: of(&Outcome::cost),
            actions: of(&|outcome| outcome.actions.len() as f64),
            unanswered: outcomes.iter().map(|outcome| outcome.unanswered).sum(),
        }
    }
}

impl Report {
    /// Adds what was run to what was simulated of the same load, if that was.
    fn add(&mut self, scenario: &str, outcome: Outcome) {
        let figures = Figures::new(REAL, std::slice::from_ref(&outcome));
        let simulated = self.scenarios.iter_mut().find(|simulated| simulated.scenario == scenario);
        if let Some(simulated) = simulated {
            simulated.policies.insert(1, figures);
            simulated.courses.push((REAL, outcome));
        }
    }

    fn print(&self, format: OutputFormat) -> anyhow::Result<()> {
        if format == OutputFormat::Json {
            return print_json(self);
        }
        let mut out = std::io::stdout().lock();
        let Self { seeds, cold_start_ms, .. } = self;
        writeln!(
            out,
            "simulated; instances start in {cold_start_ms} ms; each figure is the median / the worst, seeds: {seeds}"
        )?;
        for Simulated { scenario, service_ms, policies, .. } in &self.scenarios {
            writeln!(out, "\n{scenario}, calls of {service_ms} ms")?;
            writeln!(
                out,
                "{:<16}{:>18}{:>18}{:>18}{:>18}{:>16}{:>12}",
                "policy", "p50 s", "p95 s", "p99 s", "replica-seconds", "times ideal", "actions"
            )?;
            for policy in policies {
                writeln!(out, "{}", policy.row())?;
            }
        }
        Ok(())
    }
}

impl Figures {
    fn row(&self) -> String {
        let both = |spread: Spread, decimals: usize| {
            format!("{:.decimals$} / {:.decimals$}", spread.median, spread.worst)
        };
        let row = format!(
            "{:<16}{:>18}{:>18}{:>18}{:>18}{:>16}{:>12}",
            self.policy,
            both(self.latency_s_p50, 2),
            both(self.latency_s_p95, 2),
            both(self.latency_s_p99, 2),
            both(self.replica_seconds, 0),
            both(self.times_ideal, 2),
            both(self.actions, 0),
        );
        match self.unanswered {
            0 => row,
            unanswered => format!("{row}  {unanswered} unanswered"),
        }
    }
}
