//! An axis: its label with the unit, its range, and ticks at round numbers.

/// A range holds at least so many steps from tick to tick, and at most two and a half times as many.
const LEAST_STEPS: f64 = 3.5;
/// The share of the data's range that is left free at each end where the range is not given.
const MARGIN: f64 = 0.06;

/// One axis of a panel, linear.
#[derive(Debug, Clone)]
pub struct Axis {
    pub(super) label: String,
    range: Option<(f64, f64)>,
}

impl Axis {
    /// An axis whose label names the quantity and, in parentheses, its unit. Its range is that of the data.
    pub fn new(label: impl Into<String>) -> Self {
        Self { label: label.into(), range: None }
    }

    /// Sets where the axis begins and ends.
    #[must_use]
    pub fn from_to(mut self, from: f64, to: f64) -> Self {
        self.range = Some((from, to));
        self
    }

    /// Where the axis begins and ends, given its data: what was set, or a little more than what there is.
    pub(super) fn range(&self, values: impl Iterator<Item = f64>) -> (f64, f64) {
        if let Some(range) = self.range {
            return range;
        }
        let (mut least, mut most) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values.filter(|value| value.is_finite()) {
            least = least.min(value);
            most = most.max(value);
        }
        if least > most {
            return (0.0, 1.0);
        }
        let span = most - least;
        let margin = if span > 0.0 { span * MARGIN } else { least.abs().max(1.0) * MARGIN };
        (least - margin, most + margin)
    }
}

/// The ticks of a range and their labels: multiples of 1, 2 or 5 times a power of ten, all with as many decimals.
pub(super) fn ticks((from, to): (f64, f64)) -> Vec<(f64, String)> {
    let most = (to - from) / LEAST_STEPS;
    if !most.is_finite() || most <= 0.0 {
        return Vec::new();
    }
    let power = 10f64.powf(most.log10().floor());
    let steps = [5.0, 2.0, 1.0].map(|factor| factor * power);
    let step = steps.into_iter().find(|step| *step <= most).unwrap_or(power);
    let decimals = (-(step.log10() + 1e-9).floor()).max(0.0) as usize;
    // A little more than the range, so that rounding keeps the ticks at its ends.
    let slack = 1e-9 * (to - from);
    let first = ((from - slack) / step).ceil() as i64;
    let last = ((to + slack) / step).floor() as i64;
    (first..=last)
        .map(|at| {
            let value = at as f64 * step;
            (value, format!("{value:.decimals$}"))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_at_round_numbers_within_the_range() {
        let labels = |from: f64, to: f64| -> Vec<String> {
            ticks((from, to)).into_iter().map(|(_, label)| label).collect()
        };
        assert_eq!(labels(0.0, 100.0), ["0", "20", "40", "60", "80", "100"]);
        assert_eq!(labels(97.73, 98.31), ["97.8", "97.9", "98.0", "98.1", "98.2", "98.3"]);
        assert_eq!(labels(0.0, 19.3), ["0", "5", "10", "15"]);
        assert_eq!(labels(-0.2, 0.3), ["-0.2", "-0.1", "0.0", "0.1", "0.2", "0.3"]);
        assert_eq!(labels(0.0, 1_200_000.0).len(), 7);
        assert!(labels(1.0, 1.0).is_empty() && labels(f64::NAN, 1.0).is_empty());
    }

    #[test]
    fn a_range_is_around_its_data_unless_it_is_set() {
        let range = Axis::new("").range([1.0, f64::NAN, 2.0].into_iter());
        assert!(range.0 < 1.0 && range.1 > 2.0);
        assert_eq!(Axis::new("").range(std::iter::empty()), (0.0, 1.0));
        assert_eq!(Axis::new("").from_to(0.0, 7.0).range([9.0].into_iter()), (0.0, 7.0));
    }
}
