//! `offramp train`: a multi-exit network, trained jointly and cut into sub-models.

use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;

use anyhow::anyhow;
use indicatif::{ProgressBar, ProgressStyle};
use model::dataset::idx::{self, Split};
use model::dataset::{Dataset, drawn};
use train::{Progress, Recipe, Topology};

use crate::outcome::OrConfig as _;

/// Train a multi-exit network on labelled images, all exits together, and write its sub-models.
///
/// The same data, options and seed give the same files, byte for byte, on the same kind of machine.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Folder with training and test images in MNIST's format (IDX, gzipped or not).
    #[arg(long, env = "OFFRAMP_DATA", value_name = "DIR", required_unless_present = "drawn")]
    data: Option<PathBuf>,
    /// Add this many digits drawn by the program.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    drawn: Option<u64>,
    /// `paper`: 784-32 at the edge, 16 at the fog, an exit in the cloud. `wide`: tiers that grow.
    #[arg(long, default_value_t = Topology::Wide)]
    topology: Topology,
    /// How often each image is seen; default: the topology's recipe.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    epochs: Option<u64>,
    /// How much each exit's loss counts, from the first tier to the last, separated by commas.
    #[arg(long, value_delimiter = ',', value_name = "WEIGHT")]
    exit_weights: Vec<f64>,
    /// Threshold on max-softmax that the files of all tiers but the last carry.
    #[arg(long)]
    threshold: Option<f64>,
    /// Fixes the initial weights, the order of the images, and the drawn digits.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Folder for the sub-models, one file a tier.
    #[arg(short, long, default_value = "models", value_name = "DIR")]
    output: PathBuf,
}

/// Drawn digits for validation come from another seed than those for training.
const VALIDATION_SEED: u64 = 0x5eed;
/// Drawn digits for validation, where there are no test images.
const VALIDATION_DRAWN: usize = 2000;

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let (samples, validation) = datasets(args).or_config()?;
    let mut recipe = Recipe::new(args.topology.clone());
    recipe.seed = args.seed;
    if let Some(epochs) = args.epochs {
        recipe.epochs = epochs as usize;
    }
    if !args.exit_weights.is_empty() {
        recipe.exit_weights.clone_from(&args.exit_weights);
    }
    if let Some(threshold) = args.threshold {
        recipe.threshold = threshold;
    }
    let bar = bar(recipe.epochs as u64);
    let trained = train::train(&recipe, &samples, &validation, |progress| show(&bar, &progress));
    bar.finish_and_clear();
    let trained = trained.or_config()?;
    let mut out = std::io::stdout();
    for path in trained.write(&args.output)? {
        writeln!(out, "wrote {}", path.display())?;
    }
    Ok(())
}

fn datasets(args: &Args) -> anyhow::Result<(Dataset, Dataset)> {
    let drawn = args.drawn.map(|count| drawn::draw(count as usize, args.seed));
    let Some(dir) = &args.data else {
        let samples =
            drawn.ok_or_else(|| anyhow!("no images: expected --data DIR or --drawn N"))?;
        return Ok((samples, drawn::draw(VALIDATION_DRAWN, args.seed ^ VALIDATION_SEED)));
    };
    let read = idx::read(dir, Split::Train)?;
    let validation = idx::read(dir, Split::Test)?;
    let Some(drawn) = drawn else { return Ok((read, validation)) };
    let (read_shape, drawn_shape) = (read.shape.clone(), drawn.shape.clone());
    let samples = read.concat(&drawn).ok_or_else(|| {
        anyhow!(
            "the images in `{}` are {read_shape:?}, expected {drawn_shape:?} to add drawn digits",
            dir.display()
        )
    })?;
    Ok((samples, validation))
}

fn bar(epochs: u64) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(epochs);
    let style = ProgressStyle::with_template(" [{bar:30}] epoch {pos}/{len}  {msg}  {eta} left")
        .expect("the template is legal");
    bar.set_style(style.progress_chars("=> "));
    bar
}

fn show(bar: &ProgressBar, progress: &Progress) {
    let accuracy: Vec<String> = progress
        .exit_accuracy
        .iter()
        .map(|accuracy| format!("{:.2} %", accuracy * 100.0))
        .collect();
    let message = format!("loss {:.4}, accuracy by exit: {}", progress.loss, accuracy.join(" | "));
    if bar.is_hidden() {
        // Long work says where it stands, also in a log file.
        let epoch = format!("epoch {}/{}", progress.epoch, progress.epochs);
        let _ = writeln!(std::io::stderr(), "{epoch}  {message}");
    }
    bar.set_message(message);
    bar.set_position(progress.epoch as u64);
}
