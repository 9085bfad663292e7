//! `offramp bench report`: runs side by side, as a page, figures and text.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow, bail, ensure};
use bench::report::{files, terminal};
use bench::run::published::{self, Published, Source};
use bench::run::{Run, Weight, check, file};

use crate::commands::demo::{OutputFormat, print_json};
use crate::outcome::OrConfig as _;

/// Show what runs came to, side by side: a page with interactive charts, each chart as SVG and PNG, the figures as CSV and
/// JSON, and box plots on the terminal.
///
/// A run is a folder that `offramp bench run --save` has written, or a raw file of the published comparison (`.jsonl`). The
/// first is what others are compared with. What is wrong with a run is said.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Runs, as `[NAME=]PATH`. `PATH+PATH` are trials of one; `PATH#FIRST-LAST` takes only these lines of a published file.
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<String>,
    /// Folder for the report.
    #[arg(long, default_value = "report", value_name = "DIR")]
    out: PathBuf,
    /// Heading of the page.
    #[arg(long, default_value = "Early-exit inference: runs side by side")]
    title: String,
    /// When the devices of a published file began that carries no times of theirs, in seconds since 1970: its latencies are
    /// then made up as its authors made them up, and marked so.
    #[arg(long = "started", value_name = "NAME=SECONDS", value_parser = started)]
    started: Vec<(String, f64)>,
    /// Devices of a published file; default: as many as its answers need at 400 each.
    #[arg(long = "devices", value_name = "NAME=N", value_parser = devices)]
    devices: Vec<(String, u64)>,
    /// How to print the figures.
    #[arg(short, long, value_enum, default_value_t)]
    output: OutputFormat,
}

fn started(text: &str) -> Result<(String, f64), String> {
    let pair = text.split_once('=').and_then(|(name, seconds)| {
        let seconds: f64 = seconds.parse().ok()?;
        (seconds.is_finite() && seconds > 0.0).then(|| (name.to_owned(), seconds))
    });
    pair.ok_or_else(|| "expected NAME=SECONDS, as run-5=1682072307.728".to_owned())
}

fn devices(text: &str) -> Result<(String, u64), String> {
    let pair = text.split_once('=').and_then(|(name, devices)| {
        let devices = devices.parse().ok().filter(|devices| (1..=100_000).contains(devices))?;
        Some((name.to_owned(), devices))
    });
    pair.ok_or_else(|| "expected NAME=N, as run-5=5".to_owned())
}

/// A run as it was named, and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Named {
    name: Option<String>,
    path: PathBuf,
    lines: Option<(usize, usize)>,
}

enum Read {
    Ours(Run),
    Published(Published),
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let runs = read_all(args).or_config()?;
    let written = files::write(&args.title, &runs, &args.out)?;
    if args.output == OutputFormat::Json {
        return print_json(&files::values(&runs));
    }
    let mut out = std::io::stdout().lock();
    out.write_all(terminal::report(&runs).as_bytes())?;
    let dir = args.out.display();
    let figures = written.iter().filter(|path| path.extension().is_some_and(|end| end == "svg"));
    writeln!(
        out,
        "\n{dir}/index.html: the page; beside it {} charts as .svg and .png, figures.csv and figures.json",
        figures.count()
    )?;
    Ok(())
}

fn read_all(args: &Args) -> anyhow::Result<Vec<Run>> {
    let mut read = Vec::new();
    for text in &args.runs {
        let named = named(text)?;
        read.push(one(args, named)?);
    }
    for name in args.started.iter().map(|(name, _)| name).chain(args.devices.iter().map(|(n, _)| n))
    {
        let names: Vec<&str> = read.iter().map(name_of).collect();
        ensure!(
            names.contains(&name.as_str()),
            "no run is called `{name}`, expected one of {}",
            names.join(", ")
        );
    }
    let published: Vec<&Published> = read
        .iter()
        .filter_map(|read| match read {
            Read::Published(published) => Some(published),
            Read::Ours(_) => None,
        })
        .collect();
    let mut remarks = check::published(&published).into_iter();
    let runs = read.iter().map(|read| match read {
        Read::Ours(run) => run.clone(),
        Read::Published(published) => {
            Run { remarks: remarks.next().unwrap_or_default(), ..published.run.clone() }
        }
    });
    let runs: Vec<Run> = runs.collect();
    for (at, run) in runs.iter().enumerate() {
        if runs[..at].iter().any(|other| other.name == run.name) {
            bail!("two runs are called `{}`, expected different names: NAME=PATH", run.name);
        }
    }
    // Whoever sees a chart alone has to see it too.
    let marked = runs.into_iter().map(|run| match run.weight() {
        Some(Weight::Invalid) => Run { name: format!("{} (invalid)", run.name), ..run },
        _ => run,
    });
    Ok(marked.collect())
}

fn name_of(read: &Read) -> &str {
    match read {
        Read::Ours(run) => &run.name,
        Read::Published(published) => &published.run.name,
    }
}

fn named(text: &str) -> anyhow::Result<Named> {
    // A path may hold an equals sign; a name holds no slash.
    let split = text
        .split_once('=')
        .filter(|(name, _)| !name.is_empty() && !name.contains('/') && !Path::new(text).exists());
    let (name, rest) = split.map_or((None, text), |(name, rest)| (Some(name.to_owned()), rest));
    let (path, lines) = match rest.rsplit_once('#').filter(|_| !Path::new(rest).exists()) {
        None => (rest, None),
        Some((path, range)) => {
            let ends = range.split_once('-').and_then(|(first, last)| {
                let ends: (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
                (1 <= ends.0 && ends.0 <= ends.1).then_some(ends)
            });
            let expected =
                || anyhow!("`{text}`: lines are `{range}`, expected FIRST-LAST as 1-2000");
            (path, Some(ends.with_context(expected)?))
        }
    };
    Ok(Named { name, path: PathBuf::from(path), lines })
}

fn one(args: &Args, named: Named) -> anyhow::Result<Read> {
    let Named { name, path, lines } = named;
    let text = path.to_string_lossy();
    if text.contains('+') && !path.exists() {
        let trials = text.split('+').map(|path| file::load(Path::new(path)));
        let run = together(trials.collect::<Result<_, _>>()?)?;
        return Ok(Read::Ours(Run { name: name.unwrap_or_else(|| run.name.clone()), ..run }));
    }
    let is_lines = path.extension().is_some_and(|extension| extension == "jsonl");
    if !is_lines {
        ensure!(lines.is_none(), "`{}`: lines are of .jsonl files only", path.display());
        let mut run = file::load(&path)?;
        run.name = name.unwrap_or(run.name);
        return Ok(Read::Ours(run));
    }
    let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let name = name.unwrap_or(stem);
    let of = |given: &[(String, f64)]| given.iter().find(|(of, _)| *of == name).map(|(_, s)| *s);
    let devices = args.devices.iter().find(|(of, _)| *of == name).map(|(_, devices)| *devices);
    let source = Source { path, lines, started_s: of(&args.started), devices };
    let mut published = published::read(source)?;
    published.run.name = name;
    Ok(Read::Published(published))
}

/// Runs of the same thing as one, with the trials of all.
fn together(runs: Vec<Run>) -> anyhow::Result<Run> {
    let mut runs = runs.into_iter();
    let mut all = runs.next().context("there is a run")?;
    for run in runs {
        ensure!(
            run.tiers == all.tiers,
            "the tiers of `{}` are {}, expected {} as those of `{}`",
            run.name,
            run.tiers.join(", "),
            all.tiers.join(", "),
            all.name
        );
        all.trials.extend(run.trials);
    }
    all.remarks = check::ours(&all);
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_has_a_name_a_path_and_lines() {
        let check = |text: &str, name: Option<&str>, path: &str, lines| {
            let expected = Named { name: name.map(str::to_owned), path: path.into(), lines };
            assert_eq!(named(text).unwrap(), expected, "{text}");
        };
        check("runs/a", None, "runs/a", None);
        check("ours=runs/a", Some("ours"), "runs/a", None);
        check("x.jsonl#1-20", None, "x.jsonl", Some((1, 20)));
        check("./a=b/c", None, "./a=b/c", None);
        let error = named("x.jsonl#20-1").unwrap_err().to_string();
        assert_eq!(error, "`x.jsonl#20-1`: lines are `20-1`, expected FIRST-LAST as 1-2000");
    }

    #[test]
    fn names_with_values_are_checked() {
        assert_eq!(started("a=1.5"), Ok(("a".to_owned(), 1.5)));
        assert!(started("a=noon").is_err() && started("a").is_err());
        assert_eq!(devices("a=5"), Ok(("a".to_owned(), 5)));
        assert!(devices("a=0").is_err());
    }
}
