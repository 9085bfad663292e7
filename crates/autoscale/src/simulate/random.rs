//! Random numbers that are the same everywhere.

/// `SplitMix64` (Steele, Lea and Flood, 2014): what it gives for a seed depends on no library's version.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// Numbers that follow from a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Evenly distributed from 0 up to but not including 1.
    pub fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Exponentially distributed with this mean.
    pub fn exponential(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.unit()).ln()
    }

    /// Log-normally distributed with this mean and this coefficient of variation.
    pub fn log_normal(&mut self, mean: f64, variation: f64) -> f64 {
        let variance = (1.0 + variation * variation).ln();
        let (radius, angle) = (self.exponential(2.0).sqrt(), std::f64::consts::TAU * self.unit());
        mean * (variance.sqrt() * radius * angle.cos() - variance / 2.0).exp()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_distributions_have_their_means_and_variations() {
        let mut random = Random::new(1);
        let mut moments = |draw: &mut dyn FnMut(&mut Random) -> f64| {
            let values: Vec<f64> = (0..100_000).map(|_| draw(&mut random)).collect();
            let mean = values.iter().sum::<f64>() / values.len() as f64;
            let square =
                values.iter().map(|value| value * value).sum::<f64>() / values.len() as f64;
            (mean, (square / (mean * mean) - 1.0).sqrt())
        };
        let near = |found: (f64, f64), expected: (f64, f64)| {
            let (mean, variation) = (found.0 / expected.0, found.1 / expected.1);
            assert!((0.98..1.02).contains(&mean) && (0.97..1.03).contains(&variation), "{found:?}");
        };
        near(moments(&mut Random::unit), (0.5, 1.0 / 3f64.sqrt()));
        near(moments(&mut |random| random.exponential(2.0)), (2.0, 1.0));
        near(moments(&mut |random| random.log_normal(0.15, 0.5)), (0.15, 0.5));
    }
}
