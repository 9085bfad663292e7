//! What to train, and how.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::TrainError;

/// The layers of one tier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TierLayers {
    /// The tier's name.
    pub name: String,
    /// The widths of its hidden layers, before its exit.
    pub hidden: Vec<usize>,
}

/// The layers of all tiers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Topology {
    /// The paper's: 784-32 at the edge, 16 at the fog, nothing but an exit in the cloud.
    Paper,
    /// Tiers that grow: 784-64, 256-128, 512-256. The upper ones have something to add.
    Wide,
    /// Any other, from the first tier to the last.
    Tiers(Vec<TierLayers>),
}

/// The name is no [`Topology`].
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("topology `{0}` is unknown, expected `paper` or `wide`")]
pub struct UnknownTopology(String);

impl FromStr for Topology {
    type Err = UnknownTopology;

    fn from_str(name: &str) -> Result<Topology, UnknownTopology> {
        match name {
            "paper" => Ok(Topology::Paper),
            "wide" => Ok(Topology::Wide),
            _ => Err(UnknownTopology(name.to_owned())),
        }
    }
}

impl fmt::Display for Topology {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Topology::Paper => formatter.write_str("paper"),
            Topology::Wide => formatter.write_str("wide"),
            Topology::Tiers(tiers) => {
                let tiers: Vec<String> = tiers
                    .iter()
                    .map(|tier| {
                        let widths: Vec<String> =
                            tier.hidden.iter().map(ToString::to_string).collect();
                        format!("{}:{}", tier.name, widths.join("-"))
                    })
                    .collect();
                formatter.write_str(&tiers.join(","))
            }
        }
    }
}

impl Topology {
    /// The layers, from the first tier to the last.
    pub fn tiers(&self) -> Vec<TierLayers> {
        let tiers = |widths: [&[usize]; 3]| {
            ["edge", "fog", "cloud"]
                .iter()
                .zip(widths)
                .map(|(name, hidden)| TierLayers {
                    name: (*name).to_owned(),
                    hidden: hidden.to_owned(),
                })
                .collect()
        };
        match self {
            Topology::Paper => tiers([&[32], &[16], &[]]),
            Topology::Wide => tiers([&[64], &[256, 128], &[512, 256]]),
            Topology::Tiers(tiers) => tiers.clone(),
        }
    }
}

/// What to train, and how.
#[derive(Debug, Clone, PartialEq)]
pub struct Recipe {
    /// The layers of all tiers.
    pub topology: Topology,
    /// One name per class.
    pub labels: Vec<String>,
    /// How often each sample is seen.
    pub epochs: usize,
    /// How many samples are learnt from at a time.
    pub batch_size: usize,
    /// The first learning rate of Adam; it falls to 0 along a cosine.
    pub learning_rate: f64,
    /// Decoupled weight decay (Loshchilov and Hutter, 2019).
    pub weight_decay: f64,
    /// How much each exit's loss counts, from the first tier to the last.
    pub exit_weights: Vec<f64>,
    /// The most pixels by which a sample is shifted each time it is seen, either way along each
    /// axis.
    pub max_shift: usize,
    /// The threshold on max-softmax that the files of all tiers but the last carry.
    pub threshold: f64,
    /// Fixes the initial weights, the order of the samples and their shifts.
    pub seed: u64,
}

impl Recipe {
    /// The recipe for a topology on digits: a few minutes of training on two cores.
    pub fn new(topology: Topology) -> Recipe {
        let tiers = topology.tiers().len();
        // The last exit answers what no other could, so it counts most (after BranchyNet).
        let mut exit_weights = vec![0.5; tiers];
        if let Some(last) = exit_weights.last_mut() {
            *last = 1.0;
        }
        Recipe {
            topology,
            labels: (0..10).map(|digit| digit.to_string()).collect(),
            epochs: 30,
            batch_size: 128,
            learning_rate: 3e-3,
            weight_decay: 1e-2,
            exit_weights,
            // Images that are never quite where they were keep a network from learning them by heart.
            max_shift: 1,
            threshold: 0.8,
            seed: 1,
        }
    }

    pub(crate) fn check(&self) -> Result<(), TrainError> {
        let fail = |problem: String| Err(TrainError::Recipe(problem));
        let tiers = self.topology.tiers();
        if tiers.is_empty() {
            return fail("it has no tiers, expected at least one".to_owned());
        }
        if let Some(tier) = tiers.iter().find(|tier| tier.hidden.contains(&0)) {
            return fail(format!("tier `{}` has a layer of width 0", tier.name));
        }
        if self.labels.len() < 2 {
            return fail(format!("it has {} labels, expected two or more", self.labels.len()));
        }
        if self.exit_weights.len() != tiers.len() {
            return fail(format!(
                "it has {} exit weights, expected {}, one per tier",
                self.exit_weights.len(),
                tiers.len()
            ));
        }
        for (name, value) in [("epochs", self.epochs), ("batch_size", self.batch_size)] {
            if value == 0 {
                return fail(format!("{name} is 0, expected at least 1"));
            }
        }
        let rates = [("learning_rate", self.learning_rate), ("weight_decay", self.weight_decay)];
        let weights = self.exit_weights.iter().map(|&weight| ("an exit weight", weight));
        for (name, value) in rates.into_iter().chain(weights) {
            if !(value.is_finite() && value >= 0.0) {
                return fail(format!("{name} is {value}, expected a number from 0"));
            }
        }
        if !(0.0..=1.0).contains(&self.threshold) {
            return fail(format!("threshold {} is outside [0, 1]", self.threshold));
        }
        Ok(())
    }

    /// The recipe in words, for the metadata of the files.
    pub(crate) fn describe(&self, samples: usize) -> BTreeMap<String, String> {
        let weights: Vec<String> = self.exit_weights.iter().map(ToString::to_string).collect();
        [
            ("topology", self.topology.to_string()),
            ("samples", samples.to_string()),
            ("epochs", self.epochs.to_string()),
            ("batch_size", self.batch_size.to_string()),
            ("learning_rate", self.learning_rate.to_string()),
            ("weight_decay", self.weight_decay.to_string()),
            ("exit_weights", weights.join(",")),
            ("max_shift", self.max_shift.to_string()),
            ("seed", self.seed.to_string()),
        ]
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect()
    }
}
