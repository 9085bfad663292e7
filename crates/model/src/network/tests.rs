//! Networks that are built here node by node, cut, and run part by part.

use proptest::prelude::*;
use prost::Message as _;
use tract_onnx::pb;
use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::tensor_proto::DataType;

use super::*;
use crate::onnx::graph::declare;
use crate::random::Random;
use crate::{ImportOptions, SubModel};

/// What a network's parts may differ from it by: the promise of `offramp model split`.
const TOLERANCE: f32 = 1e-5;

/// A network under construction, for tests.
#[derive(Debug, Clone)]
pub(crate) struct Builder {
    graph: pb::GraphProto,
    random: u64,
}

impl Builder {
    pub(crate) fn new(input_shape: &[usize]) -> Builder {
        let input = vec![declare("x", input_shape)];
        Builder { graph: pb::GraphProto { input, ..Default::default() }, random: 1 }
    }

    pub(crate) fn weights(&mut self, name: &str, shape: &[usize]) -> String {
        self.random += 1;
        let mut random = Random::new(self.random);
        let len: usize = shape.iter().product();
        let fan = len / shape[0].max(1);
        let spread = 1.5 / (fan.max(1) as f32).sqrt();
        let values = (0..len).flat_map(|_| random.between(-spread, spread).to_le_bytes()).collect();
        self.constant(name, shape, DataType::Float, values)
    }

    pub(crate) fn integers(&mut self, name: &str, values: &[i64]) -> String {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.constant(name, &[values.len()], DataType::Int64, bytes)
    }

    fn constant(&mut self, name: &str, shape: &[usize], kind: DataType, raw: Vec<u8>) -> String {
        self.graph.initializer.push(pb::TensorProto {
            name: name.to_owned(),
            dims: shape.iter().map(|&size| size as i64).collect(),
            data_type: kind as i32,
            raw_data: raw,
            ..Default::default()
        });
        name.to_owned()
    }

    /// Adds a node that makes `output`; attributes are lists of integers, or one.
    pub(crate) fn node(
        &mut self,
        operator: &str,
        output: &str,
        inputs: &[&str],
        attributes: &[(&str, &[i64])],
    ) -> String {
        let attribute = attributes.iter().map(|(name, values)| {
            let is_list = ["pads", "strides", "kernel_shape", "perm"].contains(name);
            let kind = if is_list { AttributeType::Ints } else { AttributeType::Int };
            pb::AttributeProto {
                name: (*name).to_owned(),
                r#type: kind as i32,
                ints: if is_list { values.to_vec() } else { Vec::new() },
                i: if is_list { 0 } else { values[0] },
                ..Default::default()
            }
        });
        self.graph.node.push(pb::NodeProto {
            name: format!("{output}_node"),
            op_type: operator.to_owned(),
            input: inputs.iter().map(|input| (*input).to_owned()).collect(),
            output: vec![output.to_owned()],
            attribute: attribute.collect(),
            ..Default::default()
        });
        output.to_owned()
    }

    pub(crate) fn conv(&mut self, output: &str, input: &str, from: usize, to: usize) -> String {
        let weights = self.weights(&format!("{output}_w"), &[to, from, 3, 3]);
        let bias = self.weights(&format!("{output}_b"), &[to]);
        let attributes: [(&str, &[i64]); 2] = [("pads", &[1, 1, 1, 1]), ("kernel_shape", &[3, 3])];
        self.node("Conv", output, &[input, &weights, &bias], &attributes)
    }

    pub(crate) fn gemm(&mut self, output: &str, input: &str, from: usize, to: usize) -> String {
        let weights = self.weights(&format!("{output}_w"), &[to, from]);
        let bias = self.weights(&format!("{output}_b"), &[to]);
        self.node("Gemm", output, &[input, &weights, &bias], &[("transB", &[1])])
    }

    /// A head: flattened, `classes` logits named `name`.
    pub(crate) fn head(&mut self, name: &str, input: &str, from: usize, classes: usize) -> String {
        let flat = self.node("Flatten", &format!("{name}_flat"), &[input], &[("axis", &[1])]);
        self.gemm(name, &flat, from, classes)
    }

    pub(crate) fn model(mut self, outputs: &[&str]) -> pb::ModelProto {
        self.graph.output = outputs.iter().map(|output| declare(output, &[3])).collect();
        pb::ModelProto {
            ir_version: 8,
            opset_import: vec![pb::OperatorSetIdProto { version: 13, ..Default::default() }],
            producer_name: "a test".to_owned(),
            graph: Some(self.graph),
            ..Default::default()
        }
    }

    pub(crate) fn network(self, outputs: &[&str]) -> Network {
        Network::new("net.onnx", self.model(outputs)).unwrap()
    }
}

/// Three exits of logits, the second tier with a residual block; the last exit has a softmax.
pub(crate) fn residual() -> Builder {
    let mut net = Builder::new(&[1, 8, 8]);
    net.conv("conv1", "x", 1, 4);
    net.node("Relu", "relu1", &["conv1"], &[]);
    let pool: [(&str, &[i64]); 2] = [("kernel_shape", &[2, 2]), ("strides", &[2, 2])];
    net.node("MaxPool", "pool1", &["relu1"], &pool);
    net.head("exit1", "pool1", 64, 3);
    net.conv("conv2", "pool1", 4, 4);
    net.node("Relu", "relu2", &["conv2"], &[]);
    net.conv("conv3", "relu2", 4, 4);
    net.node("Add", "sum", &["conv3", "pool1"], &[]);
    net.node("Relu", "relu3", &["sum"], &[]);
    net.head("exit2", "relu3", 64, 3);
    net.conv("conv4", "relu3", 4, 6);
    net.node("Relu", "relu4", &["conv4"], &[]);
    net.head("logits", "relu4", 96, 3);
    net.node("Softmax", "exit3", &["logits"], &[("axis", &[1])]);
    net
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn split(network: &Network, cuts: &[&str], exits: &[&str]) -> Result<Vec<SubModel>, SplitError> {
    let parts = network.split(&names(cuts), &names(exits), &[])?;
    Ok(parts.iter().map(|part| part.sub_model().clone()).collect())
}

/// Cuts the network and compares the parts with it.
fn check(network: &Network, cuts: &[&str], exits: &[&str]) -> Vec<SubModel> {
    let parts = split(network, cuts, exits).unwrap();
    let difference = network.largest_difference(&parts, &names(cuts), &names(exits)).unwrap();
    assert!(difference <= TOLERANCE, "{cuts:?} {exits:?}: {difference}");
    parts
}

#[test]
fn the_parts_give_what_the_whole_network_gives() {
    let network = residual().network(&["exit1", "exit2", "exit3"]);
    let parts = check(&network, &["pool1", "relu3"], &["exit1", "exit2", "exit3"]);
    assert_eq!(parts[0].features_shape(), Some(&[4, 4, 4][..]));
    assert_eq!(parts[1].input_shape(), [4, 4, 4]);
    assert_eq!(parts[2].features_shape(), None);
    // Weights are where they are used, and nowhere else.
    let sum: usize = parts.iter().map(SubModel::parameters).sum();
    assert_eq!(sum, network.parameters());
    check(&network, &["pool1"], &["exit1", "exit3"]);
    check(&network, &["relu4"], &["exit2", "exit3"]);
    check(&network, &["logits"], &["exit2", "exit3"]);
    check(&network, &[], &["exit2"]);
    check(&network, &[], &["exit3"]);
}

#[test]
fn a_tensor_may_be_called_as_a_part_calls_its_own() {
    let mut net = Builder::new(&[6]);
    net.gemm("exit", "x", 6, 5);
    net.node("Relu", "features", &["exit"], &[]);
    net.gemm("input", "features", 5, 4);
    net.node("Tanh", "tanh", &["input"], &[]);
    net.gemm("exit_1", "tanh", 4, 3);
    net.gemm("answer", "features", 5, 3);
    let network = net.network(&["exit_1", "answer"]);
    check(&network, &["features"], &["answer", "exit_1"]);
    check(&network, &["exit"], &["answer", "exit_1"]);
    check(&network, &["tanh"], &["answer", "exit_1"]);
}

#[test]
fn exits_with_sizes_of_one_are_flattened() {
    let mut net = Builder::new(&[2, 4, 4]);
    net.conv("conv", "x", 2, 3);
    net.node("GlobalAveragePool", "pooled", &["conv"], &[]);
    net.node("Softmax", "last", &["pooled"], &[("axis", &[1])]);
    let network = net.network(&["pooled", "last"]);
    check(&network, &["conv"], &["pooled", "last"]);
}

#[test]
fn what_cannot_be_cut_is_said() {
    let network = residual().network(&["exit1", "exit2", "exit3"]);
    for (cuts, exits, expected) in [
        (
            &["pool2"][..],
            &["exit1", "exit3"][..],
            "network `net.onnx` has no tensor `pool2`; nearest: `pool1`",
        ),
        (
            &["relu2"],
            &["exit1", "exit3"],
            "cut `relu2` does not separate the network `net.onnx`: `pool1` goes past it to node `sum_node` (Add); \
             nearest: `pool1`, `sum`",
        ),
        (
            &["relu3"],
            &["exit3", "exit1"],
            "exit `exit1` of network `net.onnx` does not depend on cut `relu3`, expected cuts and exits in the order \
             of their tiers",
        ),
        (
            &["relu3", "pool1"],
            &["exit1", "exit2", "exit3"],
            "cut `pool1` of network `net.onnx` does not depend on cut `relu3`",
        ),
        (&["pool1"], &["exit3"], "1 exits for 2 tiers, expected one for each: 1 cuts make 2 tiers"),
        (
            &["conv1_w"],
            &["exit1", "exit3"],
            "cut `conv1_w` of network `net.onnx` is weights, expected floats whose first dimension",
        ),
        (
            &["x"],
            &["exit1", "exit3"],
            "cut `x` of network `net.onnx` is the network's input, expected",
        ),
        (
            &["pool1"],
            &["relu1", "exit3"],
            "exit `relu1` of network `net.onnx` has shape [4, 8, 8] a sample",
        ),
        (
            &["exit3"],
            &["exit3", "exit3"],
            "`exit3` of network `net.onnx` is both a cut and the softmax",
        ),
    ] {
        let error = split(&network, cuts, exits).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
    }
}

#[test]
fn an_exit_of_sigmoids_is_refused() {
    let mut net = residual();
    net.node("Sigmoid", "sigmoids", &["logits"], &[]);
    let network = net.network(&["sigmoids"]);
    assert_eq!(
        split(&network, &[], &["sigmoids"]).unwrap_err().to_string(),
        "exit `sigmoids` of network `net.onnx` comes from the operator `Sigmoid`, expected a softmax or logits"
    );
}

#[test]
fn the_outline_says_what_each_cut_costs() {
    let outline = residual().network(&["exit3", "exit1", "exit2"]).outline(&[]);
    let exits: Vec<(&str, bool, u64)> = outline
        .exits
        .iter()
        .map(|exit| (exit.tensor.name.as_str(), exit.is_logits, exit.macs))
        .collect();
    let conv = [64 * 4 * 9, 16 * 4 * 36, 16 * 4 * 36, 16 * 6 * 36];
    let (first, second) = (conv[0] + 64 * 3, conv[..3].iter().sum::<u64>() + 64 * 3);
    let last = conv.iter().sum::<u64>() + 96 * 3;
    assert_eq!(exits, [("exit1", true, first), ("exit2", true, second), ("exit3", false, last)]);

    let cuts: Vec<&str> = outline.cuts.iter().map(|cut| cut.tensor.name.as_str()).collect();
    // Not those inside the residual block, which `pool1` goes past.
    let expected =
        ["conv1", "relu1", "pool1", "sum", "relu3", "conv4", "relu4", "logits_flat", "logits"];
    assert_eq!(cuts, expected);
    let cut = &outline.cuts[4];
    assert_eq!((cut.f32_bytes, cut.int8_bytes, cut.is_narrow), (256, 68, true));
    assert_eq!((cut.macs_below, cut.macs_above), (conv[..3].iter().sum(), conv[3] + 96 * 3));
    assert_eq!(cut.exits_below, ["exit1", "exit2"]);
    assert_eq!(outline.cuts[2].exits_below, ["exit1"]);
    let proposal = outline.proposal().unwrap();
    let proposed: Vec<&str> = proposal.iter().map(|cut| cut.tensor.name.as_str()).collect();
    assert_eq!(proposed, ["pool1", "logits"]);
}

#[test]
fn nodes_may_stand_in_any_order_but_not_wait_for_themselves() {
    let mut model = residual().model(&["exit3"]);
    model.graph.as_mut().unwrap().node.reverse();
    check(&Network::new("net.onnx", model.clone()).unwrap(), &["pool1"], &["exit1", "exit3"]);
    let graph = model.graph.as_mut().unwrap();
    let first = graph.node.iter_mut().find(|node| node.op_type == "MaxPool").unwrap();
    first.input[0] = "sum".to_owned();
    let error = Network::new("net.onnx", model).unwrap_err().to_string();
    assert!(error.starts_with("network `net.onnx`: node `"), "{error}");
    assert!(error.ends_with(" waits for itself"), "{error}");
}

#[test]
fn unknown_operators_are_named_with_what_works() {
    for (operator, expected) in [
        (
            "Relux",
            "node `relu1_node` is a `Relux` of `ai.onnx`, which the engine does not know; nearest: `Relu`",
        ),
        ("RoiAlign", "which the engine does not know; what works: cropping before the network"),
    ] {
        let mut model = residual().model(&["exit3"]);
        operator.clone_into(&mut model.graph.as_mut().unwrap().node[1].op_type);
        let error = Network::new("net.onnx", model).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn a_batch_of_a_fixed_size_is_freed() {
    let mut net = Builder::new(&[2, 3]);
    let shape = net.integers("shape", &[4, 6]);
    net.node("Reshape", "flat", &["x", &shape], &[]);
    net.gemm("logits", "flat", 6, 3);
    let mut model = net.model(&["logits"]);
    let graph = model.graph.as_mut().unwrap();
    for value in graph.input.iter_mut().chain(&mut graph.output) {
        let kind = value.r#type.as_mut().unwrap().value.as_mut().unwrap();
        let pb::type_proto::Value::TensorType(tensor) = kind;
        let first = &mut tensor.shape.as_mut().unwrap().dim[0];
        first.value = Some(pb::tensor_shape_proto::dimension::Value::DimValue(4));
    }
    check(&Network::new("net.onnx", model).unwrap(), &[], &["logits"]);
}

/// A random network: a chain of steps, some of them residual, each perhaps with an exit, and where it may be cut.
fn random_network() -> impl Strategy<Value = (Network, Vec<String>, Vec<String>)> {
    let step = (0..6u8, any::<bool>(), any::<bool>());
    prop::collection::vec(step, 1..9).prop_map(|steps| {
        let mut net = Builder::new(&[2, 4, 4]);
        let (mut last, mut cuts, mut exits) = ("x".to_owned(), Vec::new(), Vec::new());
        for (at, (kind, has_exit, is_cut)) in steps.into_iter().enumerate() {
            let name = format!("t{at}");
            match kind {
                0 => net.conv(&name, &last, 2, 2),
                1 => net.node("Relu", &name, &[&last], &[]),
                2 => net.node("Tanh", &name, &[&last], &[]),
                3 => {
                    let inner = net.conv(&format!("{name}_conv"), &last, 2, 2);
                    net.node("Add", &name, &[&last, &inner], &[])
                }
                4 => {
                    let one = net.conv(&format!("{name}_one"), &last, 2, 1);
                    let other = net.conv(&format!("{name}_other"), &last, 2, 1);
                    let other = net.node("Sigmoid", &format!("{name}_gate"), &[&other], &[]);
                    net.node("Concat", &name, &[&one, &other], &[("axis", &[1])])
                }
                _ => {
                    let twice = net.node("Mul", &format!("{name}_square"), &[&last, &last], &[]);
                    net.node("Sub", &name, &[&twice, &last], &[])
                }
            };
            last.clone_from(&name);
            if has_exit && is_cut {
                exits.push(net.head(&format!("exit{at}"), &name, 32, 3));
                cuts.push(name);
            }
        }
        let logits = net.head("logits", &last, 32, 3);
        exits.push(net.node("Softmax", "softmax", &[&logits], &[("axis", &[1])]));
        let outputs: Vec<&str> = exits.iter().map(String::as_str).collect();
        (net.clone().network(&outputs), cuts, exits)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn any_chain_with_branches_can_be_cut((network, cuts, exits) in random_network()) {
        let as_text = |names: &[String]| names.join(" ");
        let parts = network.split(&cuts, &exits, &[]).unwrap();
        let parts: Vec<SubModel> = parts.iter().map(|part| part.sub_model().clone()).collect();
        let difference = network.largest_difference(&parts, &cuts, &exits).unwrap();
        prop_assert!(difference <= TOLERANCE, "{} {}: {difference}", as_text(&cuts), as_text(&exits));
        // What the outline offers can be cut, and everything else can't.
        let last = exits.last().unwrap();
        let offered = network.outline(&exits).cuts;
        for layer in network.layers() {
            let is_offered = offered.iter().any(|cut| cut.tensor.name == layer.output);
            let part = Part { from: Some(&layer.output), cut: None, exit: last };
            let cuts = network.extract(part, &ImportOptions::default());
            prop_assert!(cuts.is_ok() == is_offered, "{}: {cuts:?}", layer.output);
        }
    }
}

/// Whether `text` is a graph as Graphviz's grammar has it, of the few statements that are used here.
fn is_dot(text: &str) -> bool {
    let mut rest = text.trim();
    let mut token = || -> Option<String> {
        rest = rest.trim_start();
        let mut end = rest.chars().next()?.len_utf8();
        if let Some(text) = rest.strip_prefix('"') {
            let mut escaped = false;
            end =
                1 + text.find(|character| {
                    let ends = character == '"' && !escaped;
                    escaped = character == '\\' && !escaped;
                    ends
                })? + 1;
        } else if rest.starts_with("->") {
            end = 2;
        } else if rest.starts_with(|character: char| character.is_alphanumeric()) {
            end = rest.find(|character: char| !character.is_alphanumeric()).unwrap_or(rest.len());
        }
        let (token, after) = rest.split_at(end);
        rest = after;
        Some(token.to_owned())
    };
    let mut tokens = Vec::new();
    while let Some(token) = token() {
        tokens.push(token);
    }
    let is_id = |token: &str| {
        token.starts_with('"') || token.chars().all(|character| character.is_ascii_alphanumeric())
    };
    let [graph, name, open, body @ .., close] = &tokens[..] else { return false };
    let statement = |statement: &[String]| match statement {
        [] => true,
        [from, arrow, to] if arrow == "->" => is_id(from) && is_id(to),
        [node, open, attributes @ .., close] => {
            let pair = |pair: &[String]| matches!(pair, [key, equals, value] if is_id(key) && equals == "=" && is_id(value));
            let pairs = attributes.split(|token| token == ",");
            is_id(node) && open == "[" && close == "]" && pairs.into_iter().all(pair)
        }
        _ => false,
    };
    let ends = (graph == "digraph", open == "{", close == "}");
    ends == (true, true, true) && is_id(name) && body.split(|token| token == ";").all(statement)
}

#[test]
fn the_drawing_is_a_graph_whatever_things_are_called() {
    let text = residual().network(&["exit1", "exit2", "exit3"]).dot();
    assert!(text.contains("  n0 [label=\"Conv\\nconv1_node\\n4×8×8\\n2304 MACs\"];\n"), "{text}");
    assert!(text.contains("  input -> n0;\n") && text.contains(" -> o2;\n"), "{text}");
    assert!(is_dot(&text), "{text}");
    assert!(!is_dot(&text.replace("-> n0;", "-> \"n0;")));
    let mut model = residual().model(&["exit3"]);
    for (node, name) in
        model.graph.as_mut().unwrap().node.iter_mut().zip(["a\"b", "\\", "c\n\"];", "\\\""])
    {
        name.clone_into(&mut node.name);
    }
    let text = Network::new("\"{}\\", model).unwrap().dot();
    assert!(is_dot(&text), "{text}");
}

#[test]
fn weights_may_be_inputs_and_lie_beside_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let mut model = residual().model(&["exit1", "exit2", "exit3"]);
    let expected = Network::new("net.onnx", model.clone()).unwrap();
    let graph = model.graph.as_mut().unwrap();
    let mut data = vec![0u8; 7];
    let inputs: Vec<_> =
        graph.initializer.iter().map(|tensor| declare(&tensor.name, &[])).collect();
    graph.input.splice(0..0, inputs);
    for tensor in &mut graph.initializer {
        let entry =
            |key: &str, value: String| pb::StringStringEntryProto { key: key.to_owned(), value };
        tensor.external_data = vec![
            entry("location", "net.onnx.data".to_owned()),
            entry("offset", data.len().to_string()),
            entry("length", tensor.raw_data.len().to_string()),
        ];
        tensor.data_location = Some(pb::tensor_proto::DataLocation::External as i32);
        data.append(&mut tensor.raw_data);
    }
    model.ir_version = 3;
    let path = directory.path().join("net.onnx");
    std::fs::write(&path, model.encode_to_vec()).unwrap();
    std::fs::write(directory.path().join("net.onnx.data"), &data).unwrap();
    let network = Network::load(&path).unwrap();
    let samples: Vec<f32> = (0u8..64).map(f32::from).collect();
    let outputs = ["exit1", "exit3"];
    assert_eq!(network.run(&outputs, &samples).unwrap(), expected.run(&outputs, &samples).unwrap());
    check(&network, &["pool1", "relu3"], &["exit1", "exit2", "exit3"]);

    let load = |change: &dyn Fn(&mut pb::TensorProto)| {
        let mut model = model.clone();
        change(&mut model.graph.as_mut().unwrap().initializer[0]);
        std::fs::write(&path, model.encode_to_vec()).unwrap();
        let error = Network::load(&path).unwrap_err().to_string();
        error.split_once(": weights `conv1_w` are in another file: ").unwrap().1.to_owned()
    };
    for location in ["../secret", "/etc/passwd", "a/../../secret", ""] {
        let error = load(&|tensor| location.clone_into(&mut tensor.external_data[0].value));
        assert!(error.contains("leads out of the network's folder"), "{error}");
    }
    let error = load(&|tensor| "link".clone_into(&mut tensor.external_data[0].value));
    assert!(error.starts_with("cannot find `link` beside it"), "{error}");
    let outside = tempfile::NamedTempFile::new().unwrap();
    std::os::unix::fs::symlink(outside.path(), directory.path().join("link")).unwrap();
    let error = load(&|tensor| "link".clone_into(&mut tensor.external_data[0].value));
    assert!(error.contains("leads out of the network's folder"), "{error}");
    let error = load(&|tensor| ".".clone_into(&mut tensor.external_data[0].value));
    assert_eq!(error, "`.` is no file");
    let huge = u64::MAX.to_string();
    let error = load(&|tensor| huge.clone_into(&mut tensor.external_data[2].value));
    assert!(error.starts_with("`net.onnx.data` has "), "{error}");
    let error = load(&|tensor| "many".clone_into(&mut tensor.external_data[1].value));
    assert_eq!(error, "its offset is `many`, expected a number of bytes");
}
