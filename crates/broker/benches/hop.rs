//! Measures one hop: producer, broker, consumer, over loopback.
//!
//! ```text
//! cargo bench -p broker --bench hop -- latency [records/s] [seconds] [bytes] [linger ms]
//! cargo bench -p broker --bench hop -- throughput [records] [bytes]
//!     --servers HOST:PORT    a broker that runs already; default: one in this process, on a temporary directory
//!     --pid PID              that broker's process, whose CPU time and memory are measured
//!     --set NAME=VALUE       a setting of the topic that is used
//! ```
//!
//! Latency is from the moment a record was due to be sent, whether or not the sender was late, to the moment
//! the consumer has it. The first tenth of a run warms up and is left out. The broker in this process syncs
//! before it acknowledges; `TMPDIR` chooses its disk. Prints `name=value` pairs, a line for each thing
//! measured.

use std::error::Error;
use std::io::Write;
use std::time::{Duration, Instant};

use broker::{Broker, BrokerConfig};
use hdrhistogram::Histogram;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};

const PATIENCE: Duration = Duration::from_secs(60);
/// The kernel counts CPU time in units of 10 ms (`USER_HZ`, the same on all Linux).
const TICK: Duration = Duration::from_millis(10);

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// Where records go, and whose resources they take.
#[derive(Debug, Clone)]
struct Place {
    servers: String,
    topic: String,
    pid: Option<u32>,
}

#[tokio::main]
async fn main() -> Outcome<()> {
    let mut words: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let mut option = |name: &str| {
        let at = words.iter().position(|word| word == name)?;
        (at + 1 < words.len()).then(|| words.drain(at..at + 2).nth(1)).flatten()
    };
    let servers = option("--servers");
    let pid = option("--pid").map(|pid| pid.parse()).transpose()?;
    let setting = option("--set");
    let dir = tempfile::tempdir()?;
    let mut own = None;
    if servers.is_none() {
        let config = BrokerConfig::new(dir.path(), "127.0.0.1:0".parse()?);
        own = Some(Broker::start(config).await?);
    }
    let servers = servers.or_else(|| own.as_ref().map(|own| own.advertised().to_owned()));
    let servers = servers.expect("one of them is there");
    let place = Place { topic: create_topic(&servers, setting.as_deref()).await?, servers, pid };
    let number = |nth: usize, default: u64| words.get(nth).map_or(Ok(default), |arg| arg.parse());
    let run: Box<dyn FnOnce() -> Outcome<()> + Send> = match words.first().map(String::as_str) {
        Some("latency") => {
            let (rate, seconds) = (number(1, 1000)?, number(2, 10)?);
            let (bytes, linger_ms) = (number(3, 1024)?, number(4, 0)?);
            Box::new(move || latency(&place, rate, seconds, bytes as usize, linger_ms))
        }
        Some("throughput") => {
            let (records, bytes) = (number(1, 1_000_000)?, number(2, 1024)?);
            Box::new(move || throughput(&place, records, bytes as usize))
        }
        _ => return Err("latency or throughput? see the top of this program's source".into()),
    };
    tokio::task::spawn_blocking(run).await??;
    if let Some(own) = own {
        own.shutdown().await?;
    }
    Ok(())
}

/// A topic of one partition that nothing else uses.
async fn create_topic(servers: &str, setting: Option<&str>) -> Outcome<String> {
    let client: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", servers).create()?;
    let topic = format!("hop-{}", uuid::Uuid::new_v4());
    let mut wanted = NewTopic::new(&topic, 1, TopicReplication::Fixed(1));
    if let Some(setting) = setting {
        let (name, value) = setting.split_once('=').ok_or("--set takes NAME=VALUE")?;
        wanted = wanted.set(name, value);
    }
    let created = client.create_topics([&wanted], &AdminOptions::new()).await?;
    created.into_iter().try_for_each(|created| created.map(drop)).map_err(|(_, code)| code)?;
    Ok(topic)
}

impl Place {
    /// CPU time that the broker's process has taken; zero if it is not known.
    fn cpu(&self) -> Outcome<Duration> {
        let Some(pid) = self.pid else { return Ok(Duration::ZERO) };
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
        // After the name in parentheses; utime and stime are the 14th and 15th fields of all.
        let fields = stat.rsplit_once(')').ok_or("an odd stat")?.1;
        let ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<u32>);
        Ok(TICK * ticks.sum::<Result<u32, _>>()?)
    }

    /// Resident memory of the broker's process.
    fn resident_kib(&self) -> Outcome<u64> {
        let Some(pid) = self.pid else { return Ok(0) };
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.split_whitespace().next()).ok_or("no VmRSS")?;
        Ok(kib.parse()?)
    }

    /// The end of a line: what the broker took since `before`, per record, and what it holds.
    fn resources(&self, before: Duration, records: u64) -> Outcome<String> {
        if self.pid.is_none() {
            return Ok(String::new());
        }
        let cpu_us = self.cpu()?.saturating_sub(before).as_micros() as f64 / records as f64;
        let resident = self.resident_kib()? as f64 / 1024.0;
        Ok(format!(" cpu_us_per_record={cpu_us:.2} resident_mib={resident:.1}"))
    }
}

fn producer(servers: &str, linger_ms: u64) -> Outcome<BaseProducer> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", servers).set("acks", "all");
    config.set("linger.ms", linger_ms.to_string());
    Ok(config.create()?)
}

/// A consumer of the topic's only partition, from its start.
fn consumer(place: &Place) -> Outcome<BaseConsumer> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &place.servers).set("group.id", "hop");
    config.set("enable.auto.commit", "false");
    // By default librdkafka stops fetching for a second whenever it holds 100,000 records.
    config.set("queued.min.messages", "1000000");
    let consumer: BaseConsumer = config.create()?;
    let mut assignment = TopicPartitionList::new();
    assignment.add_partition_offset(&place.topic, 0, Offset::Beginning)?;
    consumer.assign(&assignment)?;
    Ok(consumer)
}

fn latency(place: &Place, rate: u64, seconds: u64, bytes: usize, linger_ms: u64) -> Outcome<()> {
    let (producer, consumer) = (producer(&place.servers, linger_ms)?, consumer(place)?);
    let records = rate * seconds;
    let topic = place.topic.clone();
    let start = Instant::now() + Duration::from_secs(1);
    let due = move |nth: u64| start + Duration::from_nanos(nth * 1_000_000_000 / rate);
    let sender = std::thread::spawn(move || -> Outcome<Duration> {
        let mut latest = Duration::ZERO;
        for nth in 0..records {
            while let Some(wait) = due(nth).checked_duration_since(Instant::now()) {
                std::thread::park_timeout(wait);
            }
            latest = latest.max(due(nth).elapsed());
            let mut value = vec![0; bytes.max(8)];
            value[..8].copy_from_slice(&nth.to_le_bytes());
            let record = BaseRecord::<(), _>::to(&topic).partition(0).payload(&value);
            producer.send(record).map_err(|(error, _)| error)?;
            producer.poll(Duration::ZERO);
        }
        producer.flush(PATIENCE)?;
        Ok(latest)
    });
    let mut latencies = Histogram::<u64>::new(3)?;
    let before = place.cpu()?;
    for _ in 0..records {
        let record = consumer.poll(PATIENCE).ok_or("a record is lost")??;
        let value = record.payload().ok_or("a record is empty")?;
        let nth = u64::from_le_bytes(value[..8].try_into()?);
        if records / 10 <= nth {
            latencies.record(due(nth).elapsed().as_micros() as u64)?;
        }
    }
    let latest = sender.join().map_err(|_| "the sender panicked")??;
    let ms = |quantile| latencies.value_at_quantile(quantile) as f64 / 1000.0;
    print(&format!(
        "latency rate={rate} seconds={seconds} bytes={bytes} linger_ms={linger_ms} p50_ms={:.3} \
         p90_ms={:.3} p99_ms={:.3} p999_ms={:.3} max_ms={:.3} sender_late_ms={:.3}{}",
        ms(0.5),
        ms(0.9),
        ms(0.99),
        ms(0.999),
        ms(1.0),
        latest.as_secs_f64() * 1e3,
        place.resources(before, records)?,
    ))
}

fn throughput(place: &Place, records: u64, bytes: usize) -> Outcome<()> {
    let producer = producer(&place.servers, 5)?;
    let value = vec![b'x'; bytes];
    let (start, before) = (Instant::now(), place.cpu()?);
    for _ in 0..records {
        let mut record = BaseRecord::<(), _>::to(&place.topic).partition(0).payload(&value);
        // The client's queue is full: it empties as records are acknowledged.
        while let Err((_, returned)) = producer.send(record) {
            record = returned;
            producer.poll(Duration::from_millis(1));
        }
    }
    producer.flush(PATIENCE)?;
    report("produced", place, records, bytes, start.elapsed(), before)?;
    let consumer = consumer(place)?;
    let first = consumer.poll(PATIENCE).ok_or("a record is lost")??.offset();
    let (start, before) = (Instant::now(), place.cpu()?);
    for _ in first + 1..records as i64 {
        consumer.poll(PATIENCE).ok_or("a record is lost")??;
    }
    report("consumed", place, records, bytes, start.elapsed(), before)
}

fn report(
    what: &str,
    place: &Place,
    records: u64,
    bytes: usize,
    took: Duration,
    before: Duration,
) -> Outcome<()> {
    let rate = records as f64 / took.as_secs_f64();
    let resources = place.resources(before, records)?;
    print(&format!("{what} records={records} bytes={bytes} records_per_s={rate:.0}{resources}"))
}

fn print(line: &str) -> Outcome<()> {
    Ok(writeln!(std::io::stdout(), "{line}")?)
}
