//! What shape each tensor of a network has, and what values: both found by the engine.

use std::collections::HashMap;

use tract_onnx::prelude::*;
use tract_onnx::tract_hir::infer::InferenceModelExt;
use tract_onnx::tract_hir::internal::{DimLike, TractErrorContext};

use super::Network;
use crate::ModelError;
use crate::onnx::check::MAX_ELEMENTS;
use crate::sub_model::{BatchGraph, guarded};

/// The shape of one sample of each tensor that holds floats for each sample: its first dimension is the batch, and the
/// others are fixed.
pub(super) fn infer(network: &Network) -> Result<HashMap<String, Vec<usize>>, ModelError> {
    let names: Vec<&str> = network
        .graph()
        .node
        .iter()
        .flat_map(|node| &node.output)
        .map(String::as_str)
        .filter(|name| !name.is_empty())
        .collect();
    let typed = load(network, &names)?;
    let batch = typed.batch.to_dim();
    let facts = guarded(&network.name, "find its shapes", || {
        typed
            .graph
            .outputs
            .iter()
            .map(|outlet| typed.graph.outlet_fact(*outlet).cloned())
            .collect::<TractResult<Vec<_>>>()
    })?;
    let mut shapes = HashMap::from([(network.input.clone(), network.input_shape.clone())]);
    for (name, fact) in names.into_iter().zip(facts) {
        let sizes: Option<Vec<usize>> =
            fact.shape.iter().skip(1).map(|size| size.to_usize().ok()).collect();
        let by_sample = fact.shape.iter().next().is_some_and(|size| *size == batch);
        let Some(shape) = sizes.filter(|_| by_sample) else { continue };
        let len = shape.iter().try_fold(1usize, |len, &size| len.checked_mul(size));
        if len.is_none_or(|len| len > MAX_ELEMENTS) {
            return Err(ModelError::Tensor {
                name: network.name.clone(),
                tensor: name.to_owned(),
                problem: format!("has shape {shape:?}, expected at most {MAX_ELEMENTS} values"),
            });
        }
        if fact.datum_type == f32::datum_type() {
            shapes.insert(name.to_owned(), shape);
        }
    }
    Ok(shapes)
}

/// Runs the network: see [`Network::run`].
pub(super) fn run(
    network: &Network,
    tensors: &[&str],
    samples: &[f32],
) -> Result<Vec<Vec<f32>>, ModelError> {
    let len = super::len_of(&network.input_shape);
    if !samples.len().is_multiple_of(len) {
        return Err(ModelError::Samples {
            name: network.name.clone(),
            found: samples.len(),
            expected: len,
        });
    }
    if let Some(tensor) = tensors.iter().find(|tensor| network.shape(tensor).is_none()) {
        return Err(network.error(format!("`{tensor}` does not hold floats for each sample")));
    }
    if samples.is_empty() || tensors.is_empty() {
        return Ok(vec![Vec::new(); tensors.len()]);
    }
    let count = samples.len() / len;
    let typed = load(network, tensors)?;
    guarded(&network.name, "run it", || {
        let symbols = std::iter::once((typed.batch.clone(), count.to_dim())).collect();
        let plan = typed.graph.set_symbols(&symbols)?.into_optimized()?.into_runnable()?;
        let shape: TVec<usize> =
            std::iter::once(count).chain(network.input_shape.iter().copied()).collect();
        let results = plan.run(tvec!(Tensor::from_shape(&shape, samples)?.into()))?;
        results
            .iter()
            .map(|result| Ok(result.try_as_plain_ram()?.as_slice::<f32>()?.to_vec()))
            .collect()
    })
}

/// The network with a symbolic batch dimension and these tensors as its outputs.
fn load(network: &Network, tensors: &[&str]) -> Result<BatchGraph, ModelError> {
    guarded(&network.name, "load it", || {
        let parsed = tract_onnx::onnx().parse(&network.model, None)?;
        let mut graph = parsed.model;
        let batch = graph.symbols.sym("offramp_batch");
        let shape: TVec<TDim> = std::iter::once(batch.to_dim())
            .chain(network.input_shape.iter().map(ToDim::to_dim))
            .collect();
        graph.set_input_fact(0, InferenceFact::dt_shape(f32::datum_type(), shape))?;
        let outlet = |name: &&str| {
            let outlet = parsed.outlets_by_name.get(*name).copied();
            outlet.with_context(|| format!("finding `{name}`"))
        };
        // Declared shapes of outputs may fix the batch dimension.
        for outlet in graph.outputs.clone() {
            if graph.node(outlet.node).inputs.is_empty() {
                continue;
            }
            graph.set_outlet_fact(outlet, InferenceFact::default())?;
        }
        let outlets = tensors.iter().map(outlet).collect::<TractResult<Vec<_>>>()?;
        graph.select_output_outlets(&outlets)?;
        Ok(BatchGraph { graph: graph.into_typed()?, batch })
    })
}
