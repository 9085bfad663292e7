//! The temperature of an exit (Guo et al., 2017): the one with which its softmax vectors say best how sure it may be.
//!
//! It does not change which samples can be told apart by one threshold on the largest probability; it makes that
//! threshold mean the same with every network, and brings margin and entropy nearer to the chance of being right.

/// Temperatures from 1/20 to 20. Beyond, a network says nothing, or all samples are right.
const LARGEST: f64 = 20.0;

/// Newton's method doubles the digits at each step from a good start; bisection, which stands in where it leaves the
/// bracket, gains one bit.
const MAX_STEPS: usize = 60;

/// Four digits: more are noise of the samples, and in a file they look like knowledge.
const PRECISION: f64 = 1e-4;

/// The least probability that an `f32` tells from 0 without losing digits; a softmax that underflowed is no proof.
const LEAST_PROBABILITY: f32 = f32::MIN_POSITIVE;

/// The temperature that minimises the negative log-likelihood of `labels` under the softmax vectors `rows`, which are
/// `labels.len() * classes` values at temperature 1. 1 where there is no sample, and samples that hold what is not a
/// number do not count.
///
/// With β = 1/T and l = ln p, `NLL(β) = Σ ln Σ_c e^(β l_c) − β l_label`, which is convex in β: its derivative is
/// `Σ E_β[l] − l_label` and its second one `Σ Var_β[l]`. Newton's method within a bracket, O(samples × classes) a step.
pub fn fit(rows: &[f32], classes: usize, labels: &[u8]) -> f32 {
    let mut logits = Vec::with_capacity(rows.len());
    let mut of_label = Vec::with_capacity(labels.len());
    for (row, &label) in rows.chunks_exact(classes).zip(labels) {
        if row.iter().any(|value| value.is_nan()) || usize::from(label) >= classes {
            continue;
        }
        let start = logits.len();
        logits.extend(row.iter().map(|value| value.max(LEAST_PROBABILITY).ln()));
        of_label.push(logits[start + usize::from(label)]);
    }
    if of_label.is_empty() {
        return 1.0;
    }
    let (mut low, mut high) = (LARGEST.recip(), LARGEST);
    let mut beta = 1.0;
    for _ in 0..MAX_STEPS {
        let (slope, curvature) = derivatives(&logits, classes, &of_label, beta);
        if slope > 0.0 {
            high = beta;
        } else {
            low = beta;
        }
        let newton = beta - slope / curvature;
        let next = if newton > low && newton < high { newton } else { f64::midpoint(low, high) };
        let step = (next - beta).abs();
        beta = next;
        if step < PRECISION * 0.1 * beta {
            break;
        }
    }
    ((beta.recip() / PRECISION).round() * PRECISION) as f32
}

/// The first two derivatives of the negative log-likelihood by β.
fn derivatives(logits: &[f32], classes: usize, of_label: &[f32], beta: f64) -> (f64, f64) {
    let (mut slope, mut curvature) = (0.0, 0.0);
    let beta = beta as f32;
    for (row, &label) in logits.chunks_exact(classes).zip(of_label) {
        let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let (mut sum, mut first, mut second) = (0.0f32, 0.0f32, 0.0f32);
        for &logit in row {
            let below = logit - largest;
            let power = (beta * below).exp();
            sum += power;
            first += power * below;
            second += power * below * below;
        }
        let mean = first / sum;
        slope += f64::from(mean + largest - label);
        curvature += f64::from((second / sum - mean * mean).max(0.0));
    }
    (slope, curvature)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    /// Samples whose labels are drawn from `softmax(logits)`, and the network's `softmax(logits * overconfident)`.
    fn samples(overconfident: f32) -> (Vec<f32>, Vec<u8>) {
        let mut random = Random::new(3);
        let (mut rows, mut labels) = (Vec::new(), Vec::new());
        for _ in 0..20_000 {
            let logits: Vec<f32> = (0..4).map(|_| 2.0 * random.normal()).collect();
            let softmax = |by: f32| -> Vec<f32> {
                let powers: Vec<f32> = logits.iter().map(|logit| (by * logit).exp()).collect();
                let sum: f32 = powers.iter().sum();
                powers.iter().map(|power| power / sum).collect()
            };
            let mut left = random.between(0.0, 1.0);
            let label = softmax(1.0).iter().position(|p| {
                left -= p;
                left < 0.0
            });
            labels.push(label.unwrap_or(3) as u8);
            rows.extend(softmax(overconfident));
        }
        (rows, labels)
    }

    #[test]
    fn the_temperature_undoes_what_made_the_network_too_sure() {
        for overconfident in [0.5, 1.0, 2.5] {
            let (rows, labels) = samples(overconfident);
            let found = fit(&rows, 4, &labels);
            assert!(
                (found / overconfident - 1.0).abs() < 0.05,
                "{found}, expected {overconfident}"
            );
        }
    }

    #[test]
    fn samples_that_say_nothing_or_are_all_right_end_at_the_bounds() {
        assert!((fit(&[], 2, &[]) - 1.0).abs() < f32::EPSILON);
        assert!((fit(&[f32::NAN, 1.0], 2, &[0]) - 1.0).abs() < f32::EPSILON);
        assert!((fit(&[0.9, 0.1], 2, &[0]) - 0.05).abs() < 1e-3);
        assert!((fit(&[0.9, 0.1], 2, &[1]) - 20.0).abs() < 0.1);
        assert!(fit(&[1.0, 0.0], 2, &[1]).is_finite());
    }
}
