//! `offramp deploy`: a pipeline on a platform.

mod apply;
mod folder;
mod lint;
mod render;

use std::path::PathBuf;

use clap::Subcommand;
use deploy::{Executor, Options, Platform, Trigger};

use crate::commands::pipeline_file;

/// Put a pipeline on a platform: OpenFaaS, Fission, OpenWhisk, Knative, Nuclio, Kubernetes, Compose or systemd.
///
/// `[deploy]` and `[tier.deploy]` in the pipeline file say where each tier goes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Render(render::Args),
    Apply(apply::Args),
    Lint(lint::Args),
}

pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    match args.command {
        Command::Render(args) => render::run(&args),
        Command::Apply(args) => apply::run(&args),
        Command::Lint(args) => lint::run(&args),
    }
}

/// For whom, and in which variant.
#[derive(Debug, clap::Args)]
struct Target {
    /// The pipeline file.
    #[arg(default_value = pipeline_file::DEFAULT_FILE)]
    file: PathBuf,
    /// openfaas, fission, openwhisk, knative, nuclio, kubernetes, compose or systemd.
    #[arg(long, short, value_name = "PLATFORM")]
    platform: Platform,
    /// Who takes records to the functions: `connector`, ours, which loses nothing of a record, or `platform`, the
    /// platform's own Kafka trigger.
    #[arg(long, default_value = Trigger::default().name(), value_name = "TRIGGER")]
    trigger: Trigger,
    /// How Fission runs functions: each as a `container` of its own, or in the warm pods of an `environment`, from
    /// packages with the sub-models.
    #[arg(long, default_value = Executor::default().name(), value_name = "EXECUTOR")]
    executor: Executor,
}

impl Target {
    fn options(&self) -> Options {
        Options { platform: self.platform, trigger: self.trigger, executor: self.executor }
    }
}
