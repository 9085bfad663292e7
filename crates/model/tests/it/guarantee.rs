//! The promise of a calibration, kept: calibrations on many samples of a population whose risks are known.
//!
//! The population is a finite set from which samples are drawn with replacement, so that the risk of any thresholds is
//! a count over it and not an estimate.

use std::time::Duration;

use model::ExitCriterion;
use model::calibrate::{
    Calibration, CalibrationError, Costs, Goal, Objective, Recording, Settings, Verdict,
    finding_part, solve,
};
use model::dataset::idx;
use model::random::Random;

const TRIALS: usize = 1000;
const CONFIDENCE: f64 = 0.95;

/// What every exit makes of every member of a population, exit by exit.
type Population = Vec<Vec<Verdict>>;

fn settings(risk: f64, tiers: usize, per_class: bool) -> Settings {
    let zero = || vec![Duration::ZERO; tiers];
    Settings {
        goal: Goal::AccuracyLoss { most: risk, confidence: CONFIDENCE },
        criterion: ExitCriterion::MaxSoftmax,
        temperatures: vec![Some(1.0); tiers],
        per_class,
        objective: Objective::Hops,
        costs: Costs {
            service: zero(),
            hop: zero(),
            bandwidth: vec![f64::INFINITY; tiers],
            features_bytes: vec![1.0; tiers],
        },
        seed: 1,
    }
}

/// Members that are easy or hard to different degrees; each exit is surer and more often right than the one before,
/// and no exit is as often right as it is sure.
fn synthetic(members: usize, tiers: usize) -> Population {
    let mut random = Random::new(2024);
    let mut population: Population = vec![Vec::new(); tiers];
    for _ in 0..members {
        let ease = 3.5 + 2.0 * random.normal();
        let luck = random.between(0.0, 1.0);
        for (tier, verdicts) in population.iter_mut().enumerate() {
            let logit = ease + 0.7 * tier as f32 + 0.6 * random.normal();
            let chance = 1.0 / (1.0 + (-(logit + 0.3)).exp());
            // Luck is shared in part: what one exit gets wrong, the next often does too.
            let own = 0.7 * luck + 0.3 * random.between(0.0, 1.0);
            verdicts.push(Verdict {
                confidence: 1.0 / (1.0 + (-1.2 * logit).exp()),
                label: random.below(10) as u16,
                right: own < chance,
            });
        }
    }
    population
}

/// The share of the population that the thresholds harm, and the hops that a member takes in the mean.
fn truth(population: &Population, calibration: &Calibration) -> (f64, f64) {
    let last = population.len() - 1;
    let (mut harmed, mut hops) = (0, 0);
    let members = population[0].len();
    for member in 0..members {
        let verdicts: Vec<Verdict> = population.iter().map(|exit| exit[member]).collect();
        let leaves = |&tier: &usize| {
            let verdict = verdicts[tier];
            let exit = calibration.tiers[tier].exit.as_ref();
            exit.is_none_or(|exit| {
                f64::from(verdict.confidence) >= exit.threshold_of(usize::from(verdict.label))
            })
        };
        let tier = (0..=last).find(leaves).unwrap();
        hops += tier;
        harmed += u32::from(verdicts[last].right && !verdicts[tier].right);
    }
    (f64::from(harmed) / members as f64, hops as f64 / members as f64)
}

/// What came of many calibrations.
struct Kept {
    broken: usize,
    refused: usize,
    mean_hops: f64,
    mean_risk: f64,
    oracle_hops: f64,
}

fn calibrate_often(
    population: &Population,
    samples: usize,
    risk: f64,
    per_class: bool,
    trials: usize,
) -> Kept {
    let tiers = population.len();
    let (mut random, settings) = (Random::new(7), settings(risk, tiers, per_class));
    let (mut broken, mut refused, mut hops, mut risks) = (0, 0, 0.0, 0.0);
    for trial in 0..trials {
        let drawn: Vec<usize> = (0..samples).map(|_| random.below(population[0].len())).collect();
        let sample: Population = population
            .iter()
            .map(|verdicts| drawn.iter().map(|&member| verdicts[member]).collect())
            .collect();
        let settings = Settings { seed: trial as u64, ..settings.clone() };
        let finds = finding_part(samples, &settings);
        match solve(&sample, 10, &finds, &vec![1.0; tiers], &settings) {
            Ok(calibration) => {
                let (harmed, way) = truth(population, &calibration);
                broken += usize::from(harmed > risk);
                hops += way;
                risks += harmed;
            }
            Err(CalibrationError::NotPromised { .. }) => refused += 1,
            Err(error) => panic!("{error}"),
        }
    }
    let all = vec![true; population[0].len()];
    let offload = Settings { goal: Goal::Offload { most: vec![1.0] }, ..settings };
    let best = solve(population, 10, &all, &vec![1.0; tiers], &offload).unwrap();
    let within = best.frontier.iter().filter(|point| point.harmed <= risk);
    let way = within.map(|point| point.reach[1..].iter().sum::<f64>());
    let done = (trials - refused).max(1) as f64;
    Kept {
        broken,
        refused,
        mean_hops: hops / done,
        mean_risk: risks / done,
        oracle_hops: way.fold(f64::INFINITY, f64::min),
    }
}

fn check(name: &str, kept: &Kept, trials: usize) {
    eprintln!(
        "{name}: promise broken in {} of {trials}, refused in {}; hops a sample {:.4}, where the oracle takes {:.4}; \
         risk {:.5}",
        kept.broken, kept.refused, kept.mean_hops, kept.oracle_hops, kept.mean_risk
    );
    assert!(kept.broken as f64 <= (1.0 - CONFIDENCE) * trials as f64, "{name}: {}", kept.broken);
}

#[test]
fn the_promise_is_broken_in_at_most_5_percent_of_calibrations() {
    for (tiers, samples) in [(2, 3000), (3, 3000), (3, 10_000)] {
        let population = synthetic(20_000, tiers);
        let kept = calibrate_often(&population, samples, 0.01, false, TRIALS);
        check(&format!("synthetic, {tiers} tiers, {samples} samples"), &kept, TRIALS);
        // Not by sending everything up: with 10,000 samples less than half as much again as with full knowledge.
        let slack = if samples < 10_000 { 2.0 } else { 1.5 };
        assert!(kept.mean_hops < slack * kept.oracle_hops, "{}", kept.mean_hops);
        assert_eq!(kept.refused, 0);
    }
}

#[test]
fn the_promise_holds_with_thresholds_by_class_and_for_more_tiers_too() {
    let trials = 200;
    let kept = calibrate_often(&synthetic(20_000, 3), 5000, 0.01, true, trials);
    check("synthetic, by class", &kept, trials);
    let kept = calibrate_often(&synthetic(20_000, 4), 3000, 0.01, false, trials / 4);
    check("synthetic, four tiers", &kept, trials / 4);
}

#[test]
fn the_promise_is_kept_on_mnist() {
    let Some(mnist) = super::shared_data("mnist") else { return };
    let stages = super::committed::stages("mnist-conv");
    let dataset = idx::read(&mnist, idx::Split::Test).unwrap();
    let recording = Recording::new(&stages, &dataset, &[], |_| ()).unwrap();
    let population: Population = (0..stages.len())
        .map(|tier| recording.verdicts(tier, ExitCriterion::MaxSoftmax, 1.0))
        .collect();
    for risk in [0.01, 0.004] {
        let kept = calibrate_often(&population, 5000, risk, false, TRIALS);
        check(&format!("MNIST test images, loss of {risk}, 5000 samples"), &kept, TRIALS);
    }
}
