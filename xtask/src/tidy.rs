//! What the compiler does not check: the dependency invariants of `ARCHITECTURE.md`, files that no module
//! declares, files that grew too long, and platform names where none belong.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use crate::run;

/// Third-party crates that only one of ours may depend on.
const LINKED_BY: [(&str, &str); 7] = [
    ("tract-onnx", "model"),
    ("ort", "model"),
    ("toml", "tables"),
    ("serde-saphyr", "deploy"),
    ("tiny-skia", "bench"),
    ("ttf-parser", "bench"),
    ("dejavu", "bench"),
];
/// Crates of ours that do no I/O, and what would give it to them.
const PURE: [&str; 5] = ["wire", "pipeline", "autoscale", "tables", "deploy"];
const IO: [&str; 3] = ["tokio", "hyper", "ureq"];
/// Crates of ours that know nothing of the others.
const ALONE: [&str; 2] = ["broker", "protocol"];
/// Platforms, whose names belong to deployers and adapters: those of [`ADAPTERS`].
const PLATFORMS: [&str; 5] = ["openfaas", "fission", "openwhisk", "knative", "nuclio"];
/// Where platforms are named: the runtime answers as one of them does.
const ADAPTERS: [&str; 4] =
    ["crates/deploy/", "crates/function/src/platform", "crates/runtime/", "xtask/"];
const MAX_LINES: usize = 600;

pub(crate) fn check() -> anyhow::Result<()> {
    let crates = workspace_crates()?;
    let mut problems = Vec::new();
    for name in &crates {
        let all = dependencies(name, "normal", None)?;
        let direct = dependencies(name, "normal", Some(1))?;
        problems.extend(dependency_problems(name, &direct, &all, &crates));
    }
    let files = rust_files(&run::root().join("crates"))?;
    for file in files.iter().chain(&rust_files(&run::root().join("xtask"))?) {
        let text = std::fs::read_to_string(file)?;
        problems.extend(file_problems(file, &text));
    }
    if problems.is_empty() {
        eprintln!("xtask: tidy: {} crates, {} files", crates.len(), files.len());
        return Ok(());
    }
    bail!("tidy found {} problems:\n  {}", problems.len(), problems.join("\n  "))
}

fn workspace_crates() -> anyhow::Result<BTreeSet<String>> {
    let crates = std::fs::read_dir(run::root().join("crates"))?;
    crates
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<anyhow::Result<_>>()
}

fn dependencies(name: &str, edges: &str, depth: Option<u32>) -> anyhow::Result<BTreeSet<String>> {
    let depth = depth.map_or_else(|| "4096".to_owned(), |depth| depth.to_string());
    let tree = run::cargo_output(&[
        "tree",
        "--package",
        name,
        "--edges",
        edges,
        "--prefix",
        "none",
        "--depth",
        &depth,
    ])?;
    // Each line is `name vVERSION …`; the first is the crate itself.
    Ok(tree.lines().skip(1).filter_map(|line| Some(line.split_once(' ')?.0.to_owned())).collect())
}

fn dependency_problems(
    name: &str,
    direct: &BTreeSet<String>,
    all: &BTreeSet<String>,
    crates: &BTreeSet<String>,
) -> Vec<String> {
    let mut problems = Vec::new();
    for (dependency, owner) in LINKED_BY {
        if name != owner && direct.contains(dependency) {
            problems.push(format!(
                "crate `{name}` depends on `{dependency}`, which only `{owner}` may"
            ));
        }
    }
    if PURE.contains(&name) {
        let io = IO.into_iter().filter(|io| all.contains(*io));
        problems.extend(io.map(|io| format!("crate `{name}` is pure, but reaches `{io}`")));
    }
    if ALONE.contains(&name) {
        // The protocol is Kafka's.
        let ours = all.intersection(crates).filter(|ours| *ours != "protocol");
        problems.extend(ours.map(|other| {
            format!("crate `{name}` knows nothing of offramp, but depends on `{other}`")
        }));
    }
    problems
}

fn rust_files(dir: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).with_context(|| format!("`{}`", dir.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(rust_files(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn file_problems(file: &Path, text: &str) -> Vec<String> {
    let shown = file.strip_prefix(run::root()).unwrap_or(file).display().to_string();
    let mut problems = Vec::new();
    let lines = text.lines().count();
    if lines > MAX_LINES {
        problems.push(format!("{shown} has {lines} lines, expected at most {MAX_LINES}"));
    }
    let tests = shown.contains("/tests");
    if !text.starts_with("//!") && !tests {
        problems.push(format!("{shown} does not open with `//!`"));
    }
    if !is_declared(file) {
        problems.push(format!("{shown} is not declared by any module"));
    }
    let platforms_allowed = tests || ADAPTERS.iter().any(|prefix| shown.starts_with(prefix));
    if !platforms_allowed {
        problems.extend(platform_problems(&shown, text));
    }
    problems
}

/// Comments may name a platform: a constant's source is one.
fn platform_problems(shown: &str, text: &str) -> Vec<String> {
    let code = text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//"));
    let mut problems = Vec::new();
    for (at, line) in code {
        let line = line.to_lowercase();
        for platform in PLATFORMS.iter().filter(|platform| line.contains(*platform)) {
            problems.push(format!("{shown}:{} names the platform `{platform}`", at + 1));
        }
    }
    problems
}

/// Whether a module beside or above a file declares it. Roots and stand-alone programs need none.
fn is_declared(file: &Path) -> bool {
    let (Some(dir), Some(stem)) = (file.parent(), file.file_stem()) else { return true };
    let stem = stem.to_string_lossy();
    let dir_name = dir.file_name().unwrap_or_default().to_string_lossy();
    if ["lib", "main", "build"].contains(&stem.as_ref())
        || ["examples", "benches", "tests", "fuzz_targets"].contains(&dir_name.as_ref())
    {
        return true;
    }
    let (name, parents) = if stem == "mod" {
        let above = dir.parent().unwrap_or(dir);
        (dir_name.into_owned(), roots_of(above))
    } else {
        (stem.into_owned(), roots_of(dir))
    };
    parents.iter().filter_map(|parent| std::fs::read_to_string(parent).ok()).any(|text| {
        text.lines().any(|line| {
            let declared = line.trim().trim_end_matches([';', '{']).trim();
            let declared = declared.rsplit_once("mod ").map(|(_, declared)| declared);
            declared == Some(name.as_str())
        })
    })
}

/// The files that can declare the modules in a folder.
fn roots_of(dir: &Path) -> Vec<PathBuf> {
    let mut roots: Vec<PathBuf> =
        ["mod.rs", "lib.rs", "main.rs"].iter().map(|name| dir.join(name)).collect();
    roots.push(dir.with_extension("rs"));
    roots
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn check(name: &str, direct: &[&str], all: &[&str], problems: usize) {
        let found = dependency_problems(name, &set(direct), &set(all), &set(&["wire", "model"]));
        assert_eq!(found.len(), problems, "{found:?}");
    }

    #[test]
    fn broken_invariants_are_found() {
        check("model", &["tract-onnx"], &["tract-onnx", "wire"], 0);
        check("function", &["tract-onnx", "model"], &["tract-onnx"], 1);
        check("function", &["model"], &["model", "tract-onnx"], 0);
        check("wire", &["bytes"], &["bytes", "tokio"], 1);
        check("broker", &["tokio"], &["tokio"], 0);
        check("broker", &["tokio"], &["tokio", "wire"], 1);
    }

    #[test]
    fn platform_names_are_found_in_code_and_allowed_in_comments() {
        assert_eq!(platform_problems("f", "// as OpenFaaS does\nlet x = 1;").len(), 0);
        assert_eq!(platform_problems("f", "let openfaas_port = 8080;").len(), 1);
    }

    #[test]
    fn this_workspace_declares_its_files() {
        for file in rust_files(&run::root().join("xtask")).unwrap() {
            assert!(is_declared(&file), "{}", file.display());
        }
        assert!(!is_declared(&run::root().join("xtask/src/nowhere.rs")));
    }

    #[test]
    fn dependencies_of_a_crate_are_read() {
        let direct = dependencies("xtask", "normal", Some(1)).unwrap();
        assert!(direct.contains("anyhow"), "{direct:?}");
    }
}
