//! `Conv2D`, `DepthwiseConv2D` and `SeparableConv2D`.
//!
//! Keras keeps a kernel as `[height, width, inputs, outputs]`, ONNX as `[outputs, inputs, height,
//! width]`.

use super::Layout;
use super::window::Window;
use crate::ModelError;
use crate::keras::activation;
use crate::keras::convert::Site;
use crate::onnx::graph::{Attribute, Value};

/// `Conv2D`, with groups.
pub(super) fn conv(site: &mut Site<'_>, inputs: &[&Value]) -> Result<Value, ModelError> {
    let input = site.only(inputs)?;
    let layout = Layout::of(site)?;
    let (channels, image) = layout.sizes(site, input)?;
    let filters = site.layer.required_size("filters")?;
    let groups = site.layer.size("groups")?.unwrap_or(1);
    if groups == 0 || channels % groups != 0 || filters % groups != 0 {
        return Err(site.layer.error(format!(
            "groups = {groups}, expected a divisor of its {channels} channels and {filters} filters"
        )));
    }
    let window = window(site)?;
    let [height, width] = window.size;
    let shape = [height, width, channels / groups, filters];
    let kernel = site.file.weights(site.layer, &["kernel"], &shape)?;
    let kernel = permuted(&kernel, shape, [3, 2, 0, 1]);
    let kernel = site.graph.floats(
        &site.name("kernel"),
        &[filters, channels / groups, height, width],
        &kernel,
    );
    let first = layout.to_onnx(site, input);
    let bias = bias(site, filters)?;
    let slid = Slid { image, window, groups, filters };
    let output = slide(site, "conv", &first, &kernel, bias.as_deref(), slid)?;
    let output = layout.restore(site, output);
    activation::of_layer(site, output)
}

/// `DepthwiseConv2D`: each channel by itself, `depth_multiplier` outputs for each.
pub(super) fn depthwise(site: &mut Site<'_>, inputs: &[&Value]) -> Result<Value, ModelError> {
    let input = site.only(inputs)?;
    let layout = Layout::of(site)?;
    let first = layout.to_onnx(site, input);
    let (channels, image) = layout.sizes(site, input)?;
    let filters = depthwise_filters(site, channels)?;
    let bias = bias(site, filters)?;
    let output = each_channel(site, &first, image, filters, bias.as_deref())?;
    let output = layout.restore(site, output);
    activation::of_layer(site, output)
}

/// `SeparableConv2D`: each channel by itself, then all channels of each pixel.
pub(super) fn separable(site: &mut Site<'_>, inputs: &[&Value]) -> Result<Value, ModelError> {
    let input = site.only(inputs)?;
    let layout = Layout::of(site)?;
    let first = layout.to_onnx(site, input);
    let (channels, image) = layout.sizes(site, input)?;
    let middle = depthwise_filters(site, channels)?;
    let filters = site.layer.required_size("filters")?;
    let depthwise = each_channel(site, &first, image, middle, None)?;
    let shape = [1, 1, middle, filters];
    let kernel = site.file.weights(site.layer, &["pointwise_kernel"], &shape)?;
    let kernel = permuted(&kernel, shape, [3, 2, 0, 1]);
    let kernel =
        site.graph.floats(&site.name("pointwise_kernel"), &[filters, middle, 1, 1], &kernel);
    let bias = bias(site, filters)?;
    let inputs: Vec<&str> =
        [&depthwise.name, &kernel].into_iter().chain(&bias).map(String::as_str).collect();
    let name = site.graph.node(&site.name("pointwise"), "Conv", &inputs, &[]);
    let output = Value { name, shape: vec![filters, depthwise.shape[1], depthwise.shape[2]] };
    let output = layout.restore(site, output);
    activation::of_layer(site, output)
}

fn depthwise_filters(site: &Site<'_>, channels: usize) -> Result<usize, ModelError> {
    let multiplier = site.layer.size("depth_multiplier")?.unwrap_or(1);
    channels.checked_mul(multiplier).filter(|&filters| filters > 0).ok_or_else(|| {
        site.layer.error(format!("depth_multiplier = {multiplier} of {channels} channels"))
    })
}

/// Convolves each channel by itself.
fn each_channel(
    site: &mut Site<'_>,
    input: &Value,
    image: [usize; 2],
    filters: usize,
    bias: Option<&str>,
) -> Result<Value, ModelError> {
    let channels = input.shape[0];
    let window = window(site)?;
    let [height, width] = window.size;
    let shape = [height, width, channels, filters / channels];
    // Keras 3 calls it `kernel` in `DepthwiseConv2D` alone.
    let roles: &[&str] = match site.layer.class.as_str() {
        "DepthwiseConv2D" => &["depthwise_kernel", "kernel"],
        _ => &["depthwise_kernel"],
    };
    let kernel = site.file.weights(site.layer, roles, &shape)?;
    let kernel = permuted(&kernel, shape, [2, 3, 0, 1]);
    let kernel =
        site.graph.floats(&site.name("depthwise_kernel"), &[filters, 1, height, width], &kernel);
    slide(
        site,
        "depthwise",
        input,
        &kernel,
        bias,
        Slid { image, window, groups: channels, filters },
    )
}

fn window(site: &Site<'_>) -> Result<Window, ModelError> {
    let layer = site.layer;
    let kernel =
        layer.pair("kernel_size")?.ok_or_else(|| layer.error("it has no `kernel_size`"))?;
    Ok(Window {
        size: kernel,
        strides: layer.pair("strides")?.unwrap_or([1, 1]),
        dilation: layer.pair("dilation_rate")?.unwrap_or([1, 1]),
    })
}

fn bias(site: &mut Site<'_>, filters: usize) -> Result<Option<String>, ModelError> {
    if site.layer.flag("use_bias", true)? {
        return site.weights("bias", &[filters]).map(Some);
    }
    Ok(None)
}

/// A convolution's geometry.
struct Slid {
    image: [usize; 2],
    window: Window,
    groups: usize,
    filters: usize,
}

/// Adds the convolution itself; channels are first.
fn slide(
    site: &mut Site<'_>,
    part: &str,
    input: &Value,
    kernel: &str,
    bias: Option<&str>,
    Slid { image, window, groups, filters }: Slid,
) -> Result<Value, ModelError> {
    let placement = window.place(site.layer, image)?;
    let integers = |values: &[usize]| values.iter().map(|&value| value as i64).collect();
    let attributes = [
        Attribute::Ints("kernel_shape", integers(&window.size)),
        Attribute::Ints("strides", integers(&window.strides)),
        Attribute::Ints("dilations", integers(&window.dilation)),
        Attribute::Ints("pads", integers(&placement.pads)),
        Attribute::Int("group", groups as i64),
    ];
    let inputs: Vec<&str> = [input.name.as_str(), kernel].into_iter().chain(bias).collect();
    let name = site.graph.node(&site.name(part), "Conv", &inputs, &attributes);
    let [height, width] = placement.output;
    Ok(Value { name, shape: vec![filters, height, width] })
}

/// `values` of `shape` with axis `i` of the result taken from axis `order[i]`.
fn permuted(values: &[f32], shape: [usize; 4], order: [usize; 4]) -> Vec<f32> {
    let mut strides = [1; 4];
    for axis in (0..3).rev() {
        strides[axis] = strides[axis + 1] * shape[axis + 1];
    }
    let [outer, second, third, inner] = order.map(|axis| (shape[axis], strides[axis]));
    let mut result = Vec::with_capacity(values.len());
    for a in 0..outer.0 {
        for b in 0..second.0 {
            for c in 0..third.0 {
                let start = a * outer.1 + b * second.1 + c * third.1;
                result.extend((0..inner.0).map(|d| values[start + d * inner.1]));
            }
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::permuted;

    #[test]
    fn permuting_moves_axes() {
        // [2, 1, 1, 3] to [3, 1, 2, 1].
        let values = [0.0, 1.0, 2.0, 10.0, 11.0, 12.0];
        let moved = permuted(&values, [2, 1, 1, 3], [3, 2, 0, 1]);
        assert_eq!(moved, [0.0, 10.0, 1.0, 11.0, 2.0, 12.0]);
    }
}
