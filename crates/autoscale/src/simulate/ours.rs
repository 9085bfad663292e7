//! The policy of this crate, in the simulator.

use std::time::Duration;

use super::cluster::{Scaler, View};
use crate::load::Load;
use crate::policy::{Policy, PolicyError};
use crate::scaler::Autoscaler;
use crate::{Decision, History};

/// Decisions that are kept.
const DECISIONS: usize = 1000;

/// An [`Autoscaler`] that looks at the cluster now and then.
#[derive(Debug, Clone)]
pub struct Ours {
    scaler: Autoscaler,
    period: Duration,
    history: History,
}

impl Ours {
    /// What it is called.
    pub const NAME: &str = "offramp";

    /// Follows a policy, with this time between two looks.
    ///
    /// # Errors
    ///
    /// All values of the policy that are out of bounds.
    pub fn new(policy: Policy, period: Duration) -> Result<Self, PolicyError> {
        Ok(Self { scaler: Autoscaler::new(policy)?, period, history: History::new(DECISIONS) })
    }

    /// What was decided, and why.
    pub fn history(&self) -> impl Iterator<Item = &Decision> {
        self.history.iter()
    }
}

impl Scaler for Ours {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn period(&self) -> Duration {
        self.period
    }

    fn desired(&mut self, view: &View, now: Duration) -> u32 {
        let load = Load {
            arrivals: view.arrivals,
            lag: view.waiting + view.in_flight,
            served: view.served,
            forwarded: 0,
            instances: view.instances,
            ready: view.ready,
            concurrency: 1,
            cold_start: view.cold_start,
        };
        let decision = self.scaler.decide(&load, now);
        self.history.add(&decision);
        decision.to
    }
}
