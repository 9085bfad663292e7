//! What was needed within a time, and how long that time is.

use std::collections::VecDeque;
use std::time::Duration;

/// The largest value of a sliding window. Kept are those that no later one reaches, so that with needs of at most n
/// there are at most n, however often one looks.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Window {
    values: VecDeque<(Duration, u32)>,
}

impl Window {
    /// Takes a value and gives the largest since `length` ago.
    pub(crate) fn largest(&mut self, value: u32, now: Duration, length: Duration) -> u32 {
        while self.values.back().is_some_and(|(_, last)| *last <= value) {
            self.values.pop_back();
        }
        self.values.push_back((now, value));
        while self.values.front().is_some_and(|(at, _)| now.saturating_sub(*at) > length) {
            self.values.pop_front();
        }
        self.values.front().map_or(value, |(_, largest)| *largest)
    }
}

/// How long fewer instances must have been enough.
///
/// A number that was tried and turned out to be too small is not tried again soon: that costs actions, and waits each
/// time. Each time the window is three times as long, up to ten times what is configured; a reduction that lasts makes
/// it what is configured again.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Patience {
    shortest: Duration,
    length: Duration,
    reduced: Option<Duration>,
}

impl Patience {
    const FACTOR: u32 = 3;
    const MOST: u32 = 10;
    /// A reduction has lasted when it was good for so many windows.
    const LASTING: u32 = 5;

    pub(crate) fn new(shortest: Duration) -> Self {
        Self { shortest, length: shortest, reduced: None }
    }

    pub(crate) fn length(&self) -> Duration {
        self.length
    }

    /// There are fewer.
    pub(crate) fn reduced(&mut self, now: Duration) {
        self.reduced = Some(now);
    }

    /// There are more, because they were too few.
    pub(crate) fn raised(&mut self, now: Duration) {
        let Some(reduced) = self.reduced.take() else { return };
        self.length = if now.saturating_sub(reduced) <= self.length * Self::LASTING {
            (self.length * Self::FACTOR).min(self.shortest * Self::MOST)
        } else {
            self.shortest
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_reduction_that_did_not_last_makes_the_next_later() {
        let seconds = Duration::from_secs;
        let mut patience = Patience::new(seconds(60));
        patience.raised(seconds(10));
        assert_eq!(patience.length(), seconds(60));
        for (reduced, raised, length) in [
            (100, 130, 180),
            (400, 1000, 540),
            (2000, 2001, 600),
            (3000, 3002, 600),
            (4000, 8000, 60),
        ] {
            patience.reduced(seconds(reduced));
            patience.raised(seconds(raised));
            assert_eq!(patience.length(), seconds(length));
        }
    }

    proptest! {
        #[test]
        fn it_is_the_largest_of_those_within(values in prop::collection::vec((0u64..5, 0u32..9), 1..50)) {
            let (mut window, mut all, mut now) = (Window::default(), Vec::new(), Duration::ZERO);
            let length = Duration::from_secs(7);
            for (passed, value) in values {
                now += Duration::from_secs(passed);
                all.push((now, value));
                let within = all.iter().filter(|(at, _)| now.saturating_sub(*at) <= length);
                let expected = within.map(|(_, value)| *value).max();
                prop_assert_eq!(Some(window.largest(value, now, length)), expected);
                prop_assert!(window.values.len() <= 9);
            }
        }
    }
}
