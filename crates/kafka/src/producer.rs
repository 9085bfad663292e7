//! A producer that answers after the broker has said that a record is durable.
//!
//! Idempotent, and without a time after which a record is given up: a broker that is away is waited for, and
//! what waits is bounded. A caller that stops waiting must expect the record to be stored all the same.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::UNIX_EPOCH;

use protocol::records;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::timeout;
use wire::Record;

use crate::cluster::{self, ANSWER_TIMEOUT};
use crate::error::{KafkaError, SendError};
use crate::outbox::{Item, Refusal};
use crate::sender::Sender;

/// Bound on what has not been confirmed, in KiB. Reached, `enqueue` waits for room.
const QUEUE_KBYTES: usize = 32 << 10;
/// Largest record that is sent, in bytes. Above the 1 MiB that brokers take by default, so that the broker, which
/// knows its own bound, is who refuses.
const MAX_RECORD_BYTES: usize = 16 << 20;

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
    /// Every compression that is worth its time here.
    pub const ALL: [Self; 4] = [Self::None, Self::Gzip, Self::Lz4, Self::Snappy];

    /// The name that Kafka's settings have for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Lz4 => "lz4",
            Self::Snappy => "snappy",
        }
    }

    pub(crate) const fn codec(self) -> protocol::compression::Compression {
        use protocol::compression::Compression as Codec;
        match self {
            Self::None => Codec::None,
            Self::Gzip => Codec::Gzip,
            Self::Lz4 => Codec::Lz4,
            Self::Snappy => Codec::Snappy,
        }
    }
}

/// Sends records to the topics of one cluster. Clones share what is sent.
///
/// It works in a task of the runtime that first enqueues a record; where that ends, so does what has not been
/// confirmed, and the next to enqueue starts another.
#[derive(Clone)]
pub struct Producer {
    handle: Arc<Handle>,
}

impl std::fmt::Debug for Producer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Producer").field("servers", &self.handle.0.servers).finish_non_exhaustive()
    }
}

/// Whoever holds it may send, or waits for what was sent.
struct Handle(Arc<Shared>);

impl Drop for Handle {
    /// Nobody waits any more.
    fn drop(&mut self) {
        self.0.close();
    }
}

/// What callers and the task share.
pub(crate) struct Shared {
    pub(crate) servers: Arc<str>,
    pub(crate) compression: Compression,
    pub(crate) arrived: Notify,
    queue: Mutex<Queue>,
    room: Arc<Semaphore>,
}

#[derive(Default)]
struct Queue {
    arrived: Arrived,
    is_running: bool,
    is_closed: bool,
}

/// What has come from callers.
#[derive(Default)]
pub(crate) struct Arrived {
    pub(crate) unsent: Vec<Unsent>,
    /// Topics for which everything is to be made ready, and who waits for that.
    pub(crate) preparing: Vec<(Arc<str>, oneshot::Sender<()>)>,
}

/// A record that has been taken, and its topic.
pub(crate) struct Unsent {
    pub(crate) topic: Arc<str>,
    /// Decides about the partition.
    pub(crate) key: Option<bytes::Bytes>,
    pub(crate) item: Item<Receipt>,
}

/// Who waits for a record, and its share of the room.
#[derive(Debug)]
pub(crate) struct Receipt {
    report: oneshot::Sender<Result<i64, Refusal>>,
    _room: OwnedSemaphorePermit,
}

impl Receipt {
    pub(crate) fn report(self, verdict: Result<i64, Refusal>) {
        // Whoever no longer waits need not hear it.
        let _ = self.report.send(verdict);
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().expect("no holder panics")
    }

    /// What has come since; None once nothing is to be sent any more.
    pub(crate) fn take(&self) -> Option<Arrived> {
        let mut queue = self.queue();
        (!queue.is_closed).then(|| std::mem::take(&mut queue.arrived))
    }

    fn close(&self) {
        let mut queue = self.queue();
        queue.is_closed = true;
        let arrived = std::mem::take(&mut queue.arrived);
        drop(queue);
        drop(arrived);
        self.arrived.notify_one();
    }

    /// Hands something to the task, and starts it if it does not run. What comes after the end is dropped.
    fn submit(self: &Arc<Self>, put: impl FnOnce(&mut Arrived)) {
        let mut queue = self.queue();
        if !queue.is_closed {
            put(&mut queue.arrived);
            if !queue.is_running {
                queue.is_running = true;
                tokio::spawn(Sender::new(Arc::clone(self)).run());
            }
        }
        drop(queue);
        self.arrived.notify_one();
    }

    /// The task is gone, and what it held.
    pub(crate) fn ended(&self) {
        let mut queue = self.queue();
        queue.is_running = false;
        let arrived = std::mem::take(&mut queue.arrived);
        drop(queue);
        drop(arrived);
    }
}

impl Producer {
    /// A producer to the brokers at `servers` (`bootstrap.servers`). Does not wait for a connection.
    pub fn new(servers: &str) -> Result<Self, KafkaError> {
        Self::compressing(servers, Compression::None)
    }

    /// A producer whose batches are compressed.
    pub fn compressing(servers: &str, compression: Compression) -> Result<Self, KafkaError> {
        cluster::addresses(servers)?;
        let shared = Shared {
            servers: servers.into(),
            compression,
            arrived: Notify::new(),
            queue: Mutex::default(),
            room: Arc::new(Semaphore::new(QUEUE_KBYTES)),
        };
        Ok(Self { handle: Arc::new(Handle(Arc::new(shared))) })
    }

    /// Stores a record: key, headers, timestamp and value as they are. Returns when the broker has said that
    /// it is durable.
    pub async fn send(&self, topic: &str, record: &Record) -> Result<(), SendError> {
        self.enqueue(topic, record).await?.confirmed().await.map(drop)
    }

    /// Takes a record, to be sent in the order of these calls within a partition. Waits while too much has not
    /// been confirmed.
    pub async fn enqueue(&self, topic: &str, record: &Record) -> Result<Confirmation, SendError> {
        let shared = &self.handle.0;
        let size = record.size();
        let payload = [&record.key, &record.value].into_iter().flatten().map(bytes::Bytes::len);
        let bytes = payload.sum();
        if MAX_RECORD_BYTES < size {
            return Err(SendError::TooLarge { topic: topic.to_owned(), bytes });
        }
        let kbytes = (size >> 10).clamp(1, QUEUE_KBYTES) as u32;
        let room = Arc::clone(&shared.room).acquire_many_owned(kbytes).await.expect("never closed");
        let headers =
            record.headers.iter().map(|header| (header.name.as_str(), header.value.as_deref()));
        let now = || UNIX_EPOCH.elapsed().map_or(0, |passed| passed.as_millis() as i64);
        let (report, reported) = oneshot::channel();
        let item = Item {
            timestamp: record.timestamp_ms.unwrap_or_else(now),
            body: records::body(record.key.as_deref(), record.value.as_deref(), headers),
            receipt: Receipt { report, _room: room },
        };
        let topic: Arc<str> = topic.into();
        let unsent = Unsent { topic: Arc::clone(&topic), key: record.key.clone(), item };
        // After the end it is dropped, which fails it.
        shared.submit(|arrived| arrived.unsent.push(unsent));
        Ok(Confirmation { handle: Arc::clone(&self.handle), topic, bytes, reported })
    }

    /// Makes everything ready for records to `topic`, so that the first takes no longer than the others.
    pub async fn prepare(&self, topic: &str) -> Result<(), KafkaError> {
        let shared = &self.handle.0;
        let (ready, prepared) = oneshot::channel();
        shared.submit(|arrived| arrived.preparing.push((topic.into(), ready)));
        match timeout(ANSWER_TIMEOUT, prepared).await {
            Ok(Ok(())) => Ok(()),
            _ => Err(KafkaError::Unreachable {
                servers: shared.servers.as_ref().to_owned(),
                waited_s: ANSWER_TIMEOUT.as_secs(),
                reason: format!("nobody is there who leads topic `{topic}`"),
            }),
        }
    }

    /// Gives up what the broker has not confirmed: each [`Confirmation`] fails. What is under way may still be
    /// stored. The producer is not to be used any more.
    pub fn abandon(&self) {
        self.handle.0.close();
    }
}

/// A record that was taken, and that the broker may not have yet.
pub struct Confirmation {
    /// Keeps what was sent under way.
    handle: Arc<Handle>,
    topic: Arc<str>,
    /// Size of key and value.
    bytes: usize,
    reported: oneshot::Receiver<Result<i64, Refusal>>,
}

impl std::fmt::Debug for Confirmation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Confirmation").field("topic", &self.topic).finish_non_exhaustive()
    }
}

impl Confirmation {
    /// Returns when the broker has said that the record is durable, with the offset that it got. It is negative
    /// where the broker has only said that it had the record already.
    pub async fn confirmed(self) -> Result<i64, SendError> {
        let Self { handle, topic, bytes, reported } = self;
        let reported = reported.await;
        drop(handle);
        let refused = |reason: &str| SendError::Refused {
            topic: topic.as_ref().to_owned(),
            reason: reason.to_owned(),
        };
        match reported {
            Ok(Ok(offset)) => Ok(offset),
            Ok(Err(Refusal::TooLarge)) => {
                Err(SendError::TooLarge { topic: topic.as_ref().to_owned(), bytes })
            }
            Ok(Err(Refusal::Because(reason))) => Err(refused(&reason)),
            Err(_) => Err(refused("the producer has ended")),
        }
    }
}
