//! Where a run comes from: program, arguments, machine and time.

use std::collections::BTreeMap;
use std::time::Duration;

use bench::run::{About, BUSY_CORES};
use sha2::{Digest as _, Sha256};
use wire::time::date_time;

use super::Args;
use super::load::Images;
use crate::clock::now_ms;

/// Options whose values say where something is on this machine, which is nobody's business.
const PATHS: [&str; 8] = [
    "--data",
    "--save",
    "--model",
    "--faults",
    "--cgroup",
    "--bootstrap-servers",
    "-b",
    "--gateway",
];

/// How long the machine is looked at before a run.
const LOOK: Duration = Duration::from_millis(500);

/// What is known before anything is started.
pub(super) async fn about(args: &Args, images: &Images) -> About {
    let mut machine = machine();
    if let Some(busy) = busy_cores().await {
        machine.insert(BUSY_CORES.to_owned(), format!("{busy:.2}"));
    }
    About {
        started: date_time(now_ms()),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        program_sha256: program_sha256().unwrap_or_default(),
        arguments: arguments(std::env::args().skip(1)),
        machine,
        images: images.origin.clone(),
        note: args.save.note.clone(),
        devices: args.load.devices,
        late_ms: args.trials.late_ms as f64,
        ..About::default()
    }
}

/// The arguments, paths and addresses without their folders.
fn arguments(given: impl Iterator<Item = String>) -> Vec<String> {
    let mut is_path = false;
    let mut arguments = Vec::new();
    for argument in given {
        let last = |path: &str| {
            path.trim_end_matches('/').rsplit('/').next().unwrap_or_default().to_owned()
        };
        let (option, value) = argument.split_once('=').unwrap_or((&argument, ""));
        arguments.push(match (is_path, PATHS.contains(&option) && !value.is_empty()) {
            (true, _) => last(&argument),
            (false, true) => format!("{option}={}", last(value)),
            (false, false) => argument.clone(),
        });
        is_path = PATHS.contains(&argument.as_str());
    }
    arguments
}

fn program_sha256() -> Option<String> {
    let bytes = std::fs::read(std::env::current_exe().ok()?).ok()?;
    Some(Sha256::digest(bytes).iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}")))
}

/// What Linux says of the machine; elsewhere only the number of cores.
fn machine() -> BTreeMap<String, String> {
    let read = |path: &str| std::fs::read_to_string(path).ok();
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    let mut machine = BTreeMap::new();
    let mut note = |key: &str, value: Option<String>| {
        machine.extend(value.map(|value| (key.to_owned(), value)));
    };
    note("processor", read("/proc/cpuinfo").and_then(|text| field(&text, "model name")));
    note("cores", std::thread::available_parallelism().ok().map(|cores| cores.to_string()));
    note("memory", read("/proc/meminfo").and_then(|text| field(&text, "MemTotal")));
    note("kernel", read("/proc/sys/kernel/osrelease").map(|text| text.trim().to_owned()));
    machine
}

/// How many cores are busy at the moment, whoever with. The load average would show for minutes what ran before.
async fn busy_cores() -> Option<f64> {
    let before = busy_ticks()?;
    tokio::time::sleep(LOOK).await;
    let (busy, all) = busy_ticks()?;
    let cores = std::thread::available_parallelism().ok()?.get() as f64;
    let (busy, all) = (busy - before.0, all - before.1);
    Some(cores * busy as f64 / all.max(1) as f64)
}

/// Of all cores' time since the machine started: what was not idle, and all (`proc_stat(5)`, the line `cpu`).
fn busy_ticks() -> Option<(u64, u64)> {
    let text = std::fs::read_to_string("/proc/stat").ok()?;
    let fields = text.lines().next()?.strip_prefix("cpu")?.split_whitespace();
    // What guests take, after the first eight, is in what users take.
    let ticks: Vec<u64> = fields.take(8).map_while(|field| field.parse().ok()).collect();
    let all = ticks.iter().sum::<u64>();
    let idle = ticks.get(3)? + ticks.get(4)?;
    Some((all - idle, all))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_of_this_machine_are_left_out() {
        let given =
            ["bench", "run", "--data", "/home/me/mnist", "--save=/tmp/x/run-5", "--rate", "10"];
        let expected = ["bench", "run", "--data", "mnist", "--save=run-5", "--rate", "10"];
        assert_eq!(arguments(given.into_iter().map(str::to_owned)), expected);
    }

    #[test]
    fn the_machine_has_cores() {
        assert!(machine()["cores"].parse::<usize>().unwrap() > 0);
        assert_eq!(program_sha256().unwrap().len(), 64);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn who_works_is_seen_in_the_time_that_cores_are_busy() {
        let before = busy_ticks().unwrap();
        let started = std::time::Instant::now();
        while started.elapsed() < Duration::from_millis(100) {}
        let after = busy_ticks().unwrap();
        assert!(before.0 + 5 <= after.0, "{before:?} {after:?}");
        assert!(after.0 - before.0 <= after.1 - before.1, "{before:?} {after:?}");
    }
}
