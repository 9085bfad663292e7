//! A report as text, with box plots.

use std::fmt::Write as _;

use super::digest::{Digest, ratios};
use super::{maybe, number, percent};
use crate::run::{Run, Weight};
use crate::stats::Box;

/// Columns of a box plot.
const PLOT: usize = 56;
/// Values that differ by more than this factor are drawn on a logarithmic axis.
const LOGARITHMIC_FROM: f64 = 30.0;

/// The report of some runs, the first of which others are compared with.
pub fn report(runs: &[Run]) -> String {
    let digests: Vec<Digest> = runs.iter().map(Digest::new).collect();
    let mut text = figures(&digests);
    text.push_str(&boxes(runs));
    text.push_str(&compared(runs));
    text.push_str(&remarks(&digests));
    text
}

/// Columns, the first to the left and the others to the right.
fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns)
        .map(|at| {
            rows.iter()
                .filter_map(|row| row.get(at))
                .map(|cell| cell.chars().count())
                .max()
                .unwrap_or(0)
        })
        .collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (at, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let space = " ".repeat(width - cell.chars().count());
            let _ = match at {
                0 => write!(line, "{cell}{space}"),
                _ => write!(line, "  {space}{cell}"),
            };
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// The table of figures: a row for each tier of each run, and one for all.
pub fn figures(digests: &[Digest]) -> String {
    let heading = [
        "run", "tier", "answered", "share", "accuracy", "p50 ms", "p90 ms", "p95 ms", "p99 ms",
        "max ms",
    ];
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    for digest in digests {
        let all = (digest.tiers.len() != 1).then_some(&digest.all);
        for (at, tier) in digest.tiers.iter().chain(all).chain(&digest.warm_up).enumerate() {
            rows.push(vec![
                if at == 0 { digest.name.clone() } else { String::new() },
                tier.topic.clone(),
                number(tier.answered as f64),
                percent(tier.share),
                percent(tier.accuracy),
                maybe(tier.latency_ms_p50),
                maybe(tier.latency_ms_p90),
                maybe(tier.latency_ms_p95),
                maybe(tier.latency_ms_p99),
                maybe(tier.latency_ms_max),
            ]);
        }
    }
    let mut text = table(&rows);
    text.push('\n');
    for digest in digests {
        text.push_str(&fates(digest, digests.len() > 1));
    }
    text
}

/// What became of the records, and what they took.
fn fates(digest: &Digest, is_named: bool) -> String {
    let mut text = String::new();
    let name = if is_named { format!("{}: ", digest.name) } else { String::new() };
    let Digest { records, answered, lost, duplicated, disordered, dead_lettered, late, .. } =
        digest;
    let trials =
        if digest.trials > 1 { format!(" in {} trials", digest.trials) } else { String::new() };
    let _ = writeln!(
        text,
        "{name}{records} records{trials}: {answered} answered, {lost} lost, {duplicated} duplicated, {disordered} out of \
         order, {dead_lettered} dead-lettered, {late} late"
    );
    let mut parts = vec![format!("{} answers/s", maybe(digest.throughput_per_s))];
    if let Some(elapsed) = digest.elapsed_s {
        parts.push(format!("elapsed {elapsed:.1} s"));
    }
    if let Some(drain) = digest.drain_s {
        parts.push(format!("all answered {} s after the last send", number(drain)));
    }
    if let Some(cpu) = digest.cpu_us_per_record {
        parts.push(format!("CPU {} µs/record", number(cpu)));
    }
    if let Some(memory) = digest.resident_mib {
        parts.push(format!("memory {} MiB", number(memory)));
    }
    if let Some(error) = digest.send_error_ms_p99 {
        parts.push(format!("sent late by {} ms (p99)", number(error)));
    }
    let _ = writeln!(text, "  {}", parts.join(", "));
    if !digest.intervals.is_empty() {
        let intervals = digest.intervals.iter().map(|(figure, interval)| {
            format!("{figure} {} to {}", number(interval.low), number(interval.high))
        });
        let all: Vec<String> = intervals.collect();
        let _ = writeln!(text, "  95 % intervals of {}: {}", digest.intervals_of, all.join(", "));
    }
    text
}

/// A box plot for each tier of each run, all on one axis.
pub fn boxes(runs: &[Run]) -> String {
    let mut plots: Vec<(String, String, Box)> = Vec::new();
    for run in runs {
        for (at, tier) in run.tiers.iter().enumerate() {
            let mut ms: Vec<f64> = run.latencies(Some(at)).iter().map(|s| s * 1e3).collect();
            ms.sort_by(f64::total_cmp);
            if let Some(plot) = Box::of_sorted(&ms) {
                plots.push((run.name.clone(), tier.clone(), plot));
            }
        }
    }
    let ends = |plot: &Box| {
        let outliers = &plot.outliers;
        let low = outliers.first().copied().unwrap_or(plot.low).min(plot.low);
        (low, outliers.last().copied().unwrap_or(plot.high).max(plot.high))
    };
    let low = plots.iter().map(|(.., plot)| ends(plot).0).fold(f64::INFINITY, f64::min);
    let high = plots.iter().map(|(.., plot)| ends(plot).1).fold(f64::NEG_INFINITY, f64::max);
    if plots.is_empty() || low >= high {
        return String::new();
    }
    let least = low.max(high / 1e7);
    let is_logarithmic = LOGARITHMIC_FROM < high / least;
    let (from, to) = if is_logarithmic { (least, high) } else { (0.0, high) };
    let column = |value: f64| {
        let share = if is_logarithmic {
            (value.max(from) / from).ln() / (to / from).ln()
        } else {
            (value - from) / (to - from)
        };
        (share.clamp(0.0, 1.0) * (PLOT - 1) as f64).round() as usize
    };
    let width =
        plots.iter().map(|(run, tier, _)| run.chars().count() + tier.chars().count() + 1).max();
    let width = width.unwrap_or(0);
    let scale = if is_logarithmic { "logarithmic" } else { "linear" };
    let mut text =
        format!("\nlatency in ms, {scale}: ├ ┤ whiskers, ▒ middle half, ┃ median, · beyond\n");
    for (run, tier, plot) in &plots {
        let name = format!("{run} {tier}");
        let space = " ".repeat(width - name.chars().count());
        let _ = writeln!(text, "{name}{space}  {}  {}", line(plot, column), number(plot.median));
    }
    let ends = (number(from), number(to));
    let gap = PLOT.saturating_sub(ends.0.chars().count() + ends.1.chars().count());
    let _ = writeln!(text, "{}  {}{}{}", " ".repeat(width), ends.0, " ".repeat(gap), ends.1);
    text
}

fn line(plot: &Box, column: impl Fn(f64) -> usize) -> String {
    let mut cells = vec![' '; PLOT];
    for outlier in &plot.outliers {
        cells[column(*outlier)] = '·';
    }
    let (low, high) = (column(plot.low), column(plot.high));
    cells[low..=high].fill('─');
    (cells[low], cells[high]) = ('├', '┤');
    cells[column(plot.first)..=column(plot.third)].fill('▒');
    cells[column(plot.median)] = '┃';
    cells.into_iter().collect()
}

/// The figures of each run over those of the first.
pub fn compared(runs: &[Run]) -> String {
    let Some((base, others)) = runs.split_first().filter(|(_, others)| !others.is_empty()) else {
        return String::new();
    };
    let mut text = String::new();
    for run in others {
        let mut rows: Vec<Vec<String>> = vec![
            [run.name.as_str(), "this", base.name.as_str(), "ratio", "95 % interval", "of"]
                .map(str::to_owned)
                .to_vec(),
        ];
        for ratio in ratios(run, base) {
            let range = format!("{} to {}", number(ratio.ratio.low), number(ratio.ratio.high));
            let range = if ratio.ratio.low.is_finite() { range } else { "–".to_owned() };
            rows.push(vec![
                ratio.title.to_owned(),
                number(ratio.value),
                number(ratio.base),
                format!("{} ×", number(ratio.ratio.value)),
                range,
                ratio.of.to_owned(),
            ]);
        }
        if rows.len() > 1 {
            text.push('\n');
            text.push_str(&table(&rows));
        }
    }
    text
}

/// What a reader has to know of each run.
fn remarks(digests: &[Digest]) -> String {
    let mut text = String::new();
    for digest in digests {
        for remark in &digest.remarks {
            let weight = match remark.weight {
                Weight::Note => "note",
                Weight::Doubtful => "doubtful",
                Weight::Invalid => "INVALID",
            };
            let _ = writeln!(text, "\n{weight}: {}: {}", digest.name, remark.text);
        }
    }
    text
}
