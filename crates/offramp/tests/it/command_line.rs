//! What the command line says when something is wrong, and how it ends.

use std::net::TcpListener;
use std::path::Path;

use crate::process::run;

/// Runs the program, which must end with `code` and one error that has all of `words`.
fn check(arguments: &[&str], code: i32, words: &[&str]) {
    let output = run(arguments);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {stderr}");
    for word in words {
        assert!(stderr.contains(word), "{arguments:?}: no `{word}` in: {stderr}");
    }
    assert!(!stderr.contains("panicked") && !stderr.contains("backtrace"), "{stderr}");
    let errors = stderr.lines().filter(|line| line.starts_with("error:")).count();
    assert_eq!(errors, 1, "{stderr}");
}

fn write(path: &Path, text: &str) -> String {
    std::fs::write(path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn a_bad_pipeline_file_is_a_configuration_error_with_every_problem() {
    let dir = tempfile::tempdir().unwrap();
    let file = write(
        &dir.path().join("offramp.toml"),
        "[pipeline]\nname = \"p\"\n[[tier]]\nname = \"edge\"\nmodle = \"edge.onnx\"\nin_flight = -3\n",
    );
    let words =
        ["3 problems", "`modle` is not a known key; did you mean `model`?", "`in_flight` is -3"];
    check(&["up", &file], 78, &words);
    check(&["check", &file], 78, &words);
    check(&["demo", "--pipeline", &file], 78, &words);
    let absent = dir.path().join("absent.toml");
    check(&["up", absent.to_str().unwrap()], 78, &["absent.toml", "offramp init"]);
}

#[test]
fn models_that_are_missing_corrupt_or_do_not_fit_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let models = dir.path().join("models");
    let init = run(&["init", dir.path().to_str().unwrap()]);
    assert!(init.status.success());
    let file = dir.path().join("offramp.toml");
    let file = file.to_str().unwrap();
    std::fs::write(models.join("fog.onnx"), "not a model").unwrap();
    std::fs::remove_file(models.join("cloud.onnx")).unwrap();
    check(&["check", file], 78, &["tier `fog`", "fog.onnx", "tier `cloud`", "cloud.onnx"]);
    std::fs::copy(models.join("edge.onnx"), models.join("fog.onnx")).unwrap();
    std::fs::copy(models.join("edge.onnx"), models.join("cloud.onnx")).unwrap();
    check(
        &["up", file],
        78,
        &["tier `fog`: its sub-model takes [28, 28", "features of tier `edge`"],
    );
    let text = std::fs::read_to_string(file).unwrap();
    let shaped = text.replace("# in_flight = 256", "input = { encoding = \"u8\", shape = [10] } #");
    std::fs::write(file, shaped).unwrap();
    check(&["check", file], 78, &["tier `edge`: `shape` is [10], expected [28, 28"]);
    check(&["init", dir.path().to_str().unwrap()], 78, &["offramp.toml", "already there"]);
}

#[test]
fn a_port_in_use_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let dir = tempfile::tempdir().unwrap();
    check(&["broker", "--dir", dir.path().to_str().unwrap(), "--listen", &address], 1, &[&address]);
    let model = crate::images::demo_models()[0].display().to_string();
    check(&["function", "inference", "--model", &model, "--listen", &address], 1, &[&address]);
}

#[test]
fn a_broker_that_does_not_answer_is_named() {
    let address = crate::process::free_address().to_string();
    let words = [address.as_str(), "does not answer"];
    check(&["function", "funnel", "--bootstrap-servers", &address, "--topic", "t"], 1, &words);
}

#[test]
fn a_file_that_is_not_a_keras_model_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = write(&dir.path().join("model.h5"), "no HDF5 in here");
    check(&["model", "import", &file], 78, &["model.h5"]);
    let absent = dir.path().join("absent.h5");
    check(&["model", "import", absent.to_str().unwrap()], 78, &["absent.h5"]);
    check(&["model", "show", &file], 78, &["model.h5"]);
}

#[test]
fn a_folder_without_images_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_str().unwrap();
    check(&["demo", "--data", path], 78, &[path, "t10k-images"]);
    check(&["train", "--data", path, "-o", path], 78, &[path, "train-images"]);
}

#[test]
fn everything_that_is_wrong_with_what_is_to_be_scaled_is_said() {
    let wrong = ["autoscale", "--gateway", "gateway:8080", "--function", "fog", "--max-scale", "0"];
    let words = [
        "--max-scale is 0, expected 1 to 1000",
        "--gateway is \"gateway:8080\"",
        "--topic is missing",
        "--group is missing",
    ];
    check(&wrong, 78, &words);
    let dir = tempfile::tempdir().unwrap();
    let file = write(&dir.path().join("targets.toml"), "[[target]]\nfunktion = \"fog\"\n");
    let words = ["4 problems", "line 2", "did you mean `function`?", "`topic` is missing"];
    check(&["autoscale", "--targets", &file], 78, &words);
    // What a file says of its targets, no flag says of them.
    check(&["autoscale", "--targets", &file, "--max-scale", "3"], 2, &["--max-scale"]);
}

#[test]
fn contradictory_flags_of_a_function_are_refused() {
    let model = crate::images::demo_models()[2].display().to_string();
    let forward = ["--forward-url", "http://127.0.0.1:1/"];
    let arguments = [&["function", "inference", "--model", &model][..], &forward].concat();
    check(&arguments, 78, &["--forward-url", "no `features` output"]);
    let edge = crate::images::demo_models()[0].display().to_string();
    let arguments = ["function", "inference", "--model", &edge, "--exit-url", "ftp://x"];
    check(&arguments, 78, &["ftp://x", "http://127.0.0.1:8080/"]);
}
