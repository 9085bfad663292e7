//! What an engine does on one thread: `cargo bench -p model --bench engine -- [--engine=ENGINE] [MODEL]...`.
//!
//! For each model and batch size: samples per second (the median of seven runs, and the slowest and fastest), and how
//! often and how much a call allocates; for each model also by how much the process's resident memory grew when it was
//! loaded and had run (with several models only the first says something: the others take what it left). The engine
//! `onnxruntime` takes `--features onnxruntime`, and what it allocates is not counted. `cargo xtask engine` prints all of it
//! for both, and for ONNX Runtime in Python.

use std::alloc::System;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use model::random::Random;
use model::{Engine, EngineKind, SubModel};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const BATCHES: [usize; 4] = [1, 8, 32, 64];
const RUNS: usize = 7;
const RUN_TIME: Duration = Duration::from_millis(150);
/// The calls over which allocations are counted, after the first have filled what is kept.
const COUNTED_CALLS: u64 = 100;

fn main() {
    let given: Vec<PathBuf> = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with("--"))
        .map(PathBuf::from)
        .collect();
    let engine = std::env::args().find_map(|argument| {
        Some(argument.strip_prefix("--engine=")?.parse().expect("an engine's name"))
    });
    let engine: EngineKind = engine.unwrap_or_default();
    let models = if given.is_empty() { committed() } else { given };
    eprintln!(
        "{:<28} {:>5} {:>12} {:>26} {:>11} {:>11}",
        engine.name(),
        "batch",
        "samples/s",
        "slowest to fastest",
        "allocs/call",
        "bytes/call"
    );
    for path in models {
        let before = resident_kib();
        let sub_model = SubModel::load_for(&path, engine);
        let sub_model = sub_model.unwrap_or_else(|error| panic!("{error}"));
        let mut engine = sub_model.engine().expect("the engine starts");
        let shown = path.iter().rev().take(2).collect::<Vec<_>>();
        let shown = shown.into_iter().rev().collect::<PathBuf>().display().to_string();
        for batch in BATCHES {
            measure(&mut engine, &shown, batch);
        }
        eprintln!("{shown:<28} resident {:+} KiB with all plans", resident_kib() - before);
    }
}

/// The sub-models that are part of the project.
fn committed() -> Vec<PathBuf> {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models");
    let folders = std::fs::read_dir(models).expect("the models are there").flatten();
    let mut files: Vec<PathBuf> = folders
        .filter(|folder| folder.path().is_dir())
        .flat_map(|folder| std::fs::read_dir(folder.path()).expect("it is a folder").flatten())
        .map(|file| file.path())
        .filter(|file| file.extension().is_some_and(|extension| extension == "onnx"))
        .collect();
    files.sort();
    files
}

fn measure(engine: &mut Engine, shown: &str, batch: usize) {
    let len: usize = engine.sub_model().input_shape().iter().product();
    let mut random = Random::new(1);
    let samples: Vec<f32> = (0..batch * len).map(|_| random.between(0.0, 255.0)).collect();
    let mut run = || engine.run(&samples).expect("the engine runs");
    run();
    let region = Region::new(ALLOCATOR);
    for _ in 0..COUNTED_CALLS {
        run();
    }
    let taken = region.change();
    let (count, bytes) = (taken.allocations + taken.reallocations, taken.bytes_allocated as u64);
    let mut rates: Vec<f64> = (0..RUNS)
        .map(|_| {
            let start = Instant::now();
            let mut done = 0;
            while start.elapsed() < RUN_TIME {
                done += run().samples;
            }
            done as f64 / start.elapsed().as_secs_f64()
        })
        .collect();
    rates.sort_by(f64::total_cmp);
    let range = format!("{:.0} to {:.0}", rates[0], rates[RUNS - 1]);
    eprintln!(
        "{shown:<28} {batch:>5} {:>12.0} {range:>26} {:>11.1} {:>11}",
        rates[RUNS / 2],
        count as f64 / COUNTED_CALLS as f64,
        bytes / COUNTED_CALLS
    );
}

/// The resident memory of this process; 0 where it can't be read.
fn resident_kib() -> i64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}
