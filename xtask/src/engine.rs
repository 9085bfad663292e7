//! The engine's figures beside those of ONNX Runtime in Python, on one thread each.

use anyhow::Context as _;

use crate::{peers, run};

/// The sub-models that are part of the project.
const MODELS: [&str; 6] = [
    "models/mnist-dense/edge.onnx",
    "models/mnist-dense/fog.onnx",
    "models/mnist-dense/cloud.onnx",
    "models/mnist-conv/edge.onnx",
    "models/mnist-conv/fog.onnx",
    "models/mnist-conv/cloud.onnx",
];

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
    // A process for each model: what one leaves free, the next would take.
    for path in &paths {
        let bench = ["bench", "--workspace", "--bench", "engine", "--", path.as_str()];
        run::cargo_with(&[], &bench)?;
    }
    let python = peers::network_python()?;
    let python = python.to_str().context("the path of the checkout is not UTF-8")?;
    for path in &paths {
        run::program(python, &["xtask/engine.py", path])?;
    }
    Ok(())
}
