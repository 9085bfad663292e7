//! The charts of a report: those of the paper, and what it leaves out.

use std::collections::BTreeMap;

use super::digest::{COMPARABLE, Comparable};
use crate::figure::{Axis, Colour, Figure, Mark, Panel, Series};
use crate::run::{Run, Trial};
use crate::stats::interval::{self, Interval};
use crate::stats::{Box, Summary, distribution};

/// A chart with what a reader should know to read it.
#[derive(Debug, Clone)]
pub struct Chart {
    /// Its name in files.
    pub key: &'static str,
    /// Its title.
    pub title: &'static str,
    /// What it shows, in a sentence or two.
    pub caption: String,
    /// What is drawn.
    pub figure: Figure,
}

/// Colours of runs, in their order.
const RUNS: [Colour; 6] =
    [Colour::Blue, Colour::Vermilion, Colour::Green, Colour::Orange, Colour::Purple, Colour::Sky];
/// A line has at most this many steps.
const STEPS: usize = 240;
/// Rates are counted in about this many intervals.
const INTERVALS: f64 = 60.0;
/// Panels beside each other, of charts with one for each run.
const COLUMNS: usize = 2;
/// Height of a row of a lying chart, in points.
const ROW: f64 = 17.0;

/// Every chart for which the runs have data.
pub fn all(runs: &[Run]) -> Vec<Chart> {
    let charts = [
        boxes(runs),
        over_time(runs),
        distributions(runs),
        shares(runs),
        accuracy(runs),
        rates(runs),
        cost(runs),
        usage(runs),
        instances(runs),
        sweep(runs),
    ];
    charts.into_iter().flatten().collect()
}

fn of_run(at: usize) -> Colour {
    RUNS[at % RUNS.len()]
}

fn of_tier(name: &str, at: usize) -> Colour {
    match name {
        _ if name.contains("edge") => Colour::Blue,
        _ if name.contains("fog") => Colour::Orange,
        _ if name.contains("cloud") => Colour::Green,
        _ => of_run(at),
    }
}

/// Names of all tiers of all runs, each once, in their order.
fn tiers(runs: &[Run]) -> Vec<&str> {
    let mut tiers: Vec<&str> = Vec::new();
    for tier in runs.iter().flat_map(|run| &run.tiers) {
        if !tiers.contains(&tier.as_str()) {
            tiers.push(tier);
        }
    }
    let place = |tier: &str| ["edge", "fog", "cloud"].iter().position(|known| *known == tier);
    tiers.sort_by_key(|tier| place(tier).unwrap_or(usize::MAX));
    tiers
}

/// A height for so many rows.
fn rows(count: usize) -> f64 {
    (count as f64 * ROW).max(3.0 * ROW)
}

/// From the power of ten below the least to that above the largest of some values above zero.
fn decades(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    let above_zero = values.filter(|value| *value > 0.0 && value.is_finite());
    let (least, most) = above_zero
        .fold((f64::INFINITY, 0.0_f64), |(least, most), value| (least.min(value), most.max(value)));
    let (from, to) = (10f64.powf(least.log10().floor()), 10f64.powf(most.log10().ceil()));
    (least <= most).then_some((from, if from < to { to } else { from * 10.0 }))
}

/// The paper's box plots, all runs on one axis.
fn boxes(runs: &[Run]) -> Option<Chart> {
    let mut names = Vec::new();
    let mut by_tier: BTreeMap<usize, Vec<(f64, Box)>> = BTreeMap::new();
    let known = tiers(runs);
    let (times, unit) = unit_of(runs);
    for run in runs {
        for (at, tier) in run.tiers.iter().enumerate() {
            let mut all: Vec<f64> = run.latencies(Some(at)).iter().map(|s| s * times).collect();
            all.sort_by(f64::total_cmp);
            let Some(plot) = Box::of_sorted(&all) else { continue };
            names.push(format!("{}  {tier}", run.name));
            let tier = known.iter().position(|name| name == tier).unwrap_or(0);
            by_tier.entry(tier).or_default().push((names.len() as f64, plot));
        }
    }
    let (from, to) = decades(by_tier.values().flatten().flat_map(|(_, plot)| {
        let outliers = plot.outliers.iter().copied();
        outliers.chain([plot.low, plot.median, plot.high])
    }))?;
    let height = rows(names.len());
    let mut panel = Panel::new(
        Axis::logarithmic(format!("latency ({unit})"), from, to),
        Axis::named("", names),
    );
    for (tier, plots) in by_tier {
        panel.add(Series::new(known[tier], of_tier(known[tier], tier), Mark::Boxes(plots)));
    }
    Some(Chart {
        key: "latency-boxes",
        title: "Latency by tier",
        caption: "From when a record was to be sent to its answer, by the tier that answered. The box holds the middle half, \
                  the line is the median, whiskers reach to the last value within one and a half boxes, dots are beyond. The \
                  axis is logarithmic: runs differ by orders of magnitude."
            .to_owned(),
        figure: Figure::new("Latency by tier", vec![panel]).of_size(460.0, height),
    })
}

/// Seconds or milliseconds, whichever the values need.
fn unit(most_s: f64) -> (f64, &'static str) {
    if most_s > 2.0 { (1.0, "s") } else { (1e3, "ms") }
}

/// Seconds where all runs take some, else milliseconds.
fn unit_of(runs: &[Run]) -> (f64, &'static str) {
    let medians = runs.iter().filter_map(|run| Some(Summary::of(run.latencies(None))?.median));
    let quickest = medians.fold(f64::INFINITY, f64::min);
    if quickest.is_finite() { unit(quickest) } else { unit(0.0) }
}

/// The paper's scatter of latency over time, with the stages of the load.
fn over_time(runs: &[Run]) -> Option<Chart> {
    let mut panels = Vec::new();
    let known = tiers(runs);
    for run in runs {
        let Some(trial) = run.trials.first().filter(|trial| !trial.latencies(None).is_empty())
        else {
            continue;
        };
        let most = trial.latencies(None).into_iter().fold(0.0, f64::max);
        let end = trial.measured().filter_map(|record| record.due_s).fold(0.0, f64::max).max(1e-3);
        let (times, unit) = unit(most);
        let y = Axis::new(format!("latency ({unit})")).from_to(0.0, 1.05 * most * times);
        let mut panel = Panel::new(Axis::new("sent after (s)").from_to(0.0, end * 1.01), y);
        panel.title.clone_from(&run.name);
        let stages: Vec<f64> = run
            .about
            .stages
            .iter()
            .map(|(at, _)| *at)
            .filter(|at| 0.0 < *at && *at < end)
            .collect();
        if !stages.is_empty() {
            panel.add(Series::new("next stage", Colour::Grey, Mark::Uprights(stages)));
        }
        let faults: Vec<f64> = trial.faults.iter().map(|fault| fault.at_s).collect();
        if !faults.is_empty() {
            panel.add(Series::new("fault", Colour::Vermilion, Mark::Uprights(faults)));
        }
        for (at, tier) in run.tiers.iter().enumerate() {
            let own = trial.measured().filter(|record| record.tier == Some(at));
            let points = own.filter_map(|r| Some((r.due_s?, r.latency_s? * times))).collect();
            let nth = known.iter().position(|name| name == tier).unwrap_or(at);
            panel.add(Series::new(tier, of_tier(tier, nth), Mark::Specks(points)));
        }
        panels.push(panel);
    }
    let columns = COLUMNS.min(panels.len());
    (!panels.is_empty()).then(|| Chart {
        key: "latency-over-time",
        title: "Latency over time",
        caption: "Each dot is a record, at the time at which it was to be sent; dashed lines are where devices begin to send \
                  faster. Each panel has its own scale, from zero. A system that keeps up has a flat band; one that does not \
                  has a slope. First trial."
            .to_owned(),
        figure: Figure::new("Latency over time", panels).in_rows_of(columns).of_size(300.0, 150.0),
    })
}

fn distributions(runs: &[Run]) -> Option<Chart> {
    let mut lines = Vec::new();
    let (times, unit) = unit_of(runs);
    for (at, run) in runs.iter().enumerate() {
        let mut all: Vec<f64> = run.latencies(None).iter().map(|s| s * times).collect();
        all.sort_by(f64::total_cmp);
        let points = distribution(&all, STEPS).into_iter().map(|(at, share)| (at, share * 100.0));
        lines.push((run.name.clone(), at, points.collect::<Vec<_>>()));
    }
    let (from, to) = decades(lines.iter().flat_map(|(.., points)| points).map(|(ms, _)| *ms))?;
    let mut panel = Panel::new(
        Axis::logarithmic(format!("latency ({unit})"), from, to),
        Axis::new("answered within (%)").from_to(0.0, 100.0),
    );
    for (name, at, points) in lines.into_iter().filter(|(.., points)| !points.is_empty()) {
        let mark = if at < RUNS.len() { Mark::Line(points) } else { Mark::Dashes(points) };
        panel.add(Series::new(name, of_run(at), mark));
    }
    Some(Chart {
        key: "latency-distribution",
        title: "Distribution of latency",
        caption: "The share of all answers that took no longer than this.".to_owned(),
        figure: Figure::new("Distribution of latency", vec![panel]).of_size(460.0, 220.0),
    })
}

/// Two corners.
type Block = ((f64, f64), (f64, f64));

fn shares(runs: &[Run]) -> Option<Chart> {
    let known = tiers(runs);
    let mut by_tier: BTreeMap<usize, Vec<Block>> = BTreeMap::new();
    for (at, run) in runs.iter().enumerate() {
        let (y, mut from) = (at as f64 + 1.0, 0.0);
        for (tier, share) in run.tiers.iter().zip(run.shares()) {
            let to = from + share * 100.0;
            let tier = known.iter().position(|name| name == tier).unwrap_or(0);
            by_tier.entry(tier).or_default().push(((from, y - 0.36), (to, y + 0.36)));
            from = to;
        }
    }
    let names = runs.iter().map(|run| run.name.clone()).collect();
    let mut panel =
        Panel::new(Axis::new("share of answers (%)").from_to(0.0, 100.0), Axis::named("", names));
    for (tier, blocks) in by_tier {
        panel.add(Series::new(known[tier], of_tier(known[tier], tier), Mark::Blocks(blocks)));
    }
    known.first()?;
    Some(Chart {
        key: "exit-shares",
        title: "Which tier answers",
        caption: "The share of the answers that each tier gave. Runs with other sub-models or thresholds do other work, and \
                  their latencies compare only where these shares are alike."
            .to_owned(),
        figure: Figure::new("Which tier answers", vec![panel]).of_size(460.0, rows(runs.len())),
    })
}

fn accuracy(runs: &[Run]) -> Option<Chart> {
    let judged: Vec<(&Run, Interval)> = runs
        .iter()
        .filter_map(|run| {
            let fates = run.fates();
            Some((run, interval::of_share(fates.correct, fates.judged)?))
        })
        .collect();
    let names = judged.iter().map(|(run, _)| run.name.clone()).collect();
    let mut panel =
        Panel::new(Axis::new("right answers (%)").from_to(0.0, 100.0), Axis::named("", names));
    let row = |at: usize| at as f64 + 1.0;
    let blocks = judged
        .iter()
        .enumerate()
        .map(|(at, (_, share))| ((0.0, row(at) - 0.36), (share.value * 100.0, row(at) + 0.36)));
    panel.add(Series::new("accuracy", Colour::Sky, Mark::Blocks(blocks.collect())));
    let spans = judged
        .iter()
        .enumerate()
        .map(|(at, (_, share))| (row(at), share.low * 100.0, share.high * 100.0));
    panel.add(Series::new("95 % interval", Colour::Black, Mark::Spans(spans.collect())));
    (!judged.is_empty()).then(|| Chart {
        key: "accuracy",
        title: "Accuracy",
        caption: "Right answers over answers whose label is known, with Wilson's interval. The published runs kept no values, \
                  so theirs can't be known from their files."
            .to_owned(),
        figure: Figure::new("Accuracy", vec![panel]).of_size(460.0, rows(judged.len())),
    })
}

/// What was to be sent and what was answered, a second.
fn rates(runs: &[Run]) -> Option<Chart> {
    let mut panels = Vec::new();
    for run in runs {
        let Some(trial) = run.trials.first() else { continue };
        let due: Vec<f64> = trial.measured().filter_map(|record| record.due_s).collect();
        let answered = trial.measured().filter(|record| record.is_answered());
        let arrived: Vec<f64> = answered.filter_map(|record| record.arrived_s).collect();
        let (start, end) = due
            .iter()
            .chain(&arrived)
            .fold((0.0_f64, 0.0_f64), |(start, end), at| (start.min(*at), end.max(*at)));
        if end - start <= 0.0 || arrived.is_empty() {
            continue;
        }
        let step = nice((end - start) / INTERVALS);
        let (offered, served) =
            (counted(&due, start, end, step), counted(&arrived, start, end, step));
        let most = offered.iter().chain(&served).map(|(_, rate)| *rate).fold(0.0, f64::max);
        let time = Axis::new("time (s)").from_to(start, end);
        let mut panel = Panel::new(time, Axis::new("records/s").from_to(0.0, most * 1.1));
        panel.title.clone_from(&run.name);
        if !due.is_empty() {
            panel.add(Series::new("to be sent", Colour::Grey, Mark::Dashes(offered)));
        }
        panel.add(Series::new("answered", Colour::Blue, Mark::Line(served)));
        let faults: Vec<f64> = trial.faults.iter().map(|fault| fault.at_s).collect();
        if !faults.is_empty() {
            panel.add(Series::new("fault", Colour::Vermilion, Mark::Uprights(faults)));
        }
        panels.push(panel);
    }
    let columns = COLUMNS.min(panels.len());
    (!panels.is_empty()).then(|| Chart {
        key: "load-over-time",
        title: "Load over time",
        caption: "Records that were to be sent and answers that came, a second. Where the answers go on after the devices \
                  have ended, a backlog is being worked off. First trial."
            .to_owned(),
        figure: Figure::new("Load over time", panels).in_rows_of(columns).of_size(300.0, 120.0),
    })
}

/// The next of 1, 2 and 5 times a power of ten.
fn nice(step: f64) -> f64 {
    let power = 10f64.powf(step.log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .map(|factor| factor * power)
        .into_iter()
        .find(|n| *n >= step)
        .unwrap_or(step)
}

/// How many a second, in the middle of each interval.
fn counted(times: &[f64], start: f64, end: f64, step: f64) -> Vec<(f64, f64)> {
    let count = ((end - start) / step).ceil().max(1.0) as usize;
    let mut counts = vec![0u64; count];
    for time in times {
        counts[(((time - start) / step) as usize).min(count - 1)] += 1;
    }
    let middle = |at: usize| start + (at as f64 + 0.5) * step;
    counts.into_iter().enumerate().map(|(at, n)| (middle(at), n as f64 / step)).collect()
}

/// What a record costs.
fn cost(runs: &[Run]) -> Option<Chart> {
    let panel = |key: &str, label: &str, colour: Colour| {
        let figure = COMPARABLE.iter().find(|figure| figure.key == key)?;
        figure_of_runs(runs, figure, label, colour)
    };
    let panels: Vec<(Panel, usize)> = [
        panel("cpu_us_per_record", "CPU for a record (µs)", Colour::Orange),
        panel("resident_mib", "most memory (MiB)", Colour::Purple),
    ]
    .into_iter()
    .flatten()
    .collect();
    let height = rows(panels.iter().map(|(_, count)| *count).max()?);
    let panels = panels.into_iter().map(|(panel, _)| panel).collect();
    Some(Chart {
        key: "cost",
        title: "What a record costs",
        caption: "CPU time of all processes that were looked at over the records that were sent, and their most memory \
                  together; means of trials, with Student's intervals where there are several."
            .to_owned(),
        figure: Figure::new("What a record costs", panels).of_size(220.0, height),
    })
}

fn figure_of_runs(
    runs: &[Run],
    figure: &Comparable,
    label: &str,
    colour: Colour,
) -> Option<(Panel, usize)> {
    let values = runs.iter().map(|run| (run.name.clone(), run.each(figure.of)));
    let values: Vec<(String, Vec<f64>)> = values.filter(|(_, all)| !all.is_empty()).collect();
    let (mut blocks, mut spans, mut most) = (Vec::new(), Vec::new(), 0.0_f64);
    for (at, (_, all)) in values.iter().enumerate() {
        let (y, mean) = (at as f64 + 1.0, crate::stats::mean(all));
        blocks.push(((0.0, y - 0.36), (mean, y + 0.36)));
        let interval = interval::of_trials(all);
        spans.extend(interval.map(|interval| (y, interval.low.max(0.0), interval.high)));
        most = most.max(mean).max(interval.map_or(0.0, |interval| interval.high));
    }
    if most <= 0.0 {
        return None;
    }
    let count = values.len();
    let names = values.into_iter().map(|(name, _)| name).collect();
    let mut panel = Panel::new(Axis::new(label).from_to(0.0, most * 1.05), Axis::named("", names));
    panel.add(Series::new("mean", colour, Mark::Blocks(blocks)));
    if !spans.is_empty() {
        panel.add(Series::new("95 % interval", Colour::Black, Mark::Spans(spans)));
    }
    Some((panel, count))
}

/// CPU time and memory of what was looked at.
fn usage(runs: &[Run]) -> Option<Chart> {
    let mut panels = Vec::new();
    for run in runs {
        let Some(trial) = run.trials.iter().find(|trial| !trial.usage.is_empty()) else { continue };
        let (cpu, memory) = lines_of_usage(trial);
        let mut add = |lines: Vec<(String, Vec<(f64, f64)>)>, label: &str, what: &str| {
            let end =
                lines.iter().flat_map(|(_, line)| line).map(|(at, _)| *at).fold(0.0, f64::max);
            let most = lines.iter().flat_map(|(_, line)| line).map(|(_, y)| *y).fold(0.0, f64::max);
            let time = Axis::new("time (s)").from_to(0.0, end.max(1e-3));
            let mut panel = Panel::new(time, Axis::new(label).from_to(0.0, (most * 1.1).max(1e-3)));
            panel.title = format!("{}: {what}", run.name);
            for (at, (name, line)) in lines.into_iter().enumerate() {
                let mark = if at < RUNS.len() { Mark::Line(line) } else { Mark::Dashes(line) };
                panel.add(Series::new(name, of_run(at), mark));
            }
            panels.push(panel);
        };
        add(cpu, "cores", "CPU");
        add(memory, "MiB", "memory");
    }
    (!panels.is_empty()).then(|| Chart {
        key: "usage-over-time",
        title: "CPU and memory over time",
        caption: "Cores that each process or control group kept busy, and its resident memory. First trial.".to_owned(),
        figure: Figure::new("CPU and memory over time", panels).in_rows_of(2).of_size(300.0, 120.0),
    })
}

type Lines = Vec<(String, Vec<(f64, f64)>)>;

/// Cores and MiB over time, by name.
fn lines_of_usage(trial: &Trial) -> (Lines, Lines) {
    let mut by_name: BTreeMap<&str, Vec<(f64, f64, f64)>> = BTreeMap::new();
    for usage in &trial.usage {
        let looks = by_name.entry(&usage.name).or_default();
        looks.push((usage.at_s, usage.cpu_s, usage.memory_mib));
    }
    let (mut cpu, mut memory) = (Vec::new(), Vec::new());
    for (name, looks) in by_name {
        // CPU time is counted in steps of 10 ms, so a core is told apart over a second or more.
        let stride = looks.len().div_ceil(STEPS / 3).max(2);
        let ends: Vec<_> = looks.iter().step_by(stride).collect();
        let cores = ends.windows(2).map(|pair| {
            let (from, to) = (pair[0], pair[1]);
            let cores = ((to.1 - from.1) / (to.0 - from.0).max(1e-9)).max(0.0);
            (f64::midpoint(from.0, to.0), cores)
        });
        cpu.push((name.to_owned(), cores.collect()));
        let stride = looks.len().div_ceil(STEPS).max(1);
        let mib = looks.iter().step_by(stride).map(|(at, _, mib)| (*at, *mib)).collect();
        memory.push((name.to_owned(), mib));
    }
    (cpu, memory)
}

fn instances(runs: &[Run]) -> Option<Chart> {
    let mut panels = Vec::new();
    for run in runs {
        let Some(trial) = run.trials.iter().find(|trial| !trial.instances.is_empty()) else {
            continue;
        };
        let mut by_name: BTreeMap<&str, Vec<(f64, f64)>> = BTreeMap::new();
        for look in &trial.instances {
            by_name.entry(&look.name).or_default().push((look.at_s, look.instances));
        }
        let all = || by_name.values().flatten();
        let most = all().map(|(_, count)| *count).fold(1.0, f64::max);
        let end = all().map(|(at, _)| *at).fold(0.0, f64::max);
        let time = Axis::new("time (s)").from_to(0.0, end.max(1e-3));
        let mut panel = Panel::new(time, Axis::new("instances").from_to(0.0, most * 1.15));
        panel.title.clone_from(&run.name);
        for (at, (name, line)) in by_name.into_iter().enumerate() {
            let stride = line.len().div_ceil(STEPS).max(1);
            let line = line.into_iter().step_by(stride).collect();
            let mark = if at < RUNS.len() { Mark::Line(line) } else { Mark::Dashes(line) };
            panel.add(Series::new(name, of_run(at), mark));
        }
        panels.push(panel);
    }
    let columns = COLUMNS.min(panels.len());
    (!panels.is_empty()).then(|| Chart {
        key: "instances-over-time",
        title: "Instances over time",
        caption: "Instances of each tier and function that take calls. First trial.".to_owned(),
        figure: Figure::new("Instances over time", panels)
            .in_rows_of(columns)
            .of_size(300.0, 120.0),
    })
}

/// Latency against the rate, of runs whose trials are at rising rates.
fn sweep(runs: &[Run]) -> Option<Chart> {
    let mut lines = Vec::new();
    for (at, run) in
        runs.iter().enumerate().filter(|(_, run)| run.about.load.starts_with("a sweep"))
    {
        let mut steps: Vec<(f64, f64, f64)> = Vec::new();
        for trial in &run.trials {
            let offered = trial.send_span_s().filter(|span| *span > 0.0);
            let offered = offered.map(|span| (trial.records.len() - 1) as f64 / span);
            let summary = Summary::of(trial.latencies(None));
            if let (Some(rate), Some(summary)) = (offered, summary) {
                steps.push((rate, summary.median * 1e3, summary.p99 * 1e3));
            }
        }
        steps.sort_by(|a, b| a.0.total_cmp(&b.0));
        lines.push((run.name.clone(), at, steps));
    }
    let all = || lines.iter().flat_map(|(.., steps)| steps);
    let (from, to) = decades(all().flat_map(|(_, p50, p99)| [*p50, *p99]))?;
    let (least, most) = decades(all().map(|(rate, ..)| *rate))?;
    let mut panel = Panel::new(
        Axis::logarithmic("to be sent (records/s)", least, most),
        Axis::logarithmic("latency (ms)", from, to),
    );
    for (name, at, steps) in lines {
        let p50 = steps.iter().map(|(rate, p50, _)| (*rate, *p50)).collect();
        let p99 = steps.iter().map(|(rate, _, p99)| (*rate, *p99)).collect();
        panel.add(Series::new(format!("{name} p50"), of_run(at), Mark::Dashes(p50)));
        panel.add(Series::new(format!("{name} p99"), of_run(at), Mark::Line(p99)));
    }
    Some(Chart {
        key: "latency-by-rate",
        title: "Latency by rate",
        caption: "Each step of a sweep is a trial at a rate of its own; where the p99 leaves the ground is the knee."
            .to_owned(),
        figure: Figure::new("Latency by rate", vec![panel]).of_size(460.0, 220.0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decades_hold_their_values() {
        assert_eq!(decades([3.0, 250.0].into_iter()), Some((1.0, 1000.0)));
        assert_eq!(decades([10.0].into_iter()), Some((10.0, 100.0)));
        assert_eq!(decades([0.0, -1.0].into_iter()), None);
    }

    #[test]
    fn everything_is_counted_once() {
        let rates = counted(&[0.0, 0.1, 1.9, 2.0, 10.0], 0.0, 10.0, 2.0);
        let all: f64 = rates.iter().map(|(_, rate)| rate * 2.0).sum();
        assert!((all - 5.0).abs() < 1e-9);
        assert_eq!((rates[0], nice(3.3), nice(0.7)), ((1.0, 1.5), 5.0, 1.0));
    }
}
