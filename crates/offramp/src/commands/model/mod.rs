//! `offramp model`: sub-model artefacts.

mod evaluate;
mod import;
mod show;

use clap::Subcommand;

/// Import, show and evaluate sub-models: one ONNX file per tier, with all that the tier needs to run it.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    Import(import::Args),
    Show(show::Args),
    Evaluate(evaluate::Args),
}

pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    match args.action {
        Action::Import(args) => import::run(&args),
        Action::Show(args) => show::run(&args),
        Action::Evaluate(args) => evaluate::run(&args),
    }
}
