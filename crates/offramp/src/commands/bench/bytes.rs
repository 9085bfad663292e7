//! `offramp bench bytes`: what the edge sends up for each sample, in bytes of the log.
//!
//! The demo's edge tier runs once with each way to write features, on a broker of this process. What it forwards is
//! counted where it arrives: the bytes of the fog's topic, which stores batches as producers send them, and the parts
//! of its records. Beside it stands what there would be without a tier at the edge: the same images sent the same
//! way, as raw bytes and as the paper's JSON. Requests, acknowledgements and TCP are not counted anywhere.
//!
//! The batches of what was forwarded depend on how much comes at once: at a low rate each sample is a batch of its
//! own, with the 61 bytes of a batch's header. So the rate is part of the result, and what compression would do is
//! measured for samples alone and together.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use bench::collector::Patience;
use bench::payload::to_json;
use bench::{Collector, End, Headers, Join, Load, Outlet, Place, Schedule, devices};
use broker::{Broker, BrokerConfig};
use bytes::Bytes;
use kafka::{Compression, Event, Producer, Reader, Start, admin};
use model::dataset::idx::{self, Split};
use model::dataset::{Dataset, drawn};
use serde::Serialize;
use tokio::task::JoinSet;
use wire::{Encoding, Record};

use crate::commands::demo::{OutputFormat, print_json};
use crate::demo::pipeline::{demo, sub_models};
use crate::outcome::OrConfig as _;
use crate::thread::Thread;
use crate::tiers::{Tiers, no_functions};

/// Measure what the demo's edge tier sends up for each sample, in bytes, with features written in each way.
///
/// Beside it: the same images sent as raw bytes and as the paper's JSON. Counted are the bytes of topics: keys,
/// headers, values and the framing of records and batches.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Images to send.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    records: u64,
    /// Images a second; 0 sends as fast as it goes. The fewer, the less shares a batch's header.
    #[arg(long, default_value_t = 1000.0, value_parser = crate::commands::demo::rate)]
    rate: f64,
    /// Folder with test images in MNIST's format; default: digits drawn by the program.
    #[arg(long, env = "OFFRAMP_DATA", value_name = "DIR")]
    data: Option<PathBuf>,
    /// How to print the result.
    #[arg(short, long, value_enum, default_value_t)]
    output: OutputFormat,
}

/// Images that are shown in turn, where they are drawn.
const DRAWN: usize = 10_000;
/// Nothing new for this long, and the run has failed.
const SILENCE: Duration = Duration::from_secs(20);
/// What is sent again, compressed, at most: enough for a median, and not long when each waits for a sync.
const COMPRESSED: usize = 300;

/// The result; its field names are the JSON's.
#[derive(Debug, Serialize)]
struct Report {
    images: String,
    samples: u64,
    rate_per_s: f64,
    /// A record of the raw image: 784 bytes, a key and headers.
    raw_image_bytes: f64,
    /// A record of the image in the paper's JSON.
    json_image_bytes: f64,
    /// The body with which the paper's connector sends that image to a function, without HTTP's headers.
    paper_body_bytes: f64,
    features: Vec<Uplink>,
}

/// What was forwarded with one way to write features.
#[derive(Debug, Serialize)]
struct Uplink {
    encoding: &'static str,
    forwarded: u64,
    share: f64,
    /// Of a forwarded sample: mean bytes of each part, and of all.
    value_bytes: f64,
    key_bytes: f64,
    headers_bytes: f64,
    framing_bytes: f64,
    forwarded_bytes: f64,
    /// Of each header, name and value.
    bytes_by_header: BTreeMap<String, f64>,
    /// Over all samples, forwarded or not.
    bytes_per_sample: f64,
    fewer_than_raw: f64,
    fewer_than_json: f64,
    fewer_than_paper_body: f64,
    /// A forwarded sample's bytes when batches are compressed.
    compressed: Vec<Compressed>,
}

#[derive(Debug, Serialize)]
struct Compressed {
    compression: &'static str,
    alone_bytes: f64,
    together_bytes: f64,
}

pub(super) async fn run(args: &Args) -> anyhow::Result<()> {
    let (dataset, images) = if let Some(dir) = &args.data {
        (idx::read(dir, Split::Test).or_config()?, format!("of {}", dir.display()))
    } else {
        let count = DRAWN.min(args.records as usize);
        (drawn::draw(count, 1), "drawn by the program".to_owned())
    };
    let shown = |image: usize| dataset.sample(image % dataset.len());
    let mean = |bytes: &dyn Fn(&[u8]) -> usize| {
        let all: usize = (0..args.records as usize).map(|at| bytes(shown(at))).sum();
        all as f64 / args.records as f64
    };
    let mut report = Report {
        images,
        samples: args.records,
        rate_per_s: args.rate,
        raw_image_bytes: without_tiers(args, &dataset, Encoding::U8).await?,
        json_image_bytes: without_tiers(args, &dataset, Encoding::Json).await?,
        paper_body_bytes: mean(&|sample| paper_body(sample, &dataset.shape)),
        features: Vec::new(),
    };
    for encoding in Encoding::OF_FEATURES {
        let forwarded = with_tier(args, &dataset, encoding, &report).await?;
        report.features.push(forwarded);
    }
    report.print(args.output)
}

fn load(args: &Args, dataset: &Dataset, encoding: Encoding) -> Load {
    let shown = dataset.len().min(args.records as usize);
    let payload = |image| match encoding {
        Encoding::Json => to_json(dataset.sample(image), &dataset.shape),
        _ => Bytes::copy_from_slice(dataset.sample(image)),
    };
    Load {
        records: args.records,
        schedule: Schedule::even(args.rate),
        devices: 1,
        keys: 0,
        payloads: Arc::new((0..shown).map(payload).collect()),
        labels: Vec::new(),
        join: Join::Id,
        headers: Headers::Ids,
    }
}

/// Bytes for each image that devices send.
async fn without_tiers(args: &Args, dataset: &Dataset, encoding: Encoding) -> anyhow::Result<f64> {
    const TOPIC: &str = "images";
    let log = tempfile::tempdir().context("a temporary folder for the broker's log")?;
    let broker = start_broker(&log).await?;
    broker.create_topic(TOPIC, 1).await?;
    let producer = Producer::new(broker.advertised())?;
    let (sent, sending) = devices::start(producer, TOPIC, load(args, dataset, encoding));
    sending.await.context("a device panicked")?;
    ensure!(sent.confirmed() == args.records, "not all images could be sent");
    let bytes = bytes_of(&broker, TOPIC);
    broker.shutdown().await?;
    Ok(bytes? / args.records as f64)
}

/// What the edge tier forwards.
async fn with_tier(
    args: &Args,
    dataset: &Dataset,
    features: Encoding,
    images: &Report,
) -> anyhow::Result<Uplink> {
    let log = tempfile::tempdir().context("a temporary folder for the broker's log")?;
    let broker = start_broker(&log).await?;
    let servers = broker.advertised().to_owned();
    let thread = Thread::start().context("a thread for the tier")?;
    let (mut pipeline, sub_models) = (demo(), sub_models()?);
    pipeline.tiers[0].encoding = Encoding::U8;
    pipeline.tiers[0].features = features;
    let (edge, up) = (&pipeline.tiers[0], pipeline.tiers[1].input.name.clone());
    let (stopper, stop) = function::stop::channel();
    let mut running =
        Tiers::start(&pipeline, &[0], &sub_models, servers.clone(), &no_functions, &stop, &thread)
            .await?;
    let outlet = |topic: &str, end| Outlet {
        place: Place { servers: servers.clone(), topic: topic.to_owned() },
        end,
    };
    let collector = Collector::start(vec![
        outlet(&edge.output.name, End::Answered(0)),
        outlet(&up, End::Answered(1)),
        outlet(&edge.dead_letter.name, End::DeadLettered),
    ])
    .await?;
    running.ready().await;
    let load = load(args, dataset, Encoding::U8);
    let (sent, sending) = devices::start(Producer::new(&servers)?, &edge.input.name, load);
    let patience = Patience { silence: SILENCE, late: Duration::MAX, settle: Duration::ZERO };
    let collected = collector.collect(&sent, patience, |_| ()).await;
    sending.abort();
    stopper.stop();
    running.ended().await?;
    ensure!(
        collected.answered() == args.records,
        "{} of {} images were answered or forwarded",
        collected.answered(),
        args.records
    );
    let records = all(&servers, &up).await?;
    let bytes = bytes_of(&broker, &up)?;
    let mut forwarded = Uplink::new(args, features, &records, bytes, images);
    for compression in Compression::ALL {
        forwarded.compressed.push(compressed(&broker, &records, compression).await?);
    }
    broker.shutdown().await?;
    Ok(forwarded)
}

async fn start_broker(log: &tempfile::TempDir) -> anyhow::Result<Broker> {
    let listen = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    Ok(Broker::start(BrokerConfig::new(log.path(), listen)).await?)
}

/// Bytes of a topic's log.
fn bytes_of(broker: &Broker, topic: &str) -> anyhow::Result<f64> {
    let partitions = broker.monitor().partitions().context("the broker has stopped")?;
    let own = partitions.iter().filter(|partition| partition.topic == topic);
    Ok(own.map(|partition| partition.bytes as f64).sum())
}

async fn all(servers: &str, topic: &str) -> anyhow::Result<Vec<Record>> {
    let reader = Reader::open(servers, &[topic], None, Start::Beginning).await?;
    let mut records = Vec::new();
    while let Event::Record(_, record) = reader.next().await? {
        records.push(record);
    }
    Ok(records)
}

/// Sends records again, one by one and all at once.
async fn compressed(
    broker: &Broker,
    records: &[Record],
    compression: Compression,
) -> anyhow::Result<Compressed> {
    let records = &records[..records.len().min(COMPRESSED)];
    let producer = Producer::compressing(broker.advertised(), compression)?;
    let name = compression.name();
    let (alone, together) = (format!("{name}-alone"), format!("{name}-together"));
    kafka_topics(broker, [&alone, &together]).await?;
    for record in records {
        producer.send(&alone, record).await?;
    }
    let mut sending = JoinSet::new();
    for record in records {
        sending.spawn(producer.enqueue(&together, record).await?.confirmed());
    }
    while let Some(sent) = sending.join_next().await {
        sent.context("sending panicked")??;
    }
    let of_each = |topic: &str| {
        Ok::<_, anyhow::Error>(bytes_of(broker, topic)? / records.len().max(1) as f64)
    };
    Ok(Compressed {
        compression: name,
        alone_bytes: of_each(&alone)?,
        together_bytes: of_each(&together)?,
    })
}

async fn kafka_topics(broker: &Broker, topics: [&String; 2]) -> anyhow::Result<()> {
    for topic in topics {
        admin::create_topic(broker.advertised(), topic, Some(1), &[]).await?;
    }
    Ok(())
}

/// Bytes of the body that the paper's connector POSTs for an image: kafkajs' message with the value parsed, written
/// again by `JSON.stringify`.
fn paper_body(sample: &[u8], shape: &[usize]) -> usize {
    const AROUND: &str = concat!(
        r#"{"magicByte":2,"attributes":0,"timestamp":"1681899936418","offset":"0","#,
        r#""key":"6116c661-0000-0000-0000-000000000000","value":,"#,
        r#""headers":{"X-INFERENCE-TS":"1681899936.417709"},"isControlRecord":false,"#,
        r#""batchContext":{"firstOffset":"0","firstTimestamp":"1681899936418","partitionLeaderEpoch":0,"#,
        r#""inTransaction":false,"isControlBatch":false,"lastOffsetDelta":0,"producerId":"-1","#,
        r#""producerEpoch":0,"firstSequence":0,"maxTimestamp":"1681899936418","timestampType":0,"magicByte":2}}"#,
    );
    let value = to_json(sample, shape);
    AROUND.len() + value.iter().filter(|&&byte| byte != b' ').count()
}

impl Uplink {
    fn new(
        args: &Args,
        features: Encoding,
        records: &[Record],
        bytes: f64,
        images: &Report,
    ) -> Self {
        let count = records.len().max(1) as f64;
        let mean =
            |of: &dyn Fn(&Record) -> usize| records.iter().map(of).sum::<usize>() as f64 / count;
        let mut by_header: BTreeMap<String, f64> = BTreeMap::new();
        for header in records.iter().flat_map(|record| &record.headers) {
            let bytes = header.name.len() + header.value.as_ref().map_or(0, Bytes::len);
            *by_header.entry(header.name.clone()).or_default() += bytes as f64 / count;
        }
        let value_bytes = mean(&|record| record.value.as_ref().map_or(0, Bytes::len));
        let key_bytes = mean(&|record| record.key.as_ref().map_or(0, Bytes::len));
        let headers_bytes = by_header.values().sum();
        let (forwarded_bytes, bytes_per_sample) = (bytes / count, bytes / args.records as f64);
        Self {
            encoding: features.name(),
            forwarded: records.len() as u64,
            share: records.len() as f64 / args.records as f64,
            value_bytes,
            key_bytes,
            headers_bytes,
            framing_bytes: forwarded_bytes - value_bytes - key_bytes - headers_bytes,
            forwarded_bytes,
            bytes_by_header: by_header,
            bytes_per_sample,
            fewer_than_raw: images.raw_image_bytes / bytes_per_sample,
            fewer_than_json: images.json_image_bytes / bytes_per_sample,
            fewer_than_paper_body: images.paper_body_bytes / bytes_per_sample,
            compressed: Vec::new(),
        }
    }
}

impl Report {
    fn print(&self, format: OutputFormat) -> anyhow::Result<()> {
        if format == OutputFormat::Json {
            return print_json(self);
        }
        let mut out = std::io::stdout().lock();
        let Self { images, samples, rate_per_s, raw_image_bytes, json_image_bytes, .. } = self;
        let rate = if *rate_per_s > 0.0 {
            format!("{rate_per_s} a second")
        } else {
            "as fast as it goes".to_owned()
        };
        writeln!(out, "{samples} images {images}, {rate}")?;
        writeln!(
            out,
            "sent whole, each takes {raw_image_bytes:.0} bytes raw, {json_image_bytes:.0} as the paper's JSON; the \
             body of the paper's call has {:.0}\n",
            self.paper_body_bytes
        )?;
        writeln!(
            out,
            "{:<10}{:>10}{:>8}{:>7}{:>9}{:>9}{:>7}  {:>12}  {:>16}{:>16}{:>16}",
            "features",
            "forwarded",
            "value",
            "key",
            "headers",
            "framing",
            "all",
            "up a sample",
            "fewer than raw",
            "than its JSON",
            "than its body"
        )?;
        for up in &self.features {
            writeln!(
                out,
                "{:<10}{:>8.2} %{:>8.1}{:>7.1}{:>9.1}{:>9.1}{:>7.1}  {:>12.2}  {:>14.1} x{:>14.1} x{:>14.1} x",
                up.encoding,
                up.share * 100.0,
                up.value_bytes,
                up.key_bytes,
                up.headers_bytes,
                up.framing_bytes,
                up.forwarded_bytes,
                up.bytes_per_sample,
                up.fewer_than_raw,
                up.fewer_than_json,
                up.fewer_than_paper_body
            )?;
        }
        if let Some(smallest) = self.features.last() {
            let headers: Vec<_> = smallest
                .bytes_by_header
                .iter()
                .map(|(name, bytes)| format!("{name} {bytes:.1}"))
                .collect();
            writeln!(
                out,
                "\nheaders of {}, names with values: {}",
                smallest.encoding,
                headers.join(", ")
            )?;
        }
        writeln!(
            out,
            "\n{:<10}{:<14}{:>16}{:>20}",
            "features", "compression", "a sample alone", "of many together"
        )?;
        for up in &self.features {
            for Compressed { compression, alone_bytes, together_bytes } in &up.compressed {
                let encoding = up.encoding;
                writeln!(
                    out,
                    "{encoding:<10}{compression:<14}{alone_bytes:>16.1}{together_bytes:>20.1}"
                )?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_papers_body_is_counted_without_spaces() {
        let empty = paper_body(&[0], &[1, 1]) - "[[[0]]]".len();
        assert_eq!(paper_body(&[0, 255, 7, 12], &[2, 2]), empty + "[[[0,255],[7,12]]]".len());
    }
}
