//! What calibrating and deciding cost.
//!
//! ```sh
//! cargo bench -p model --bench calibrate
//! ```
//!
//! Solving: three exits over 10,000 samples, from what the exits make of each to thresholds, frontier and histograms,
//! for each goal. Before it, where asked for: fitting the temperature of one exit of ten classes. Deciding: one softmax
//! vector of ten classes, by criterion and with thresholds by class. Medians of [`SAMPLES`] runs.

use std::hint::black_box;
use std::io::{self, Write as _};
use std::time::{Duration, Instant};

use model::calibrate::{
    Costs, Goal, Objective, Settings, Verdict, finding_part, solve, temperature,
};
use model::random::Random;
use model::{Decision, Exit, ExitCriterion, decide};

const SAMPLES: usize = 21;
const TIERS: usize = 3;
const MEMBERS: usize = 10_000;
const CLASSES: usize = 10;
const ROWS: usize = 1000;

fn main() -> io::Result<()> {
    let mut out = io::stdout();
    let verdicts = verdicts();
    for (name, goal, per_class) in [
        ("accuracy loss", Goal::AccuracyLoss { most: 0.01, confidence: 0.95 }, false),
        ("accuracy loss, by class", Goal::AccuracyLoss { most: 0.01, confidence: 0.95 }, true),
        ("offload", Goal::Offload { most: vec![0.05] }, false),
        ("latency", Goal::Latency { most: Duration::from_millis(5) }, false),
    ] {
        let settings = settings(goal, per_class);
        let finds = finding_part(MEMBERS, &settings);
        let took = median(|| {
            let solved = solve(&verdicts, CLASSES, &finds, &[1.0; TIERS], &settings);
            drop(black_box(solved.expect("the goal is within reach")));
        });
        writeln!(out, "solve for {name:<24}{:>9.2} ms", took.as_secs_f64() * 1e3)?;
    }
    let (rows, labels) = rows(MEMBERS);
    let took = median(|| {
        black_box(temperature::fit(black_box(&rows), CLASSES, &labels));
    });
    writeln!(out, "fit a temperature {:>26.2} ms", took.as_secs_f64() * 1e3)?;
    deciding(&mut out)
}

fn deciding(out: &mut impl io::Write) -> io::Result<()> {
    let (rows, _) = rows(ROWS);
    let by_class =
        Exit { class_thresholds: vec![0.8; CLASSES], ..Exit::new(ExitCriterion::MaxSoftmax, 0.8) };
    let exits = ExitCriterion::ALL.map(|criterion| (criterion.name(), Exit::new(criterion, 0.8)));
    for (name, exit) in exits.into_iter().chain([("max-softmax by class", by_class)]) {
        let took = median(|| {
            for row in rows.chunks_exact(CLASSES) {
                black_box(matches!(decide(black_box(row), Some(&exit)), Decision::Exit(_)));
            }
        });
        let nanoseconds = took.as_nanos() as f64 / ROWS as f64;
        writeln!(out, "decide by {name:<24}{nanoseconds:>17.1} ns")?;
    }
    Ok(())
}

fn settings(goal: Goal, per_class: bool) -> Settings {
    Settings {
        goal,
        criterion: ExitCriterion::MaxSoftmax,
        temperatures: vec![Some(1.0); TIERS],
        per_class,
        objective: Objective::Hops,
        costs: Costs {
            service: vec![Duration::from_millis(1); TIERS],
            hop: vec![Duration::from_millis(10); TIERS - 1],
            bandwidth: vec![1e6; TIERS - 1],
            features_bytes: vec![196.0; TIERS - 1],
        },
        seed: 1,
    }
}

/// Exits that are surer and more often right from tier to tier.
fn verdicts() -> Vec<Vec<Verdict>> {
    let mut random = Random::new(1);
    let mut exits = vec![Vec::new(); TIERS];
    for _ in 0..MEMBERS {
        let ease = 4.0 + 2.0 * random.normal();
        for (tier, verdicts) in exits.iter_mut().enumerate() {
            let logit = ease + tier as f32 * 0.5 + 0.5 * random.normal();
            let confidence = 1.0 / (1.0 + (-logit).exp());
            let right = random.between(0.0, 1.0) < confidence;
            verdicts.push(Verdict { confidence, label: random.below(CLASSES) as u16, right });
        }
    }
    exits
}

/// Softmax vectors, most of them sure, and the classes.
fn rows(count: usize) -> (Vec<f32>, Vec<u8>) {
    let mut random = Random::new(2);
    let (mut rows, mut labels) = (Vec::new(), Vec::new());
    for _ in 0..count {
        let label = random.below(CLASSES);
        let mut row: Vec<f32> = (0..CLASSES).map(|_| random.normal().exp()).collect();
        row[label] *= random.between(0.0, 8.0).exp();
        let sum: f32 = row.iter().sum();
        rows.extend(row.iter().map(|value| value / sum));
        labels.push(label as u8);
    }
    (rows, labels)
}

fn median(mut run: impl FnMut()) -> Duration {
    let mut times: Vec<Duration> = (0..SAMPLES)
        .map(|_| {
            let start = Instant::now();
            run();
            start.elapsed()
        })
        .collect();
    times.sort_unstable();
    times[SAMPLES / 2]
}
