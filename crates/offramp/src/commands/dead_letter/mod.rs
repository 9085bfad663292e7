//! `offramp dead-letter`: records that could not be handled, of any broker's dead-letter topics.
//!
//! A dead letter is the record as it came, with headers behind its own that say why it is there
//! (`wire::header`). What was sent back to where it came from stays in the topic, and is noted as such in
//! [`marks`], until it is purged or its retention ends.

pub(crate) mod letter;
mod list;
mod marks;
mod purge;
mod redrive;
mod show;

use clap::Subcommand;
use clap::builder::PossibleValuesParser;
use kafka::admin::Extent;
use kafka::{Event, Reader, Start};
use wire::RejectCode;

use self::letter::Letter;

/// List, show, send back and delete dead letters: records that could not be handled.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    List(list::Args),
    Show(show::Args),
    Redrive(redrive::Args),
    Purge(purge::Args),
}

pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    match args.action {
        Action::List(args) => list::run(args).await,
        Action::Show(args) => show::run(args).await,
        Action::Redrive(args) => redrive::run(args).await,
        Action::Purge(args) => purge::run(args).await,
    }
}

/// Which letters are meant, by why they are there.
#[derive(Debug, Clone, Default, clap::Args)]
struct Filter {
    /// Only letters with this code.
    #[arg(long, value_parser = codes())]
    code: Option<String>,
    /// Only letters of records that came from this topic.
    #[arg(long, value_name = "TOPIC")]
    source: Option<String>,
}

impl Filter {
    fn matches(&self, letter: &Letter) -> bool {
        let cause = letter.cause.as_ref();
        let code = cause.map(|cause| cause.code.as_str());
        let topic = cause.and_then(|cause| cause.source.as_ref()).map(|source| &source.topic);
        self.code.as_deref().is_none_or(|wanted| code == Some(wanted))
            && self.source.as_ref().is_none_or(|wanted| topic == Some(wanted))
    }
}

/// So many letters, in words.
fn letters(count: u64) -> String {
    if count == 1 { "1 letter".to_owned() } else { format!("{count} letters") }
}

fn codes() -> PossibleValuesParser {
    PossibleValuesParser::new(RejectCode::ALL.map(RejectCode::name))
}

/// A place in the topic that the command is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Position {
    partition: i32,
    offset: i64,
}

impl std::fmt::Display for Position {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.partition, self.offset)
    }
}

/// `PARTITION/OFFSET`.
fn position(text: &str) -> Result<Position, String> {
    let read = |(partition, offset): (&str, &str)| {
        Some(Position { partition: partition.parse().ok()?, offset: offset.parse().ok()? })
    };
    text.split_once('/')
        .and_then(read)
        .filter(|position| 0 <= position.partition && 0 <= position.offset)
        .ok_or_else(|| "expected PARTITION/OFFSET, as 0/17".to_owned())
}

/// The letters of one partition, from `first` on, that are there when it is opened.
struct Letters {
    reader: Reader,
    end: i64,
}

impl Letters {
    async fn open(servers: &str, topic: &str, extent: Extent, first: i64) -> anyhow::Result<Self> {
        let (partition, start) = (Some(extent.partition), Start::Offset(first.max(extent.start)));
        let reader = Reader::open(servers, &[topic], partition, start).await?;
        Ok(Self { reader, end: extent.end })
    }

    /// The next one, and where it stands. What was sent back may come again meanwhile: it is not read.
    async fn next(&self) -> anyhow::Result<Option<(Position, Letter)>> {
        match self.reader.next().await? {
            Event::Record(source, record) if source.offset < self.end => {
                let position = Position { partition: source.partition, offset: source.offset };
                Ok(Some((position, Letter::new(record))))
            }
            Event::Record(..) | Event::End => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_read() {
        assert_eq!(position("2/17"), Ok(Position { partition: 2, offset: 17 }));
        for text in ["", "17", "2/", "/2", "-1/2", "1/-2", "a/b", "1/2/3"] {
            assert!(position(text).is_err(), "{text}");
        }
    }
}
