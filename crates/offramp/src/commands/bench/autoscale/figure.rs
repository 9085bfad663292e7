//! Load, instances and latency over time, a column for each load.

use autoscale::simulate::{Ours, Outcome, Sample};
use bench::figure::{Axis, Colour, Figure, Mark, Panel, Series};

use super::{Report, Simulated};

/// What is drawn, ours above the others. A quick KEDA would hide them.
const DRAWN: [(&str, Colour); 6] = [
    ("one in flight", Colour::Grey),
    ("alert rule", Colour::Orange),
    ("KEDA", Colour::Green),
    ("HPA on CPU", Colour::Purple),
    ("KPA", Colour::Sky),
    (Ours::NAME, Colour::Blue),
];
/// A load's course is drawn in about as many steps.
const STEPS: usize = 80;
/// From under the shortest call to over the longest wait, in seconds.
const LATENCIES: (f64, f64) = (0.1, 1000.0);

/// The course of every policy with the first seed.
pub(super) fn courses(report: &Report) -> Figure {
    let columns: Vec<[Panel; 3]> = report.scenarios.iter().enumerate().map(column).collect();
    let rows = (0..3).flat_map(|row| columns.iter().map(move |column| column[row].clone()));
    let title = format!("simulated; instances start in {} ms", report.cold_start_ms);
    Figure::new(title, rows.collect()).in_rows_of(report.scenarios.len())
}

fn column((at, simulated): (usize, &Simulated)) -> [Panel; 3] {
    // Only the first column says what its rows are, and only the last row what its columns have in common.
    let beside = |label| if at == 0 { label } else { "" };
    let drawn: Vec<(&str, Colour, &Outcome)> = DRAWN
        .into_iter()
        .filter_map(|(name, colour)| {
            let found = simulated.courses.iter().find(|(of, _)| *of == name);
            found.map(|(_, outcome)| (name, colour, outcome))
        })
        .collect();
    // All have the same arrivals; what takes longer than these is beyond the right end.
    let arrivals = drawn.first().map_or(0, |(.., outcome)| {
        outcome.course.iter().rposition(|sample| sample.arrivals > 0).map_or(0, |last| last + 1)
    });
    let end = arrivals + arrivals / 12 + 1;
    let step = (arrivals / STEPS).max(1);
    let steps = |outcome: &Outcome, value: &dyn Fn(&[Sample]) -> f64| -> Vec<(f64, f64)> {
        // The last second is not a whole one: its mean would be too small.
        let shown = &outcome.course[..outcome.course.len().saturating_sub(1).min(end)];
        // A value stands in the middle of its step.
        let middle = |samples: &[Sample]| samples[0].at_s + 0.5 * samples.len() as f64;
        shown.chunks(step).map(|samples| (middle(samples), value(samples))).collect()
    };
    let panel = |label, y| Panel::new(Axis::new(label).from_to(0.0, end as f64), y);
    let from_zero = |label, lines: &[(&str, Colour, Vec<(f64, f64)>)]| {
        let values = lines.iter().flat_map(|(.., line)| line).map(|(_, value)| *value);
        Axis::new(label).from_to(0.0, 1.08 * values.fold(1.0, f64::max))
    };
    let lines = |value: &dyn Fn(&[Sample]) -> f64| -> Vec<(&str, Colour, Vec<(f64, f64)>)> {
        let line = |&(name, colour, outcome)| (name, colour, steps(outcome, value));
        drawn.iter().map(line).collect()
    };

    let arrived = |samples: &[Sample]| mean(samples, |sample| f64::from(sample.arrivals));
    let load: Vec<_> = drawn.iter().take(1).map(|(.., outcome)| steps(outcome, &arrived)).collect();
    let load: Vec<_> = load.into_iter().map(|line| ("load", Colour::Black, line)).collect();
    let instances = lines(&|samples| mean(samples, |sample| sample.instances));
    // Without records there is no latency: not a number has no place.
    let latency = lines(&|samples| {
        samples.iter().map(|sample| sample.latency_s).filter(|&s| s > 0.0).fold(f64::NAN, f64::max)
    });
    let (from, to) = LATENCIES;
    let mut panels = [
        panel("", from_zero(beside("records/s"), &load)),
        panel("", from_zero(beside("instances"), &instances)),
        panel("time (s)", Axis::logarithmic(beside("longest latency (s)"), from, to)),
    ];
    simulated.scenario.clone_into(&mut panels[0].title);
    for (panel, lines) in panels.iter_mut().zip([load, instances, latency]) {
        for (name, colour, line) in lines {
            panel.add(Series::new(name, colour, Mark::Line(line)));
        }
    }
    panels
}

fn mean(samples: &[Sample], value: impl Fn(&Sample) -> f64) -> f64 {
    samples.iter().map(value).sum::<f64>() / samples.len() as f64
}
