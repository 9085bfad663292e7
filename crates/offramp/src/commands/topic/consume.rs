//! `offramp topic consume`: records to standard output.

use std::io::Write as _;

use clap::ValueEnum;
use kafka::{Event, Reader, Start};

use super::BrokerArgs;
use crate::record_text;

/// Print the records of a topic, without joining a group.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The topic.
    topic: String,
    /// Where to begin: `beginning`, `end`, an offset, `-N` for the last N records of each partition, or
    /// `@TIME` for the first that are not older than TIME, in milliseconds since the epoch.
    #[arg(short, long, default_value = "beginning", value_parser = start, allow_hyphen_values = true)]
    from: Start,
    /// Only this partition.
    #[arg(short, long)]
    partition: Option<i32>,
    /// End after this many records.
    #[arg(short, long)]
    count: Option<u64>,
    /// End once everything that was there at first has been printed, instead of waiting for more.
    #[arg(short, long)]
    exit: bool,
    /// How to print records.
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
    #[command(flatten)]
    broker: BrokerArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum Format {
    /// The values, one a line.
    #[default]
    Value,
    /// Place, time, key, headers and value, on a line of text.
    Text,
    /// The same as JSON, a line each; bytes that are not UTF-8 as base64.
    Json,
    /// The bytes of the values and nothing else.
    Raw,
}

fn start(text: &str) -> Result<Start, String> {
    let number = |text: &str| text.parse::<i64>().ok().filter(|number| 0 <= *number);
    let parsed = match text {
        "beginning" => Some(Start::Beginning),
        "end" => Some(Start::End),
        text => match (text.strip_prefix('-'), text.strip_prefix('@')) {
            (Some(count), _) => number(count).map(Start::Last),
            (_, Some(time)) => number(time).map(Start::Time),
            _ => number(text).map(Start::Offset),
        },
    };
    parsed.ok_or_else(|| "expected `beginning`, `end`, OFFSET, -COUNT or @TIME".to_owned())
}

pub(super) async fn run(args: Args) -> anyhow::Result<()> {
    let servers = &args.broker.bootstrap_servers;
    let reader = Reader::open(servers, &[&args.topic], args.partition, args.from).await?;
    let mut out = std::io::stdout();
    let mut left = args.count.unwrap_or(u64::MAX);
    while 0 < left {
        match reader.next().await? {
            Event::End if args.exit => break,
            Event::End => {}
            Event::Record(source, record) => {
                match args.output {
                    Format::Value => {
                        out.write_all(record.value.as_deref().unwrap_or_default())?;
                        out.write_all(b"\n")?;
                    }
                    Format::Raw => out.write_all(record.value.as_deref().unwrap_or_default())?,
                    Format::Text => writeln!(out, "{}", record_text::line(&source, &record))?,
                    Format::Json => writeln!(out, "{}", record_text::json(&source, &record))?,
                }
                left -= 1;
            }
        }
    }
    out.flush()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_to_begin_at_are_understood() {
        assert_eq!(start("beginning"), Ok(Start::Beginning));
        assert_eq!(start("end"), Ok(Start::End));
        assert_eq!(start("17"), Ok(Start::Offset(17)));
        assert_eq!(start("-5"), Ok(Start::Last(5)));
        assert_eq!(start("@1700000000000"), Ok(Start::Time(1_700_000_000_000)));
        for text in ["", "-", "--5", "@", "@-1", "middle", "1.5"] {
            assert!(start(text).is_err(), "{text}");
        }
    }
}
