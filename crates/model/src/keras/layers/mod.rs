//! The layers that are known, one function each.
//!
//! Values keep Keras's layout. A layer that ONNX defines for channels first is put between two
//! transpositions, which the engine then moves together and removes.

mod activations;
mod conv;
mod dense;
mod merge;
mod norm;
mod pool;
mod shape;
mod window;

use super::activation;
use super::convert::Site;
use crate::ModelError;
use crate::onnx::graph::Value;

const SUPPORTED: &str = "InputLayer, Dense, Conv2D, DepthwiseConv2D, SeparableConv2D, MaxPooling2D, \
     AveragePooling2D, GlobalMaxPooling2D, GlobalAveragePooling2D, ZeroPadding2D, \
     BatchNormalization, Rescaling, Activation, ReLU, LeakyReLU, ELU, Softmax, Flatten, Reshape, \
     Permute, Add, Subtract, Multiply, Average, Maximum, Minimum, Concatenate, and the layers that \
     only act in training";

/// Adds one call of a layer to the graph and returns its output.
pub(super) fn convert(site: &mut Site<'_>, inputs: &[&Value]) -> Result<Value, ModelError> {
    match site.layer.class.as_str() {
        "Dense" => dense::dense(site, inputs),
        "Conv2D" => conv::conv(site, inputs),
        "DepthwiseConv2D" => conv::depthwise(site, inputs),
        "SeparableConv2D" => conv::separable(site, inputs),
        "MaxPooling2D" => pool::windowed(site, inputs, "MaxPool"),
        "AveragePooling2D" => pool::windowed(site, inputs, "AveragePool"),
        "GlobalMaxPooling2D" => pool::global(site, inputs, "ReduceMax"),
        "GlobalAveragePooling2D" => pool::global(site, inputs, "ReduceMean"),
        "ZeroPadding2D" => shape::zero_padding(site, inputs),
        "BatchNormalization" => norm::batch_normalization(site, inputs),
        "Rescaling" => norm::rescaling(site, inputs),
        "Activation" => {
            let input = site.only(inputs)?.clone();
            activation::of_layer(site, input)
        }
        "ReLU" => activations::relu(site, inputs),
        "LeakyReLU" => activations::leaky_relu(site, inputs),
        "ELU" => activations::elu(site, inputs),
        "Softmax" => activations::softmax(site, inputs),
        "Flatten" => shape::flatten(site, inputs),
        "Reshape" => shape::reshape(site, inputs),
        "Permute" => shape::permute(site, inputs),
        "Add" => merge::fold(site, inputs, "Add"),
        "Subtract" => merge::fold(site, inputs, "Sub"),
        "Multiply" => merge::fold(site, inputs, "Mul"),
        "Average" => merge::average(site, inputs),
        "Maximum" => merge::fold(site, inputs, "Max"),
        "Minimum" => merge::fold(site, inputs, "Min"),
        "Concatenate" => merge::concatenate(site, inputs),
        "Dropout"
        | "SpatialDropout2D"
        | "AlphaDropout"
        | "GaussianDropout"
        | "GaussianNoise"
        | "ActivityRegularization" => site.only(inputs).cloned(),
        class => Err(site.layer.unsupported("class", class, SUPPORTED)),
    }
}

/// Where a layer of images finds its channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layout {
    ChannelsLast,
    ChannelsFirst,
}

impl Layout {
    fn of(site: &Site<'_>) -> Result<Layout, ModelError> {
        match site.layer.text("data_format")?.unwrap_or("channels_last") {
            "channels_last" => Ok(Layout::ChannelsLast),
            "channels_first" => Ok(Layout::ChannelsFirst),
            other => {
                let supported = "channels_last, channels_first";
                Err(site.layer.unsupported("data_format", other, supported))
            }
        }
    }

    /// The channels and sizes of an image.
    fn sizes(self, site: &Site<'_>, image: &Value) -> Result<(usize, [usize; 2]), ModelError> {
        match (self, &image.shape[..]) {
            (Layout::ChannelsLast, &[height, width, channels])
            | (Layout::ChannelsFirst, &[channels, height, width]) => {
                Ok((channels, [height, width]))
            }
            _ => Err(site.layer.error(format!(
                "its input has shape {:?}, expected two sizes and the channels",
                image.shape
            ))),
        }
    }

    /// `image` with channels first, as ONNX takes it.
    fn to_onnx(self, site: &mut Site<'_>, image: &Value) -> Value {
        match self {
            Layout::ChannelsFirst => image.clone(),
            Layout::ChannelsLast => site.transpose("to_channels_first", image, &[2, 0, 1]),
        }
    }

    /// `image`, which has channels first, put back in this layout.
    fn restore(self, site: &mut Site<'_>, image: Value) -> Value {
        match self {
            Layout::ChannelsFirst => image,
            Layout::ChannelsLast => site.transpose("to_channels_last", &image, &[1, 2, 0]),
        }
    }
}
