//! The structure of a Keras model: which layer is called on which tensors.
//!
//! A layer may be called more than once; each call is a *node*, and a tensor is named by its layer
//! and node. Keras 2 and Keras 3 write the inputs of a call differently:
//!
//! ```text
//! "inbound_nodes": [[["flatten", 0, 0, {}]]]                                          Keras 2
//! "inbound_nodes": [{"args": [{"class_name": "__keras_tensor__",
//!     "config": {"keras_history": ["flatten", 0, 0], …}}], "kwargs": {…}}]            Keras 3
//! ```

mod nest;

use std::collections::{HashMap, HashSet};

use serde_json::Value as Json;

use super::config::{Layer, excerpt};
use crate::ModelError;

/// Far more than any network that a tier runs; bounds the work that a file can ask for.
const MAX_CALLS: usize = 4096;

/// The output of one call of a layer.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Tensor {
    pub(super) layer: String,
    pub(super) node: usize,
}

/// One call of a layer.
#[derive(Debug, Clone)]
pub(super) struct Call {
    /// A position in [`Network::layers`].
    pub(super) layer: usize,
    pub(super) output: Tensor,
    pub(super) inputs: Vec<Tensor>,
}

/// A Keras model.
#[derive(Debug)]
pub(super) struct Network {
    name: String,
    pub(super) layers: Vec<Layer>,
    /// The only tensor that no call makes.
    pub(super) input: Tensor,
    /// Its shape per sample.
    pub(super) input_shape: Vec<usize>,
    /// Each after those whose outputs it takes.
    pub(super) calls: Vec<Call>,
    pub(super) outputs: Vec<Tensor>,
}

impl Network {
    /// Reads the `model_config` of the file `file`. Models among the layers are put in their places, layer by layer.
    pub(super) fn parse(file: &str, model_config: &Json) -> Result<Network, ModelError> {
        nest::parse(file, model_config, 0)
    }

    /// The name that the model's author gave it.
    pub(super) fn name(&self) -> &str {
        &self.name
    }
}

fn not_keras(file: &str, reason: impl Into<String>) -> ModelError {
    ModelError::NotKeras { name: file.to_owned(), reason: reason.into() }
}

fn layers(file: &str, json: &Json) -> Result<Vec<Layer>, ModelError> {
    let json =
        json.as_array().ok_or_else(|| not_keras(file, "its configuration lists no layers"))?;
    if json.len() > MAX_CALLS {
        return Err(not_keras(file, format!("it has more than {MAX_CALLS} layers")));
    }
    let mut layers: Vec<Layer> =
        json.iter().map(|layer| Layer::parse(file, layer)).collect::<Result<_, _>>()?;
    let mut counts = HashMap::new();
    for layer in &mut layers {
        let class = snake_case(&layer.class);
        let count: &mut usize = counts.entry(class.clone()).or_default();
        layer.path = match *count {
            0 => format!("layers/{class}"),
            count => format!("layers/{class}_{count}"),
        };
        *count += 1;
    }
    let mut names = HashSet::new();
    match layers.iter().find(|layer| !names.insert(&layer.name)) {
        Some(twice) => Err(twice.error("another layer has the same name")),
        None => Ok(layers),
    }
}

/// `MaxPooling2D` as `max_pooling2d`: Keras calls the places of weights after classes, with a number from the second of
/// a class on.
fn snake_case(class: &str) -> String {
    let characters: Vec<char> = class.chars().collect();
    let mut name = String::new();
    for (at, &character) in characters.iter().enumerate() {
        let is_after_lower = at > 0 && characters[at - 1].is_lowercase();
        let is_before_lower =
            at > 0 && characters.get(at + 1).is_some_and(|next| next.is_lowercase());
        if character.is_uppercase() && (is_after_lower || is_before_lower) {
            name.push('_');
        }
        name.extend(character.to_lowercase());
    }
    name
}

fn sequential(file: &str, config: &Json) -> Result<Network, ModelError> {
    // Keras before 2.2 wrote the bare list.
    let list = if config.is_array() { config } else { &config["layers"] };
    let layers = layers(file, list)?;
    let first = layers.first().ok_or_else(|| not_keras(file, "it has no layers"))?;
    let input_shape = match batch_shape(first).or_else(|| nest::batch_shape(first)) {
        Some(shape) => input_shape(first, shape)?,
        None => match config.get("build_input_shape") {
            Some(shape) if !shape.is_null() => input_shape(first, shape)?,
            _ => return Err(first.error("the model's input has no shape (was it never built?)")),
        },
    };
    let explicit = first.class == "InputLayer";
    // The name of a layer may not be empty, so this is no layer's output.
    let layer = if explicit { first.name.clone() } else { String::new() };
    let input = Tensor { layer, node: 0 };
    let mut calls: Vec<Call> = Vec::new();
    for (position, layer) in layers.iter().enumerate().skip(usize::from(explicit)) {
        let previous = calls.last().map_or(&input, |call| &call.output).clone();
        calls.push(Call {
            layer: position,
            output: Tensor { layer: layer.name.clone(), node: 0 },
            inputs: vec![previous],
        });
    }
    let outputs = vec![calls.last().map_or(&input, |call| &call.output).clone()];
    Ok(Network { name: name(config), layers, input, input_shape, calls, outputs })
}

fn functional(file: &str, config: &Json) -> Result<Network, ModelError> {
    let layers = layers(file, &config["layers"])?;
    let list = |key: &str| -> Result<Vec<Tensor>, ModelError> {
        let mut tensors = Vec::new();
        if config[key].is_object() || !histories(&config[key], &mut tensors) {
            let found = excerpt(&config[key]);
            return Err(not_keras(file, format!("its `{key}` are {found}, expected a list")));
        }
        Ok(tensors)
    };
    let inputs = list("input_layers")?;
    let [input] = &inputs[..] else {
        return Err(not_keras(file, format!("it has {} inputs, expected one", inputs.len())));
    };
    let input_layer = layers
        .iter()
        .find(|layer| layer.name == input.layer)
        .ok_or_else(|| not_keras(file, format!("its input `{}` is no layer", input.layer)))?;
    let shape = batch_shape(input_layer)
        .ok_or_else(|| input_layer.error("it is the model's input and has no shape"))?;
    let input_shape = input_shape(input_layer, shape)?;

    let mut pending = Vec::new();
    for (position, (layer, json)) in
        layers.iter().zip(config["layers"].as_array().into_iter().flatten()).enumerate()
    {
        let nodes = json["inbound_nodes"].as_array().map_or(&[][..], Vec::as_slice);
        for (node, json) in nodes.iter().enumerate() {
            let output = Tensor { layer: layer.name.clone(), node };
            pending.push(Call { layer: position, output, inputs: call_inputs(layer, json)? });
        }
    }
    if pending.len() > MAX_CALLS {
        return Err(not_keras(file, format!("it calls more than {MAX_CALLS} layers")));
    }
    let mut outputs = list("output_layers")?;
    count_from_zero(&layers, &mut pending, &mut outputs)?;
    let calls = in_order(file, input, pending)?;
    Ok(Network { name: name(config), layers, input: input.clone(), input_shape, calls, outputs })
}

fn name(config: &Json) -> String {
    config["name"].as_str().unwrap_or("keras").to_owned()
}

/// The shape with the batch in front: `batch_input_shape` in Keras 2, `batch_shape` in Keras 3.
fn batch_shape(layer: &Layer) -> Option<&Json> {
    layer.option("batch_input_shape").or_else(|| layer.option("batch_shape"))
}

fn input_shape(layer: &Layer, shape: &Json) -> Result<Vec<usize>, ModelError> {
    let sizes: Option<Vec<usize>> =
        shape.as_array().filter(|sizes| sizes.len() >= 2).and_then(|sizes| {
            sizes[1..]
                .iter()
                .map(|size| usize::try_from(size.as_u64()?).ok().filter(|&size| size > 0))
                .collect()
        });
    sizes.ok_or_else(|| {
        layer.unsupported("input shape", excerpt(shape), "fixed sizes after the batch dimension")
    })
}

/// Collects the `[layer, node, tensor]` triples in `json`, however nested; false where it holds
/// something else.
fn histories(json: &Json, tensors: &mut Vec<Tensor>) -> bool {
    let Some(items) = json.as_array() else { return false };
    if let Some(layer) = items.first().and_then(Json::as_str) {
        let index = |at: usize| items.get(at).and_then(Json::as_u64);
        // No layer that is supported has a second output.
        let (Some(node), Some(0)) = (index(1), index(2)) else { return false };
        tensors.push(Tensor { layer: layer.to_owned(), node: node as usize });
        return true;
    }
    items.iter().all(|item| histories(item, tensors))
}

/// The tensors that one call of `layer` takes, in order.
fn call_inputs(layer: &Layer, json: &Json) -> Result<Vec<Tensor>, ModelError> {
    let mut tensors = Vec::new();
    let known = match json.get("args") {
        Some(arguments) => keras_tensors(arguments, &mut tensors),
        None => histories(json, &mut tensors),
    };
    if known && !tensors.is_empty() {
        Ok(tensors)
    } else {
        Err(layer.unsupported("inbound_nodes", excerpt(json), "tensors as positional arguments"))
    }
}

/// Collects the tensors among the arguments of a call in Keras 3's form; false where there is
/// something else.
fn keras_tensors(json: &Json, tensors: &mut Vec<Tensor>) -> bool {
    if let Some(items) = json.as_array() {
        return items.iter().all(|item| keras_tensors(item, tensors));
    }
    json["class_name"] == "__keras_tensor__" && histories(&json["config"]["keras_history"], tensors)
}

/// Counts the calls of a model in the model from 0, as those of other layers.
///
/// Node 0 of a model is its own definition, of which a file has no call. Keras 2 therefore counts its calls from 1; Keras
/// 3 does so among the outputs, and counts from 0 elsewhere.
fn count_from_zero(
    layers: &[Layer],
    pending: &mut [Call],
    outputs: &mut [Tensor],
) -> Result<(), ModelError> {
    for (at, layer) in layers.iter().enumerate().filter(|(_, layer)| layer.is_model()) {
        let calls = pending.iter().filter(|call| call.layer == at).count();
        let inputs = || {
            pending.iter().flat_map(|call| &call.inputs).filter(|tensor| tensor.layer == layer.name)
        };
        let is_from_one =
            inputs().any(|tensor| tensor.node == calls) && inputs().all(|tensor| tensor.node > 0);
        for output in outputs.iter_mut().filter(|output| output.layer == layer.name) {
            // One in between may be either.
            if output.node > 0 && output.node < calls && !is_from_one {
                return Err(layer.unsupported(
                    "call",
                    output.node.to_string(),
                    "an output of its first or last call",
                ));
            }
            output.node = output.node.saturating_sub(1);
        }
        if is_from_one {
            let inputs = pending.iter_mut().flat_map(|call| &mut call.inputs);
            for input in inputs.filter(|input| input.layer == layer.name) {
                input.node -= 1;
            }
        }
    }
    Ok(())
}

/// Orders calls so that each comes after those it depends on. Keras writes layers in such an order,
/// except where one is called more than once.
fn in_order(file: &str, input: &Tensor, mut pending: Vec<Call>) -> Result<Vec<Call>, ModelError> {
    let mut made = HashSet::from([input.clone()]);
    let mut calls = Vec::with_capacity(pending.len());
    while !pending.is_empty() {
        let before = pending.len();
        let mut waiting = Vec::new();
        for call in pending {
            if call.inputs.iter().all(|input| made.contains(input)) {
                made.insert(call.output.clone());
                calls.push(call);
            } else {
                waiting.push(call);
            }
        }
        if waiting.len() == before {
            let names: Vec<&str> =
                waiting.iter().take(3).map(|call| call.output.layer.as_str()).collect();
            return Err(not_keras(file, format!("its layers {names:?} … wait for each other")));
        }
        pending = waiting;
    }
    Ok(calls)
}

#[cfg(test)]
mod tests {
    use super::snake_case;

    #[test]
    fn places_are_called_after_classes() {
        for (class, expected) in [
            ("Dense", "dense"),
            ("Conv2D", "conv2d"),
            ("MaxPooling2D", "max_pooling2d"),
            ("GlobalAveragePooling2D", "global_average_pooling2d"),
            ("Conv2DTranspose", "conv2d_transpose"),
            ("LeakyReLU", "leaky_re_lu"),
            ("ELU", "elu"),
            ("InputLayer", "input_layer"),
        ] {
            assert_eq!(snake_case(class), expected);
        }
    }
}
