//! Files that are well formed and mean harm: every number in a sub-model that is not a weight,
//! replaced by each of a few that are too large, too small or negative. Loading must give a
//! sub-model or an error, and not ask for more memory than a machine has.

use std::path::Path;

use prost::Message;
use tract_onnx::pb;
use tract_onnx::pb::tensor_shape_proto::dimension::Value as Dimension;

use crate::keras::{ImportOptions, import_h5};
use crate::{ModelError, SubModel};

const HOSTILE: [i64; 5] = [-1, 0, 7, 1 << 31, i64::MAX];

fn model(fixture: &str) -> pb::ModelProto {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(fixture);
    let artefact = import_h5(&path, &ImportOptions::default()).unwrap();
    pb::ModelProto::decode(artefact.bytes()).unwrap()
}

/// The numbers in a file that are not weights.
fn numbers(model: &mut pb::ModelProto) -> Vec<Number<'_>> {
    let graph = model.graph.as_mut().unwrap();
    let mut numbers = Vec::new();
    for attribute in graph.node.iter_mut().flat_map(|node| &mut node.attribute) {
        numbers.push(Number::Int(&mut attribute.i));
        numbers.extend(attribute.ints.iter_mut().map(Number::Int));
    }
    for tensor in &mut graph.initializer {
        numbers.extend(tensor.dims.iter_mut().map(Number::Int));
        if tensor.data_type == pb::tensor_proto::DataType::Int64 as i32 {
            numbers.extend(tensor.raw_data.chunks_exact_mut(8).map(Number::Raw));
        }
    }
    for value in graph.input.iter_mut().chain(&mut graph.output) {
        let Some(pb::type_proto::Value::TensorType(tensor)) =
            value.r#type.as_mut().and_then(|kind| kind.value.as_mut())
        else {
            continue;
        };
        for dimension in tensor.shape.iter_mut().flat_map(|shape| &mut shape.dim) {
            numbers.push(Number::Dimension(&mut dimension.value));
        }
    }
    numbers
}

enum Number<'a> {
    Int(&'a mut i64),
    Raw(&'a mut [u8]),
    Dimension(&'a mut Option<Dimension>),
}

impl Number<'_> {
    fn set(&mut self, number: i64) {
        match self {
            Number::Int(place) => **place = number,
            Number::Raw(place) => place.copy_from_slice(&number.to_le_bytes()),
            Number::Dimension(place) => **place = Some(Dimension::DimValue(number)),
        }
    }
}

fn load(model: &pb::ModelProto) -> Result<(), ModelError> {
    let sub_model = SubModel::from_bytes("hostile", &model.encode_to_vec())?;
    let len: usize = sub_model.input_shape().iter().product();
    sub_model.engine()?.run(&vec![0.5; 3 * len]).map(|_| ())
}

fn check(fixture: &str) {
    let original = model(fixture);
    let count = numbers(&mut original.clone()).len();
    let mut refused = 0;
    for at in 0..count {
        for number in HOSTILE {
            let mut model = original.clone();
            numbers(&mut model)[at].set(number);
            refused += usize::from(load(&model).is_err());
        }
    }
    eprintln!("{fixture}: {refused} of {} refused", count * HOSTILE.len());
    assert!(refused > count);
}

#[test]
fn hostile_numbers_in_an_image_network_are_survived() {
    check("keras3-image.h5");
}

#[test]
fn hostile_numbers_in_a_padded_network_are_survived() {
    check("keras2-sequential.h5");
}

#[test]
fn unknown_and_missing_operators_are_errors() {
    let original = model("keras2-sequential.h5");
    for at in 0..original.graph.as_ref().unwrap().node.len() {
        for operator in ["", "Loop", "Conv", "ConstantOfShape", "Range", "Tile", "Expand", "Nope"] {
            let mut model = original.clone();
            operator.clone_into(&mut model.graph.as_mut().unwrap().node[at].op_type);
            let _ = load(&model);
        }
        let mut model = original.clone();
        model.graph.as_mut().unwrap().node[at].input.clear();
        assert!(load(&model).is_err());
        let mut model = original.clone();
        model.graph.as_mut().unwrap().node.remove(at);
        assert!(load(&model).is_err());
    }
}
