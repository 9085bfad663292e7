//! The decision for one function.

use std::time::Duration;

use crate::arrivals::Arrivals;
use crate::decision::{Basis, Decision, Demand, Reason};
use crate::load::Load;
use crate::policy::{MOST_INSTANCES, Policy, PolicyError};
use crate::queue::Flow;
use crate::service::Service;
use crate::window::{Patience, Window};

/// Instances carry at most so many calls at once, for this purpose: deciding takes time in proportion.
const MOST_CONCURRENCY: u32 = 100;

/// Decides how many instances a function shall have, from looks at its load.
///
/// Looks are best some 250 ms apart where instances start in milliseconds, and a second or more elsewhere; the averages
/// are of time and do not depend on it.
#[derive(Debug, Clone, PartialEq)]
pub struct Autoscaler {
    policy: Policy,
    arrivals: Arrivals,
    service: Service,
    needed: Window,
    patience: Patience,
}

/// What has to be done, and what there is for it.
#[derive(Debug, Clone, Copy)]
struct Situation {
    flow: Flow,
    basis: Basis,
    /// Whether the flow's variability has been measured. Until then nothing is foreseen from it.
    is_judged: bool,
    waiting: u64,
    concurrency: u32,
}

impl Autoscaler {
    /// An autoscaler that has seen nothing.
    ///
    /// # Errors
    ///
    /// All values of the policy that are out of bounds.
    pub fn new(policy: Policy) -> Result<Self, PolicyError> {
        policy.check()?;
        Ok(Self {
            arrivals: Arrivals::new(policy.slow, policy.fast),
            service: Service::new(policy.expected_service),
            needed: Window::default(),
            patience: Patience::new(policy.down_window),
            policy,
        })
    }

    /// The policy it follows.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Decides at a time, which is what has passed since any start and does not go back.
    ///
    /// `to` of the decision is within the policy's bounds, and is what the function should be set to; a load that
    /// does not show it by the next look is decided upon anew.
    pub fn decide(&mut self, load: &Load, now: Duration) -> Decision {
        self.decide_fed(load, 0.0, now)
    }

    /// As [`decide`](Self::decide), knowing that as many records a second are on their way at least.
    pub fn decide_fed(&mut self, load: &Load, fed: f64, now: Duration) -> Decision {
        self.arrivals.see(load.arrivals, now);
        self.service.see(load.served, now);
        let situation = self.situation(load, fed);
        let needed = situation.needed(&self.policy);
        let largest = self.needed.largest(needed, now, self.patience.length());
        let (to, reason) = self.judge(load, &situation, needed, largest, now);
        match reason {
            Reason::Busy { .. } | Reason::Late { .. } | Reason::Backlog { .. } => {
                self.patience.raised(now);
            }
            Reason::Spare { .. } => self.patience.reduced(now),
            _ => {}
        }
        let (min, max) = (self.policy.min_scale, self.policy.max_scale);
        Decision { at: now, from: load.instances, to: to.clamp(min, max), reason }
    }

    /// Records a second that so many instances will finish: what arrives and what is worked off, as far as they can.
    pub(crate) fn throughput(&self, load: &Load, instances: u32, fed: f64) -> f64 {
        let situation = self.situation(load, fed);
        let worked_off = situation.waiting as f64 / self.policy.catch_up.as_secs_f64();
        let capacity = if instances == 0 {
            0.0
        } else {
            situation.servers(instances) / situation.flow.service.max(1e-9)
        };
        (situation.flow.rate + worked_off).min(capacity)
    }

    fn situation(&self, load: &Load, fed: f64) -> Situation {
        let (counted, fed) = (self.arrivals.rate(), if fed.is_finite() { fed } else { 0.0 });
        let basis = if fed > counted { Basis::FedForward } else { Basis::Counted };
        let dispersion = self.arrivals.dispersion();
        Situation {
            flow: Flow {
                rate: counted.max(fed),
                service: self.service.mean(),
                variability: f64::midpoint(dispersion.unwrap_or(1.0), self.service.variation()),
            },
            basis,
            is_judged: dispersion.is_some(),
            waiting: load.waiting(),
            concurrency: load.concurrency.clamp(1, MOST_CONCURRENCY),
        }
    }

    fn judge(
        &self,
        load: &Load,
        situation: &Situation,
        needed: u32,
        largest: u32,
        now: Duration,
    ) -> (u32, Reason) {
        let policy = &self.policy;
        let (current, waiting) = (load.instances, situation.waiting);
        let (min_scale, max_scale) = (policy.min_scale, policy.max_scale);
        if current < min_scale || current > max_scale {
            let to = if current < min_scale { needed } else { max_scale };
            return (to, Reason::Bounds { min_scale, max_scale });
        }
        if current == 0 {
            return match load.lag {
                0 => (0, Reason::AtZero),
                _ => (needed, Reason::Wake { waiting }),
            };
        }
        let over = self.arrivals.idle();
        let is_idle = min_scale == 0 && load.lag == 0 && over >= policy.idle;
        if is_idle && load.cold_start * 2 <= policy.wait {
            return (0, Reason::Idle { over });
        }
        if let Some(reason) = situation.shortage(policy, current) {
            return if needed <= current {
                // Only a backlog can be too long where there is enough.
                (current, Reason::CatchingUp { waiting, for_s: situation.wait(current) })
            } else if current == max_scale {
                (current, Reason::AtMax { demand: situation.demand(), waiting })
            } else {
                (needed, reason)
            };
        }
        if is_idle && current == 1 {
            return (current, Reason::KeptWarm { cold_start: load.cold_start });
        }
        let demand = situation.demand();
        let floor = min_scale.max(1);
        if needed >= current || current == floor {
            return (
                current,
                Reason::Enough { demand, utilisation: situation.utilisation(current) },
            );
        }
        let over = self.patience.length();
        let seen = self.arrivals.first().map_or(Duration::ZERO, |first| now.saturating_sub(first));
        let step = (policy.down_step * f64::from(current)).max(1.0);
        if seen >= over && f64::from(largest) <= f64::from(current) - step {
            return (largest.max(floor), Reason::Spare { demand, over });
        }
        (current, Reason::Settling { needed: largest, over })
    }
}

impl Situation {
    fn demand(&self) -> Demand {
        Demand { rate: self.flow.rate, service: self.flow.service, basis: self.basis }
    }

    fn servers(&self, instances: u32) -> f64 {
        f64::from(instances.max(1)) * f64::from(self.concurrency)
    }

    fn utilisation(&self, instances: u32) -> f64 {
        self.flow.offered() / self.servers(instances)
    }

    /// Seconds that the last of those that wait will, with so many instances.
    fn wait(&self, instances: u32) -> f64 {
        self.waiting as f64 * self.flow.service / self.servers(instances)
    }

    /// The instances with which utilisation and waits are within their targets and what waits is worked off in time: at
    /// least 1, and more than there may be of any function where no number is enough.
    fn needed(&self, policy: &Policy) -> u32 {
        let (most, each) = (MOST_INSTANCES + 1, f64::from(self.concurrency));
        let offered = self.flow.offered();
        // Saturates at most; not a number becomes 0.
        let instances = |servers: f64| ((servers / each).ceil() as u32).clamp(1, most);
        let by_utilisation = instances(offered / policy.utilisation_target);
        let behind = self.waiting as f64 * self.flow.service / policy.catch_up.as_secs_f64();
        let by_backlog = instances(offered + behind);
        let by_wait = if self.is_judged {
            let servers = self.flow.servers_for(
                policy.wait.as_secs_f64(),
                policy.late_share,
                self.concurrency,
                most * self.concurrency,
            );
            servers.div_ceil(self.concurrency).clamp(1, most)
        } else {
            1
        };
        by_utilisation.max(by_backlog).max(by_wait)
    }

    /// Why so many instances are too few, if they are.
    fn shortage(&self, policy: &Policy, instances: u32) -> Option<Reason> {
        let utilisation = self.utilisation(instances);
        if utilisation > policy.utilisation_max {
            return Some(Reason::Busy { demand: self.demand(), utilisation });
        }
        let (wait, allowed) =
            (policy.wait.as_secs_f64(), policy.late_share * policy.late_tolerance);
        if self.is_judged {
            let share = self.flow.late_share(instances.max(1) * self.concurrency, wait);
            if share > allowed {
                return Some(Reason::Late { demand: self.demand(), share, wait: policy.wait });
            }
        }
        let for_s = self.wait(instances);
        (for_s > wait).then_some(Reason::Backlog {
            waiting: self.waiting,
            for_s,
            catch_up: policy.catch_up,
        })
    }
}

#[cfg(test)]
mod tests;
