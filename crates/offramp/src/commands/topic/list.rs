//! `offramp topic list`.

use std::io::Write as _;

use super::BrokerArgs;

/// List topics, with how many partitions and records each has.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    broker: BrokerArgs,
}

pub(super) async fn run(args: Args) -> anyhow::Result<()> {
    let servers = args.broker.bootstrap_servers;
    let topics = kafka::admin::topics(&servers).await?;
    let mut out = std::io::stdout();
    let width = topics.iter().map(|topic| topic.name.len()).max().unwrap_or(0).max("topic".len());
    writeln!(out, "{:<width$}{:>12}{:>14}", "topic", "partitions", "records")?;
    for topic in topics {
        let extents = kafka::admin::extents(&servers, &topic.name).await?;
        let records: i64 = extents.iter().map(|extent| extent.end - extent.start).sum();
        writeln!(out, "{:<width$}{:>12}{:>14}", topic.name, topic.partitions, records)?;
    }
    Ok(())
}
