//! `offramp bench run`: measure whatever reads a topic and writes topics.
//!
//! Four steps, a module each: [`system`] starts what is measured, or finds it where somebody else runs it; [`load`] says
//! what is sent and when; [`trial`] sends, collects and watches once; and the run that comes of it is printed and saved
//! with its [`provenance`]. [`sweep`] does that at rising rates. [`faults`] strikes the system meanwhile.

mod faults;
mod load;
mod provenance;
mod sweep;
mod system;
mod trial;
mod watch;

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use bench::report::{Digest, terminal};
use bench::run::{Run, check, file};
use bench::usage::Watched;

use crate::commands::demo::{OutputFormat, print_json};
use crate::outcome::OrConfig as _;

/// Send records as devices do, and say what became of each: answered, lost, duplicated, late, and how fast.
///
/// What is measured is started here (`--system`), or runs already, whatever it is (`--in`, `--out`). Devices send on a
/// schedule whatever becomes of their records, and latency counts from when a record was to be sent.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    system: system::Args,
    #[command(flatten)]
    load: load::Args,
    #[command(flatten)]
    sweep: sweep::Args,
    #[command(flatten)]
    watch: WatchArgs,
    #[command(flatten)]
    trials: TrialArgs,
    #[command(flatten)]
    save: SaveArgs,
    /// How to print the result.
    #[arg(short, long, value_enum, default_value_t)]
    output: OutputFormat,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "What is looked at")]
struct WatchArgs {
    /// Processes whose CPU time and memory are measured, by id, also with a name. Those that are started here are anyway.
    #[arg(long = "pid", value_name = "[NAME=]PID", value_delimiter = ',', value_parser = Watched::process)]
    pids: Vec<Watched>,
    /// Control groups whose CPU time and memory are measured, by their folders.
    #[arg(long = "cgroup", value_name = "[NAME=]DIR", value_delimiter = ',', value_parser = Watched::control_group)]
    cgroups: Vec<Watched>,
    /// Gateway whose functions' instances are counted over time: an `offramp up` or an OpenFaaS.
    #[arg(long, value_name = "URL")]
    gateway: Option<String>,
    /// Milliseconds between two looks.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u64).range(10..=60_000))]
    sample_ms: u64,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Trials")]
struct TrialArgs {
    /// How often all of it is repeated; from two on, figures have intervals.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1000), value_name = "N")]
    repeat: u64,
    /// The first records of a trial, which are reported apart.
    #[arg(long, default_value_t = 0, value_name = "N")]
    warm_up: u64,
    /// File of blows to the system: processes that are killed, stopped, started, and commands, each at its time.
    #[arg(long, value_name = "FILE")]
    faults: Option<PathBuf>,
    /// An answer that takes longer than this counts as late, in milliseconds.
    #[arg(long, default_value_t = 1000)]
    late_ms: u64,
    /// Nothing new for this long, and the rest counts as lost, in seconds.
    #[arg(long, default_value_t = 20)]
    silence_s: u64,
    /// How long to look for duplicates once everything has been answered, in milliseconds.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(0..=600_000))]
    settle_ms: u64,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "What is kept")]
struct SaveArgs {
    /// Folder for the run: provenance, each record, CPU time, memory and instances over time. `offramp bench report`
    /// reads it.
    #[arg(long, value_name = "DIR")]
    save: Option<PathBuf>,
    /// What the run is called in figures; default: the name of its folder, or of the system.
    #[arg(long)]
    name: Option<String>,
    /// Something that a reader should know; kept with the run.
    #[arg(long, default_value = "")]
    note: String,
}

pub(super) async fn run(args: &Args) -> anyhow::Result<()> {
    let stopped = async {
        let mut stop = crate::signals::stop_on_signal()?;
        stop.said().await;
        anyhow::Ok(())
    };
    // What was started here ends with this, so a signal has to come this way.
    tokio::select! {
        result = measure(args) => result,
        stopped = stopped => stopped.and_then(|()| anyhow::bail!("stopped before the end")),
    }
}

async fn measure(args: &Args) -> anyhow::Result<()> {
    let images = load::Images::read(&args.load).or_config()?;
    let mut about = provenance::about(args, &images).await;
    let system = system::start(&args.system, args.load.encoding()).await?;
    let blows = match &args.trials.faults {
        Some(path) => faults::read(path, &system.names(&args.watch.pids)).or_config()?,
        None => Vec::new(),
    };
    system.describe(&mut about);
    let mut run = Run {
        name: name(args),
        tiers: system.tiers(),
        about,
        trials: Vec::new(),
        remarks: Vec::new(),
    };
    let trial = trial::Trial { args, system: &system, images: &images, blows: &blows };
    if args.sweep.sweep {
        return sweep::run(&trial, run).await;
    }
    let load = args.load.load(&images, args.system.join());
    run.about.load = args.load.describe();
    run.about.stages = load.schedule.stages();
    for nth in 1..=args.trials.repeat {
        let of = args.trials.repeat;
        let trial = trial.run(&load).await;
        run.trials.push(trial.with_context(|| format!("trial {nth} of {of}"))?);
    }
    drop(system);
    run.remarks = check::ours(&run);
    if let Some(dir) = &args.save.save {
        file::save(&run, dir)?;
    }
    print(args, &run)?;
    let fates = run.fates();
    ensure!(fates.lost == 0, "{} of {} records were lost", fates.lost, fates.sent);
    Ok(())
}

fn name(args: &Args) -> String {
    let folder = args.save.save.as_ref().and_then(|dir| Some(dir.file_name()?.to_string_lossy()));
    let given = args.save.name.clone().or_else(|| folder.map(std::borrow::Cow::into_owned));
    given.unwrap_or_else(|| args.system.name().to_owned())
}

fn print(args: &Args, run: &Run) -> anyhow::Result<()> {
    let digest = Digest::new(run);
    if args.output == OutputFormat::Json {
        return print_json(&digest);
    }
    let mut out = std::io::stdout().lock();
    out.write_all(terminal::report(std::slice::from_ref(run)).as_bytes())?;
    if let Some(dir) = &args.save.save {
        let dir = dir.display();
        writeln!(out, "\nsaved in {dir}; figures of it:  offramp bench report {dir}")?;
    }
    Ok(())
}

impl TrialArgs {
    fn patience(&self) -> bench::collector::Patience {
        bench::collector::Patience {
            silence: Duration::from_secs(self.silence_s),
            late: Duration::from_millis(self.late_ms),
            settle: Duration::from_millis(self.settle_ms),
        }
    }
}
