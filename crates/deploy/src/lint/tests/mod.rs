//! Each rule: silent on a good file, and heard on the same file with one mistake in it.

mod clusters;
mod functions;
mod machines;

use super::*;
use crate::tests::variants;
use crate::{Content, render};

fn source(name: &str, text: &str) -> Source {
    Source { name: name.to_owned(), text: text.to_owned() }
}

fn settings() -> Settings {
    let partitions = BTreeMap::from([("t".to_owned(), 3)]);
    Settings { partitions, ..Settings::default() }
}

/// Each change makes the good file a bad one, and the finding says all of the words.
fn check_each(name: &str, good: &str, changes: &[(&str, &str, &str)]) {
    let found = check(&[source(name, good)], &settings());
    assert!(found.is_empty(), "the good file: {}", shown(&found));
    for (from, to, words) in changes {
        assert_eq!(good.matches(from).count(), 1, "`{from}` stands once in the good file");
        let bad = good.replace(from, to);
        let found = check(&[source(name, &bad)], &settings());
        let says = |finding: &Finding| {
            let text = finding.to_string();
            words.split(" … ").all(|part| text.contains(part))
        };
        assert!(
            found.iter().any(says),
            "`{from}` -> `{to}`: expected `{words}` in:\n{}",
            shown(&found)
        );
        let line = 1 + good[..good.find(from).unwrap()].matches('\n').count();
        let near = |finding: &Finding| says(finding) && finding.line.abs_diff(line) <= 20;
        assert!(
            found.iter().any(near),
            "`{from}` -> `{to}`: not at line {line}:\n{}",
            shown(&found)
        );
    }
}

fn shown(findings: &[Finding]) -> String {
    let lines = findings.iter().map(|finding| format!("{finding}\n"));
    lines.collect::<Vec<_>>().concat()
}

#[test]
fn what_is_rendered_is_clean() {
    for (variant, options, pipeline) in variants() {
        let files = render(&pipeline, options).unwrap().files;
        let sources: Vec<Source> = files
            .iter()
            .filter_map(|file| match &file.content {
                Content::Text(text)
                    if [".yaml", ".service"].iter().any(|end| file.path.ends_with(end)) =>
                {
                    Some(source(&file.path, text))
                }
                _ => None,
            })
            .collect();
        let partitions = pipeline
            .tiers
            .iter()
            .filter_map(|tier| Some((tier.input.name.clone(), tier.deploy.partitions?)));
        let settings = Settings { partitions: partitions.collect(), ..Settings::default() };
        let found = check(&sources, &settings);
        // Images of the continuum are in a registry, of which OpenWhisk has to be told.
        let found: Vec<Finding> =
            found.into_iter().filter(|one| !one.expected.contains("Docker Hub")).collect();
        assert!(!sources.is_empty() && found.is_empty(), "{variant}:\n{}", shown(&found));
    }
}

#[test]
fn templates_are_clean() {
    let stack = "version: 1.0\nprovider:\n  name: openfaas\nfunctions:\n  edge:\n    lang: offramp\n    handler: ./edge\n    image: edge\n";
    let sources = [
        source("template.yml", include_str!("../../../../../template/offramp/template.yml")),
        source(
            "environment.yaml",
            include_str!("../../../../../template/fission/environment.yaml"),
        ),
        source("stack.yaml", stack),
    ];
    let found = check(&sources, &Settings::default());
    assert!(found.is_empty(), "{}", shown(&found));
}

/// As the paper's files were: the limits under `label`, half an hour for each call.
const OF_THE_PAPER: &str = include_str!("../../../tests/lint/paper-stack.yml");

#[test]
fn the_papers_slip_is_caught() {
    let found = check(&[source("edge.yml", OF_THE_PAPER)], &Settings::default());
    let text = shown(&found);
    assert!(
        text.contains(
            "edge.yml:15: error: `functions.ddnn-edge.label` is a table, expected a known key: did you mean `labels`? \
             (faas-cli passes over what it does not know, so that nothing of it applies)\n"
        ),
        "{text}"
    );
    // With the slip mended, the Community Edition still refuses what it says.
    let mended = OF_THE_PAPER.replace("    label:", "    labels:");
    let text = shown(&check(&[source("edge.yml", &mended)], &Settings::default()));
    assert!(
        text.contains(
            "`functions.ddnn-edge.labels.com.openfaas.scale.max` is 20, expected at most 5"
        ),
        "{text}"
    );
    let licensed = Settings { edition: Edition::Commercial, ..Settings::default() };
    let found = check(&[source("edge.yml", &mended)], &licensed);
    assert!(found.iter().all(|finding| finding.severity == Severity::Warning), "{}", shown(&found));
}

#[test]
fn what_is_not_known_or_not_yaml_is_said() {
    for (text, words) in [
        ("a: 1\n b: 2\n", "x.yaml:2: error: `YAML` is broken"),
        ("a: 1\n", "expected a stack.yaml with `provider`"),
        ("apiVersion: v1\nkind: Service\nspec: []\n", "`spec` is a list, expected a table"),
    ] {
        let found = shown(&check(&[source("x.yaml", text)], &settings()));
        assert!(found.contains(words), "{found}");
    }
    let other = "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nrules: []\n";
    assert!(check(&[source("x.yaml", other)], &settings()).is_empty());
}
