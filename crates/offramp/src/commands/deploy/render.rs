//! `offramp deploy render`.

use std::io::Write as _;
use std::path::PathBuf;

use deploy::apply::{self, Step};

use super::Target;
use super::folder::{self, Foreign};
use crate::commands::pipeline_file;
use crate::outcome::OrConfig as _;

/// Write the platform's own artefacts for a pipeline: everything that its tools need, sub-models included.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    target: Target,
    /// Folder to write to; created if it is not there.
    #[arg(long, short, value_name = "DIR")]
    output: PathBuf,
    /// Overwrite files that are there and were not rendered by this.
    #[arg(long)]
    force: bool,
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let options = args.target.options();
    let pipeline = pipeline_file::read(&args.target.file)?;
    let rendering = deploy::render(&pipeline, options).or_config()?;
    let foreign = if args.force { Foreign::Overwrite } else { Foreign::Refuse };
    folder::write(&args.output, &rendering, foreign)?;
    let mut out = std::io::stdout().lock();
    for note in &rendering.notes {
        writeln!(out, "note:  {note}")?;
    }
    let dir = args.output.display().to_string();
    let images = apply::image_steps(&pipeline, options, &dir).or_config()?;
    // What only `apply` can't do for all tiers at once is its own to say.
    let applies = apply::steps(&pipeline, options, &dir, &[]).unwrap_or_default();
    for line in images.iter().chain(&applies).map(Step::line) {
        writeln!(out, "next:  {line}")?;
    }
    Ok(())
}
