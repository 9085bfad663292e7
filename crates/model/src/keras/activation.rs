//! Keras's activation functions.

use serde_json::Value as Json;

use super::config::excerpt;
use super::convert::Site;
use crate::ModelError;
use crate::onnx::graph::{Attribute, Value};

const SUPPORTED: &str = "linear, relu, softmax";

/// Applies the activation that a layer names in its option `activation`.
pub(super) fn of_layer(site: &mut Site<'_>, value: Value) -> Result<Value, ModelError> {
    let layer = site.layer;
    let Some(option) = layer.option("activation") else { return Ok(value) };
    let name = option.as_str().map(str::to_owned);
    let Some(name) = name else {
        return Err(layer.unsupported("activation", excerpt(option), SUPPORTED));
    };
    apply(site, &name, value)
}

fn apply(site: &mut Site<'_>, activation: &str, value: Value) -> Result<Value, ModelError> {
    let node = site.name(activation);
    let name = match activation {
        "linear" => return Ok(value),
        "relu" => site.graph.node(&node, "Relu", &[&value.name], &[]),
        "softmax" => {
            site.graph.node(&node, "Softmax", &[&value.name], &[Attribute::Int("axis", -1)])
        }
        _ => {
            let found = Json::from(activation);
            return Err(site.layer.unsupported("activation", excerpt(&found), SUPPORTED));
        }
    };
    Ok(Value { name, shape: value.shape })
}
