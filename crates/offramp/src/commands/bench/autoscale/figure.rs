//! Load, instances and latency over time, a column for each load.

use autoscale::simulate::{Ours, Outcome, Sample};
use bench::figure::{Axis, Colour, Figure, Mark, Panel, Series};

use super::{REAL, Report, Simulated};

/// What is drawn, ours above the others. A quick KEDA would hide them.
const DRAWN: [(&str, Colour); 7] = [
    ("one in flight", Colour::Grey),
    ("alert rule", Colour::Orange),
    ("KEDA", Colour::Green),
    ("HPA on CPU", Colour::Purple),
    ("KPA", Colour::Sky),
    (Ours::NAME, Colour::Blue),
    (REAL, Colour::Vermilion),
];
/// A load's course is drawn in about as many steps.
const STEPS: usize = 80;
/// From under the shortest call to over the longest wait, in seconds.
const LATENCIES: (f64, f64) = (0.1, 1000.0);

/// The course of every policy with the first seed.
pub(super) fn courses(report: &Report) -> Figure {
    let columns: Vec<[Panel; 3]> = report.scenarios.iter().enumerate().map(column).collect();
    let rows = (0..3).flat_map(|row| columns.iter().map(move |column| column[row].clone()));
    let is_run = report.scenarios.iter().any(|one| one.courses.iter().any(|(of, _)| *of == REAL));
    let but = if is_run { format!(", but for `{REAL}`") } else { String::new() };
    let title = format!("simulated{but}; instances start in {} ms", report.cold_start_ms);
    Figure::new(title, rows.collect()).in_rows_of(report.scenarios.len())
}

/// A line of a panel.
struct Line {
    name: &'static str,
    colour: Colour,
    points: Vec<(f64, f64)>,
}

fn column((at, simulated): (usize, &Simulated)) -> [Panel; 3] {
    // Only the first column says what its rows are, and only the last row what its columns have in common.
    let beside = |label| if at == 0 { label } else { "" };
    let find = |name| simulated.courses.iter().find(|(of, _)| *of == name);
    let drawn: Vec<(&'static str, Colour, &[Sample])> = DRAWN
        .into_iter()
        .filter_map(|(name, colour)| find(name).map(|(_, outcome)| (name, colour, whole(outcome))))
        .collect();
    // All have the same arrivals; what takes longer than these is beyond the right end.
    let any = drawn.first().map_or(&[][..], |(.., samples)| samples);
    let arrivals = any.iter().rposition(|sample| sample.arrivals > 0).map_or(1, |last| last + 1);
    let (end, step) = (arrivals + arrivals / 12 + 1, (arrivals / STEPS).max(1));
    let lines = |value: &dyn Fn(&[Sample]) -> f64| -> Vec<Line> {
        let line = |&(name, colour, samples): &(&'static str, Colour, &[Sample])| {
            let shown = &samples[..samples.len().min(end)];
            // A value stands in the middle of its step.
            let middle = |step: &[Sample]| step[0].at_s + 0.5 * step.len() as f64;
            let points = shown.chunks(step).map(|step| (middle(step), value(step))).collect();
            Line { name, colour, points }
        };
        drawn.iter().map(line).collect()
    };
    let load = lines(&|step| mean(step, |sample| f64::from(sample.arrivals)));
    let load =
        load.into_iter().take(1).map(|line| Line { name: "load", colour: Colour::Black, ..line });
    let instances = lines(&|step| mean(step, |sample| sample.instances));
    // Without records there is no latency: not a number has no place.
    let latency = lines(&|step| {
        step.iter().map(|sample| sample.latency_s).filter(|&s| s > 0.0).fold(f64::NAN, f64::max)
    });
    let time = |label| Axis::new(label).from_to(0.0, end as f64);
    let load: Vec<Line> = load.collect();
    let mut load = panel(time(""), from_zero(beside("records/s"), &load), load);
    simulated.scenario.clone_into(&mut load.title);
    let (from, to) = LATENCIES;
    let latencies = Axis::logarithmic(beside("longest latency (s)"), from, to);
    [
        load,
        panel(time(""), from_zero(beside("instances"), &instances), instances),
        panel(time("time (s)"), latencies, latency),
    ]
}

/// But for the last second, which ends with the run: its mean would be too small.
fn whole(outcome: &Outcome) -> &[Sample] {
    outcome.course.split_last().map_or(&[], |(_, samples)| samples)
}

fn mean(samples: &[Sample], value: impl Fn(&Sample) -> f64) -> f64 {
    samples.iter().map(value).sum::<f64>() / samples.len() as f64
}

/// An axis from zero to a little more than all lines.
fn from_zero(label: &str, lines: &[Line]) -> Axis {
    let values = lines.iter().flat_map(|line| &line.points).map(|(_, value)| *value);
    Axis::new(label).from_to(0.0, 1.08 * values.fold(1.0, f64::max))
}

fn panel(time: Axis, axis: Axis, lines: Vec<Line>) -> Panel {
    let mut panel = Panel::new(time, axis);
    for Line { name, colour, points } in lines {
        panel.add(Series::new(name, colour, Mark::Line(points)));
    }
    panel
}
