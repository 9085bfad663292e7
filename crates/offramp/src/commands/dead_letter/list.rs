//! `offramp dead-letter list`.

use std::collections::{BTreeMap, VecDeque};
use std::io::Write as _;

use serde_json::json;
use wire::time::date_time;

use super::letter::Letter;
use super::marks::Marks;
use super::{Filter, Letters, Position};
use crate::commands::demo::OutputFormat;
use crate::commands::topic::BrokerArgs;
use crate::record_text::one_line;

/// List dead letters: where each stands, when and why it came there, and how many there are of each kind.
///
/// With `-o json`, each line is one object; the last one, `{"letters": …, "codes": {…}}`, has the counts.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The dead-letter topic, as `mnist.edge-dead-letter`.
    topic: String,
    #[command(flatten)]
    filter: Filter,
    /// List only the newest N of each partition; all are counted.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=100_000))]
    max: Option<u64>,
    /// How to print the result.
    #[arg(short, long, value_enum, default_value_t)]
    output: OutputFormat,
    #[command(flatten)]
    broker: BrokerArgs,
}

/// Codes that are counted by their own names; the topic may hold what is not ours.
const MAX_CODES: usize = 100;

#[derive(Debug, Default)]
struct Count {
    letters: u64,
    redriven: u64,
}

pub(super) async fn run(args: Args) -> anyhow::Result<()> {
    let servers = &args.broker.bootstrap_servers;
    let extents = kafka::admin::extents(servers, &args.topic).await?;
    let mut marks = Marks::open(servers, &args.topic).await?;
    let mut counts: BTreeMap<String, Count> = BTreeMap::new();
    let mut out = std::io::stdout();
    if args.output == OutputFormat::Text {
        writeln!(out, "{}", heading())?;
    }
    for extent in extents {
        let mut newest = VecDeque::new();
        let letters = Letters::open(servers, &args.topic, extent, extent.start).await?;
        while let Some((position, letter)) = letters.next().await? {
            if !args.filter.matches(&letter) {
                continue;
            }
            let redriven = marks.is_marked(position, &letter).await?;
            let code = letter.cause.as_ref().map_or("-", |cause| cause.code.as_str());
            let code = if counts.len() < MAX_CODES { code } else { "…" };
            let count = counts.entry(one_line(code)).or_default();
            count.letters += 1;
            count.redriven += u64::from(redriven);
            let shown = match args.output {
                OutputFormat::Text => line(position, &letter, redriven),
                OutputFormat::Json => object(position, &letter, redriven).to_string(),
            };
            let Some(max) = args.max else {
                writeln!(out, "{shown}")?;
                continue;
            };
            newest.push_back(shown);
            if (max as usize) < newest.len() {
                newest.pop_front();
            }
        }
        for shown in newest {
            writeln!(out, "{shown}")?;
        }
    }
    summary(&counts, args.output)
}

fn summary(counts: &BTreeMap<String, Count>, format: OutputFormat) -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    let letters: u64 = counts.values().map(|count| count.letters).sum();
    if format == OutputFormat::Json {
        let codes: serde_json::Map<_, _> = counts
            .iter()
            .map(|(code, Count { letters, redriven })| {
                (code.clone(), json!({ "letters": letters, "redriven": redriven }))
            })
            .collect();
        writeln!(out, "{}", json!({ "letters": letters, "codes": codes }))?;
        return Ok(());
    }
    writeln!(out)?;
    for (code, Count { letters, redriven }) in counts {
        writeln!(out, "{code:<16}{letters:>10}  {redriven} sent back")?;
    }
    writeln!(out, "{}", super::letters(letters))?;
    Ok(())
}

fn heading() -> String {
    columns(["position", "time", "code", "attempts", "sent back", "source", "reason"])
}

/// A letter on one line, cut to the width of the terminal if there is one.
pub(super) fn line(position: Position, letter: &Letter, redriven: bool) -> String {
    let none = || "-".to_owned();
    let cause = letter.cause.as_ref();
    let line = columns([
        &position.to_string(),
        &letter.original.timestamp_ms.map_or_else(none, date_time),
        &cause.map_or_else(none, |cause| one_line(&cause.code)),
        &cause.and_then(|cause| cause.attempts).map_or_else(none, |n| n.to_string()),
        if redriven { "yes" } else { "-" },
        &letter.source().map_or_else(none, |source| one_line(&source.to_string())),
        &cause.map_or_else(none, |cause| one_line(&cause.reason)),
    ]);
    let width = terminal_size::terminal_size().map(|(terminal_size::Width(width), _)| width);
    match width {
        Some(width) => cut(line, usize::from(width)),
        None => line,
    }
}

fn columns([position, time, code, attempts, redriven, source, reason]: [&str; 7]) -> String {
    format!("{position:<12}{time:<26}{code:<16}{attempts:>8}  {redriven:<11}{source:<30}  {reason}")
}

fn cut(line: String, width: usize) -> String {
    match line.char_indices().nth(width) {
        None => line,
        Some(_) => line.chars().take(width.saturating_sub(1)).chain(['…']).collect(),
    }
}

fn object(position: Position, letter: &Letter, redriven: bool) -> serde_json::Value {
    let cause = letter.cause.as_ref();
    json!({
        "partition": position.partition,
        "offset": position.offset,
        "timestamp_ms": letter.original.timestamp_ms,
        "code": cause.map(|cause| &cause.code),
        "reason": cause.map(|cause| &cause.reason),
        "source": letter.source().map(ToString::to_string),
        "attempts": cause.and_then(|cause| cause.attempts),
        "redriven": redriven,
        "bytes": letter.original.value.as_ref().map(bytes::Bytes::len),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_by_characters() {
        assert_eq!(cut("äöü".to_owned(), 3), "äöü");
        assert_eq!(cut("äöüß".to_owned(), 3), "äö…");
        assert_eq!(cut("äöüß".to_owned(), 0), "…");
    }
}
