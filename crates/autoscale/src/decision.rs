//! A decision and its reason, which reads as a sentence.

use std::fmt;
use std::time::Duration;

/// How many instances there shall be.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// When, since the start.
    pub at: Duration,
    /// Instances there were, ready or starting.
    pub from: u32,
    /// Instances there shall be.
    pub to: u32,
    /// Why.
    pub reason: Reason,
}

/// What arrives and what a record takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Demand {
    /// Records a second.
    pub rate: f64,
    /// Seconds of an instance for each.
    pub service: f64,
    /// Where the rate is from.
    pub basis: Basis,
}

/// How an arrival rate is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Basis {
    /// Counted where it arrives.
    Counted,
    /// Foreseen from what the tier below forwards.
    FedForward,
}

/// Why there shall be so many instances.
#[derive(Debug, Clone, PartialEq)]
pub enum Reason {
    /// More: there is something to do, and no instance.
    Wake {
        /// Records that wait.
        waiting: u64,
    },
    /// More: instances are nearly all busy.
    Busy {
        /// What is to be done.
        demand: Demand,
        /// Share of time that the instances there were are busy; above 1 they fall behind.
        utilisation: f64,
    },
    /// More: too many records will wait too long.
    Late {
        /// What is to be done.
        demand: Demand,
        /// Their share.
        share: f64,
        /// The wait they may have.
        wait: Duration,
    },
    /// More: records wait too long.
    Backlog {
        /// Records that wait.
        waiting: u64,
        /// How long the last of them will.
        for_s: f64,
        /// They shall be worked off within this.
        catch_up: Duration,
    },
    /// More or fewer: the number was out of the bounds.
    Bounds {
        /// Fewest.
        min_scale: u32,
        /// Most.
        max_scale: u32,
    },
    /// Fewer: they have been enough for long.
    Spare {
        /// What is to be done.
        demand: Demand,
        /// For how long.
        over: Duration,
    },
    /// None: nothing came for long.
    Idle {
        /// For how long.
        over: Duration,
    },
    /// As they are: they are enough, and not too many.
    Enough {
        /// What is to be done.
        demand: Demand,
        /// Share of time that they are busy.
        utilisation: f64,
    },
    /// As they are: more are needed than there may be.
    AtMax {
        /// What is to be done.
        demand: Demand,
        /// Records that wait.
        waiting: u64,
    },
    /// As they are: they will have worked off what waits soon.
    CatchingUp {
        /// Records that wait.
        waiting: u64,
        /// How long the last of them will.
        for_s: f64,
    },
    /// As they are: fewer would do, but have not for long enough.
    Settling {
        /// The most that were needed within the window.
        needed: u32,
        /// The window.
        over: Duration,
    },
    /// As they are: nothing comes, but starting again would take too long.
    KeptWarm {
        /// How long it takes.
        cold_start: Duration,
    },
    /// None, and nothing to do.
    AtZero,
}

impl Decision {
    /// Whether the number of instances changes.
    pub fn is_action(&self) -> bool {
        self.from != self.to
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at, from, to, reason } = self;
        let at = at.as_secs_f64();
        match from.cmp(to) {
            std::cmp::Ordering::Equal => write!(f, "{at:.1} s: {to}: {reason}"),
            _ => write!(f, "{at:.1} s: {from} to {to}: {reason}"),
        }
    }
}

impl fmt::Display for Demand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.basis {
            Basis::Counted => "arrivals",
            Basis::FedForward => "arrivals foreseen from the tier below",
        };
        let (rate, ms) = (self.rate, self.service * 1000.0);
        // Milliseconds with three digits that count.
        let decimals = (2 - ms.max(1e-3).log10().floor() as i32).clamp(0, 3) as usize;
        write!(f, "{what} {rate:.1}/s x {ms:.decimals$} ms")
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wake { waiting } => write!(f, "{waiting} records wait and there is no instance"),
            Self::Busy { demand, utilisation } | Self::Enough { demand, utilisation } => {
                write!(f, "{demand} keep the instances {:.0} % busy", utilisation * 100.0)
            }
            Self::Late { demand, share, wait } => write!(
                f,
                "{demand} leave {:.1} % of the records waiting longer than {} s",
                share * 100.0,
                wait.as_secs_f64()
            ),
            Self::Backlog { waiting, for_s, catch_up } => write!(
                f,
                "{waiting} records wait up to {for_s:.2} s; they shall be worked off within {} s",
                catch_up.as_secs_f64()
            ),
            Self::Bounds { min_scale, max_scale } => {
                write!(f, "there shall be {min_scale} to {max_scale} instances")
            }
            Self::Spare { demand, over } => {
                write!(f, "{demand}; fewer were enough for {} s", over.as_secs_f64())
            }
            Self::Idle { over } => write!(f, "nothing came for {:.0} s", over.as_secs_f64()),
            Self::AtMax { demand, waiting } => {
                write!(f, "{demand} with {waiting} waiting need more instances than there may be")
            }
            Self::CatchingUp { waiting, for_s } => {
                write!(f, "{waiting} records wait up to {for_s:.2} s; the instances catch up")
            }
            Self::Settling { needed, over } => {
                write!(f, "up to {needed} were needed within the last {} s", over.as_secs_f64())
            }
            Self::KeptWarm { cold_start } => write!(
                f,
                "nothing comes, but an instance would take {:.1} s to start",
                cold_start.as_secs_f64()
            ),
            Self::AtZero => write!(f, "nothing to do"),
        }
    }
}
