//! `offramp deploy`: what is written, what is run, and what is refused.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Output;

use crate::process::{offramp, run, run_ok};

const PIPELINE: &str = r#"
[pipeline]
name = "digits"
[[tier]]
name = "edge"
model = "models/edge.onnx"
bootstrap_servers = "kafka:9092"
[tier.deploy]
context = "near"
[[tier]]
name = "cloud"
model = "models/cloud.onnx"
bootstrap_servers = "kafka:9092"
[tier.deploy]
context = "far"
"#;

/// A folder with a pipeline, its sub-models, and room for what is rendered.
struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new(pipeline: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let models = dir.path().join("models");
        std::fs::create_dir(&models).unwrap();
        for name in ["edge", "cloud"] {
            std::fs::write(models.join(format!("{name}.onnx")), name).unwrap();
        }
        std::fs::write(dir.path().join("offramp.toml"), pipeline).unwrap();
        Self { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    fn render(&self, more: &[&str]) -> Output {
        let (file, out) = (self.text("offramp.toml"), self.text("out"));
        run(&[&["deploy", "render", &file, "-o", &out], more].concat())
    }

    /// Runs `apply` where `tools` is all of the path.
    fn apply(&self, tools: &Path, more: &[&str]) -> Output {
        let file = self.text("offramp.toml");
        let arguments = [&["deploy", "apply", &file], more].concat();
        offramp(&arguments).env("PATH", tools).output().unwrap()
    }
}

fn check(output: &Output, code: i32, words: &[&str]) {
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    let text = String::from_utf8(text).unwrap();
    assert_eq!(output.status.code(), Some(code), "{text}");
    for word in words {
        assert!(text.contains(word), "no `{word}` in: {text}");
    }
}

#[test]
fn rendering_leaves_what_is_somebody_elses() {
    let place = Place::new(PIPELINE);
    let output = place.render(&["-p", "kubernetes"]);
    check(
        &output,
        0,
        &["near", "next:  docker build --tag digits:", "kubectl --context far apply -f"],
    );
    assert_eq!(std::fs::read(place.path("out/models/edge.onnx")).unwrap(), b"edge");
    let edge = place.path("out/edge/edge.yaml");
    assert!(std::fs::read_to_string(&edge).unwrap().contains("kind: Deployment"));
    // Its own files are written anew, whatever has become of them.
    std::fs::write(&edge, "changed").unwrap();
    check(&place.render(&["-p", "kubernetes"]), 0, &["wrote"]);
    assert_ne!(std::fs::read_to_string(&edge).unwrap(), "changed");
    // Another platform's are put in their place, and those that are not rendered any more removed.
    check(&place.render(&["-p", "nuclio"]), 0, &["removed", "edge.yaml"]);
    assert!(!edge.exists() && place.path("out/edge/digits-edge.yaml").exists());
    std::fs::write(&edge, "mine").unwrap();
    let refused = place.render(&["-p", "kubernetes"]);
    check(&refused, 78, &["out/edge/edge.yaml", "--force"]);
    assert_eq!(std::fs::read_to_string(&edge).unwrap(), "mine");
    check(&place.render(&["-p", "kubernetes", "--force"]), 0, &["wrote"]);
    assert_ne!(std::fs::read_to_string(&edge).unwrap(), "mine");
    check(&run(&["deploy", "lint", &place.text("out")]), 0, &["ok  2 files, 0 warnings"]);
}

#[test]
fn what_a_platform_can_not_run_is_named() {
    let embedded = PIPELINE.replacen("\"kafka:9092\"", "\"embedded\"", 1);
    let place = Place::new(&embedded);
    let output = place.render(&["-p", "kubernetes"]);
    check(
        &output,
        78,
        &["tier `edge`", "`bootstrap_servers` is \"embedded\", expected \"host:port\""],
    );
    assert!(!place.path("out").exists());
    check(&place.render(&["-p", "compose"]), 0, &["wrote"]);
    let place = Place::new(&PIPELINE.replacen("\"kafka:9092\"", "\"localhost:9092\"", 1));
    check(&place.render(&["-p", "fission"]), 78, &["is \"localhost:9092\"", "a container reaches"]);
    let place = Place::new(PIPELINE);
    let wrong = ["-p", "compose", "--trigger", "platform", "--executor", "environment"];
    check(&place.render(&wrong), 78, &["2 problems", "`--trigger` is platform", "`--executor` is"]);
    check(&place.render(&["-p", "lambda"]), 2, &["expected one of openfaas, fission"]);
    std::fs::remove_file(place.path("models/cloud.onnx")).unwrap();
    check(&place.render(&["-p", "knative"]), 78, &["cloud.onnx"]);
}

#[test]
fn each_tier_is_applied_at_its_own_cluster() {
    let place = Place::new(PIPELINE);
    let tools = place.path("tools");
    std::fs::create_dir(&tools).unwrap();
    check(
        &place.apply(&tools, &["-p", "kubernetes"]),
        1,
        &["`kubectl` is not on the path", "install"],
    );
    assert!(!place.path(".offramp").exists(), "nothing is written before all tools are there");
    let lines = place.apply(&tools, &["-p", "kubernetes", "--dry-run"]);
    check(&lines, 0, &["kubectl --context near apply -f", "kubectl --context far apply -f"]);
    assert!(!place.path(".offramp").exists());
    let said = place.text("said");
    let script = format!("#!/bin/sh\necho \"$@\" >> {said}\ncase \"$*\" in *far*) exit 3;; esac\n");
    std::fs::write(tools.join("kubectl"), script).unwrap();
    let executable = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(tools.join("kubectl"), executable).unwrap();
    check(&place.apply(&tools, &["-p", "kubernetes", "--tier", "edge"]), 0, &["run    kubectl"]);
    let near = std::fs::read_to_string(&said).unwrap();
    assert!(near.starts_with("--context near apply -f") && near.lines().count() == 1, "{near}");
    assert!(place.path(".offramp/deploy/kubernetes/edge/edge.yaml").exists());
    check(&place.apply(&tools, &["-p", "kubernetes"]), 1, &["far", "failed: exit status: 3"]);
    check(&place.apply(&tools, &["-p", "kubernetes", "--tier", "fog"]), 78, &["edge, cloud"]);
    check(&place.apply(&tools, &["-p", "nuclio"]), 78, &["far and near", "--tier"]);
    check(&place.apply(&tools, &["-p", "openwhisk"]), 1, &["`wsk` is not on the path"]);
}

#[test]
fn lint_says_where_and_ends_with_1() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("stack.yml");
    let stack = "provider:\n  name: openfaas\nfunctions:\n  edge:\n    image: x\n    label:\n      com.openfaas.scale.max: 20\n";
    std::fs::write(&path, stack).unwrap();
    let file = path.to_str().unwrap();
    let words = [
        "stack.yml:6: error: `functions.edge.label` is a table",
        "did you mean `labels`?",
        "1 error and 0 warnings in 1 file",
    ];
    check(&run(&["deploy", "lint", file]), 1, &words);
    std::fs::write(&path, stack.replace("label", "labels")).unwrap();
    check(&run(&["deploy", "lint", file]), 1, &["stack.yml:7", "is 20, expected at most 5"]);
    let said = run_ok(&["deploy", "lint", "--edition", "commercial", file]);
    assert_eq!(said, "ok  1 file, 0 warnings\n");
    let connector = "provider: {name: openfaas}\nfunctions:\n  reads:\n    image: x\n    environment: {OFFRAMP_FUNCTION: connector, OFFRAMP_TOPIC: t}\n    labels: {com.openfaas.scale.max: 4}\n";
    std::fs::write(&path, connector).unwrap();
    let words = ["scale.max 4, expected at most 3"];
    check(
        &run(&["deploy", "lint", "--partitions", "t=3", dir.path().to_str().unwrap()]),
        1,
        &words,
    );
    check(&run(&["deploy", "lint", "--partitions", "t", file]), 2, &["expected TOPIC=N"]);
    check(&run(&["deploy", "lint", "absent.yaml"]), 78, &["absent.yaml"]);
    std::fs::remove_file(&path).unwrap();
    check(&run(&["deploy", "lint", dir.path().to_str().unwrap()]), 78, &["no .yaml"]);
}
