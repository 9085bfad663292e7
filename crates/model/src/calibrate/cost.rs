//! What a sample costs on its way up: hops, bytes, and time.
//!
//! ```text
//! R₁ = 1, R_{k+1} = share of samples that tier k forwards
//! hops   = Σ_{k<K} R_{k+1}
//! bytes  = Σ_{k<K} R_{k+1} · B_k                                 B_k: one sample's features as a record's value
//! E[T]   = Σ_k R_k · s_k + Σ_{k<K} R_{k+1} · (h_k + B_k / w_k)   s_k: service, h_k: hop, w_k: bandwidth
//! ```
//!
//! `h_k` holds all that a hop takes beside the bytes: serialisation, broker, and the link's delay. Nothing waits for
//! anything here: this is the time at a load that is far from what the tiers can take. Keys, headers and framing are
//! not in `B_k`; `offramp bench bytes` measures them.

use std::time::Duration;

use super::cascade::{Counts, MAX_TIERS};
use super::search::Weights;

/// What is to be spent as little of as possible.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Objective {
    /// Hops of a sample: the shares of samples that reach each tier above the first, added up.
    #[default]
    Hops,
    /// Bytes sent up.
    Bytes,
    /// The mean time to an answer.
    Time,
}

/// What tiers and the ways between them take.
#[derive(Debug, Clone, PartialEq)]
pub struct Costs {
    /// For each tier, how long it computes one sample.
    pub service: Vec<Duration>,
    /// For each tier but the last, how long a record is on its way to the next, its bytes apart.
    pub hop: Vec<Duration>,
    /// For each tier but the last, bytes a second of the way to the next; infinite where they take no time.
    pub bandwidth: Vec<f64>,
    /// For each tier but the last, the mean bytes of one sample's features.
    pub features_bytes: Vec<f64>,
}

impl Costs {
    /// The cost of a sample at each tier that it reaches.
    pub(super) fn weights(&self, objective: Objective) -> Weights {
        let mut weights = [0.0; MAX_TIERS];
        for (tier, weight) in weights.iter_mut().enumerate().take(self.service.len()) {
            let way = tier.checked_sub(1);
            *weight = match (objective, way) {
                (Objective::Hops, way) => f64::from(u8::from(way.is_some())),
                (Objective::Bytes, way) => way.map_or(0.0, |way| self.features_bytes[way]),
                (Objective::Time, way) => {
                    let way = way.map_or(0.0, |way| {
                        let bytes = self.features_bytes[way] / self.bandwidth[way];
                        self.hop[way].as_secs_f64() + bytes
                    });
                    self.service[tier].as_secs_f64() + way
                }
            };
        }
        Weights(weights)
    }

    /// The mean bytes that a sample sends up.
    pub(super) fn bytes(&self, counts: &Counts) -> f64 {
        self.weights(Objective::Bytes).cost(counts)
    }

    /// The mean time to an answer, in seconds.
    pub(super) fn seconds(&self, counts: &Counts) -> f64 {
        self.weights(Objective::Time).cost(counts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_are_what_the_formulas_say() {
        let ms = |ms| Duration::from_millis(ms);
        let costs = Costs {
            service: vec![ms(1), ms(2), ms(4)],
            hop: vec![ms(10), ms(50)],
            bandwidth: vec![1000.0, f64::INFINITY],
            features_bytes: vec![100.0, 300.0],
        };
        let mut counts = Counts::default();
        counts.reach[..3].copy_from_slice(&[200, 50, 10]);
        assert!((costs.weights(Objective::Hops).cost(&counts) - 0.3).abs() < 1e-12);
        assert!((costs.bytes(&counts) - (0.25 * 100.0 + 0.05 * 300.0)).abs() < 1e-12);
        let seconds = 0.001 + 0.25 * (0.002 + 0.010 + 0.1) + 0.05 * (0.004 + 0.050);
        assert!((costs.seconds(&counts) - seconds).abs() < 1e-12);
    }
}
