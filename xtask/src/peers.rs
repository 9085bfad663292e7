//! Tests against real peers.
//!
//! Fetches what is missing (Debian packages, a Python virtual environment under `target/peers`) and runs the
//! tests that are ignored without it. What can't be fetched is said, and fails.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::run;

/// Python packages, pinned: a peer that changes by itself would make yesterday's commit fail.
const CLIENTS: [&str; 3] =
    ["confluent-kafka==2.16.1", "cloudevents==2.2.0", "tritonclient[http]==2.73.0"];
/// Keras itself, in both generations, and ONNX Runtime, which say what an imported network computes; and what writes ONNX.
const NETWORKS: [&str; 5] = [
    "tensorflow-cpu==2.21.0",
    "tf_keras==2.21.0",
    "tf2onnx==1.17.0",
    "onnx==1.23.2",
    "onnxruntime==1.32.0",
];

/// What builds ONNX Runtime in as an engine.
pub(crate) const FEATURE: &str = "model/onnxruntime";

pub(crate) fn test() -> anyhow::Result<()> {
    run::installed("kcat", "-V", "kcat")?;
    let python = venv("clients", &CLIENTS)?;
    let environment = [
        ("OFFRAMP_KCAT", "kcat"),
        ("OFFRAMP_PYTHON", python.to_str().context("the path of the checkout is not UTF-8")?),
    ];
    run::tests(&environment, &["--ignored", "peers::"])?;
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
    run::tests(
        &[("OFFRAMP_KERAS_CASES", keras), ("OFFRAMP_ONNX_CASES", onnx)],
        &["--ignored", "keras::", "onnx::"],
    )?;
    engines(&python, onnx)
}

/// Compares the engine with ONNX Runtime in the same program, on the sub-models of the project, random networks and
/// those in the folder `onnx`.
fn engines(python: &Path, onnx: &str) -> anyhow::Result<()> {
    let library = onnx_runtime(python)?;
    // What CI leaves out, because it would check half of the workspace twice.
    let lints = ["clippy", "--release", "--workspace", "--all-targets", "--features", FEATURE];
    run::cargo(&[&lints[..], &["--", "-D", "warnings"]].concat())?;
    let tests = ["test", "--release", "--workspace", "--features", FEATURE, "--test", "it"];
    run::cargo_with(
        &[("ORT_DYLIB_PATH", path(&library)?), ("OFFRAMP_ONNX_CASES", onnx)],
        &[&tests[..], &["--", "--ignored", "onnx_runtime::"]].concat(),
    )
}

/// The shared library in the Python package of ONNX Runtime.
pub(crate) fn onnx_runtime(python: &Path) -> anyhow::Result<PathBuf> {
    let package = "site-packages/onnxruntime/capi";
    let lib = python.parent().and_then(Path::parent).context("no environment")?.join("lib");
    let versions = std::fs::read_dir(&lib).with_context(|| format!("`{}`", lib.display()))?;
    let folders = versions.flatten().map(|version| version.path().join(package));
    let mut files = folders.filter_map(|folder| std::fs::read_dir(folder).ok()).flatten().flatten();
    let library =
        files.find(|file| file.file_name().to_string_lossy().starts_with("libonnxruntime."));
    let library = library.with_context(|| {
        format!(
            "no `libonnxruntime.*` in `{}/*/{package}`: the package onnxruntime of this machine has its library \
             elsewhere, and the engines can't be compared here",
            lib.display()
        )
    })?;
    Ok(library.path())
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
