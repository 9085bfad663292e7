//! `offramp buffer`: the records that wait for another tier's broker.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use clap::Subcommand;
use function::uplink::buffer_extent;
use kafka::KafkaError;
use pipeline::{OnLoss, Pipeline, Servers, Tier, Uplink};
use serde::Serialize;
use wire::Source;

use crate::clock;
use crate::commands::demo::{OutputFormat, print_json};
use crate::commands::pipeline_file;

/// Look at the records that wait for another tier's broker.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    Status(StatusArgs),
}

/// Show, for each tier whose next tier is on another broker, whether that broker answers, and what waits for it.
#[derive(Debug, clap::Args)]
struct StatusArgs {
    /// The pipeline file.
    #[arg(default_value = pipeline_file::DEFAULT_FILE)]
    file: PathBuf,
    /// Only this tier; may be given several times.
    #[arg(long = "tier", value_name = "NAME")]
    tiers: Vec<String>,
    /// How to print the result.
    #[arg(short, long, value_enum, default_value_t)]
    output: OutputFormat,
}

/// Time for the next tier's broker to answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// A line of the result; its field names are the JSON's.
#[derive(Debug, Serialize)]
struct Line {
    tier: String,
    next: String,
    servers: String,
    /// Whether the next tier's broker answers.
    answers: bool,
    on_loss: &'static str,
    topic: String,
    waiting: i64,
    /// Judged by the size of the oldest.
    waiting_mib: f64,
    max_mib: u64,
    when_full: &'static str,
    /// When the oldest was sent, in milliseconds since the epoch.
    oldest_ms: Option<i64>,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let Action::Status(args) = args.action;
    let pipeline = pipeline_file::read(&args.file)?;
    let selected = pipeline_file::select(&pipeline, &args.tiers)?;
    let mut lines = Vec::new();
    for at in selected {
        let tier = &pipeline.tiers[at];
        if let (Some(uplink), Some(next)) = (&tier.uplink, pipeline.next_of(tier)) {
            lines.push(line(&pipeline, tier, uplink, next).await?);
        }
    }
    if lines.is_empty() && args.output == OutputFormat::Text {
        let mut out = std::io::stdout();
        writeln!(out, "no tier has its next tier on another broker: nothing can wait")?;
        return Ok(());
    }
    print(&lines, args.output)
}

async fn line(
    pipeline: &Pipeline,
    tier: &Tier,
    uplink: &Uplink,
    next: &Tier,
) -> anyhow::Result<Line> {
    let own = address(pipeline, &tier.input.servers);
    let servers = address(pipeline, &next.input.servers);
    let buffer = &uplink.buffer;
    let answers = tokio::time::timeout(PATIENCE, kafka::admin::reach(&servers));
    let answers = matches!(answers.await, Ok(Ok(())));
    let (mut waiting, mut waiting_mib, mut oldest_ms) = (0, 0.0, None);
    if uplink.on_loss == OnLoss::Hold {
        match buffer_extent(&own, &buffer.topic.name).await {
            Ok((extent, next)) => {
                waiting = extent.end - next;
                let place = Source {
                    topic: buffer.topic.name.clone(),
                    partition: extent.partition,
                    offset: next,
                };
                if 0 < waiting
                    && let Some(oldest) = kafka::record_at(&own, &place).await?
                {
                    waiting_mib = oldest.size() as f64 * waiting as f64 / f64::from(1 << 20);
                    oldest_ms = oldest.timestamp_ms;
                }
            }
            // A tier creates it when it starts.
            Err(KafkaError::UnknownTopic { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Line {
        tier: tier.name.clone(),
        next: next.name.clone(),
        servers,
        answers,
        on_loss: uplink.on_loss.name(),
        topic: buffer.topic.name.clone(),
        waiting,
        waiting_mib,
        max_mib: buffer.max_bytes >> 20,
        when_full: buffer.when_full.name(),
        oldest_ms,
    })
}

/// Where a broker answers; the embedded one where the file has it listen.
fn address(pipeline: &Pipeline, servers: &Servers) -> String {
    match (servers, &pipeline.broker) {
        (Servers::Bootstrap(servers), _) => servers.clone(),
        (Servers::Embedded, Some(broker)) => broker.listen.to_string(),
        (Servers::Embedded, None) => unreachable!("an embedded address comes with a broker"),
    }
}

fn print(lines: &[Line], format: OutputFormat) -> anyhow::Result<()> {
    if format == OutputFormat::Json {
        return print_json(lines);
    }
    let mut out = std::io::stdout().lock();
    for (at, line) in lines.iter().enumerate() {
        if at > 0 {
            writeln!(out)?;
        }
        let answers = if line.answers { "answers" } else { "does not answer" };
        writeln!(out, "{} -> {}  broker {} {answers}", line.tier, line.next, line.servers)?;
        if line.on_loss == OnLoss::AnswerHere.name() {
            writeln!(out, "  while it is away, {} answers itself: nothing waits", line.tier)?;
            continue;
        }
        writeln!(
            out,
            "  {} records wait in {}, about {:.1} of {} MiB; when full: {}",
            line.waiting, line.topic, line.waiting_mib, line.max_mib, line.when_full
        )?;
        if let Some(oldest_ms) = line.oldest_ms {
            let ago = duration(clock::now_ms() - oldest_ms);
            writeln!(out, "  the oldest was sent {ago} ago")?;
        }
    }
    Ok(())
}

/// A duration for a person: its two largest units.
fn duration(ms: i64) -> String {
    let seconds = ms.max(0) / 1000;
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {} s", seconds % 60),
        (0, _, _) => format!("{hours} h {} min", minutes % 60),
        _ => format!("{days} d {} h", hours % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_well() {
        let shown = [900, 61_000, 3_700_000, 90_000_000].map(duration);
        assert_eq!(shown, ["0 s", "1 min 1 s", "1 h 1 min", "1 d 1 h"]);
    }
}
