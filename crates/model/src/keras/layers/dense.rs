//! `Dense`.

use crate::ModelError;
use crate::keras::activation;
use crate::keras::convert::Site;
use crate::onnx::graph::Value;

/// `activation(input · kernel + bias)` over the last axis, of inputs of any rank.
pub(super) fn dense(site: &mut Site<'_>, inputs: &[&Value]) -> Result<Value, ModelError> {
    let input = site.only(inputs)?;
    let units = site.layer.required_size("units")?;
    let Some((&width, outer)) = input.shape.split_last() else {
        return Err(site.layer.error("its input has no axis to work on"));
    };
    let kernel = site.weights("kernel", &[width, units])?;
    let mut name = site.graph.node(&site.name("product"), "MatMul", &[&input.name, &kernel], &[]);
    if site.layer.flag("use_bias", true)? {
        let bias = site.weights("bias", &[units])?;
        name = site.graph.node(&site.name("sum"), "Add", &[&name, &bias], &[]);
    }
    let shape = outer.iter().copied().chain([units]).collect();
    activation::of_layer(site, Value { name, shape })
}
