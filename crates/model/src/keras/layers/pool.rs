//! Pooling, over a window or over the whole image.

use super::Layout;
use super::window::Window;
use crate::ModelError;
use crate::keras::convert::Site;
use crate::onnx::graph::{Attribute, Value};

/// `MaxPooling2D` and `AveragePooling2D`. What is padded counts for neither.
pub(super) fn windowed(
    site: &mut Site<'_>,
    inputs: &[&Value],
    operator: &str,
) -> Result<Value, ModelError> {
    let input = site.only(inputs)?;
    let layout = Layout::of(site)?;
    let (channels, image) = layout.sizes(site, input)?;
    let pool = site.layer.pair("pool_size")?.unwrap_or([2, 2]);
    let strides = site.layer.pair("strides")?.unwrap_or(pool);
    let placement = Window { size: pool, strides, dilation: [1, 1] }.place(site.layer, image)?;
    let first = layout.to_onnx(site, input);
    let integers = |values: &[usize]| values.iter().map(|&value| value as i64).collect();
    let attributes = [
        Attribute::Ints("kernel_shape", integers(&pool)),
        Attribute::Ints("strides", integers(&strides)),
        Attribute::Ints("pads", integers(&placement.pads)),
    ];
    let name = site.graph.node(&site.name("pool"), operator, &[&first.name], &attributes);
    let [height, width] = placement.output;
    Ok(layout.restore(site, Value { name, shape: vec![channels, height, width] }))
}

/// `GlobalMaxPooling2D` and `GlobalAveragePooling2D`.
pub(super) fn global(
    site: &mut Site<'_>,
    inputs: &[&Value],
    operator: &str,
) -> Result<Value, ModelError> {
    let input = site.only(inputs)?;
    let layout = Layout::of(site)?;
    let (channels, _) = layout.sizes(site, input)?;
    let keep = site.layer.flag("keepdims", false)?;
    let (axes, kept) = match layout {
        Layout::ChannelsLast => (vec![1, 2], vec![1, 1, channels]),
        Layout::ChannelsFirst => (vec![2, 3], vec![channels, 1, 1]),
    };
    let attributes = [Attribute::Ints("axes", axes), Attribute::Int("keepdims", i64::from(keep))];
    let name = site.graph.node(&site.layer.name, operator, &[&input.name], &attributes);
    Ok(Value { name, shape: if keep { kept } else { vec![channels] } })
}
