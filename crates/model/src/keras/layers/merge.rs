//! Layers that take several inputs.

use crate::ModelError;
use crate::keras::convert::Site;
use crate::onnx::graph::{Attribute, Value};

/// Combines inputs one after the other by an operator on two.
pub(super) fn fold(
    site: &mut Site<'_>,
    inputs: &[&Value],
    operator: &str,
) -> Result<Value, ModelError> {
    let [first, rest @ ..] = inputs else {
        return Err(site.layer.error("it has no inputs"));
    };
    if rest.is_empty() || (site.layer.class == "Subtract" && rest.len() > 1) {
        let expected = if site.layer.class == "Subtract" { "two" } else { "two or more" };
        let found = inputs.len();
        return Err(site.layer.error(format!("it is given {found} inputs, expected {expected}")));
    }
    let mut result = (*first).clone();
    for input in rest {
        let shape = broadcast(site, &result.shape, &input.shape)?;
        let part = operator.to_lowercase();
        result = site.elementwise(&part, operator, &[&result.name, &input.name], &shape);
    }
    Ok(result)
}

/// `Average`.
pub(super) fn average(site: &mut Site<'_>, inputs: &[&Value]) -> Result<Value, ModelError> {
    let sum = fold(site, inputs, "Add")?;
    let share = site.graph.scalar(&site.name("share"), 1.0 / inputs.len() as f32);
    Ok(site.elementwise("average", "Mul", &[&sum.name, &share], &sum.shape))
}

/// `Concatenate`.
pub(super) fn concatenate(site: &mut Site<'_>, inputs: &[&Value]) -> Result<Value, ModelError> {
    let Some(first) = inputs.first() else {
        return Err(site.layer.error("it has no inputs"));
    };
    let axis = site.layer.axis("axis", -1, first.shape.len())?;
    let mut shape = first.shape.clone();
    shape[axis] = 0;
    for input in inputs {
        let mut others = input.shape.clone();
        if others.len() == shape.len() {
            shape[axis] += others[axis];
            others[axis] = shape[axis];
        }
        if others != shape {
            return Err(site.layer.error(format!(
                "its inputs have shapes {:?} and {:?}, which differ beside the axis",
                first.shape, input.shape
            )));
        }
    }
    let names: Vec<&str> = inputs.iter().map(|input| input.name.as_str()).collect();
    let attributes = [Attribute::Int("axis", axis as i64 + 1)];
    let name = site.graph.node(&site.layer.name, "Concat", &names, &attributes);
    Ok(Value { name, shape })
}

/// The shape of two combined: sizes are equal, or one of them is 1.
fn broadcast(site: &Site<'_>, one: &[usize], other: &[usize]) -> Result<Vec<usize>, ModelError> {
    let fits = |(&a, &b): (&usize, &usize)| a == b || a == 1 || b == 1;
    if one.len() == other.len() && one.iter().zip(other).all(fits) {
        return Ok(one.iter().zip(other).map(|(&a, &b)| a.max(b)).collect());
    }
    Err(site.layer.error(format!("its inputs have shapes {one:?} and {other:?}, expected equal")))
}
