//! Where a window stands while it slides over an image.

use crate::ModelError;
use crate::keras::config::Layer;

/// Far more than any image that a tier runs; bounds the work that a file can ask for.
const MAX_REACH: usize = 4096;

/// A window and how it moves; all sizes are height, then width.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    pub(super) size: [usize; 2],
    pub(super) strides: [usize; 2],
    pub(super) dilation: [usize; 2],
}

/// A window's positions on an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Placement {
    /// Zeros around the image: top, left, bottom, right.
    pub(super) pads: [usize; 4],
    /// The number of positions down and across.
    pub(super) output: [usize; 2],
}

impl Window {
    /// Where the window stands on an image of `image`, padded as `layer` says.
    ///
    /// `same` pads as TensorFlow does: as little as gives one position per stride, and where that
    /// is odd, the larger half after.
    pub(super) fn place(&self, layer: &Layer, image: [usize; 2]) -> Result<Placement, ModelError> {
        let padding = layer.text("padding")?.unwrap_or("valid");
        if !matches!(padding, "valid" | "same") {
            return Err(layer.unsupported("padding", padding, "valid, same"));
        }
        let mut placement = Placement { pads: [0; 4], output: [0; 2] };
        for axis in 0..2 {
            let reach = (self.size[axis] - 1)
                .checked_mul(self.dilation[axis])
                .filter(|&reach| reach < MAX_REACH)
                .ok_or_else(|| {
                    layer.error(format!("its window spans more than {MAX_REACH} pixels"))
                })?
                + 1;
            let stride = self.strides[axis];
            if padding == "same" {
                let output = image[axis].div_ceil(stride);
                let pad = ((output - 1) * stride + reach).saturating_sub(image[axis]);
                placement.output[axis] = output;
                placement.pads[axis] = pad / 2;
                placement.pads[axis + 2] = pad - pad / 2;
            } else if let Some(room) = image[axis].checked_sub(reach) {
                placement.output[axis] = room / stride + 1;
            } else {
                return Err(layer.error(format!(
                    "its window spans {reach} pixels, more than its input of {image:?}"
                )));
            }
        }
        Ok(placement)
    }
}
