//! Tests against real peers.
//!
//! Fetches what is missing (Debian packages, a Python virtual environment under `target/peers`) and runs the
//! tests that are ignored without it. What can't be fetched is said, and fails.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::run;

/// Python packages, pinned: a peer that changes by itself would make yesterday's commit fail.
const CLIENTS: [&str; 1] = ["confluent-kafka==2.16.1"];
/// Keras itself, in both generations, and ONNX Runtime, which say what an imported network computes; and what writes ONNX.
const NETWORKS: [&str; 5] = [
    "tensorflow-cpu==2.21.0",
    "tf_keras==2.21.0",
    "tf2onnx==1.17.0",
    "onnx==1.23.2",
    "onnxruntime==1.32.0",
];

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
    networks()
}

/// Compares imported and split networks with Keras and ONNX Runtime.
pub(crate) fn networks() -> anyhow::Result<()> {
    let python = network_python()?;
    let folder = |name: &str| run::root().join("target").join("peers").join(name);
    let (keras, onnx) = (folder("keras-cases"), folder("onnx-cases"));
    let (keras, onnx) = (path(&keras)?, path(&onnx)?);
    run::program(path(&python)?, &["crates/model/tests/keras_oracle.py", keras])?;
    run::program(path(&python)?, &["crates/model/tests/onnx_oracle.py", onnx])?;
    let tests = ["test", "--release", "--workspace", "--test", "it", "--", "--ignored"];
    run::cargo_with(
        &[("OFFRAMP_KERAS_CASES", keras), ("OFFRAMP_ONNX_CASES", onnx)],
        &[&tests[..], &["keras::", "onnx::"]].concat(),
    )
}

/// The interpreter that has all that makes and runs networks.
pub(crate) fn network_python() -> anyhow::Result<PathBuf> {
    venv("networks", &NETWORKS)
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
