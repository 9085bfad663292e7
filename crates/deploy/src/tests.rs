//! Golden files: everything that is rendered, for each platform and variant, as it is checked in.
//!
//! `OFFRAMP_GOLDEN=write cargo test -p deploy` writes them anew; the difference is reviewed like code.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use pipeline::Pipeline;

use crate::*;

/// The paper's experiment: three tiers on three clusters, answers back at the edge.
const CONTINUUM: &str = include_str!("../tests/golden/continuum.toml");
/// The least: two tiers that share everything.
const SMALL: &str = include_str!("../tests/golden/small.toml");
/// What only a whole tier in one process runs, with the embedded broker.
const ONE_MACHINE: &str = include_str!("../tests/golden/one-machine.toml");

pub(crate) fn pipeline(text: &str) -> Pipeline {
    Pipeline::parse(text, Path::new("")).unwrap_or_else(|invalid| panic!("{invalid}"))
}

/// Every platform and variant, with the pipeline that it is shown with.
pub(crate) fn variants() -> Vec<(&'static str, Options, Pipeline)> {
    let connector = Options::of;
    let platform = |one| Options { trigger: Trigger::Platform, ..Options::of(one) };
    let environment = Options { executor: Executor::Environment, ..Options::of(Platform::Fission) };
    let (continuum, small, one_machine) =
        (pipeline(CONTINUUM), pipeline(SMALL), pipeline(ONE_MACHINE));
    let mut funnels = small.clone();
    funnels.deploy.funnels = pipeline::deploy::Funnels::Functions;
    vec![
        ("openfaas/continuum", connector(Platform::OpenFaas), in_one_namespace(continuum.clone())),
        ("openfaas/funnels", connector(Platform::OpenFaas), funnels.clone()),
        ("openfaas/platform-trigger", platform(Platform::OpenFaas), small.clone()),
        ("fission/continuum", connector(Platform::Fission), continuum.clone()),
        ("fission/environment", environment, funnels),
        ("fission/platform-trigger", platform(Platform::Fission), small.clone()),
        ("openwhisk/continuum", connector(Platform::OpenWhisk), continuum.clone()),
        ("openwhisk/platform-trigger", platform(Platform::OpenWhisk), small.clone()),
        ("knative/continuum", connector(Platform::Knative), continuum.clone()),
        ("knative/platform-trigger", platform(Platform::Knative), small.clone()),
        ("nuclio/continuum", connector(Platform::Nuclio), continuum.clone()),
        ("nuclio/platform-trigger", platform(Platform::Nuclio), small.clone()),
        ("kubernetes/continuum", connector(Platform::Kubernetes), continuum.clone()),
        ("kubernetes/small", connector(Platform::Kubernetes), small.clone()),
        ("compose/one-machine", connector(Platform::Compose), one_machine.clone()),
        ("compose/small", connector(Platform::Compose), small),
        ("systemd/one-machine", connector(Platform::Systemd), one_machine),
        ("systemd/continuum", connector(Platform::Systemd), continuum),
    ]
}

/// All that the Community Edition has.
fn in_one_namespace(mut pipeline: Pipeline) -> Pipeline {
    pipeline.deploy.namespace = None;
    for tier in &mut pipeline.tiers {
        tier.deploy.namespace = None;
    }
    pipeline
}

fn golden(variant: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join("golden").join(variant)
}

fn shown(content: &Content) -> String {
    match content {
        Content::Text(text) | Content::Script(text) => text.clone(),
        Content::CopyOf(source) => format!("a copy of {}\n", source.display()),
    }
}

/// What is rendered and what one would do with it, by file name.
fn rendered(options: Options, pipeline: &Pipeline) -> BTreeMap<String, String> {
    let rendering = render(pipeline, options).unwrap_or_else(|refused| panic!("{refused}"));
    let mut files: BTreeMap<String, String> =
        rendering.files.iter().map(|file| (file.path.clone(), shown(&file.content))).collect();
    assert_eq!(files.len(), rendering.files.len(), "two files have one name");
    let mut lines: Vec<String> =
        rendering.notes.iter().map(|note| format!("note: {note}")).collect();
    let steps = apply::image_steps(pipeline, options, "DIR").unwrap();
    lines.extend(steps.iter().map(apply::Step::line));
    match apply::steps(pipeline, options, "DIR", &[]) {
        Ok(steps) => lines.extend(steps.iter().map(apply::Step::line)),
        Err(refused) => lines.push(format!("apply: {refused}")),
    }
    files.insert("COMMANDS.txt".to_owned(), lines.join("\n") + "\n");
    files
}

fn files_below(folder: &Path, prefix: &str, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let entry = entry.unwrap();
        let name = format!("{prefix}{}", entry.file_name().to_str().unwrap());
        if entry.path().is_dir() {
            files_below(&entry.path(), &format!("{name}/"), found);
        } else {
            found.push(name);
        }
    }
    found.sort();
}

#[test]
fn what_is_rendered_is_as_it_is_checked_in() {
    let write = std::env::var_os("OFFRAMP_GOLDEN").is_some_and(|wish| wish == "write");
    for (variant, options, pipeline) in variants() {
        let (folder, files) = (golden(variant), rendered(options, &pipeline));
        if write {
            let _ = std::fs::remove_dir_all(&folder);
            for (path, text) in &files {
                let path = folder.join(path);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, text).unwrap();
            }
        }
        for (path, text) in &files {
            let checked_in = std::fs::read_to_string(folder.join(path)).unwrap_or_default();
            assert_eq!(*text, checked_in, "{variant}/{path}");
        }
        let mut found = Vec::new();
        files_below(&folder, "", &mut found);
        assert!(found.iter().eq(files.keys()), "{variant}: {found:?}");
    }
}

#[test]
fn a_rendered_pipeline_file_is_the_pipeline() {
    for (variant, options, original) in variants() {
        for file in render(&original, options).unwrap().files {
            let Content::Text(text) = &file.content else { continue };
            if !file.path.ends_with("offramp.toml") {
                continue;
            }
            let read = pipeline(text);
            assert_eq!(read.tiers.len(), original.tiers.len(), "{variant}");
            for (read, tier) in read.tiers.iter().zip(&original.tiers) {
                assert_eq!(read.input.name, tier.input.name);
                assert_eq!(read.output.name, tier.output.name);
                assert_eq!(read.dead_letter.name, tier.dead_letter.name);
                // What is otherwise there: addresses, paths, instances, and where it is deployed.
                let kept = |tier: &pipeline::Tier| {
                    let mut tier = tier.clone();
                    for topic in [&mut tier.input, &mut tier.output, &mut tier.dead_letter] {
                        topic.servers = pipeline::Servers::Embedded;
                    }
                    if let Some(uplink) = &mut tier.uplink {
                        uplink.buffer.topic.servers = pipeline::Servers::Embedded;
                    }
                    tier.model = PathBuf::new();
                    tier.scale = pipeline::DEFAULT_SCALE;
                    tier.deploy = pipeline::deploy::TierDeploy::default();
                    tier
                };
                assert_eq!(kept(read), kept(tier), "{variant}");
            }
        }
    }
}

#[test]
fn a_fetched_model_is_in_no_image() {
    let sum = "0".repeat(64);
    let url = format!("https://host/edge.onnx#sha256={sum}");
    let text = SMALL.replacen(
        "[[tier]]\nname = \"cloud\"",
        &format!("[tier.deploy]\nmodel = \"{url}\"\n[[tier]]\nname = \"cloud\""),
        1,
    );
    for platform in Platform::ALL.into_iter().filter(|platform| platform.has_functions()) {
        let files = rendered(Options::of(platform), &pipeline(&text));
        assert!(
            !files.contains_key("models/edge.onnx") && files.contains_key("models/cloud.onnx"),
            "{platform}"
        );
        assert!(files.values().any(|text| text.contains(&url)), "{platform}");
    }
    let refused = render(&pipeline(&text), Options::of(Platform::Compose)).unwrap_err().to_string();
    assert!(refused.contains("tier `edge`: `model` of `deploy` is"), "{refused}");
}

/// What is changed in the small pipeline, and why a platform refuses it then.
fn check_refused(platform: Platform, from: &str, to: &str, words: &str) {
    let text = SMALL.replacen(from, to, 1);
    assert_ne!(text, SMALL, "{from}");
    let refused = render(&pipeline(&text), Options::of(platform)).unwrap_err();
    let text = refused.to_string();
    assert!(
        refused.problems.len() == 1 && words.split(" … ").all(|part| text.contains(part)),
        "{text}"
    );
}

#[test]
fn what_a_platform_can_not_run_is_refused() {
    use Platform::{Compose, Fission, Knative, Kubernetes, OpenFaas, OpenWhisk};
    let input = "input = { encoding = \"u8\" }";
    let edge = "model = \"models/edge.onnx\"";
    let with = |line: &str| format!("{edge}\n{line}");
    check_refused(
        Fission,
        input,
        "input = { shape = [28, 28] }",
        "tier `edge`: `shape` is [28, 28] … one process",
    );
    let before = with("before = [{ url = \"http://host/\" }]");
    check_refused(OpenFaas, edge, &before, "`before` is set … --platform kubernetes");
    let comma = with("exit = { class_thresholds = { \"a,b\" = 0.5 } }");
    check_refused(Knative, edge, &comma, "the label \"a,b\", expected one without a comma");
    let engine = with("engine = \"onnxruntime\"");
    check_refused(Kubernetes, edge, &engine, "`engine` is \"onnxruntime\", expected \"tract\"");
    let slow = with("deploy = { timeout_s = 301 }");
    check_refused(
        OpenWhisk,
        edge,
        &slow,
        "`timeout_s` is 301, expected at most 300, openwhisk's own bound",
    );
    let big = with("deploy = { limits = { memory_mib = 513 } }");
    check_refused(OpenWhisk, edge, &big, "`memory_mib` of `limits` is 513, expected at most 512");
    check_refused(Knative, edge, &with("deploy = { timeout_s = 601 }"), "at most 600");
    let funnels = "[deploy]\nfunnels = \"functions\"\n[[tier]]\nname = \"edge\"";
    check_refused(
        Compose,
        "[[tier]]\nname = \"edge\"",
        funnels,
        "`funnels` is \"functions\", expected \"direct\"",
    );
    let elsewhere = with("output = { bootstrap_servers = \"embedded\" }");
    check_refused(Kubernetes, edge, &elsewhere, "`output.bootstrap_servers` is \"embedded\"");
    check_refused(
        OpenFaas,
        "name = \"cloud\"",
        "name = \"Edge\"",
        "`digits-edge`, as tier `edge`'s",
    );
    let long = format!("name = \"{}\"", "d".repeat(45));
    check_refused(OpenFaas, "name = \"cloud\"", &long, "52 long, expected at most 46");
    let steps = with("before = [{ function = \"decode\" }]");
    let text = SMALL.replacen(edge, &steps, 1)
        + "[[function]]\nname = \"decode\"\ncommand = [\"./decode\"]\n";
    let refused = render(&pipeline(&text), Options::of(Compose)).unwrap_err().to_string();
    assert!(refused.contains("`before` has the function `decode`, expected a `url`"), "{refused}");
}
