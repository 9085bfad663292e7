//! A producer that answers after the broker's delivery report.
//!
//! Idempotent, and without a time after which a record is given up: a broker that is away is waited for, and
//! what waits is bounded. A caller that stops waiting must expect the record to be stored all the same.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, Weak};
use std::time::Duration;

use bytes::Bytes;
use rdkafka::ClientContext;
use rdkafka::error::{KafkaError as RdKafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header as RdHeader, Message as _, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _, ProducerContext, PurgeConfig};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use wire::Record;

use crate::client;
use crate::error::{KafkaError, SendError};
use crate::gate::Gate;

/// Bound on what has not been confirmed, in KiB. Reached, `enqueue` waits for room.
const QUEUE_KBYTES: usize = 32 << 10;
/// librdkafka's own bound, which ours is to be reached before, headers and bookkeeping counted.
const CLIENT_QUEUE_KBYTES: usize = 4 * QUEUE_KBYTES;
/// A producer's thread looks this often whether it is still wanted.
const POLL: Duration = Duration::from_millis(500);

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
    client: Arc<Mutex<Arc<Client>>>,
    room: Arc<Semaphore>,
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
        let client = Arc::new(Mutex::new(Client::connect(servers, compression)?));
        let room = Arc::new(Semaphore::new(QUEUE_KBYTES));
        Ok(Self { servers: servers.into(), compression, client, room })
    }

    /// Stores a record: key, headers, timestamp and value as they are. Returns when the broker has said that
    /// it is durable.
    pub async fn send(&self, topic: &str, record: &Record) -> Result<(), SendError> {
        self.enqueue(topic, record).await?.confirmed().await.map(drop)
    }

    /// Takes a record, to be sent in the order of these calls within a partition. Waits while too much has not
    /// been confirmed.
    pub async fn enqueue(&self, topic: &str, record: &Record) -> Result<Confirmation, SendError> {
        let bytes = record.size();
        let kbytes = (bytes >> 10).clamp(1, QUEUE_KBYTES) as u32;
        let room = Arc::clone(&self.room).acquire_many_owned(kbytes).await.expect("never closed");
        let client = Arc::clone(&*self.client());
        let (report, reported) = oneshot::channel();
        let waiting = Box::new(Waiting {
            key: record.key.clone(),
            value: record.value.clone(),
            timestamp_ms: record.timestamp_ms,
            headers: headers(record),
            receipt: Box::new(Receipt { report, topic: topic.into(), _room: room }),
        });
        client.producer.context().enqueue(waiting, bytes);
        let payload = [&record.key, &record.value].into_iter().flatten().map(Bytes::len).sum();
        Ok(Confirmation {
            producer: self.clone(),
            bytes: payload,
            client,
            topic: topic.into(),
            reported,
        })
    }

    /// Gives up what the broker has not confirmed: each [`Confirmation`] fails. What is under way may still be
    /// stored. The producer is not to be used any more.
    pub fn abandon(&self) {
        self.client().give_up();
    }

    fn client(&self) -> MutexGuard<'_, Arc<Client>> {
        self.client.lock().expect("no holder panics")
    }

    fn refused(&self, topic: &str, bytes: usize, source: RdKafkaError) -> SendError {
        let code = source.rdkafka_error_code();
        if matches!(
            code,
            Some(RDKafkaErrorCode::MessageSizeTooLarge | RDKafkaErrorCode::InvalidMessageSize)
        ) {
            return SendError::TooLarge { topic: topic.to_owned(), bytes };
        }
        let mut client = self.client();
        // An idempotent client that lost its place in the broker's sequence never recovers; a new one does.
        if client.producer.client().fatal_error().is_some() {
            match Client::connect(&self.servers, self.compression) {
                Ok(fresh) => *client = fresh,
                Err(error) => tracing::warn!("producer could not be replaced: {error}"),
            }
        }
        SendError::Refused { topic: topic.to_owned(), source: Box::new(source) }
    }
}

fn headers(record: &Record) -> Option<OwnedHeaders> {
    let empty = || OwnedHeaders::new_with_capacity(record.headers.len());
    (!record.headers.is_empty()).then(|| {
        record.headers.iter().fold(empty(), |headers, header| {
            headers.insert(RdHeader { key: &header.name, value: header.value.as_deref() })
        })
    })
}

/// A record that was taken, and that the broker may not have yet.
pub struct Confirmation {
    producer: Producer,
    topic: Arc<str>,
    /// Size of key and value.
    bytes: usize,
    /// The producer may meanwhile have got another client; this one has to live until it has reported.
    client: Arc<Client>,
    reported: oneshot::Receiver<Result<i64, RdKafkaError>>,
}

impl std::fmt::Debug for Confirmation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Confirmation").field("topic", &self.topic).finish_non_exhaustive()
    }
}

impl Confirmation {
    /// Returns when the broker has said that the record is durable, with the offset that it got.
    pub async fn confirmed(self) -> Result<i64, SendError> {
        let Self { producer, topic, bytes, client, reported } = self;
        let reported = reported.await.expect("a client reports before it ends");
        drop(client);
        reported.map_err(|source| producer.refused(&topic, bytes, source))
    }
}

/// A client of librdkafka, and the thread that hears its reports.
struct Client {
    producer: Arc<BaseProducer<Reports>>,
    is_unwanted: Arc<AtomicBool>,
}

impl Client {
    fn connect(servers: &str, compression: Compression) -> Result<Arc<Self>, KafkaError> {
        let producer: BaseProducer<Reports> = client::config(servers)
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("compression.type", compression.name())
            // What arrives while others are under way gathers at the gate.
            .set("linger.ms", "0")
            .set("message.timeout.ms", "0")
            .set("queue.buffering.max.kbytes", CLIENT_QUEUE_KBYTES.to_string())
            .create_with_context(Reports::default())
            .map_err(|source| KafkaError::client(servers, source))?;
        let producer = Arc::new(producer);
        let _ = producer.context().producer.set(Arc::downgrade(&producer));
        let is_unwanted = Arc::new(AtomicBool::new(false));
        let (polled, unwanted) = (Arc::clone(&producer), Arc::clone(&is_unwanted));
        let polling = move || {
            while !unwanted.load(Ordering::Acquire) {
                polled.poll(POLL);
            }
            // The last one, unless a caller is just leaving: ending a client takes a while.
            drop(polled);
        };
        let thread = std::thread::Builder::new().name("producer".into());
        thread.spawn(polling).map_err(|error| KafkaError::Thread { source: error })?;
        Ok(Arc::new(Self { producer, is_unwanted }))
    }

    fn give_up(&self) {
        self.producer.context().close();
        self.producer.purge(PurgeConfig::default().queue().inflight());
    }
}

impl Drop for Client {
    /// Every report has been heard: whoever waits for one holds the client. The thread ends the rest.
    fn drop(&mut self) {
        self.is_unwanted.store(true, Ordering::Release);
    }
}

/// Hears reports, and lets further records go.
#[derive(Default)]
struct Reports {
    /// By topic.
    gates: Mutex<Gates>,
    producer: OnceLock<Weak<BaseProducer<Self>>>,
}

#[derive(Default)]
struct Gates {
    open: HashMap<Arc<str>, Gate<Box<Waiting>>>,
    is_closed: bool,
}

/// A record that has not gone to librdkafka.
struct Waiting {
    key: Option<Bytes>,
    value: Option<Bytes>,
    timestamp_ms: Option<i64>,
    headers: Option<OwnedHeaders>,
    receipt: Box<Receipt>,
}

/// What goes with a record and comes back with its report.
struct Receipt {
    report: oneshot::Sender<Result<i64, RdKafkaError>>,
    topic: Arc<str>,
    _room: OwnedSemaphorePermit,
}

impl ClientContext for Reports {
    fn error(&self, error: RdKafkaError, reason: &str) {
        tracing::debug!("producer: {error}: {reason}");
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = Box<Receipt>;

    fn delivery(&self, delivered: &DeliveryResult<'_>, receipt: Box<Receipt>) {
        let Receipt { report, topic, _room } = *receipt;
        let outcome = match delivered {
            Ok(stored) => Ok(stored.offset()),
            Err((error, _)) => Err(error.clone()),
        };
        // Whoever no longer waits need not hear it.
        let _ = report.send(outcome);
        let mut gates = self.gates();
        if let Some(gate) = gates.open.get_mut(&topic) {
            gate.done();
            self.let_go(gate, &topic);
        }
    }
}

impl Reports {
    fn gates(&self) -> MutexGuard<'_, Gates> {
        self.gates.lock().expect("no holder panics")
    }

    fn enqueue(&self, waiting: Box<Waiting>, bytes: usize) {
        let mut gates = self.gates();
        if gates.is_closed {
            return waiting.receipt.fail(purged());
        }
        let topic = Arc::clone(&waiting.receipt.topic);
        if !gates.open.contains_key(&topic) {
            gates.open.insert(Arc::clone(&topic), Gate::default());
        }
        let gate = gates.open.get_mut(&topic).expect("just inserted");
        gate.push(waiting, bytes);
        self.let_go(gate, &topic);
    }

    /// Gives librdkafka what may go. The gates are locked meanwhile, so that it gets it in order.
    fn let_go(&self, gate: &mut Gate<Box<Waiting>>, topic: &str) {
        let Some(producer) = self.producer.get().and_then(Weak::upgrade) else { return };
        loop {
            let group = gate.pass();
            if group.is_empty() {
                return;
            }
            for waiting in group {
                let Waiting { key, value, timestamp_ms, headers, receipt } = *waiting;
                let message = BaseRecord::<[u8], [u8], Box<Receipt>> {
                    topic,
                    partition: None,
                    payload: value.as_deref(),
                    key: key.as_deref(),
                    timestamp: timestamp_ms,
                    headers,
                    delivery_opaque: receipt,
                };
                if let Err((error, refused)) = producer.send(message) {
                    gate.done();
                    refused.delivery_opaque.fail(error);
                }
            }
        }
    }

    /// Nothing goes any more.
    fn close(&self) {
        let mut gates = self.gates();
        gates.is_closed = true;
        for gate in gates.open.values_mut() {
            for waiting in gate.clear() {
                waiting.receipt.fail(purged());
            }
        }
    }
}

impl Receipt {
    fn fail(self, error: RdKafkaError) {
        // Whoever no longer waits need not hear it.
        let _ = self.report.send(Err(error));
    }
}

fn purged() -> RdKafkaError {
    RdKafkaError::MessageProduction(RDKafkaErrorCode::PurgeQueue)
}
