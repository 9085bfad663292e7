//! When devices are to send: open loops, whose times are known before anything is sent.
//!
//! Records are numbered in the order of their times. [`Schedule::due`] is what latencies count from.

use std::sync::Arc;
use std::time::Duration;

/// Records that one of the paper's devices sends.
pub const PAPER_RECORDS: u64 = 400;
/// Its stages: so many records a second, and how many of them.
const PAPER_STAGES: [(f64, u64); 4] = [(1.0, 100), (2.0, 100), (3.0, 100), (4.0, 100)];

/// When each record is to be sent, and by which device.
#[derive(Debug, Clone)]
pub enum Schedule {
    /// One after the other, as fast as it goes.
    AsFast,
    /// Evenly, so many a second of all devices together.
    Even {
        /// Records a second.
        rate: f64,
    },
    /// So many at once, and at this rate on average.
    Bursts {
        /// Records a second.
        rate: f64,
        /// Records at once.
        size: u64,
    },
    /// Each device goes through stages; all begin together.
    Stages {
        /// Records a second of one device, and how many of them, in each stage.
        stages: Arc<[(f64, u64)]>,
        /// Devices.
        devices: u64,
    },
}

/// The paper's stages.
pub fn paper_stages() -> Vec<(f64, u64)> {
    PAPER_STAGES.to_vec()
}

impl Schedule {
    /// So many a second, evenly; 0 as fast as it goes.
    pub fn even(rate: f64) -> Self {
        if rate > 0.0 { Self::Even { rate } } else { Self::AsFast }
    }

    /// The paper's, time going `scale` times as fast.
    pub fn paper(devices: u64, scale: f64) -> Self {
        let stages = PAPER_STAGES.iter().map(|(rate, records)| (rate * scale, *records));
        Self::Stages { stages: stages.collect(), devices }
    }

    /// How many records the schedule has, where it has an end.
    pub fn records(&self) -> Option<u64> {
        match self {
            Self::Stages { stages, devices } => {
                Some(stages.iter().map(|(_, records)| records).sum::<u64>() * devices)
            }
            _ => None,
        }
    }

    /// When a record is to be sent, after the start; none where it is when the one before has been.
    pub fn due(&self, number: u64) -> Option<Duration> {
        let seconds = match self {
            Self::AsFast => return None,
            Self::Even { rate } => number as f64 / rate,
            Self::Bursts { rate, size } => (number / size * size) as f64 / rate,
            Self::Stages { stages, devices } => {
                let (mut slot, mut at) = (number / devices, 0.0);
                for &(rate, records) in &**stages {
                    if slot < records {
                        return Some(Duration::from_secs_f64(at + slot as f64 / rate));
                    }
                    (slot, at) = (slot - records, at + records as f64 / rate);
                }
                at
            }
        };
        Some(Duration::from_secs_f64(seconds))
    }

    /// Seconds at which the rate changes, and the rate from then on, of all devices together.
    pub fn stages(&self) -> Vec<(f64, f64)> {
        match self {
            Self::AsFast => Vec::new(),
            Self::Even { rate } | Self::Bursts { rate, .. } => vec![(0.0, *rate)],
            Self::Stages { stages, devices } => {
                let mut at = 0.0;
                let begin = stages.iter().map(|&(rate, records)| {
                    let begin = at;
                    at += records as f64 / rate;
                    (begin, rate * *devices as f64)
                });
                begin.collect()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_even_schedule_is_even_and_bursts_are_not() {
        let even = Schedule::Even { rate: 100.0 };
        assert_eq!(even.due(0), Some(Duration::ZERO));
        assert_eq!(even.due(250), Some(Duration::from_millis(2500)));
        let bursts = Schedule::Bursts { rate: 100.0, size: 50 };
        let due: Vec<u128> =
            [0, 49, 50, 99, 100].map(|number| bursts.due(number).unwrap().as_millis()).into();
        assert_eq!(due, [0, 0, 500, 500, 1000]);
        assert_eq!(Schedule::AsFast.due(7), None);
    }

    /// A device of the paper sends for 208.3 seconds.
    #[test]
    fn the_papers_devices_speed_up_together() {
        let paper = Schedule::paper(5, 1.0);
        assert_eq!(paper.records(), Some(2000));
        let ms = |number| paper.due(number).unwrap().as_millis();
        assert_eq!((ms(4), ms(5), ms(499), ms(500)), (0, 1000, 99_000, 100_000));
        assert_eq!((ms(505), ms(1000), ms(1500), ms(1999)), (100_500, 150_000, 183_333, 208_083));
        let rates: Vec<f64> = paper.stages().into_iter().map(|(_, rate)| rate).collect();
        assert_eq!(rates, [5.0, 10.0, 15.0, 20.0]);
        assert_eq!(Schedule::paper(1, 10.0).due(399).unwrap().as_millis(), 20_808);
    }

    proptest! {
        #[test]
        fn times_never_go_back(devices in 1..20u64, scale in 0.1..50.0f64, number in 0..399u64) {
            let paper = Schedule::paper(devices, scale);
            prop_assert!(paper.due(number) <= paper.due(number + 1));
            let bursts = Schedule::Bursts { rate: scale, size: devices };
            prop_assert!(bursts.due(number) <= bursts.due(number + 1));
        }
    }
}
