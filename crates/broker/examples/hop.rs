//! Measures one hop: producer, broker, consumer, all in this process and over loopback.
//!
//! ```text
//! cargo run --release -p broker --example hop -- latency [records/s] [seconds] [bytes] [linger ms]
//! cargo run --release -p broker --example hop -- throughput [records] [bytes]
//! ```
//!
//! Latency is from the moment a record was due to be sent, whether or not the sender was late, to the moment
//! the consumer has it. The first tenth of a run warms up and is left out. The broker syncs before it
//! acknowledges; its log is a temporary directory, so `TMPDIR` chooses the disk.

use std::error::Error;
use std::time::{Duration, Instant};

use broker::{Broker, BrokerConfig};
use hdrhistogram::Histogram;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};

const TOPIC: &str = "hop";
const PATIENCE: Duration = Duration::from_secs(60);

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

#[tokio::main]
async fn main() -> Outcome<()> {
    let args: Vec<_> = std::env::args().skip(1).collect();
    let number = |nth: usize, default: u64| args.get(nth).map_or(Ok(default), |arg| arg.parse());
    let dir = tempfile::tempdir()?;
    let config = BrokerConfig::new(dir.path(), "127.0.0.1:0".parse()?);
    let broker = Broker::start(config).await?;
    broker.create_topic(TOPIC, 1).await?;
    let servers = broker.advertised().to_owned();
    let run: Box<dyn FnOnce() -> Outcome<()> + Send> = match args.first().map(String::as_str) {
        Some("latency") => {
            let (rate, seconds) = (number(1, 1000)?, number(2, 10)?);
            let (bytes, linger_ms) = (number(3, 1024)?, number(4, 0)?);
            Box::new(move || latency(&servers, rate, seconds, bytes as usize, linger_ms))
        }
        Some("throughput") => {
            let (records, bytes) = (number(1, 1_000_000)?, number(2, 1024)?);
            Box::new(move || throughput(&servers, records, bytes as usize))
        }
        _ => {
            return Err("usage: hop latency|throughput [numbers]; see the top of its source".into());
        }
    };
    tokio::task::spawn_blocking(run).await??;
    broker.shutdown().await?;
    Ok(())
}

fn producer(servers: &str, linger_ms: u64) -> Outcome<BaseProducer> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", servers).set("acks", "all");
    config.set("linger.ms", linger_ms.to_string());
    Ok(config.create()?)
}

/// A consumer of the topic's only partition, from its start.
fn consumer(servers: &str) -> Outcome<BaseConsumer> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", servers).set("group.id", "hop");
    config.set("enable.auto.commit", "false");
    // By default librdkafka stops fetching for a second whenever it holds 100,000 records.
    config.set("queued.min.messages", "1000000");
    let consumer: BaseConsumer = config.create()?;
    let mut assignment = TopicPartitionList::new();
    assignment.add_partition_offset(TOPIC, 0, Offset::Beginning)?;
    consumer.assign(&assignment)?;
    Ok(consumer)
}

fn latency(servers: &str, rate: u64, seconds: u64, bytes: usize, linger_ms: u64) -> Outcome<()> {
    let (producer, consumer) = (producer(servers, linger_ms)?, consumer(servers)?);
    let records = rate * seconds;
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
            let record = BaseRecord::<(), _>::to(TOPIC).partition(0).payload(&value);
            producer.send(record).map_err(|(error, _)| error)?;
            producer.poll(Duration::ZERO);
        }
        producer.flush(PATIENCE)?;
        Ok(latest)
    });
    let mut latencies = Histogram::<u64>::new(3)?;
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
    eprintln!(
        "{rate} records/s of {bytes} bytes for {seconds} s, linger {linger_ms} ms: \
         p50 {:.2} ms, p90 {:.2}, p99 {:.2}, p99.9 {:.2}, max {:.2}; sender late by at most {latest:?}",
        ms(0.5),
        ms(0.9),
        ms(0.99),
        ms(0.999),
        ms(1.0),
    );
    Ok(())
}

fn throughput(servers: &str, records: u64, bytes: usize) -> Outcome<()> {
    let producer = producer(servers, 5)?;
    let value = vec![b'x'; bytes];
    let start = Instant::now();
    for _ in 0..records {
        let mut record = BaseRecord::<(), _>::to(TOPIC).partition(0).payload(&value);
        // The client's queue is full: it empties as records are acknowledged.
        while let Err((_, returned)) = producer.send(record) {
            record = returned;
            producer.poll(Duration::from_millis(1));
        }
    }
    producer.flush(PATIENCE)?;
    report("produced and acknowledged", records, bytes, start.elapsed());
    let consumer = consumer(servers)?;
    let first = consumer.poll(PATIENCE).ok_or("a record is lost")??.offset();
    let start = Instant::now();
    for _ in first + 1..records as i64 {
        consumer.poll(PATIENCE).ok_or("a record is lost")??;
    }
    report("consumed", records, bytes, start.elapsed());
    Ok(())
}

fn report(what: &str, records: u64, bytes: usize, took: Duration) {
    let rate = records as f64 / took.as_secs_f64();
    let megabytes = rate * bytes as f64 / 1e6;
    eprintln!(
        "{what} {records} records of {bytes} bytes in {took:.2?}: {rate:.0} records/s, {megabytes:.0} MB/s"
    );
}
