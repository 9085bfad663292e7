//! `offramp train`: a multi-exit network, trained jointly and cut into sub-models.

mod data;
mod recipe;
mod show;
mod topic;

use std::io::Write as _;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use function::stop::Stop;
use train::{Continue, Recipe, Samples, Trained, Training};

use crate::outcome::OrConfig as _;
use crate::signals;

/// Train a multi-exit network, all exits together, and write its sub-models.
///
/// A recipe says what to train and how. The same recipe, data and seed give the same files, byte for byte, on the same
/// kind of machine, also where a run was interrupted and resumed. The last part of the data (a tenth, unless the recipe
/// says otherwise) is held out: nothing is learnt from it, and after each epoch the accuracy of each exit on it is
/// shown.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What to train and how: `mnist-dense`, `mnist-conv`, or a TOML file.
    #[arg(short, long, default_value = "mnist-conv", value_name = "RECIPE")]
    recipe: String,
    #[command(flatten)]
    data: data::Args,
    /// How often each sample is seen; default: the recipe's.
    #[arg(long)]
    epochs: Option<NonZeroUsize>,
    /// Fixes the initial weights, the order of the samples, their changes and the drawn digits; default: the recipe's.
    #[arg(long)]
    seed: Option<u64>,
    /// Folder for the sub-models, one file a tier, and for the checkpoint while there is one.
    #[arg(short, long, default_value = "models", value_name = "DIR")]
    output: PathBuf,
    /// Go on where a run with the same recipe and data was interrupted, after its last whole epoch.
    #[arg(long)]
    resume: bool,
}

/// Written after each epoch, and removed with the last.
const CHECKPOINT: &str = "train.checkpoint";

pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let mut recipe = recipe::load(&args.recipe).or_config()?;
    if let Some(epochs) = args.epochs {
        recipe = recipe.with_epochs(epochs);
    }
    if let Some(seed) = args.seed {
        recipe = recipe.with_seed(seed);
    }
    let (samples, validation) = data::load(&args.data, &recipe).await?;
    let stop = signals::stop_on_signal()?;
    let training = tokio::task::spawn_blocking(move || {
        let trained = train(&recipe, &samples, &validation, &args, &stop)?;
        let mut out = std::io::stdout();
        for path in trained.write(&args.output)? {
            writeln!(out, "wrote {}", path.display())?;
        }
        // Nothing is left to go on with.
        let _ = std::fs::remove_file(args.output.join(CHECKPOINT));
        Ok(())
    });
    training.await.context("training panicked")?
}

fn train(
    recipe: &Recipe,
    samples: &Samples,
    validation: &Samples,
    args: &Args,
    stop: &Stop,
) -> anyhow::Result<Trained> {
    std::fs::create_dir_all(&args.output)
        .with_context(|| format!("folder `{}`", args.output.display()))?;
    let checkpoint = args.output.join(CHECKPOINT);
    let mut training = begin(recipe, samples, validation, args.resume, &checkpoint)?;
    let bar = show::Bar::new(recipe, &training);
    while !training.is_done() {
        let finished = training
            .epoch(|progress| {
                bar.batch(&progress);
                if stop.is_said() { Continue::No } else { Continue::Yes }
            })
            .or_config()?;
        let Some(progress) = finished else {
            bar.end();
            let done = training.epochs();
            let so_far = if done == 0 {
                "nothing was kept".to_owned()
            } else {
                format!("epoch {done} is kept in `{}`: go on with --resume", checkpoint.display())
            };
            bail!("stopped before the end; {so_far}");
        };
        training.write_checkpoint(&checkpoint)?;
        bar.epoch(&progress);
    }
    bar.end();
    Ok(training.finish()?)
}

fn begin<'a>(
    recipe: &'a Recipe,
    samples: &'a Samples,
    validation: &'a Samples,
    resume: bool,
    checkpoint: &Path,
) -> anyhow::Result<Training<'a>> {
    if resume {
        return Training::resume(recipe, samples, validation, checkpoint).or_config();
    }
    Training::new(recipe, samples, validation).or_config()
}
