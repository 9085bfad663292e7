//! What a calibration found, for people and for programs.

use std::io::Write;
use std::path::PathBuf;

use model::calibrate::{Calibration, Point, Promise, Settings};
use serde::Serialize;

use crate::commands::demo::{OutputFormat, print_json};
use crate::commands::model::cascade::percent;

/// Rows of the frontier's table; more do not fit a screen.
const ROWS: usize = 12;
/// Offloads beyond this multiple of the chosen one say little about the choice.
const SHOWN_OFFLOADS: f64 = 6.0;
const LEAST_SHOWN: f64 = 0.1;

/// The calibration; its field names are the JSON's.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    goal: String,
    images: usize,
    criterion: &'static str,
    last_exit_accuracy: f64,
    tiers: Vec<TierReport>,
    chosen: PointReport,
    promise: Option<PromiseReport>,
    /// From the dearest to the cheapest.
    frontier: Vec<PointReport>,
    written: Vec<PathBuf>,
}

#[derive(Debug, Serialize)]
struct TierReport {
    tier: String,
    temperature: f32,
    threshold: Option<f64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    class_thresholds: Vec<f64>,
    service_ms: f64,
    /// Of one image's features.
    features_bytes: Option<f64>,
}

#[derive(Debug, Serialize)]
struct PointReport {
    thresholds: Vec<f64>,
    accuracy: f64,
    /// Answered by each tier.
    shares: Vec<f64>,
    bytes_up: f64,
    latency_ms: f64,
    /// Right at the last exit and wrong here.
    harmed: f64,
}

#[derive(Debug, Serialize)]
struct PromiseReport {
    accuracy_loss: f64,
    confidence: f64,
    tested: usize,
    harmed: usize,
    most_harmed: usize,
}

impl Report {
    pub(super) fn new(
        calibration: &Calibration,
        settings: &Settings,
        goal: String,
        names: Vec<String>,
        written: &[PathBuf],
    ) -> Self {
        let costs = &settings.costs;
        let tiers = names.into_iter().zip(&calibration.tiers).enumerate();
        let tiers = tiers.map(|(at, (tier, calibrated))| {
            let exit = calibrated.exit.as_ref();
            TierReport {
                tier,
                temperature: calibrated.temperature,
                threshold: exit.map(|exit| exit.threshold),
                class_thresholds: exit
                    .map(|exit| exit.class_thresholds.clone())
                    .unwrap_or_default(),
                service_ms: costs.service[at].as_secs_f64() * 1e3,
                features_bytes: costs.features_bytes.get(at).copied(),
            }
        });
        Self {
            goal,
            images: calibration.samples,
            criterion: settings.criterion.name(),
            last_exit_accuracy: calibration.last_accuracy,
            tiers: tiers.collect(),
            chosen: PointReport::new(&calibration.chosen),
            promise: calibration.promise.map(PromiseReport::new),
            frontier: calibration.frontier.iter().map(PointReport::new).collect(),
            written: written.to_vec(),
        }
    }

    pub(super) fn print(&self, format: OutputFormat) -> anyhow::Result<()> {
        if format == OutputFormat::Json {
            return print_json(self);
        }
        let mut out = std::io::stdout().lock();
        self.print_tiers(&mut out)?;
        writeln!(out)?;
        self.print_frontier(&mut out)?;
        writeln!(
            out,
            "\n* {}: accuracy {}, {} below the last exit's, on {} images",
            self.goal,
            percent(self.chosen.accuracy),
            percent(self.last_exit_accuracy - self.chosen.accuracy),
            self.images
        )?;
        if let Some(promise) = &self.promise {
            writeln!(
                out,
                "  promised: of {} images that only test, {} are wrong here and right at the last exit, of {} allowed",
                promise.tested, promise.harmed, promise.most_harmed
            )?;
        }
        for path in &self.written {
            writeln!(out, "wrote {}", path.display())?;
        }
        Ok(())
    }

    fn print_tiers(&self, out: &mut impl Write) -> anyhow::Result<()> {
        writeln!(
            out,
            "{:<8}{:>24}{:>13}{:>12}{:>16}",
            "tier", "exit", "temperature", "service ms", "bytes a sample"
        )?;
        for tier in &self.tiers {
            let by_class = if tier.class_thresholds.is_empty() { "" } else { "~" };
            let exit = tier.threshold.map_or("-".to_owned(), |threshold| {
                format!("{} {by_class}{threshold:.6}", self.criterion)
            });
            let bytes = tier.features_bytes.map_or("-".to_owned(), |bytes| format!("{bytes:.1}"));
            writeln!(
                out,
                "{:<8}{exit:>24}{:>13.4}{:>12.3}{bytes:>16}",
                tier.tier, tier.temperature, tier.service_ms
            )?;
        }
        if self.tiers.iter().any(|tier| !tier.class_thresholds.is_empty()) {
            writeln!(out, "~ by class; `offramp model show` lists them")?;
        }
        Ok(())
    }

    fn print_frontier(&self, out: &mut impl Write) -> anyhow::Result<()> {
        write!(out, "  {:<24}{:>10}", "thresholds", "accuracy")?;
        for tier in &self.tiers {
            write!(out, "{:>10}", tier.tier.chars().take(9).collect::<String>())?;
        }
        writeln!(out, "{:>11}{:>9}", "bytes up", "ms")?;
        for (mark, point) in self.rows() {
            let thresholds: Vec<String> =
                point.thresholds.iter().map(|threshold| format!("{threshold:.4}")).collect();
            write!(out, "{mark} {:<24}{:>10}", thresholds.join(" "), percent(point.accuracy))?;
            for share in &point.shares {
                write!(out, "{:>10}", percent(*share))?;
            }
            writeln!(out, "{:>11.1}{:>9.3}", point.bytes_up, point.latency_ms)?;
        }
        Ok(())
    }

    /// The chosen point, marked, among some of the frontier's, by what leaves the first tier.
    fn rows(&self) -> Vec<(char, &PointReport)> {
        let chosen = self.chosen.offload();
        let shown = (chosen * SHOWN_OFFLOADS).max(LEAST_SHOWN);
        let others = |point: &&PointReport| {
            point.offload() <= shown && point.thresholds != self.chosen.thresholds
        };
        let points: Vec<&PointReport> = self.frontier.iter().filter(others).collect();
        let step = points.len().div_ceil(ROWS).max(1);
        let others = points.into_iter().rev().step_by(step);
        let mut rows: Vec<(char, &PointReport)> = others.map(|point| (' ', point)).collect();
        rows.push(('*', &self.chosen));
        rows.sort_by(|(_, a), (_, b)| a.offload().total_cmp(&b.offload()));
        rows
    }
}

impl PointReport {
    fn new(point: &Point) -> Self {
        Self {
            thresholds: point.thresholds.clone(),
            accuracy: point.accuracy,
            shares: point.answered(),
            bytes_up: point.bytes_up,
            latency_ms: point.time.as_secs_f64() * 1e3,
            harmed: point.harmed,
        }
    }

    fn offload(&self) -> f64 {
        1.0 - self.shares[0]
    }
}

impl PromiseReport {
    fn new(promise: Promise) -> Self {
        Self {
            accuracy_loss: promise.risk,
            confidence: promise.confidence,
            tested: promise.tested,
            harmed: promise.harmed,
            most_harmed: promise.most_harmed,
        }
    }
}
