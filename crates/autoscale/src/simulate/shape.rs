//! Loads, and the cluster that they come to.

use std::time::Duration;

use super::random::Random;

/// When records arrive.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Shape {
    /// The paper's benchmark: each device sends 100 records and waits a second after each, then 100 waiting half a
    /// second, then a third, then a quarter. Devices begin within one second of each other, as processes that a shell
    /// starts in a loop.
    Ramp {
        /// Devices.
        devices: u32,
        /// What sending takes beside the wait, evenly distributed up to this. The paper's took 12 to 50 ms.
        overhead: Duration,
    },
    /// Poisson arrivals, by turns at a low and a high rate.
    Bursts {
        /// Records a second of the first turn.
        low: f64,
        /// Records a second of the second turn.
        high: f64,
        /// Length of a turn.
        turn: Duration,
        /// Length of it all.
        length: Duration,
    },
    /// Poisson arrivals at one rate.
    Steady {
        /// Records a second.
        rate: f64,
        /// Length of it all.
        length: Duration,
    },
}

/// A load and what it comes to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scenario {
    /// When records arrive.
    pub shape: Shape,
    /// Mean time of a call.
    pub service: Duration,
    /// Its standard deviation over its mean; 0 has each call take the same. Times are log-normal.
    pub service_variation: f64,
    /// How long an instance takes to start.
    pub cold_start: Duration,
    /// What is random follows from it.
    pub seed: u64,
}

/// The paper's `mnist.py bench`.
const RAMP_STAGES: u32 = 4;
const RAMP_RECORDS: u32 = 100;

impl Scenario {
    /// The paper's ramp to a function that takes 150 ms.
    pub fn ramp(devices: u32) -> Self {
        let shape = Shape::Ramp { devices, overhead: Duration::ZERO };
        Self::of(shape, Duration::from_millis(150))
    }

    /// 2 and 12 records a second by turns of 40 s, for ten minutes, to a function that takes 300 ms.
    pub fn bursts() -> Self {
        let (turn, length) = (Duration::from_secs(40), Duration::from_secs(600));
        let shape = Shape::Bursts { low: 2.0, high: 12.0, turn, length };
        Self::of(shape, Duration::from_millis(300))
    }

    /// 8 records a second for a quarter of an hour.
    pub fn steady(service: Duration) -> Self {
        Self::of(Shape::Steady { rate: 8.0, length: Duration::from_secs(900) }, service)
    }

    /// Calls that all take the same, and instances that start as processes do.
    fn of(shape: Shape, service: Duration) -> Self {
        let cold_start = Duration::from_millis(50);
        Self { shape, service, service_variation: 0.0, cold_start, seed: 0 }
    }
}

impl Shape {
    /// Seconds at which records arrive, in order.
    pub fn arrivals(&self, random: &mut Random) -> Vec<f64> {
        let mut times = match *self {
            Self::Ramp { devices, overhead } => ramp(devices, overhead.as_secs_f64(), random),
            Self::Bursts { low, high, turn, length } => {
                let turn = turn.as_secs_f64();
                let rate =
                    |at: f64| if ((at / turn) as u64).is_multiple_of(2) { low } else { high };
                poisson(low.max(high), length, rate, random)
            }
            Self::Steady { rate, length } => poisson(rate, length, |_| rate, random),
        };
        times.sort_by(f64::total_cmp);
        times
    }
}

fn ramp(devices: u32, overhead: f64, random: &mut Random) -> Vec<f64> {
    let mut times = Vec::new();
    for _ in 0..devices {
        let mut at = random.unit();
        for stage in 1..=RAMP_STAGES {
            for _ in 0..RAMP_RECORDS {
                times.push(at);
                at += 1.0 / f64::from(stage) + overhead * random.unit();
            }
        }
    }
    times
}

/// Poisson arrivals at a rate that changes, by thinning those at the highest (Lewis and Shedler, 1979).
fn poisson(
    highest: f64,
    length: Duration,
    rate: impl Fn(f64) -> f64,
    random: &mut Random,
) -> Vec<f64> {
    let (mut times, mut at) = (Vec::new(), 0.0);
    if highest <= 0.0 {
        return times;
    }
    loop {
        at += random.exponential(1.0 / highest);
        if at >= length.as_secs_f64() {
            return times;
        }
        if random.unit() * highest < rate(at) {
            times.push(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ramp_is_the_papers() {
        let shape = Shape::Ramp { devices: 5, overhead: Duration::ZERO };
        let times = shape.arrivals(&mut Random::new(1));
        let in_stage = |from, to| times.iter().filter(|at| (from..to).contains(*at)).count();
        assert_eq!(times.len(), 2000);
        assert_eq!((in_stage(10.0, 20.0), in_stage(110.0, 120.0)), (50, 100));
        assert_eq!((in_stage(160.0, 170.0), in_stage(190.0, 200.0)), (150, 200));
        // 100 s, 50 s, 33.3 s and 25 s, up to a second of difference between devices.
        assert!((207.0..209.4).contains(&times[1999]), "{}", times[1999]);
    }

    #[test]
    fn poisson_arrivals_have_their_rates() {
        let length = Duration::from_secs(8000);
        let turn = Duration::from_secs(40);
        let bursts = Shape::Bursts { low: 2.0, high: 12.0, turn, length };
        let times = bursts.arrivals(&mut Random::new(3));
        let high = times.iter().filter(|at| (*at / 40.0) as u64 % 2 == 1).count() as f64;
        assert!((47_000.0..49_000.0).contains(&high), "{high}");
        assert!((7600.0..8400.0).contains(&(times.len() as f64 - high)));
        let none = Shape::Steady { rate: 0.0, length };
        assert!(none.arrivals(&mut Random::new(3)).is_empty());
    }
}
