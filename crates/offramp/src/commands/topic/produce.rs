//! `offramp topic produce`: records from standard input or from files.

use std::path::PathBuf;

use anyhow::Context as _;
use bytes::Bytes;
use kafka::Producer;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::task::JoinSet;
use wire::{Header, Record};

use super::{BrokerArgs, pair};
use crate::outcome::OrConfig as _;

/// Records that wait for their acknowledgement at once.
const IN_FLIGHT: usize = 1024;

/// Write records to a topic: each line of standard input is one, or each file given.
///
/// Ends once the broker has acknowledged all of them.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The topic; the broker may create it.
    topic: String,
    /// Files that are one record each; default: the lines of standard input.
    files: Vec<PathBuf>,
    /// Key of every record.
    #[arg(short, long, conflicts_with = "key_separator")]
    key: Option<String>,
    /// What separates a line's key from its value.
    #[arg(long, value_name = "TEXT", conflicts_with = "files")]
    key_separator: Option<String>,
    /// A header of every record; may be given several times.
    #[arg(short = 'H', long = "header", value_name = "NAME=VALUE", value_parser = pair)]
    headers: Vec<(String, String)>,
    #[command(flatten)]
    broker: BrokerArgs,
}

pub(super) async fn run(args: Args) -> anyhow::Result<()> {
    kafka::admin::reach(&args.broker.bootstrap_servers).await?;
    let producer = Producer::new(&args.broker.bootstrap_servers)?;
    let mut sending = JoinSet::new();
    let mut send = async |record: Record| -> anyhow::Result<()> {
        if IN_FLIGHT <= sending.len() {
            confirmed(sending.join_next().await)?;
        }
        let confirmation = producer.enqueue(&args.topic, &record).await?;
        sending.spawn(confirmation.confirmed());
        Ok(())
    };
    for file in &args.files {
        let value = std::fs::read(file).with_context(|| file.display().to_string()).or_config()?;
        send(record(&args, args.key.as_deref(), value)).await?;
    }
    if args.files.is_empty() {
        let mut lines = BufReader::new(tokio::io::stdin()).lines();
        while let Some(line) = lines.next_line().await.context("standard input")? {
            let (key, value) = match &args.key_separator {
                None => (args.key.as_deref(), line.as_str()),
                Some(separator) => {
                    let split = line.split_once(separator.as_str());
                    let (key, value) = split.with_context(|| {
                        format!("line `{line}` has no `{separator}` after its key")
                    })?;
                    (Some(key), value)
                }
            };
            send(record(&args, key, value.as_bytes().to_vec())).await?;
        }
    }
    while let sent @ Some(_) = sending.join_next().await {
        confirmed(sent)?;
    }
    Ok(())
}

type Sent = Result<Result<i64, kafka::SendError>, tokio::task::JoinError>;

fn confirmed(sent: Option<Sent>) -> anyhow::Result<()> {
    sent.map_or(Ok(()), |sent| sent.context("sending panicked")?.map(drop).map_err(Into::into))
}

fn record(args: &Args, key: Option<&str>, value: Vec<u8>) -> Record {
    let header = |(name, value): &(String, String)| Header::new(name, Bytes::from(value.clone()));
    Record {
        key: key.map(|key| Bytes::from(key.to_owned())),
        headers: args.headers.iter().map(header).collect(),
        timestamp_ms: None,
        value: Some(value.into()),
    }
}
