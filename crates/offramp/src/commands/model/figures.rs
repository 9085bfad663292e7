//! What calibration and evaluation draw.

use bench::figure::{Axis, Colour, Figure, Mark, Panel, Series};
use model::calibrate::{Calibration, Point};
use model::evaluate::{Evaluation, RELIABILITY_BINS, Reliability};

/// Two-sided 95 % of the normal distribution, for Wilson's interval.
const Z: f64 = 1.96;

/// Offloads beyond this multiple of the chosen one say little about the choice; the axis ends there.
const SHOWN_OFFLOADS: f64 = 4.0;
/// But it always shows as much.
const LEAST_SHOWN: f64 = 0.1;

/// Accuracy against the share of samples that leave the first tier, with the chosen point.
pub(super) fn frontier(calibration: &Calibration, goal: &str) -> Figure {
    let offload = |point: &Point| point.reach[1];
    let shown = (offload(&calibration.chosen) * SHOWN_OFFLOADS).clamp(LEAST_SHOWN, 1.0);
    let mut points: Vec<&Point> =
        calibration.frontier.iter().filter(|point| offload(point) <= shown).collect();
    points.sort_by(|a, b| offload(a).total_cmp(&offload(b)));
    // Of points with one offload, and of those that a cheaper one beats, only the best is on the frontier.
    let mut best = f64::NEG_INFINITY;
    points.retain(|point| {
        let is_better = point.accuracy > best;
        best = best.max(point.accuracy);
        is_better
    });
    // Beyond the frontier's end nothing is gained: the axis ends a little behind it.
    let end = points.last().map_or(shown, |point| offload(point).max(offload(&calibration.chosen)));
    let end = if end > 0.0 { (end * 1.05).min(shown) } else { shown };
    let at = |share: f64| share * 100.0;
    let line = points.iter().map(|point| (at(offload(point)), at(point.accuracy)));
    let band = points.iter().map(|point| {
        let (low, high) = wilson(point.accuracy, calibration.samples);
        (at(offload(point)), at(low), at(high))
    });
    let chosen = &calibration.chosen;
    let last = at(calibration.last_accuracy);
    let mut panel = Panel::new(
        Axis::new("samples leaving the first tier (%)").from_to(0.0, at(end)),
        Axis::new("accuracy (%)"),
    );
    panel.add(Series::new("95 % interval", Colour::Blue, Mark::Band(band.collect())));
    panel.add(Series::new("best thresholds", Colour::Blue, Mark::Line(line.collect())));
    let last = Mark::Rule(last);
    let name = format!("last exit on all: {:.2} %", at(calibration.last_accuracy));
    panel.add(Series::new(name, Colour::Grey, last));
    let name = format!("chosen: {:.2} % at {:.2} %", at(chosen.accuracy), at(offload(chosen)));
    let point = vec![(at(offload(chosen)), at(chosen.accuracy))];
    panel.add(Series::new(name, Colour::Vermilion, Mark::Points(point)));
    let title = format!("{}; {} samples", goal.replace("<=", "≤"), calibration.samples);
    Figure::new(title, vec![panel])
}

/// For each exit, how often it is right against how sure it is.
pub(super) fn reliability(evaluation: &Evaluation) -> Figure {
    let panels = evaluation.tiers.iter().map(|tier| {
        let error = tier.reliability.expected_calibration_error() * 100.0;
        let mut panel = Panel::new(
            Axis::new("largest probability (%)").from_to(0.0, 100.0),
            Axis::new("right (%)").from_to(0.0, 100.0),
        );
        panel.title = format!("{}: ECE {error:.2} %", tier.tier);
        panel.add(bars(&tier.reliability));
        panel.add(intervals(&tier.reliability));
        let diagonal = vec![(0.0, 0.0), (100.0, 100.0)];
        panel.add(Series::new("as sure as right", Colour::Grey, Mark::Dashes(diagonal)));
        panel
    });
    let title = format!("reliability of each exit; {} samples", evaluation.samples);
    Figure::new(title, panels.collect())
}

fn bars(reliability: &Reliability) -> Series {
    let width = 100.0 / RELIABILITY_BINS as f64;
    let bars = reliability.bins.iter().enumerate().filter(|(_, bin)| bin.count > 0);
    let bars = bars.map(|(at, bin)| {
        (at as f64 * width, (at + 1) as f64 * width, 100.0 * bin.correct as f64 / bin.count as f64)
    });
    Series::new("measured", Colour::Blue, Mark::Bars(bars.collect()))
}

/// How far a bin's share may be from what it would be with ever more samples.
fn intervals(reliability: &Reliability) -> Series {
    let width = 100.0 / RELIABILITY_BINS as f64;
    let bins = reliability.bins.iter().enumerate().filter(|(_, bin)| bin.count > 0);
    let intervals = bins.map(|(at, bin)| {
        let (low, high) = wilson(bin.correct as f64 / bin.count as f64, bin.count);
        ((at as f64 + 0.5) * width, 100.0 * low, 100.0 * high)
    });
    Series::new("95 % interval", Colour::Black, Mark::Intervals(intervals.collect()))
}

/// Wilson's score interval (1927) of a share.
fn wilson(share: f64, samples: usize) -> (f64, f64) {
    let n = samples as f64;
    let centre = share + Z * Z / (2.0 * n);
    let half = Z * (share * (1.0 - share) / n + Z * Z / (4.0 * n * n)).sqrt();
    let scale = 1.0 + Z * Z / n;
    ((centre - half) / scale, (centre + half) / scale)
}
