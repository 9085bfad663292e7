//! `offramp deploy apply`.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};
use deploy::apply::{self, Step};

use super::Target;
use super::folder::{self, Foreign};
use crate::commands::pipeline_file;
use crate::outcome::OrConfig as _;

/// Render a pipeline and deploy it with the platform's own tool: faas-cli, fission, wsk, kubectl, nuctl, docker compose or
/// systemctl, each tier at its own cluster.
///
/// The image has to be where the platform finds it: `offramp deploy render` says how it is built.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    target: Target,
    /// Folder to render to; default: .offramp/deploy/PLATFORM beside the pipeline file.
    #[arg(long, short, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Deploy only what this tier needs; may be given several times.
    #[arg(long = "tier", value_name = "NAME")]
    tiers: Vec<String>,
    /// Only print the commands; nothing is written or run.
    #[arg(long)]
    dry_run: bool,
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let options = args.target.options();
    let file = &args.target.file;
    let pipeline = pipeline_file::read(file)?;
    pipeline_file::select(&pipeline, &args.tiers)?;
    let rendering = deploy::render(&pipeline, options).or_config()?;
    let default = || {
        let base = file.parent().unwrap_or(Path::new(""));
        base.join(".offramp").join("deploy").join(options.platform.name())
    };
    let dir = args.output.clone().unwrap_or_else(default);
    let shown = dir.display().to_string();
    let steps = apply::steps(&pipeline, options, &shown, &args.tiers).or_config()?;
    if args.dry_run {
        let mut out = std::io::stdout().lock();
        for line in steps.iter().map(Step::line) {
            writeln!(out, "{line}")?;
        }
        return Ok(());
    }
    if let Some(missing) = steps.iter().find(|step| !is_on_the_path(step.needs)) {
        bail!(
            "`{}` is not on the path, expected it for {}; install {} (--dry-run prints what would be run)",
            missing.needs,
            options.platform,
            missing.install
        );
    }
    folder::write(&dir, &rendering, Foreign::Refuse)?;
    for step in &steps {
        writeln!(std::io::stdout().lock(), "run    {}", step.line())?;
        let status = Command::new(step.program).args(&step.arguments).status();
        let status = status.with_context(|| format!("`{}` could not be started", step.program))?;
        if !status.success() {
            bail!("`{}` failed: {status}", step.line());
        }
    }
    Ok(())
}

fn is_on_the_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}
