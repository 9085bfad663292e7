//! Turns a network of Keras layers into an ONNX graph, call by call.

use std::collections::HashMap;

use super::config::Layer;
use super::file::KerasFile;
use super::layers;
use super::network::Network;
use crate::ModelError;
use crate::onnx::check::MAX_ELEMENTS;
use crate::onnx::graph::{Attribute, Graph, Value};

/// The values at the ends of a converted network.
pub(super) struct Converted {
    pub(super) input: Value,
    pub(super) outputs: Vec<Value>,
}

/// Where one call of a layer is converted.
pub(super) struct Site<'a> {
    pub(super) layer: &'a Layer,
    pub(super) file: &'a KerasFile,
    pub(super) graph: &'a mut Graph,
}

impl Site<'_> {
    /// A name for a part of this layer.
    pub(super) fn name(&self, part: &str) -> String {
        format!("{}/{part}", self.layer.name)
    }

    /// Adds the layer's weights to the graph as they are in the file, and returns their name.
    pub(super) fn weights(&mut self, role: &str, shape: &[usize]) -> Result<String, ModelError> {
        let values = self.file.weights(self.layer, &[role], shape)?;
        Ok(self.graph.floats(&self.name(role), shape, &values))
    }

    /// Adds a node that keeps the shape of its first input.
    pub(super) fn elementwise(
        &mut self,
        part: &str,
        operator: &str,
        inputs: &[&str],
        shape: &[usize],
    ) -> Value {
        let name = self.graph.node(&self.name(part), operator, inputs, &[]);
        Value { name, shape: shape.to_owned() }
    }

    /// Adds a node that reorders the axes of a sample: axis `i` of the result is axis `order[i]` of
    /// the input.
    pub(super) fn transpose(&mut self, part: &str, input: &Value, order: &[usize]) -> Value {
        let permutation: Vec<i64> =
            std::iter::once(0).chain(order.iter().map(|&axis| axis as i64 + 1)).collect();
        let attributes = [Attribute::Ints("perm", permutation)];
        let name = self.graph.node(&self.name(part), "Transpose", &[&input.name], &attributes);
        Value { name, shape: order.iter().map(|&axis| input.shape[axis]).collect() }
    }

    /// The only input of a layer that takes one.
    pub(super) fn only<'v>(&self, inputs: &[&'v Value]) -> Result<&'v Value, ModelError> {
        match inputs {
            [input] => Ok(input),
            _ => {
                Err(self.layer.error(format!("it is given {} inputs, expected one", inputs.len())))
            }
        }
    }
}

/// Adds `network` to `graph`.
pub(super) fn convert(
    network: &Network,
    file: &KerasFile,
    graph: &mut Graph,
) -> Result<Converted, ModelError> {
    let input = graph.input("input", &network.input_shape);
    let mut values = HashMap::from([(&network.input, input.clone())]);
    for call in &network.calls {
        let layer = &network.layers[call.layer];
        let inputs: Vec<&Value> = call.inputs.iter().map(|input| &values[input]).collect();
        let output = layers::convert(&mut Site { layer, file, graph }, &inputs)?;
        let len = output.shape.iter().try_fold(1usize, |len, &size| len.checked_mul(size));
        if len.is_none_or(|len| len > MAX_ELEMENTS) {
            return Err(layer.error(format!(
                "its output has shape {:?}, expected at most {MAX_ELEMENTS} values",
                output.shape
            )));
        }
        values.insert(&call.output, output);
    }
    let outputs = network
        .outputs
        .iter()
        .map(|output| {
            values.get(output).cloned().ok_or_else(|| ModelError::NotKeras {
                name: network.name().to_owned(),
                reason: format!("its output `{}` is no layer's", output.layer),
            })
        })
        .collect::<Result<_, _>>()?;
    Ok(Converted { input, outputs })
}
