//! `offramp init`: a pipeline to start from.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use crate::commands::pipeline_file::DEFAULT_FILE;
use crate::demo::pipeline::SUB_MODELS;
use crate::outcome::OrConfig as _;

/// The file that `init` writes; a test reads it with the pipeline crate.
const TEMPLATE: &str = include_str!("init.toml");

/// Write a pipeline to start from: `offramp.toml` and the three sub-models of the demo.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Folder to write to; created if it is not there. Nothing in it is overwritten.
    #[arg(default_value = ".")]
    dir: PathBuf,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let models = args.dir.join("models");
    let mut files: Vec<(PathBuf, &[u8])> = vec![(args.dir.join(DEFAULT_FILE), TEMPLATE.as_bytes())];
    for (tier, bytes) in SUB_MODELS {
        files.push((models.join(format!("{tier}.onnx")), bytes));
    }
    if let Some((taken, _)) = files.iter().find(|(path, _)| path.exists()) {
        return refuse(taken).or_config();
    }
    std::fs::create_dir_all(&models).with_context(|| format!("folder `{}`", models.display()))?;
    let mut out = std::io::stdout();
    for (path, bytes) in files {
        std::fs::write(&path, bytes).with_context(|| format!("file `{}`", path.display()))?;
        writeln!(out, "wrote {}", path.display())?;
    }
    let file = args.dir.join(DEFAULT_FILE);
    writeln!(out, "next:  offramp check {0}  |  offramp up {0}", file.display())?;
    Ok(())
}

fn refuse(taken: &Path) -> anyhow::Result<()> {
    bail!("`{}` is already there, expected a folder without it", taken.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_template_is_a_valid_pipeline() {
        let pipeline = pipeline::Pipeline::parse(TEMPLATE, Path::new("")).unwrap();
        let names: Vec<_> = pipeline.tiers.iter().map(|tier| tier.name.as_str()).collect();
        assert_eq!(names, SUB_MODELS.map(|(name, _)| name));
    }
}
