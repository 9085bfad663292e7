//! What a record takes, estimated from outside.
//!
//! Nobody outside an instance sees when it is busy. But while more waits than the ready instances carry, all of them
//! are, and then what is completed in a time gives it: `ready × concurrency × seconds / completed`. So a measurement
//! runs from one move of the committed offsets to another at least a commit interval later, with a backlog
//! ([`Counts::waiting`]) and the same instances at every look in between. Outside of backlogs nothing is measured: the
//! last estimate holds, and before the first what was configured. So an estimate that is too short corrects itself, by the
//! backlog that comes of it, and one that is too long does not.
//!
//! It is a time of throughput: fetching, committing and the pauses of a group that shares its partitions out anew are
//! in it, as they should be. How much service times vary can't be seen; they are taken to vary as exponential ones do.

use std::time::Duration;

use autoscale::ServiceTimes;

use super::backlog::Counts;

/// Counters of what was completed and measured, as the policy takes them.
#[derive(Debug)]
pub(super) struct Service {
    commit: Duration,
    done: Option<u64>,
    /// Completed and not yet counted in `served`: what a measurement under way has seen.
    held: u64,
    measuring: Option<Measurement>,
    served: ServiceTimes,
}

#[derive(Debug, Clone, Copy)]
struct Measurement {
    began: Duration,
    servers: u32,
}

/// What came of a look.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Served {
    /// All that has been counted so far.
    pub(super) times: ServiceTimes,
    /// Whether that has changed with this look.
    pub(super) is_new: bool,
}

impl Service {
    /// Nothing has been seen of a group that commits this often.
    pub(super) fn new(commit: Duration) -> Self {
        let served = ServiceTimes::default();
        Self { commit, done: None, held: 0, measuring: None, served }
    }

    /// Takes a look, with how many records the ready instances carry at once.
    pub(super) fn see(&mut self, counts: &Counts, servers: u32, now: Duration) -> Served {
        let last = self.done.replace(counts.done).unwrap_or(counts.done);
        // An offset that was set back has nothing done.
        let done = counts.done.saturating_sub(last);
        self.held += done;
        let is_backlog = servers > 0 && counts.waiting > u64::from(servers);
        let went_on = self.measuring.filter(|measuring| is_backlog && measuring.servers == servers);
        let is_new = match went_on {
            Some(Measurement { began, .. }) => {
                let is_over = done > 0 && now.saturating_sub(began) >= self.commit;
                if is_over {
                    let seconds = now.saturating_sub(began).as_secs_f64() * f64::from(servers);
                    let more = ServiceTimes::of_unknown_spread(self.held, seconds);
                    self.served.seconds += more.seconds;
                    self.served.seconds_squared += more.seconds_squared;
                }
                is_over
            }
            // Completed outside of any measurement: counted, and not timed.
            None => self.held > 0,
        };
        if is_new {
            self.served.calls += std::mem::take(&mut self.held);
        }
        if went_on.is_none() || is_new {
            let begins = is_backlog && done > 0;
            self.measuring = begins.then_some(Measurement { began: now, servers });
        }
        Served { times: self.served, is_new }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMIT: Duration = Duration::from_secs(5);

    fn counts(done: u64, waiting: u64) -> Counts {
        Counts { arrivals: done + waiting, done, lag: waiting, waiting, partitions: 4 }
    }

    /// Looks once a second at `servers` that complete `rate` each, with commits every `commit` seconds.
    fn backlog(commit: u64, servers: u32, rate: u64, seconds: u64) -> ServiceTimes {
        let mut service = Service::new(COMMIT);
        let each = rate * u64::from(servers);
        let looks = (0..seconds).map(|second| {
            let counts = counts(second / commit * commit * each, 1_000_000);
            service.see(&counts, servers, Duration::from_secs(second)).times
        });
        looks.last().unwrap()
    }

    #[test]
    fn completions_in_a_backlog_give_the_time_of_each() {
        for (commit, servers, rate) in [(1, 1, 10), (5, 1, 10), (5, 7, 20), (3, 4, 1000)] {
            let mut last = ServiceTimes::default();
            let mut measured = 0;
            for seconds in 1..60 {
                let times = backlog(commit, servers, rate, seconds);
                let (calls, spent) = (times.calls - last.calls, times.seconds - last.seconds);
                if spent > 0.0 {
                    let mean = spent / calls as f64;
                    assert!((mean * rate as f64 - 1.0).abs() < 1e-9, "{commit} {servers}: {mean}");
                    measured += 1;
                }
                last = times;
            }
            assert!(measured > 5, "{commit} {servers}: {measured}");
        }
    }

    #[test]
    fn without_a_backlog_records_are_counted_and_not_timed() {
        let mut service = Service::new(COMMIT);
        for second in 0..20 {
            let times = service.see(&counts(second * 30, 2), 2, Duration::from_secs(second)).times;
            assert_eq!((times.calls, times.seconds.to_bits()), (second * 30, 0));
        }
    }

    #[test]
    fn a_change_of_the_instances_ends_a_measurement() {
        let mut service = Service::new(COMMIT);
        for second in 0..40 {
            let servers = 1 + (second / 4 % 2) as u32;
            let times = service.see(&counts(second * 10, 99), servers, Duration::from_secs(second));
            assert_eq!(times.times.seconds.to_bits(), 0);
        }
    }

    #[test]
    fn an_offset_that_is_set_back_is_nothing_done() {
        let mut service = Service::new(COMMIT);
        service.see(&counts(500, 0), 1, Duration::ZERO);
        let served = service.see(&counts(100, 400), 1, Duration::from_secs(1));
        assert_eq!((served.times.calls, served.is_new), (0, false));
    }
}
