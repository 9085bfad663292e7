//! What came of a run.

/// Steps of the course of a run, in seconds.
const STEP: f64 = 1.0;

/// What came of a run.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Outcome {
    /// Seconds from arrival to answer, sorted.
    pub latencies: Vec<f64>,
    /// Records that were not answered.
    pub unanswered: usize,
    /// Instances over time, starting and stopping ones included, until the last answer.
    pub replica_seconds: f64,
    /// What the calls took: no policy can do with fewer replica-seconds.
    pub ideal_seconds: f64,
    /// Seconds until the last answer.
    pub length_s: f64,
    /// Each change of the number of instances.
    pub actions: Vec<Action>,
    /// How all went on, second by second.
    pub course: Vec<Sample>,
}

/// A change of the number of instances.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Action {
    /// When.
    pub at_s: f64,
    /// Before.
    pub from: u32,
    /// After.
    pub to: u32,
}

/// A second of a run.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Sample {
    /// When it begins.
    pub at_s: f64,
    /// Records that arrived in it.
    pub arrivals: u32,
    /// Instances in its mean.
    pub instances: f64,
    /// The longest time that one of its records took until it was answered; 0 without records.
    pub latency_s: f64,
}

impl Outcome {
    /// The latency in seconds that this share of the records does not exceed (nearest rank); not a number without
    /// records.
    pub fn latency(&self, share: f64) -> f64 {
        let rank = (share * self.latencies.len() as f64).ceil() as usize;
        self.latencies.get(rank.max(1) - 1).copied().unwrap_or(f64::NAN)
    }

    /// Replica-seconds over the ideal ones.
    pub fn cost(&self) -> f64 {
        self.replica_seconds / self.ideal_seconds
    }
}

/// Collects an outcome.
#[derive(Debug)]
pub(super) struct Recorder {
    outcome: Outcome,
}

impl Recorder {
    pub(super) fn new(arrivals: &[f64]) -> Self {
        let mut recorder = Self {
            outcome: Outcome {
                latencies: Vec::with_capacity(arrivals.len()),
                ..Outcome::default()
            },
        };
        for at in arrivals {
            recorder.sample(*at).arrivals += 1;
        }
        recorder
    }

    fn sample(&mut self, at: f64) -> &mut Sample {
        let (course, index) = (&mut self.outcome.course, (at / STEP) as usize);
        while course.len() <= index {
            course.push(Sample { at_s: course.len() as f64 * STEP, ..Sample::default() });
        }
        &mut course[index]
    }

    /// So many instances from one time to another.
    pub(super) fn pass(&mut self, from: f64, until: f64, instances: f64) {
        self.outcome.replica_seconds += (until - from) * instances;
        let mut from = from;
        while from < until {
            let next = until.min(((from / STEP).floor() + 1.0) * STEP);
            self.sample(from).instances += (next - from) / STEP * instances;
            from = next;
        }
    }

    pub(super) fn answered(&mut self, arrived: f64, now: f64) {
        self.outcome.latencies.push(now - arrived);
        let sample = self.sample(arrived);
        sample.latency_s = sample.latency_s.max(now - arrived);
    }

    pub(super) fn action(&mut self, action: Action) {
        self.outcome.actions.push(action);
    }

    pub(super) fn finish(self, now: f64, records: usize, ideal_seconds: f64) -> Outcome {
        let mut outcome = self.outcome;
        outcome.latencies.sort_by(f64::total_cmp);
        outcome.unanswered = records - outcome.latencies.len();
        (outcome.length_s, outcome.ideal_seconds) = (now, ideal_seconds);
        outcome
    }
}
