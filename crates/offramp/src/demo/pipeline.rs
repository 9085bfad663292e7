//! The demo's own pipeline: its sub-models travel in the program.

use std::path::Path;

use anyhow::Context as _;
use model::SubModel;
use pipeline::Pipeline;

/// Name and artefact of each tier. Made by `offramp train`; `models/README.md` has the command.
pub(crate) const SUB_MODELS: [(&str, &[u8]); 3] = [
    ("edge", include_bytes!("../../../../models/mnist-conv/edge.onnx")),
    ("fog", include_bytes!("../../../../models/mnist-conv/fog.onnx")),
    ("cloud", include_bytes!("../../../../models/mnist-conv/cloud.onnx")),
];

/// Port 0: the demo runs beside a broker that already has 9092.
const PIPELINE: &str = r#"
[pipeline]
name = "mnist"
[broker]
listen = "127.0.0.1:0"
[[tier]]
name = "edge"
model = "edge.onnx"
[[tier]]
name = "fog"
model = "fog.onnx"
[[tier]]
name = "cloud"
model = "cloud.onnx"
"#;

/// The demo's pipeline; its model paths name nothing on disk.
pub(crate) fn demo() -> Pipeline {
    Pipeline::parse(PIPELINE, Path::new("")).expect("the demo's pipeline is valid")
}

/// The demo's sub-models, loaded.
pub(crate) fn sub_models() -> anyhow::Result<Vec<SubModel>> {
    SUB_MODELS
        .iter()
        .map(|(tier, bytes)| {
            SubModel::from_bytes(tier, bytes)
                .with_context(|| format!("the demo's {tier} sub-model"))
        })
        .collect()
}
