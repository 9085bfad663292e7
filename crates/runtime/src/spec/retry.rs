//! How often, and when, a call that is carried out later is tried again.

use std::time::Duration;

use super::Labels;

/// A call is tried this often in all, unless its function says otherwise.
const DEFAULT_ATTEMPTS: u32 = 10;
/// More attempts than a call is worth.
const MAX_ATTEMPTS: u32 = 100;
/// Statuses after which it may succeed later: the platform's default, and 503, with which it says that no instance is
/// there.
const DEFAULT_CODES: [u16; 6] = [408, 429, 500, 502, 503, 504];
/// Wait after the first attempt, unless its function says otherwise; doubles with each.
const DEFAULT_MIN_WAIT: Duration = Duration::from_secs(1);
const DEFAULT_MAX_WAIT: Duration = Duration::from_mins(2);
/// Longer than this nobody is waited for, whatever they ask for.
const MAX_RETRY_AFTER: Duration = Duration::from_hours(1);

/// How calls are tried again.
#[derive(Debug, Clone, PartialEq)]
pub struct Retry {
    /// Attempts in all.
    pub attempts: u32,
    /// Statuses after which there is another.
    pub codes: Vec<u16>,
    /// Wait after the first attempt; doubles with each.
    pub min_wait: Duration,
    /// It is not longer than this.
    pub max_wait: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            attempts: DEFAULT_ATTEMPTS,
            codes: DEFAULT_CODES.to_vec(),
            min_wait: DEFAULT_MIN_WAIT,
            max_wait: DEFAULT_MAX_WAIT,
        }
    }
}

impl Retry {
    /// How long to wait after so many attempts, the last of which was answered with this status; `None` if there is to
    /// be no other. `share`, from 0 to 1, is where in the second half of the time it is, so that calls that failed
    /// together do not come again together.
    pub fn wait(
        &self,
        attempts: u32,
        status: u16,
        retry_after: Option<Duration>,
        share: f64,
    ) -> Option<Duration> {
        if !self.codes.contains(&status) || self.attempts <= attempts {
            return None;
        }
        let doubled = 2_u32.saturating_pow(attempts.saturating_sub(1));
        let longest = self.min_wait.saturating_mul(doubled).min(self.max_wait);
        let wait = longest.mul_f64(0.5 + 0.5 * share.clamp(0.0, 1.0));
        Some(retry_after.map_or(wait, |asked| wait.max(asked.min(MAX_RETRY_AFTER))))
    }
}

impl Labels<'_> {
    /// How calls are tried again, as annotations say it.
    pub(super) fn retry(&mut self) -> Retry {
        let default = Retry::default();
        let attempts = self.number("com.openfaas.retry.attempts", 1..=MAX_ATTEMPTS);
        let codes = self.parsed("com.openfaas.retry.codes", "statuses as 429,503", |text| {
            let codes = text.split(',').map(|code| code.trim().parse().ok());
            codes.map(|code| code.filter(|code| (400..600).contains(code))).collect()
        });
        let min_wait = self.duration("com.openfaas.retry.min_wait").unwrap_or(default.min_wait);
        let max_wait = self.duration("com.openfaas.retry.max_wait").unwrap_or(default.max_wait);
        Retry {
            attempts: attempts.unwrap_or(default.attempts),
            codes: codes.unwrap_or(default.codes),
            min_wait,
            max_wait: max_wait.max(min_wait),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(retry: &Retry, attempts: u32, status: u16, retry_after: Option<u64>) -> Option<f64> {
        let retry_after = retry_after.map(Duration::from_secs);
        retry.wait(attempts, status, retry_after, 1.0).map(|wait| wait.as_secs_f64())
    }

    #[test]
    fn waits_double_up_to_the_longest() {
        let retry = Retry::default();
        let waits = [1, 2, 3, 8, 9].map(|attempts| seconds(&retry, attempts, 503, None));
        assert_eq!(waits, [Some(1.0), Some(2.0), Some(4.0), Some(120.0), Some(120.0)]);
        assert_eq!(seconds(&retry, 10, 503, None), None);
        assert_eq!(seconds(&retry, 1, 404, None), None);
    }

    #[test]
    fn who_asks_for_a_wait_gets_it() {
        let retry = Retry::default();
        assert_eq!(seconds(&retry, 1, 429, Some(30)), Some(30.0));
        assert_eq!(seconds(&retry, 6, 429, Some(3)), Some(32.0));
        assert_eq!(seconds(&retry, 1, 429, Some(1_000_000)), Some(3600.0));
    }

    #[test]
    fn a_wait_is_within_its_second_half() {
        let retry = Retry::default();
        for share in [0.0, 0.3, 1.0] {
            let wait = retry.wait(2, 500, None, share).unwrap();
            assert!((1.0..=2.0).contains(&wait.as_secs_f64()), "{wait:?}");
        }
    }
}
