//! The engine's figures beside those of ONNX Runtime in Python, on one thread each.

use anyhow::Context as _;

use crate::{peers, run};

/// The sub-models that are part of the project.
const MODELS: [&str; 3] =
    ["models/mnist-wide/edge.onnx", "models/mnist-wide/fog.onnx", "models/mnist-wide/cloud.onnx"];

pub(crate) fn run(models: &[&str]) -> anyhow::Result<()> {
    let models = if models.is_empty() { &MODELS[..] } else { models };
    let paths: Vec<String> = models
        .iter()
        .map(|model| {
            let path = std::path::Path::new(model).canonicalize();
            let path = path.with_context(|| format!("sub-model `{model}`"))?;
            Ok(path.to_str().with_context(|| format!("`{model}` is not UTF-8"))?.to_owned())
        })
        .collect::<anyhow::Result<_>>()?;
    let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
    let bench = ["bench", "--workspace", "--bench", "engine", "--"];
    run::cargo_with(&[], &[&bench[..], &paths].concat())?;
    let python = peers::network_python()?;
    let python = python.to_str().context("the path of the checkout is not UTF-8")?;
    run::program(python, &[&["xtask/engine.py"][..], &paths].concat())
}
