//! Statistics of what was measured. Pure.
//!
//! Percentiles are by linear interpolation between the two nearest values, the standard deviation has n − 1 below the
//! line: as the published figures were computed, so that they can be compared digit for digit. How sure a figure is
//! says [`interval`].

pub mod interval;

use serde::{Deserialize, Serialize};

/// What is said of some values.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// How many values there are.
    pub samples: usize,
    /// The least.
    pub min: f64,
    /// The middle one.
    pub median: f64,
    /// Their mean.
    pub mean: f64,
    /// What 90 % are not above.
    pub p90: f64,
    /// What 95 % are not above.
    pub p95: f64,
    /// What 99 % are not above.
    pub p99: f64,
    /// The most.
    pub max: f64,
    /// Standard deviation, with n − 1; 0 of one value.
    pub std: f64,
}

impl Summary {
    /// The summary of some values, in any order; none where there are none. Values are finite.
    pub fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        Self::of_sorted(&values)
    }

    /// The summary of values in rising order.
    pub fn of_sorted(values: &[f64]) -> Option<Self> {
        let (&min, &max) = (values.first()?, values.last()?);
        let at = |share| percentile(values, share).unwrap_or(max);
        let mean = mean(values);
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        Some(Self {
            samples: values.len(),
            min,
            median: at(0.5),
            mean,
            p90: at(0.9),
            p95: at(0.95),
            p99: at(0.99),
            max,
            std: if values.len() > 1 { (squares / (values.len() - 1) as f64).sqrt() } else { 0.0 },
        })
    }
}

/// The mean; not a number of no values.
pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// The value below which a share of the values, which are in rising order, lies: interpolated between the two nearest.
pub fn percentile(sorted: &[f64], share: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let place = share.clamp(0.0, 1.0) * last as f64;
    let below = place.floor() as usize;
    let above = (below + 1).min(last);
    let (low, high) = (sorted[below], sorted[above]);
    Some(low + (high - low) * (place - below as f64))
}

/// The five numbers of a box plot, and what is beyond its whiskers.
#[derive(Debug, Clone, PartialEq)]
pub struct Box {
    /// The least value within one and a half heights of the box below it.
    pub low: f64,
    /// A quarter of the values is below.
    pub first: f64,
    /// The middle one.
    pub median: f64,
    /// A quarter of the values is above.
    pub third: f64,
    /// The largest value within one and a half heights of the box above it.
    pub high: f64,
    /// Values beyond the whiskers, in rising order.
    pub outliers: Vec<f64>,
}

impl Box {
    /// The box of values in rising order (Tukey's).
    pub fn of_sorted(values: &[f64]) -> Option<Self> {
        let (first, median, third) =
            (percentile(values, 0.25)?, percentile(values, 0.5)?, percentile(values, 0.75)?);
        let reach = 1.5 * (third - first);
        let is_within = |value: f64| first - reach <= value && value <= third + reach;
        let within = || values.iter().copied().filter(|&value| is_within(value));
        Some(Self {
            // Interpolated quarters lie between values, so a whisker may have none beyond the box: it ends there.
            low: within().next().unwrap_or(first).min(first),
            first,
            median,
            third,
            high: within().next_back().unwrap_or(third).max(third),
            outliers: values.iter().copied().filter(|&value| !is_within(value)).collect(),
        })
    }
}

/// `(value, share of the values that are not above it)` along rising values, in at most so many steps and with both
/// ends.
pub fn distribution(sorted: &[f64], steps: usize) -> Vec<(f64, f64)> {
    let count = sorted.len();
    let stride = count.div_ceil(steps.max(1)).max(1);
    let places = (0..count).filter(|at| (at + 1) % stride == 0 || *at == 0 || at + 1 == count);
    places.map(|at| (sorted[at], (at + 1) as f64 / count as f64)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_summary_is_what_it_says() {
        let summary = Summary::of(vec![4.0, 1.0, 3.0, 2.0]).unwrap();
        let expected = (1.0, 2.5, 2.5, 4.0, 4);
        let Summary { min, median, mean, max, samples, .. } = summary;
        assert_eq!((min, median, mean, max, samples), expected);
        assert!((summary.p90 - 3.7).abs() < 1e-12 && (summary.std - 1.290_994_448).abs() < 1e-9);
        assert!(Summary::of(vec![2.0]).unwrap().std.abs() < 1e-12);
        assert_eq!(Summary::of(Vec::new()), None);
    }

    #[test]
    fn a_box_ends_at_values_and_shows_what_is_beyond() {
        let values: Vec<f64> = (1..=9).map(f64::from).chain([100.0]).collect();
        let plot = Box::of_sorted(&values).unwrap();
        assert_eq!((plot.low, plot.high, plot.outliers), (1.0, 9.0, vec![100.0]));
        assert_eq!(Box::of_sorted(&[]), None);
    }

    proptest! {
        #[test]
        fn percentiles_equal_a_naive_sort(
            mut values in prop::collection::vec(-1e6..1e6f64, 1..200), share in 0.0..=1.0f64
        ) {
            let found = {
                let mut sorted = values.clone();
                sorted.sort_by(f64::total_cmp);
                percentile(&sorted, share).unwrap()
            };
            // Selection instead of indexing, and the two neighbours weighted instead of a step added.
            let place = share * (values.len() - 1) as f64;
            let (below, above) = (place.floor() as usize, place.ceil() as usize);
            let mut take = |nth: usize| *values.select_nth_unstable_by(nth, f64::total_cmp).1;
            let (low, high) = (take(below), take(above));
            let weight = place - place.floor();
            let naive = low * (1.0 - weight) + high * weight;
            prop_assert!((found - naive).abs() <= 1e-6, "{found} {naive}");
        }

        #[test]
        fn a_summary_does_not_depend_on_the_order_and_is_ordered(
            values in prop::collection::vec(0.0..1e6f64, 1..100)
        ) {
            let one = Summary::of(values.clone()).unwrap();
            let other = Summary::of(values.iter().rev().copied().collect()).unwrap();
            prop_assert_eq!(one, other);
            let order = [one.min, one.median, one.p90, one.p95, one.p99, one.max];
            prop_assert!(order.is_sorted(), "{order:?}");
            prop_assert!(one.min <= one.mean + 1e-6 && one.mean <= one.max + 1e-6);
        }

        #[test]
        fn a_box_holds_half_of_its_values_and_hides_none(
            mut values in prop::collection::vec(0.0..1e3f64, 1..100)
        ) {
            values.sort_by(f64::total_cmp);
            let plot = Box::of_sorted(&values).unwrap();
            let order = [plot.low, plot.first, plot.median, plot.third, plot.high];
            prop_assert!(order.is_sorted(), "{order:?}");
            let shown = values.iter().filter(|v| (plot.low..=plot.high).contains(*v)).count();
            prop_assert_eq!(shown + plot.outliers.len(), values.len());
        }

        #[test]
        fn a_distribution_rises_to_one(values in prop::collection::vec(0.0..1e3f64, 1..300), steps in 1..50usize) {
            let mut values = values;
            values.sort_by(f64::total_cmp);
            let points = distribution(&values, steps);
            prop_assert!(points.is_sorted_by(|a, b| a.0 <= b.0 && a.1 < b.1));
            prop_assert_eq!(points.last().unwrap(), &(*values.last().unwrap(), 1.0));
            prop_assert!(points.len() <= steps + 2);
        }
    }
}
