//! What is learnt from, and what is held out of it.

use std::path::{Path, PathBuf};

use anyhow::{anyhow, bail};
use clap::ArgGroup;
use model::dataset::idx::{self, Split};
use model::dataset::npz::{self, Labelled};
use model::dataset::{Dataset, drawn};
use train::{Recipe, Samples};
use wire::Encoding;

use super::topic;
use crate::commands::topic::BrokerArgs;
use crate::outcome::OrConfig as _;

/// Where samples come from.
#[derive(Debug, clap::Args)]
#[command(group(ArgGroup::new("source").args(["data", "topic", "drawn"]).required(true).multiple(true)))]
pub(super) struct Args {
    /// Folder with training images in MNIST's format (IDX, gzipped or not), or an .npz file with the arrays `x` and `y`
    /// or `x_train` and `y_train`.
    #[arg(long, env = "OFFRAMP_DATA", value_name = "PATH")]
    data: Option<PathBuf>,
    /// Topic whose records are samples: the value is the sample, the key its label, as text or as one byte. It is read
    /// once, up to what is there now.
    #[arg(long, conflicts_with = "data")]
    topic: Option<String>,
    /// How the values of the topic are written: json, u8, i16, i32, f16, f32 or f64.
    #[arg(long, default_value_t = Encoding::U8, requires = "topic", value_name = "ENCODING")]
    topic_encoding: Encoding,
    /// Add this many digits drawn by the program.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    drawn: Option<u64>,
    #[command(flatten)]
    broker: BrokerArgs,
}

/// The samples to learn from, and those that are held out.
pub(super) async fn load(args: &Args, recipe: &Recipe) -> anyhow::Result<(Samples, Samples)> {
    let read = match (&args.data, &args.topic) {
        (Some(path), _) => Some(from_path(path).or_config()?),
        (None, Some(name)) => {
            let servers = &args.broker.bootstrap_servers;
            Some(topic::read(servers, name, args.topic_encoding, recipe).await?)
        }
        (None, None) => None,
    };
    let drawn = args.drawn.map(|count| drawn::draw(count as usize, recipe.seed()));
    split(read, drawn, recipe).or_config()
}

/// Holds out the end of what was read; drawn digits are only learnt from, unless there is nothing else.
fn split(
    read: Option<Samples>,
    drawn: Option<Dataset>,
    recipe: &Recipe,
) -> anyhow::Result<(Samples, Samples)> {
    let (mut samples, drawn) = match (read, drawn) {
        (Some(read), drawn) => (read, drawn),
        (None, Some(drawn)) => (drawn.into(), None),
        (None, None) => bail!("no samples: expected --data, --topic or --drawn"),
    };
    let held_out = samples.split_off_last(recipe.held_out(samples.len()));
    let Some(drawn) = drawn else { return Ok((samples, held_out)) };
    let shape = samples.shape().to_vec();
    let both = match samples {
        Samples::Bytes(samples) => samples.concat(&drawn),
        Samples::Numbers(_) => {
            bail!("the samples are no bytes, expected bytes to add drawn digits")
        }
    };
    let both = both.ok_or_else(|| {
        anyhow!("the samples are {shape:?}, expected {:?} to add drawn digits", drawn.shape)
    })?;
    Ok((both.into(), held_out))
}

fn from_path(path: &Path) -> anyhow::Result<Samples> {
    if path.is_dir() {
        return Ok(idx::read(path, Split::Train)?.into());
    }
    Ok(match npz::read(path, Split::Train)? {
        Labelled::Bytes(dataset) => Samples::Bytes(dataset),
        Labelled::Numbers(dataset) => Samples::Numbers(dataset),
    })
}
