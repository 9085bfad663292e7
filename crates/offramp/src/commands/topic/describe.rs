//! `offramp topic describe`.

use std::io::Write as _;

use super::BrokerArgs;

/// Show a topic's partitions and settings.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The topic.
    topic: String,
    #[command(flatten)]
    broker: BrokerArgs,
}

pub(super) async fn run(args: Args) -> anyhow::Result<()> {
    let servers = &args.broker.bootstrap_servers;
    let extents = kafka::admin::extents(servers, &args.topic).await?;
    let settings = kafka::admin::settings(servers, &args.topic).await?;
    let mut out = std::io::stdout();
    writeln!(out, "{:<12}{:>14}{:>14}{:>14}", "partition", "start", "end", "records")?;
    for extent in extents {
        let records = extent.end - extent.start;
        writeln!(
            out,
            "{:<12}{:>14}{:>14}{:>14}",
            extent.partition, extent.start, extent.end, records
        )?;
    }
    writeln!(out)?;
    for setting in settings {
        let origin = if setting.is_set { "" } else { "  (default)" };
        writeln!(out, "{}={}{origin}", setting.name, setting.value)?;
    }
    Ok(())
}
