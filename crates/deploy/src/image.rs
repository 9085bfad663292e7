//! The image that runs: ours, and a pipeline's sub-models in it.

use crate::file::{Content, File, header};
use crate::plan::{MODELS, Plan, VERSION};

/// The image without sub-models.
pub(crate) fn base(plan: &Plan<'_>) -> String {
    let base = plan.pipeline.deploy.base_image.clone();
    base.unwrap_or_else(|| format!("offramp:{VERSION}"))
}

/// A `Dockerfile` and the sub-models that it puts in; none where every tier fetches its own.
pub(crate) fn files(plan: &Plan<'_>) -> Vec<File> {
    let models = models(plan, "models");
    if models.is_empty() {
        return models;
    }
    let head = header(
        "#",
        &format!("The image of pipeline `{}`: offramp and its sub-models.", plan.pipeline.name),
    );
    let text = format!("{head}FROM {}\nCOPY models/ {MODELS}/\n", base(plan));
    [File::text("Dockerfile", text)].into_iter().chain(models).collect()
}

/// The sub-models that are not fetched, in a folder.
pub(crate) fn models(plan: &Plan<'_>, folder: &str) -> Vec<File> {
    let in_image = plan.places().filter(|place| place.tier.deploy.model.is_none());
    in_image
        .map(|place| File {
            path: format!("{folder}/{}.onnx", place.label),
            content: Content::CopyOf(place.tier.model.clone()),
        })
        .collect()
}
