//! What `offramp deploy render` writes, against published schemas.
//!
//! Packages of the Python index carry the schemas of Kubernetes and of Compose, and models of KEDA's and Knative's
//! resources. The golden files of `crates/deploy` are what is rendered, which a test of theirs holds. Where the packages
//! can't be fetched, that is said, and fails unless `--if-fetched` is given.

use std::path::PathBuf;

use anyhow::{Context as _, bail};

use crate::{peers, run};

/// Pinned: a schema that changes by itself would make yesterday's commit fail.
const PACKAGES: [&str; 3] = [
    "kubernetes-validate==1.37.0",
    "cloudcoil-models-keda==2.16.1.0",
    "cloudcoil-models-knative-serving==1.17.0.1",
];
/// Only its schema is taken: what it needs to run is older than the Python here.
const COMPOSE: &str = "docker-compose==1.29.2";

pub(crate) fn test(options: &[&str]) -> anyhow::Result<()> {
    let fetched = fetch();
    let (python, wheel) = match (fetched, options) {
        (Ok(fetched), [] | ["--if-fetched"]) => fetched,
        (Err(error), ["--if-fetched"]) => {
            eprintln!(
                "xtask: schemas could not be fetched, so nothing was held to them: {error:#}"
            );
            return Ok(());
        }
        (Err(error), []) => return Err(error),
        _ => bail!("usage: cargo xtask manifests [--if-fetched]"),
    };
    let path = |path: &PathBuf| {
        path.to_str().context("the path of the checkout is not UTF-8").map(str::to_owned)
    };
    let script = "crates/deploy/tests/schemas.py";
    run::program(&path(&python)?, &[script, "crates/deploy/tests/golden", &path(&wheel)?])
}

/// An interpreter with the packages, and the file with Compose's schema.
fn fetch() -> anyhow::Result<(PathBuf, PathBuf)> {
    let python = peers::venv("manifests", &PACKAGES)?;
    let folder = run::root().join("target").join("peers").join("compose-schema");
    let wheel = || {
        let mut files = std::fs::read_dir(&folder).ok()?.flatten().map(|entry| entry.path());
        files.find(|file| file.extension().is_some_and(|extension| extension == "whl"))
    };
    if wheel().is_none() {
        let into = folder.to_str().context("the path of the checkout is not UTF-8")?;
        let words = [
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-deps",
            "--only-binary",
            ":all:",
            "--dest",
            into,
            COMPOSE,
        ];
        run::program(python.to_str().context("the path of the checkout is not UTF-8")?, &words)
            .with_context(|| format!("{COMPOSE} could not be fetched"))?;
    }
    Ok((python, wheel().with_context(|| format!("{COMPOSE} has no wheel"))?))
}
