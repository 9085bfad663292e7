//! Runs: what was measured, record by record, ours and the published ones.
//!
//! A [`Run`] is all that a report needs, whatever measured it. [`mod@file`] writes and reads our own, [`published`] reads the
//! paper's raw files, and [`check`] says what is wrong with one.

pub mod check;
pub mod file;
pub mod published;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::stats::Summary;

/// Something that was run and measured, once or several times.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// What it is called in figures.
    pub name: String,
    /// Names of the tiers that can answer, first tier first.
    pub tiers: Vec<String>,
    /// Where it comes from and how it was made.
    pub about: About,
    /// Each time it was run.
    pub trials: Vec<Trial>,
    /// What a reader has to know before believing it.
    pub remarks: Vec<Remark>,
}

/// The key in [`About::machine`] of how many cores were busy before anything was started.
pub const BUSY_CORES: &str = "busy_cores_before";

/// Where a run comes from.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct About {
    /// What was measured, for a person.
    pub system: String,
    /// When the first trial began, UTC.
    pub started: String,
    /// The version of whatever measured.
    pub version: String,
    /// SHA-256 of the program that measured.
    pub program_sha256: String,
    /// The command line.
    pub arguments: Vec<String>,
    /// Processor, cores, memory, kernel and how busy it was.
    pub machine: BTreeMap<String, String>,
    /// The images.
    pub images: String,
    /// Whoever made it had this to say.
    pub note: String,
    /// Devices that sent.
    pub devices: u64,
    /// The load in words.
    pub load: String,
    /// Seconds after the start at which each stage of the load begins, and its records a second, of all devices.
    pub stages: Vec<(f64, f64)>,
    /// How answers were joined to what was sent.
    pub joined_by: String,
    /// An answer that takes longer than this is late, in milliseconds.
    pub late_ms: f64,
}

/// One time.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Trial {
    /// What became of each record that was sent, in the order of sending. Of published runs: of each answer.
    #[serde(skip)]
    pub records: Vec<Outcome>,
    /// Arrivals of what had arrived.
    pub duplicated: u64,
    /// Answers that overtook one of their key.
    pub disordered: u64,
    /// Answers to nothing that was sent.
    pub unknown: u64,
    /// Records whose sending the broker has not confirmed.
    pub unconfirmed: u64,
    /// How far the devices were behind their schedule, in milliseconds; none where they have none.
    pub send_error_ms: Option<Summary>,
    /// CPU time and memory over time.
    pub usage: Vec<Usage>,
    /// Instances over time.
    pub instances: Vec<Instances>,
    /// What was done to the system, and when.
    pub faults: Vec<Struck>,
}

/// What became of a record.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Outcome {
    /// When it was to be sent, in seconds after the trial's start. None where that is not known.
    pub due_s: Option<f64>,
    /// When it arrived where it ended; none of one that is lost.
    pub arrived_s: Option<f64>,
    /// From when it was to be sent to when it arrived.
    pub latency_s: Option<f64>,
    /// Which tier answered; none where it is lost or a dead letter.
    pub tier: Option<usize>,
    /// Whether the answer is right, where that is known.
    pub correct: Option<bool>,
    /// Belongs to what came before measuring.
    pub warm_up: bool,
}

/// What something has taken of the machine up to a moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    /// Seconds after the trial's start.
    pub at_s: f64,
    /// A process or control group.
    pub name: String,
    /// CPU time since it started, in seconds.
    pub cpu_s: f64,
    /// Memory that it has, in MiB.
    pub memory_mib: f64,
}

/// How many instances there are at a moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Instances {
    /// Seconds after the trial's start.
    pub at_s: f64,
    /// A function or tier.
    pub name: String,
    /// Its instances.
    pub instances: f64,
}

/// A blow that the system was dealt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Struck {
    /// Seconds after the trial's start.
    pub at_s: f64,
    /// What was done.
    pub what: String,
}

/// Something that a reader has to know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remark {
    /// How bad it is.
    pub weight: Weight,
    /// What it is, in a sentence.
    pub text: String,
}

/// What a remark means for the run's figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Weight {
    /// Good to know.
    Note,
    /// Some figures are not what they seem.
    Doubtful,
    /// The run's figures must not be used.
    Invalid,
}

/// Records of a trial, counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Fates {
    /// Sent, or expected, without warming up.
    pub sent: u64,
    /// Answered by any tier.
    pub answered: u64,
    /// In a dead-letter topic.
    pub dead_lettered: u64,
    /// Never seen again.
    pub lost: u64,
    /// Answered late.
    pub late: u64,
    /// With the right answer.
    pub correct: u64,
    /// Of which it is known whether the answer is right.
    pub judged: u64,
}

impl Outcome {
    /// Whether a tier answered it.
    pub fn is_answered(&self) -> bool {
        self.tier.is_some()
    }
}

impl Trial {
    /// The records that are measured.
    pub fn measured(&self) -> impl Iterator<Item = &Outcome> {
        self.records.iter().filter(|record| !record.warm_up)
    }

    /// Latencies in seconds of the answers of one tier, or of all, as they were sent.
    pub fn latencies(&self, tier: Option<usize>) -> Vec<f64> {
        let answered = self.measured().filter(|record| match tier {
            Some(_) => record.tier == tier,
            None => record.is_answered(),
        });
        answered.filter_map(|record| record.latency_s).collect()
    }

    /// The records, counted; an answer that takes longer than `late_ms` is late.
    pub fn fates(&self, late_ms: f64) -> Fates {
        let mut fates = Fates::default();
        for record in self.measured() {
            fates.sent += 1;
            match (record.tier, record.arrived_s) {
                (Some(_), _) => fates.answered += 1,
                (None, Some(_)) => fates.dead_lettered += 1,
                (None, None) => fates.lost += 1,
            }
            fates.late += u64::from(record.latency_s.is_some_and(|s| late_ms < s * 1e3));
            if let Some(correct) = record.correct.filter(|_| record.is_answered()) {
                fates.judged += 1;
                fates.correct += u64::from(correct);
            }
        }
        fates
    }

    /// Seconds from the first answer to the last: the paper's "elapsed". For a system that keeps up it is how long the
    /// devices sent.
    pub fn elapsed_s(&self) -> Option<f64> {
        let (first, last) = span(self.measured().filter_map(|record| record.arrived_s))?;
        Some(last - first)
    }

    /// Seconds from the first to the last record that was to be sent.
    pub fn send_span_s(&self) -> Option<f64> {
        let (first, last) = span(self.measured().filter_map(|record| record.due_s))?;
        Some(last - first)
    }

    /// Seconds from when the first record was to be sent to the last answer.
    pub fn first_send_to_last_answer_s(&self) -> Option<f64> {
        let (first, _) = span(self.measured().filter_map(|record| record.due_s))?;
        let (_, last) = span(self.measured().filter_map(|record| record.arrived_s))?;
        Some(last - first)
    }

    /// Seconds from when the last record was to be sent to the last answer.
    pub fn drain_s(&self) -> Option<f64> {
        let (_, sent) = span(self.measured().filter_map(|record| record.due_s))?;
        let (_, last) = span(self.measured().filter_map(|record| record.arrived_s))?;
        Some(last - sent)
    }

    /// Answers a second, from when the first record was to be sent to the last answer.
    pub fn throughput(&self) -> Option<f64> {
        let answered = self.measured().filter(|record| record.is_answered()).count();
        let seconds = self.first_send_to_last_answer_s().or_else(|| self.elapsed_s());
        seconds.filter(|&seconds| seconds > 0.0).map(|seconds| answered as f64 / seconds)
    }

    /// CPU time and memory by name: seconds over the trial, and the most memory in MiB.
    pub fn taken(&self) -> BTreeMap<&str, (f64, f64)> {
        let mut taken: BTreeMap<&str, (f64, f64, f64)> = BTreeMap::new();
        for Usage { name, cpu_s, memory_mib, .. } in &self.usage {
            let (first, last, most) = taken.entry(name).or_insert((*cpu_s, *cpu_s, 0.0));
            // A process that was started again counts from zero.
            if *cpu_s < *last {
                *first -= *last;
            }
            (*last, *most) = (*cpu_s, most.max(*memory_mib));
        }
        taken.into_iter().map(|(name, (first, last, most))| (name, (last - first, most))).collect()
    }

    /// CPU time of everything that was looked at over the records that were sent, in microseconds.
    pub fn cpu_us_per_record(&self) -> Option<f64> {
        let taken = self.taken();
        let sent = self.records.len();
        let seconds: f64 = taken.values().map(|(cpu_s, _)| cpu_s).sum();
        (!taken.is_empty() && sent > 0).then(|| seconds * 1e6 / sent as f64)
    }

    /// The most memory of everything that was looked at together, in MiB.
    pub fn memory_mib(&self) -> Option<f64> {
        let mut at: BTreeMap<u64, f64> = BTreeMap::new();
        for usage in &self.usage {
            *at.entry((usage.at_s * 1e6) as u64).or_default() += usage.memory_mib;
        }
        at.into_values().max_by(f64::total_cmp)
    }
}

impl Run {
    /// Latencies in seconds of all trials together.
    pub fn latencies(&self, tier: Option<usize>) -> Vec<f64> {
        self.trials.iter().flat_map(|trial| trial.latencies(tier)).collect()
    }

    /// The records of all trials together, counted.
    pub fn fates(&self) -> Fates {
        let late_ms = if self.about.late_ms > 0.0 { self.about.late_ms } else { f64::INFINITY };
        self.trials.iter().map(|trial| trial.fates(late_ms)).fold(Fates::default(), |a, b| Fates {
            sent: a.sent + b.sent,
            answered: a.answered + b.answered,
            dead_lettered: a.dead_lettered + b.dead_lettered,
            lost: a.lost + b.lost,
            late: a.late + b.late,
            correct: a.correct + b.correct,
            judged: a.judged + b.judged,
        })
    }

    /// The share of the answers that each tier gave.
    pub fn shares(&self) -> Vec<f64> {
        let mut counts = vec![0u64; self.tiers.len()];
        for tier in self.trials.iter().flat_map(Trial::measured).filter_map(|record| record.tier) {
            counts[tier] += 1;
        }
        let all = counts.iter().sum::<u64>().max(1) as f64;
        counts.into_iter().map(|count| count as f64 / all).collect()
    }

    /// A figure of each trial that has it.
    pub fn each(&self, figure: impl Fn(&Trial) -> Option<f64>) -> Vec<f64> {
        self.trials.iter().filter_map(figure).collect()
    }

    /// The gravest that is said of it.
    pub fn weight(&self) -> Option<Weight> {
        self.remarks.iter().map(|remark| remark.weight).max()
    }
}

/// The least and the largest of some times.
fn span(times: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    times.fold(None, |span, time| {
        let (first, last) = span.unwrap_or((time, time));
        Some((time.min(first), time.max(last)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(due_s: f64, latency_s: Option<f64>, tier: Option<usize>) -> Outcome {
        let arrived_s = latency_s.map(|latency| due_s + latency);
        Outcome { due_s: Some(due_s), arrived_s, latency_s, tier, ..Outcome::default() }
    }

    #[test]
    fn every_record_has_one_fate() {
        let mut records = vec![
            outcome(0.0, Some(0.5), Some(0)),
            outcome(1.0, Some(2.0), Some(1)),
            outcome(2.0, None, None),
            outcome(3.0, Some(0.1), None),
        ];
        records[0].correct = Some(true);
        let warm = Outcome { warm_up: true, ..records[0] };
        let trial = Trial { records: [vec![warm], records].concat(), ..Trial::default() };
        let expected = Fates {
            sent: 4,
            answered: 2,
            dead_lettered: 1,
            lost: 1,
            late: 1,
            correct: 1,
            judged: 1,
        };
        assert_eq!(trial.fates(1000.0), expected);
        assert_eq!(trial.latencies(None), [0.5, 2.0]);
        assert_eq!(trial.latencies(Some(1)), [2.0]);
        assert_eq!((trial.send_span_s(), trial.elapsed_s()), (Some(3.0), Some(2.6)));
        assert_eq!(
            (trial.first_send_to_last_answer_s(), trial.drain_s()),
            (Some(3.1), Some(0.1 + 3.0 - 3.0))
        );
    }

    #[test]
    fn what_a_process_took_is_counted_through_its_restart() {
        let usage =
            |at_s, cpu_s, memory_mib| Usage { at_s, name: "edge".into(), cpu_s, memory_mib };
        let trial = Trial {
            usage: vec![usage(0.0, 1.0, 10.0), usage(1.0, 3.0, 30.0), usage(2.0, 0.5, 20.0)],
            records: vec![Outcome::default(); 10],
            ..Trial::default()
        };
        assert_eq!(trial.taken()["edge"], (2.5, 30.0));
        assert_eq!((trial.cpu_us_per_record(), trial.memory_mib()), (Some(250_000.0), Some(30.0)));
    }
}
