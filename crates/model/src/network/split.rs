//! Cuts a network into one sub-model per tier.
//!
//! Part `i` takes what cut `i - 1` made (the first: the network's input) and gives what cut `i` makes and the softmax of
//! exit `i` (the last: only that). It holds the nodes that these need and no others, with their weights. Its tensors
//! keep their names, but for `input`, `features` and `exit`.

use std::collections::{HashMap, HashSet};

use prost::Message as _;
use thiserror::Error;
use tract_onnx::pb;
use tract_onnx::pb::attribute_proto::AttributeType;

use super::exits::{self, ExitKind};
use super::{Network, len_of, normalise, suggest};
use crate::onnx::graph::declare;
use crate::onnx::{EXIT, FEATURES};
use crate::random::Random;
use crate::{Artefact, ImportOptions, Metadata, ModelError, SubModel};

/// The name of a part's input.
const INPUT: &str = "input";
/// How many samples [`Network::largest_difference`] tries.
const TRIED: usize = 16;

/// Why a network can't be cut as was asked.
#[derive(Debug, Error)]
#[expect(missing_docs, reason = "each variant's message is its documentation")]
pub enum SplitError {
    #[error("network `{name}` has no tensor `{tensor}`{}", suggest::phrase(nearest))]
    UnknownTensor { name: String, tensor: String, nearest: Vec<String> },

    #[error(
        "{what} `{tensor}` of network `{name}` is {found}, expected floats whose first dimension is the batch and \
         whose others are fixed"
    )]
    NotBySample { name: String, what: &'static str, tensor: String, found: &'static str },

    #[error(
        "cut `{cut}` does not separate the network `{name}`: {crossing}{}",
        suggest::phrase(nearest)
    )]
    Crossed { name: String, cut: String, crossing: String, nearest: Vec<String> },

    #[error(
        "{what} `{tensor}` of network `{name}` does not depend on cut `{cut}`, expected cuts and exits in the order of \
         their tiers"
    )]
    NotAfter { name: String, what: &'static str, tensor: String, cut: String },

    #[error(
        "{found} exits for {tiers} tiers, expected one for each: {cuts} cuts make {tiers} tiers"
    )]
    ExitCount { found: usize, tiers: usize, cuts: usize },

    #[error(
        "exit `{exit}` of network `{name}` comes from the operator `{operator}`, expected a softmax or logits"
    )]
    NotLogits { name: String, exit: String, operator: String },

    #[error(
        "exit `{exit}` of network `{name}` has shape {shape:?} a sample, expected one value per class"
    )]
    NotVector { name: String, exit: String, shape: Vec<usize> },

    #[error(
        "`{tensor}` of network `{name}` is both a cut and the softmax of the same tier, expected two tensors"
    )]
    SameTensor { name: String, tensor: String },

    #[error(transparent)]
    Model(#[from] ModelError),
}

/// What one tier gets.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Part<'a> {
    /// The cut below it, or `None` for the network's input.
    pub(crate) from: Option<&'a str>,
    /// The cut above it, or `None` for the last tier.
    pub(crate) cut: Option<&'a str>,
    pub(crate) exit: &'a str,
}

impl Network {
    /// Cuts the network at `cuts`, one tier more than cuts, with one of `exits` and of `options` for each tier.
    ///
    /// # Errors
    ///
    /// [`SplitError`] where a tensor is not there, a cut does not separate the network, or an exit can't be one.
    pub fn split(
        &self,
        cuts: &[String],
        exits: &[String],
        options: &[ImportOptions],
    ) -> Result<Vec<Artefact>, SplitError> {
        let tiers = cuts.len() + 1;
        if exits.len() != tiers {
            return Err(SplitError::ExitCount { found: exits.len(), tiers, cuts: cuts.len() });
        }
        for (what, tensor) in
            cuts.iter().map(|cut| ("cut", cut)).chain(exits.iter().map(|exit| ("exit", exit)))
        {
            self.check_tensor(what, tensor)?;
        }
        (0..tiers)
            .map(|at| {
                let part = Part {
                    from: at.checked_sub(1).map(|below| cuts[below].as_str()),
                    cut: cuts.get(at).map(String::as_str),
                    exit: &exits[at],
                };
                self.extract(part, options.get(at).unwrap_or(&ImportOptions::default()))
            })
            .collect()
    }

    /// Runs the parts one after the other and the whole network on random samples, and returns the largest difference
    /// of a value, relative to values above 1.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run) and [`Engine::run`](crate::Engine::run).
    pub fn largest_difference(
        &self,
        parts: &[SubModel],
        cuts: &[String],
        exits: &[String],
    ) -> Result<f32, ModelError> {
        let Some(first) = parts.first() else { return Ok(0.0) };
        let mut random = Random::new(1);
        let len = TRIED * len_of(&self.input_shape);
        let samples: Vec<f32> = (0..len).map(|_| random.between(-1.0, 1.0)).collect();
        let metadata = first.metadata();
        let scaled: Vec<f32> = samples
            .iter()
            .map(|sample| sample * metadata.input_scale + metadata.input_offset)
            .collect();
        let tensors: Vec<&str> = cuts.iter().chain(exits).map(String::as_str).collect();
        let whole = self.run(&tensors, &scaled)?;
        let mut input = samples;
        let mut largest: f32 = 0.0;
        for (at, part) in parts.iter().enumerate() {
            let output = part.with_temperature(1.0).engine()?.run(&input)?;
            let mut exit = whole[cuts.len() + at].clone();
            if exits::kind(self, &exits[at]).is_some_and(|(kind, _)| kind == ExitKind::Logits) {
                exit.chunks_exact_mut(output.classes).for_each(softmax);
            }
            largest = largest.max(difference(&output.exit, &exit));
            if let (Some(features), Some(expected)) =
                (&output.features, whole.get(at).filter(|_| at < cuts.len()))
            {
                largest = largest.max(difference(features, expected));
            }
            input = output.features.unwrap_or_default();
        }
        Ok(largest)
    }

    /// Makes the sub-model of one part.
    pub(crate) fn extract(
        &self,
        part: Part<'_>,
        options: &ImportOptions,
    ) -> Result<Artefact, SplitError> {
        if part.cut == Some(part.exit) && self.exit_kind(part.exit)? == ExitKind::Softmax {
            let tensor = part.exit.to_owned();
            return Err(SplitError::SameTensor { name: self.name.clone(), tensor });
        }
        let needed = self.nodes_of(part)?;
        let graph = self.graph();
        let kept =
            || graph.node.iter().zip(&needed).filter(|(_, needed)| **needed).map(|(node, _)| node);
        let from = part.from.unwrap_or(&self.input);
        let input_shape = self.shape(from).unwrap_or_default();
        let mut nodes: Vec<pb::NodeProto> = kept().cloned().collect();
        let used: HashSet<&str> = kept().flat_map(|node| &node.input).map(String::as_str).collect();
        let mut weights: Vec<pb::TensorProto> = graph
            .initializer
            .iter()
            .filter(|tensor| used.contains(&*tensor.name))
            .cloned()
            .collect();

        let published = self.publishes(part.exit)?;
        let chosen =
            [(Some(from), INPUT), (part.cut, FEATURES), (published.then_some(part.exit), EXIT)];
        let names = Names::new(kept(), &weights, &chosen);
        for node in &mut nodes {
            for tensor in node.input.iter_mut().chain(&mut node.output) {
                names.apply(tensor);
            }
        }
        for tensor in &mut weights {
            names.apply(&mut tensor.name);
        }
        if !published {
            nodes.extend(self.exit_nodes(part.exit, &names)?);
        }
        let exit_shape = [len_of(self.shape(part.exit).unwrap_or_default())];
        let features = part.cut.map(|cut| declare(FEATURES, self.shape(cut).unwrap_or_default()));
        let metadata = metadata(options, input_shape, part.cut.is_some());
        let model = pb::ModelProto {
            graph: Some(pb::GraphProto {
                node: nodes,
                name: graph.name.clone(),
                initializer: weights,
                input: vec![declare(INPUT, input_shape)],
                output: features.into_iter().chain([declare(EXIT, &exit_shape)]).collect(),
                ..pb::GraphProto::default()
            }),
            ir_version: self.model.ir_version,
            opset_import: self.model.opset_import.clone(),
            producer_name: "offramp".to_owned(),
            producer_version: env!("CARGO_PKG_VERSION").to_owned(),
            metadata_props: metadata.to_entries(),
            ..pb::ModelProto::default()
        };
        Ok(Artefact::from_bytes(&self.name, model.encode_to_vec())?)
    }

    fn check_tensor(&self, what: &'static str, tensor: &str) -> Result<(), SplitError> {
        let fail = |found| SplitError::NotBySample {
            name: self.name.clone(),
            what,
            tensor: tensor.to_owned(),
            found,
        };
        if tensor == self.input {
            return Err(fail("the network's input"));
        }
        if self.shape(tensor).is_some_and(|shape| !shape.is_empty()) {
            return Ok(());
        }
        if self.makers.contains_key(tensor) {
            return Err(fail("something else"));
        }
        if self.graph().initializer.iter().any(|weights| weights.name == tensor) {
            return Err(fail("weights"));
        }
        Err(SplitError::UnknownTensor {
            name: self.name.clone(),
            tensor: tensor.to_owned(),
            nearest: suggest::nearest(tensor, self.shapes.keys().map(String::as_str)),
        })
    }

    /// The nodes of a part, by position, if the cut below it is all that they need.
    fn nodes_of(&self, part: Part<'_>) -> Result<Vec<bool>, SplitError> {
        let mut needed = self.nodes_before(part.exit, part.from);
        if let Some(cut) = part.cut {
            for (needed, also) in needed.iter_mut().zip(self.nodes_before(cut, part.from)) {
                *needed |= also;
            }
        }
        let Some(from) = part.from else { return Ok(needed) };
        // What the cut leads to, and what depends on the input without it.
        let mut after = HashSet::from([from]);
        let mut beside = HashSet::from([self.input.as_str()]);
        let mut crossing = None;
        for (node, _) in self.graph().node.iter().zip(&needed).filter(|(_, needed)| **needed) {
            let passing = node.input.iter().find(|input| beside.contains(input.as_str()));
            let outputs = node.output.iter().map(String::as_str);
            if node.input.iter().any(|input| after.contains(input.as_str())) {
                crossing = crossing.or(passing.map(|tensor| (tensor, node)));
                after.extend(outputs);
            } else if passing.is_some() {
                beside.extend(outputs);
            }
        }
        for (what, tensor) in [("exit", Some(part.exit)), ("cut", part.cut)] {
            if let Some(tensor) = tensor.filter(|tensor| !after.contains(tensor) || *tensor == from)
            {
                return Err(SplitError::NotAfter {
                    name: self.name.clone(),
                    what,
                    tensor: tensor.to_owned(),
                    cut: from.to_owned(),
                });
            }
        }
        match crossing {
            None => Ok(needed),
            Some((crossing, node)) => Err(SplitError::Crossed {
                name: self.name.clone(),
                cut: from.to_owned(),
                crossing: format!(
                    "`{crossing}` goes past it to node `{}` ({})",
                    normalise::label(node),
                    node.op_type
                ),
                nearest: self.separating_near(from, part.exit),
            }),
        }
    }

    /// The tensors that separate the input from `exit` just before and after `tensor`.
    fn separating_near(&self, tensor: &str, exit: &str) -> Vec<String> {
        let outline = self.outline(&[exit.to_owned()]);
        let place = self.makers.get(tensor).copied().unwrap_or_default();
        let made = |name: &str| self.makers.get(name).copied().unwrap_or_default();
        let after = outline.cuts.partition_point(|cut| made(&cut.tensor.name) < place);
        let before = after.checked_sub(1).and_then(|at| outline.cuts.get(at));
        before
            .into_iter()
            .chain(outline.cuts.get(after))
            .map(|cut| cut.tensor.name.clone())
            .collect()
    }

    fn exit_kind(&self, exit: &str) -> Result<ExitKind, SplitError> {
        match exits::kind(self, exit) {
            Some((ExitKind::Other, operator)) => Err(SplitError::NotLogits {
                name: self.name.clone(),
                exit: exit.to_owned(),
                operator: operator.to_owned(),
            }),
            Some((kind, _)) => Ok(kind),
            None => Err(SplitError::NotLogits {
                name: self.name.clone(),
                exit: exit.to_owned(),
                operator: "none".to_owned(),
            }),
        }
    }

    /// Whether an exit is a sub-model's as it stands: a softmax, of one dimension.
    fn publishes(&self, exit: &str) -> Result<bool, SplitError> {
        let shape = self.shape(exit).unwrap_or_default();
        if shape.iter().filter(|&&size| size != 1).count() > 1 || shape.is_empty() {
            return Err(SplitError::NotVector {
                name: self.name.clone(),
                exit: exit.to_owned(),
                shape: shape.to_owned(),
            });
        }
        Ok(self.exit_kind(exit)? == ExitKind::Softmax && shape.len() == 1)
    }

    /// What an exit still needs: its classes in one dimension, and a softmax over them.
    fn exit_nodes(&self, exit: &str, names: &Names) -> Result<Vec<pb::NodeProto>, SplitError> {
        let mut last = exit.to_owned();
        names.apply(&mut last);
        let is_logits = self.exit_kind(exit)? == ExitKind::Logits;
        let is_flat = self.shape(exit).is_some_and(|shape| shape.len() == 1);
        let mut nodes = Vec::new();
        if !is_flat {
            let output = if is_logits { names.fresh("exit/logits") } else { EXIT.to_owned() };
            nodes.push(along_classes("Flatten", &last, &output));
            last = output;
        }
        if is_logits {
            nodes.push(along_classes("Softmax", &last, EXIT));
        }
        Ok(nodes)
    }
}

/// A node that works on the first axis after the batch. All operator sets define these two in the same way for an input
/// of two dimensions.
fn along_classes(operator: &str, input: &str, output: &str) -> pb::NodeProto {
    pb::NodeProto {
        name: format!("{output}/{}", operator.to_lowercase()),
        op_type: operator.to_owned(),
        input: vec![input.to_owned()],
        output: vec![output.to_owned()],
        attribute: vec![pb::AttributeProto {
            name: "axis".to_owned(),
            r#type: AttributeType::Int as i32,
            i: 1,
            ..pb::AttributeProto::default()
        }],
        ..pb::NodeProto::default()
    }
}

/// What the tensors of a part are called.
struct Names {
    renamed: HashMap<String, String>,
    taken: HashSet<String>,
}

impl Names {
    /// Gives the chosen tensors their new names; one that has such a name already gets another.
    fn new<'n>(
        nodes: impl Iterator<Item = &'n pb::NodeProto>,
        weights: &[pb::TensorProto],
        chosen: &[(Option<&str>, &str)],
    ) -> Names {
        let mut names = Names { renamed: HashMap::new(), taken: HashSet::new() };
        names.taken.extend(nodes.flat_map(|node| node.input.iter().chain(&node.output)).cloned());
        names.taken.extend(weights.iter().map(|tensor| tensor.name.clone()));
        for reserved in [INPUT, FEATURES, EXIT] {
            if names.taken.contains(reserved) {
                let fresh = names.fresh(reserved);
                names.taken.insert(fresh.clone());
                names.renamed.insert(reserved.to_owned(), fresh);
            }
        }
        for (tensor, name) in chosen {
            if let Some(tensor) = tensor {
                names.renamed.insert((*tensor).to_owned(), (*name).to_owned());
            }
        }
        names
    }

    fn apply(&self, tensor: &mut String) {
        if let Some(name) = self.renamed.get(tensor) {
            tensor.clone_from(name);
        }
    }

    fn fresh(&self, name: &str) -> String {
        let numbered = (1..).map(|count| format!("{name}_{count}"));
        numbered.into_iter().find(|name| !self.taken.contains(name)).expect("numbers do not end")
    }
}

fn metadata(options: &ImportOptions, input_shape: &[usize], forwards: bool) -> Metadata {
    Metadata {
        tier: options.tier.clone(),
        labels: options.labels.clone(),
        input_shape: input_shape.to_owned(),
        input_scale: options.input_scale,
        input_offset: options.input_offset,
        exit: options.exit.clone().filter(|_| forwards),
        temperature: options.temperature,
        ..Metadata::default()
    }
}

fn softmax(row: &mut [f32]) {
    let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    for value in &mut *row {
        *value = (*value - largest).exp();
    }
    let sum: f32 = row.iter().sum();
    for value in row {
        *value /= sum;
    }
}

/// The largest difference of two values at the same place, relative to values above 1; infinite where one is no number
/// or there are not as many.
fn difference(found: &[f32], expected: &[f32]) -> f32 {
    if found.len() != expected.len() {
        return f32::INFINITY;
    }
    let each = found.iter().zip(expected).map(|(found, expected)| {
        let difference = (found - expected).abs() / expected.abs().max(1.0);
        if difference.is_nan() { f32::INFINITY } else { difference }
    });
    each.fold(0.0, f32::max)
}
