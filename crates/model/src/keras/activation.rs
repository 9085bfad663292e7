//! Keras's activation functions, composed of ONNX operators.
//!
//! Operators that lose precision or overflow in one of the engines (`Softplus`, `Mish`, `Gelu`) are
//! composed of others, as Keras computes them.

use serde_json::Value as Json;

use super::config::excerpt;
use super::convert::Site;
use super::layers;
use crate::ModelError;
use crate::onnx::graph::{Attribute, Value};

const SUPPORTED: &str = "linear, relu, relu6, leaky_relu, elu, celu, selu, gelu, silu, swish, mish, \
     softplus, softsign, squareplus, softmax, log_softmax, sigmoid, log_sigmoid, hard_sigmoid, \
     hard_silu, hard_swish, tanh, hard_tanh, tanh_shrink, exponential, or a layer ReLU, LeakyReLU, \
     ELU or Softmax";

/// Applies the activation that a layer names in its option `activation`.
pub(super) fn of_layer(site: &mut Site<'_>, value: Value) -> Result<Value, ModelError> {
    let layer = site.layer;
    let Some(option) = layer.option("activation") else { return Ok(value) };
    if let Some(name) = option.as_str() {
        return apply(site, name, value);
    }
    // Keras 3 wraps some functions: {"class_name": "function", "config": "relu"}.
    if let (Some("function"), Some(name)) =
        (option["class_name"].as_str(), option["config"].as_str())
    {
        return apply(site, name, value);
    }
    let nested = layer.nested(option).map_err(|_| unsupported(site, option))?;
    let mut site = Site { layer: &nested, file: site.file, graph: &mut *site.graph };
    match nested.class.as_str() {
        "ReLU" | "LeakyReLU" | "ELU" | "Softmax" => layers::convert(&mut site, &[&value]),
        _ => Err(unsupported(&site, option)),
    }
}

fn unsupported(site: &Site<'_>, option: &Json) -> ModelError {
    site.layer.unsupported("activation", excerpt(option), SUPPORTED)
}

/// Applies the activation function of this name.
fn apply(site: &mut Site<'_>, activation: &str, value: Value) -> Result<Value, ModelError> {
    let mut steps = Steps { site, activation, shape: value.shape.clone() };
    let x = value.name.as_str();
    let name = match activation {
        "linear" => return Ok(value),
        "relu" => steps.node("Relu", &[x]),
        "relu6" => steps.clip(x, 0.0, 6.0),
        "leaky_relu" => steps.with("LeakyRelu", x, &[Attribute::Float("alpha", 0.2)]),
        "elu" | "celu" => steps.with("Elu", x, &[Attribute::Float("alpha", 1.0)]),
        "selu" => steps.node("Selu", &[x]),
        "gelu" => steps.gelu(x),
        "silu" | "swish" => {
            let gate = steps.node("Sigmoid", &[x]);
            steps.node("Mul", &[x, &gate])
        }
        "mish" => {
            let softplus = steps.softplus(x);
            let gate = steps.node("Tanh", &[&softplus]);
            steps.node("Mul", &[x, &gate])
        }
        "softplus" => steps.softplus(x),
        "log_sigmoid" => {
            let opposite = steps.node("Neg", &[x]);
            let softplus = steps.softplus(&opposite);
            steps.node("Neg", &[&softplus])
        }
        "softsign" => steps.node("Softsign", &[x]),
        "squareplus" => {
            let square = steps.node("Mul", &[x, x]);
            let shifted = steps.constant("Add", &square, 4.0);
            let root = steps.node("Sqrt", &[&shifted]);
            let sum = steps.node("Add", &[x, &root]);
            steps.constant("Mul", &sum, 0.5)
        }
        "softmax" => steps.with("Softmax", x, &[Attribute::Int("axis", -1)]),
        "log_softmax" => steps.with("LogSoftmax", x, &[Attribute::Int("axis", -1)]),
        "sigmoid" => steps.node("Sigmoid", &[x]),
        "hard_sigmoid" => steps.hard_sigmoid(x),
        "hard_silu" | "hard_swish" => {
            let gate = steps.hard_sigmoid_of_keras_3(x);
            steps.node("Mul", &[x, &gate])
        }
        "tanh" => steps.node("Tanh", &[x]),
        "hard_tanh" => steps.clip(x, -1.0, 1.0),
        "tanh_shrink" => {
            let tanh = steps.node("Tanh", &[x]);
            steps.node("Sub", &[x, &tanh])
        }
        "exponential" => steps.node("Exp", &[x]),
        _ => return Err(unsupported(site, &Json::from(activation))),
    };
    Ok(Value { name, shape: value.shape })
}

/// Composes one activation of operators.
struct Steps<'s, 'l> {
    site: &'s mut Site<'l>,
    activation: &'s str,
    shape: Vec<usize>,
}

impl Steps<'_, '_> {
    fn node(&mut self, operator: &str, inputs: &[&str]) -> String {
        let part = format!("{}/{}", self.activation, operator.to_lowercase());
        self.site.elementwise(&part, operator, inputs, &self.shape).name
    }

    fn with(&mut self, operator: &str, x: &str, attributes: &[Attribute]) -> String {
        let name = self.site.name(self.activation);
        self.site.graph.node(&name, operator, &[x], attributes)
    }

    /// `x` combined with a number.
    fn constant(&mut self, operator: &str, x: &str, value: f32) -> String {
        let name = self.site.name(&format!("{}/constant", self.activation));
        let constant = self.site.graph.scalar(&name, value);
        self.node(operator, &[x, &constant])
    }

    fn clip(&mut self, x: &str, low: f32, high: f32) -> String {
        clip(self.site, self.activation, x, low, high)
    }

    /// `ln(1 + exp x)` as `max(x, 0) + ln(1 + exp -|x|)`, which does not overflow.
    fn softplus(&mut self, x: &str) -> String {
        let magnitude = self.node("Abs", &[x]);
        let opposite = self.node("Neg", &[&magnitude]);
        let small = self.node("Exp", &[&opposite]);
        let shifted = self.constant("Add", &small, 1.0);
        let log = self.node("Log", &[&shifted]);
        let positive = self.node("Relu", &[x]);
        self.node("Add", &[&positive, &log])
    }

    /// The exact one: Keras writes a model's `gelu` only with `approximate=False`.
    fn gelu(&mut self, x: &str) -> String {
        let scaled = self.constant("Mul", x, std::f32::consts::FRAC_1_SQRT_2);
        let erf = self.node("Erf", &[&scaled]);
        let shifted = self.constant("Add", &erf, 1.0);
        let half = self.constant("Mul", x, 0.5);
        self.node("Mul", &[&half, &shifted])
    }

    fn hard_sigmoid(&mut self, x: &str) -> String {
        if self.site.file.is_keras_2() {
            let slope = self.constant("Mul", x, 0.2);
            let shifted = self.constant("Add", &slope, 0.5);
            return self.clip(&shifted, 0.0, 1.0);
        }
        self.hard_sigmoid_of_keras_3(x)
    }

    fn hard_sigmoid_of_keras_3(&mut self, x: &str) -> String {
        let shifted = self.constant("Add", x, 3.0);
        let clipped = self.clip(&shifted, 0.0, 6.0);
        self.constant("Mul", &clipped, 1.0 / 6.0)
    }
}

/// `x` limited to `low..=high`.
pub(super) fn clip(site: &mut Site<'_>, part: &str, x: &str, low: f32, high: f32) -> String {
    let low = site.graph.scalar(&site.name(&format!("{part}/low")), low);
    let high = site.graph.scalar(&site.name(&format!("{part}/high")), high);
    site.graph.node(&site.name(&format!("{part}/clip")), "Clip", &[x, &low, &high], &[])
}
