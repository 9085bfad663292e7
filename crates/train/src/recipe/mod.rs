//! What to train, and how: a TOML file.
//!
//! ```toml
//! name = "two-tiers"
//! labels = ["cat", "dog"]
//! epochs = 20
//!
//! [input]
//! shape = [28, 28]            # rows, columns and, unless it is 1, channels; or the length of a vector
//! scale = 0.00392156862745098 # the network is fed x * scale + offset
//!
//! [[tier]]
//! name = "edge"
//! layers = [
//!     { kind = "conv", channels = 8, kernel = 5, stride = 2, padding = 2 },
//!     { kind = "exit" },
//!     { kind = "bottleneck", width = 4 },
//! ]
//!
//! [[tier]]
//! name = "cloud"
//! layers = [{ kind = "dense", width = 64 }, { kind = "exit" }]
//! ```
//!
//! | key | meaning | default |
//! |---|---|---|
//! | `name` | what the recipe is called | required |
//! | `labels` | one name per class | required |
//! | `epochs` | how often each sample is seen | required |
//! | `batch_size` | samples per step | 128 |
//! | `learning_rate` | AdamW's highest; it falls to 0 along a cosine | 0.002 |
//! | `warm_up_epochs` | over which it rises to that, linearly | 0 |
//! | `weight_decay` | decoupled, of weights but not of biases | 0.0001 |
//! | `seed` | fixes initial weights, order, augmentation and dropout | 1 |
//! | `validation` | the share of the data that is held out, from its end | 0.1 |
//! | `patience` | stop after as many epochs that did not improve, and keep the best | never |
//! | `input.shape` | of one sample | required |
//! | `input.scale`, `input.offset` | the network is fed `x * scale + offset` | 1, 0 |
//! | `augment.shift_pixels`, `.rotate_degrees`, `.scale` | the most by which an image changes each time it is seen | 0 |
//! | `distill.weight`, `.temperature` | how much the earlier exits learn from the last one, and how soft it is | none, 2 |
//! | `tier.name` | the file's name | required |
//! | `tier.exit_weight` | how much the exit's loss counts | 1 |
//! | `tier.threshold` | max-softmax from which a sample leaves; not for the last tier | 0.9 |
//! | `tier.layers` | see [`Layer`]; exactly one is the exit | required |

mod layer;
mod read;

use std::collections::BTreeMap;
use std::num::NonZeroUsize;

pub use layer::{Layer, Pooling, Shape, Window};
pub use tables::{Invalid, Problem};

/// What to train, and how. Valid by construction: there is no other way to one than [`parse`](Self::parse).
#[derive(Debug, Clone, PartialEq)]
pub struct Recipe {
    pub(crate) name: String,
    pub(crate) labels: Vec<String>,
    pub(crate) epochs: usize,
    pub(crate) batch_size: usize,
    pub(crate) learning_rate: f64,
    pub(crate) warm_up_epochs: usize,
    pub(crate) weight_decay: f64,
    pub(crate) seed: u64,
    pub(crate) validation: f64,
    pub(crate) patience: Option<usize>,
    pub(crate) input: Input,
    pub(crate) augmentation: Augmentation,
    pub(crate) distillation: Option<Distillation>,
    pub(crate) tiers: Vec<TierRecipe>,
}

/// How samples are fed to the network.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Input {
    pub(crate) shape: Vec<usize>,
    pub(crate) scale: f32,
    pub(crate) offset: f32,
}

/// The most by which an image is changed each time it is seen.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Augmentation {
    /// Whole pixels, either way along each axis.
    pub(crate) shift_pixels: usize,
    pub(crate) rotate_degrees: f32,
    /// 0.1: from a tenth smaller to a tenth larger.
    pub(crate) scale: f32,
}

/// How the earlier exits learn from the last one (Hinton et al., 2015; Phuong and Lampert, 2019).
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Distillation {
    /// The share of an earlier exit's loss that is its divergence from the last exit, rather than
    /// from the labels.
    pub(crate) weight: f32,
    /// Divides the logits of both.
    pub(crate) temperature: f32,
}

/// One tier: its layers from the input on, one of which is the exit.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TierRecipe {
    pub(crate) name: String,
    pub(crate) layers: Vec<Layer>,
    pub(crate) exit_weight: f32,
    /// None for the last tier.
    pub(crate) threshold: Option<f64>,
}

impl Recipe {
    /// Reads the text of a recipe.
    ///
    /// # Errors
    ///
    /// All problems of the text at once, each with its line, key, value and what was expected.
    pub fn parse(text: &str) -> Result<Recipe, Invalid> {
        read::recipe(text)
    }

    /// The same recipe with another number of epochs.
    #[must_use]
    pub fn with_epochs(self, epochs: NonZeroUsize) -> Recipe {
        // A warm-up that leaves no epoch to learn in would end in a learning rate of 0 at its top.
        let warm_up_epochs = self.warm_up_epochs.min(epochs.get() - 1);
        Recipe { epochs: epochs.get(), warm_up_epochs, ..self }
    }

    /// The same recipe with another seed.
    #[must_use]
    pub fn with_seed(self, seed: u64) -> Recipe {
        Recipe { seed, ..self }
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How often each sample is seen, at most.
    pub fn epochs(&self) -> usize {
        self.epochs
    }

    /// What fixes every random choice of a training run.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// One name per class.
    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// The shape of one sample.
    pub fn input_shape(&self) -> &[usize] {
        &self.input.shape
    }

    /// The names of the tiers, in order.
    pub fn tier_names(&self) -> impl Iterator<Item = &str> {
        self.tiers.iter().map(|tier| tier.name.as_str())
    }

    /// How many of `samples` are held out for validation, from their end.
    pub fn held_out(&self, samples: usize) -> usize {
        (self.validation * samples as f64).round() as usize
    }

    /// The recipe in words, for the metadata of the files.
    pub(crate) fn describe(&self) -> BTreeMap<String, String> {
        let each = |value: &dyn Fn(&TierRecipe) -> String| {
            self.tiers.iter().map(value).collect::<Vec<_>>().join("; ")
        };
        let layers = each(&|tier: &TierRecipe| {
            let layers: Vec<String> = tier.layers.iter().map(ToString::to_string).collect();
            format!("{}: {}", tier.name, layers.join(", "))
        });
        let mut words = BTreeMap::from([
            ("recipe", self.name.clone()),
            ("layers", layers),
            ("exit_weights", each(&|tier: &TierRecipe| tier.exit_weight.to_string())),
            ("epochs", self.epochs.to_string()),
            ("batch_size", self.batch_size.to_string()),
            ("learning_rate", self.learning_rate.to_string()),
            ("warm_up_epochs", self.warm_up_epochs.to_string()),
            ("weight_decay", self.weight_decay.to_string()),
            ("seed", self.seed.to_string()),
        ]);
        let Augmentation { shift_pixels, rotate_degrees, scale } = self.augmentation;
        words.insert(
            "augmentation",
            format!("shift {shift_pixels} pixels, rotate {rotate_degrees} degrees, scale {scale}"),
        );
        if let Some(Distillation { weight, temperature }) = self.distillation {
            words.insert("distillation", format!("weight {weight}, temperature {temperature}"));
        }
        if let Some(patience) = self.patience {
            words.insert("patience", patience.to_string());
        }
        words.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
    }
}
