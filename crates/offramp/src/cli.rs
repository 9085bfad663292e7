//! The subcommands and the options that all of them share.

use std::num::NonZeroUsize;
use std::time::Instant;

use clap::{Parser, Subcommand};
use tokio::runtime::Builder;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;

use crate::commands::{
    autoscale, bench, broker, buffer, check, dead_letter, demo, deploy, down, function, init, lag,
    logs, model, ps, reload, scale, tail, top, topic, train, up,
};

/// Early-exit neural network inference across edge, fog and cloud.
///
/// A multi-exit network is cut into sub-models, one per tier. Each tier reads records from its topic, answers
/// the samples that it is sure of, and forwards features of the rest to the next tier.
#[derive(Debug, Parser)]
#[command(name = "offramp", version, max_term_width = 100)]
pub(crate) struct Cli {
    /// What to log to stderr: error, warn, info, debug, trace, or per crate as `warn,kafka=debug`.
    #[arg(
        long,
        global = true,
        env = "OFFRAMP_LOG",
        value_name = "FILTER",
        help_heading = "Global options"
    )]
    pub(crate) log: Option<Targets>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Demo(demo::Args),
    Init(init::Args),
    Check(check::Args),
    Up(up::Args),
    Ps(ps::Args),
    Top(top::Args),
    Logs(logs::Args),
    Scale(scale::Args),
    Autoscale(Box<autoscale::Args>),
    Reload(reload::Args),
    Down(down::Args),
    Function(function::Args),
    Broker(broker::Args),
    Topic(topic::Args),
    Lag(lag::Args),
    Buffer(buffer::Args),
    Tail(tail::Args),
    DeadLetter(dead_letter::Args),
    Bench(bench::Args),
    Model(model::Args),
    Train(train::Args),
    Deploy(deploy::Args),
}

impl Command {
    /// Services say what they do; commands that end by themselves print results and only warn.
    pub(crate) fn default_log(&self) -> LevelFilter {
        match self {
            Self::Up(_) | Self::Function(_) | Self::Broker(_) | Self::Autoscale(_) => {
                LevelFilter::INFO
            }
            _ => LevelFilter::WARN,
        }
    }

    pub(crate) fn run(self, started: Instant) -> anyhow::Result<()> {
        match self {
            Self::Demo(args) => on_runtime(demo::run(args, started)),
            Self::Init(args) => init::run(&args),
            Self::Check(args) => on_runtime(check::run(args)),
            Self::Up(args) => on_runtime(up::run(args, started)),
            Self::Ps(args) => ps::run(&args),
            Self::Top(args) => on_runtime(top::run(args)),
            Self::Logs(args) => logs::run(&args),
            Self::Scale(args) => scale::run(&args),
            Self::Autoscale(args) => on_runtime(autoscale::run(args)),
            Self::Reload(args) => reload::run(&args),
            Self::Down(args) => down::run(&args),
            Self::Function(args) => on_runtime(function::run(args)),
            Self::Broker(args) => on_few_threads(broker::run(args)),
            Self::Topic(args) => on_runtime(topic::run(args)),
            Self::Lag(args) => on_runtime(lag::run(args)),
            Self::Buffer(args) => on_runtime(buffer::run(args)),
            Self::Tail(args) => on_runtime(tail::run(args)),
            Self::DeadLetter(args) => on_runtime(dead_letter::run(args)),
            Self::Bench(args) => on_runtime(bench::run(args)),
            Self::Model(args) => model::run(args),
            Self::Train(args) => on_runtime(train::run(args)),
            Self::Deploy(args) => deploy::run(args),
        }
    }
}

fn on_runtime(command: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    run_on(&mut Builder::new_multi_thread(), command)
}

/// A broker's requests are soon answered, and each further thread that sleeps in between has to be woken: on two cores
/// two threads carried no more records than one, for half as much processor time again at 1,000 records a second.
fn on_few_threads(command: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    run_on(Builder::new_multi_thread().worker_threads(cores.div_ceil(4)), command)
}

fn run_on(
    runtime: &mut Builder,
    command: impl Future<Output = anyhow::Result<()>>,
) -> anyhow::Result<()> {
    let runtime = runtime.enable_all().build()?;
    let result = runtime.block_on(command);
    // A look for a host's address, or at standard input, that still waits must not hold the process back.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    result
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    /// Whoever mistypes a variable in an artefact is told so, and whoever does not is not.
    #[test]
    fn lint_knows_every_variable() {
        fn variables(command: &clap::Command, found: &mut Vec<String>) {
            let names = command.get_arguments().filter_map(clap::Arg::get_env);
            found.extend(names.map(|name| name.to_string_lossy().into_owned()));
            command.get_subcommands().for_each(|inner| variables(inner, found));
        }
        let mut found = Vec::new();
        variables(&Cli::command(), &mut found);
        for name in found.iter().filter_map(|name| name.strip_prefix("OFFRAMP_")) {
            assert!(::deploy::lint::VARIABLES.contains(&name), "OFFRAMP_{name}");
        }
    }
}
