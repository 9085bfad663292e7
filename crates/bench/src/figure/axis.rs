//! An axis: its label with the unit, its range, and ticks at round numbers.

/// A range holds at least so many steps from tick to tick, and at most two and a half times as many.
const LEAST_STEPS: f64 = 3.5;
/// The share of the data's range that is left free at each end where the range is not given.
const MARGIN: f64 = 0.06;

/// One axis of a panel.
#[derive(Debug, Clone)]
pub struct Axis {
    pub(super) label: String,
    range: Option<(f64, f64)>,
    pub(super) scale: Scale,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Scale {
    Linear,
    Logarithmic,
    Named(Vec<String>),
}

impl Axis {
    /// An axis whose label names the quantity and, in parentheses, its unit. It is linear, and its range is that of the
    /// data.
    pub fn new(label: impl Into<String>) -> Self {
        Self { label: label.into(), range: None, scale: Scale::Linear }
    }

    /// An axis on which each factor has the same length, with ticks at powers of ten. Only what is above zero has a
    /// place; for values that differ by orders of magnitude.
    pub fn logarithmic(label: impl Into<String>, from: f64, to: f64) -> Self {
        let range = Some((from, to));
        Self { label: label.into(), range, scale: Scale::Logarithmic }
    }

    /// An axis of things, not of numbers: the first is at 1, the next at 2, and so on. It goes downwards where it is
    /// upright, so that the first is above.
    pub fn named(label: impl Into<String>, names: Vec<String>) -> Self {
        let range = Some((names.len() as f64 + 0.5, 0.5));
        Self { label: label.into(), range, scale: Scale::Named(names) }
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

impl Axis {
    /// Where a value is between the ends of a range: 0 to 1. Not finite where it has no place.
    pub(super) fn share(&self, value: f64, (from, to): (f64, f64)) -> f64 {
        match self.scale {
            Scale::Linear | Scale::Named(_) => (value - from) / (to - from),
            Scale::Logarithmic => (value / from).ln() / (to / from).ln(),
        }
    }

    /// The ticks of a range and their labels.
    pub(super) fn ticks(&self, range: (f64, f64)) -> Vec<(f64, String)> {
        match &self.scale {
            Scale::Linear => ticks(range),
            Scale::Logarithmic => powers(range),
            Scale::Named(names) => {
                names.iter().enumerate().map(|(at, name)| (at as f64 + 1.0, name.clone())).collect()
            }
        }
    }
}

/// The powers of ten of a range.
fn powers((from, to): (f64, f64)) -> Vec<(f64, String)> {
    if !(from > 0.0 && to.is_finite()) {
        return Vec::new();
    }
    // A little more than the range, so that rounding keeps the ticks at its ends.
    let (first, last) = ((from.log10() - 1e-9).ceil() as i32, (to.log10() + 1e-9).floor() as i32);
    let tick = |power: i32| {
        let (value, decimals) = (10f64.powi(power), (-power).max(0) as usize);
        // Thousands are apart, so that zeros need not be counted.
        let mut label = format!("{value:.decimals$}");
        for at in (1..label.len())
            .rev()
            .filter(|at| power > 3 && (power as usize + 1 - at).is_multiple_of(3))
        {
            label.insert(at, ',');
        }
        (value, label)
    };
    (first..=last).map(tick).collect()
}

/// The ticks of a linear range and their labels: multiples of 1, 2 or 5 times a power of ten, all with as many decimals.
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
    fn a_factor_has_the_same_length_everywhere_on_a_logarithmic_axis() {
        let axis = Axis::logarithmic("", 0.1, 1000.0);
        let range = axis.range(std::iter::empty());
        let labels: Vec<String> = axis.ticks(range).into_iter().map(|(_, label)| label).collect();
        assert_eq!(labels, ["0.1", "1", "10", "100", "1000"]);
        for (value, share) in [(0.1, 0.0), (1.0, 0.25), (1000.0, 1.0)] {
            assert!((axis.share(value, range) - share).abs() < 1e-9);
        }
        assert!(!axis.share(0.0, range).is_finite() && !axis.share(-1.0, range).is_finite());
        assert!(powers((0.0, 10.0)).is_empty());
    }

    #[test]
    fn a_range_is_around_its_data_unless_it_is_set() {
        let range = Axis::new("").range([1.0, f64::NAN, 2.0].into_iter());
        assert!(range.0 < 1.0 && range.1 > 2.0);
        assert_eq!(Axis::new("").range(std::iter::empty()), (0.0, 1.0));
        assert_eq!(Axis::new("").from_to(0.0, 7.0).range([9.0].into_iter()), (0.0, 7.0));
    }
}
