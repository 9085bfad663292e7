//! What the values of an exit are.

use super::Network;

/// What the values of an exit are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ExitKind {
    /// Probabilities that add up to one.
    Softmax,
    /// What a softmax takes.
    Logits,
    /// Neither: a softmax of them would be wrong.
    Other,
}

/// What the values of `tensor` are, and the operator that says so; `None` where no operator makes it.
pub(super) fn kind<'n>(network: &'n Network, tensor: &str) -> Option<(ExitKind, &'n str)> {
    let mut tensor = tensor;
    loop {
        let node = &network.graph().node[*network.makers.get(tensor)?];
        match kind_of_operator(&node.op_type) {
            Some(kind) => return Some((kind, &node.op_type)),
            // The nodes are sorted, so that this ends.
            None => tensor = node.input.first()?,
        }
    }
}

/// What the values are that an operator makes; `None` for one that only moves them.
///
/// Logits are what a layer gives without an activation.
///
/// A softmax that is spelled out ends in a division; it could be told from others only by all that comes before it, so
/// a division is no exit.
pub(crate) fn kind_of_operator(operator: &str) -> Option<ExitKind> {
    match operator {
        "Identity" | "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze" | "Transpose" | "Dropout" => {
            None
        }
        "Softmax" => Some(ExitKind::Softmax),
        "Sigmoid" | "HardSigmoid" | "Tanh" | "Exp" | "Div" | "Hardmax" | "ArgMax" | "Softplus"
        | "Erf" | "TopK" | "Relu" | "LeakyRelu" | "Elu" | "Selu" | "Gelu" | "Clip" | "MaxPool" => {
            Some(ExitKind::Other)
        }
        _ => Some(ExitKind::Logits),
    }
}
