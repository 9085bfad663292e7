//! Sub-models of layers, from weights in memory.

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

/// A square that slides over an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Its side in pixels.
    pub size: usize,
    /// By how many pixels it moves.
    pub stride: usize,
    /// How many pixels of zeros are put around the image.
    pub padding: usize,
}

/// A layer of a tier. Images are `[channels, rows, columns]`.
#[derive(Debug, Clone, PartialEq)]
pub enum Layer {
    /// All inputs to each output; an image is flattened.
    Dense {
        /// The weights.
        dense: Dense,
        /// Whether a rectifier follows.
        rectified: bool,
    },
    /// A convolution.
    Conv {
        /// `[channels out, channels in, rows, columns]`, row-major.
        kernel: Vec<f32>,
        /// One per channel out.
        bias: Vec<f32>,
        /// What slides over the image.
        window: Window,
        /// Whether a rectifier follows.
        rectified: bool,
    },
    /// The largest value in a window; padding never is.
    MaxPool(Window),
    /// The mean of the values in a window, with padding as zeros.
    AveragePool(Window),
}

/// What a tier's samples are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrangement {
    /// As devices send them: vectors, or images with the channels of a pixel together, or without channels.
    Device,
    /// The features of the tier before: an image of these `[channels, rows, columns]`, as one vector. Features travel
    /// as vectors, because a row of values is what every encoding writes.
    Image([usize; 3]),
    /// The features of the tier before, which were a vector.
    Vector,
}

/// A tier of a multi-exit network.
#[derive(Debug, Clone, PartialEq)]
pub struct TierLayers {
    /// What its samples are.
    pub input: Arrangement,
    /// From the input to the features.
    pub layers: Vec<Layer>,
    /// How many of the layers come before the exit.
    pub exit_after: usize,
    /// From what the exit sees to the classes, followed by a softmax.
    pub exit: Dense,
    /// Whether there is a next tier to forward the features to.
    pub forwards: bool,
}

impl TierLayers {
    /// A tier of dense layers with rectifiers, the last of which gives the features and what the
    /// exit sees.
    pub fn of_dense(hidden: Vec<Dense>, exit: Dense, forwards: bool) -> TierLayers {
        TierLayers {
            input: Arrangement::Device,
            exit_after: hidden.len(),
            layers: hidden
                .into_iter()
                .map(|dense| Layer::Dense { dense, rectified: true })
                .collect(),
            exit,
            forwards,
        }
    }
}

impl Artefact {
    /// Makes a sub-model of layers.
    ///
    /// # Errors
    ///
    /// [`ModelError::Tensor`] where a layer does not fit the one before it, and whatever else
    /// loading the finished file finds.
    pub fn from_layers(tier: &TierLayers, metadata: &Metadata) -> Result<Artefact, ModelError> {
        let mut building = Building { graph: Graph::default(), tier: &metadata.tier };
        let input = building.graph.input("input", &metadata.input_shape);
        let mut value = match &tier.input {
            Arrangement::Device => building.channels_first(&input),
            Arrangement::Image(shape) => building.graph.reshape("image", &input, shape),
            Arrangement::Vector => input.clone(),
        };
        let mut seen_by_exit = value.clone();
        for (at, layer) in tier.layers.iter().enumerate() {
            value = building.layer(at, layer, &value)?;
            if at + 1 == tier.exit_after {
                seen_by_exit = value.clone();
            }
        }
        let logits = building.dense("classes", &tier.exit, &seen_by_exit)?;
        let mut graph = building.graph;
        let softmax = [Attribute::Int("axis", -1)];
        let name = graph.node("classes/softmax", "Softmax", &[&logits.name], &softmax);
        let exit = Value { name, shape: logits.shape };
        let features = graph.reshape("row", &value, &[value.shape.iter().product()]);
        let features = tier.forwards.then_some((FEATURES, &features));
        let outputs: Vec<_> = features.into_iter().chain([(EXIT, &exit)]).collect();
        let bytes = graph.finish(&metadata.tier, &input, &outputs, metadata);
        Artefact::from_bytes(&metadata.tier, bytes)
    }
}

struct Building<'a> {
    graph: Graph,
    tier: &'a str,
}

impl Building<'_> {
    /// An image as devices send it, with its channels in front; anything else as it is.
    fn channels_first(&mut self, input: &Value) -> Value {
        match input.shape[..] {
            [rows, columns] | [rows, columns, 1] => {
                self.graph.reshape("channels", input, &[1, rows, columns])
            }
            [rows, columns, channels] => {
                let axes = [Attribute::Ints("perm", vec![0, 3, 1, 2])];
                let name = self.graph.node("channels", "Transpose", &[&input.name], &axes);
                Value { name, shape: vec![channels, rows, columns] }
            }
            _ => input.clone(),
        }
    }

    fn layer(&mut self, at: usize, layer: &Layer, input: &Value) -> Result<Value, ModelError> {
        let (output, rectified) = match layer {
            Layer::Dense { dense, rectified } => {
                (self.dense(&format!("dense{at}"), dense, input)?, *rectified)
            }
            Layer::Conv { kernel, bias, window, rectified } => {
                (self.conv(&format!("conv{at}"), (kernel, bias), *window, input)?, *rectified)
            }
            Layer::MaxPool(window) => {
                (self.pool(&format!("pool{at}"), "MaxPool", &[], *window, input)?, false)
            }
            Layer::AveragePool(window) => {
                let padded = [Attribute::Int("count_include_pad", 1)];
                (self.pool(&format!("pool{at}"), "AveragePool", &padded, *window, input)?, false)
            }
        };
        if !rectified {
            return Ok(output);
        }
        let name = self.graph.node(&format!("relu{at}"), "Relu", &[&output.name], &[]);
        Ok(Value { name, shape: output.shape })
    }

    fn dense(&mut self, name: &str, dense: &Dense, input: &Value) -> Result<Value, ModelError> {
        let (inputs, outputs) = (input.shape.iter().product(), dense.bias.len());
        let flat = self.graph.reshape(&format!("{name}/flatten"), input, &[inputs]);
        self.check_len(&format!("{name}/kernel"), dense.kernel.len(), &[inputs, outputs])?;
        let graph = &mut self.graph;
        let kernel = graph.floats(&format!("{name}/kernel"), &[inputs, outputs], &dense.kernel);
        let bias = graph.floats(&format!("{name}/bias"), &[outputs], &dense.bias);
        let product = graph.node(&format!("{name}/product"), "MatMul", &[&flat.name, &kernel], &[]);
        let sum = graph.node(&format!("{name}/sum"), "Add", &[&product, &bias], &[]);
        Ok(Value { name: sum, shape: vec![outputs] })
    }

    fn conv(
        &mut self,
        name: &str,
        (kernel, bias): (&[f32], &[f32]),
        window: Window,
        input: &Value,
    ) -> Result<Value, ModelError> {
        let ([channels, rows, columns], attributes) = self.slide(name, window, input)?;
        let shape = [bias.len(), channels, window.size, window.size];
        self.check_len(&format!("{name}/kernel"), kernel.len(), &shape)?;
        let kernel = self.graph.floats(&format!("{name}/kernel"), &shape, kernel);
        let weights = self.graph.floats(&format!("{name}/bias"), &[bias.len()], bias);
        let inputs = [input.name.as_str(), &kernel, &weights];
        let name = self.graph.node(name, "Conv", &inputs, &attributes);
        Ok(Value { name, shape: vec![bias.len(), rows, columns] })
    }

    fn pool(
        &mut self,
        name: &str,
        operator: &str,
        own: &[Attribute],
        window: Window,
        input: &Value,
    ) -> Result<Value, ModelError> {
        let (shape, mut attributes) = self.slide(name, window, input)?;
        attributes.extend_from_slice(own);
        let name = self.graph.node(name, operator, &[&input.name], &attributes);
        Ok(Value { name, shape: shape.to_vec() })
    }

    /// The channels of the input, the positions of a window over it, and the attributes of an operator that slides.
    fn slide(
        &self,
        name: &str,
        window: Window,
        input: &Value,
    ) -> Result<([usize; 3], Vec<Attribute>), ModelError> {
        let Window { size, stride, padding } = window;
        let positions = |pixels: usize| {
            (pixels + 2 * padding).checked_sub(size)?.checked_div(stride).map(|steps| steps + 1)
        };
        let shape = match input.shape[..] {
            [channels, rows, columns] => positions(rows)
                .zip(positions(columns))
                .map(|(rows, columns)| [channels, rows, columns]),
            _ => None,
        };
        let Some(shape) = shape else {
            return Err(self.problem(
                name,
                format!(
                    "is a window of {window:?} over {:?}, expected a larger image",
                    input.shape
                ),
            ));
        };
        let both = |value: usize, times| vec![value as i64; times];
        let attributes = vec![
            Attribute::Ints("kernel_shape", both(size, 2)),
            Attribute::Ints("strides", both(stride, 2)),
            Attribute::Ints("pads", both(padding, 4)),
        ];
        Ok((shape, attributes))
    }

    fn check_len(&self, tensor: &str, found: usize, shape: &[usize]) -> Result<(), ModelError> {
        if found == shape.iter().product::<usize>() {
            return Ok(());
        }
        let expected: Vec<String> = shape.iter().map(ToString::to_string).collect();
        Err(self.problem(tensor, format!("has {found} values, expected {}", expected.join(" × "))))
    }

    fn problem(&self, tensor: &str, problem: String) -> ModelError {
        ModelError::Tensor { name: self.tier.to_owned(), tensor: tensor.to_owned(), problem }
    }
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

    fn tier() -> TierLayers {
        let dense = Dense { kernel: vec![1.0, -1.0, 2.0, 0.5], bias: vec![0.25, 0.0] };
        let exit = Dense { kernel: vec![1.0, 0.0, 0.0, 1.0], bias: vec![0.0, 0.0] };
        TierLayers::of_dense(vec![dense], exit, true)
    }

    #[test]
    fn a_tier_computes_what_its_weights_say() {
        let artefact = Artefact::from_layers(&tier(), &metadata()).unwrap();
        // Scaled: [0, 1]; hidden: [2.25, 0.5]; softmax of that.
        let output = artefact.sub_model().engine().unwrap().run(&[2.0, 4.0]).unwrap();
        assert_eq!(output.features, Some(vec![2.25, 0.5]));
        let first = 1.0 / (1.0 + (0.5f32 - 2.25).exp());
        assert!((output.exit[0] - first).abs() < 1e-6);
    }

    #[test]
    fn a_temperature_divides_the_logits() {
        let metadata = Metadata { temperature: 2.0, ..metadata() };
        let artefact = Artefact::from_layers(&tier(), &metadata).unwrap();
        let output = artefact.sub_model().engine().unwrap().run(&[2.0, 4.0]).unwrap();
        let first = 1.0 / (1.0 + ((0.5f32 - 2.25) / 2.0).exp());
        assert!((output.exit[0] - first).abs() < 1e-6);
        assert!((output.exit[0] + output.exit[1] - 1.0).abs() < 1e-6);
    }

    #[test]
    fn a_tier_without_a_next_one_has_no_features() {
        let last = TierLayers { forwards: false, ..tier() };
        let artefact = Artefact::from_layers(&last, &metadata()).unwrap();
        assert_eq!(artefact.sub_model().features_shape(), None);
    }

    #[test]
    fn an_exit_sees_what_comes_before_the_bottleneck() {
        let conv = |kernel: Vec<f32>, rectified| Layer::Conv {
            bias: vec![0.0; kernel.len()],
            kernel,
            window: Window { size: 1, stride: 1, padding: 0 },
            rectified,
        };
        let tier = TierLayers {
            input: Arrangement::Device,
            layers: vec![
                conv(vec![1.0, -1.0], true),
                Layer::MaxPool(Window { size: 2, stride: 2, padding: 0 }),
                Layer::Conv {
                    kernel: vec![3.0, 5.0],
                    bias: vec![0.5],
                    window: Window { size: 1, stride: 1, padding: 0 },
                    rectified: false,
                },
            ],
            exit_after: 2,
            exit: Dense { kernel: vec![1.0, 0.0, 0.0, 1.0], bias: vec![0.0, 0.0] },
            forwards: true,
        };
        let metadata = Metadata { input_shape: vec![2, 2], ..Metadata::default() };
        let artefact = Artefact::from_layers(&tier, &metadata).unwrap();
        assert_eq!(artefact.sub_model().features_shape(), Some(&[1][..]));
        let output = artefact.sub_model().engine().unwrap().run(&[1.0, 2.0, -4.0, 0.0]).unwrap();
        // The largest of both signs: 2 and 4.
        assert_eq!(output.features, Some(vec![3.0 * 2.0 + 5.0 * 4.0 + 0.5]));
        let first = 1.0 / (1.0 + (4.0f32 - 2.0).exp());
        assert!((output.exit[0] - first).abs() < 1e-6);
    }

    #[test]
    fn layers_that_do_not_fit_are_named() {
        let error =
            |tier: &TierLayers| Artefact::from_layers(tier, &metadata()).unwrap_err().to_string();
        let mut short = tier();
        short.exit.kernel.pop();
        assert_eq!(
            error(&short),
            "sub-model `edge`: tensor `classes/kernel` has 3 values, expected 2 × 2"
        );
        let window = Window { size: 3, stride: 1, padding: 0 };
        let large = TierLayers { layers: vec![Layer::MaxPool(window)], ..tier() };
        assert_eq!(
            error(&large),
            "sub-model `edge`: tensor `pool0` is a window of Window { size: 3, stride: 1, padding: 0 } over \
             [1, 1, 2], expected a larger image"
        );
    }
}
