//! A report as files.
//!
//! ```text
//! DIR/index.html       everything, self-contained
//! DIR/CHART.svg .png   each chart
//! DIR/figures.csv      a row for each tier of each run, and one for all
//! DIR/figures.json     the same and more: counts, intervals, ratios, remarks
//! ```

use std::path::{Path, PathBuf};

use serde_json::json;

use super::charts::{self, Chart};
use super::digest::{Digest, TierDigest, ratios};
use super::page;
use crate::run::Run;
use crate::run::file::RunError;

/// Writes the report of some runs into a folder, which is made. Returns what was written.
pub fn write(title: &str, runs: &[Run], dir: &Path) -> Result<Vec<PathBuf>, RunError> {
    let charts = charts::all(runs);
    std::fs::create_dir_all(dir)
        .map_err(|source| RunError::Write { path: dir.to_owned(), source })?;
    let mut written = Vec::new();
    let mut write = |name: String, bytes: &[u8]| {
        let path = dir.join(name);
        std::fs::write(&path, bytes)
            .map_err(|source| RunError::Write { path: path.clone(), source })?;
        written.push(path);
        Ok(())
    };
    write("index.html".to_owned(), page::page(title, runs, &charts).as_bytes())?;
    for Chart { key, figure, .. } in &charts {
        write(format!("{key}.svg"), figure.svg().as_bytes())?;
        write(format!("{key}.png"), &figure.png())?;
    }
    write("figures.csv".to_owned(), csv(runs).as_bytes())?;
    let mut text = serde_json::to_vec_pretty(&values(runs)).expect("figures are JSON");
    text.push(b'\n');
    write("figures.json".to_owned(), &text)?;
    Ok(written)
}

/// The figures of each run, and each beside the first.
pub fn values(runs: &[Run]) -> serde_json::Value {
    let digests: Vec<Digest> = runs.iter().map(Digest::new).collect();
    let beside: Vec<_> = runs
        .iter()
        .skip(1)
        .map(
            |run| json!({ "run": run.name, "base": runs[0].name, "ratios": ratios(run, &runs[0]) }),
        )
        .collect();
    json!({ "runs": digests, "ratios": beside })
}

/// Figures to six decimals, times in milliseconds.
fn csv(runs: &[Run]) -> String {
    let mut text = "run,tier,trials,records,answered,lost,duplicated,share,accuracy,latency_ms_min,latency_ms_p50,\
                    latency_ms_mean,latency_ms_p90,latency_ms_p95,latency_ms_p99,latency_ms_max,latency_ms_std,\
                    throughput_per_s,elapsed_s,drain_s,cpu_us_per_record,resident_mib,send_error_ms_p99,worst_remark\n"
        .to_owned();
    let shown = |value: Option<f64>| value.map_or(String::new(), |value| format!("{value:.6}"));
    for run in runs {
        let digest = Digest::new(run);
        let worst = run.weight().map_or("", |weight| match weight {
            crate::run::Weight::Note => "note",
            crate::run::Weight::Doubtful => "doubtful",
            crate::run::Weight::Invalid => "invalid",
        });
        for (at, tier) in digest.tiers.iter().chain([&digest.all]).enumerate() {
            // What is of the whole run stands beside all tiers.
            let is_all = at == digest.tiers.len();
            let whole = |value: Option<f64>| shown(value.filter(|_| is_all));
            let count = |count: u64| if is_all { count.to_string() } else { String::new() };
            let TierDigest { topic, answered, share, accuracy, .. } = tier;
            let cells = [
                quoted(&digest.name),
                quoted(topic),
                digest.trials.to_string(),
                count(digest.records),
                answered.to_string(),
                count(digest.lost),
                count(digest.duplicated),
                shown(*share),
                shown(*accuracy),
                shown(tier.latency_ms_min),
                shown(tier.latency_ms_p50),
                shown(tier.latency_ms_mean),
                shown(tier.latency_ms_p90),
                shown(tier.latency_ms_p95),
                shown(tier.latency_ms_p99),
                shown(tier.latency_ms_max),
                shown(tier.latency_ms_std),
                whole(digest.throughput_per_s),
                whole(digest.elapsed_s),
                whole(digest.drain_s),
                whole(digest.cpu_us_per_record),
                whole(digest.resident_mib),
                whole(digest.send_error_ms_p99),
                worst.to_owned(),
            ];
            text.push_str(&cells.join(","));
            text.push('\n');
        }
    }
    text
}

fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\n']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}
