//! `offramp dead-letter redrive`: sends letters back to where their records came from.
//!
//! A letter is marked as sent back ([`Marks`]) after the broker has said that the record is durable, never
//! before; and what is marked is not sent again. So a redrive that is killed at any moment loses nothing, and the
//! next one goes on where it was: it sends again at most what was under way or not marked yet ([`MARK_LETTERS`]).
//! Letters stay in the topic, whatever is selected; `purge` deletes them.
//!
//! Two redrives of one topic at the same time may each send a letter. Its record has the same `offramp-id` then.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::time::Duration;

use anyhow::{Context as _, bail};
use function::Stop;
use kafka::admin::{self, Extent};
use kafka::{Producer, SendError, record_at};
use tokio::task::JoinSet;
use tokio::time::Instant;
use wire::Record;

use super::letter::Letter;
use super::marks::{Marks, fingerprint};
use super::{Filter, Letters, Position, letters, list, position};
use crate::commands::topic::BrokerArgs;
use crate::signals::stop_on_signal;

/// Send dead letters back to the topic that each came from, to be handled again.
///
/// The record is sent as it was: key, headers, timestamp and bytes. What was sent back is noted in the topic
/// `TOPIC.redriven` and is not sent by the next redrive; it stays in the dead-letter topic until it is purged.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("selection").required(true).multiple(true))]
pub(super) struct Args {
    /// The dead-letter topic.
    topic: String,
    /// Only these letters, as `list` shows them.
    #[arg(value_name = "PARTITION/OFFSET", value_parser = position, group = "selection")]
    positions: Vec<Position>,
    /// Only letters with this code.
    #[arg(long, value_parser = super::codes(), group = "selection", conflicts_with = "positions")]
    code: Option<String>,
    /// Only letters of records that came from this topic.
    #[arg(long, value_name = "TOPIC", group = "selection", conflicts_with = "positions")]
    source: Option<String>,
    /// All letters.
    #[arg(long, group = "selection", conflicts_with_all = ["positions", "code", "source"])]
    all: bool,
    /// Send all of them to this topic instead.
    #[arg(long, value_name = "TOPIC")]
    to: Option<String>,
    /// Send again what was sent back before.
    #[arg(long)]
    again: bool,
    /// Say what would be sent, and send nothing.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    broker: BrokerArgs,
}

/// Records that wait for their acknowledgement at once.
const IN_FLIGHT: usize = 256;
/// Marks are written after so many letters or so much time, whichever comes first: with those in flight, the bound
/// on what a redrive that is killed sends again.
const MARK_LETTERS: usize = 512;
const MARK_EVERY: Duration = Duration::from_millis(200);

/// A redrive under way.
struct Redrive<'a> {
    args: &'a Args,
    filter: Filter,
    producer: Producer,
    marks: Marks,
    /// When marks were last written, and how many letters went since.
    marked: Instant,
    unmarked: usize,
    /// Topics that are there.
    topics: BTreeSet<String>,
    sending: JoinSet<Confirmed>,
    done: Done,
    stop: Stop,
}

/// A letter whose record was handed to the client, and what became of it.
struct Confirmed {
    position: Position,
    fingerprint: u32,
    topic: String,
    outcome: Result<(), SendError>,
}

/// What became of the letters.
#[derive(Debug, Default)]
struct Done {
    /// Letters sent, or that would be, by topic.
    sent: BTreeMap<String, u64>,
    before: u64,
    refused: u64,
}

pub(super) async fn run(args: Args) -> anyhow::Result<()> {
    let servers = &args.broker.bootstrap_servers;
    let extents = admin::extents(servers, &args.topic).await?;
    let marks = Marks::open(servers, &args.topic).await?;
    let topics = admin::topics(servers).await?.into_iter().map(|topic| topic.name).collect();
    let mut redrive = Redrive {
        args: &args,
        filter: Filter { code: args.code.clone(), source: args.source.clone() },
        producer: Producer::new(servers)?,
        marks,
        marked: Instant::now(),
        unmarked: 0,
        topics,
        sending: JoinSet::new(),
        done: Done::default(),
        stop: stop_on_signal()?,
    };
    if let Some(to) = &args.to {
        redrive.check_topic(to).map_err(anyhow::Error::msg)?;
    }
    if !args.dry_run {
        redrive.marks.create().await?;
        redrive.marks.prune(&redrive.producer, &extents).await?;
    }
    let outcome = redrive.all(&extents).await;
    // Whatever went wrong, what was sent is marked.
    let finished = redrive.finish().await;
    redrive.done.say(args.dry_run)?;
    outcome.and(finished)?;
    if redrive.stop.is_said() {
        bail!("stopped before all letters were sent; the next redrive goes on");
    }
    let refused = redrive.done.refused;
    anyhow::ensure!(refused == 0, "{} not sent", letters(refused));
    Ok(())
}

impl Redrive<'_> {
    async fn all(&mut self, extents: &[Extent]) -> anyhow::Result<()> {
        if self.args.positions.is_empty() {
            for extent in extents {
                self.partition(*extent).await?;
            }
            return Ok(());
        }
        // In the order in which they stand, so that marks are asked for in order.
        let mut positions = self.args.positions.clone();
        positions.sort_by_key(|position| (position.partition, position.offset));
        positions.dedup();
        for position in positions {
            if self.stop.is_said() {
                break;
            }
            let Position { partition, offset } = position;
            let place = wire::Source { topic: self.args.topic.clone(), partition, offset };
            match record_at(&self.args.broker.bootstrap_servers, &place).await? {
                Some(record) => self.letter(position, Letter::new(record)).await?,
                None => self.refuse(position, "there is no such letter"),
            }
        }
        Ok(())
    }

    async fn partition(&mut self, extent: Extent) -> anyhow::Result<()> {
        let servers = &self.args.broker.bootstrap_servers;
        let letters = Letters::open(servers, &self.args.topic, extent, extent.start).await?;
        while !self.stop.is_said() {
            let Some((position, letter)) = letters.next().await? else { break };
            if self.filter.matches(&letter) {
                self.letter(position, letter).await?;
            }
        }
        Ok(())
    }

    /// Sends a letter back, unless it was before.
    async fn letter(&mut self, position: Position, letter: Letter) -> anyhow::Result<()> {
        if self.marks.is_elsewhere(position) {
            self.finish().await?;
        }
        let redriven = self.marks.is_marked(position, &letter).await?;
        if redriven && !self.args.again {
            self.done.before += 1;
            return Ok(());
        }
        let line = self.args.dry_run.then(|| list::line(position, &letter, redriven));
        let fingerprint = fingerprint(&letter);
        let (topic, record) = match self.record(letter).await? {
            Ok(sent) => sent,
            Err(reason) => {
                self.refuse(position, &reason);
                return Ok(());
            }
        };
        if let Some(line) = line {
            writeln!(std::io::stdout(), "{line}")?;
            *self.done.sent.entry(topic).or_default() += 1;
            return Ok(());
        }
        while IN_FLIGHT <= self.sending.len() {
            self.confirmed().await?;
        }
        match self.producer.enqueue(&topic, &record).await {
            Ok(confirmation) => drop(self.sending.spawn(async move {
                Confirmed {
                    position,
                    fingerprint,
                    topic,
                    outcome: confirmation.confirmed().await.map(drop),
                }
            })),
            Err(error @ SendError::TooLarge { .. }) => self.refuse(position, &error.to_string()),
            Err(error) => return Err(error.into()),
        }
        self.unmarked += 1;
        if MARK_LETTERS <= self.unmarked || MARK_EVERY <= self.marked.elapsed() {
            while let Some(confirmed) = self.sending.try_join_next() {
                self.note(confirmed?)?;
            }
            self.write_marks().await?;
        }
        Ok(())
    }

    /// Where a letter goes, and the record that goes there; or why it can't.
    async fn record(&self, letter: Letter) -> anyhow::Result<Result<(String, Record), String>> {
        let topic = match (&self.args.to, letter.source()) {
            (Some(to), _) => to.clone(),
            (None, Some(source)) => source.topic.clone(),
            (None, None) => {
                let reason = "it does not say where it came from; --to TOPIC says where it goes";
                return Ok(Err(reason.to_owned()));
            }
        };
        if let Err(reason) = self.check_topic(&topic) {
            return Ok(Err(reason));
        }
        if letter.original.value.is_some() || letter.source().is_none() {
            return Ok(Ok((topic, letter.redriven())));
        }
        // With its headers it was larger than the dead-letter topic takes, so that its value stayed behind.
        let record = self.with_value(letter).await?;
        Ok(record.map(|record| (topic, record)))
    }

    /// A record whose letter has no value, with the value that it has where it came from.
    async fn with_value(&self, letter: Letter) -> anyhow::Result<Result<Record, String>> {
        let source = letter.source().context("the letter has a source")?.clone();
        let gone = |why: &str| {
            Ok(Err(format!("it came without its value, and {source}, where that stood, {why}")))
        };
        if !self.topics.contains(&source.topic) {
            return gone("is in a topic that does not exist any more");
        }
        let known = admin::extents(&self.args.broker.bootstrap_servers, &source.topic).await?;
        if known.iter().all(|extent| extent.partition != source.partition) {
            return gone("is in a partition that does not exist any more");
        }
        let Some(there) = record_at(&self.args.broker.bootstrap_servers, &source).await? else {
            return gone("is not there any more");
        };
        let original = &letter.original;
        if (&there.key, there.timestamp_ms) != (&original.key, original.timestamp_ms) {
            return gone("is another record now");
        }
        let mut record = letter.redriven();
        record.value = there.value;
        Ok(Ok(record))
    }

    fn check_topic(&self, topic: &str) -> Result<(), String> {
        if self.topics.contains(topic) {
            return Ok(());
        }
        let servers = &self.args.broker.bootstrap_servers;
        Err(format!("topic `{topic}` does not exist on `{servers}`; --to TOPIC sends to another"))
    }

    fn refuse(&mut self, position: Position, reason: &str) {
        self.done.refused += 1;
        // A closed stderr is no reason to stop.
        let _ = writeln!(std::io::stderr(), "letter {position} is not sent: {reason}");
    }

    async fn confirmed(&mut self) -> anyhow::Result<()> {
        match self.sending.join_next().await {
            Some(confirmed) => self.note(confirmed?),
            None => Ok(()),
        }
    }

    fn note(&mut self, confirmed: Confirmed) -> anyhow::Result<()> {
        let Confirmed { position, fingerprint, topic, outcome } = confirmed;
        match outcome {
            Ok(()) => {
                self.marks.mark(position, fingerprint);
                *self.done.sent.entry(topic).or_default() += 1;
            }
            Err(error @ SendError::TooLarge { .. }) => self.refuse(position, &error.to_string()),
            Err(error) => {
                return Err(anyhow::Error::from(error).context(format!("letter {position}")));
            }
        }
        Ok(())
    }

    /// Waits for what is under way and marks it.
    async fn finish(&mut self) -> anyhow::Result<()> {
        let mut outcome = Ok(());
        while !self.sending.is_empty() {
            outcome = outcome.and(self.confirmed().await);
        }
        self.write_marks().await?;
        outcome
    }

    async fn write_marks(&mut self) -> anyhow::Result<()> {
        self.marks.write(&self.producer).await?;
        (self.marked, self.unmarked) = (Instant::now(), 0);
        Ok(())
    }
}

impl Done {
    fn say(&self, dry_run: bool) -> anyhow::Result<()> {
        let all: u64 = self.sent.values().sum();
        let verb = if dry_run { "would be sent" } else { "sent" };
        let topics: Vec<_> =
            self.sent.iter().map(|(topic, count)| format!("{count} to {topic}")).collect();
        let mut line = format!("{} {verb}", letters(all));
        if !topics.is_empty() {
            line = format!("{line}: {}", topics.join(", "));
        }
        let line = format!("{line}; {} sent back before, {} refused", self.before, self.refused);
        writeln!(std::io::stdout(), "{line}")?;
        Ok(())
    }
}
