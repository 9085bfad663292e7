//! Tiers of which each forwards to the next.

use std::time::Duration;

use crate::decision::Decision;
use crate::load::Load;
use crate::policy::{Policy, PolicyError};
use crate::scaler::Autoscaler;

/// Records that the measured share of forwarded ones remembers.
const MEMORY: f64 = 500.0;

/// Decides for a chain of tiers, from the first to the last.
///
/// What a tier will forward follows from what arrives there, what its instances can do, and the share that it forwards;
/// the next tier is made ready for it at once, and not when a backlog shows there. Source: the propagation of rates
/// through selectivities of DS2 (Kalavri et al., 2018), with exit rates as selectivities.
#[derive(Debug, Clone)]
pub struct Chain {
    tiers: Vec<(Autoscaler, Share)>,
}

/// The share of records that a tier forwards.
#[derive(Debug, Clone)]
struct Share {
    value: f64,
    weight: f64,
    served: u64,
    forwarded: u64,
}

impl Chain {
    /// A chain of tiers with these policies, in their order.
    ///
    /// # Errors
    ///
    /// All values of the first policy that is not valid.
    pub fn new(policies: &[Policy]) -> Result<Self, PolicyError> {
        let tiers = policies.iter().map(|policy| {
            let value = policy.expected_forward_share;
            let share = Share { value, weight: 0.0, served: 0, forwarded: 0 };
            Ok((Autoscaler::new(*policy)?, share))
        });
        Ok(Self { tiers: tiers.collect::<Result<_, _>>()? })
    }

    /// Decides for each tier of which there is a load, in their order.
    pub fn decide(&mut self, loads: &[Load], now: Duration) -> Vec<Decision> {
        let loads: Vec<Option<Load>> = loads.iter().copied().map(Some).collect();
        self.decide_known(&loads, now).into_iter().flatten().collect()
    }

    /// As [`decide`](Self::decide), where the load of some tiers can't be known at present. For these nothing is
    /// decided, and nothing is foreseen of what they forward; their averages go on from the next load that is known.
    pub fn decide_known(&mut self, loads: &[Option<Load>], now: Duration) -> Vec<Option<Decision>> {
        let mut fed = 0.0;
        let tiers = self.tiers.iter_mut().zip(loads);
        let decide = |((scaler, share), load): (&mut (Autoscaler, Share), &Option<Load>)| {
            let Some(load) = load else {
                fed = 0.0;
                return None;
            };
            let decision = scaler.decide_fed(load, fed, now);
            share.see(load);
            fed = scaler.throughput(load, decision.to, fed) * share.value;
            Some(decision)
        };
        tiers.map(decide).collect()
    }
}

impl Share {
    fn see(&mut self, load: &Load) {
        let served = load.served.calls.saturating_sub(self.served) as f64;
        let forwarded = load.forwarded.saturating_sub(self.forwarded) as f64;
        (self.served, self.forwarded) = (load.served.calls, load.forwarded);
        if served > 0.0 {
            self.weight += served;
            let part = (1.0 - (-served / MEMORY).exp()).max(served / self.weight);
            self.value += part * ((forwarded / served).min(1.0) - self.value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decision::{Basis, Reason};
    use crate::load::ServiceTimes;

    fn load(arrivals: u64, instances: u32, forwarded: u64) -> Load {
        // A tenth of a second each, always the same.
        let calls = arrivals;
        let seconds = calls as f64 / 10.0;
        Load {
            arrivals,
            lag: 1,
            served: ServiceTimes { calls, seconds, seconds_squared: seconds / 10.0 },
            forwarded,
            instances,
            ready: instances,
            concurrency: 1,
            cold_start: Duration::from_millis(50),
        }
    }

    /// The second tier's own counter still stands still when the first one's rate has jumped.
    #[test]
    fn a_tier_is_made_ready_for_what_the_one_below_will_forward() {
        let policy = Policy { max_scale: 20, ..Policy::default() };
        let mut chain = Chain::new(&[policy, policy]).unwrap();
        let (mut arrivals, mut instances) = (0, [1, 1]);
        for second in 0..60 {
            let loads =
                [load(arrivals, instances[0], arrivals / 2), load(arrivals / 2, instances[1], 0)];
            let decisions = chain.decide(&loads, Duration::from_secs(second));
            instances = [decisions[0].to, decisions[1].to];
            arrivals += 4;
        }
        assert_eq!(instances, [1, 1]);
        let own = arrivals / 2;
        for second in 60..70 {
            let loads = [load(arrivals, instances[0], arrivals / 2), load(own, instances[1], 0)];
            let decisions = chain.decide(&loads, Duration::from_secs(second));
            if decisions[1].is_action() {
                let Reason::Busy { demand, .. } = &decisions[1].reason else {
                    panic!("{}", decisions[1])
                };
                assert_eq!(demand.basis, Basis::FedForward);
            }
            instances = [decisions[0].to, decisions[1].to];
            arrivals += 60;
        }
        // Of 60 a second half is forwarded: 30 × 0.1 s, at four fifths of utilisation.
        assert!(instances[0] >= 6 && instances[1] >= 3, "{instances:?}");
    }

    #[test]
    fn where_nothing_is_known_nothing_is_decided_and_nothing_forgotten() {
        let mut chain = Chain::new(&[Policy::default(); 2]).unwrap();
        for second in 0..100 {
            let arrivals = second * 20;
            let known = !(40..80).contains(&second);
            let loads = [known.then(|| load(arrivals, 3, arrivals)), Some(load(arrivals, 3, 0))];
            let decisions = chain.decide_known(&loads, Duration::from_secs(second));
            assert_eq!(decisions[0].is_some(), known);
            let kept = decisions.iter().flatten().all(|decision| decision.to == 3);
            assert!(kept, "{decisions:?}");
        }
    }

    #[test]
    fn the_forwarded_share_is_measured_and_follows_a_change() {
        let mut share = Share { value: 0.9, weight: 0.0, served: 0, forwarded: 0 };
        share.see(&load(100, 1, 20));
        assert!((share.value - 0.2).abs() < 1e-9);
        for step in 1..=40 {
            share.see(&load(100 + step * 100, 1, 20 + step * 60));
        }
        assert!((0.59..0.61).contains(&share.value), "{}", share.value);
        share.see(&load(0, 1, 0));
        assert!((0.59..0.61).contains(&share.value));
    }
}
