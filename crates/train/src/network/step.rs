//! One layer of a network: forwards from its input's values to its output's, and backwards from the gradient of its
//! output to those of its input and its weights.

use std::ops::Range;

use model::random::Random;

use super::matrix::{Matrix, add_product, set_product};
use super::patches::Patches;

/// What a layer computes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Operation {
    /// Kernel: `[inputs, outputs]`, row-major.
    Dense {
        rectified: bool,
    },
    /// Kernel: `[rows, columns, channels in, channels out]`, row-major.
    Conv {
        patches: Patches,
        rectified: bool,
    },
    MaxPool(Patches),
    AveragePool(Patches),
    Dropout {
        rate: f32,
    },
}

/// A layer and where its weights are among those of the network.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Step {
    pub(crate) operation: Operation,
    /// The number of values of one sample.
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
    pub(crate) kernel: Range<usize>,
    pub(crate) bias: Range<usize>,
}

/// What a layer has to remember from its way forwards for its way back.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    /// Convolutions: the patches of all samples.
    patches: Vec<f32>,
    /// Largest of a window: where each output came from.
    places: Vec<u32>,
    /// Dropout: by what each value was multiplied.
    factors: Vec<f32>,
}

impl Step {
    /// Appends a layer with weights to a network that has `weights` so far.
    pub(crate) fn new(
        operation: Operation,
        inputs: usize,
        outputs: usize,
        weights: &mut usize,
    ) -> Step {
        let (kernel, bias) = match &operation {
            Operation::Dense { .. } => (inputs * outputs, outputs),
            Operation::Conv { patches, .. } => {
                let channels = outputs / patches.positions();
                (patches.len() * channels, channels)
            }
            _ => (0, 0),
        };
        let kernel = *weights..*weights + kernel;
        let bias = kernel.end..kernel.end + bias;
        *weights = bias.end;
        Step { operation, inputs, outputs, kernel, bias }
    }

    /// Draws the kernel as He et al. (2015) do, with half the variance where no rectifier follows. Biases are 0.
    pub(crate) fn draw(&self, weights: &mut [f32], random: &mut Random) {
        let (fan_in, rectified) = match &self.operation {
            Operation::Dense { rectified } => (self.inputs, *rectified),
            Operation::Conv { patches, rectified } => (patches.len(), *rectified),
            _ => return,
        };
        let variance = if rectified { 2.0 } else { 1.0 };
        let deviation = (variance / fan_in as f32).sqrt();
        weights[self.kernel.clone()].fill_with(|| deviation * random.normal());
    }

    /// Multiply-accumulates for one sample.
    pub(crate) fn operations(&self) -> usize {
        match &self.operation {
            Operation::Conv { patches, .. } => patches.positions() * self.kernel.len(),
            _ => self.kernel.len(),
        }
    }

    /// Rows and columns of the product that the layer is, for `count` samples: `[rows, length] · [length, columns]`.
    fn product(&self, count: usize) -> (usize, usize, usize) {
        match &self.operation {
            Operation::Conv { patches, .. } => {
                (count * patches.positions(), patches.len(), self.bias.len())
            }
            _ => (count, self.inputs, self.outputs),
        }
    }

    /// Computes the output of `count` samples. `random` is there while training.
    pub(crate) fn forward(
        &self,
        weights: &[f32],
        count: usize,
        input: &[f32],
        output: &mut [f32],
        memory: &mut Memory,
        random: Option<&mut Random>,
    ) {
        let (input, output) = (&input[..count * self.inputs], &mut output[..count * self.outputs]);
        match &self.operation {
            Operation::Dense { rectified } => {
                self.multiply(weights, count, input, output, *rectified);
            }
            Operation::Conv { patches, rectified } => {
                let len = patches.positions() * patches.len();
                memory.patches.resize(count * len, 0.0);
                let images = input.chunks_exact(self.inputs);
                for (image, own) in images.zip(memory.patches.chunks_exact_mut(len)) {
                    patches.gather(image, own);
                }
                self.multiply(weights, count, &memory.patches, output, *rectified);
            }
            Operation::MaxPool(patches) => {
                memory.places.resize(count * self.outputs, 0);
                let outputs = output.chunks_exact_mut(self.outputs);
                let places = memory.places.chunks_exact_mut(self.outputs);
                for ((image, output), places) in
                    input.chunks_exact(self.inputs).zip(outputs).zip(places)
                {
                    patches.largest(image, output, places);
                }
            }
            Operation::AveragePool(patches) => {
                let outputs = output.chunks_exact_mut(self.outputs);
                for (image, output) in input.chunks_exact(self.inputs).zip(outputs) {
                    patches.mean(image, output);
                }
            }
            Operation::Dropout { rate } => {
                let Some(random) = random else {
                    output.copy_from_slice(input);
                    return;
                };
                // Survivors are scaled, so that nothing is to be done when the network is used.
                let kept = 1.0 / (1.0 - rate);
                memory.factors.resize(input.len(), 0.0);
                memory
                    .factors
                    .fill_with(|| if random.between(0.0, 1.0) < *rate { 0.0 } else { kept });
                for ((output, input), factor) in output.iter_mut().zip(input).zip(&memory.factors) {
                    *output = input * factor;
                }
            }
        }
    }

    fn multiply(
        &self,
        weights: &[f32],
        count: usize,
        left: &[f32],
        output: &mut [f32],
        rectified: bool,
    ) {
        let (rows, len, columns) = self.product(count);
        for row in output.chunks_exact_mut(columns) {
            row.copy_from_slice(&weights[self.bias.clone()]);
        }
        let kernel = Matrix::new(&weights[self.kernel.clone()], len, columns);
        add_product(Matrix::new(left, rows, len), kernel, output);
        if rectified {
            for value in output {
                // Not `max`, which would make 0 of a number that is none and hide that training diverged.
                *value = if *value < 0.0 { 0.0 } else { *value };
            }
        }
    }

    /// Adds the gradient of the weights to `weight_gradient`, and that of the input to `input_gradient` if somebody
    /// wants it. `gradient` is that of the output; it is used up.
    #[expect(clippy::too_many_arguments, reason = "what the layer saw, did and is told")]
    pub(crate) fn backward(
        &self,
        weights: &[f32],
        count: usize,
        input: &[f32],
        output: &[f32],
        gradient: &mut [f32],
        memory: &mut Memory,
        weight_gradient: &mut [f32],
        input_gradient: Option<&mut [f32]>,
    ) {
        let gradient = &mut gradient[..count * self.outputs];
        let rectified = matches!(
            self.operation,
            Operation::Dense { rectified: true } | Operation::Conv { rectified: true, .. }
        );
        if rectified {
            for (gradient, output) in gradient.iter_mut().zip(output) {
                *gradient = if *output > 0.0 { *gradient } else { 0.0 };
            }
        }
        match &self.operation {
            Operation::Dense { .. } => {
                self.weight_gradient(count, input, gradient, weight_gradient);
                if let Some(sum) = input_gradient {
                    let (rows, len, columns) = self.product(count);
                    let kernel = Matrix::new(&weights[self.kernel.clone()], len, columns);
                    add_product(Matrix::new(gradient, rows, columns), kernel.transposed(), sum);
                }
            }
            Operation::Conv { patches, .. } => {
                self.weight_gradient(count, &memory.patches, gradient, weight_gradient);
                if let Some(sum) = input_gradient {
                    let (rows, len, columns) = self.product(count);
                    let kernel = Matrix::new(&weights[self.kernel.clone()], len, columns);
                    let gradient = Matrix::new(gradient, rows, columns);
                    // The patches have done their duty; their gradient takes their place.
                    set_product(gradient, kernel.transposed(), &mut memory.patches);
                    let own = memory.patches.chunks_exact(patches.positions() * patches.len());
                    for (own, image) in own.zip(sum.chunks_exact_mut(self.inputs)) {
                        patches.scatter(own, image);
                    }
                }
            }
            Operation::MaxPool(_) => {
                let Some(sum) = input_gradient else { return };
                let samples = gradient
                    .chunks_exact(self.outputs)
                    .zip(memory.places.chunks_exact(self.outputs))
                    .zip(sum.chunks_exact_mut(self.inputs));
                for ((gradient, places), image) in samples {
                    for (value, &place) in gradient.iter().zip(places) {
                        image[place as usize] += value;
                    }
                }
            }
            Operation::AveragePool(patches) => {
                let Some(sum) = input_gradient else { return };
                let samples =
                    gradient.chunks_exact(self.outputs).zip(sum.chunks_exact_mut(self.inputs));
                for (gradient, image) in samples {
                    patches.spread(gradient, image);
                }
            }
            Operation::Dropout { .. } => {
                let Some(sum) = input_gradient else { return };
                for ((sum, gradient), factor) in sum.iter_mut().zip(gradient).zip(&memory.factors) {
                    *sum += *gradient * factor;
                }
            }
        }
    }

    fn weight_gradient(&self, count: usize, left: &[f32], gradient: &[f32], sum: &mut [f32]) {
        let (rows, len, columns) = self.product(count);
        let left = Matrix::new(left, rows, len).transposed();
        add_product(left, Matrix::new(gradient, rows, columns), &mut sum[self.kernel.clone()]);
        let bias = &mut sum[self.bias.clone()];
        for row in gradient.chunks_exact(columns) {
            for (sum, value) in bias.iter_mut().zip(row) {
                *sum += value;
            }
        }
    }
}
