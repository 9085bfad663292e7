//! `offramp deploy lint`.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use deploy::lint::{self, Edition, Severity, Source};

use crate::outcome::OrConfig as _;

/// Check anybody's artefacts for what their platform accepts and yet does otherwise than meant.
///
/// Keys that it does not know, replicas above partitions, limits that it refuses, time-outs that contradict each other,
/// triggers that nobody serves. Files that belong together are to be given together. Ends with 1 if there are errors.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Files, or folders with .yaml, .yml and .service files.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Partitions of a topic, as TOPIC=N; may be given several times.
    #[arg(long, value_name = "TOPIC=N", value_parser = partitions)]
    partitions: Vec<(String, u32)>,
    /// Which OpenFaaS it is for: `community`, whose limits hold, or `commercial`.
    #[arg(long, default_value = "community", value_parser = edition)]
    edition: Edition,
}

fn partitions(text: &str) -> Result<(String, u32), String> {
    let pair =
        text.rsplit_once('=').and_then(|(topic, n)| Some((topic.to_owned(), n.parse().ok()?)));
    pair.filter(|(topic, n)| !topic.is_empty() && 0 < *n)
        .ok_or_else(|| "expected TOPIC=N, as mnist.edge-input=3".to_owned())
}

fn edition(text: &str) -> Result<Edition, String> {
    match text {
        "community" => Ok(Edition::Community),
        "commercial" => Ok(Edition::Commercial),
        _ => Err("expected community or commercial".to_owned()),
    }
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let mut sources = Vec::new();
    for path in &args.files {
        if path.is_dir() {
            let before = sources.len();
            read_folder(path, &mut sources)?;
            if before == sources.len() {
                let text = format!("`{}` has no .yaml, .yml or .service files", path.display());
                return Err(anyhow::anyhow!(text)).or_config();
            }
        } else {
            sources.push(read(path).or_config()?);
        }
    }
    let partitions = args.partitions.iter().cloned().collect();
    let settings = lint::Settings { edition: args.edition, partitions };
    let findings = lint::check(&sources, &settings);
    let mut out = std::io::stdout().lock();
    for finding in &findings {
        writeln!(out, "{finding}")?;
    }
    let files = counted(sources.len(), "file");
    let errors = findings.iter().filter(|one| one.severity == Severity::Error).count();
    let warnings = counted(findings.len() - errors, "warning");
    if 0 < errors {
        bail!("{} and {warnings} in {files}", counted(errors, "error"));
    }
    writeln!(out, "ok  {files}, {warnings}")?;
    Ok(())
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

fn read(path: &Path) -> anyhow::Result<Source> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("file `{}`", path.display()))?;
    Ok(Source { name: path.display().to_string(), text })
}

fn read_folder(folder: &Path, sources: &mut Vec<Source>) -> anyhow::Result<()> {
    let entries =
        std::fs::read_dir(folder).with_context(|| format!("folder `{}`", folder.display()))?;
    let mut paths: Vec<PathBuf> =
        entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>()?;
    paths.sort();
    for path in paths {
        let is_artefact = path
            .extension()
            .is_some_and(|end| ["yaml", "yml", "service"].iter().any(|one| end == *one));
        if path.is_dir() {
            read_folder(&path, sources)?;
        } else if is_artefact {
            sources.push(read(&path)?);
        }
    }
    Ok(())
}
