//! How many records arrive a second, and how regularly.

use std::time::Duration;

/// Arrivals are compared in steps of this or of the time between two looks, whichever is longer.
const BIN: Duration = Duration::from_secs(1);
/// How long a step counts for the regularity: its error is then about a sixth.
const DISPERSION_MEMORY: f64 = 60.0;
/// The regularity is not judged from fewer steps.
const LEAST_BINS: u32 = 10;
/// A first slow average is the mean of what there was, and says little before this.
const SETTLED: f64 = 10.0;
/// The quick average of Poisson arrivals at `rate` deviates by `√(rate / 2τ)`, so that this is a threshold of 3.5
/// deviations: chance passes it once in hours, not in minutes as it passes 2.8.
const DEVIATIONS: f64 = 2.5;
/// The test takes arrivals for at least this irregular: a schedule still makes ripples within a step.
const LEAST_DISPERSION: f64 = 0.25;

/// Averages of a counter of arrivals.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Arrivals {
    slow_s: f64,
    fast_s: f64,
    first: Option<Duration>,
    at: Duration,
    count: u64,
    slow: f64,
    fast: f64,
    last_arrival: Duration,
    bin_began: Duration,
    bin_count: u64,
    last_bin: Option<f64>,
    bins: u32,
    /// Weighted sums of half the squared differences of successive steps, in arrivals, and of arrivals.
    differences: f64,
    means: f64,
}

impl Arrivals {
    /// Nothing has been seen. The time constants are those of the averages.
    pub(crate) fn new(slow: Duration, fast: Duration) -> Self {
        Self {
            slow_s: slow.as_secs_f64(),
            fast_s: fast.as_secs_f64(),
            first: None,
            at: Duration::ZERO,
            count: 0,
            slow: 0.0,
            fast: 0.0,
            last_arrival: Duration::ZERO,
            bin_began: Duration::ZERO,
            bin_count: 0,
            last_bin: None,
            bins: 0,
            differences: 0.0,
            means: 0.0,
        }
    }

    /// Takes the counter at a time. A counter that has gone back has begun anew; a time that has gone back is ignored.
    pub(crate) fn see(&mut self, count: u64, now: Duration) {
        if self.first.is_none() {
            (self.first, self.at, self.count) = (Some(now), now, count);
            (self.bin_began, self.last_arrival) = (now, now);
            return;
        }
        let passed = now.saturating_sub(self.at).as_secs_f64();
        if passed <= 0.0 {
            return;
        }
        let arrived = count.saturating_sub(self.count);
        let rate = arrived as f64 / passed;
        self.slow += (1.0 - (-passed / self.slow_s).exp()) * (rate - self.slow);
        self.fast += (1.0 - (-passed / self.fast_s).exp()) * (rate - self.fast);
        (self.at, self.count) = (now, count);
        if arrived > 0 {
            self.last_arrival = now;
        }
        self.bin_count += arrived;
        let width = now.saturating_sub(self.bin_began);
        if width >= BIN {
            self.end_bin(width.as_secs_f64());
            (self.bin_began, self.bin_count) = (now, 0);
        }
    }

    /// Differences of successive steps (von Neumann) don't take a slow change of the rate for irregularity.
    fn end_bin(&mut self, width: f64) {
        let rate = self.bin_count as f64 / width;
        if let Some(last) = self.last_bin.replace(rate) {
            let keep = (-width / DISPERSION_MEMORY).exp();
            self.differences = self.differences * keep + 0.5 * (rate - last).powi(2) * width;
            self.means = self.means * keep + f64::midpoint(rate, last);
            self.bins = self.bins.saturating_add(1);
        }
    }

    /// Arrivals a second: the slow average, or the quick one when it is above that by more than chance explains.
    pub(crate) fn rate(&self) -> f64 {
        let Some(first) = self.first else { return 0.0 };
        let seen = self.at.saturating_sub(first).as_secs_f64();
        if seen < SETTLED {
            return self.fast;
        }
        // The average of what there was, without the zero it began with.
        let slow = self.slow / (1.0 - (-seen / self.slow_s).exp());
        let dispersion = self.dispersion().unwrap_or(1.0).max(LEAST_DISPERSION);
        let chance = DEVIATIONS * (dispersion * slow / self.fast_s).sqrt();
        if self.fast - slow > chance { self.fast } else { slow }
    }

    /// The variance of arrivals in a second over their mean: 1 for Poisson arrivals, about 0 for devices that send on
    /// a schedule. `None` until there is enough to judge by.
    pub(crate) fn dispersion(&self) -> Option<f64> {
        (self.bins >= LEAST_BINS && self.means > 0.0).then(|| self.differences / self.means)
    }

    /// Since when arrivals are looked at.
    pub(crate) fn first(&self) -> Option<Duration> {
        self.first
    }

    /// For how long nothing has come.
    pub(crate) fn idle(&self) -> Duration {
        self.at.saturating_sub(self.last_arrival)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::Random;

    const SLOW: Duration = Duration::from_secs(20);
    const FAST: Duration = Duration::from_secs(4);

    fn seconds(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    /// Looks each quarter of a second at arrivals of which `count` says how many there were until then.
    fn seen(until: f64, mut count: impl FnMut(f64) -> u64) -> Arrivals {
        let mut arrivals = Arrivals::new(SLOW, FAST);
        for look in 0..=(until * 4.0) as u64 {
            let now = look as f64 / 4.0;
            arrivals.see(count(now), seconds(now));
        }
        arrivals
    }

    fn poisson(rate: f64, until: f64, seed: u64) -> Arrivals {
        let (mut random, mut next, mut count) = (Random::new(seed), 0.0, 0);
        seen(until, |now| {
            while next <= now {
                next += random.exponential(1.0 / rate);
                count += 1;
            }
            count
        })
    }

    #[test]
    fn poisson_arrivals_have_a_dispersion_of_one_and_a_schedule_of_none() {
        let all: Vec<f64> =
            (0..20).filter_map(|seed| poisson(8.0, 300.0, seed).dispersion()).collect();
        let mean = all.iter().sum::<f64>() / all.len() as f64;
        assert!(all.len() == 20 && (0.85..1.15).contains(&mean), "{mean}");
        let schedule = seen(100.0, |now| (now * 5.0) as u64);
        assert!(schedule.dispersion().unwrap() < 0.05);
        assert_eq!(poisson(8.0, 5.0, 1).dispersion(), None);
    }

    #[test]
    fn a_jump_is_followed_quickly_and_chance_is_not() {
        let jump = |until| seen(until, |now| (now * 2.0 + (now - 60.0).max(0.0) * 10.0) as u64);
        assert!((1.9..2.1).contains(&jump(60.0).rate()));
        assert!(jump(64.0).rate() > 8.0, "{}", jump(64.0).rate());
        let rates = (0..50).map(|seed| poisson(8.0, 200.0, seed).rate());
        let within = rates.filter(|rate| (6.5..9.5).contains(rate)).count();
        assert!(within >= 48, "{within} of 50 within three deviations");
    }

    #[test]
    fn a_counter_that_begins_anew_and_a_time_that_goes_back_do_no_harm() {
        let mut arrivals = seen(30.0, |now| (now * 5.0) as u64);
        let before = arrivals.rate();
        arrivals.see(1000, seconds(29.0));
        assert_eq!(arrivals.rate().total_cmp(&before), std::cmp::Ordering::Equal);
        arrivals.see(0, seconds(30.25));
        arrivals.see(2, seconds(30.5));
        assert!(arrivals.rate() <= before && arrivals.rate() > 0.0);
        assert_eq!(arrivals.idle(), Duration::ZERO);
        arrivals.see(2, seconds(40.5));
        assert_eq!(arrivals.idle(), seconds(10.0));
    }
}
