//! Whole networks: ONNX files with any number of outputs, as other programs write them.
//!
//! A [`Network`] is what sub-models are cut from ([`split`](Network::split)), and what `offramp model show` describes:
//! every tensor with its shape, every node with its parameters and operations. It takes what `PyTorch`'s exporters and
//! tf2onnx write: weights in files beside it, weights listed among the inputs, a batch dimension of any name or of a
//! fixed size, names in any order.
//!
//! What it leaves out: networks with several inputs, with graphs inside nodes (`If`, `Loop`, `Scan`), and with
//! functions of their own.

mod cuts;
mod dot;
mod exits;
mod external;
mod normalise;
mod operations;
mod shape_types;
mod shapes;
mod split;
mod suggest;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::path::Path;

use prost::Message;
use tract_onnx::pb;

pub use cuts::{Cut, ExitPlace, Outline};
pub(crate) use exits::{ExitKind, kind_of_operator};
pub use operations::Operation;
pub(crate) use split::Part;
pub use split::SplitError;

use crate::onnx::check::{self, MAX_ELEMENTS};
use crate::sub_model::{MAX_BYTES, read_bounded};
use crate::{ModelError, TensorSummary};

/// A network with one input and any number of outputs, its nodes in an order in which they can be computed.
#[derive(Debug, Clone)]
pub struct Network {
    name: String,
    /// Normalised: see [`normalise`].
    model: pb::ModelProto,
    input: String,
    input_shape: Vec<usize>,
    /// The node that makes each tensor.
    makers: HashMap<String, usize>,
    /// The shape of one sample, of those tensors that have floats for each sample.
    shapes: HashMap<String, Vec<usize>>,
    layers: Vec<Operation>,
    parameters: usize,
}

impl Network {
    /// Loads the ONNX file at `path`, with the weights that it keeps in files beside it.
    ///
    /// # Errors
    ///
    /// Whatever is wrong with the file, by name: see [`ModelError`]. No content makes it panic.
    pub fn load(path: &Path) -> Result<Network, ModelError> {
        let name = path.display().to_string();
        let bytes = read_bounded(path, MAX_BYTES)?;
        let mut model = decode(&name, &bytes)?;
        drop(bytes);
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        external::read(&name, folder.unwrap_or(Path::new(".")), &mut model)?;
        Network::new(&name, model)
    }

    /// Loads the ONNX file with this content; `name` is for errors.
    ///
    /// # Errors
    ///
    /// As [`load`](Self::load), and where weights are kept in another file.
    pub fn from_bytes(name: &str, bytes: &[u8]) -> Result<Network, ModelError> {
        Network::new(name, decode(name, bytes)?)
    }

    fn new(name: &str, mut model: pb::ModelProto) -> Result<Network, ModelError> {
        normalise::normalise(name, &mut model)?;
        let graph = graph_of(&model);
        let mut parameters = 0;
        for tensor in &graph.initializer {
            parameters += check::check_tensor(name, &tensor.name, tensor)?;
        }
        for node in &graph.node {
            parameters += check::check_node(name, node)?;
            check::check_size(name, graph, node)?;
        }
        let (input, input_shape) = check::check_input(name, graph)?;
        let makers = graph
            .node
            .iter()
            .enumerate()
            .flat_map(|(at, node)| node.output.iter().map(move |output| (output.clone(), at)))
            .collect();
        let mut network = Network {
            name: name.to_owned(),
            input,
            input_shape,
            makers,
            shapes: HashMap::new(),
            layers: Vec::new(),
            parameters,
            model,
        };
        network.shapes = shapes::infer(&network)?;
        network.layers = operations::count(&network);
        Ok(network)
    }

    /// The file, as it was given to the loader.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The input, and the shape of one sample of it.
    pub fn input(&self) -> TensorSummary {
        summary(&self.input, &self.input_shape)
    }

    /// The outputs in the file's order; the shape is empty where the output is not floats for each sample.
    pub fn outputs(&self) -> Vec<TensorSummary> {
        let shape = |name: &str| self.shapes.get(name).map_or(&[][..], Vec::as_slice);
        self.graph()
            .output
            .iter()
            .map(|output| summary(&output.name, shape(&output.name)))
            .collect()
    }

    /// The nodes, in an order in which they can be computed.
    pub fn layers(&self) -> &[Operation] {
        &self.layers
    }

    /// The number of weights.
    pub fn parameters(&self) -> usize {
        self.parameters
    }

    /// Multiplications with an addition in all convolutions and matrix products, for one sample.
    pub fn macs(&self) -> u64 {
        self.layers.iter().map(|layer| layer.macs).sum()
    }

    /// The version of ONNX's operators that the file uses.
    pub fn operator_set(&self) -> i64 {
        normalise::operator_set(&self.model).unwrap_or_default()
    }

    /// What wrote the file, as it says.
    pub fn producer(&self) -> String {
        let parts = [&self.model.producer_name, &self.model.producer_version];
        parts
            .iter()
            .filter(|part| !part.is_empty())
            .map(|part| part.as_str())
            .collect::<Vec<_>>()
            .join(" ")
    }

    /// The shape of one sample of `tensor`; `None` where it is not floats for each sample, or no tensor at all.
    pub fn shape(&self, tensor: &str) -> Option<&[usize]> {
        self.shapes.get(tensor).map(Vec::as_slice)
    }

    /// Runs the whole network on any number of samples, row-major one after the other, and gives the values of these
    /// tensors, in their order. It prepares the network anew each time: it is for checks, [`Engine`](crate::Engine) for
    /// work.
    ///
    /// # Errors
    ///
    /// [`ModelError::Samples`] where `samples` is not a whole number of them, [`ModelError::Network`] where a tensor is
    /// not floats for each sample, and [`ModelError::Engine`] where the engine fails.
    pub fn run(&self, tensors: &[&str], samples: &[f32]) -> Result<Vec<Vec<f32>>, ModelError> {
        shapes::run(self, tensors, samples)
    }

    fn graph(&self) -> &pb::GraphProto {
        graph_of(&self.model)
    }

    fn error(&self, problem: impl Into<String>) -> ModelError {
        ModelError::Network { name: self.name.clone(), problem: problem.into() }
    }
}

fn decode(name: &str, bytes: &[u8]) -> Result<pb::ModelProto, ModelError> {
    pb::ModelProto::decode(bytes)
        .map_err(|error| ModelError::NotOnnx { name: name.to_owned(), reason: error.to_string() })
}

fn graph_of(model: &pb::ModelProto) -> &pb::GraphProto {
    model.graph.as_ref().expect("a normalised network has a graph")
}

fn summary(name: &str, shape: &[usize]) -> TensorSummary {
    TensorSummary { name: name.to_owned(), shape: shape.to_owned(), data_type: "f32" }
}

/// The number of values of one sample, bounded by what [`shapes::infer`] lets through.
fn len_of(shape: &[usize]) -> usize {
    let len = shape.iter().product();
    debug_assert!(len <= MAX_ELEMENTS);
    len
}
