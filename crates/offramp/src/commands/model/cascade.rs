//! The options by which commands are given sub-models and samples for them.

use std::path::PathBuf;

use anyhow::{Context as _, ensure};
use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressStyle};
use model::dataset::idx::{self, Split};
use model::dataset::{Dataset, drawn};
use model::evaluate::Stage;
use model::{EngineKind, SubModel};
use wire::Encoding;

use crate::commands::exit_options;

/// The sub-models of a cascade.
#[derive(Debug, clap::Args)]
pub(super) struct CascadeArgs {
    /// The sub-models, from the first tier to the last.
    #[arg(required = true, value_name = "MODEL")]
    pub(super) models: Vec<PathBuf>,
    /// How features are sent up: json, f32, f16 or int8; one for each tier but the last, or one for all.
    #[arg(long, value_delimiter = ',', default_value = "json", value_name = "ENCODING",
          value_parser = exit_options::features)]
    features: Vec<Encoding>,
    /// What computes them: tract, or onnxruntime, whose library `ORT_DYLIB_PATH` names.
    #[arg(long, default_value_t)]
    engine: EngineKind,
}

/// Labelled samples.
#[derive(Debug, clap::Args)]
pub(super) struct DataArgs {
    /// Folder with images in MNIST's format (IDX, gzipped or not).
    #[arg(long, env = "OFFRAMP_DATA", value_name = "DIR", required_unless_present = "drawn")]
    data: Option<PathBuf>,
    /// Use this many digits drawn by the program instead.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000_000), conflicts_with = "data")]
    drawn: Option<u64>,
    /// Seed of the drawn digits.
    #[arg(long, default_value_t = 1, requires = "drawn")]
    seed: u64,
    /// Which part of the folder's images.
    #[arg(long, value_enum, conflicts_with = "drawn")]
    part: Option<Part>,
    /// Use only the first N images.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// Use only the last N images.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), conflicts_with = "limit")]
    last: Option<u64>,
}

/// A part of a published dataset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Part {
    /// The images to train on.
    Train,
    /// The images to measure with.
    Test,
}

impl CascadeArgs {
    /// Loads the sub-models; each leaves its exit and temperature as its file has them.
    pub(super) fn stages(&self) -> anyhow::Result<Vec<Stage>> {
        let ways = self.models.len() - 1;
        let features = per_way("--features", &self.features, ways)?;
        let mut stages = Vec::with_capacity(self.models.len());
        for (at, path) in self.models.iter().enumerate() {
            let mut stage = Stage::new(SubModel::load_for(path, self.engine)?);
            stage.features = features.get(at).copied().unwrap_or_default();
            stages.push(stage);
        }
        Ok(stages)
    }
}

impl DataArgs {
    /// Reads or draws the samples; `part` where the arguments name none.
    pub(super) fn load(&self, part: Part) -> anyhow::Result<Dataset> {
        let part = self.part.unwrap_or(part);
        let mut dataset = match (&self.data, self.drawn) {
            (_, Some(count)) => drawn::draw(count as usize, self.seed),
            (Some(dir), None) => idx::read(dir, part.into())?,
            (None, None) => anyhow::bail!("no images: expected --data DIR or --drawn N"),
        };
        if let Some(limit) = self.limit {
            dataset = dataset.take(limit as usize);
        }
        if let Some(last) = self.last {
            dataset = dataset.split_off_last(last as usize);
        }
        Ok(dataset)
    }

    /// The samples in words.
    pub(super) fn description(&self, part: Part) -> String {
        let part = self.part.unwrap_or(part);
        let mut text = match (self.drawn, part) {
            (Some(count), _) => format!("{count} drawn digits of seed {}", self.seed),
            (None, Part::Train) => "training part".to_owned(),
            (None, Part::Test) => "test part".to_owned(),
        };
        for (what, count) in [("first", self.limit), ("last", self.last)] {
            if let Some(count) = count {
                text = format!("{text}, {what} {count}");
            }
        }
        text
    }
}

impl From<Part> for Split {
    fn from(part: Part) -> Split {
        match part {
            Part::Train => Split::Train,
            Part::Test => Split::Test,
        }
    }
}

/// One value for each of `ways`; a single one is that of all.
pub(super) fn per_way<T: Clone>(option: &str, given: &[T], ways: usize) -> anyhow::Result<Vec<T>> {
    if let [all] = given {
        return Ok(vec![all.clone(); ways]);
    }
    ensure!(
        given.len() == ways,
        "{option} has {} values, expected {ways}: one for each tier but the last, or one for all",
        given.len()
    );
    Ok(given.to_vec())
}

/// A bar on stderr that counts images.
pub(super) fn progress_bar(dataset: &Dataset) -> ProgressBar {
    let bar = ProgressBar::new(dataset.len() as u64);
    let style = ProgressStyle::with_template(" [{bar:30}] {pos}/{len} images")
        .expect("the template is legal");
    bar.set_style(style.progress_chars("=> "));
    bar
}

/// Writes a figure to each of the files, as their extensions say.
pub(super) fn write_figures(
    figure: &bench::figure::Figure,
    paths: &[PathBuf],
) -> anyhow::Result<()> {
    for path in paths {
        figure.write(path).with_context(|| format!("figure `{}`", path.display()))?;
    }
    Ok(())
}

pub(super) fn percent(share: f64) -> String {
    format!("{:.2} %", share * 100.0)
}
