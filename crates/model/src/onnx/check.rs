//! Checks a decoded ONNX file before the engine sees it.
//!
//! The engine trusts much of what a file says about itself (the length of a tensor's data, that a
//! named output exists). A file may come from anywhere, so what the engine trusts is checked here,
//! and the errors can name the tensor or the output instead of a line in the engine.
//!
//! Some operators make large values of small ones, and the engine computes what depends on nothing
//! but weights while it loads. Sizes are therefore bounded here too. What remains possible is to
//! make it combine two long weight vectors into a matrix; such a file is itself of many megabytes.

use std::collections::HashMap;

use tract_onnx::pb;
use tract_onnx::pb::tensor_proto::{DataLocation, DataType};
use tract_onnx::pb::tensor_shape_proto::dimension::Value as Dimension;

use super::{EXIT, FEATURES};
use crate::ModelError;

/// The most values that one tensor of weights may have, and one activation of one sample.
pub(crate) const MAX_ELEMENTS: usize = 1 << 24;

/// The most values under a window that slides over an image, and the most pixels by which it moves,
/// dilates or pads.
const MAX_WINDOW: i64 = 1 << 16;
const MAX_STEP: i64 = 1 << 12;

/// Operators that give as many values as an input of theirs says, and the position of that input.
const SIZED: [(&str, usize); 8] = [
    ("ConstantOfShape", 0),
    ("Expand", 1),
    ("OneHot", 1),
    ("Pad", 1),
    ("Range", 1),
    ("Resize", 3),
    ("Tile", 1),
    ("Upsample", 1),
];

/// What a file says that it takes and gives.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Signature {
    pub(crate) input: String,
    /// Per sample.
    pub(crate) input_shape: Vec<usize>,
    pub(crate) features: Option<String>,
    pub(crate) exit: String,
    /// The number of weights, over all tensors of numbers with a fraction.
    pub(crate) parameters: usize,
}

/// Checks the file `name`.
pub(crate) fn check(name: &str, model: &pb::ModelProto) -> Result<Signature, ModelError> {
    let graph = model.graph.as_ref().ok_or_else(|| ModelError::NotOnnx {
        name: name.to_owned(),
        reason: "it holds no graph".to_owned(),
    })?;
    let mut parameters = 0;
    for tensor in &graph.initializer {
        parameters += check_tensor(name, &tensor.name, tensor)?;
    }
    for node in &graph.node {
        parameters += check_node(name, node)?;
        check_size(name, graph, node)?;
    }
    let (input, input_shape) = check_input(name, graph)?;
    let (features, exit) = check_outputs(name, graph)?;
    check_softmax(name, graph, &exit)?;
    Ok(Signature { input, input_shape, features, exit, parameters })
}

/// Checks one tensor and returns the number of its weights.
pub(crate) fn check_tensor(
    name: &str,
    tensor_name: &str,
    tensor: &pb::TensorProto,
) -> Result<usize, ModelError> {
    let fail = |problem: String| ModelError::Tensor {
        name: name.to_owned(),
        tensor: tensor_name.to_owned(),
        problem,
    };
    if tensor.data_location == Some(DataLocation::External as i32) {
        return Err(fail(
            "is kept in another file, expected inside this one; `offramp model import` makes one of both".to_owned(),
        ));
    }
    let len = tensor
        .dims
        .iter()
        .try_fold(1usize, |len, &size| len.checked_mul(usize::try_from(size).ok()?))
        .filter(|&len| len <= MAX_ELEMENTS)
        .ok_or_else(|| {
            fail(format!("has shape {:?}, expected at most {MAX_ELEMENTS} values", tensor.dims))
        })?;
    let (width, typed) = match DataType::try_from(tensor.data_type) {
        Ok(DataType::Float) => (4, tensor.float_data.len()),
        Ok(DataType::Double) => (8, tensor.double_data.len()),
        Ok(DataType::Int64 | DataType::Uint64) => (8, tensor.int64_data.len()),
        Ok(DataType::Int32 | DataType::Uint32) => (4, tensor.int32_data.len()),
        Ok(DataType::Float16 | DataType::Int16 | DataType::Uint16) => (2, tensor.int32_data.len()),
        Ok(DataType::Int8 | DataType::Uint8 | DataType::Bool) => (1, tensor.int32_data.len()),
        _ => return Err(fail(format!("has data type {}, expected numbers", tensor.data_type))),
    };
    let found = if tensor.raw_data.is_empty() { typed * width } else { tensor.raw_data.len() };
    if found != len * width {
        return Err(fail(format!(
            "has shape {:?} and {found} bytes of data, expected {}",
            tensor.dims,
            len * width
        )));
    }
    match tensor.data_type() {
        DataType::Float => check_finite(name, tensor_name, tensor)?,
        DataType::Double | DataType::Float16 => {}
        _ => return Ok(0),
    }
    Ok(len)
}

fn check_finite(name: &str, tensor_name: &str, tensor: &pb::TensorProto) -> Result<(), ModelError> {
    let raw = tensor.raw_data.chunks_exact(4).map(|bytes| {
        f32::from_le_bytes(bytes.try_into().expect("chunks of four bytes are four bytes long"))
    });
    match raw.chain(tensor.float_data.iter().copied()).find(|value| !value.is_finite()) {
        None => Ok(()),
        Some(value) => Err(ModelError::NotFinite {
            name: name.to_owned(),
            tensor: tensor_name.to_owned(),
            value,
        }),
    }
}

/// Checks what a node carries and returns the number of its weights.
pub(crate) fn check_node(name: &str, node: &pb::NodeProto) -> Result<usize, ModelError> {
    let mut parameters = 0;
    for attribute in &node.attribute {
        if attribute.g.is_some() || !attribute.graphs.is_empty() {
            return Err(ModelError::Tensor {
                name: name.to_owned(),
                tensor: node.name.clone(),
                problem: format!("is a `{}` with a graph inside, expected none", node.op_type),
            });
        }
        for tensor in attribute.t.iter().chain(&attribute.tensors) {
            parameters += check_tensor(name, &node.name, tensor)?;
        }
        if let Some(expected) = misfit(attribute) {
            return Err(ModelError::Tensor {
                name: name.to_owned(),
                tensor: node.name.clone(),
                problem: format!(
                    "has {} = {:?}, expected {expected}",
                    attribute.name, attribute.ints
                ),
            });
        }
    }
    Ok(parameters)
}

/// What was expected of an attribute that the engine would trust and should not.
fn misfit(attribute: &pb::AttributeProto) -> Option<String> {
    let values = &attribute.ints;
    let within = |low: i64, high: i64| values.iter().all(|value| (low..=high).contains(value));
    match attribute.name.as_str() {
        "kernel_shape" => {
            let product = values.iter().try_fold(1i64, |a, &b| a.checked_mul(b));
            let fits = within(1, MAX_WINDOW) && product.is_some_and(|len| len <= MAX_WINDOW);
            (!fits).then(|| format!("at most {MAX_WINDOW} values"))
        }
        "strides" | "dilations" => {
            (!within(1, MAX_STEP)).then(|| format!("steps of 1 to {MAX_STEP}"))
        }
        "pads" | "output_padding" => {
            (!within(0, MAX_STEP)).then(|| format!("sizes of 0 to {MAX_STEP}"))
        }
        "perm" => {
            let mut sorted = values.clone();
            sorted.sort_unstable();
            let fits = sorted.iter().copied().eq(0..values.len() as i64);
            (!fits).then(|| "each axis once".to_owned())
        }
        _ => None,
    }
}

/// Checks how much an operator that makes large values of small ones is asked for.
pub(crate) fn check_size(
    name: &str,
    graph: &pb::GraphProto,
    node: &pb::NodeProto,
) -> Result<(), ModelError> {
    let Some((_, position)) = SIZED.iter().find(|(operator, _)| *operator == node.op_type) else {
        return Ok(());
    };
    let Some(input) = node.input.get(*position).filter(|input| !input.is_empty()) else {
        return Ok(());
    };
    let made = graph.node.iter().filter(|node| node.output.contains(input));
    let constant = graph
        .initializer
        .iter()
        .find(|tensor| tensor.name == *input)
        .or_else(|| made.flat_map(|node| &node.attribute).find_map(|value| value.t.as_ref()));
    let within = constant.is_some_and(|tensor| {
        let raw = tensor.raw_data.chunks_exact(8).map(|bytes| {
            i64::from_le_bytes(bytes.try_into().expect("chunks of eight bytes are eight long"))
        });
        let product = raw
            .chain(tensor.int64_data.iter().copied())
            .try_fold(1u64, |product, value| product.checked_mul(value.unsigned_abs().max(1)));
        product.is_some_and(|product| product <= MAX_ELEMENTS as u64)
    });
    if within {
        return Ok(());
    }
    Err(ModelError::Tensor {
        name: name.to_owned(),
        tensor: node.name.clone(),
        problem: format!(
            "is a `{}` of a size that is computed or more than {MAX_ELEMENTS}",
            node.op_type
        ),
    })
}

pub(crate) fn check_input(
    name: &str,
    graph: &pb::GraphProto,
) -> Result<(String, Vec<usize>), ModelError> {
    let fail = |what, found: String, expected: &str| ModelError::Signature {
        name: name.to_owned(),
        what,
        found,
        expected: expected.to_owned(),
    };
    let mut inputs = graph
        .input
        .iter()
        .filter(|input| graph.initializer.iter().all(|initializer| initializer.name != input.name));
    let (Some(input), None) = (inputs.next(), inputs.next()) else {
        let names: Vec<&str> = graph.input.iter().map(|input| input.name.as_str()).collect();
        return Err(fail("the list of inputs", format!("{names:?}"), "exactly one"));
    };
    let Some(pb::type_proto::Value::TensorType(tensor)) =
        input.r#type.as_ref().and_then(|kind| kind.value.as_ref())
    else {
        return Err(fail("the input", "without a type".to_owned(), "a tensor of 32-bit floats"));
    };
    if DataType::try_from(tensor.elem_type) != Ok(DataType::Float) {
        let found = DataType::try_from(tensor.elem_type)
            .map_or_else(|_| tensor.elem_type.to_string(), |kind| kind.as_str_name().to_owned());
        return Err(fail("the input's type", found, "FLOAT (32 bits)"));
    }
    let dimensions: Vec<Option<&Dimension>> = tensor
        .shape
        .iter()
        .flat_map(|shape| &shape.dim)
        .map(|dimension| dimension.value.as_ref())
        .collect();
    let shape: Option<Vec<usize>> = dimensions
        .iter()
        .skip(1)
        .map(|dimension| match dimension {
            Some(Dimension::DimValue(size)) => usize::try_from(*size).ok().filter(|&size| size > 0),
            _ => None,
        })
        .collect();
    let within = |shape: &Vec<usize>| {
        let len = shape.iter().try_fold(1usize, |len, &size| len.checked_mul(size));
        !shape.is_empty() && len.is_some_and(|len| len <= MAX_ELEMENTS)
    };
    match shape.filter(within) {
        Some(shape) => Ok((input.name.clone(), shape)),
        None => Err(fail(
            "the input's shape",
            format!("{dimensions:?}"),
            "a batch dimension and one or more fixed sizes",
        )),
    }
}

/// The names of the outputs: features (unless this is a last tier's) and exit.
fn check_outputs(
    name: &str,
    graph: &pb::GraphProto,
) -> Result<(Option<String>, String), ModelError> {
    let names: Vec<&str> = graph.output.iter().map(|output| output.name.as_str()).collect();
    let Some((features, exit)) = features_and_exit(&names) else {
        return Err(ModelError::Signature {
            name: name.to_owned(),
            what: "the list of outputs",
            found: format!("{names:?}"),
            expected: "[exit] or [features, exit]".to_owned(),
        });
    };
    for output in features.iter().chain([&exit]) {
        let made = graph.node.iter().any(|node| node.output.iter().any(|made| made == output));
        let given = graph.input.iter().any(|input| input.name == **output);
        if !made && !given {
            return Err(ModelError::Signature {
                name: name.to_owned(),
                what: "an output",
                found: format!("`{output}`"),
                expected: "the name of a value that a node makes".to_owned(),
            });
        }
    }
    Ok((features.map(str::to_owned), exit.to_owned()))
}

/// Which of the outputs is the features and which the exit.
///
/// Names decide. Where they are foreign, one output is the exit and of two the first is the
/// features, as the paper's Keras models have them.
pub(crate) fn features_and_exit<'n>(names: &[&'n str]) -> Option<(Option<&'n str>, &'n str)> {
    match *names {
        [exit] => Some((None, exit)),
        [exit @ EXIT, features] | [exit, features @ FEATURES] => Some((Some(features), exit)),
        [features, exit] if features != exit => Some((Some(features), exit)),
        _ => None,
    }
}

/// Follows the exit back to the operator that made its values.
fn check_softmax(name: &str, graph: &pb::GraphProto, exit: &str) -> Result<(), ModelError> {
    let makers: HashMap<&str, &pb::NodeProto> = graph
        .node
        .iter()
        .flat_map(|node| node.output.iter().map(move |output| (output.as_str(), node)))
        .collect();
    let mut value = exit;
    // As many steps as nodes: a file may be cyclic.
    for _ in 0..=graph.node.len() {
        let Some(node) = makers.get(value) else { break };
        match node.op_type.as_str() {
            "Softmax" => return Ok(()),
            "Identity" | "Reshape" | "Flatten" | "Squeeze" | "Transpose" | "Dropout" => {
                let Some(input) = node.input.first() else { break };
                value = input;
            }
            operator => {
                return Err(ModelError::NoSoftmax {
                    name: name.to_owned(),
                    output: exit.to_owned(),
                    found: format!("the operator `{operator}`"),
                });
            }
        }
    }
    Err(ModelError::NoSoftmax {
        name: name.to_owned(),
        output: exit.to_owned(),
        found: "no operator".to_owned(),
    })
}
