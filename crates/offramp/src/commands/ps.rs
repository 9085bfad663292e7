//! `offramp ps`: what a node runs.

use std::io::Write as _;

use crate::commands::demo::{OutputFormat, print_json};
use crate::commands::gateway::GatewayArgs;
use crate::node::status::{FunctionStatus, Status, TierStatus};

/// Where a node tells of itself.
pub(crate) const STATUS_PATH: &str = "/system/offramp/status";
/// Columns of a table are this far apart.
const GAP: usize = 2;

/// Show what a node runs: its tiers, its functions and their instances, and why one failed.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How to print the result.
    #[arg(short, long, value_enum, default_value_t)]
    output: OutputFormat,
    #[command(flatten)]
    gateway: GatewayArgs,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let status: Status = args.gateway.get(STATUS_PATH)?;
    if args.output == OutputFormat::Json {
        return print_json(&status);
    }
    let mut out = std::io::stdout().lock();
    out.write_all(shown(&status).as_bytes())?;
    Ok(())
}

/// The whole status as text.
pub(crate) fn shown(status: &Status) -> String {
    let Status { pipeline, pid, uptime_s, memory_bytes, .. } = status;
    let mut text = format!(
        "{pipeline}: process {pid}, up {}, {} resident\n",
        time(*uptime_s),
        mib(Some(*memory_bytes))
    );
    text.push('\n');
    text.push_str(&tiers(&status.tiers));
    if !status.functions.is_empty() {
        text.push('\n');
        text.push_str(&functions(&status.functions));
    }
    for function in &status.functions {
        if let Some(reason) = &function.last_failure {
            let times = function.broken_instances;
            let name = &function.name;
            let line = format!("\n{name}: {times} instances failed, the last: {reason}\n");
            text.push_str(&line);
        }
    }
    text
}

fn tiers(tiers: &[TierStatus]) -> String {
    let heading = [
        "tier",
        "in/s",
        "answered",
        "p50 ms",
        "p99 ms",
        "lag",
        "in flight",
        "buffered",
        "instances",
        "done",
        "dead letters",
    ];
    let rows = tiers.iter().map(|tier| {
        let done = tier.answered + tier.forwarded + tier.split + tier.dead_lettered;
        [
            tier.name.clone(),
            format!("{:.1}", tier.rate),
            tier.answered_share.map_or_else(none, |share| format!("{:.1} %", share * 100.0)),
            ms(tier.latency_ms_p50),
            ms(tier.latency_ms_p99),
            count(tier.lag),
            tier.in_flight.to_string(),
            count(tier.buffered),
            tier.instances.to_string(),
            done.to_string(),
            tier.dead_lettered.to_string(),
        ]
    });
    table(&heading, &rows.collect::<Vec<_>>())
}

fn functions(functions: &[FunctionStatus]) -> String {
    let heading = [
        "function",
        "calls/s",
        "call ms",
        "start ms",
        "waiting",
        "in flight",
        "instances",
        "answered",
        "failed",
        "memory",
        "process",
    ];
    let mut rows = Vec::new();
    for function in functions {
        let memory = function.instances.iter().filter_map(|instance| instance.memory_bytes);
        let memory = memory.reduce(|all, more| all + more);
        rows.push([
            function.name.clone(),
            format!("{:.1}", function.rate),
            ms(function.call_ms),
            ms(function.start_ms),
            function.waiting.to_string(),
            function.in_flight.to_string(),
            format!("{}/{}", function.ready, function.wanted),
            function.answered.to_string(),
            function.failed.to_string(),
            mib(memory),
            none(),
        ]);
        for instance in &function.instances {
            rows.push([
                format!("  {} {}", instance.number, instance.phase),
                none(),
                none(),
                none(),
                none(),
                instance.in_flight.to_string(),
                none(),
                none(),
                none(),
                mib(instance.memory_bytes),
                instance.pid.map_or_else(|| "this one".to_owned(), |pid| pid.to_string()),
            ]);
        }
    }
    table(&heading, &rows)
}

/// Names on the left, numbers on the right of their columns.
fn table<const N: usize>(heading: &[&str; N], rows: &[[String; N]]) -> String {
    let width = |at: usize| {
        let cells = rows.iter().map(|row| row[at].chars().count());
        cells.chain([heading[at].len()]).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..N).map(width).collect();
    let mut text = String::new();
    let mut line = |cells: Vec<&str>| {
        for (at, (cell, width)) in cells.iter().zip(&widths).enumerate() {
            let space = width - cell.chars().count();
            if at == 0 {
                text.push_str(cell);
                text.extend(std::iter::repeat_n(' ', space));
            } else {
                text.extend(std::iter::repeat_n(' ', GAP + space));
                text.push_str(cell);
            }
        }
        text.truncate(text.trim_end_matches(' ').len());
        text.push('\n');
    };
    line(heading.to_vec());
    for row in rows {
        line(row.iter().map(String::as_str).collect());
    }
    text
}

fn none() -> String {
    "-".to_owned()
}

fn count(count: Option<u64>) -> String {
    count.map_or_else(none, |count| count.to_string())
}

fn ms(ms: Option<f64>) -> String {
    ms.map_or_else(none, |ms| format!("{ms:.2}"))
}

fn mib(bytes: Option<u64>) -> String {
    bytes.map_or_else(none, |bytes| format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20)))
}

fn time(seconds: f64) -> String {
    let whole = seconds as u64;
    match (whole / 86_400, whole / 3600 % 24, whole / 60 % 60, whole % 60) {
        (0, 0, 0, _) => format!("{seconds:.1} s"),
        (0, 0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (0, hours, minutes, _) => format!("{hours} h {minutes} min"),
        (days, hours, ..) => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_as_wide_as_its_widest_cells() {
        let rows = [["a".to_owned(), "1".to_owned()], ["longer".to_owned(), "22222".to_owned()]];
        assert_eq!(table(&["name", "n"], &rows), "name        n\na           1\nlonger  22222\n");
    }

    #[test]
    fn times_are_as_exact_as_they_are_useful() {
        let times = [3.21, 75.0, 7_260.0, 190_000.0].map(time);
        assert_eq!(times, ["3.2 s", "1 min 15 s", "2 h 1 min", "2 d 4 h"]);
    }
}
