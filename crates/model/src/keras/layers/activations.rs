//! Activations that are layers of their own, with parameters.

use crate::ModelError;
use crate::keras::activation::clip;
use crate::keras::convert::Site;
use crate::onnx::graph::{Attribute, Value};

/// `ReLU` with its three parameters, step by step as Keras computes it: what is not above
/// `threshold` counts as 0, and `negative_slope` acts below it.
pub(super) fn relu(site: &mut Site<'_>, inputs: &[&Value]) -> Result<Value, ModelError> {
    let input = site.only(inputs)?;
    let (x, shape) = (input.name.as_str(), &input.shape);
    let max_value = site.layer.float("max_value")?;
    let slope = site.layer.float("negative_slope")?.unwrap_or(0.0);
    let threshold = site.layer.float("threshold")?.unwrap_or(0.0);

    let mut result = if threshold == 0.0 {
        site.elementwise("relu", "Relu", &[x], shape).name
    } else {
        let bound = site.graph.scalar(&site.name("threshold"), threshold);
        let above = site.elementwise("above", "Greater", &[x, &bound], shape).name;
        let to_float = [Attribute::Int("to", 1)];
        let above = site.graph.node(&site.name("mask"), "Cast", &[&above], &to_float);
        site.elementwise("masked", "Mul", &[x, &above], shape).name
    };
    if let Some(max_value) = max_value {
        result = clip(site, "max_value", &result, 0.0, max_value);
    }
    if slope != 0.0 {
        let bound = site.graph.scalar(&site.name("bound"), threshold);
        let below = site.elementwise("below", "Sub", &[&bound, x], shape).name;
        let below = site.elementwise("below_relu", "Relu", &[&below], shape).name;
        let slope = site.graph.scalar(&site.name("negative_slope"), slope);
        let below = site.elementwise("slope", "Mul", &[&below, &slope], shape).name;
        result = site.elementwise("sum", "Sub", &[&result, &below], shape).name;
    }
    Ok(Value { name: result, shape: shape.clone() })
}

/// `LeakyReLU`, whose slope Keras 2 calls `alpha`.
pub(super) fn leaky_relu(site: &mut Site<'_>, inputs: &[&Value]) -> Result<Value, ModelError> {
    let slope = match site.layer.float("negative_slope")? {
        Some(slope) => Some(slope),
        None => site.layer.float("alpha")?,
    };
    with_alpha(site, inputs, "LeakyRelu", slope.unwrap_or(0.3))
}

/// `ELU`.
pub(super) fn elu(site: &mut Site<'_>, inputs: &[&Value]) -> Result<Value, ModelError> {
    let alpha = site.layer.float("alpha")?.unwrap_or(1.0);
    with_alpha(site, inputs, "Elu", alpha)
}

fn with_alpha(
    site: &mut Site<'_>,
    inputs: &[&Value],
    operator: &str,
    alpha: f32,
) -> Result<Value, ModelError> {
    let input = site.only(inputs)?;
    let attributes = [Attribute::Float("alpha", alpha)];
    let name = site.graph.node(&site.layer.name, operator, &[&input.name], &attributes);
    Ok(Value { name, shape: input.shape.clone() })
}

/// `Softmax` over one axis.
pub(super) fn softmax(site: &mut Site<'_>, inputs: &[&Value]) -> Result<Value, ModelError> {
    let input = site.only(inputs)?;
    let axis = site.layer.axis("axis", -1, input.shape.len())?;
    let attributes = [Attribute::Int("axis", axis as i64 + 1)];
    let name = site.graph.node(&site.layer.name, "Softmax", &[&input.name], &attributes);
    Ok(Value { name, shape: input.shape.clone() })
}
