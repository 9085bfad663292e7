//! The largest of what was needed within a time.

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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

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
