//! A consumer whose records may finish in any order.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use tokio::sync::watch;
use wire::{Record, Source};

use crate::error::KafkaError;
use crate::fetcher::{Fetched, Fetcher};
use crate::ledger::Epoch;
use crate::member::{Member, Shared};

/// Reads topics as a member of a consumer group.
///
/// It works in tasks of the runtime in which records are first asked for.
#[derive(Debug)]
pub struct Consumer {
    shared: Arc<Shared>,
    is_running: AtomicBool,
}

/// A record and the ticket with which it is handed back.
#[derive(Debug)]
pub struct Delivery {
    /// The record.
    pub record: Record,
    /// Where it stands.
    pub source: Source,
    /// When it was handed out, in microseconds since the epoch.
    pub received_us: u64,
    /// Handed back to [`Consumer::done`].
    pub ticket: Ticket,
}

/// Entitles to say once that a record is done.
#[derive(Debug)]
pub struct Ticket {
    source: Source,
    epoch: Epoch,
}

impl Consumer {
    /// Joins `group` to read `topics`, from their beginning where the group has committed nothing: what was
    /// sent before the first start is not passed over.
    pub fn subscribe(servers: &str, group: &str, topics: &[&str]) -> Result<Self, KafkaError> {
        Self::lingering(servers, group, topics, Duration::ZERO)
    }

    /// The same, for one that may wait up to `linger` after some records before it asks for more, while they come
    /// in a trickle: so several come at once, and cost less.
    pub fn lingering(
        servers: &str,
        group: &str,
        topics: &[&str],
        linger: Duration,
    ) -> Result<Self, KafkaError> {
        let fetcher = Fetcher::new(servers, linger)?;
        let shared = Arc::new(Shared::new(servers, group, topics, fetcher));
        Ok(Self { shared, is_running: AtomicBool::new(false) })
    }

    /// The next records, at least one and at most `max`: all that have arrived. A broker that is away, or a
    /// topic that is not there yet, is waited for. Dropping the future loses nothing.
    pub async fn recv_many(&self, max: usize) -> Result<Vec<Delivery>, KafkaError> {
        if !self.is_running.swap(true, Ordering::AcqRel) {
            tokio::spawn(Member::new(Arc::clone(&self.shared)).run());
        }
        loop {
            let ready = self.shared.fetcher.ready().await;
            ready.map_err(|reason| KafkaError::Consumer {
                topics: self.shared.topics.join(", "),
                servers: self.shared.servers.clone(),
                reason,
            })?;
            let deliveries = self.take(max);
            if !deliveries.is_empty() {
                return Ok(deliveries);
            }
        }
    }

    /// The next record. A broker that is away, or a topic that is not there yet, is waited for. Dropping the
    /// future loses nothing.
    pub async fn recv(&self) -> Result<Delivery, KafkaError> {
        Ok(self.recv_many(1).await?.pop().expect("at least one"))
    }

    fn take(&self, max: usize) -> Vec<Delivery> {
        let received_us = UNIX_EPOCH.elapsed().map_or(0, |passed| passed.as_micros() as u64);
        let mut deliveries = Vec::new();
        // Locked before records are taken, as when a partition leaves: so none is handed out that has left.
        let mut offsets = self.shared.offsets();
        self.shared.fetcher.take(max.max(1), |fetched| {
            let Fetched::Record(source, record) = fetched else { return };
            let epoch = offsets.ledger.handed_out(&source.topic, source.partition, source.offset);
            let ticket = Ticket { source: source.clone(), epoch };
            deliveries.push(Delivery { record, source, received_us, ticket });
        });
        deliveries
    }

    /// Becomes true when the group has given this consumer its first share. Only moves once records are asked
    /// for.
    pub fn assigned(&self) -> watch::Receiver<bool> {
        self.shared.assigned.subscribe()
    }

    /// Says that records met their fates. The offset of each is committed once that of every record before it
    /// is.
    pub fn done(&self, tickets: impl IntoIterator<Item = Ticket>) {
        let mut offsets = self.shared.offsets();
        let mut has_moved = false;
        for Ticket { source: Source { topic, partition, offset }, epoch } in tickets {
            if let Some(next) = offsets.ledger.done(&topic, partition, offset, epoch) {
                has_moved |= offsets.uncommitted.insert((topic, partition), next).is_none();
            }
        }
        drop(offsets);
        if has_moved {
            self.shared.changed.notify_one();
        }
    }

    /// Commits what is done and leaves the group. Waits while the broker answers, some seconds at most.
    pub async fn close(self) {
        if !self.is_running.load(Ordering::Acquire) {
            return;
        }
        let mut ended = self.shared.ended.subscribe();
        drop(self);
        // An error would mean the same.
        let _ = ended.wait_for(|ended| *ended).await;
    }
}

impl Drop for Consumer {
    /// It leaves the group in the background, if its runtime goes on.
    fn drop(&mut self) {
        self.shared.closing.send_replace(true);
    }
}
