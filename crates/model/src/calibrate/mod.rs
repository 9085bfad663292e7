//! Thresholds for a goal: how much accuracy may be lost, how much may leave the first tier, or how long an answer may
//! take in the mean.
//!
//! 1. [`Recording`]: every exit's softmax vectors on labelled samples that no training has seen.
//! 2. [`temperature`]: one number an exit, fitted to their likelihood.
//! 3. Scores and candidate cuts of each exit (`scores`): its confidences, or one scale for all classes.
//! 4. The joint histogram of the cuts (`joint`), from which accuracy, shares, bytes and time of any pair of thresholds
//!    are read in O(1): all of them are looked at. Cascades of more than three tiers are searched by coordinate descent
//!    (`coordinate`).
//! 5. For an accuracy loss, a test of what was found on samples that had no part in finding it ([`guarantee`]): the
//!    promise holds for what will come from the same source, not only for the samples at hand.
//!
//! Goals on shares and time are met on the samples at hand, without a promise; what will come deviates by chance.

mod cascade;
mod coordinate;
mod cost;
pub mod guarantee;
mod joint;
mod recording;
mod scores;
mod search;
pub mod temperature;

use std::time::Duration;

use thiserror::Error;
use wire::ExitCriterion;

pub use self::cascade::MAX_TIERS;
use self::cascade::{Cascade, Counts, Levels};
pub use self::cost::{Costs, Objective};
use self::joint::Joint;
pub use self::recording::{ExitRecording, Recording, Verdict, service_times};
use self::scores::{MAX_CUTS, Scale};
use self::search::{Candidate, Loss, Space, Weights};
use crate::random::Random;
use crate::{Exit, Histogram};

/// The share of the samples that finds thresholds where a promise is wanted; the others test them. A test of twice as
/// many samples lets through thresholds nearer to the promise, and an order needs fewer than a proof.
const ORDERING_SHARE: f64 = 1.0 / 3.0;

/// Tests from one of the thresholds that the finding part holds for the best to the next.
const STEPS_BETWEEN: i32 = 8;

/// Bins of the histogram that an artefact carries, at most.
const HISTOGRAM_BINS: usize = 64;

/// What thresholds are to reach.
#[derive(Debug, Clone, PartialEq)]
pub enum Goal {
    /// With a probability of at least `confidence` over the draw of the samples, the cascade's accuracy is at most
    /// `most` less than that of its last exit (see [`guarantee`]); of such thresholds, the cheapest.
    AccuracyLoss {
        /// In (0, 1): 0.01 is one percentage point.
        most: f64,
        /// In (0, 1).
        confidence: f64,
    },
    /// The most accurate thresholds with which at most these shares of all samples leave the first tier, the second,
    /// and so on; tiers beyond the list forward as many as they like.
    Offload {
        /// Each in [0, 1].
        most: Vec<f64>,
    },
    /// The most accurate thresholds with which an answer takes at most this long in the mean.
    Latency {
        /// The mean time to an answer.
        most: Duration,
    },
}

/// How thresholds are looked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// What they are to reach.
    pub goal: Goal,
    /// What is compared with them.
    pub criterion: ExitCriterion,
    /// For each tier, its temperature; `None` fits it.
    pub temperatures: Vec<Option<f32>>,
    /// Whether each predicted class has thresholds of its own.
    pub per_class: bool,
    /// What is spent as little of as possible, where the goal leaves a choice.
    pub objective: Objective,
    /// What tiers and the ways between them take.
    pub costs: Costs,
    /// Parts the samples, where a promise is wanted.
    pub seed: u64,
}

/// What was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Calibration {
    /// In the order of the tiers.
    pub tiers: Vec<CalibratedTier>,
    /// The number of samples.
    pub samples: usize,
    /// The accuracy of the last exit on all of them.
    pub last_accuracy: f64,
    /// What the thresholds do to them.
    pub chosen: Point,
    /// What others do, from the dearest to the cheapest: none of them is beaten in both accuracy and cost.
    pub frontier: Vec<Point>,
    /// What the thresholds were tested for, where the goal is a promise.
    pub promise: Option<Promise>,
}

/// What a tier is to be given.
#[derive(Debug, Clone, PartialEq)]
pub struct CalibratedTier {
    /// Divides the logits.
    pub temperature: f32,
    /// When a sample may leave; `None` at the last tier.
    pub exit: Option<Exit>,
    /// How sure the exit is of the samples; `None` at the last tier.
    pub histogram: Option<Histogram>,
}

/// One choice of thresholds, and what it does to the samples.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    /// One threshold for each tier but the last; by class, that of a class which is like all together.
    pub thresholds: Vec<f64>,
    /// The share of samples with a right answer.
    pub accuracy: f64,
    /// The share of samples which the last exit gets right and this choice does not.
    pub harmed: f64,
    /// The share of samples that reach each tier.
    pub reach: Vec<f64>,
    /// The mean bytes that a sample sends up.
    pub bytes_up: f64,
    /// The mean time to an answer.
    pub time: Duration,
}

/// A test that thresholds passed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Promise {
    /// The number of samples that tested them, and had no part in finding them.
    pub tested: usize,
    /// How many of those are harmed.
    pub harmed: usize,
    /// How many might have been.
    pub most_harmed: usize,
    /// The accuracy loss that was tested for.
    pub risk: f64,
    /// With which confidence.
    pub confidence: f64,
}

/// Why no thresholds were found.
#[derive(Debug, Clone, PartialEq, Error)]
#[expect(missing_docs, reason = "each variant's message is its documentation")]
pub enum CalibrationError {
    #[error("there are {found} tiers, expected 2 to {MAX_TIERS}: the last one always answers")]
    Tiers { found: usize },

    #[error("there are no samples to calibrate on")]
    NoSamples,

    #[error(
        "an accuracy loss of at most {risk} with confidence {confidence} needs {needed} or more samples to test on, \
         but of {samples} only {tested} do that: give more samples, or ask for less"
    )]
    TooFewSamples { risk: f64, confidence: f64, samples: usize, tested: usize, needed: usize },

    #[error(
        "no thresholds keep the accuracy loss within {risk} with confidence {confidence}: the safest answer {harmed} of \
         {tested} tested samples wrongly that the last exit gets right, expected at most {most_harmed}"
    )]
    NotPromised { risk: f64, confidence: f64, tested: usize, harmed: usize, most_harmed: usize },

    #[error("an answer takes {least:?} at least, in the mean, expected at most {most:?}")]
    TooSlow { least: Duration, most: Duration },
}

impl Point {
    /// The share of samples that each tier answers.
    pub fn answered(&self) -> Vec<f64> {
        let next = self.reach.iter().skip(1).chain([&0.0]);
        self.reach.iter().zip(next).map(|(reach, next)| reach - next).collect()
    }
}

/// Finds thresholds, temperatures and histograms for the recorded cascade.
///
/// O(samples · log samples + cuts²) after the temperatures, for two or three tiers.
///
/// # Errors
///
/// [`CalibrationError`] where the goal is out of reach.
pub fn calibrate(
    recording: &Recording,
    settings: &Settings,
) -> Result<Calibration, CalibrationError> {
    let tiers = recording.exits.len();
    if !(2..=MAX_TIERS).contains(&tiers) {
        return Err(CalibrationError::Tiers { found: tiers });
    }
    if recording.labels.is_empty() {
        return Err(CalibrationError::NoSamples);
    }
    let finds = finding_part(recording.labels.len(), settings);
    let temperatures: Vec<f32> = settings
        .temperatures
        .iter()
        .zip(&recording.exits)
        .map(|(given, exit)| given.unwrap_or_else(|| fit_temperature(exit, recording, &finds)))
        .collect();
    let verdicts: Vec<Vec<Verdict>> = temperatures
        .iter()
        .enumerate()
        .map(|(tier, &temperature)| recording.verdicts(tier, settings.criterion, temperature))
        .collect();
    solve(&verdicts, recording.exits[0].classes, &finds, &temperatures, settings)
}

/// The part of [`calibrate`] behind the temperatures: from what every exit makes of every sample to thresholds.
/// `finds` says which samples find them; where the goal is a promise, the others test it.
///
/// # Errors
///
/// [`CalibrationError`] where the goal is out of reach.
pub fn solve(
    verdicts: &[Vec<Verdict>],
    classes: usize,
    finds: &[bool],
    temperatures: &[f32],
    settings: &Settings,
) -> Result<Calibration, CalibrationError> {
    let right = right_of(verdicts);
    let exits = verdicts.len() - 1;
    let mut scales = Vec::with_capacity(exits);
    let mut all = Cascade { bins: Vec::new(), cuts: Vec::new(), right };
    let mut cuts = Vec::with_capacity(exits);
    for verdicts in &verdicts[..exits] {
        let scale = if settings.per_class {
            fit_classes(verdicts, &all.right, exits, finds, classes)
        } else {
            Scale::Confidence
        };
        let scores: Vec<f64> = verdicts.iter().map(|verdict| scale.score(*verdict)).collect();
        let finding: Vec<f64> = kept(&scores, finds);
        let own = scale.cuts(&finding, MAX_CUTS);
        all.bins.push(scores.iter().map(|&score| reached(&own, score)).collect());
        all.cuts.push(own.len());
        cuts.push(own);
        scales.push(scale);
    }
    let (chosen, promise) = choose(&all, finds, settings)?;
    let weights = settings.costs.weights(settings.objective);
    let space = Space::new(&all, &weights, Loss::Wrong);
    let point =
        |levels: &Levels| point(&space.counts(&all, levels), levels, &scales, &cuts, settings);
    let frontier = space.frontier(&weights, Loss::Wrong);
    let samples = all.samples();
    let last_right = (0..samples).filter(|&sample| all.is_right(sample, exits)).count();
    let tiers = temperatures.iter().enumerate().map(|(tier, &temperature)| {
        let exit = scales.get(tier).map(|scale| {
            let cut = cuts[tier][usize::from(chosen[tier])];
            scale.exit(settings.criterion, cut)
        });
        let histogram = exit.is_some().then(|| histogram(&verdicts[tier], &verdicts[exits]));
        CalibratedTier { temperature, exit, histogram }
    });
    Ok(Calibration {
        tiers: tiers.collect(),
        samples,
        last_accuracy: last_right as f64 / samples as f64,
        chosen: point(&chosen),
        frontier: frontier.iter().map(|candidate| point(&candidate.levels)).collect(),
        promise,
    })
}

/// Which samples find thresholds: all, or a random part where the rest has to test them.
pub fn finding_part(samples: usize, settings: &Settings) -> Vec<bool> {
    let Goal::AccuracyLoss { .. } = settings.goal else { return vec![true; samples] };
    let finding = (samples as f64 * ORDERING_SHARE).round() as usize;
    let mut finds: Vec<bool> = (0..samples).map(|sample| sample < finding).collect();
    Random::new(settings.seed).shuffle(&mut finds);
    finds
}

fn fit_temperature(exit: &ExitRecording, recording: &Recording, finds: &[bool]) -> f32 {
    let samples = exit.rows.chunks_exact(exit.classes).zip(finds);
    let rows: Vec<f32> =
        samples.filter(|(_, finds)| **finds).flat_map(|(row, _)| row.iter().copied()).collect();
    temperature::fit(&rows, exit.classes, &kept(&recording.labels, finds))
}

fn fit_classes(
    verdicts: &[Verdict],
    right: &[u8],
    last: usize,
    finds: &[bool],
    classes: usize,
) -> Scale {
    let fine: Vec<bool> = verdicts
        .iter()
        .zip(right)
        .map(|(verdict, right)| verdict.right || right >> last & 1 == 0)
        .collect();
    Scale::by_class(&kept(verdicts, finds), &kept(&fine, finds), classes)
}

fn kept<T: Copy>(values: &[T], keep: &[bool]) -> Vec<T> {
    values.iter().zip(keep).filter(|(_, keep)| **keep).map(|(value, _)| *value).collect()
}

/// How many of the ascending cuts a score reaches; none where it is not a number.
fn reached(cuts: &[f64], score: f64) -> u16 {
    cuts.partition_point(|&cut| cut <= score) as u16
}

/// A bit for each exit that gets a sample right.
fn right_of(verdicts: &[Vec<Verdict>]) -> Vec<u8> {
    let bits = |sample: usize| {
        let right =
            verdicts.iter().enumerate().map(|(tier, all)| u8::from(all[sample].right) << tier);
        right.fold(0, |bits, bit| bits | bit)
    };
    (0..verdicts[0].len()).map(bits).collect()
}

fn choose(
    all: &Cascade,
    finds: &[bool],
    settings: &Settings,
) -> Result<(Levels, Option<Promise>), CalibrationError> {
    let weights = settings.costs.weights(settings.objective);
    match &settings.goal {
        Goal::AccuracyLoss { most, confidence } => {
            promised(all, finds, &weights, *most, *confidence)
                .map(|(levels, promise)| (levels, Some(promise)))
        }
        Goal::Offload { most } => {
            let space = Space::new(all, &weights, Loss::Wrong);
            // A share of so many samples, forgiving the rounding of the product.
            let most: Vec<f64> =
                most.iter().map(|share| share * all.samples() as f64 + 1e-9).collect();
            let fits = |counts: &Counts| {
                counts.reach[1..].iter().zip(&most).all(|(&n, most)| f64::from(n) <= *most)
            };
            let best = space.best(&weights, Loss::Wrong, fits);
            // What no threshold keeps back are samples without a confidence; then as few as possible go up.
            Ok((best.map_or(Levels::default(), |best| best.levels), None))
        }
        Goal::Latency { most } => {
            let time = settings.costs.weights(Objective::Time);
            let space = Space::new(all, &time, Loss::Wrong);
            let mut least = f64::INFINITY;
            let best = space.best(&time, Loss::Wrong, |counts| {
                let seconds = time.cost(counts);
                least = least.min(seconds);
                seconds <= most.as_secs_f64()
            });
            let least = Duration::from_secs_f64(least);
            best.map(|best| (best.levels, None))
                .ok_or(CalibrationError::TooSlow { least, most: *most })
        }
    }
}

/// The cheapest thresholds that pass the test for `risk`, on a way from the safest to the cheapest that the finding
/// part of the samples alone decides.
fn promised(
    all: &Cascade,
    finds: &[bool],
    weights: &Weights,
    risk: f64,
    confidence: f64,
) -> Result<(Levels, Promise), CalibrationError> {
    let finding = all.subset(finds);
    let tests: Vec<bool> = finds.iter().map(|finds| !finds).collect();
    let testing = all.subset(&tests);
    let tested = testing.samples();
    let Some(most_harmed) = guarantee::most_harmed(tested, risk, confidence) else {
        let needed = guarantee::fewest_samples(risk, confidence);
        let samples = all.samples();
        return Err(CalibrationError::TooFewSamples { risk, confidence, samples, tested, needed });
    };
    let frontier = Space::new(&finding, weights, Loss::Harmed).frontier(weights, Loss::Harmed);
    let way = way_of(&frontier, &finding.cuts);
    let joint = Joint::new(&testing);
    let counts = |levels: &Levels| match &joint {
        Some(joint) => joint.counts(levels),
        None => testing.counts(levels),
    };
    let harmed: Vec<usize> = way.iter().map(|levels| counts(levels).harmed as usize).collect();
    let Some(last) = guarantee::last_passing(harmed.iter().copied(), most_harmed) else {
        let harmed = harmed.first().copied().unwrap_or_default();
        return Err(CalibrationError::NotPromised {
            risk,
            confidence,
            tested,
            harmed,
            most_harmed,
        });
    };
    let promise = Promise { tested, harmed: harmed[last], most_harmed, risk, confidence };
    Ok((way[last], promise))
}

/// A way through thresholds, from those that let least leave to the cheapest of `frontier`, with `STEPS_BETWEEN` steps
/// from one of these to the next. The safest of the frontier harm few or none of the finding samples, being the best of
/// many; of others they may harm more than is allowed, and then there is something safer before them. And the last that
/// passes is near to the first that does not.
fn way_of(frontier: &[Candidate], cuts: &[usize]) -> Vec<Levels> {
    let mut from = Levels::default();
    for (level, cuts) in from.iter_mut().zip(cuts) {
        *level = (cuts - 1) as u16;
    }
    let mut way = vec![from];
    for Candidate { levels: to, .. } in frontier {
        for step in 1..=STEPS_BETWEEN {
            let mut levels = *to;
            for (level, (&from, &to)) in levels.iter_mut().zip(from.iter().zip(to)) {
                let (from, to) = (i32::from(from), i32::from(to));
                *level = (from + (to - from) * step / STEPS_BETWEEN) as u16;
            }
            way.push(levels);
        }
        from = *to;
    }
    way
}

fn point(
    counts: &Counts,
    levels: &Levels,
    scales: &[Scale],
    cuts: &[Vec<f64>],
    settings: &Settings,
) -> Point {
    let samples = f64::from(counts.reach[0]);
    let thresholds = scales.iter().zip(cuts).zip(levels).map(|((scale, cuts), level)| {
        scale.exit(settings.criterion, cuts[usize::from(*level)]).threshold
    });
    let reach = counts.reach[..=scales.len()].iter().map(|&n| f64::from(n) / samples);
    Point {
        thresholds: thresholds.collect(),
        accuracy: f64::from(counts.right) / samples,
        harmed: f64::from(counts.harmed) / samples,
        reach: reach.collect(),
        bytes_up: settings.costs.bytes(counts),
        time: Duration::from_secs_f64(settings.costs.seconds(counts)),
    }
}

/// How sure an exit is of the samples, in bins that are narrow where few are.
fn histogram(verdicts: &[Verdict], last: &[Verdict]) -> Histogram {
    let confidences: Vec<f64> =
        verdicts.iter().map(|verdict| f64::from(verdict.confidence)).collect();
    let mut edges = Scale::Confidence.cuts(&confidences, HISTOGRAM_BINS);
    if edges.len() > 2 {
        // The last cut is 1 itself; the bin before it ends there and includes it.
        edges.pop();
    }
    let bins = edges.len();
    let (mut count, mut right, mut last_right) = (vec![0; bins], vec![0; bins], vec![0; bins]);
    for (verdict, last) in verdicts.iter().zip(last) {
        let Some(bin) = reached(&edges, f64::from(verdict.confidence)).checked_sub(1) else {
            continue;
        };
        let bin = usize::from(bin);
        count[bin] += 1;
        right[bin] += u32::from(verdict.right);
        last_right[bin] += u32::from(last.right);
    }
    Histogram { edges, count, right, last_right }
}
