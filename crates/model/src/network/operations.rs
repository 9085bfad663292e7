//! What each node of a network costs: weights and operations.
//!
//! Counted as is usual for networks of this kind: multiplications with an addition ("MACs") in convolutions and matrix
//! products, for one sample. Everything else (activations, pooling, normalisation that was not folded) counts as
//! nothing; it is a few per cent of the time.

use std::collections::HashMap;

use tract_onnx::pb;

use super::{Network, normalise};

/// One node of a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// The node's name, or that of its first output.
    pub name: String,
    /// The operator.
    pub operator: String,
    /// The first output.
    pub output: String,
    /// The shape of one sample of it; `None` where it is not floats for each sample.
    pub shape: Option<Vec<usize>>,
    /// The weights that it takes and no node before it did.
    pub parameters: usize,
    /// Multiplications with an addition, for one sample.
    pub macs: u64,
}

/// Counts what each node of `network` costs, in their order.
pub(super) fn count(network: &Network) -> Vec<Operation> {
    let graph = network.graph();
    let weights: HashMap<&str, &pb::TensorProto> =
        graph.initializer.iter().map(|tensor| (tensor.name.as_str(), tensor)).collect();
    let constants: HashMap<&str, &pb::TensorProto> = graph
        .node
        .iter()
        .filter(|node| node.op_type == "Constant")
        .filter_map(|node| {
            let value = node.attribute.iter().find_map(|attribute| attribute.t.as_ref())?;
            Some((node.output.first()?.as_str(), value))
        })
        .collect();
    let mut counted = std::collections::HashSet::new();
    graph
        .node
        .iter()
        .map(|node| {
            let output = node.output.first().cloned().unwrap_or_default();
            let sizes = |tensor: &str| -> Option<Vec<usize>> {
                let constant = weights.get(tensor).or_else(|| constants.get(tensor))?;
                constant.dims.iter().map(|&size| usize::try_from(size).ok()).collect()
            };
            let new = node.input.iter().filter(|input| counted.insert(input.as_str()));
            let parameters = new
                .filter_map(|input| {
                    weights.get(input.as_str()).or_else(|| constants.get(input.as_str()))
                })
                .filter(|tensor| is_float(tensor))
                .filter_map(|tensor| {
                    len(&tensor.dims.iter().map(|&size| size as usize).collect::<Vec<_>>())
                })
                .sum::<u64>() as usize;
            Operation {
                name: normalise::label(node).to_owned(),
                operator: node.op_type.clone(),
                shape: network.shapes.get(&output).cloned(),
                macs: macs(network, node, &sizes).unwrap_or(0),
                output,
                parameters,
            }
        })
        .collect()
}

fn is_float(tensor: &pb::TensorProto) -> bool {
    use pb::tensor_proto::DataType;
    matches!(tensor.data_type(), DataType::Float | DataType::Double | DataType::Float16)
}

fn len(sizes: &[usize]) -> Option<u64> {
    sizes.iter().try_fold(1u64, |len, &size| len.checked_mul(size as u64))
}

fn macs(
    network: &Network,
    node: &pb::NodeProto,
    sizes: &impl Fn(&str) -> Option<Vec<usize>>,
) -> Option<u64> {
    let output = len(network.shapes.get(node.output.first()?)?)?;
    let each = match node.op_type.as_str() {
        // Weights [filters, channels / groups, height, width]: each output takes all but the first.
        "Conv" => len(sizes(node.input.get(1)?)?.get(1..)?)?,
        // Weights [channels, filters / groups, height, width]: each input goes to all but the first.
        "ConvTranspose" => {
            let input = len(network.shapes.get(node.input.first()?)?)?;
            return input.checked_mul(len(sizes(node.input.get(1)?)?.get(1..)?)?);
        }
        "Gemm" => {
            let is_transposed = node
                .attribute
                .iter()
                .any(|attribute| attribute.name == "transB" && attribute.i != 0);
            let weights = sizes(node.input.get(1)?)?;
            *weights.get(usize::from(is_transposed))? as u64
        }
        "MatMul" => {
            let first = node.input.first()?;
            let shape = network.shapes.get(first).cloned().or_else(|| sizes(first))?;
            *shape.last()? as u64
        }
        _ => return None,
    };
    output.checked_mul(each)
}
