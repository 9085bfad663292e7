//! A producer that answers after the broker's delivery report.
//!
//! Idempotent, and without a time after which a record is given up: a broker that is away is waited for, and
//! what waits is bounded by the caller's records in flight. A caller that stops waiting must expect the record
//! to be stored all the same.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use rdkafka::error::{KafkaError as RdKafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header as RdHeader, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::util::Timeout;
use wire::Record;

use crate::client;
use crate::error::{KafkaError, SendError};

/// Bound on what waits in the client to be sent, in KiB. Reached, `send` waits for room.
const QUEUE_KBYTES: u32 = 32 << 10;

/// Sends records to the topics of one broker. Clones share one client.
#[derive(Clone)]
pub struct Producer {
    servers: Arc<str>,
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
        let client = Arc::new(Mutex::new(connect(servers)?));
        Ok(Self { servers: servers.into(), client })
    }

    /// Stores a record: key, headers, timestamp and value as they are. Returns when the broker has said that
    /// it is durable.
    pub async fn send(&self, topic: &str, record: &Record) -> Result<(), SendError> {
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
        let client = self.client.lock().expect("no holder panics").clone();
        match client.send(message, Timeout::Never).await {
            Ok(_) => Ok(()),
            Err((source, _)) => Err(self.refused(topic, record, source)),
        }
    }

    fn refused(&self, topic: &str, record: &Record, source: RdKafkaError) -> SendError {
        let code = source.rdkafka_error_code();
        if matches!(
            code,
            Some(RDKafkaErrorCode::MessageSizeTooLarge | RDKafkaErrorCode::InvalidMessageSize)
        ) {
            let bytes = [&record.key, &record.value].into_iter().flatten().map(Bytes::len).sum();
            return SendError::TooLarge { topic: topic.to_owned(), bytes };
        }
        let mut client = self.client.lock().expect("no holder panics");
        // An idempotent client that lost its place in the broker's sequence never recovers; a new one does.
        if rdkafka::producer::Producer::client(&*client).fatal_error().is_some() {
            match connect(&self.servers) {
                Ok(fresh) => *client = fresh,
                Err(error) => tracing::warn!("producer could not be replaced: {error}"),
            }
        }
        SendError::Refused { topic: topic.to_owned(), source: Box::new(source) }
    }
}

fn connect(servers: &str) -> Result<FutureProducer, KafkaError> {
    client::config(servers)
        .set("enable.idempotence", "true")
        .set("acks", "all")
        // Records that arrive while five requests are under way gather into the next ones by themselves.
        .set("linger.ms", "0")
        .set("message.timeout.ms", "0")
        .set("queue.buffering.max.kbytes", QUEUE_KBYTES.to_string())
        .create()
        .map_err(|source| KafkaError::client(servers, source))
}
