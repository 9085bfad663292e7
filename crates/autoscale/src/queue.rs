//! Waiting in a queue with several servers.

/// The probability that a record has to wait at all: Erlang's C formula, for Poisson arrivals and exponential service.
///
/// `offered` is the load in servers: arrivals a second × seconds of service. By the recursion of Erlang's B formula,
/// which neither over- nor underflows. 1 where the load is not below the servers.
pub fn erlang_c(servers: u32, offered: f64) -> f64 {
    let count = f64::from(servers);
    // Not a number is not below either.
    if offered.is_nan() || offered >= count {
        return 1.0;
    }
    if offered <= 0.0 {
        return 0.0;
    }
    let mut blocked = 1.0;
    for server in 1..=servers {
        blocked = offered * blocked / (f64::from(server) + offered * blocked);
    }
    (count * blocked / (count - offered * (1.0 - blocked))).clamp(0.0, 1.0)
}

/// What is to be served.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Flow {
    /// Arrivals a second.
    pub rate: f64,
    /// Mean seconds of service.
    pub service: f64,
    /// How much both vary: (c²ₐ + c²ₛ) / 2, where c²ₐ is the variance of arrivals in a time over their mean, and c²ₛ the
    /// variance of service times over the square of their mean. 1 for Poisson arrivals and exponential times.
    pub variability: f64,
}

impl Flow {
    /// The load in servers.
    pub fn offered(&self) -> f64 {
        self.rate * self.service
    }

    /// The share of records that wait longer than `wait` seconds: `C(c, a) · exp(-(cμ - λ) · wait / v)`.
    ///
    /// Exact for v = 1; otherwise the exponential of heavy traffic, with the variability as Allen and Cunneen have it
    /// (Whitt, "Approximations for the GI/G/m queue", 1993).
    pub fn late_share(&self, servers: u32, wait: f64) -> f64 {
        let spare = f64::from(servers) - self.offered();
        if spare.is_nan() || spare <= 0.0 {
            return 1.0;
        }
        let exponent = spare / self.service.max(1e-9) * wait / self.variability.max(1e-9);
        // Erlang's formula takes a step for each server, and cannot make much of this more.
        if exponent > 40.0 { 0.0 } else { erlang_c(servers, self.offered()) * (-exponent).exp() }
    }

    /// The fewest servers, in steps of `step`, with which at most `share` of the records wait longer than `wait`
    /// seconds; `most` if more are needed.
    pub fn servers_for(&self, wait: f64, share: f64, step: u32, most: u32) -> u32 {
        let step = step.max(1);
        let least = (self.offered() / f64::from(step)).floor() as u32;
        let mut servers = least.saturating_add(1).saturating_mul(step).min(most);
        while servers < most && self.late_share(servers, wait) > share {
            servers = servers.saturating_add(step).min(most);
        }
        servers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn erlang_c_has_its_known_values() {
        for (servers, offered, expected) in [
            (1, 0.5, 0.5),
            (2, 1.0, 1.0 / 3.0),
            (3, 2.0, 4.0 / 9.0),
            (10, 8.0, 0.409_180),
            (100, 90.0, 0.216_940),
        ] {
            let found = erlang_c(servers, offered);
            assert!((found - expected).abs() < 1e-5, "C({servers}, {offered}) = {found}");
        }
        assert_eq!((erlang_c(2, 2.0), erlang_c(2, f64::NAN), erlang_c(2, 0.0)), (1.0, 1.0, 0.0));
        assert!(erlang_c(1000, 999.0) > 0.9 && erlang_c(1000, 500.0) < 1e-9);
    }

    /// The values of `M/M/c` by which the policy was chosen.
    #[test]
    fn servers_for_a_wait_are_those_of_the_literature() {
        let flow = |rate, service| Flow { rate, service, variability: 1.0 };
        assert_eq!(flow(20.0, 0.15).servers_for(0.1, 0.01, 1, 100), 7);
        assert_eq!(flow(20.0, 0.15).servers_for(0.5, 0.01, 1, 100), 5);
        assert_eq!(flow(2000.0, 0.0005).servers_for(0.1, 0.01, 1, 100), 2);
    }

    #[test]
    fn what_varies_less_needs_fewer() {
        let servers = |variability| {
            Flow { rate: 20.0, service: 0.15, variability }.servers_for(0.1, 0.01, 1, 100)
        };
        assert_eq!((servers(0.0), servers(0.25), servers(1.0)), (4, 5, 7));
    }
}
