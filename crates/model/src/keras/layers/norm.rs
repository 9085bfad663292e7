//! `BatchNormalization` and `Rescaling`: each value times one number plus another.

use crate::ModelError;
use crate::keras::convert::Site;
use crate::onnx::graph::Value;

/// `BatchNormalization` as it acts after training, with the moving mean and variance.
pub(super) fn batch_normalization(
    site: &mut Site<'_>,
    inputs: &[&Value],
) -> Result<Value, ModelError> {
    let input = site.only(inputs)?;
    let axis = site.layer.axis("axis", -1, input.shape.len())?;
    let channels = input.shape[axis];
    let epsilon = f64::from(site.layer.float("epsilon")?.unwrap_or(1e-3));
    let weights = |role: &str| site.file.weights(site.layer, &[role], &[channels]);
    let gamma =
        if site.layer.flag("scale", true)? { weights("gamma")? } else { vec![1.0; channels] };
    let beta =
        if site.layer.flag("center", true)? { weights("beta")? } else { vec![0.0; channels] };
    let mean = weights("moving_mean")?;
    let variance = weights("moving_variance")?;

    let mut factors = Vec::with_capacity(channels);
    let mut offsets = Vec::with_capacity(channels);
    for at in 0..channels {
        let factor = f64::from(gamma[at]) / (f64::from(variance[at]) + epsilon).sqrt();
        factors.push(factor as f32);
        offsets.push((f64::from(beta[at]) - f64::from(mean[at]) * factor) as f32);
    }
    // Broadcast along the axes after this one.
    let mut shape = vec![1; input.shape.len() - axis];
    shape[0] = channels;
    let factors = site.graph.floats(&site.name("factors"), &shape, &factors);
    let offsets = site.graph.floats(&site.name("offsets"), &shape, &offsets);
    let scaled = site.elementwise("scaled", "Mul", &[&input.name, &factors], &input.shape);
    Ok(site.elementwise("normalised", "Add", &[&scaled.name, &offsets], &input.shape))
}

/// `Rescaling`: `x * scale + offset`.
pub(super) fn rescaling(site: &mut Site<'_>, inputs: &[&Value]) -> Result<Value, ModelError> {
    let input = site.only(inputs)?;
    let scale = site.layer.float("scale")?.unwrap_or(1.0);
    let offset = site.layer.float("offset")?.unwrap_or(0.0);
    let scale = site.graph.scalar(&site.name("scale"), scale);
    let offset = site.graph.scalar(&site.name("offset"), offset);
    let scaled = site.elementwise("scaled", "Mul", &[&input.name, &scale], &input.shape);
    Ok(site.elementwise("shifted", "Add", &[&scaled.name, &offset], &input.shape))
}
