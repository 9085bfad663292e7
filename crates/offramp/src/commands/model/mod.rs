//! `offramp model`: sub-model artefacts.

mod calibrate;
mod cascade;
mod confusion;
mod evaluate;
mod figures;
mod import;
mod show;
mod source;
mod split;

use clap::Subcommand;

/// Import, split, show, calibrate and evaluate sub-models: one ONNX file per tier, with all that the tier needs to run it.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    Import(import::Args),
    Split(split::Args),
    Show(show::Args),
    Calibrate(Box<calibrate::Args>),
    Evaluate(evaluate::Args),
}

pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    match args.action {
        Action::Import(args) => import::run(&args),
        Action::Split(args) => split::run(&args),
        Action::Show(args) => show::run(&args),
        Action::Calibrate(args) => calibrate::run(&args),
        Action::Evaluate(args) => evaluate::run(&args),
    }
}
