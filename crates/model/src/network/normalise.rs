//! Brings an ONNX file into the one form that the rest of this module works on.
//!
//! - Weights are no inputs: files of format version 3 list them there, for callers to replace.
//! - Nodes come after those that they take values from, and each tensor is made once.
//! - Shapes that the exporter noted are dropped: they name the batch dimension in their own way, or fix it.
//! - Shapes that are computed of the batch size stay in 64 bits.
//! - A batch of a fixed size, as exporters write it unless told otherwise, is not built into any `Reshape`.

use std::collections::{HashMap, HashSet};

use tract_onnx::pb;
use tract_onnx::pb::tensor_shape_proto::dimension::Value as Dimension;

use super::{shape_types, suggest};
use crate::ModelError;

/// Far more than any network that a tier runs; bounds the work that a file can ask for.
const MAX_NODES: usize = 20_000;
/// The first operator set whose `Reshape`, `Dropout` and `BatchNormalization` are those of today.
const OLDEST_OPERATOR_SET: i64 = 7;
/// The first format version in which weights need not be inputs.
const FORMAT_VERSION: i64 = 4;

/// Operators that networks do have and the engine has not, and what works in their place.
const INSTEAD: [(&str, &str); 12] = [
    ("LpPool", "average or max pooling"),
    ("GlobalLpPool", "global average pooling"),
    ("MaxUnpool", "`Resize` or `ConvTranspose`"),
    ("RoiAlign", "cropping before the network"),
    ("MaxRoiPool", "cropping before the network"),
    ("Upsample", "`Resize`: export with operator set 10 or newer"),
    ("DeformConv", "`Conv`"),
    ("Bernoulli", "nothing random: export for inference (`model.eval()`)"),
    ("Softmin", "`Neg` and `Softmax`"),
    ("StringNormalizer", "numbers: prepare text before the network"),
    ("Optional", "a network without optional values"),
    ("SequenceAt", "`Split` or `Slice` in place of a sequence"),
];

/// Normalises `model`, the file `name`.
pub(super) fn normalise(name: &str, model: &mut pb::ModelProto) -> Result<(), ModelError> {
    let fail = |problem: String| ModelError::Network { name: name.to_owned(), problem };
    if let Some(function) = model.functions.first() {
        let function = function.name.as_deref().unwrap_or_default();
        return Err(fail(format!(
            "it defines functions of its own (`{function}`), expected plain nodes; inline them \
             (`onnx.inliner.inline_local_functions`)"
        )));
    }
    match operator_set(model) {
        Some(version) if version < OLDEST_OPERATOR_SET => {
            return Err(fail(format!(
                "it uses operator set {version}, expected {OLDEST_OPERATOR_SET} or newer; \
                 `onnx.version_converter` converts it"
            )));
        }
        Some(_) => {}
        None => return Err(fail("it does not say which operator set it uses".to_owned())),
    }
    model.ir_version = model.ir_version.max(FORMAT_VERSION);
    model.training_info.clear();
    let Some(graph) = model.graph.as_mut() else {
        return Err(ModelError::NotOnnx {
            name: name.to_owned(),
            reason: "it holds no graph".to_owned(),
        });
    };
    if graph.node.len() > MAX_NODES || graph.initializer.len() > MAX_NODES {
        let found = graph.node.len().max(graph.initializer.len());
        return Err(fail(format!("it has {found} nodes or weights, expected at most {MAX_NODES}")));
    }
    if let Some(sparse) = graph.sparse_initializer.first() {
        let tensor = sparse.values.as_ref().map_or("", |values| values.name.as_str());
        return Err(fail(format!("its weights `{tensor}` are sparse, expected dense ones")));
    }
    graph.value_info.clear();
    graph.quantization_annotation.clear();
    let weights: HashSet<String> =
        graph.initializer.iter().map(|tensor| tensor.name.clone()).collect();
    graph.input.retain(|input| !weights.contains(&input.name));
    for node in &graph.node {
        check_operator(name, node)?;
    }
    sort(name, graph)?;
    free_batch(graph);
    shape_types::widen(graph);
    Ok(())
}

/// The version of ONNX's own operators.
pub(super) fn operator_set(model: &pb::ModelProto) -> Option<i64> {
    let own = |import: &&pb::OperatorSetIdProto| matches!(&*import.domain, "" | "ai.onnx");
    model.opset_import.iter().find(own).map(|import| import.version)
}

/// Operators that the engine computes differently from ONNX Runtime (`cargo xtask peers` compares them), and what
/// works in their place.
const WRONG: [(&str, &str); 2] = [
    ("Celu", "`Elu`, which is the same for alpha = 1"),
    ("MeanVarianceNormalization", "`InstanceNormalization` or `LayerNormalization`"),
];

fn check_operator(name: &str, node: &pb::NodeProto) -> Result<(), ModelError> {
    let known = tract_onnx::onnx().op_register.0;
    let is_wrong = WRONG.iter().any(|(operator, _)| *operator == node.op_type);
    if known.contains_key(&node.op_type) && !is_wrong {
        return Ok(());
    }
    let instead = WRONG.iter().chain(&INSTEAD).find(|(operator, _)| *operator == node.op_type);
    let way_out = match instead {
        Some((_, instead)) => format!("; what works: {instead}"),
        None => suggest::phrase(&suggest::nearest(&node.op_type, known.keys().map(String::as_str))),
    };
    let domain = if node.domain.is_empty() { "ai.onnx" } else { &node.domain };
    Err(ModelError::Operator {
        name: name.to_owned(),
        node: label(node).to_owned(),
        operator: node.op_type.clone(),
        domain: domain.to_owned(),
        way_out,
    })
}

/// What a node is called: names are optional.
pub(super) fn label(node: &pb::NodeProto) -> &str {
    let first = || node.output.first().map(String::as_str).unwrap_or_default();
    if node.name.is_empty() { first() } else { &node.name }
}

/// Puts each node after those that it takes values from (Kahn, 1962), otherwise in the file's order.
fn sort(name: &str, graph: &mut pb::GraphProto) -> Result<(), ModelError> {
    let fail = |problem: String| ModelError::Network { name: name.to_owned(), problem };
    let given = graph.input.iter().map(|input| input.name.as_str());
    let weights = graph.initializer.iter().map(|tensor| tensor.name.as_str());
    let mut made: HashMap<&str, Option<usize>> = HashMap::new();
    let nodes = graph.node.iter().enumerate().flat_map(|(at, node)| {
        let outputs = node.output.iter().filter(|output| !output.is_empty());
        outputs.map(move |output| (output.as_str(), Some(at)))
    });
    for (tensor, maker) in given.chain(weights).map(|tensor| (tensor, None)).chain(nodes) {
        if made.insert(tensor, maker).is_some() {
            return Err(fail(format!("tensor `{tensor}` is made twice")));
        }
    }
    let mut waits = vec![0usize; graph.node.len()];
    let mut followers = vec![Vec::new(); graph.node.len()];
    for (at, node) in graph.node.iter().enumerate() {
        for input in node.input.iter().filter(|input| !input.is_empty()) {
            match made.get(input.as_str()) {
                Some(None) => {}
                Some(&Some(maker)) => {
                    waits[at] += 1;
                    followers[maker].push(at);
                }
                None => {
                    return Err(fail(format!(
                        "node `{}` ({}) takes `{input}`, which nothing makes",
                        label(node),
                        node.op_type
                    )));
                }
            }
        }
    }
    if let Some(output) = graph.output.iter().find(|output| !made.contains_key(&*output.name)) {
        return Err(fail(format!("its output `{}` is a tensor that nothing makes", output.name)));
    }
    let mut ready: std::collections::BTreeSet<usize> =
        (0..waits.len()).filter(|&at| waits[at] == 0).collect();
    let mut order = Vec::with_capacity(waits.len());
    while let Some(at) = ready.pop_first() {
        order.push(at);
        for &follower in &followers[at] {
            waits[follower] -= 1;
            if waits[follower] == 0 {
                ready.insert(follower);
            }
        }
    }
    if let Some(at) = waits.iter().position(|&waits| waits > 0) {
        let node = &graph.node[at];
        return Err(fail(format!("node `{}` ({}) waits for itself", label(node), node.op_type)));
    }
    let mut nodes: Vec<Option<pb::NodeProto>> =
        std::mem::take(&mut graph.node).into_iter().map(Some).collect();
    graph.node = order.into_iter().filter_map(|at| nodes[at].take()).collect();
    Ok(())
}

/// Lets each `Reshape` that names the declared batch size keep its input's first dimension instead.
///
/// A network that was exported for a batch of `n` has `n` as the first size of the shapes of its `Reshape`s; 0 there
/// means "as it was" (unless `allowzero`).
fn free_batch(graph: &mut pb::GraphProto) {
    let Some(batch) = graph.input.first().and_then(declared_batch) else { return };
    let keeps_zero = |node: &&pb::NodeProto| {
        node.attribute.iter().all(|attribute| attribute.name != "allowzero" || attribute.i == 0)
    };
    let dependent = dependent(graph);
    // Weights may be reshaped too, and their first size is no batch; a shape that a `Reshape` of weights shares
    // with one of activations stays as it is.
    let (activations, weights): (Vec<_>, Vec<_>) = graph
        .node
        .iter()
        .filter(|node| node.op_type == "Reshape")
        .filter(keeps_zero)
        .partition(|node| node.input.first().is_some_and(|input| dependent.contains(input)));
    let names = |nodes: Vec<&pb::NodeProto>| -> HashSet<String> {
        nodes.into_iter().filter_map(|node| node.input.get(1)).cloned().collect()
    };
    let (shapes, fixed) = (names(activations), names(weights));
    let constants = graph.node.iter_mut().filter(|node| node.op_type == "Constant");
    let constants = constants.filter_map(|node| {
        let name = node.output.first()?.clone();
        Some((name, node.attribute.iter_mut().find_map(|attribute| attribute.t.as_mut())?))
    });
    let weights = graph.initializer.iter_mut().map(|tensor| (tensor.name.clone(), tensor));
    for (name, tensor) in constants.chain(weights) {
        if shapes.contains(&name) && !fixed.contains(&name) && tensor.dims.len() == 1 {
            keep_first(tensor, batch);
        }
    }
}

/// The tensors that depend on the input; the nodes are sorted.
pub(super) fn dependent(graph: &pb::GraphProto) -> HashSet<String> {
    let mut dependent: HashSet<String> =
        graph.input.iter().map(|input| input.name.clone()).collect();
    for node in &graph.node {
        if node.input.iter().any(|input| dependent.contains(input)) {
            dependent.extend(node.output.iter().filter(|output| !output.is_empty()).cloned());
        }
    }
    dependent
}

/// The batch size that an input declares, if it is a fixed one.
fn declared_batch(input: &pb::ValueInfoProto) -> Option<i64> {
    let pb::type_proto::Value::TensorType(tensor) = input.r#type.as_ref()?.value.as_ref()?;
    match tensor.shape.as_ref()?.dim.first()?.value.as_ref()? {
        Dimension::DimValue(size) => Some(*size).filter(|&size| size > 0),
        Dimension::DimParam(_) => None,
    }
}

/// Replaces the first size of a shape by 0 where it is the batch's.
fn keep_first(shape: &mut pb::TensorProto, batch: i64) {
    if let Some(first) = shape.int64_data.first_mut() {
        if *first == batch {
            *first = 0;
        }
    } else if let Some(first) = shape.raw_data.first_chunk_mut::<8>()
        && i64::from_le_bytes(*first) == batch
    {
        *first = 0i64.to_le_bytes();
    }
}
