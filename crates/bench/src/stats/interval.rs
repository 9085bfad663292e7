//! How sure a figure is: intervals of 95 %.
//!
//! Of several trials: Student's t, of their means for a figure and of their logarithms for a ratio (Welch's), because a
//! ratio that is as likely half as it is double should have an interval around one. Of one trial alone: a bootstrap of
//! blocks of neighbouring records, because what comes right after a slow record is slow too. It says how sure the figure
//! of that trial is, and nothing of how the next one would differ.

use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};
use serde::{Deserialize, Serialize};

use super::{mean, percentile};

/// Quantiles of Student's t at 97.5 % for 1 to 30 degrees of freedom.
const T_975: [f64; 30] = [
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160,
    2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056,
    2.052, 2.048, 2.045, 2.042,
];
/// That of the normal distribution, which t comes close to.
const NORMAL_975: f64 = 1.960;
/// Resamples of a bootstrap.
const RESAMPLES: usize = 400;
/// A figure is the same each time it is computed.
const SEED: u64 = 8;

/// A figure with its interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// The figure.
    pub value: f64,
    /// Where the interval begins.
    pub low: f64,
    /// Where it ends.
    pub high: f64,
}

/// The quantile of t at 97.5 %, for a number of degrees of freedom that need not be whole.
fn t_975(freedom: f64) -> f64 {
    let below = freedom.floor().max(1.0) as usize;
    match T_975.get(below - 1) {
        // The next lower number of degrees has the wider interval.
        Some(&t) => t,
        // Cornish and Fisher's first term; exact to three digits from 30 on.
        None => NORMAL_975 + (NORMAL_975.powi(3) + NORMAL_975) / (4.0 * freedom),
    }
}

fn variance(values: &[f64], mean: f64) -> f64 {
    values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (values.len() - 1) as f64
}

/// The mean of trials, with Student's interval; none of fewer than two.
pub fn of_trials(values: &[f64]) -> Option<Interval> {
    if values.len() < 2 {
        return None;
    }
    let value = mean(values);
    let error = (variance(values, value) / values.len() as f64).sqrt();
    let reach = t_975((values.len() - 1) as f64) * error;
    Some(Interval { value, low: value - reach, high: value + reach })
}

/// By what factor trials of `other` are above those of `base`: the ratio of their geometric means, with Welch's interval;
/// none where either has fewer than two, or values that are not above zero.
pub fn ratio_of_trials(other: &[f64], base: &[f64]) -> Option<Interval> {
    if other.len() < 2 || base.len() < 2 || other.iter().chain(base).any(|value| *value <= 0.0) {
        return None;
    }
    let logarithms = |values: &[f64]| values.iter().map(|value| value.ln()).collect::<Vec<_>>();
    let (other, base) = (logarithms(other), logarithms(base));
    let (mean_other, mean_base) = (mean(&other), mean(&base));
    let squared = |values: &[f64], mean: f64| variance(values, mean) / values.len() as f64;
    let (a, b) = (squared(&other, mean_other), squared(&base, mean_base));
    let freedom = |part: f64, values: &[f64]| part.powi(2) / (values.len() - 1) as f64;
    let below = freedom(a, &other) + freedom(b, &base);
    let degrees = if below > 0.0 { (a + b).powi(2) / below } else { f64::INFINITY };
    let reach = t_975(degrees.min(1e9)) * (a + b).sqrt();
    let ratio = mean_other - mean_base;
    Some(Interval { value: ratio.exp(), low: (ratio - reach).exp(), high: (ratio + reach).exp() })
}

/// A share of so many, with Wilson's interval, which stays between 0 and 1.
pub fn of_share(part: u64, whole: u64) -> Option<Interval> {
    if whole == 0 {
        return None;
    }
    let (n, z) = (whole as f64, NORMAL_975);
    let value = part as f64 / n;
    let middle = value + z * z / (2.0 * n);
    let reach = z * (value * (1.0 - value) / n + z * z / (4.0 * n * n)).sqrt();
    let below = 1.0 + z * z / n;
    let (low, high) = ((middle - reach) / below, (middle + reach) / below);
    Some(Interval { value, low: low.clamp(0.0, value), high: high.clamp(value, 1.0) })
}

/// A percentile of one trial's values, in the order in which they came, with its interval by a bootstrap of blocks.
pub fn of_values(values: &[f64], share: f64) -> Option<Interval> {
    let value = percentile(&sorted(values.to_vec()), share)?;
    let mut all = resampled(values, share, SEED);
    all.sort_by(f64::total_cmp);
    Some(Interval { value, low: percentile(&all, 0.025)?, high: percentile(&all, 0.975)? })
}

/// By what factor a percentile of `other` is above that of `base`, each of one trial.
pub fn ratio_of_values(other: &[f64], base: &[f64], share: f64) -> Option<Interval> {
    let value =
        percentile(&sorted(other.to_vec()), share)? / percentile(&sorted(base.to_vec()), share)?;
    let (others, bases) = (resampled(other, share, SEED), resampled(base, share, SEED + 1));
    let ratios = others.iter().zip(&bases).map(|(other, base)| other / base);
    let all = sorted(ratios.filter(|ratio| ratio.is_finite()).collect());
    let is_known = value.is_finite();
    let (low, high) = (percentile(&all, 0.025)?, percentile(&all, 0.975)?);
    is_known.then_some(Interval { value, low, high })
}

fn sorted(mut values: Vec<f64>) -> Vec<f64> {
    values.sort_by(f64::total_cmp);
    values
}

/// A percentile of each of many resamples, made of blocks of neighbours as long as the root of their number.
fn resampled(values: &[f64], share: f64, seed: u64) -> Vec<f64> {
    let count = values.len();
    if count == 0 {
        return Vec::new();
    }
    let block = ((count as f64).sqrt().ceil() as usize).max(1);
    let mut random = SmallRng::seed_from_u64(seed);
    let mut resample = Vec::with_capacity(count + block);
    (0..RESAMPLES)
        .map(|_| {
            resample.clear();
            while resample.len() < count {
                // Blocks go round from the last value to the first, so that all are as likely.
                let start = random.random_range(0..count);
                resample.extend((start..start + block).map(|at| values[at % count]));
            }
            resample.truncate(count);
            let place = share * (count - 1) as f64;
            let (below, above) = (place.floor() as usize, place.ceil() as usize);
            let low = *resample.select_nth_unstable_by(below, f64::total_cmp).1;
            let high = *resample.select_nth_unstable_by(above, f64::total_cmp).1;
            low + (high - low) * (place - below as f64)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn trials_have_students_interval() {
        let Interval { value, low, high } = of_trials(&[10.0, 12.0, 11.0, 9.0, 13.0]).unwrap();
        // Standard deviation √2.5, five values, t = 2.776.
        let reach = 2.776 * (2.5f64 / 5.0).sqrt();
        assert!((value - 11.0).abs() < 1e-12 && (high - low - 2.0 * reach).abs() < 1e-9);
        assert_eq!((of_trials(&[1.0]), of_trials(&[])), (None, None));
    }

    #[test]
    fn many_degrees_of_freedom_come_close_to_the_normal_distribution() {
        assert!((t_975(30.0) - 2.042).abs() < 1e-9 && (t_975(60.0) - 2.000).abs() < 2e-3);
        assert!((t_975(1e9) - 1.960).abs() < 1e-6);
    }

    #[test]
    fn a_share_has_wilsons_interval() {
        let Interval { value, low, high } = of_share(99, 100).unwrap();
        assert!((value - 0.99).abs() < 1e-12);
        assert!((low - 0.9455).abs() < 1e-4 && (high - 0.9982).abs() < 1e-4, "{low} {high}");
        assert_eq!(of_share(0, 0), None);
        assert!((of_share(5, 5).unwrap().high - 1.0).abs() < 1e-12);
    }

    #[test]
    fn a_ratio_of_equal_trials_is_one_and_sure() {
        let ratio = ratio_of_trials(&[2.0, 2.0], &[2.0, 2.0]).unwrap();
        assert_eq!((ratio.value, ratio.low, ratio.high), (1.0, 1.0, 1.0));
        assert_eq!(ratio_of_trials(&[0.0, 1.0], &[1.0, 1.0]), None);
    }

    #[test]
    fn what_depends_on_its_neighbours_is_less_sure() {
        let alternating: Vec<f64> = (0..400).map(|at| f64::from(at % 2)).collect();
        let in_runs: Vec<f64> = (0..400).map(|at| f64::from(at / 20 % 2)).collect();
        let wide = |values: &[f64]| {
            // A percentile of two values jumps; of their sums over time it does not.
            let smooth: Vec<f64> = values.chunks(4).map(mean).collect();
            let interval = of_values(&smooth, 0.5).unwrap();
            interval.high - interval.low
        };
        assert!(wide(&alternating) <= wide(&in_runs));
    }

    proptest! {
        #[test]
        fn an_interval_is_around_its_figure_and_a_ratio_turns_over(
            a in prop::collection::vec(0.1..100.0f64, 2..8), b in prop::collection::vec(0.1..100.0f64, 2..8)
        ) {
            let one = ratio_of_trials(&a, &b).unwrap();
            let other = ratio_of_trials(&b, &a).unwrap();
            prop_assert!(one.low <= one.value && one.value <= one.high);
            prop_assert!((one.value * other.value - 1.0).abs() < 1e-9);
            prop_assert!((one.low * other.high - 1.0).abs() < 1e-6);
        }

        #[test]
        fn a_bootstrap_stays_within_the_values(values in prop::collection::vec(1.0..50.0f64, 1..60)) {
            let interval = of_values(&values, 0.95).unwrap();
            let (least, most) = (sorted(values.clone())[0], *sorted(values.clone()).last().unwrap());
            prop_assert!(least <= interval.low && interval.low <= interval.high && interval.high <= most);
            prop_assert_eq!(interval, of_values(&values, 0.95).unwrap());
        }
    }
}
