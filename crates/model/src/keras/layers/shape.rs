//! Layers that only move values: `Flatten`, `Reshape`, `Permute` and `ZeroPadding2D`.

use super::Layout;
use crate::ModelError;
use crate::keras::config::excerpt;
use crate::keras::convert::Site;
use crate::onnx::check::MAX_ELEMENTS;
use crate::onnx::graph::Value;

/// All of a sample in one dimension. Channels come last, also where the layer is told that they are
/// first.
pub(super) fn flatten(site: &mut Site<'_>, inputs: &[&Value]) -> Result<Value, ModelError> {
    let input = site.only(inputs)?;
    let len = input.shape.iter().product();
    let rank = input.shape.len();
    if Layout::of(site)? == Layout::ChannelsFirst && rank > 1 {
        let order: Vec<usize> = (1..rank).chain([0]).collect();
        let last = site.transpose("to_channels_last", input, &order);
        return Ok(site.graph.reshape(&site.layer.name, &last, &[len]));
    }
    Ok(site.graph.reshape(&site.layer.name, input, &[len]))
}

/// `Reshape`; one size of its target may be -1, for what remains.
pub(super) fn reshape(site: &mut Site<'_>, inputs: &[&Value]) -> Result<Value, ModelError> {
    let input = site.only(inputs)?;
    let len: usize = input.shape.iter().product();
    let target = integers(site, "target_shape")?;
    let fail = || {
        site.layer.error(format!(
            "target_shape = {target:?}, expected the {len} values of its input {:?}",
            input.shape
        ))
    };
    let known = target
        .iter()
        .filter(|&&size| size != -1)
        .try_fold(1usize, |product, &size| product.checked_mul(usize::try_from(size).ok()?));
    let known = known.filter(|&known| known > 0 && len.is_multiple_of(known)).ok_or_else(fail)?;
    let open = target.iter().filter(|&&size| size == -1).count();
    if open > 1 || (open == 0 && known != len) {
        return Err(fail());
    }
    let shape: Vec<usize> =
        target.iter().map(|&size| usize::try_from(size).unwrap_or(len / known)).collect();
    Ok(site.graph.reshape(&site.layer.name, input, &shape))
}

/// `Permute`; its axes are counted from 1, without the batch.
pub(super) fn permute(site: &mut Site<'_>, inputs: &[&Value]) -> Result<Value, ModelError> {
    let input = site.only(inputs)?;
    let axes = integers(site, "dims")?;
    let order: Vec<usize> =
        axes.iter().filter_map(|&axis| usize::try_from(axis - 1).ok()).collect();
    let mut sorted = order.clone();
    sorted.sort_unstable();
    if axes.len() != input.shape.len() || !sorted.iter().copied().eq(0..input.shape.len()) {
        return Err(site.layer.error(format!(
            "dims = {axes:?}, expected the axes 1 to {} in some order",
            input.shape.len()
        )));
    }
    Ok(site.transpose("permuted", input, &order))
}

/// `ZeroPadding2D`: rows above and below, columns left and right.
pub(super) fn zero_padding(site: &mut Site<'_>, inputs: &[&Value]) -> Result<Value, ModelError> {
    let input = site.only(inputs)?;
    let layout = Layout::of(site)?;
    layout.sizes(site, input)?;
    let padding = padding(site)?;
    let first_axis = match layout {
        Layout::ChannelsLast => 0,
        Layout::ChannelsFirst => 1,
    };
    // ONNX lists what comes before all axes, batch included, then what comes after all.
    let rank = input.shape.len() + 1;
    let mut pads = vec![0; 2 * rank];
    let mut shape = input.shape.clone();
    for (at, [before, after]) in padding.into_iter().enumerate() {
        let axis = first_axis + at;
        pads[axis + 1] = before as i64;
        pads[axis + 1 + rank] = after as i64;
        shape[axis] += before + after;
    }
    let pads = site.graph.integers(&site.name("pads"), &pads);
    let name = site.graph.node(&site.layer.name, "Pad", &[&input.name, &pads], &[]);
    Ok(Value { name, shape })
}

/// `[[top, bottom], [left, right]]`, which the file may shorten to `[rows, columns]` or one number.
fn padding(site: &Site<'_>) -> Result<[[usize; 2]; 2], ModelError> {
    let option =
        site.layer.option("padding").ok_or_else(|| site.layer.error("it has no padding"))?;
    let count = |json: &serde_json::Value| {
        usize::try_from(json.as_u64()?).ok().filter(|&size| size < MAX_ELEMENTS)
    };
    let both = |json: &serde_json::Value| match json.as_array().map(Vec::as_slice) {
        None => count(json).map(|count| [count, count]),
        Some([before, after]) => Some([count(before)?, count(after)?]),
        Some(_) => None,
    };
    let read = match option.as_array().map(Vec::as_slice) {
        None => both(option).map(|padding| [padding, padding]),
        Some([rows, columns]) => both(rows).zip(both(columns)).map(|(a, b)| [a, b]),
        Some(_) => None,
    };
    read.ok_or_else(|| {
        let found = excerpt(option);
        site.layer.unsupported("padding", found, "a size, two sizes, or two pairs of sizes")
    })
}

/// A list of whole numbers.
fn integers(site: &Site<'_>, option: &str) -> Result<Vec<i64>, ModelError> {
    let list = site.layer.option(option).and_then(serde_json::Value::as_array);
    list.and_then(|list| list.iter().map(serde_json::Value::as_i64).collect())
        .ok_or_else(|| site.layer.error(format!("it has no list of whole numbers `{option}`")))
}
