//! Where the demo's images come from.
//!
//! In this order: the folder given, MNIST downloaded before, MNIST downloaded now, digits drawn by the
//! program. What was taken is said.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use model::dataset::idx::Split;
use model::dataset::{Dataset, drawn, idx};

use crate::demo::download;
use crate::outcome::OrConfig as _;

/// Labelled images and where they are from.
#[derive(Debug)]
pub(crate) struct Images {
    pub(crate) dataset: Dataset,
    /// For a person, as "MNIST test images in data/mnist".
    pub(crate) origin: String,
    /// Why it is not MNIST, where it is not.
    pub(crate) remark: Option<String>,
}

impl Images {
    /// The first `count` images, or all.
    pub(crate) fn first(mut self, count: Option<u64>) -> Self {
        if let Some(count) = count {
            self.dataset = self.dataset.take(usize::try_from(count).unwrap_or(usize::MAX));
        }
        self
    }
}

/// Drawn images are made up to this many; a longer run shows them again.
const DRAWN: usize = 10_000;

/// Loads images from `data`, or from where else they are to be had.
pub(crate) fn load(data: Option<&Path>, seed: u64, wanted: u64) -> anyhow::Result<Images> {
    if let Some(dir) = data {
        return from_folder(dir).or_config();
    }
    match download::mnist() {
        Ok(dir) => from_folder(&dir),
        Err(reason) => {
            let count = DRAWN.min(usize::try_from(wanted).unwrap_or(DRAWN)).max(1);
            Ok(Images {
                dataset: drawn::draw(count, seed),
                origin: format!("digits drawn by this program (seed {seed})"),
                remark: Some(format!(
                    "MNIST is not here: {reason:#}; give a folder with it: --data DIR"
                )),
            })
        }
    }
}

fn from_folder(dir: &Path) -> anyhow::Result<Images> {
    let dataset =
        idx::read(dir, Split::Test).with_context(|| format!("images in `{}`", dir.display()))?;
    anyhow::ensure!(!dataset.is_empty(), "the images in `{}` are none", dir.display());
    Ok(Images {
        dataset,
        origin: format!("MNIST-format test images in {}", shown(dir)),
        remark: None,
    })
}

fn shown(dir: &Path) -> String {
    PathBuf::from(dir).display().to_string()
}
