//! Runs a sub-model on samples.
//!
//! tract compiles a network for one batch size at a time: with the size known it picks its
//! kernels and lays out its buffers ahead. Any number of samples is cut into batches of
//! [`BATCH_SIZES`], largest first. A plan is compiled when it is first needed and shared by all
//! engines of the sub-model while any of them lives; when the last engine is dropped, so is the
//! memory of all plans. Batches are kept small enough for their activations to fit in a cache, and are of one sample
//! where more would not be faster ([`gains_by_batches`]).
//!
//! ONNX Runtime takes any number of samples as one batch, through a session for each engine.
//!
//! A sample's result does not depend on the samples beside it.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use tract_onnx::prelude::*;
use tract_onnx::tract_core::ops::cnn::Conv;
use tract_onnx::tract_core::plan::SimpleState;
use tract_onnx::tract_hir::internal::TractErrorContext;

use crate::onnx::check::Signature;
use crate::onnx_runtime::Session;
use crate::sub_model::{BatchGraph, OutputShapes, guarded};
use crate::{Metadata, ModelError, SubModel};

/// The batch sizes that plans are compiled for, ascending.
const BATCH_SIZES: [usize; 7] = [1, 2, 4, 8, 16, 32, 64];

/// The most values that the largest activation of a batch may have, unless one sample alone has
/// more: 128 KiB. Allocators fetch what is larger from the kernel and give it back, each time: with
/// 784 inputs a batch of 64 took three times as long per sample as one of 32. It also keeps a batch
/// in the processor's cache, and a network of large images within a small machine's memory.
const MAX_BATCH_ELEMENTS: usize = 1 << 15;

/// The most weights of a network that convolves whose samples are run one at a time: 1 MiB. More are no longer in the
/// cache for the next sample, and are better read once for many.
const MAX_CACHED_WEIGHTS: usize = 1 << 18;

type Plan = TypedRunnableModel;
type State = SimpleState<TypedFact, Box<dyn TypedOp>>;
/// One per batch size, from its first use.
type States = [Option<State>; BATCH_SIZES.len()];

/// The results for some samples, in their order.
#[derive(Debug, Clone, PartialEq)]
pub struct Output {
    /// The number of samples.
    pub samples: usize,
    /// The number of classes.
    pub classes: usize,
    /// The softmax vectors: `samples * classes` values, row-major.
    pub exit: Vec<f32>,
    /// The features, as many per sample as the product of the sub-model's features shape; `None`
    /// from a last tier.
    pub features: Option<Vec<f32>>,
}

impl Output {
    /// The results for `count` samples, from sample `first` on.
    ///
    /// # Panics
    ///
    /// When there are not so many.
    pub fn rows(&self, first: usize, count: usize) -> Rows<'_> {
        let range = |row: usize| first * row..(first + count) * row;
        let features = self.features.as_deref();
        Rows {
            samples: count,
            classes: self.classes,
            exit: &self.exit[range(self.classes)],
            features: features.map(|features| &features[range(features.len() / self.samples)]),
        }
    }

    /// The softmax vector of sample `index`.
    ///
    /// # Panics
    ///
    /// When `index` is not less than `samples`.
    pub fn exit_row(&self, index: usize) -> &[f32] {
        self.rows(index, 1).exit
    }

    /// The features of sample `index`; `None` from a last tier.
    ///
    /// # Panics
    ///
    /// When `index` is not less than `samples`.
    pub fn features_row(&self, index: usize) -> Option<&[f32]> {
        self.rows(index, 1).features
    }
}

/// The results for some of the samples of an [`Output`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rows<'o> {
    /// The number of samples.
    pub samples: usize,
    classes: usize,
    exit: &'o [f32],
    features: Option<&'o [f32]>,
}

impl<'o> Rows<'o> {
    /// The softmax vector of sample `index`.
    ///
    /// # Panics
    ///
    /// When `index` is not less than `samples`.
    pub fn exit_row(&self, index: usize) -> &'o [f32] {
        &self.exit[index * self.classes..(index + 1) * self.classes]
    }

    /// The features of sample `index`; `None` from a last tier.
    ///
    /// # Panics
    ///
    /// When `index` is not less than `samples`.
    pub fn features_row(&self, index: usize) -> Option<&'o [f32]> {
        let features = self.features?;
        let len = features.len() / self.samples;
        Some(&features[index * len..(index + 1) * len])
    }
}

/// Runs one sub-model on one thread.
pub struct Engine {
    sub_model: SubModel,
    runs: Runs,
    /// A batch of samples after scaling, kept for its memory.
    scaled: Vec<f32>,
}

/// What an engine has started.
enum Runs {
    Tract(Box<States>),
    OnnxRuntime(Session),
}

impl Engine {
    pub(crate) fn new(sub_model: SubModel) -> Result<Engine, ModelError> {
        let runs = if let Some(file) = sub_model.for_onnx_runtime() {
            Runs::OnnxRuntime(Session::new(&sub_model, file)?)
        } else {
            let mut states = Box::<States>::default();
            state(&sub_model, &mut states, 0)?;
            Runs::Tract(states)
        };
        Ok(Engine { sub_model, runs, scaled: Vec::new() })
    }

    /// The sub-model that this engine runs.
    pub fn sub_model(&self) -> &SubModel {
        &self.sub_model
    }

    /// Runs any number of samples, row-major one after the other, as raw as devices send them: the
    /// scaling that the file asks for happens here.
    ///
    /// # Errors
    ///
    /// [`ModelError::Samples`] where `samples` is not a whole number of them, and
    /// [`ModelError::Engine`] where the engine fails.
    pub fn run(&mut self, samples: &[f32]) -> Result<Output, ModelError> {
        let len: usize = self.sub_model.input_shape().iter().product();
        if !samples.len().is_multiple_of(len) {
            return Err(ModelError::Samples {
                name: self.sub_model.name().to_owned(),
                found: samples.len(),
                expected: len,
            });
        }
        let count = samples.len() / len;
        let sub_model = self.sub_model.clone();
        let plans = sub_model.plans();
        let (classes, features_len) = (plans.classes, plans.features_len);
        let mut output = Output {
            samples: count,
            classes,
            exit: Vec::with_capacity(count * classes),
            features: features_len.map(|len| Vec::with_capacity(count * len)),
        };
        match &mut self.runs {
            Runs::Tract(states) => {
                let mut rest = samples;
                while !rest.is_empty() {
                    let size = largest_batch((rest.len() / len).min(plans.max_batch));
                    let (batch, after) = rest.split_at(BATCH_SIZES[size] * len);
                    let fed = plans.fed(batch, &mut self.scaled);
                    run_batch(&sub_model, states, size, fed, &mut output)?;
                    rest = after;
                }
            }
            Runs::OnnxRuntime(session) if count > 0 => {
                session.run(&sub_model, plans.fed(samples, &mut self.scaled), &mut output)?;
            }
            Runs::OnnxRuntime(_) => {}
        }
        let temperature = sub_model.temperature();
        output.exit.chunks_exact_mut(classes).for_each(|row| apply_temperature(row, temperature));
        Ok(output)
    }
}

/// Runs one batch of the size at position `size`.
fn run_batch(
    sub_model: &SubModel,
    states: &mut States,
    size: usize,
    fed: &[f32],
    output: &mut Output,
) -> Result<(), ModelError> {
    let shape = sub_model.plans().batch_shape(size);
    let state = state(sub_model, states, size)?;
    let result = guarded(sub_model.name(), "run", || {
        let results = state.run(tvec!(Tensor::from_shape(&shape, fed)?.into()))?;
        let (exit, features) = results.split_last().context("no output")?;
        output.exit.extend_from_slice(exit.try_as_plain_ram()?.as_slice::<f32>()?);
        if let (Some(all), Some(batch)) = (&mut output.features, features.first()) {
            all.extend_from_slice(batch.try_as_plain_ram()?.as_slice::<f32>()?);
        }
        Ok(())
    });
    if result.is_err() {
        // A state that stopped half way may hold values of this batch.
        states[size] = None;
    }
    result
}

fn state<'s>(
    sub_model: &SubModel,
    states: &'s mut States,
    size: usize,
) -> Result<&'s mut State, ModelError> {
    let slot = &mut states[size];
    if slot.is_none() {
        let plan = sub_model.plans().plan(size)?;
        *slot = Some(guarded(sub_model.name(), "start", || plan.spawn())?);
    }
    Ok(slot.as_mut().expect("the slot was filled just above"))
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Engine").field("sub_model", &self.sub_model).finish_non_exhaustive()
    }
}

/// The position of the largest batch size that is not more than `samples`, which is not zero.
fn largest_batch(samples: usize) -> usize {
    BATCH_SIZES.partition_point(|&size| size <= samples).saturating_sub(1)
}

/// Turns `softmax(z)` into `softmax(z / temperature)`: `p^(1/temperature)` differs from the exponential by one factor,
/// which the normalisation removes. A temperature of 1 leaves the row as it is, bit for bit.
///
/// Probabilities are taken relative to the largest, so that no temperature makes all of them vanish.
pub(crate) fn apply_temperature(row: &mut [f32], temperature: f32) {
    if (temperature - 1.0).abs() < f32::EPSILON {
        return;
    }
    let largest = row.iter().copied().fold(f32::MIN_POSITIVE, f32::max);
    let inverse = temperature.recip();
    let mut sum = 0.0;
    for value in &mut *row {
        *value = (*value / largest).powf(inverse);
        sum += *value;
    }
    for value in row {
        *value /= sum;
    }
}

/// The compiled forms of one sub-model.
pub(crate) struct Plans {
    name: String,
    graph: BatchGraph,
    shape: Vec<usize>,
    /// Scale and offset, unless they change nothing.
    scaling: Option<(f32, f32)>,
    features_len: Option<usize>,
    classes: usize,
    max_batch: usize,
    compiled: Mutex<[Weak<Plan>; BATCH_SIZES.len()]>,
}

impl Plans {
    pub(crate) fn new(
        name: &str,
        graph: BatchGraph,
        signature: &Signature,
        metadata: &Metadata,
        shapes: &OutputShapes,
    ) -> Plans {
        Plans {
            name: name.to_owned(),
            shape: signature.input_shape.clone(),
            scaling: Some((metadata.input_scale, metadata.input_offset))
                .filter(|&scaling| scaling != (1.0, 0.0)),
            features_len: shapes.features.as_ref().map(|shape| shape.iter().product()),
            classes: shapes.classes,
            max_batch: if gains_by_batches(&graph.graph, signature.parameters) {
                (MAX_BATCH_ELEMENTS / shapes.largest).max(1)
            } else {
                1
            },
            graph,
            compiled: Mutex::default(),
        }
    }

    /// What the network is fed for samples as devices send them; `scaled` lends its memory.
    fn fed<'s>(&self, samples: &'s [f32], scaled: &'s mut Vec<f32>) -> &'s [f32] {
        let Some((scale, offset)) = self.scaling else { return samples };
        scaled.clear();
        scaled.extend(samples.iter().map(|sample| sample * scale + offset));
        scaled
    }

    fn batch_shape(&self, size: usize) -> TVec<usize> {
        std::iter::once(BATCH_SIZES[size]).chain(self.shape.iter().copied()).collect()
    }

    /// The plan for the batch size at position `size`, compiled unless an engine holds it already.
    fn plan(&self, size: usize) -> Result<Arc<Plan>, ModelError> {
        // A thread that panicked while it compiled has left its slot as it was.
        let mut compiled = self.compiled.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(plan) = compiled[size].upgrade() {
            return Ok(plan);
        }
        let plan = guarded(&self.name, "compile it", || {
            let batch = BATCH_SIZES[size].to_dim();
            let symbols = std::iter::once((self.graph.batch.clone(), batch)).collect();
            self.graph.graph.set_symbols(&symbols)?.into_optimized()?.into_runnable()
        })?;
        compiled[size] = Arc::downgrade(&plan);
        Ok(plan)
    }
}

/// Whether a batch takes less time than its samples one by one. tract convolves images one by one in any case: of a
/// single one it takes the patches as it multiplies, and of several it writes them all out before.
fn gains_by_batches(graph: &TypedModel, weights: usize) -> bool {
    let convolves = graph.nodes().iter().any(|node| {
        let kernel = node.op_as::<Conv>().map(|conv| &conv.pool_spec.kernel_shape);
        kernel.is_some_and(|kernel| kernel.iter().product::<usize>() > 1)
    });
    !convolves || weights > MAX_CACHED_WEIGHTS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_the_largest_that_fits() {
        for (samples, expected) in [(1, 1), (3, 2), (31, 16), (32, 32), (1000, 64)] {
            assert_eq!(BATCH_SIZES[largest_batch(samples)], expected);
        }
    }

    #[test]
    fn samples_of_a_network_that_convolves_are_run_one_by_one() {
        for (network, one_by_one) in [("mnist-conv", true), ("mnist-dense", false)] {
            let models = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models");
            let sub_model = SubModel::load(&models.join(network).join("edge.onnx")).unwrap();
            assert_eq!(sub_model.plans().max_batch == 1, one_by_one, "{network}");
        }
    }

    #[test]
    fn sub_models_are_shared_between_threads_and_engines_move_to_one() {
        fn shared<T: Send + Sync>() {}
        fn moved<T: Send>() {}
        shared::<SubModel>();
        moved::<Engine>();
    }

    #[test]
    fn a_temperature_keeps_a_distribution() {
        for temperature in [0.001, 0.5, 2.0, 1000.0] {
            let mut row = [0.7, 0.2, 0.1, 0.0];
            apply_temperature(&mut row, temperature);
            assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-6, "{temperature}: {row:?}");
            assert_eq!(row[0] < 0.7, temperature > 1.0, "{temperature}: {row:?}");
            assert!(row[0] >= row[1] && row[1] >= row[2], "{temperature}: {row:?}");
        }
        let mut row = [0.7, f32::NAN, 0.1];
        apply_temperature(&mut row, 2.0);
        assert!(row.iter().any(|value| value.is_nan()));
    }

    #[test]
    fn a_temperature_divides_the_logits() {
        let (logits, temperature) = ([2.0f32, -1.0, 0.5], 1.7f32);
        let softmax = |divisor: f32| -> Vec<f32> {
            let powers: Vec<f32> = logits.iter().map(|logit| (logit / divisor).exp()).collect();
            powers.iter().map(|power| power / powers.iter().sum::<f32>()).collect()
        };
        let mut row = softmax(1.0);
        apply_temperature(&mut row, temperature);
        for (found, expected) in row.iter().zip(softmax(temperature)) {
            assert!((found - expected).abs() < 1e-6, "{found}, expected {expected}");
        }
    }
}
