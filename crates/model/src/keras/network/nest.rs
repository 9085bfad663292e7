//! Models that are layers of other models: their layers take their place.
//!
//! A layer `conv2d` of a model that is called `base` becomes `base/conv2d`; the tensors of the model's call `n` have names
//! that start with `base[n]/`, which no layer's own tensors have.

use std::collections::HashMap;

use serde_json::Value as Json;

use super::{Call, MAX_CALLS, Network, Tensor, functional, not_keras, sequential};
use crate::ModelError;
use crate::keras::config::Layer;

/// How deep models may be in models.
const MAX_DEPTH: usize = 16;

/// Reads a model, and the models among its layers.
pub(super) fn parse(file: &str, model: &Json, depth: usize) -> Result<Network, ModelError> {
    if depth > MAX_DEPTH {
        return Err(not_keras(file, format!("it has models in models more than {MAX_DEPTH} deep")));
    }
    let config = &model["config"];
    let network = match model["class_name"].as_str() {
        Some("Sequential") => sequential(file, config)?,
        Some("Functional" | "Model") => functional(file, config)?,
        class => {
            let reason = format!("its class is {class:?}, expected Sequential or Functional");
            return Err(not_keras(file, reason));
        }
    };
    if !network.layers.iter().any(Layer::is_model) {
        return Ok(network);
    }
    let list = if config.is_array() { config } else { &config["layers"] };
    inline(file, network, list, depth)
}

/// The shape of what a model takes that is the first layer of another: that of its own first layer.
pub(super) fn batch_shape(layer: &Layer) -> Option<&Json> {
    let mut layers = layer.option("layers")?;
    // As deep as the file is: JSON of more than 128 levels is not read.
    loop {
        let config = layers.get(0)?.get("config")?;
        let shape = config.get("batch_shape").or_else(|| config.get("batch_input_shape"));
        match shape {
            Some(shape) => return Some(shape),
            None => layers = config.get("layers")?,
        }
    }
}

fn inline(
    file: &str,
    mut network: Network,
    list: &Json,
    depth: usize,
) -> Result<Network, ModelError> {
    let mut nested = HashMap::new();
    for (at, json) in list.as_array().into_iter().flatten().enumerate() {
        if !network.layers.get(at).is_some_and(Layer::is_model) {
            continue;
        }
        let model = parse(file, json, depth + 1)?;
        if model.outputs.len() != 1 || model.calls.is_empty() {
            let found = model.outputs.len();
            let reason =
                format!("it is a model with {found} outputs, expected one that a layer makes");
            return Err(network.layers[at].error(reason));
        }
        let (name, path) = (network.layers[at].name.clone(), network.layers[at].path.clone());
        let first = network.layers.len();
        network.layers.extend(model.layers.iter().cloned().map(|mut layer| {
            layer.name = format!("{name}/{}", layer.name);
            layer.path = format!("{path}/{}", layer.path);
            layer
        }));
        nested.insert(at, (model, first));
    }
    let mut calls = Vec::new();
    for call in std::mem::take(&mut network.calls) {
        match nested.get(&call.layer) {
            None => calls.push(call),
            Some((model, first)) => {
                let [input] = &call.inputs[..] else {
                    let found = call.inputs.len();
                    let layer = &network.layers[call.layer];
                    return Err(layer.error(format!("it is given {found} inputs, expected one")));
                };
                calls.extend(calls_of(model, *first, input, &call.output));
            }
        }
        if calls.len() > MAX_CALLS {
            return Err(not_keras(file, format!("it calls more than {MAX_CALLS} layers")));
        }
    }
    network.calls = calls;
    Ok(network)
}

/// The calls of a model that takes `input` and whose output is `output`; its layers start at position `first`.
fn calls_of(model: &Network, first: usize, input: &Tensor, output: &Tensor) -> Vec<Call> {
    let place = |tensor: &Tensor| {
        if *tensor == model.input {
            return input.clone();
        }
        if *tensor == model.outputs[0] {
            return output.clone();
        }
        let layer = format!("{}[{}]/{}", output.layer, output.node, tensor.layer);
        Tensor { layer, node: tensor.node }
    };
    model
        .calls
        .iter()
        .map(|call| Call {
            layer: first + call.layer,
            output: place(&call.output),
            inputs: call.inputs.iter().map(place).collect(),
        })
        .collect()
}
