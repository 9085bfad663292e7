//! `offramp dead-letter purge`.

use std::io::{BufRead as _, IsTerminal as _, Write as _};

use anyhow::{bail, ensure};
use kafka::admin::{self, Extent};
use kafka::{KafkaError, Producer};

use super::marks::Marks;
use super::{Position, position};
use crate::commands::topic::BrokerArgs;

/// Delete dead letters for good: those that are there, or only the older ones.
///
/// Says how many it is going to delete and how many of them were not sent back, and asks on a terminal.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The dead-letter topic.
    topic: String,
    /// Only letters whose record is older than a time, as `2026-11-25T13:07Z` or `@` and milliseconds since
    /// the epoch; or, as PARTITION/OFFSET, only those of that partition before that offset.
    #[arg(long, value_name = "TIME|POSITION", value_parser = before)]
    before: Option<Before>,
    /// Delete without asking.
    #[arg(short, long)]
    yes: bool,
    #[command(flatten)]
    broker: BrokerArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Before {
    Time(i64),
    Position(Position),
}

fn before(text: &str) -> Result<Before, String> {
    let time = match text.strip_prefix('@') {
        Some(ms) => ms.parse().ok().filter(|ms| 0 <= *ms),
        None => wire::time::parse(text),
    };
    match (time, position(text)) {
        (Some(time), _) => Ok(Before::Time(time)),
        (None, Ok(position)) => Ok(Before::Position(position)),
        (None, Err(_)) => {
            Err("expected a time as 2026-11-25T13:07Z, @MILLISECONDS, or PARTITION/OFFSET"
                .to_owned())
        }
    }
}

pub(super) async fn run(args: Args) -> anyhow::Result<()> {
    let servers = &args.broker.bootstrap_servers;
    let extents = admin::extents(servers, &args.topic).await?;
    let going = going(&args, &extents).await?;
    let letters: i64 = going.iter().map(|extent| extent.end - extent.start).sum();
    let mut out = std::io::stdout();
    if letters == 0 {
        writeln!(out, "nothing to delete in `{}`", args.topic)?;
        return Ok(());
    }
    let mut marks = Marks::open(servers, &args.topic).await?;
    let mut redriven = 0;
    for extent in &going {
        redriven += marks.count(*extent).await?;
    }
    let what = format!(
        "{} of `{}`, {} of them not sent back",
        super::letters(letters as u64),
        args.topic,
        (letters - redriven).max(0)
    );
    if !args.yes && !is_confirmed(&what)? {
        bail!("nothing was deleted");
    }
    let before: Vec<_> = going.iter().map(|extent| (extent.partition, extent.end)).collect();
    admin::delete_records(servers, &args.topic, &before).await?;
    marks.prune(&Producer::new(servers)?, &admin::extents(servers, &args.topic).await?).await?;
    writeln!(out, "deleted {what}")?;
    Ok(())
}

/// What of each partition is to be deleted.
async fn going(args: &Args, extents: &[Extent]) -> anyhow::Result<Vec<Extent>> {
    let ends: Vec<(i32, i64)> = match args.before {
        None => extents.iter().map(|extent| (extent.partition, extent.end)).collect(),
        Some(Before::Position(Position { partition, offset })) => {
            let extent = extents.iter().find(|extent| extent.partition == partition);
            let Some(extent) = extent else {
                let (topic, count) = (args.topic.clone(), extents.len());
                return Err(KafkaError::UnknownPartition { topic, partition, count }.into());
            };
            ensure!(
                offset <= extent.end,
                "`{}` has no letter {partition}/{offset}; partition {partition} ends at {}",
                args.topic,
                extent.end
            );
            vec![(partition, offset)]
        }
        Some(Before::Time(time)) => {
            admin::offsets_at(&args.broker.bootstrap_servers, &args.topic, time).await?
        }
    };
    let extents = extents.iter().filter_map(|extent| {
        let (_, end) = ends.iter().find(|(partition, _)| *partition == extent.partition)?;
        (extent.start < *end).then_some(Extent { end: *end, ..*extent })
    });
    Ok(extents.collect())
}

fn is_confirmed(what: &str) -> anyhow::Result<bool> {
    let stdin = std::io::stdin();
    ensure!(
        stdin.is_terminal(),
        "{what}, would be deleted for good; expected --yes, since there is no terminal to ask on"
    );
    let mut err = std::io::stderr();
    write!(err, "delete {what}? [y/N] ")?;
    err.flush()?;
    let mut answer = String::new();
    stdin.lock().read_line(&mut answer)?;
    Ok(["y", "yes"].contains(&answer.trim().to_lowercase().as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_positions_are_told_apart() {
        assert_eq!(before("@17"), Ok(Before::Time(17)));
        assert_eq!(before("2023-04-19T10:25"), Ok(Before::Time(1_681_899_900_000)));
        assert_eq!(before("1/5"), Ok(Before::Position(Position { partition: 1, offset: 5 })));
        for text in ["", "@", "@-1", "yesterday", "17", "1/x"] {
            assert!(before(text).is_err(), "{text}");
        }
    }
}
