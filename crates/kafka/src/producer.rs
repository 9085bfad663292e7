//! A producer that answers after the broker's delivery report.
//!
//! Idempotent, and without a time after which a record is given up: a broker that is away is waited for, and
//! what waits is bounded by the caller's records in flight. A caller that stops waiting must expect the record
//! to be stored all the same.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use rdkafka::error::{KafkaError as RdKafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header as RdHeader, OwnedHeaders};
use rdkafka::producer::future_producer::DeliveryFuture;
use rdkafka::producer::{FutureProducer, FutureRecord};
use wire::Record;

use crate::client;
use crate::error::{KafkaError, SendError};

/// Bound on what waits in the client to be sent, in KiB. Reached, `enqueue` waits for room.
const QUEUE_KBYTES: u32 = 32 << 10;
/// Pause before the next look for room.
const QUEUE_FULL_PAUSE: Duration = Duration::from_millis(2);

/// How a producer compresses its batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// As gzip does.
    Gzip,
    /// As LZ4 does.
    Lz4,
    /// As Snappy does.
    Snappy,
}

impl Compression {
    /// Every compression that the client is built with.
    pub const ALL: [Self; 4] = [Self::None, Self::Gzip, Self::Lz4, Self::Snappy];

    /// The name in the client's configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Lz4 => "lz4",
            Self::Snappy => "snappy",
        }
    }
}

/// Sends records to the topics of one broker. Clones share one client.
#[derive(Clone)]
pub struct Producer {
    servers: Arc<str>,
    compression: Compression,
    client: Arc<Mutex<FutureProducer>>,
}

impl std::fmt::Debug for Producer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Producer").field("servers", &self.servers).finish_non_exhaustive()
    }
}

impl Producer {
    /// A producer to the broker at `servers` (`bootstrap.servers`). Does not wait for a connection.
    pub fn new(servers: &str) -> Result<Self, KafkaError> {
        Self::compressing(servers, Compression::None)
    }

    /// A producer whose batches are compressed.
    pub fn compressing(servers: &str, compression: Compression) -> Result<Self, KafkaError> {
        let client = Arc::new(Mutex::new(connect(servers, compression)?));
        Ok(Self { servers: servers.into(), compression, client })
    }

    /// Stores a record: key, headers, timestamp and value as they are. Returns when the broker has said that
    /// it is durable.
    pub async fn send(&self, topic: &str, record: &Record) -> Result<(), SendError> {
        self.enqueue(topic, record).await?.confirmed().await
    }

    /// Hands a record to the client, which sends the records of a partition in the order of these calls.
    /// Waits while the client's queue is full.
    pub async fn enqueue(&self, topic: &str, record: &Record) -> Result<Confirmation, SendError> {
        let mut message: FutureRecord<'_, [u8], [u8]> = FutureRecord::to(topic);
        message.key = record.key.as_deref();
        message.payload = record.value.as_deref();
        message.timestamp = record.timestamp_ms;
        if !record.headers.is_empty() {
            let empty = OwnedHeaders::new_with_capacity(record.headers.len());
            message.headers = Some(record.headers.iter().fold(empty, |headers, header| {
                headers.insert(RdHeader { key: &header.name, value: header.value.as_deref() })
            }));
        }
        let bytes = [&record.key, &record.value].into_iter().flatten().map(Bytes::len).sum();
        loop {
            let client = self.client.lock().expect("no holder panics").clone();
            match client.send_result(message) {
                Ok(report) => {
                    let (producer, topic) = (self.clone(), topic.to_owned());
                    return Ok(Confirmation { producer, topic, bytes, _client: client, report });
                }
                Err((source, refused)) => {
                    if source.rdkafka_error_code() != Some(RDKafkaErrorCode::QueueFull) {
                        return Err(self.refused(topic, bytes, source));
                    }
                    message = refused;
                    tokio::time::sleep(QUEUE_FULL_PAUSE).await;
                }
            }
        }
    }

    fn refused(&self, topic: &str, bytes: usize, source: RdKafkaError) -> SendError {
        let code = source.rdkafka_error_code();
        if matches!(
            code,
            Some(RDKafkaErrorCode::MessageSizeTooLarge | RDKafkaErrorCode::InvalidMessageSize)
        ) {
            return SendError::TooLarge { topic: topic.to_owned(), bytes };
        }
        let mut client = self.client.lock().expect("no holder panics");
        // An idempotent client that lost its place in the broker's sequence never recovers; a new one does.
        if rdkafka::producer::Producer::client(&*client).fatal_error().is_some() {
            match connect(&self.servers, self.compression) {
                Ok(fresh) => *client = fresh,
                Err(error) => tracing::warn!("producer could not be replaced: {error}"),
            }
        }
        SendError::Refused { topic: topic.to_owned(), source: Box::new(source) }
    }
}

/// A record that the client has taken, and that the broker may not have yet.
pub struct Confirmation {
    producer: Producer,
    topic: String,
    /// Size of key and value.
    bytes: usize,
    /// The producer may meanwhile have got another client; this one has to live until it has reported.
    _client: FutureProducer,
    report: DeliveryFuture,
}

impl std::fmt::Debug for Confirmation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Confirmation").field("topic", &self.topic).finish_non_exhaustive()
    }
}

impl Confirmation {
    /// Returns when the broker has said that the record is durable.
    pub async fn confirmed(self) -> Result<(), SendError> {
        let Self { producer, topic, bytes, _client, report } = self;
        let report = report.await.expect("only a client that is dropped cancels its reports");
        report.map(drop).map_err(|(source, _)| producer.refused(&topic, bytes, source))
    }
}

fn connect(servers: &str, compression: Compression) -> Result<FutureProducer, KafkaError> {
    client::config(servers)
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set("compression.type", compression.name())
        // Records that arrive while five requests are under way gather into the next ones by themselves.
        .set("linger.ms", "0")
        .set("message.timeout.ms", "0")
        .set("queue.buffering.max.kbytes", QUEUE_KBYTES.to_string())
        .create()
        .map_err(|source| KafkaError::client(servers, source))
}
