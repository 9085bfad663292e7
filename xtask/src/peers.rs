//! Tests against real peers.
//!
//! Fetches what is missing (Debian packages, a Python virtual environment under `target/peers`) and runs the
//! tests that are ignored without it. What can't be fetched is said, and fails.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};

use crate::run;

/// Python packages, pinned: a peer that changes by itself would make yesterday's commit fail.
const CLIENTS: [&str; 1] = ["confluent-kafka==2.16.1"];
/// Keras itself, in both generations, which says what an imported network computes.
const KERAS: [&str; 2] = ["tensorflow-cpu==2.21.0", "tf_keras==2.21.0"];

pub(crate) fn test() -> anyhow::Result<()> {
    let kcat = kcat()?;
    let python = venv("clients", &CLIENTS)?;
    let environment = [
        ("OFFRAMP_KCAT", kcat.as_str()),
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

/// Debian's kcat, installed if it is not there.
fn kcat() -> anyhow::Result<String> {
    if !answers("kcat", "-V") {
        run::program("apt-get", &["update", "--quiet"])
            .and_then(|()| run::program("apt-get", &["install", "--yes", "--quiet", "kcat"]))
            .context("kcat is not installed and could not be; install it and run this again")?;
    }
    if !answers("kcat", "-V") {
        bail!("kcat was installed and does not run");
    }
    Ok("kcat".to_owned())
}

fn answers(program: &str, argument: &str) -> bool {
    Command::new(program).arg(argument).output().is_ok_and(|output| output.status.success())
}

/// The interpreter of a virtual environment with these packages.
fn venv(name: &str, packages: &[&str]) -> anyhow::Result<PathBuf> {
    let dir = run::root().join("target").join("peers").join(name);
    let python = dir.join("bin").join("python");
    let wanted = packages.join("\n");
    let installed = dir.join("installed.txt");
    if std::fs::read_to_string(&installed).is_ok_and(|installed| installed == wanted) {
        return Ok(python);
    }
    let dir = path(&dir)?;
    run::program("python3", &["-m", "venv", "--clear", dir])
        .context("a Python virtual environment could not be made; install python3-venv")?;
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
