//! A cascade on a set of samples, as counts: which bin of each exit's cuts a sample is in, and which exits get it
//! right.

/// The most tiers that can be calibrated together; counts are kept in arrays of this length.
pub const MAX_TIERS: usize = 8;

/// One cut of each exit before the last, by position; the rest of the array is unused.
pub(super) type Levels = [u16; MAX_TIERS];

/// The samples of a cascade, reduced to what thresholds can change.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Cascade {
    /// For each exit before the last, how many cuts each sample's score reaches. A sample leaves at level `i` if it is
    /// more than `i`.
    pub(super) bins: Vec<Vec<u16>>,
    /// For each exit before the last, the number of its cuts.
    pub(super) cuts: Vec<usize>,
    /// For each sample, a bit for each exit that gets it right, the first tier's lowest.
    pub(super) right: Vec<u8>,
}

/// What thresholds do to a set of samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Counts {
    /// How many samples reach each tier.
    pub(super) reach: [u32; MAX_TIERS],
    /// How many get a right answer.
    pub(super) right: u32,
    /// How many are harmed: see `super::guarantee`.
    pub(super) harmed: u32,
}

impl Cascade {
    pub(super) fn tiers(&self) -> usize {
        self.bins.len() + 1
    }

    pub(super) fn samples(&self) -> usize {
        self.right.len()
    }

    /// Whether the exit of tier `tier` gets sample `sample` right.
    pub(super) fn is_right(&self, sample: usize, tier: usize) -> bool {
        self.right[sample] >> tier & 1 == 1
    }

    /// Whether leaving at tier `tier` harms sample `sample`.
    pub(super) fn is_harmed(&self, sample: usize, tier: usize) -> bool {
        self.is_right(sample, self.tiers() - 1) && !self.is_right(sample, tier)
    }

    /// The tier that answers sample `sample`.
    pub(super) fn answered_by(&self, sample: usize, levels: &Levels) -> usize {
        let leaves = |(bins, &level): (&Vec<u16>, &u16)| bins[sample] > level;
        self.bins.iter().zip(levels).position(leaves).unwrap_or(self.bins.len())
    }

    /// What `levels` do, sample by sample: O(samples × tiers).
    pub(super) fn counts(&self, levels: &Levels) -> Counts {
        let mut counts = Counts::default();
        for sample in 0..self.samples() {
            let tier = self.answered_by(sample, levels);
            counts.reach[..=tier].iter_mut().for_each(|reach| *reach += 1);
            counts.right += u32::from(self.is_right(sample, tier));
            counts.harmed += u32::from(self.is_harmed(sample, tier));
        }
        counts
    }

    /// Those of the samples for which `keep` says so.
    pub(super) fn subset(&self, keep: &[bool]) -> Cascade {
        fn kept<T: Copy>(values: &[T], keep: &[bool]) -> Vec<T> {
            values.iter().zip(keep).filter(|(_, keep)| **keep).map(|(value, _)| *value).collect()
        }
        Cascade {
            bins: self.bins.iter().map(|bins| kept(bins, keep)).collect(),
            cuts: self.cuts.clone(),
            right: kept(&self.right, keep),
        }
    }
}
