//! The network under training.

use candle_core::{D, Device, Tensor, Var};
use model::dataset::Dataset;
use model::random::Random;
use model::{Dense, DenseTier};

use crate::{Recipe, TrainError};

/// Raw values of 0 to 255 are learnt from, and later run, as 0 to 1.
pub(crate) const INPUT_SCALE: f32 = 1.0 / 255.0;

/// How many validation samples are run at a time.
const VALIDATION_BATCH: usize = 1000;

/// A multi-exit network: one chain of layers, with an exit at the end of each tier.
pub(crate) struct Network {
    tiers: Vec<TierVariables>,
}

struct TierVariables {
    hidden: Vec<Layer>,
    exit: Layer,
}

struct Layer {
    /// `[inputs, outputs]`
    kernel: Var,
    /// `[outputs]`
    bias: Var,
}

impl Layer {
    /// Kernels as He et al. (2015) draw them for rectifiers, biases of 0.
    fn new(inputs: usize, outputs: usize, random: &mut Random) -> Result<Layer, TrainError> {
        let deviation = (2.0 / inputs as f32).sqrt();
        let kernel = (0..inputs * outputs).map(|_| deviation * random.normal()).collect::<Vec<_>>();
        let kernel = Tensor::from_vec(kernel, (inputs, outputs), &Device::Cpu)?;
        let bias = Tensor::zeros(outputs, candle_core::DType::F32, &Device::Cpu)?;
        Ok(Layer { kernel: Var::from_tensor(&kernel)?, bias: Var::from_tensor(&bias)? })
    }

    fn forward(&self, input: &Tensor) -> Result<Tensor, TrainError> {
        Ok(input.matmul(&self.kernel)?.broadcast_add(&self.bias)?)
    }

    fn weights(&self) -> Result<Dense, TrainError> {
        Ok(Dense { kernel: self.kernel.flatten_all()?.to_vec1()?, bias: self.bias.to_vec1()? })
    }
}

impl Network {
    pub(crate) fn new(
        recipe: &Recipe,
        inputs: usize,
        random: &mut Random,
    ) -> Result<Network, TrainError> {
        let mut width = inputs;
        let mut tiers = Vec::new();
        for tier in recipe.topology.tiers() {
            let mut hidden = Vec::new();
            for outputs in tier.hidden {
                hidden.push(Layer::new(width, outputs, random)?);
                width = outputs;
            }
            let exit = Layer::new(width, recipe.labels.len(), random)?;
            tiers.push(TierVariables { hidden, exit });
        }
        Ok(Network { tiers })
    }

    pub(crate) fn variables(&self) -> Vec<Var> {
        self.tiers
            .iter()
            .flat_map(|tier| tier.hidden.iter().chain([&tier.exit]))
            .flat_map(|layer| [layer.kernel.clone(), layer.bias.clone()])
            .collect()
    }

    /// The logits of every exit, each `[n, classes]`.
    fn exits(&self, inputs: &Tensor) -> Result<Vec<Tensor>, TrainError> {
        let mut features = inputs.clone();
        let mut exits = Vec::with_capacity(self.tiers.len());
        for tier in &self.tiers {
            for layer in &tier.hidden {
                features = layer.forward(&features)?.relu()?;
            }
            exits.push(tier.exit.forward(&features)?);
        }
        Ok(exits)
    }

    /// The weighted sum of the exits' cross entropies, averaged over the batch.
    pub(crate) fn loss(
        &self,
        inputs: &Tensor,
        labels: &Tensor,
        exit_weights: &[f64],
    ) -> Result<Tensor, TrainError> {
        let mut total = Tensor::zeros((), candle_core::DType::F32, &Device::Cpu)?;
        for (logits, &weight) in self.exits(inputs)?.iter().zip(exit_weights) {
            total = (total + (candle_nn::loss::cross_entropy(logits, labels)? * weight)?)?;
        }
        Ok(total)
    }

    /// The share of samples that each exit classifies correctly; empty for an empty dataset.
    pub(crate) fn accuracy(
        &self,
        recipe: &Recipe,
        dataset: &Dataset,
    ) -> Result<Vec<f64>, TrainError> {
        if dataset.is_empty() {
            return Ok(Vec::new());
        }
        let mut correct = vec![0usize; recipe.topology.tiers().len()];
        for start in (0..dataset.len()).step_by(VALIDATION_BATCH) {
            let end = dataset.len().min(start + VALIDATION_BATCH);
            let shape = (end - start, dataset.sample_len());
            let values = dataset.values(start..end);
            let inputs = Tensor::from_vec(values, shape, &Device::Cpu)?;
            let inputs = (inputs * f64::from(INPUT_SCALE))?;
            for (correct, logits) in correct.iter_mut().zip(self.exits(&inputs)?) {
                let predicted = logits.argmax(D::Minus1)?.to_vec1::<u32>()?;
                let labels = &dataset.labels[start..end];
                *correct += predicted
                    .iter()
                    .zip(labels)
                    .filter(|&(&predicted, &label)| predicted == u32::from(label))
                    .count();
            }
        }
        Ok(correct.iter().map(|&correct| correct as f64 / dataset.len() as f64).collect())
    }

    /// The weights of each tier.
    pub(crate) fn weights(&self) -> Result<Vec<DenseTier>, TrainError> {
        self.tiers
            .iter()
            .enumerate()
            .map(|(at, tier)| {
                Ok(DenseTier {
                    hidden: tier.hidden.iter().map(Layer::weights).collect::<Result<_, _>>()?,
                    exit: tier.exit.weights()?,
                    forwards: at + 1 < self.tiers.len(),
                })
            })
            .collect()
    }
}
