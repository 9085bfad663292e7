//! A pipeline as each platform's own artefacts.
//!
//! [`render`] turns a [`pipeline::Pipeline`] into files; nothing is read or written. Every artefact is a type of ours
//! that has the platform's keys and no others, so that a key which the platform would pass over can't be written.
//! [`lint::check`] reads files with the same types, and finds what their platforms accept and yet do otherwise than meant.
//! [`apply::steps`] are the commands of each platform's own tool that deploy what was rendered; running them is the
//! caller's business.

pub mod apply;
mod compose;
mod file;
mod fission;
mod hash;
mod image;
mod knative;
mod kubernetes;
pub mod lint;
mod nuclio;
mod openfaas;
mod openwhisk;
mod options;
mod plan;
mod systemd;
#[cfg(test)]
mod tests;
mod yaml;

pub use file::{Content, File, Rendering};
pub use options::{Executor, Options, Platform, Trigger};
use plan::Plan;

/// Why a pipeline can't be rendered for a platform: everything that stands against it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", shown(.problems))]
pub struct Refused {
    /// Each names the tier, the key, its value and what was expected.
    pub problems: Vec<String>,
}

fn shown(problems: &[String]) -> String {
    let count = problems.len();
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} problem{plural}\n  {}", problems.join("\n  "))
}

/// The files of a pipeline for a platform.
///
/// # Errors
///
/// All that the platform can't run as the pipeline file has it.
pub fn render(pipeline: &pipeline::Pipeline, options: Options) -> Result<Rendering, Refused> {
    let plan = Plan::of(pipeline, options)?;
    let mut rendering = match options.platform {
        Platform::OpenFaas => openfaas::render(&plan),
        Platform::Fission => fission::render(&plan),
        Platform::OpenWhisk => openwhisk::render(&plan),
        Platform::Knative => knative::render(&plan),
        Platform::Nuclio => nuclio::render(&plan),
        Platform::Kubernetes => kubernetes::render(&plan),
        Platform::Compose => compose::render(&plan),
        Platform::Systemd => systemd::render(&plan),
    };
    rendering.notes.extend(plan.notes());
    Ok(rendering)
}
