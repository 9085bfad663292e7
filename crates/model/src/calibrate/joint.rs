//! Every pair of thresholds of a cascade of up to three tiers, in O(1) each.
//!
//! Samples are counted by the bins of their two scores. For the cuts `(i, j)` a sample leaves at the first tier if its
//! first bin is more than `i`, else at the second if its second bin is more than `j`, else at the third. With prefix
//! sums over the cells `a ≤ i, b ≤ j`
//!
//! ```text
//! N(i,j)  samples            D(i,j)  right at the second less right at the third       H(i,j)  harmed at the second
//! reach₂ = N(i,∞)            right  = right₁ above i + right₂ up to i − D(i,j)
//! reach₃ = N(i,j)            harmed = harmed₁ above i + H(i,∞) − H(i,j)
//! ```
//!
//! so that after O(samples + cuts²) any pair costs a few additions. A cascade of two tiers is one of three whose third
//! is never reached: its second tier has a single cut, below everything.

use super::cascade::{Cascade, Counts, Levels};

/// The joint histogram of a cascade of two or three tiers.
#[derive(Debug)]
pub(super) struct Joint {
    tiers: usize,
    samples: u32,
    cuts: (usize, usize),
    /// `(cuts.0 + 1) × (cuts.1 + 1)` prefix sums, row by row: `[samples, right₂ − right₃, harmed₂]`.
    prefix: Vec<[i32; 3]>,
    /// By first bin: right at the second tier up to it, right and harmed at the first tier above it.
    rows: Vec<[i32; 3]>,
}

impl Joint {
    /// The histogram of `cascade`, or `None` where it has another number of tiers.
    pub(super) fn new(cascade: &Cascade) -> Option<Joint> {
        let tiers = cascade.tiers();
        let cuts = match cascade.cuts[..] {
            [first] => (first, 0),
            [first, second] => (first, second),
            _ => return None,
        };
        let width = cuts.1 + 1;
        let mut prefix = vec![[0; 3]; (cuts.0 + 1) * width];
        let mut rows = vec![[0; 3]; cuts.0 + 1];
        for sample in 0..cascade.samples() {
            let first = usize::from(cascade.bins[0][sample]);
            let second = cascade.bins.get(1).map_or(0, |bins| usize::from(bins[sample]));
            let right = |tier: usize| i32::from(cascade.is_right(sample, tier));
            let harmed = |tier: usize| i32::from(cascade.is_harmed(sample, tier));
            let cell = &mut prefix[first * width + second];
            cell[0] += 1;
            cell[1] += right(1) - right(tiers - 1);
            cell[2] += harmed(1);
            rows[first][0] += right(1);
            rows[first][1] += right(0);
            rows[first][2] += harmed(0);
        }
        accumulate(&mut prefix, width);
        accumulate_rows(&mut rows);
        Some(Joint { tiers, samples: cascade.samples() as u32, cuts, prefix, rows })
    }

    /// What the cuts at `levels` do.
    pub(super) fn counts(&self, levels: &Levels) -> Counts {
        self.at(usize::from(levels[0]), usize::from(levels[1]))
    }

    fn at(&self, first: usize, second: usize) -> Counts {
        let width = self.cuts.1 + 1;
        let whole = self.prefix[first * width + width - 1];
        let cell = if self.tiers == 2 { [0; 3] } else { self.prefix[first * width + second] };
        let [right_second, right_first, harmed_first] = self.rows[first];
        let mut counts = Counts {
            right: (right_first + right_second - cell[1]) as u32,
            harmed: (harmed_first + whole[2] - cell[2]) as u32,
            ..Counts::default()
        };
        counts.reach[..3].copy_from_slice(&[self.samples, whole[0] as u32, cell[0] as u32]);
        counts
    }

    /// Calls `visit` with every pair of cuts and what it does.
    pub(super) fn for_each(&self, mut visit: impl FnMut(Levels, &Counts)) {
        for first in 0..self.cuts.0 {
            for second in 0..self.cuts.1.max(1) {
                let mut levels = Levels::default();
                levels[0] = first as u16;
                levels[1] = second as u16;
                visit(levels, &self.at(first, second));
            }
        }
    }
}

/// Turns counts by cell into sums over all cells up to each, along both axes.
fn accumulate(cells: &mut [[i32; 3]], width: usize) {
    for row in cells.chunks_exact_mut(width) {
        for at in 1..width {
            row[at] = sum(row[at], row[at - 1]);
        }
    }
    for at in width..cells.len() {
        cells[at] = sum(cells[at], cells[at - width]);
    }
}

fn sum(a: [i32; 3], b: [i32; 3]) -> [i32; 3] {
    [a[0] + b[0], a[1] + b[1], a[2] + b[2]]
}

/// Turns `[right₂, right₁, harmed₁]` by bin into right₂ up to each bin, and the others above it.
fn accumulate_rows(rows: &mut [[i32; 3]]) {
    let mut right_second = 0;
    for row in &mut *rows {
        right_second += row[0];
        row[0] = right_second;
    }
    let mut above = [0; 2];
    for row in rows.iter_mut().rev() {
        let own = [row[1], row[2]];
        row[1..].copy_from_slice(&above);
        above[0] += own[0];
        above[1] += own[1];
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Any cascade of `tiers` tiers with few cuts.
    pub(in super::super) fn cascades(tiers: usize) -> impl Strategy<Value = Cascade> {
        let sample = (prop::collection::vec(0u16..=6, tiers - 1), any::<u8>());
        prop::collection::vec(sample, 0..120).prop_map(move |samples| Cascade {
            bins: (0..tiers - 1)
                .map(|tier| samples.iter().map(|(bins, _)| bins[tier]).collect())
                .collect(),
            cuts: vec![6; tiers - 1],
            right: samples.iter().map(|&(_, right)| right).collect(),
        })
    }

    proptest! {
        #[test]
        fn every_pair_of_cuts_does_what_counting_the_samples_says(
            two in cascades(2), three in cascades(3),
        ) {
            for cascade in [two, three] {
                let joint = Joint::new(&cascade).unwrap();
                let mut visited = 0;
                joint.for_each(|levels, counts| {
                    visited += 1;
                    assert_eq!(*counts, cascade.counts(&levels), "{levels:?}");
                    assert_eq!(*counts, joint.counts(&levels));
                });
                prop_assert_eq!(visited, 6usize.pow(cascade.tiers() as u32 - 1));
            }
        }
    }
}
