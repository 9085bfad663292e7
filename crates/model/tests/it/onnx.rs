//! ONNX networks of other programs compute what ONNX Runtime computes, imported and split.
//!
//! `onnx_oracle.py` writes networks and what ONNX Runtime gives for them. A few are part of the project
//! (`tests/fixtures`, by `--fixtures`); the full set needs `onnx`, `onnxruntime` and `tf2onnx`.

use std::path::{Path, PathBuf};

use model::{ImportOptions, Network, import};
use serde_json::Value as Json;

use crate::keras::{differ, floats, sizes};

/// Where results are large, relative to them.
const TOLERANCE: f32 = 1e-4;
/// Of a network's parts from the network.
const SPLIT_TOLERANCE: f32 = 1e-5;

/// What differs from ONNX Runtime in the case at `path`, or the largest difference.
fn check(path: &Path) -> Result<f32, String> {
    let expected: Json = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let path = path.with_extension("onnx");
    if expected.get("cuts").is_some() {
        return check_split(&path, &expected);
    }
    let artefact =
        import(&path, &ImportOptions::default()).map_err(|error| format!("{error:#}"))?;
    let sub_model = artefact.sub_model();
    let mut engine = sub_model.engine().unwrap();
    let output = engine.run(&floats(&expected["input"])).map_err(|error| error.to_string())?;
    if sub_model.input_shape() != sizes(&expected["input_shape"]) {
        return Err(format!("input shape {:?}", sub_model.input_shape()));
    }
    let worst = differ("exit", &output.exit, &floats(&expected["exit"]), TOLERANCE)?;
    let Some(features) = &output.features else {
        return if expected["features"].is_null() {
            Ok(worst)
        } else {
            Err("no features".to_owned())
        };
    };
    if sub_model.features_shape() != Some(&sizes(&expected["features_shape"])[..]) {
        return Err(format!("features of shape {:?}", sub_model.features_shape()));
    }
    Ok(worst.max(differ("features", features, &floats(&expected["features"]), TOLERANCE)?))
}

/// Splits the network at `path` and runs each part on what the part below it gives.
fn check_split(path: &Path, expected: &Json) -> Result<f32, String> {
    let names = |json: &Json| -> Vec<String> {
        json.as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()).collect()
    };
    let (cuts, exits) = (names(&expected["cuts"]), names(&expected["exits"]));
    let network = Network::load(path).map_err(|error| error.to_string())?;
    let parts = network.split(&cuts, &exits, &[]).map_err(|error| error.to_string())?;
    let sub_models: Vec<_> = parts.iter().map(|part| part.sub_model().clone()).collect();
    let difference = network.largest_difference(&sub_models, &cuts, &exits).unwrap();
    if difference > SPLIT_TOLERANCE {
        return Err(format!("the parts differ from the network by {difference:e}"));
    }
    let mut input = floats(&expected["input"]);
    let mut worst: f32 = 0.0;
    for (part, exit) in parts.iter().zip(expected["outputs"].as_array().unwrap()) {
        let output = part.sub_model().engine().unwrap().run(&input).unwrap();
        let tier = &part.sub_model().metadata().tier;
        worst = worst.max(differ(tier, &output.exit, &floats(exit), TOLERANCE)?);
        input = output.features.unwrap_or_default();
    }
    Ok(worst)
}

fn check_all(directory: &Path, has_name: impl Fn(&str) -> bool) {
    let cases: Vec<PathBuf> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .filter(|path| has_name(&path.file_stem().unwrap().to_string_lossy()))
        .collect();
    assert!(!cases.is_empty(), "no cases in {}", directory.display());
    let (mut worst, mut failures) = (0.0, Vec::new());
    for path in &cases {
        match check(path) {
            Ok(difference) => worst = f32::max(worst, difference),
            Err(failure) => {
                failures.push(format!("{}: {failure}", path.file_stem().unwrap().display()));
            }
        }
    }
    eprintln!("{} cases, largest difference {worst:e}", cases.len());
    failures.sort();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn the_fixtures_give_what_onnx_runtime_gives() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    check_all(&directory, |name| directory.join(name).with_extension("onnx").exists());
}

#[test]
#[ignore = "needs onnx, onnxruntime and tf2onnx: cargo xtask peers"]
fn every_network_gives_what_onnx_runtime_gives() {
    let directory = std::env::var_os("OFFRAMP_ONNX_CASES")
        .expect("OFFRAMP_ONNX_CASES names the directory that onnx_oracle.py wrote");
    check_all(Path::new(&directory), |_| true);
}
