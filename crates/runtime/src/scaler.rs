//! How many instances functions have: decided for each from its calls, by [`autoscale`], or by what an instance is to
//! bear where the function's labels say that.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use autoscale::{Autoscaler, Decision, Load, Policy};

use crate::functions::{Function, Functions};
use crate::pool::PoolStatus;
use crate::spec::{Spec, Target};

/// How often functions are looked at. Calls of a tenth of a second and instances that start in less are worth it.
pub const TICK: Duration = Duration::from_millis(250);
/// Decisions that are kept for those who look.
const MAX_HISTORY: usize = 1000;
/// What an instance is taken to need to start until one has.
const EXPECTED_START: Duration = Duration::from_millis(100);
/// Fewer instances must have been enough for this long, where an instance's load is said: as with the policy.
const DOWN_WINDOW: Duration = Duration::from_mins(1);
/// Calls a second are counted over this long.
const RATE_WINDOW: Duration = Duration::from_secs(5);

/// Decides for all functions.
#[derive(Debug, Default)]
pub struct Scaler {
    by_name: BTreeMap<String, Scaled>,
    history: VecDeque<Change>,
}

/// A function's number of instances was changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// When.
    pub at: SystemTime,
    /// The function.
    pub name: String,
    /// Instances that there were to be.
    pub from: u32,
    /// Instances that there are to be.
    pub to: u32,
    /// Why, in words.
    pub reason: String,
}

#[derive(Debug)]
struct Scaled {
    spec: Arc<Spec>,
    rule: Rule,
}

#[derive(Debug)]
enum Rule {
    Policy(Box<Autoscaler>),
    Bearing(Bearing),
    /// It has the same number always.
    Fixed,
}

impl Scaler {
    /// Looks at all functions and has each run as many instances as it needs; `now` is since any start.
    pub fn tick(&mut self, functions: &Functions, now: Duration) {
        let all = functions.all();
        self.by_name.retain(|name, _| all.iter().any(|function| function.spec.name == *name));
        for function in all {
            let decided = self.decide(&function, now);
            let Some((from, to, reason)) = decided.filter(|(from, to, _)| from != to) else {
                continue;
            };
            let name = function.spec.name.clone();
            let to = function.pool.scale_to(to);
            if from == to {
                continue;
            }
            tracing::info!(function = name, from, to, "{reason}");
            if self.history.len() == MAX_HISTORY {
                self.history.pop_front();
            }
            self.history.push_back(Change { at: SystemTime::now(), name, from, to, reason });
        }
    }

    /// The changes that are kept, oldest first.
    pub fn history(&self) -> impl Iterator<Item = &Change> {
        self.history.iter()
    }

    fn decide(&mut self, function: &Function, now: Duration) -> Option<(u32, u32, String)> {
        let spec = &function.spec;
        let scaled = self.by_name.get_mut(&spec.name);
        let is_known = scaled.is_some_and(|scaled| Arc::ptr_eq(&scaled.spec, spec));
        if !is_known {
            let scaled = Scaled { spec: Arc::clone(spec), rule: Rule::of(spec) };
            self.by_name.insert(spec.name.clone(), scaled);
        }
        let status = function.pool.load();
        match &mut self.by_name.get_mut(&spec.name)?.rule {
            Rule::Policy(policy) => {
                let load = load(&status, spec);
                let Decision { from, to, reason, .. } = policy.decide(&load, now);
                Some((from, to, reason.to_string()))
            }
            Rule::Bearing(bearing) => Some(bearing.decide(&status, spec, now)),
            Rule::Fixed => None,
        }
    }
}

impl Rule {
    fn of(spec: &Spec) -> Self {
        let scaling = &spec.scaling;
        let fewest = if scaling.zero_after.is_some() { 0 } else { scaling.min };
        if fewest == scaling.max {
            return Self::Fixed;
        }
        if let Some(target) = scaling.target {
            return Self::Bearing(Bearing::new(target));
        }
        let policy = Policy {
            min_scale: fewest,
            max_scale: scaling.max,
            idle: scaling.zero_after.unwrap_or(Policy::default().idle),
            ..Policy::default()
        };
        match Autoscaler::new(policy) {
            Ok(scaler) => Self::Policy(Box::new(scaler)),
            Err(error) => {
                tracing::error!(function = spec.name, "not scaled: {error}");
                Self::Fixed
            }
        }
    }
}

fn load(status: &PoolStatus, spec: &Spec) -> Load {
    let start = status.start_seconds.map_or(EXPECTED_START, Duration::from_secs_f64);
    Load {
        arrivals: status.arrived,
        lag: status.in_flight + status.waiting,
        served: status.served,
        forwarded: 0,
        instances: status.wanted,
        ready: status.ready,
        concurrency: spec.scaling.concurrency,
        cold_start: start,
    }
}

/// As many instances as share the load so that each bears what it is to: more at once, fewer when they have been enough
/// for a while.
#[derive(Debug)]
struct Bearing {
    target: Target,
    /// Calls that had come at times within the window.
    arrived: VecDeque<(Duration, u64)>,
    /// What was needed at times within the down window.
    needed: VecDeque<(Duration, u32)>,
    last_call: Duration,
}

impl Bearing {
    fn new(target: Target) -> Self {
        let (arrived, needed) = (VecDeque::new(), VecDeque::new());
        Self { target, arrived, needed, last_call: Duration::ZERO }
    }

    fn decide(&mut self, status: &PoolStatus, spec: &Spec, now: Duration) -> (u32, u32, String) {
        let scaling = &spec.scaling;
        let busy = status.in_flight + status.waiting;
        let before = self.arrived.back().map(|&(_, arrived)| arrived);
        if busy > 0 || before != Some(status.arrived) {
            self.last_call = now;
        }
        self.arrived.push_back((now, status.arrived));
        while self.arrived.len() > 2 && self.arrived[1].0 + RATE_WINDOW <= now {
            self.arrived.pop_front();
        }
        let (since, first) = self.arrived[0];
        let seconds = now.saturating_sub(since).as_secs_f64().max(1.0);
        let rate = status.arrived.saturating_sub(first) as f64 / seconds;
        let (load, target, unit) = match self.target {
            Target::Rate(target) => (rate, target, "calls/s"),
            Target::InFlight(target) => (busy as f64, target, "calls at once"),
        };
        let from = status.wanted;
        let idle = now.saturating_sub(self.last_call);
        if let Some(after) = scaling.zero_after.filter(|after| *after <= idle) {
            return (from, 0, format!("no call for {} s", after.as_secs()));
        }
        if from == 0 {
            // A call wakes it.
            return (0, 0, String::new());
        }
        let needed = (load / target).ceil() as u32;
        let needed = needed.clamp(scaling.min.max(1), scaling.max);
        self.needed.push_back((now, needed));
        while self.needed.front().is_some_and(|(at, _)| *at + DOWN_WINDOW < now) {
            self.needed.pop_front();
        }
        let most = self.needed.iter().map(|&(_, needed)| needed).max().unwrap_or(needed);
        let is_judged = self.needed.front().is_some_and(|(at, _)| *at + DOWN_WINDOW <= now + TICK);
        let to = if from < needed {
            needed
        } else if is_judged && most < from {
            most
        } else {
            from
        };
        (from, to, format!("{load:.1} {unit}, {target:.1} of which an instance is to bear"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deployment::Deployment;

    fn spec(labels: &[(&str, &str)]) -> Spec {
        let label = |&(key, value): &(&str, &str)| {
            (format!("{}.{key}", crate::SCALE_LABELS), value.to_owned())
        };
        let deployment = Deployment {
            service: "echo".into(),
            image: "echo".into(),
            labels: labels.iter().map(label).collect(),
            ..Deployment::default()
        };
        Spec::of(&deployment).unwrap()
    }

    /// The numbers of instances at each quarter of a second, for calls that come at a rate, and are under way.
    fn scaled(labels: &[(&str, &str)], loads: &[(f64, f64, u64)]) -> Vec<u32> {
        let spec = spec(labels);
        let Rule::Bearing(mut bearing) = Rule::of(&spec) else { panic!("it says what it bears") };
        let (mut arrived, mut wanted, mut now) = (0.0, 1, Duration::ZERO);
        let mut seen = Vec::new();
        for &(seconds, rate, in_flight) in loads {
            for _ in 0..(seconds * 4.0) as u32 {
                now += TICK;
                arrived += rate / 4.0;
                let status = PoolStatus {
                    wanted,
                    arrived: arrived as u64,
                    in_flight,
                    ..PoolStatus::default()
                };
                wanted = bearing.decide(&status, &spec, now).1;
                seen.push(wanted);
            }
        }
        seen
    }

    #[test]
    fn instances_share_the_rate_that_each_is_to_bear() {
        let labels = [("target", "10"), ("max", "8"), ("target-proportion", "1")];
        let seen = scaled(&labels, &[(20.0, 35.0, 1), (10.0, 200.0, 1), (130.0, 5.0, 0)]);
        assert_eq!(seen[60], 4);
        assert_eq!(seen[118], 8, "no more than it may have");
        assert_eq!(seen[120 + 4 * 55], 8, "fewer only after a while");
        assert_eq!(seen.last(), Some(&1));
    }

    #[test]
    fn without_calls_there_are_none_after_the_time_that_the_labels_say() {
        let labels =
            [("target", "2"), ("type", "capacity"), ("zero", "true"), ("zero-duration", "10s")];
        let seen = scaled(&labels, &[(5.0, 4.0, 7), (9.0, 0.0, 0), (2.0, 0.0, 0)]);
        assert_eq!(seen[8], 4, "7 at once, 1.8 each");
        assert_eq!((seen[4 * 14 - 1], seen.last()), (4, Some(&0)));
    }

    #[test]
    fn what_has_one_number_is_left_alone() {
        assert!(matches!(Rule::of(&spec(&[("min", "2"), ("max", "2")])), Rule::Fixed));
        assert!(matches!(Rule::of(&spec(&[("min", "2"), ("max", "3")])), Rule::Policy(_)));
    }
}
