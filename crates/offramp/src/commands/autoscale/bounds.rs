//! What became of the numbers that were asked for: bounds that a platform has and does not tell, and other people's
//! hands.
//!
//! The gateway of OpenFaaS CE takes any number, says yes, and has 1 to 5. Asking again and again would not help, so that
//! a number that is not there some looks after a yes is taken for the bound, for some minutes: bounds change too.

use std::fmt;
use std::time::Duration;

/// After so many looks that show another number than was asked for, it is not just late.
const PATIENCE_LOOKS: u32 = 5;
/// How long a bound that was found counts.
const BOUND_HOLDS: Duration = Duration::from_mins(10);

/// What a look has shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Finding {
    /// There are no more than this, though more were asked for.
    AtMost { asked: u32, most: u32 },
    /// There are no fewer than this, though fewer were asked for.
    AtLeast { asked: u32, least: u32 },
    /// Somebody else has changed the number.
    SetByOthers { from: u32, to: u32 },
}

/// What was asked for, and what is known of the platform's own bounds.
#[derive(Debug, Default)]
pub(super) struct Bounds {
    asked: Option<Asked>,
    instances: Option<u32>,
    least: Option<Bound>,
    most: Option<Bound>,
}

#[derive(Debug, Clone, Copy)]
struct Asked {
    to: u32,
    looks: u32,
}

#[derive(Debug, Clone, Copy)]
struct Bound {
    value: u32,
    until: Duration,
}

impl Bounds {
    /// Takes the number of instances that there are at a time.
    pub(super) fn see(&mut self, instances: u32, now: Duration) -> Option<Finding> {
        let last = self.instances.replace(instances);
        let Some(Asked { to, looks }) = self.asked.take() else {
            let from = last.filter(|from| *from != instances)?;
            return Some(Finding::SetByOthers { from, to: instances });
        };
        if instances == to {
            return None;
        }
        if looks + 1 < PATIENCE_LOOKS {
            self.asked = Some(Asked { to, looks: looks + 1 });
            return None;
        }
        let bound = Some(Bound { value: instances, until: now + BOUND_HOLDS });
        Some(if instances < to {
            self.most = bound;
            Finding::AtMost { asked: to, most: instances }
        } else {
            self.least = bound;
            Finding::AtLeast { asked: to, least: instances }
        })
    }

    /// The nearest number that the platform may take.
    pub(super) fn within(&self, to: u32, now: Duration) -> u32 {
        let at = |bound: Option<Bound>| bound.filter(|bound| now < bound.until);
        let to = at(self.most).map_or(to, |most| to.min(most.value));
        at(self.least).map_or(to, |least| to.max(least.value))
    }

    /// Whether the last number that was asked for may still come.
    pub(super) fn is_waiting(&self) -> bool {
        self.asked.is_some()
    }

    /// The platform has said yes to a number.
    pub(super) fn asked(&mut self, to: u32) {
        self.asked = Some(Asked { to, looks: 0 });
    }

    /// The platform has refused to have none.
    pub(super) fn zero_was_refused(&mut self, now: Duration) -> Finding {
        self.least = Some(Bound { value: 1, until: now + BOUND_HOLDS });
        Finding::AtLeast { asked: 0, least: 1 }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let minutes = BOUND_HOLDS.as_secs() / 60;
        match self {
            Self::AtMost { asked, most } => write!(
                f,
                "{asked} instances were asked for and there are {most}: taken for the most that \
                 are allowed there, for {minutes} minutes"
            ),
            Self::AtLeast { asked, least } => write!(
                f,
                "{asked} instances were asked for and there are {least}: taken for the fewest \
                 that are allowed there, for {minutes} minutes"
            ),
            Self::SetByOthers { from, to } => {
                write!(f, "somebody else has changed the number of instances from {from} to {to}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_does_not_come_is_taken_for_a_bound_for_some_time() {
        let (mut bounds, now) = (Bounds::default(), Duration::ZERO);
        assert_eq!(bounds.see(2, now), None);
        bounds.asked(8);
        for _ in 1..PATIENCE_LOOKS {
            assert_eq!(bounds.see(5, now), None);
            assert!(bounds.is_waiting());
        }
        assert_eq!(bounds.see(5, now), Some(Finding::AtMost { asked: 8, most: 5 }));
        assert!(!bounds.is_waiting());
        assert_eq!([3, 5, 9].map(|to| bounds.within(to, now)), [3, 5, 5]);
        assert_eq!(bounds.within(9, BOUND_HOLDS), 9);
        bounds.zero_was_refused(now);
        assert_eq!([0, 3].map(|to| bounds.within(to, now)), [1, 3]);
    }

    #[test]
    fn a_number_that_nobody_asked_for_is_somebody_elses() {
        let mut bounds = Bounds::default();
        let looks = [1, 4, 4, 2].map(|instances| {
            let found = bounds.see(instances, Duration::ZERO);
            if instances == 4 && found.is_none() {
                bounds.asked(2);
            }
            found
        });
        assert_eq!(looks, [None, Some(Finding::SetByOthers { from: 1, to: 4 }), None, None]);
    }
}
