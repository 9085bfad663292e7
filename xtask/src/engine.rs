//! The engines' figures, tract's and ONNX Runtime's, beside those of ONNX Runtime in Python, on one thread each.

use anyhow::Context as _;

use crate::peers::FEATURE;
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
    let python = peers::network_python()?;
    let library = peers::onnx_runtime(&python)?;
    let library = library.to_str().context("the path of the checkout is not UTF-8")?;
    let bench = ["bench", "--workspace", "--features", FEATURE, "--bench", "engine", "--"];
    // A process for each model: what one leaves free, the next would take.
    for engine in ["--engine=tract", "--engine=onnxruntime"] {
        for path in &paths {
            let bench = [&bench[..], &[engine, path.as_str()]].concat();
            run::cargo_with(&[("ORT_DYLIB_PATH", library)], &bench)?;
        }
    }
    let python = python.to_str().context("the path of the checkout is not UTF-8")?;
    for path in &paths {
        run::program(python, &["xtask/engine.py", path])?;
    }
    Ok(())
}
