//! Builds the ONNX graph of a sub-model.
//!
//! Values are named by the node that makes them. Shapes are per sample; the batch dimension, which
//! every activation has in front, is only written where the graph declares its input and outputs.

use prost::Message;
use tract_onnx::pb;
use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::tensor_shape_proto::{Dimension, dimension};

use crate::Metadata;

const OPERATOR_SET: i64 = 17;
const FORMAT_VERSION: i64 = 8;
const BATCH: &str = "batch";

/// A value in the graph and the shape of one sample of it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Value {
    pub(crate) name: String,
    pub(crate) shape: Vec<usize>,
}

/// An attribute of a node.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Attribute {
    Int(&'static str, i64),
    Ints(&'static str, Vec<i64>),
    Float(&'static str, f32),
}

/// A graph under construction.
#[derive(Debug, Default)]
pub(crate) struct Graph {
    nodes: Vec<pb::NodeProto>,
    initializers: Vec<pb::TensorProto>,
    names: std::collections::BTreeSet<String>,
}

impl Graph {
    /// Declares the input.
    pub(crate) fn input(&mut self, name: &str, shape: &[usize]) -> Value {
        Value { name: self.unique(name), shape: shape.to_owned() }
    }

    /// Adds weights or constants and returns their name.
    pub(crate) fn floats(&mut self, name: &str, dimensions: &[usize], values: &[f32]) -> String {
        debug_assert_eq!(dimensions.iter().product::<usize>(), values.len());
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.initializer(name, dimensions, DataType::Float, bytes)
    }

    /// Adds a list of whole numbers, such as a shape, and returns its name.
    pub(crate) fn integers(&mut self, name: &str, values: &[i64]) -> String {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.initializer(name, &[values.len()], DataType::Int64, bytes)
    }

    /// Adds a constant without dimensions and returns its name.
    pub(crate) fn scalar(&mut self, name: &str, value: f32) -> String {
        self.floats(name, &[], &[value])
    }

    /// Adds a node with one output and returns that output's name.
    pub(crate) fn node(
        &mut self,
        name: &str,
        operator: &str,
        inputs: &[&str],
        attributes: &[Attribute],
    ) -> String {
        let name = self.unique(name);
        self.nodes.push(pb::NodeProto {
            name: name.clone(),
            op_type: operator.to_owned(),
            input: inputs.iter().map(|input| (*input).to_owned()).collect(),
            output: vec![name.clone()],
            attribute: attributes.iter().map(Attribute::to_proto).collect(),
            ..pb::NodeProto::default()
        });
        name
    }

    /// Adds a node that gives one sample `shape`.
    pub(crate) fn reshape(&mut self, name: &str, input: &Value, shape: &[usize]) -> Value {
        if input.shape == shape {
            return input.clone();
        }
        let target: Vec<i64> =
            std::iter::once(-1).chain(shape.iter().map(|&size| size as i64)).collect();
        let target = self.integers(&format!("{name}/shape"), &target);
        let name = self.node(name, "Reshape", &[&input.name, &target], &[]);
        Value { name, shape: shape.to_owned() }
    }

    /// The operator that makes `value`; `None` for the input and for weights.
    pub(crate) fn maker(&self, value: &str) -> Option<&str> {
        let maker = self.nodes.iter().find(|node| node.output[0] == value);
        maker.map(|node| node.op_type.as_str())
    }

    /// Ends the graph and encodes it as a file. `outputs` pairs each output's name with its value.
    pub(crate) fn finish(
        mut self,
        graph_name: &str,
        input: &Value,
        outputs: &[(&str, &Value)],
        metadata: &Metadata,
    ) -> Vec<u8> {
        let outputs = outputs
            .iter()
            .map(|(name, value)| {
                self.publish(&value.name, name);
                declare(name, &value.shape)
            })
            .collect();
        let graph = pb::GraphProto {
            node: self.nodes,
            name: graph_name.to_owned(),
            initializer: self.initializers,
            input: vec![declare(&input.name, &input.shape)],
            output: outputs,
            ..pb::GraphProto::default()
        };
        let model = pb::ModelProto {
            ir_version: FORMAT_VERSION,
            opset_import: vec![pb::OperatorSetIdProto {
                domain: String::new(),
                version: OPERATOR_SET,
            }],
            producer_name: "offramp".to_owned(),
            producer_version: env!("CARGO_PKG_VERSION").to_owned(),
            graph: Some(graph),
            metadata_props: metadata.to_entries(),
            ..pb::ModelProto::default()
        };
        model.encode_to_vec()
    }

    /// Gives `value` the name of an output: renames it where a node makes it, copies it otherwise.
    fn publish(&mut self, value: &str, output: &str) {
        let made_here = self.nodes.iter().any(|node| node.output[0] == value);
        let published = value == super::FEATURES || value == super::EXIT;
        if !made_here || published {
            self.nodes.push(pb::NodeProto {
                name: format!("{output}/copy"),
                op_type: "Identity".to_owned(),
                input: vec![value.to_owned()],
                output: vec![output.to_owned()],
                ..pb::NodeProto::default()
            });
            return;
        }
        for node in &mut self.nodes {
            for name in node.input.iter_mut().chain(&mut node.output) {
                if name == value {
                    output.clone_into(name);
                }
            }
        }
    }

    fn initializer(
        &mut self,
        name: &str,
        dimensions: &[usize],
        data_type: DataType,
        raw_data: Vec<u8>,
    ) -> String {
        let name = self.unique(name);
        self.initializers.push(pb::TensorProto {
            name: name.clone(),
            dims: dimensions.iter().map(|&size| size as i64).collect(),
            data_type: data_type as i32,
            raw_data,
            ..pb::TensorProto::default()
        });
        name
    }

    /// `name`, or `name_2`, `name_3`, … where it is taken (a layer may be called twice).
    fn unique(&mut self, name: &str) -> String {
        let reserved = name == super::FEATURES || name == super::EXIT;
        let mut candidate = if reserved { format!("{name}_1") } else { name.to_owned() };
        let mut count = 1;
        while !self.names.insert(candidate.clone()) {
            count += 1;
            candidate = format!("{name}_{count}");
        }
        candidate
    }
}

impl Attribute {
    fn to_proto(&self) -> pb::AttributeProto {
        let (name, proto) = match self {
            Attribute::Int(name, value) => (
                name,
                pb::AttributeProto { r#type: AttributeType::Int as i32, i: *value, ..empty() },
            ),
            Attribute::Ints(name, values) => (
                name,
                pb::AttributeProto {
                    r#type: AttributeType::Ints as i32,
                    ints: values.clone(),
                    ..empty()
                },
            ),
            Attribute::Float(name, value) => (
                name,
                pb::AttributeProto { r#type: AttributeType::Float as i32, f: *value, ..empty() },
            ),
        };
        pb::AttributeProto { name: (*name).to_owned(), ..proto }
    }
}

fn empty() -> pb::AttributeProto {
    pb::AttributeProto::default()
}

/// Declares an input or output with a symbolic batch dimension in front of `shape`.
pub(crate) fn declare(name: &str, shape: &[usize]) -> pb::ValueInfoProto {
    let dimension = |value| Dimension { value: Some(value), ..Dimension::default() };
    let dim = std::iter::once(dimension(dimension::Value::DimParam(BATCH.to_owned())))
        .chain(shape.iter().map(|&size| dimension(dimension::Value::DimValue(size as i64))))
        .collect();
    pb::ValueInfoProto {
        name: name.to_owned(),
        r#type: Some(pb::TypeProto {
            value: Some(pb::type_proto::Value::TensorType(pb::type_proto::Tensor {
                elem_type: DataType::Float as i32,
                shape: Some(pb::TensorShapeProto { dim }),
            })),
            ..pb::TypeProto::default()
        }),
        ..pb::ValueInfoProto::default()
    }
}
