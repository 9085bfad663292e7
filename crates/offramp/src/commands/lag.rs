//! `offramp lag`: how far consumer groups have read.

use std::io::Write as _;

use serde::Serialize;

use crate::commands::demo::{OutputFormat, print_json};
use crate::commands::topic::BrokerArgs;

/// Show how far consumer groups have read, and how many records each still has before it.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The groups; default: all.
    groups: Vec<String>,
    /// How to print the result.
    #[arg(short, long, value_enum, default_value_t)]
    output: OutputFormat,
    #[command(flatten)]
    broker: BrokerArgs,
}

/// A line of the result; its field names are the JSON's.
#[derive(Debug, Serialize)]
struct Line {
    group: String,
    state: String,
    members: usize,
    topic: String,
    partition: i32,
    committed: i64,
    end: i64,
    lag: i64,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let servers = &args.broker.bootstrap_servers;
    let groups = kafka::admin::groups(servers).await?;
    for name in &args.groups {
        anyhow::ensure!(
            groups.iter().any(|group| group.name == *name),
            "group `{name}` does not exist on `{servers}`; expected {}",
            match groups.iter().map(|group| format!("`{}`", group.name)).collect::<Vec<_>>() {
                names if names.is_empty() => "one that a consumer has joined".to_owned(),
                names => format!("one of {}", names.join(", ")),
            }
        );
    }
    let mut lines = Vec::new();
    for group in groups {
        if !args.groups.is_empty() && !args.groups.contains(&group.name) {
            continue;
        }
        for progress in kafka::admin::progress(servers, &group.name).await? {
            lines.push(Line {
                group: group.name.clone(),
                state: group.state.clone(),
                members: group.members,
                partition: progress.extent.partition,
                committed: progress.committed,
                end: progress.extent.end,
                lag: progress.lag(),
                topic: progress.topic,
            });
        }
    }
    print(&lines, args.output)
}

fn print(lines: &[Line], format: OutputFormat) -> anyhow::Result<()> {
    if format == OutputFormat::Json {
        return print_json(lines);
    }
    let mut out = std::io::stdout().lock();
    let width = |heading: &str, of: fn(&Line) -> usize| {
        lines.iter().map(of).max().unwrap_or(0).max(heading.len()) + 2
    };
    let (group, topic) = (width("group", |l| l.group.len()), width("topic", |l| l.topic.len()));
    writeln!(
        out,
        "{:<group$}{:<12}{:>8}  {:<topic$}{:>9}{:>12}{:>12}{:>10}",
        "group", "state", "members", "topic", "partition", "committed", "end", "lag"
    )?;
    for line in lines {
        writeln!(
            out,
            "{:<group$}{:<12}{:>8}  {:<topic$}{:>9}{:>12}{:>12}{:>10}",
            line.group,
            line.state,
            line.members,
            line.topic,
            line.partition,
            line.committed,
            line.end,
            line.lag
        )?;
    }
    Ok(())
}
