//! Tests against real peers.
//!
//! Fetches what is missing (Debian packages, a Python virtual environment under `target/peers`) and runs the
//! tests that are ignored without it. What can't be fetched is said, and fails.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::run;

/// Python packages, pinned: a peer that changes by itself would make yesterday's commit fail.
const CLIENTS: [&str; 1] = ["confluent-kafka==2.16.1"];
/// Keras itself, in both generations, which says what an imported network computes.
const KERAS: [&str; 2] = ["tensorflow-cpu==2.21.0", "tf_keras==2.21.0"];

pub(crate) fn test() -> anyhow::Result<()> {
    run::installed("kcat", "-V", "kcat")?;
    let python = venv("clients", &CLIENTS)?;
    let environment = [
        ("OFFRAMP_KCAT", "kcat"),
        ("OFFRAMP_PYTHON", python.to_str().context("the path of the checkout is not UTF-8")?),
    ];
    run::cargo_with(
        &environment,
        &[
            "test",
            "--release",
            "--package",
            "offramp",
            "--test",
            "it",
            "--",
            "--ignored",
            "peers::",
        ],
    )?;
    keras()
}

/// Compares imported networks with Keras.
fn keras() -> anyhow::Result<()> {
    let python = venv("keras", &KERAS)?;
    let cases = run::root().join("target").join("peers").join("keras-cases");
    let cases = path(&cases)?;
    run::program(path(&python)?, &["crates/model/tests/keras_oracle.py", cases])?;
    run::cargo_with(
        &[("OFFRAMP_KERAS_CASES", cases)],
        &["test", "--release", "--workspace", "--test", "it", "--", "--ignored", "keras::"],
    )
}

/// The interpreter of a virtual environment with these packages.
pub(crate) fn venv(name: &str, packages: &[&str]) -> anyhow::Result<PathBuf> {
    let dir = run::root().join("target").join("peers").join(name);
    let python = dir.join("bin").join("python");
    let wanted = packages.join("\n");
    let installed = dir.join("installed.txt");
    if std::fs::read_to_string(&installed).is_ok_and(|installed| installed == wanted) {
        return Ok(python);
    }
    run::installed("python3", "-cimport venv, ensurepip", "python3-venv")?;
    let dir = path(&dir)?;
    run::program("python3", &["-m", "venv", "--clear", dir])
        .context("a Python virtual environment could not be made")?;
    let mut arguments = vec!["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
    arguments.extend(packages);
    run::program(path(&python)?, &arguments)
        .with_context(|| format!("{} could not be installed", packages.join(", ")))?;
    std::fs::write(installed, wanted)?;
    Ok(python)
}

fn path(path: &Path) -> anyhow::Result<&str> {
    path.to_str().with_context(|| format!("`{}` is not UTF-8", path.display()))
}
