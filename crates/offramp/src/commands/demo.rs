//! `offramp demo`: everything on this machine.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Instant;

use clap::ValueEnum;

/// Run everything on this machine: a broker, three tiers, and devices that send images of digits.
///
/// Ends with what became of every record: which tier answered, how well and how fast, and whether any was lost.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Folder with test images in MNIST's format (IDX, gzipped or not).
    ///
    /// Without it: MNIST, downloaded once; without a network: digits drawn by this program.
    #[arg(long, env = "OFFRAMP_DATA", value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Use only the first N images; the others are never shown.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) images: Option<u64>,
    /// Records to send. Images are shown in order, from the first again after the last.
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    pub(crate) records: u64,
    /// Records a second, all devices together; 0 sends as fast as it goes.
    #[arg(long, default_value_t = 500.0, value_parser = rate)]
    pub(crate) rate: f64,
    /// Devices that share the sending.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=1000))]
    pub(crate) devices: u64,
    /// Seed of the drawn digits.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Run this pipeline instead of the demo's own.
    #[arg(long, value_name = "FILE")]
    pub(crate) pipeline: Option<PathBuf>,
    /// How to print the summary.
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: OutputFormat,
}

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum OutputFormat {
    /// For a person.
    #[default]
    Text,
    /// For a program.
    Json,
}

/// Prints a result for a program.
pub(crate) fn print_json(value: &(impl serde::Serialize + ?Sized)) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    serde_json::to_writer_pretty(&mut out, value)?;
    writeln!(out)?;
    Ok(())
}

pub(crate) fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if (0.0..=1e7).contains(&rate) => Ok(rate),
        _ => Err("expected a number of records a second from 0 to 10000000".to_owned()),
    }
}

pub(crate) async fn run(args: Args, started: Instant) -> anyhow::Result<()> {
    crate::demo::run(args, started).await
}
