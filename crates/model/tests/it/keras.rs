//! Imported Keras models compute what Keras computes.
//!
//! `keras_oracle.py` builds models and writes what Keras gives for them. A few are part of the
//! project (`tests/fixtures`, by `--fixtures`); the full set needs TensorFlow.

use std::path::{Path, PathBuf};

use model::import;
use model::keras::{ImportOptions, import_h5, import_h5_bytes, import_keras_bytes};
use serde_json::Value as Json;

/// Where results are large, relative to them.
const TOLERANCE: f32 = 1e-5;

fn cases(directory: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension().is_some_and(|extension| extension == "h5" || extension == "keras")
        })
        .collect();
    paths.sort();
    assert!(!paths.is_empty(), "no Keras files in {}", directory.display());
    paths
}

pub(crate) fn floats(json: &Json) -> Vec<f32> {
    json.as_array().unwrap().iter().map(|value| value.as_f64().unwrap() as f32).collect()
}

pub(crate) fn sizes(json: &Json) -> Vec<usize> {
    json.as_array().unwrap().iter().map(|size| size.as_u64().unwrap() as usize).collect()
}

/// What differs from Keras in the case at `path`, or the largest difference.
fn check(path: &Path) -> Result<f32, String> {
    let expected = std::fs::read(path.with_extension("json")).map_err(|error| error.to_string())?;
    let expected: Json = serde_json::from_slice(&expected).unwrap();
    let artefact = import(path, &ImportOptions::default()).map_err(|error| format!("{error:#}"))?;
    let sub_model = artefact.sub_model();
    if !sub_model.accepts(&sizes(&expected["input_shape"])) {
        return Err(format!("input shape {:?}", sub_model.input_shape()));
    }
    let output = sub_model
        .engine()
        .and_then(|mut engine| engine.run(&floats(&expected["input"])))
        .map_err(|error| error.to_string())?;
    let mut worst = differ("exit", &output.exit, &floats(&expected["exit"]), TOLERANCE)?;
    if expected["features"].is_null() != output.features.is_none() {
        return Err("only one of both has features".to_owned());
    }
    if let Some(features) = &output.features {
        let shape = sizes(&expected["features_shape"]);
        if sub_model.features_shape() != Some(&shape[..]) {
            return Err(format!("features {:?}, not {shape:?}", sub_model.features_shape()));
        }
        worst = worst.max(differ("features", features, &floats(&expected["features"]), TOLERANCE)?);
    }
    Ok(worst)
}

pub(crate) fn differ(
    name: &str,
    found: &[f32],
    expected: &[f32],
    tolerance: f32,
) -> Result<f32, String> {
    if found.len() != expected.len() {
        return Err(format!("{} values of {name}, not {}", found.len(), expected.len()));
    }
    let mut worst: f32 = 0.0;
    for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
        let difference = (found - expected).abs() / expected.abs().max(1.0);
        if difference.is_nan() || difference > tolerance {
            return Err(format!("{name}[{at}] is {found}, not {expected}"));
        }
        worst = worst.max(difference);
    }
    Ok(worst)
}

fn check_all(directory: &Path) {
    let mut worst: f32 = 0.0;
    let mut failures = Vec::new();
    let cases = cases(directory);
    for path in &cases {
        match check(path) {
            Ok(difference) => worst = worst.max(difference),
            Err(failure) => {
                failures.push(format!("{}: {failure}", path.file_name().unwrap().display()));
            }
        }
    }
    eprintln!("{} cases, largest difference {worst:e}", cases.len());
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn the_fixtures_give_what_keras_gives() {
    check_all(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures"));
}

#[test]
#[ignore = "needs TensorFlow: cargo xtask peers"]
fn every_layer_gives_what_keras_gives() {
    let directory = std::env::var_os("OFFRAMP_KERAS_CASES")
        .expect("OFFRAMP_KERAS_CASES names the directory that keras_oracle.py wrote");
    check_all(Path::new(&directory));
}

/// What importing a fixture says after `from` was replaced by `to`, of the same length, in it.
fn refused(fixture: &str, from: &str, to: &str) -> String {
    assert_eq!(from.len(), to.len());
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(fixture);
    let mut bytes = std::fs::read(path).unwrap();
    let places: Vec<usize> = (0..bytes.len() - from.len())
        .filter(|&at| bytes[at..].starts_with(from.as_bytes()))
        .collect();
    assert!(!places.is_empty(), "{fixture} has no {from}");
    for at in places {
        bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
    }
    let error = import_h5_bytes("edge.h5", bytes, &ImportOptions::default()).unwrap_err();
    error.to_string()
}

#[test]
fn what_is_not_supported_is_named_with_what_would_be() {
    let error = refused("keras3-image.h5", "\"DepthwiseConv2D\"", "\"DepthwiseConv9D\"");
    let expected = "Keras model `edge.h5`: layer `depthwise_conv2d` (DepthwiseConv9D): class = \
                    DepthwiseConv9D is not supported; supported: InputLayer, Dense, Conv2D";
    assert!(error.starts_with(expected), "{error}");

    let error = refused("keras3-image.h5", "\"activation\": \"elu\"", "\"activation\": \"elo\"");
    let expected = "Keras model `edge.h5`: layer `depthwise_conv2d` (DepthwiseConv2D): activation \
                    = \"elo\" is not supported; supported: linear, relu";
    assert!(error.starts_with(expected), "{error}");

    assert_eq!(
        refused("keras3-image.h5", "\"padding\": \"same\"", "\"padding\": \"some\""),
        "Keras model `edge.h5`: layer `conv2d` (Conv2D): padding = some is not supported; \
         supported: valid, same"
    );
}

#[test]
fn an_exit_that_is_no_softmax_is_refused() {
    assert_eq!(
        refused("keras3-image.h5", "\"softmax\"", "\"sigmoid\""),
        "sub-model `edge.h5`: output `exit` comes from the operator `Sigmoid`, expected a softmax \
         (the exit's confidence is a probability)"
    );
}

#[test]
fn weights_that_do_not_fit_their_layer_are_refused() {
    assert_eq!(
        refused("keras2-sequential.h5", "\"units\": 4", "\"units\": 5"),
        "Keras model `edge.h5`: layer `dense_3`: its weights `kernel`: shape [3, 4], expected \
         [3, 5]"
    );
}

#[test]
fn files_that_are_no_keras_models_are_refused() {
    assert_eq!(
        refused("keras2-sequential.h5", "model_config", "other_config"),
        "`edge.h5` is not a Keras model: it has no `model_config` (were only the weights saved?)"
    );
    let import =
        |bytes: &[u8]| import_h5_bytes("edge.h5", bytes.to_vec(), &ImportOptions::default());
    let error = import(b"no HDF5").unwrap_err().to_string();
    assert!(error.starts_with("`edge.h5` is not an HDF5 file: "), "{error}");
    let error = import_h5(Path::new("missing.h5"), &ImportOptions::default()).unwrap_err();
    assert_eq!(error.to_string(), "cannot read `missing.h5`");
}

#[test]
fn archives_that_are_no_keras_models_are_refused() {
    let import = |bytes: &[u8]| {
        import_keras_bytes("edge.keras", bytes, &ImportOptions::default()).unwrap_err().to_string()
    };
    assert_eq!(
        import(b"no archive"),
        "`edge.keras` is not a Keras model: it is no zip archive of Keras's: it has no directory"
    );
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/keras3-sequential.keras");
    let mut bytes = std::fs::read(path).unwrap();
    let name = b"model.weights.h5";
    let at = bytes.windows(name.len()).rposition(|window| window == name).unwrap();
    bytes[at] = b'n';
    assert_eq!(
        import(&bytes),
        "`edge.keras` is not a Keras model: it is no zip archive of Keras's: it has no member \
         `model.weights.h5`"
    );
}
