//! Sub-models of dense layers, from weights in memory.

use super::graph::{Attribute, Graph, Value};
use super::{Artefact, EXIT, FEATURES};
use crate::{Metadata, ModelError};

/// `input · kernel + bias`.
#[derive(Debug, Clone, PartialEq)]
pub struct Dense {
    /// Row-major, one row per input.
    pub kernel: Vec<f32>,
    /// One per output.
    pub bias: Vec<f32>,
}

/// A tier of a dense multi-exit network.
#[derive(Debug, Clone, PartialEq)]
pub struct DenseTier {
    /// The hidden layers, each followed by a rectifier; the last one's output is the features.
    pub hidden: Vec<Dense>,
    /// From the features to the classes, followed by a softmax.
    pub exit: Dense,
    /// Whether there is a next tier to forward the features to.
    pub forwards: bool,
}

impl Artefact {
    /// Makes a sub-model of dense layers. A sample of `metadata.input_shape` is flattened first.
    ///
    /// # Errors
    ///
    /// [`ModelError::Tensor`] where a layer does not fit the one before it, and whatever else
    /// loading the finished file finds.
    pub fn from_dense(tier: &DenseTier, metadata: &Metadata) -> Result<Artefact, ModelError> {
        let mut graph = Graph::default();
        let input = graph.input("input", &metadata.input_shape);
        let len = input.shape.iter().product();
        let mut value = graph.reshape("flatten", &input, &[len]);
        for (at, layer) in tier.hidden.iter().enumerate() {
            let sum = add_layer(&mut graph, &metadata.tier, &format!("hidden{at}"), layer, &value)?;
            let name = graph.node(&format!("hidden{at}/relu"), "Relu", &[&sum.name], &[]);
            value = Value { name, shape: sum.shape };
        }
        let logits = add_layer(&mut graph, &metadata.tier, "classes", &tier.exit, &value)?;
        let softmax = [Attribute::Int("axis", -1)];
        let name = graph.node("classes/softmax", "Softmax", &[&logits.name], &softmax);
        let exit = Value { name, shape: logits.shape };
        let outputs: Vec<_> = tier
            .forwards
            .then_some((FEATURES, &value))
            .into_iter()
            .chain([(EXIT, &exit)])
            .collect();
        let bytes = graph.finish(&metadata.tier, &input, &outputs, metadata);
        Artefact::from_bytes(&metadata.tier, bytes)
    }
}

fn add_layer(
    graph: &mut Graph,
    tier: &str,
    name: &str,
    layer: &Dense,
    input: &Value,
) -> Result<Value, ModelError> {
    let (inputs, outputs) = (input.shape[0], layer.bias.len());
    if layer.kernel.len() != inputs * outputs {
        return Err(ModelError::Tensor {
            name: tier.to_owned(),
            tensor: format!("{name}/kernel"),
            problem: format!("has {} values, expected {inputs} × {outputs}", layer.kernel.len()),
        });
    }
    let kernel = graph.floats(&format!("{name}/kernel"), &[inputs, outputs], &layer.kernel);
    let bias = graph.floats(&format!("{name}/bias"), &[outputs], &layer.bias);
    let product = graph.node(&format!("{name}/product"), "MatMul", &[&input.name, &kernel], &[]);
    let sum = graph.node(&format!("{name}/sum"), "Add", &[&product, &bias], &[]);
    Ok(Value { name: sum, shape: vec![outputs] })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata() -> Metadata {
        Metadata {
            tier: "edge".to_owned(),
            input_shape: vec![1, 2],
            input_scale: 0.5,
            input_offset: -1.0,
            ..Metadata::default()
        }
    }

    fn tier() -> DenseTier {
        DenseTier {
            hidden: vec![Dense { kernel: vec![1.0, -1.0, 2.0, 0.5], bias: vec![0.25, 0.0] }],
            exit: Dense { kernel: vec![1.0, 0.0, 0.0, 1.0], bias: vec![0.0, 0.0] },
            forwards: true,
        }
    }

    #[test]
    fn a_tier_computes_what_its_weights_say() {
        let artefact = Artefact::from_dense(&tier(), &metadata()).unwrap();
        // Scaled: [0, 1]; hidden: [2.25, 0.5]; softmax of that.
        let output = artefact.sub_model().engine().unwrap().run(&[2.0, 4.0]).unwrap();
        assert_eq!(output.features, Some(vec![2.25, 0.5]));
        let first = 1.0 / (1.0 + (0.5f32 - 2.25).exp());
        assert!((output.exit[0] - first).abs() < 1e-6);
    }

    #[test]
    fn a_temperature_divides_the_logits() {
        let metadata = Metadata { temperature: 2.0, ..metadata() };
        let artefact = Artefact::from_dense(&tier(), &metadata).unwrap();
        let output = artefact.sub_model().engine().unwrap().run(&[2.0, 4.0]).unwrap();
        let first = 1.0 / (1.0 + ((0.5f32 - 2.25) / 2.0).exp());
        assert!((output.exit[0] - first).abs() < 1e-6);
        assert!((output.exit[0] + output.exit[1] - 1.0).abs() < 1e-6);
    }

    #[test]
    fn a_tier_without_a_next_one_has_no_features() {
        let last = DenseTier { forwards: false, ..tier() };
        let artefact = Artefact::from_dense(&last, &metadata()).unwrap();
        assert_eq!(artefact.sub_model().features_shape(), None);
    }

    #[test]
    fn layers_that_do_not_fit_are_named() {
        let mut tier = tier();
        tier.exit.kernel.pop();
        assert_eq!(
            Artefact::from_dense(&tier, &metadata()).unwrap_err().to_string(),
            "sub-model `edge`: tensor `classes/kernel` has 3 values, expected 2 × 2"
        );
    }
}
