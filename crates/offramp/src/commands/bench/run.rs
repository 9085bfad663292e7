//! `offramp bench run`: measure whatever reads a topic and writes topics.

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bench::collector::{Answers, Patience};
use bench::payload::to_json;
use bench::process::Process;
use bench::{Collected, Collector, End, Load, Outlet, Place, Sent, devices};
use bytes::Bytes;
use clap::ValueEnum;
use model::dataset::idx::{self, Split};
use model::dataset::{Dataset, drawn};
use serde::Serialize;

use crate::commands::demo::{OutputFormat, print_json};
use crate::commands::topic::BrokerArgs;
use crate::outcome::OrConfig as _;

/// Send records as devices do, and say what became of each: answered, lost, duplicated, late, and how fast.
///
/// Records carry an id; whatever is measured has to keep their headers. Latency counts from when a record was
/// to be sent.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Topic to send to.
    #[arg(long = "in", value_name = "TOPIC")]
    input: String,
    /// Topics of answers, first tier first; separated by commas, or given several times. One on another broker is
    /// given with it: `topic@host:port`.
    #[arg(long = "out", value_name = "TOPIC[@BROKER]", value_delimiter = ',', required = true)]
    outputs: Vec<String>,
    /// Topics of dead letters.
    #[arg(long = "dead-letter", value_name = "TOPIC[@BROKER]", value_delimiter = ',')]
    dead_letters: Vec<String>,
    /// Records to send.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    records: u64,
    /// Records a second, all devices together; 0 sends as fast as it goes.
    #[arg(long, default_value_t = 1000.0, value_parser = crate::commands::demo::rate)]
    rate: f64,
    /// Devices that share the sending.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1000))]
    devices: u64,
    /// Keys that the records share; 0 gives each record its own.
    #[arg(long, default_value_t = 0)]
    keys: u64,
    /// How the images are written.
    #[arg(long, value_enum, default_value_t)]
    encoding: Encoding,
    /// Folder with test images in MNIST's format; default: digits drawn by the program.
    #[arg(long, env = "OFFRAMP_DATA", value_name = "DIR")]
    data: Option<PathBuf>,
    /// An answer that takes longer than this counts as late, in milliseconds.
    #[arg(long, default_value_t = 1000)]
    late_ms: u64,
    /// Nothing new for this long, and the rest counts as lost, in seconds.
    #[arg(long, default_value_t = 20)]
    silence_s: u64,
    /// Processes whose CPU time and memory are measured, by id.
    #[arg(long = "pid", value_name = "PID", value_delimiter = ',')]
    pids: Vec<u32>,
    /// How to print the result.
    #[arg(short, long, value_enum, default_value_t)]
    output: OutputFormat,
    #[command(flatten)]
    broker: BrokerArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum Encoding {
    /// Nested lists of numbers.
    #[default]
    Json,
    /// One byte a pixel.
    Raw,
}

/// Images that are shown in turn, where they are drawn.
const DRAWN: usize = 1000;

pub(super) async fn run(args: &Args) -> anyhow::Result<()> {
    let dataset = match &args.data {
        Some(dir) => idx::read(dir, Split::Test).or_config()?,
        None => drawn::draw(DRAWN, 1),
    };
    let servers = &args.broker.bootstrap_servers;
    let processes: Vec<Process> = args.pids.iter().map(|pid| Process::new(*pid)).collect();
    let cpu_before = cpu(&processes)?;
    let collector = Collector::start(outlets(args)).await?;
    let load = Load {
        records: args.records,
        rate: args.rate,
        devices: args.devices,
        keys: args.keys,
        payloads: Arc::new(payloads(&dataset, args)),
        labels: dataset.labels.clone(),
    };
    let (sent, sending) = devices::start(kafka::Producer::new(servers)?, &args.input, load);
    let patience = Patience {
        silence: Duration::from_secs(args.silence_s),
        late: Duration::from_millis(args.late_ms),
    };
    let bar = crate::demo::progress::Bar::new(args.records, args.output == OutputFormat::Json);
    let collected = collector.collect(&sent, patience, |now| bar.show(now, &sent)).await;
    bar.finish();
    // Whoever is still sending waits for a broker that is away, and is not waited for.
    sending.abort();
    let mut report = Report::new(args, &collected, &sent);
    if !processes.is_empty() {
        let cpu = cpu(&processes)?.saturating_sub(cpu_before);
        report.cpu_us_per_record = Some(cpu.as_secs_f64() * 1e6 / args.records as f64);
        let resident = processes.iter().map(|process| process.resident_mib());
        report.resident_mib = Some(resident.sum::<std::io::Result<f64>>()?);
    }
    report.print(args.output)?;
    anyhow::ensure!(report.lost == 0, "{} of {} records were lost", report.lost, report.records);
    Ok(())
}

fn outlets(args: &Args) -> Vec<Outlet> {
    let outlet = |topic: &String, end| {
        let own = (topic.as_str(), args.broker.bootstrap_servers.as_str());
        let (topic, servers) = topic.split_once('@').unwrap_or(own);
        Outlet { place: Place { servers: servers.to_owned(), topic: topic.to_owned() }, end }
    };
    let answers =
        args.outputs.iter().enumerate().map(|(at, topic)| outlet(topic, End::Answered(at)));
    let letters = args.dead_letters.iter().map(|topic| outlet(topic, End::DeadLettered));
    answers.chain(letters).collect()
}

fn payloads(dataset: &Dataset, args: &Args) -> Vec<Bytes> {
    let shown = dataset.len().min(args.records as usize);
    let payload = |image| match args.encoding {
        Encoding::Json => to_json(dataset.sample(image), &dataset.shape),
        Encoding::Raw => Bytes::copy_from_slice(dataset.sample(image)),
    };
    (0..shown).map(payload).collect()
}

fn cpu(processes: &[Process]) -> anyhow::Result<Duration> {
    let times = processes.iter().map(|process| process.cpu().context("a process of --pid"));
    times.sum()
}

/// The result; its field names are the JSON's.
#[derive(Debug, Serialize)]
struct Report {
    records: u64,
    answered: u64,
    lost: u64,
    duplicated: u64,
    disordered: u64,
    dead_lettered: u64,
    late: u64,
    /// Answers to what was not sent.
    unknown: u64,
    accuracy: Option<f64>,
    /// Answers over the time from the first intended send to the last answer.
    throughput_per_s: Option<f64>,
    cpu_us_per_record: Option<f64>,
    resident_mib: Option<f64>,
    tiers: Vec<TierReport>,
    all: TierReport,
}

#[derive(Debug, Serialize)]
struct TierReport {
    topic: String,
    answered: u64,
    degraded: u64,
    latency_ms_p50: f64,
    latency_ms_p90: f64,
    latency_ms_p95: f64,
    latency_ms_p99: f64,
    latency_ms_max: f64,
}

impl TierReport {
    fn new(topic: &str, answers: &Answers) -> Self {
        let ms = |percentile| answers.latency_us.value_at_percentile(percentile) as f64 / 1e3;
        Self {
            topic: topic.to_owned(),
            answered: answers.answered,
            degraded: answers.degraded,
            latency_ms_p50: ms(50.0),
            latency_ms_p90: ms(90.0),
            latency_ms_p95: ms(95.0),
            latency_ms_p99: ms(99.0),
            latency_ms_max: ms(100.0),
        }
    }
}

impl Report {
    fn new(args: &Args, collected: &Collected, sent: &Sent) -> Self {
        let answered = collected.answered();
        let correct: u64 = collected.tiers.iter().map(|tier| tier.correct).sum();
        let seconds = collected.last.map(|last| (last - sent.start()).as_secs_f64());
        let tiers = args.outputs.iter().zip(&collected.tiers);
        let tiers = tiers.map(|(topic, answers)| TierReport::new(topic, answers));
        Self {
            records: args.records,
            answered,
            lost: args.records - answered - collected.dead_lettered,
            duplicated: collected.duplicated,
            disordered: collected.disordered,
            dead_lettered: collected.dead_lettered,
            late: collected.late,
            unknown: collected.unknown,
            accuracy: (answered > 0).then(|| correct as f64 / answered as f64),
            throughput_per_s: seconds.filter(|&s| s > 0.0).map(|s| answered as f64 / s),
            cpu_us_per_record: None,
            resident_mib: None,
            tiers: tiers.collect(),
            all: TierReport::new("all", &collected.all()),
        }
    }

    fn print(&self, format: OutputFormat) -> anyhow::Result<()> {
        if format == OutputFormat::Json {
            return print_json(self);
        }
        let mut out = std::io::stdout().lock();
        let width = self.tiers.iter().map(|tier| tier.topic.len()).max().unwrap_or(0).max(6) + 2;
        writeln!(
            out,
            "{:<width$}{:>10}{:>10}{:>10}{:>10}{:>10}{:>10}{:>10}",
            "topic", "answered", "degraded", "p50 ms", "p90 ms", "p95 ms", "p99 ms", "max ms"
        )?;
        let all = (1 < self.tiers.len()).then_some(&self.all);
        for tier in self.tiers.iter().chain(all) {
            writeln!(
                out,
                "{:<width$}{:>10}{:>10}{:>10.2}{:>10.2}{:>10.2}{:>10.2}{:>10.2}",
                tier.topic,
                tier.answered,
                tier.degraded,
                tier.latency_ms_p50,
                tier.latency_ms_p90,
                tier.latency_ms_p95,
                tier.latency_ms_p99,
                tier.latency_ms_max
            )?;
        }
        writeln!(
            out,
            "\n{} records: {} answered, {} lost, {} duplicated, {} out of order, {} dead-lettered, {} late",
            self.records,
            self.answered,
            self.lost,
            self.duplicated,
            self.disordered,
            self.dead_lettered,
            self.late
        )?;
        let shown =
            |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.2}"));
        writeln!(
            out,
            "accuracy {}, {} answers/s, CPU {} us/record, resident {} MiB",
            shown(self.accuracy),
            shown(self.throughput_per_s),
            shown(self.cpu_us_per_record),
            shown(self.resident_mib)
        )?;
        Ok(())
    }
}
