//! Lets the engine follow shapes that a network computes of its own batch size.
//!
//! tf2onnx and others compute the target of a `Reshape` from a `Shape`, in 32-bit integers because TensorFlow did. The
//! engine knows the batch size by a symbol, which a cast to 32 bits would have to make a number. What follows from a
//! `Shape` therefore stays what `Shape` gives, and so does what is combined with it: 64 bits.

use std::collections::HashSet;

use tract_onnx::pb;
use tract_onnx::pb::tensor_proto::DataType;

/// Operators that compute shapes of shapes.
const OF_SHAPES: [&str; 16] = [
    "Add",
    "Cast",
    "Concat",
    "Div",
    "Gather",
    "Identity",
    "Max",
    "Min",
    "Mul",
    "ReduceProd",
    "Reshape",
    "Slice",
    "Split",
    "Squeeze",
    "Sub",
    "Unsqueeze",
];

/// Removes casts between integers from what follows from a `Shape`; the nodes are sorted.
pub(super) fn widen(graph: &mut pb::GraphProto) {
    let mut shapes: HashSet<String> = HashSet::new();
    let mut constants: HashSet<String> = HashSet::new();
    for node in &mut graph.node {
        let follows = node.op_type == "Shape"
            || (OF_SHAPES.contains(&node.op_type.as_str())
                && node.input.iter().any(|input| shapes.contains(input)));
        // The second input of a `Reshape` is a shape; what is reshaped is none.
        let reshapes_values = node.op_type == "Reshape"
            && !node.input.first().is_some_and(|input| shapes.contains(input));
        if !follows || reshapes_values {
            continue;
        }
        if node.op_type == "Cast" {
            let to = node.attribute.iter().find(|attribute| attribute.name == "to");
            let is_integer = to
                .is_some_and(|to| [DataType::Int32 as i64, DataType::Int64 as i64].contains(&to.i));
            if !is_integer {
                continue;
            }
            "Identity".clone_into(&mut node.op_type);
            node.attribute.clear();
        }
        if node.op_type != "Shape" {
            constants.extend(node.input.iter().filter(|input| !shapes.contains(*input)).cloned());
        }
        shapes.extend(node.output.iter().cloned());
    }
    // A constant that something else takes too stays as it is.
    for node in &graph.node {
        if !node.output.iter().any(|output| shapes.contains(output)) {
            for input in &node.input {
                constants.remove(input);
            }
        }
    }
    let nodes = graph.node.iter_mut().filter(|node| node.op_type == "Constant");
    let of_nodes = nodes.filter_map(|node| {
        let output = node.output.first()?.clone();
        Some((output, node.attribute.iter_mut().find_map(|attribute| attribute.t.as_mut())?))
    });
    let weights = graph.initializer.iter_mut().map(|tensor| (tensor.name.clone(), tensor));
    for (name, tensor) in of_nodes.chain(weights) {
        if constants.contains(&name) && tensor.data_type == DataType::Int32 as i32 {
            to_64_bits(tensor);
        }
    }
}

fn to_64_bits(tensor: &mut pb::TensorProto) {
    if tensor.raw_data.is_empty() {
        tensor.int64_data = tensor.int32_data.drain(..).map(i64::from).collect();
    } else {
        let values = tensor.raw_data.chunks_exact(4).map(|bytes| {
            i32::from_le_bytes(bytes.try_into().expect("chunks of four bytes are four bytes long"))
        });
        tensor.raw_data = values.flat_map(|value| i64::from(value).to_le_bytes()).collect();
    }
    tensor.data_type = DataType::Int64 as i32;
}
