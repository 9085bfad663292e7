//! What can be promised of thresholds, whatever the samples are like: Learn-then-Test (Angelopoulos, Bates, Candès,
//! Jordan and Lei, 2021).
//!
//! **The risk.** A sample *is harmed* by thresholds θ where the last exit classifies it correctly and the exit at
//! which it leaves does not. With `L(θ) = 1{last right} − 1{answer right}` the accuracy loss is `E[L]`, and the harm
//! `L⁺ = max(L, 0)` is 0 or 1 with `E[L] ≤ E[L⁺] = R(θ)`. What is controlled is `R`: samples that an early exit gets
//! right and the last one does not are no excuse, so the promise also holds for the samples that the network would
//! have got right. It errs on the safe side by the share of those lucky samples.
//!
//! **One test.** Of `n` independent samples from the same source as what will come, `k` are harmed. Under
//! `H(θ): R(θ) > α` the count is binomial with a probability of more than α, so `p = P(Bin(n, α) ≤ k)` is a valid
//! p-value: `P(p ≤ u) ≤ u` for every u. For losses of any size between 0 and 1 the Hoeffding–Bentkus p-value
//! `min(exp(−n h(min(k/n, α), α)), e · P(Bin(n, α) ≤ k))` is what the paper takes; both of its parts bound this very
//! tail from above, so for harms, which are 0 or 1, the tail itself is as valid and never larger. `p ≤ δ` exactly
//! where `k` is at most [`most_harmed`].
//!
//! **Many tests.** A sequence θ₁, θ₂, … is tested in order until the first that fails; the last that passed is taken
//! ([`last_passing`]). Let θⱼ be the first of the sequence with `R(θⱼ) > α`. A risk above α is taken only if θⱼ
//! passed, for what is beyond it is reached only through it; and θⱼ passes with a probability of at most δ. So
//! `P(R(taken) ≤ α) ≥ 1 − δ` over the draw of the samples, for any length of the sequence and any dependence between
//! its tests.
//!
//! **Which sequence.** That argument needs a sequence which is fixed before the samples are looked at with which it is
//! tested. The samples are therefore split at random: one part gives the temperatures, the candidate thresholds and
//! their order, from the safest to the most aggressive; the other part only tests. See `super::calibrate`.

/// The most samples of `n` that may be harmed so that a risk of more than `risk` would have harmed as few or fewer
/// with a probability of at most `1 - confidence`. `None` where even none of them proves too little.
///
/// O(n) at most; sums of logarithms, so that no `n` underflows.
pub fn most_harmed(n: usize, risk: f64, confidence: f64) -> Option<usize> {
    let level = 1.0 - confidence;
    if risk >= 1.0 {
        return Some(n);
    }
    let odds = (risk / (1.0 - risk)).ln();
    let mut term = n as f64 * (-risk).ln_1p();
    // Small terms are far from the sum, so adding them as they are loses nothing that matters.
    let mut tail = 0.0;
    for harmed in 0..=n {
        tail += term.exp();
        if tail > level {
            return harmed.checked_sub(1);
        }
        term += ((n - harmed) as f64).ln() - ((harmed + 1) as f64).ln() + odds;
    }
    Some(n)
}

/// The fewest samples of which none harmed proves a risk of at most `risk` with `confidence`.
pub fn fewest_samples(risk: f64, confidence: f64) -> usize {
    if risk >= 1.0 {
        return 0;
    }
    ((1.0 - confidence).ln() / (-risk).ln_1p()).ceil().max(0.0) as usize
}

/// The position of the last of the leading tests that pass: `harmed` holds how many of the samples each of a sequence
/// of thresholds harms, and at most `most` pass.
pub fn last_passing(harmed: impl IntoIterator<Item = usize>, most: usize) -> Option<usize> {
    harmed.into_iter().take_while(|&harmed| harmed <= most).count().checked_sub(1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `P(Bin(n, p) <= k)`, by a recursion that has nothing in common with the one above: one sample at a time.
    fn binomial_tail(n: usize, p: f64, k: usize) -> f64 {
        let mut chances = vec![0.0; k + 1];
        chances[0] = 1.0;
        for _ in 0..n {
            for at in (0..=k).rev() {
                let from_below = if at > 0 { chances[at - 1] * p } else { 0.0 };
                chances[at] = chances[at] * (1.0 - p) + from_below;
            }
        }
        chances.iter().sum()
    }

    /// The Hoeffding–Bentkus p-value of Learn-then-Test, equation 7.
    fn hoeffding_bentkus(n: usize, risk: f64, harmed: usize) -> f64 {
        let mean = (harmed as f64 / n as f64).min(risk);
        let term = |a: f64, b: f64| if a > 0.0 { a * (a / b).ln() } else { 0.0 };
        let h = term(mean, risk) + term(1.0 - mean, 1.0 - risk);
        (-(n as f64) * h).exp().min(std::f64::consts::E * binomial_tail(n, risk, harmed))
    }

    #[test]
    fn textbook_values() {
        // (1 - 0.01)^299 is the first power below 0.05: the "rule of three".
        assert_eq!(most_harmed(298, 0.01, 0.95), None);
        assert_eq!(most_harmed(299, 0.01, 0.95), Some(0));
        assert_eq!(fewest_samples(0.01, 0.95), 299);
        assert_eq!(most_harmed(0, 0.01, 0.95), None);
        assert_eq!(most_harmed(10, 1.0, 0.95), Some(10));
        // Far beyond where (1 - risk)^n underflows: mean 30,000, standard deviation 144.9, 1.645 of them below.
        let many = most_harmed(100_000, 0.3, 0.95).unwrap();
        assert!((29_755..=29_768).contains(&many), "{many}");
    }

    #[test]
    fn testing_stops_at_the_first_failure() {
        assert_eq!(last_passing([0, 2, 3, 9, 1], 3), Some(2));
        assert_eq!(last_passing([4, 0], 3), None);
        assert_eq!(last_passing([], 3), None);
    }

    proptest! {
        #[test]
        fn the_most_harmed_is_where_the_binomial_tail_crosses_the_level(
            n in 1usize..400, risk in 0.001f64..0.6, confidence in 0.5f64..0.999,
        ) {
            let level = 1.0 - confidence;
            let most = most_harmed(n, risk, confidence);
            if let Some(most) = most {
                prop_assert!(binomial_tail(n, risk, most) <= level * (1.0 + 1e-9));
            }
            let next = most.map_or(0, |most| most + 1);
            prop_assert!(next > n || binomial_tail(n, risk, next) > level * (1.0 - 1e-9));
            prop_assert_eq!(n >= fewest_samples(risk, confidence), most.is_some());
        }

        #[test]
        fn the_tail_is_never_larger_than_hoeffding_bentkus(
            n in 1usize..400, risk in 0.001f64..0.6, share in 0.0f64..1.0,
        ) {
            let harmed = (share * risk * n as f64) as usize;
            let tail = binomial_tail(n, risk, harmed);
            prop_assert!(tail <= hoeffding_bentkus(n, risk, harmed) * (1.0 + 1e-9));
        }
    }
}
