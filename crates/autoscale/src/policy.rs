//! The numbers of the policy, and their bounds.

use std::time::Duration;

use thiserror::Error;

/// Most instances of one function. Deciding takes time in proportion.
pub(crate) const MOST_INSTANCES: u32 = 1000;
/// Longest of all times.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// How a function is scaled.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Policy {
    /// Fewest instances; 0 lets an idle function have none.
    pub min_scale: u32,
    /// Most instances.
    pub max_scale: u32,
    /// A record should not wait longer for an instance.
    pub wait: Duration,
    /// The share of records that may.
    pub late_share: f64,
    /// How many times that share is foreseen before there are more instances. The distance between this and
    /// `late_share`, as that between the two utilisations, keeps a load at the border from going up and down.
    pub late_tolerance: f64,
    /// The share of time that instances are meant to be busy.
    pub utilisation_target: f64,
    /// The share beyond which there are more.
    pub utilisation_max: f64,
    /// What waits too long is worked off within this.
    pub catch_up: Duration,
    /// Time constant of the slow average of arrivals.
    pub slow: Duration,
    /// Time constant of the quick one.
    pub fast: Duration,
    /// Fewer instances must have been enough for this long.
    pub down_window: Duration,
    /// And fewer by at least this share.
    pub down_step: f64,
    /// Nothing must have come for this long before there are none.
    pub idle: Duration,
    /// What a call takes until calls have been measured.
    pub expected_service: Duration,
    /// The share of records that go on to the next tier until that is measured.
    pub expected_forward_share: f64,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            min_scale: 0,
            max_scale: 4,
            wait: Duration::from_millis(500),
            late_share: 0.01,
            late_tolerance: 3.0,
            utilisation_target: 0.8,
            utilisation_max: 0.9,
            catch_up: Duration::from_secs(5),
            slow: Duration::from_secs(20),
            fast: Duration::from_secs(4),
            down_window: Duration::from_secs(60),
            down_step: 0.15,
            idle: Duration::from_secs(60),
            expected_service: Duration::from_millis(100),
            expected_forward_share: 0.0,
        }
    }
}

/// What is wrong with a policy: everything, at once.
#[derive(Debug, Error, PartialEq)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
pub struct PolicyError(pub Vec<PolicyProblem>);

/// A value that is out of its bounds.
#[derive(Debug, Clone, PartialEq, Error)]
#[error("`{key}` is {value}, expected {expected}")]
pub struct PolicyProblem {
    /// The field of [`Policy`].
    pub key: &'static str,
    /// What it is.
    pub value: String,
    /// What it should have been.
    pub expected: String,
}

impl Policy {
    /// Says whether every value is within its bounds.
    ///
    /// # Errors
    ///
    /// All that are not.
    pub fn check(&self) -> Result<(), PolicyError> {
        let mut problems = Vec::new();
        let mut expect = |holds: bool, key, value: String, expected: String| {
            if !holds {
                problems.push(PolicyProblem { key, value, expected });
            }
        };
        let (least, most) = (self.min_scale.max(1), MOST_INSTANCES);
        expect(
            (least..=most).contains(&self.max_scale),
            "max_scale",
            self.max_scale.to_string(),
            format!("{least} to {most}"),
        );
        for (key, value, from, to) in [
            ("late_share", self.late_share, 1e-6, 0.5),
            ("late_tolerance", self.late_tolerance, 1.0, 100.0),
            ("utilisation_target", self.utilisation_target, 0.05, 0.98),
            ("utilisation_max", self.utilisation_max, self.utilisation_target.max(0.05), 1.0),
            ("down_step", self.down_step, 0.0, 1.0),
            ("expected_forward_share", self.expected_forward_share, 0.0, 1.0),
        ] {
            // Not a number is outside of every range.
            expect((from..=to).contains(&value), key, value.to_string(), format!("{from} to {to}"));
        }
        let least = Duration::from_millis(1);
        for (key, value, from) in [
            ("wait", self.wait, least),
            ("catch_up", self.catch_up, least),
            ("fast", self.fast, least),
            ("slow", self.slow, self.fast),
            ("down_window", self.down_window, Duration::ZERO),
            ("idle", self.idle, Duration::ZERO),
            ("expected_service", self.expected_service, Duration::from_micros(1)),
        ] {
            expect(
                (from..=LONGEST).contains(&value),
                key,
                format!("{value:?}"),
                format!("{from:?} to {LONGEST:?}"),
            );
        }
        if problems.is_empty() { Ok(()) } else { Err(PolicyError(problems)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_valid() {
        assert_eq!(Policy::default().check(), Ok(()));
    }

    #[test]
    fn all_problems_are_reported_together() {
        let policy = Policy {
            min_scale: 5,
            max_scale: 4,
            utilisation_target: f64::NAN,
            utilisation_max: 1.5,
            slow: Duration::from_secs(1),
            ..Policy::default()
        };
        let PolicyError(problems) = policy.check().unwrap_err();
        let keys: Vec<_> = problems.iter().map(|problem| problem.key).collect();
        assert_eq!(keys, ["max_scale", "utilisation_target", "utilisation_max", "slow"]);
        assert_eq!(problems[0].to_string(), "`max_scale` is 4, expected 5 to 1000");
        assert_eq!(problems[3].to_string(), "`slow` is 1s, expected 4s to 86400s");
    }
}
