//! `offramp model calibrate` and `evaluate`: what one writes, the other measures.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::process::{run, run_ok};

/// The sub-models that are part of the project.
fn models() -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
    let path = |tier: &str| root.join(format!("models/mnist-conv/{tier}.onnx"));
    ["edge", "fog", "cloud"].map(|tier| path(tier).to_str().unwrap().to_owned()).into()
}

fn json(arguments: &[&str]) -> Value {
    serde_json::from_str(&run_ok(arguments)).unwrap()
}

fn with<'a>(command: &[&'a str], models: &'a [String], options: &[&'a str]) -> Vec<&'a str> {
    let models = models.iter().map(String::as_str);
    command.iter().copied().chain(models).chain(options.iter().copied()).collect()
}

fn calibrate<'a>(models: &'a [String], options: &[&'a str]) -> Vec<&'a str> {
    with(&["model", "calibrate"], models, options)
}

fn number(value: &Value, name: &str) -> f64 {
    value[name].as_f64().unwrap_or_else(|| panic!("`{name}` of {value}"))
}

#[test]
fn what_is_calibrated_is_what_an_evaluation_finds() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("calibrated");
    let figure = dir.path().join("frontier.png");
    let (out, figure) = (out.to_str().unwrap(), figure.to_str().unwrap());
    let models = models();
    let data = ["--drawn", "2000", "--seed", "99"];
    let options = [
        "--offload",
        "0.05,0.02",
        "--criterion",
        "margin",
        "--per-class",
        "--features",
        "int8",
        "--format",
        "json",
        "-o",
        out,
        "--figure",
        figure,
    ];
    let found = json(&calibrate(&models, &[&data[..], &options[..]].concat()));
    let written: Vec<String> = found["written"]
        .as_array()
        .unwrap()
        .iter()
        .map(|path| path.as_str().unwrap().to_owned())
        .collect();
    assert_eq!(written.len(), 3);
    let options = ["--features", "int8", "-o", "json"];
    let command = with(&["model", "evaluate"], &written, &[&data[..], &options[..]].concat());
    let measured = json(&command);
    let chosen = &found["chosen"];
    assert!((number(chosen, "accuracy") - number(&measured, "accuracy")).abs() < 1e-9);
    assert!((number(chosen, "bytes_up") - number(&measured, "bytes_up")).abs() < 1e-9);
    for (at, tier) in measured["tiers"].as_array().unwrap().iter().enumerate() {
        assert!((chosen["shares"][at].as_f64().unwrap() - number(tier, "share")).abs() < 1e-9);
    }
    assert!(number(&measured["tiers"][0], "share") >= 0.95);
    assert_eq!(measured["tiers"][0]["class_thresholds"].as_array().unwrap().len(), 10);
    assert!(std::fs::read(figure).unwrap().starts_with(b"\x89PNG"));
    let shown = run_ok(&["model", "show", &written[0]]);
    for words in
        ["margin >= ", "goal = offload <= 0.05, 0.02", "data = 2000 drawn digits of seed 99"]
    {
        assert!(shown.contains(words), "no `{words}` in:\n{shown}");
    }
}

#[test]
fn a_dry_run_writes_nothing_and_files_are_replaced_without_it() {
    let dir = tempfile::tempdir().unwrap();
    let copies: Vec<String> = models()
        .iter()
        .map(|model| {
            let copy = dir.path().join(Path::new(model).file_name().unwrap());
            std::fs::copy(model, &copy).unwrap();
            copy.to_str().unwrap().to_owned()
        })
        .collect();
    let read = || copies.iter().map(|copy| std::fs::read(copy).unwrap()).collect::<Vec<_>>();
    let before = read();
    let options = ["--drawn", "1200", "--accuracy-loss", "0.02", "--confidence", "0.9"];
    let text = run_ok(&calibrate(&copies, &[&options[..], &["--dry-run"]].concat()));
    assert_eq!(read(), before);
    assert!(text.contains("promised: of 800 images that only test"), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 120), "{text}");
    run_ok(&calibrate(&copies, &options));
    assert!(read().iter().zip(&before).all(|(after, before)| after != before));
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_none_or(|extension| extension != "onnx"));
    assert_eq!(files, Vec::<PathBuf>::new(), "nothing is left behind");
}

#[test]
fn what_cannot_be_calibrated_is_explained() {
    let models = models();
    let check = |options: &[&str], code: i32, words: &str| {
        let output = run(&calibrate(&models, options));
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{options:?}: {stderr}");
        assert!(stderr.contains(words), "{options:?}: no `{words}` in: {stderr}");
    };
    check(&["--drawn", "10"], 2, "--accuracy-loss <SHARE>|--offload <SHARE>|--latency-ms <MS>");
    check(&["--drawn", "10", "--offload", "0.1", "--latency-ms", "3"], 2, "cannot be used with");
    check(&["--drawn", "10", "--accuracy-loss", "0.01"], 1, "needs 299 or more samples");
    check(&["--drawn", "10", "--offload", "0.1,0.1,0.1"], 78, "--offload has 3 shares, expected 2");
    check(
        &["--drawn", "10", "--offload", "0.1", "--hop-ms", "1,2,3", "--dry-run"],
        78,
        "--hop-ms has 3 values, expected 2: one for each tier but the last, or one for all",
    );
    check(
        &["--drawn", "10", "--offload", "0.1", "--dry-run", "--figure", "frontier.pdf"],
        1,
        "`frontier.pdf` has the extension `pdf`, expected .svg or .png",
    );
}

#[test]
fn an_evaluation_takes_other_thresholds_and_shows_confusions() {
    let models = models();
    let evaluate = |options: &[&str]| run_ok(&with(&["model", "evaluate"], &models, options));
    let all = ["--drawn", "300", "--thresholds", "0,0", "--confusion"];
    let text = evaluate(&all);
    assert!(text.contains("class \\ answer") && text.contains("100.00 %"), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 120), "{text}");
    let none = ["--drawn", "300", "--criterion", "entropy", "--thresholds", "1,1", "-o", "json"];
    let report: Value = serde_json::from_str(&evaluate(&none)).unwrap();
    assert!(number(&report["tiers"][2], "share") > 0.5, "{report}");
    let output =
        run(&with(&["model", "evaluate"], &models, &["--drawn", "300", "--criterion", "entropy"]));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("expected a `threshold` too"), "{stderr}");
}

#[test]
fn a_network_is_shown_and_split_as_proposed() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
    let network = root.join("crates/model/tests/fixtures/three-exits.onnx");
    let network = network.to_str().unwrap();
    let table = run_ok(&["model", "split", network]);
    let (_, proposal) = table.rsplit_once("narrowest: offramp ").unwrap();
    let proposal: Vec<&str> = proposal.split_whitespace().collect();
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().to_str().unwrap();
    let options = ["-o", out, "--labels", "a,b,c,d,e", "--scale", "0.5", "--format", "json"];
    let found = json(&[&proposal[..], &options[..]].concat());
    assert!(number(&found, "largest_difference") <= 1e-5);
    let written = found["written"].as_array().unwrap();
    let tiers: Vec<&str> = written.iter().map(|part| part["tier"].as_str().unwrap()).collect();
    assert_eq!(tiers, ["edge", "fog", "cloud"]);

    let fog = dir.path().join("fog.onnx").to_str().unwrap().to_owned();
    let shown = json(&["model", "show", &fog, "-o", "json"]);
    assert_eq!(shown[0]["sub_model"]["labels"].as_array().unwrap().len(), 5);
    assert_eq!(shown[0]["outputs"][0]["name"], "features");
    let layers = shown[0]["layers"].as_array().unwrap();
    let macs: f64 = layers.iter().map(|layer| number(layer, "macs")).sum();
    assert!((macs - number(&shown[0], "macs")).abs() < 0.5 && macs > 0.0);
    assert!(run_ok(&["model", "show", "--dot", network]).starts_with("digraph "));
    assert!(run_ok(&["model", "show", network]).contains("no sub-model: "));
}

#[test]
fn thresholds_by_class_are_imported_into_the_sub_model() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("edge.onnx").to_str().unwrap().to_owned();
    let models = models();
    let import = |model: &str, thresholds: &str| {
        let threshold = ["--threshold", "0.6", "--class-thresholds", thresholds];
        run(&[&["model", "import", model, "-o", &out][..], &threshold].concat())
    };
    assert!(import(&models[0], "7=0.9,1=0.25").status.success());
    let shown = json(&["model", "show", &out, "-o", "json"]).to_string();
    let expected = r#""class_thresholds":[0.6,0.25,0.6,0.6,0.6,0.6,0.6,0.9,0.6,0.6]"#;
    assert!(shown.contains(expected), "no `{expected}` in {shown}");
    for (model, thresholds, code, said) in [
        (&models[0], "seven=0.9", 78, "names `seven`, expected labels of the sub-model: 0, 1, 2"),
        (&models[2], "7=0.9", 78, "has no `features` output: the last tier always answers"),
        (&models[0], "7=1.5", 2, "expected a number from 0 to 1"),
    ] {
        let output = import(model, thresholds);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{error}");
        assert!(error.contains(said), "no `{said}` in {error}");
    }
}
