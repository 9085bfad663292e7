//! The figures of a run: what tables, files and terminals show.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::run::{Outcome, Remark, Run, Trial};
use crate::stats::{Summary, interval};
use interval::Interval;

/// The figures of a run. Field names are those of its JSON. Counts are of all trials, latencies of all their records
/// together; what warms up is apart.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Digest {
    /// The run.
    pub name: String,
    /// What was measured.
    pub system: String,
    /// How often it was run.
    pub trials: usize,
    /// Records that were sent.
    pub records: u64,
    /// Of them, answered by any tier.
    pub answered: u64,
    /// Of them, never seen again.
    pub lost: u64,
    /// Arrivals of what had arrived.
    pub duplicated: u64,
    /// Answers that overtook one of their key.
    pub disordered: u64,
    /// Of them, in a dead-letter topic.
    pub dead_lettered: u64,
    /// Answered later than is wanted.
    pub late: u64,
    /// Answers to what was not sent.
    pub unknown: u64,
    /// Right answers over answers of which that is known.
    pub accuracy: Option<f64>,
    /// Answers over the time from the first intended send to the last answer, the mean of trials.
    pub throughput_per_s: Option<f64>,
    /// From the first answer to the last, the mean of trials: the paper's "elapsed".
    pub elapsed_s: Option<f64>,
    /// From the last intended send to the last answer, the most of all trials.
    pub drain_s: Option<f64>,
    /// CPU time of what was looked at for each record that was sent, the mean of trials.
    pub cpu_us_per_record: Option<f64>,
    /// The most memory of what was looked at, all together, the most of all trials.
    pub resident_mib: Option<f64>,
    /// How far the devices were behind their schedule, of 99 % of the records; the worst trial's.
    pub send_error_ms_p99: Option<f64>,
    /// The most that they were behind.
    pub send_error_ms_max: Option<f64>,
    /// Each tier's answers, first tier first.
    pub tiers: Vec<TierDigest>,
    /// All answers.
    pub all: TierDigest,
    /// What came before measuring.
    pub warm_up: Option<TierDigest>,
    /// Figures with intervals of 95 %: of two trials or more Student's t, of one a bootstrap of its records.
    pub intervals: BTreeMap<&'static str, Interval>,
    /// What the intervals are of.
    pub intervals_of: &'static str,
    /// What a reader has to know.
    pub remarks: Vec<Remark>,
}

/// The answers of a tier.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TierDigest {
    /// The tier, or what its topic is called.
    pub topic: String,
    /// Records that it answered.
    pub answered: u64,
    /// Of all answers that are measured.
    pub share: Option<f64>,
    /// Right answers over answers of which that is known.
    pub accuracy: Option<f64>,
    /// Least latency.
    pub latency_ms_min: Option<f64>,
    /// Of half of the records.
    pub latency_ms_p50: Option<f64>,
    /// Mean latency.
    pub latency_ms_mean: Option<f64>,
    /// Of 90 %.
    pub latency_ms_p90: Option<f64>,
    /// Of 95 %.
    pub latency_ms_p95: Option<f64>,
    /// Of 99 %.
    pub latency_ms_p99: Option<f64>,
    /// Most latency.
    pub latency_ms_max: Option<f64>,
    /// Standard deviation.
    pub latency_ms_std: Option<f64>,
}

impl TierDigest {
    fn new<'r>(topic: &str, answers: impl Iterator<Item = &'r Outcome>, all: Option<u64>) -> Self {
        let (mut answered, mut judged, mut correct) = (0u64, 0u64, 0u64);
        let mut latencies = Vec::new();
        for record in answers {
            answered += 1;
            judged += u64::from(record.correct.is_some());
            correct += u64::from(record.correct == Some(true));
            latencies.extend(record.latency_s.map(|seconds| seconds * 1e3));
        }
        let summary = Summary::of(latencies);
        let of = |figure: fn(&Summary) -> f64| summary.as_ref().map(figure);
        Self {
            topic: topic.to_owned(),
            answered,
            share: all.map(|all| answered as f64 / all.max(1) as f64),
            accuracy: (judged > 0).then(|| correct as f64 / judged as f64),
            latency_ms_min: of(|s| s.min),
            latency_ms_p50: of(|s| s.median),
            latency_ms_mean: of(|s| s.mean),
            latency_ms_p90: of(|s| s.p90),
            latency_ms_p95: of(|s| s.p95),
            latency_ms_p99: of(|s| s.p99),
            latency_ms_max: of(|s| s.max),
            latency_ms_std: of(|s| s.std),
        }
    }
}

/// A figure that trials are compared by.
pub struct Comparable {
    /// Its name in files.
    pub key: &'static str,
    /// What a reader calls it.
    pub title: &'static str,
    /// Of one trial.
    pub of: fn(&Trial) -> Option<f64>,
    /// The percentile of latencies that it is, where it is one: then one trial has an interval too.
    pub percentile: Option<f64>,
}

impl std::fmt::Debug for Comparable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Comparable").field("key", &self.key).finish_non_exhaustive()
    }
}

fn latency(trial: &Trial, figure: fn(&Summary) -> f64) -> Option<f64> {
    Some(figure(&Summary::of(trial.latencies(None))?) * 1e3)
}

/// What is compared, in the order of tables.
pub const COMPARABLE: [Comparable; 8] = [
    Comparable {
        key: "latency_ms_p50",
        title: "p50 ms",
        of: |trial| latency(trial, |s| s.median),
        percentile: Some(0.5),
    },
    Comparable {
        key: "latency_ms_p95",
        title: "p95 ms",
        of: |trial| latency(trial, |s| s.p95),
        percentile: Some(0.95),
    },
    Comparable {
        key: "latency_ms_p99",
        title: "p99 ms",
        of: |trial| latency(trial, |s| s.p99),
        percentile: Some(0.99),
    },
    Comparable {
        key: "throughput_per_s",
        title: "answers/s",
        of: Trial::throughput,
        percentile: None,
    },
    Comparable { key: "elapsed_s", title: "elapsed s", of: Trial::elapsed_s, percentile: None },
    Comparable { key: "drain_s", title: "drain s", of: Trial::drain_s, percentile: None },
    Comparable {
        key: "cpu_us_per_record",
        title: "CPU µs/record",
        of: Trial::cpu_us_per_record,
        percentile: None,
    },
    Comparable {
        key: "resident_mib",
        title: "memory MiB",
        of: Trial::memory_mib,
        percentile: None,
    },
];

impl Digest {
    /// The figures of a run.
    pub fn new(run: &Run) -> Self {
        let fates = run.fates();
        let all = || run.trials.iter().flat_map(|trial| &trial.records);
        let answers = || all().filter(|record| !record.warm_up && record.is_answered());
        let tiers = run.tiers.iter().enumerate().map(|(at, tier)| {
            let own = answers().filter(move |record| record.tier == Some(at));
            TierDigest::new(tier, own, Some(fates.answered))
        });
        let warm_up = || all().filter(|record| record.warm_up && record.is_answered());
        let mean = |values: Vec<f64>| (!values.is_empty()).then(|| crate::stats::mean(&values));
        let most = |values: Vec<f64>| values.into_iter().max_by(f64::total_cmp);
        let sum = |count: fn(&Trial) -> u64| run.trials.iter().map(count).sum();
        Self {
            name: run.name.clone(),
            system: run.about.system.clone(),
            trials: run.trials.len(),
            records: fates.sent,
            answered: fates.answered,
            lost: fates.lost,
            duplicated: sum(|trial| trial.duplicated),
            disordered: sum(|trial| trial.disordered),
            dead_lettered: fates.dead_lettered,
            late: fates.late,
            unknown: sum(|trial| trial.unknown),
            accuracy: (fates.judged > 0).then(|| fates.correct as f64 / fates.judged as f64),
            throughput_per_s: mean(run.each(Trial::throughput)),
            elapsed_s: mean(run.each(Trial::elapsed_s)),
            drain_s: most(run.each(Trial::drain_s)),
            cpu_us_per_record: mean(run.each(Trial::cpu_us_per_record)),
            resident_mib: most(run.each(Trial::memory_mib)),
            send_error_ms_p99: most(run.each(|trial| Some(trial.send_error_ms?.p99))),
            send_error_ms_max: most(run.each(|trial| Some(trial.send_error_ms?.max))),
            tiers: tiers.collect(),
            all: TierDigest::new("all", answers(), Some(fates.answered)),
            warm_up: all()
                .any(|record| record.warm_up)
                .then(|| TierDigest::new("warm-up", warm_up(), None)),
            intervals: intervals(run),
            intervals_of: if run.trials.len() > 1 { "trials" } else { "records of one trial" },
            remarks: run.remarks.clone(),
        }
    }
}

fn intervals(run: &Run) -> BTreeMap<&'static str, Interval> {
    let interval = |figure: &Comparable| match (&run.trials[..], figure.percentile) {
        ([trial], Some(share)) => {
            let ms: Vec<f64> = trial.latencies(None).iter().map(|seconds| seconds * 1e3).collect();
            interval::of_values(&ms, share)
        }
        // None of these figures is ever below 0, whatever t says of a few trials that differ much.
        _ => interval::of_trials(&run.each(figure.of))
            .map(|interval| Interval { low: interval.low.max(0.0), ..interval }),
    };
    COMPARABLE.iter().filter_map(|figure| Some((figure.key, interval(figure)?))).collect()
}

/// How a figure of one run compares with that of another.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Ratio {
    /// The figure.
    pub figure: &'static str,
    /// What a reader calls it.
    pub title: &'static str,
    /// Its value in the run that others are compared with.
    pub base: f64,
    /// Its value in this run.
    pub value: f64,
    /// The second over the first, with its interval where there is one.
    pub ratio: Interval,
    /// Whether the interval is one of trials, of records of one trial, or there is none.
    pub of: &'static str,
}

/// All figures that both runs have, those of `run` over those of `base`.
pub fn ratios(run: &Run, base: &Run) -> Vec<Ratio> {
    let ratio = |figure: &Comparable| {
        let (values, bases) = (run.each(figure.of), base.each(figure.of));
        if values.is_empty() || bases.is_empty() {
            return None;
        }
        let (value, of_base) = (crate::stats::mean(&values), crate::stats::mean(&bases));
        let of_trials = interval::ratio_of_trials(&values, &bases).map(|ratio| (ratio, "trials"));
        let of_records = || {
            let share = figure.percentile?;
            let ratio =
                interval::ratio_of_values(&run.latencies(None), &base.latencies(None), share)?;
            Some((ratio, "records"))
        };
        let plain = value / of_base;
        let (ratio, of) = of_trials.or_else(of_records).unwrap_or((
            Interval { value: plain, low: f64::NAN, high: f64::NAN },
            "nothing: one trial",
        ));
        let Comparable { key, title, .. } = *figure;
        let ratio = Ratio { figure: key, title, base: of_base, value, ratio, of };
        ratio.ratio.value.is_finite().then_some(ratio)
    };
    COMPARABLE.iter().filter_map(ratio).collect()
}
