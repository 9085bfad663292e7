//! Where a network can be cut, and what each cut would cost.
//!
//! A tensor separates a network if every path from the input to the last exit leads through it: then it alone is what
//! the next tier needs. In an order in which the tensors can be computed, and of which only those on such paths count,
//! these are the tensors that no node passes by: none that takes a tensor from before it makes one after it.

use std::collections::HashMap;

use super::{Network, exits, len_of, normalise};
use crate::TensorSummary;
use wire::Encoding;

/// A tensor that separates the network, and what a cut there means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// The tensor, and the shape of one sample of it.
    pub tensor: TensorSummary,
    /// The operator that makes it.
    pub operator: String,
    /// The size of one sample as 32-bit floats.
    pub f32_bytes: usize,
    /// The size of one sample as `int8` features, scale included.
    pub int8_bytes: usize,
    /// Operations up to the tensor, exits not included.
    pub macs_below: u64,
    /// Operations from there to the last exit.
    pub macs_above: u64,
    /// The exits that leave the way to the last one at this tensor or before it.
    pub exits_below: Vec<String>,
    /// Whether it is not wider than both of the cuts beside it; of those of one size in a row, the last counts.
    pub is_narrow: bool,
}

/// An output that can answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExitPlace {
    /// The tensor, and the shape of one sample of it.
    pub tensor: TensorSummary,
    /// Whether it holds what a softmax takes, and gets one.
    pub is_logits: bool,
    /// Operations up to it.
    pub macs: u64,
}

/// The exits of a network and where it can be cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outline {
    /// From the one that takes the fewest operations to the last.
    pub exits: Vec<ExitPlace>,
    /// In the order in which they are computed.
    pub cuts: Vec<Cut>,
}

impl Outline {
    /// For each exit but the last the narrowest cut after it and before the next, if there is one for each.
    pub fn proposal(&self) -> Option<Vec<&Cut>> {
        let (_, answering) = self.exits.split_last()?;
        let mut from = 0;
        let mut cuts = Vec::new();
        for (at, exit) in answering.iter().enumerate() {
            let has = |cut: &Cut, exit: &ExitPlace| cut.exits_below.contains(&exit.tensor.name);
            let next = answering.get(at + 1);
            let (position, cut) = self
                .cuts
                .iter()
                .enumerate()
                .skip(from)
                .filter(|(_, cut)| has(cut, exit) && next.is_none_or(|next| !has(cut, next)))
                .min_by_key(|(position, cut)| (cut.f32_bytes, !cut.is_narrow, *position))?;
            from = position + 1;
            cuts.push(cut);
        }
        (!cuts.is_empty()).then_some(cuts)
    }
}

impl Network {
    /// Finds the exits, which are the outputs unless `exits` names others, and every tensor at which the network can be
    /// cut.
    ///
    /// Outputs that hold neither a softmax vector nor logits, such as the features of a sub-model, are left out.
    pub fn outline(&self, exits: &[String]) -> Outline {
        let outputs: Vec<String> = match exits {
            [] => self.outputs().into_iter().map(|output| output.name).collect(),
            exits => exits.to_vec(),
        };
        let mut exits: Vec<ExitPlace> =
            outputs.iter().filter_map(|output| self.exit_place(output)).collect();
        exits.sort_by_key(|exit| exit.macs);
        let Some(last) = exits.last() else { return Outline { exits, cuts: Vec::new() } };
        let way = self.way_to(&last.tensor.name);
        let all = self.macs_up_to(&last.tensor.name);
        let leaves: Vec<(String, usize)> = exits[..exits.len() - 1]
            .iter()
            .map(|exit| (exit.tensor.name.clone(), self.leaves_at(&exit.tensor.name, &way)))
            .collect();
        let mut cuts: Vec<Cut> = way
            .iter()
            .enumerate()
            .filter(|(_, (tensor, separates))| *separates && *tensor != last.tensor.name)
            .filter_map(|(position, (tensor, _))| {
                let shape = self.shape(tensor)?;
                let elements = len_of(shape);
                let macs_below = self.macs_up_to(tensor);
                Some(Cut {
                    operator: self.graph().node[*self.makers.get(tensor)?].op_type.clone(),
                    tensor: super::summary(tensor, shape),
                    f32_bytes: 4 * elements,
                    int8_bytes: Encoding::Int8.sample_bytes(elements)?,
                    macs_below,
                    macs_above: all - macs_below,
                    exits_below: leaves
                        .iter()
                        .filter(|(_, leaves)| *leaves <= position)
                        .map(|(exit, _)| exit.clone())
                        .collect(),
                    is_narrow: false,
                })
            })
            .collect();
        mark_narrow(&mut cuts);
        Outline { exits, cuts }
    }

    fn exit_place(&self, output: &str) -> Option<ExitPlace> {
        let shape = self.shape(output)?;
        let (kind, _) = exits::kind(self, output)?;
        let is_vector = len_of(shape) == shape.iter().copied().max().unwrap_or(0);
        (is_vector && kind != exits::ExitKind::Other && len_of(shape) > 1).then(|| ExitPlace {
            tensor: super::summary(output, shape),
            is_logits: kind == exits::ExitKind::Logits,
            macs: self.macs_up_to(output),
        })
    }

    /// The nodes that `tensor` depends on, by position; those of which `stop` is an input go no further there.
    pub(super) fn nodes_before(&self, tensor: &str, stop: Option<&str>) -> Vec<bool> {
        let mut needed = vec![false; self.graph().node.len()];
        let mut pending = vec![tensor];
        while let Some(tensor) = pending.pop() {
            if Some(tensor) == stop {
                continue;
            }
            let Some(&at) = self.makers.get(tensor) else { continue };
            if !std::mem::replace(&mut needed[at], true) {
                pending.extend(self.graph().node[at].input.iter().map(String::as_str));
            }
        }
        needed
    }

    fn macs_up_to(&self, tensor: &str) -> u64 {
        let needed = self.nodes_before(tensor, None);
        self.layers
            .iter()
            .zip(needed)
            .filter(|(_, needed)| *needed)
            .map(|(layer, _)| layer.macs)
            .sum()
    }

    /// The tensors on a path from the input to `last`, input and `last` included, in the order in which they are
    /// computed, and whether each of them separates the two.
    fn way_to(&self, last: &str) -> Vec<(String, bool)> {
        let dependent = normalise::dependent(self.graph());
        let needed = self.nodes_before(last, None);
        let nodes = || self.graph().node.iter().zip(&needed).filter(|(_, needed)| **needed);
        // A node's second output may lead nowhere.
        let taken: std::collections::HashSet<&str> = nodes()
            .flat_map(|(node, _)| node.input.iter().map(String::as_str))
            .chain([last])
            .collect();
        let made = nodes().flat_map(|(node, _)| &node.output);
        let way: Vec<&str> = std::iter::once(self.input.as_str())
            .chain(made.map(String::as_str))
            .filter(|tensor| dependent.contains(*tensor) && taken.contains(tensor))
            .collect();
        let positions: HashMap<&str, usize> =
            way.iter().enumerate().map(|(at, tensor)| (*tensor, at)).collect();
        // How many nodes pass by each tensor: +1 after the one that is taken, -1 at the one that is made.
        let mut passing = vec![0i64; way.len() + 1];
        for (node, _) in nodes() {
            let from = node.input.iter().filter_map(|input| positions.get(input.as_str()));
            for (&from, to) in from.flat_map(|from| {
                node.output
                    .iter()
                    .filter_map(|output| positions.get(output.as_str()))
                    .map(move |to| (from, *to))
            }) {
                passing[from + 1] += 1;
                passing[to] -= 1;
            }
        }
        let mut count = 0;
        way.into_iter()
            .enumerate()
            .map(|(at, tensor)| {
                count += passing[at];
                (tensor.to_owned(), count == 0)
            })
            .collect()
    }

    /// The position in `way` of the first separating tensor at or after which nothing on the way leads to `exit`.
    fn leaves_at(&self, exit: &str, way: &[(String, bool)]) -> usize {
        let needed = self.nodes_before(exit, None);
        let takes: std::collections::HashSet<&str> = self
            .graph()
            .node
            .iter()
            .zip(&needed)
            .filter(|(_, needed)| **needed)
            .flat_map(|(node, _)| node.input.iter().map(String::as_str))
            .collect();
        let last = way.iter().rposition(|(tensor, _)| takes.contains(tensor.as_str())).unwrap_or(0);
        (last..way.len()).find(|&at| way[at].1).unwrap_or(way.len())
    }
}

/// Marks the cuts that are not wider than both of those beside them; in a row of one size, the last.
fn mark_narrow(cuts: &mut [Cut]) {
    let sizes: Vec<usize> = cuts.iter().map(|cut| cut.f32_bytes).collect();
    for (at, cut) in cuts.iter_mut().enumerate() {
        let before = sizes[..at].iter().rev().find(|&&size| size != sizes[at]);
        let after = sizes.get(at + 1);
        let wider_before = before.is_none_or(|&size| size > sizes[at]);
        let wider_after = after.is_none_or(|&size| size > sizes[at]);
        cut.is_narrow = after != Some(&sizes[at]) && (wider_before || wider_after);
    }
}
