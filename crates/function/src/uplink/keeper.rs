//! Watches over a link: looks for the next tier's broker while it is away, and empties the buffer once it is
//! back.
//!
//! The buffer is read as a member of a consumer group named as its topic, and a record's offset is committed
//! once the next tier's broker has confirmed it: a crash sends some again and loses none. Of several processes
//! with one buffer, one empties it; the others look now and then how far it is.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesOrdered;
use kafka::admin::{self, Extent};
use kafka::{Consumer, Delivery, Event, KafkaError, Producer, Reader, SendError, Start, Ticket};
use pipeline::{OnLoss, WhenFull};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use wire::{Reject, RejectCode};

use super::pace::Pace;
use super::{Uplink, size};
use crate::stop::Stop;

/// Records of the buffer that are on their way up at once.
const WINDOW: usize = 256;
/// Pause between two looks for a broker that does not answer: half of it to all of it, by chance.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// What was taken out of the buffer is deleted this often.
const DELETE_EVERY: Duration = Duration::from_secs(5);
/// A group that gives no record for this long has perhaps given them to another process.
const NOTHING_FOR: Duration = Duration::from_secs(2);
/// Records by whose size that of a buffer found at the start is judged.
const SAMPLED: usize = 100;
/// Bounds of the buffer's segments, in bytes: what was taken out is deleted a segment at a time.
const SEGMENT_BYTES: std::ops::RangeInclusive<u64> = (1 << 20)..=(64 << 20);

/// How emptying the buffer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Emptied {
    /// None waits any more.
    All,
    /// The next tier's broker is away again.
    Lost,
    /// There was the word to stop.
    Stopped,
}

impl Uplink {
    /// Watches over the link until told to stop.
    pub async fn keep(self, mut stop: Stop) -> Result<(), KafkaError> {
        if self.shared.settings.on_loss == OnLoss::Hold {
            tokio::select! {
                opened = self.open_buffer_in_the_end() => opened?,
                () = stop.said() => {}
            }
        }
        while !stop.is_said() {
            let producer = tokio::select! {
                producer = self.answers() => producer,
                // What waits longer than can be kept goes, also while nobody answers.
                () = self.overflows() => {
                    self.empty(None, &mut stop).await?;
                    continue;
                }
                () = stop.said() => break,
            };
            self.raise(&producer);
            if !self.shared.state.borrow().waiting().is_empty() {
                let records = self.shared.state.borrow().waiting().records();
                tracing::info!(
                    topic = self.shared.ends.topic,
                    records,
                    "uplink back, sending what was held"
                );
                match self.empty(Some(&producer), &mut stop).await? {
                    Emptied::All => tracing::info!("all that was held is sent"),
                    Emptied::Lost => continue,
                    Emptied::Stopped => break,
                }
            }
            let mut state = self.shared.state.subscribe();
            tokio::select! {
                _ = state.wait_for(|state| !state.is_up()) => {}
                () = stop.said() => {}
            }
        }
        // Nothing may wait for a verdict that nobody gives any more.
        self.shared.state.send_modify(|state| {
            if state.is_unknown() {
                state.not_there();
            }
        });
        Ok(())
    }

    fn raise(&self, producer: &Producer) -> bool {
        let live_first = self.shared.settings.buffer.live_first || self.answers_here();
        let (mut may, mut was_up) = (false, false);
        self.shared.state.send_if_modified(|state| {
            was_up = state.is_up();
            may = state.raise(producer, live_first);
            may && !was_up
        });
        if may && !was_up {
            tracing::info!(
                servers = self.shared.ends.servers,
                topic = self.shared.ends.topic,
                "uplink is there"
            );
        }
        may
    }

    /// Returns a producer to the next tier's broker once that answers, and has its topic.
    async fn answers(&self) -> Producer {
        let ends = &self.shared.ends;
        let mut looks = 0_u32;
        loop {
            let look = async {
                admin::ensure_topics(&ends.servers, &[&ends.topic], 1).await?;
                let producer = Producer::new(&ends.servers)?;
                // The first record has no more time than the others.
                producer.prepare(&ends.topic).await?;
                Ok::<_, KafkaError>(producer)
            };
            tokio::pin!(look);
            // What arrives meanwhile waits for the first verdict, and not for as long as a look may take.
            let looked = if let Ok(looked) = timeout(self.shared.settings.timeout, &mut look).await
            {
                looked
            } else {
                self.not_there("no answer yet");
                look.await
            };
            let error = match looked {
                Ok(producer) => return producer,
                Err(error) => error,
            };
            self.not_there(&error.to_string());
            if looks.is_multiple_of(30) {
                tracing::warn!(topic = ends.topic, "uplink is away: {error}");
            }
            looks += 1;
            sleep(look_again()).await;
        }
    }

    fn not_there(&self, reason: &str) {
        self.shared.state.send_if_modified(|state| {
            let is_unknown = state.is_unknown();
            if is_unknown {
                state.not_there();
            }
            is_unknown
        });
        tracing::debug!(servers = self.shared.ends.servers, "uplink: {reason}");
    }

    /// Returns once more waits than may, if the oldest are to make room for it.
    async fn overflows(&self) {
        let mut state = self.shared.state.subscribe();
        let overflows = state.wait_for(|state| self.is_over(state.waiting().bytes()));
        overflows.await.expect("never closed");
    }

    fn is_over(&self, bytes: u64) -> bool {
        let buffer = &self.shared.settings.buffer;
        buffer.when_full == WhenFull::DropOldest && buffer.max_bytes < bytes
    }

    /// Opens the buffer, however long the tier's own broker takes to say what is in it.
    async fn open_buffer_in_the_end(&self) -> Result<(), KafkaError> {
        loop {
            match self.open_buffer().await {
                Err(error @ KafkaError::NotOnePartition { .. }) => return Err(error),
                Err(error) => tracing::warn!("the buffer is not open yet: {error}"),
                Ok(()) => return Ok(()),
            }
            sleep(look_again()).await;
        }
    }

    /// Creates the buffer if it is not there, and takes note of what stands in it.
    async fn open_buffer(&self) -> Result<(), KafkaError> {
        let (own, buffer) = (&self.shared.ends.own_servers, &self.shared.settings.buffer);
        let topic = &buffer.topic.name;
        if let Err(KafkaError::UnknownTopic { .. }) = admin::extents(own, topic).await {
            let segment =
                (buffer.max_bytes / 8).clamp(*SEGMENT_BYTES.start(), *SEGMENT_BYTES.end());
            let settings = [
                // What waits must not vanish because it waits for long.
                ("retention.ms", "-1".to_owned()),
                ("retention.bytes", "-1".to_owned()),
                ("segment.bytes", segment.to_string()),
            ];
            let settings = settings.map(|(name, value)| (name.to_owned(), value));
            admin::create_topic(own, topic, Some(1), &settings).await?;
        }
        let (extent, next) = self.extent().await?;
        if extent.end <= next {
            return Ok(());
        }
        let reader =
            Reader::open(own, &[topic], Some(extent.partition), Start::Offset(next)).await?;
        let (mut records, mut bytes) = (0, 0);
        while records < SAMPLED
            && let Event::Record(_, record) = reader.next().await?
        {
            records += 1;
            bytes += size(&record);
        }
        let waiting = (extent.end - next) as u64;
        let bytes = bytes.checked_div(records as u64).unwrap_or_default() * waiting;
        tracing::info!(topic, records = waiting, "records of an earlier start wait for the uplink");
        self.shared.state.send_modify(|state| state.found(next, extent.end, bytes));
        Ok(())
    }

    /// The buffer's only partition, and the offset of the first record in it that waits.
    async fn extent(&self) -> Result<(Extent, i64), KafkaError> {
        let topic = &self.shared.settings.buffer.topic.name;
        buffer_extent(&self.shared.ends.own_servers, topic).await
    }

    /// Takes records out of the buffer: up to the next tier by `producer`, or without one into the dead
    /// letters, until there are not too many of them.
    async fn empty(
        &self,
        producer: Option<&Producer>,
        stop: &mut Stop,
    ) -> Result<Emptied, KafkaError> {
        let buffer = &self.shared.settings.buffer.topic.name;
        let consumer = Consumer::subscribe(&self.shared.ends.own_servers, buffer, &[buffer])?;
        let emptied = match producer {
            Some(producer) => self.take_up(&consumer, producer, stop).await,
            None => self.drop_oldest(&consumer, stop).await,
        };
        self.delete_taken().await;
        consumer.close().await;
        emptied
    }

    async fn take_up(
        &self,
        consumer: &Consumer,
        producer: &Producer,
        stop: &mut Stop,
    ) -> Result<Emptied, KafkaError> {
        let Self { shared } = self;
        let held = || shared.counts.held.load(Ordering::Relaxed);
        let mut pace = Pace::new(shared.settings.buffer.drain_rate, Instant::now(), held());
        let mut rising = FuturesOrdered::new();
        let mut arrived: VecDeque<Delivery> = VecDeque::new();
        let (mut progress, mut deleted) = (Instant::now(), Instant::now());
        loop {
            // What is dropped is taken out, and so must everything before it be.
            while rising.is_empty()
                && self.is_over(shared.state.borrow().waiting().bytes())
                && let Some(Delivery { record, source, ticket, .. }) = arrived.pop_front()
            {
                self.bury(record, source, ticket, consumer).await;
            }
            while rising.len() < WINDOW
                && 0 < pace.allowed(Instant::now(), held())
                && let Some(Delivery { record, source, ticket, .. }) = arrived.pop_front()
            {
                let sent = producer.enqueue(&shared.ends.topic, &record).await;
                if rising.is_empty() {
                    progress = Instant::now();
                }
                pace.gone(1);
                rising.push_back(async move {
                    let stored = match sent {
                        Ok(confirmation) => confirmation.confirmed().await.map(drop),
                        Err(error) => Err(error),
                    };
                    (stored, record, source, ticket)
                });
            }
            tokio::select! {
                Some((stored, record, source, ticket)) = rising.next() => match stored {
                    Ok(()) => {
                        progress = Instant::now();
                        shared.counts.taken_up.fetch_add(1, Ordering::Relaxed);
                        self.taken_out(consumer, ticket, source.offset + 1, size(&record));
                        if rising.is_empty() && arrived.is_empty() && self.is_empty_or_up(producer) {
                            return Ok(Emptied::All);
                        }
                    }
                    Err(error @ SendError::TooLarge { .. }) => {
                        let reject = Reject::new(RejectCode::TooLarge, error.to_string());
                        shared.dead_letters.bury(&record, &source, &reject, 1).await;
                        self.taken_out(consumer, ticket, source.offset + 1, size(&record));
                    }
                    Err(error) => return Ok(self.lost(producer, &error.to_string())),
                },
                taken = consumer.recv_many(WINDOW), if arrived.is_empty() => arrived.extend(taken?),
                () = sleep(pace.wait().max(Duration::from_millis(1))), if !arrived.is_empty() && rising.len() < WINDOW => {}
                () = sleep_until(progress + shared.settings.timeout), if !rising.is_empty() => {
                    return Ok(self.lost(producer, "no confirmation in time"));
                }
                () = sleep(NOTHING_FOR), if rising.is_empty() && arrived.is_empty() => {
                    self.look_how_far().await;
                    if self.is_empty_or_up(producer) {
                        return Ok(Emptied::All);
                    }
                }
                () = stop.said() => {
                    producer.abandon();
                    return Ok(Emptied::Stopped);
                }
            }
            if DELETE_EVERY <= deleted.elapsed() {
                deleted = Instant::now();
                let uplink = self.clone();
                tokio::spawn(async move { uplink.delete_taken().await });
            }
        }
    }

    /// Whether nothing waits any more; then the link is up.
    fn is_empty_or_up(&self, producer: &Producer) -> bool {
        self.shared.state.borrow().waiting().is_empty() && self.raise(producer)
    }

    fn lost(&self, producer: &Producer, reason: &str) -> Emptied {
        let generation = self.shared.state.borrow().generation();
        if self.shared.state.borrow().is_up() {
            self.lose(generation, reason);
        } else {
            tracing::warn!(topic = self.shared.ends.topic, "uplink lost again: {reason}");
            producer.abandon();
        }
        Emptied::Lost
    }

    async fn drop_oldest(
        &self,
        consumer: &Consumer,
        stop: &mut Stop,
    ) -> Result<Emptied, KafkaError> {
        let max_bytes = self.shared.settings.buffer.max_bytes;
        // A little more than must go, so that joining the group is worth it.
        let enough = max_bytes - max_bytes / 16;
        while enough < self.shared.state.borrow().waiting().bytes() {
            let taken = tokio::select! {
                taken = consumer.recv_many(WINDOW) => taken?,
                () = sleep(NOTHING_FOR) => {
                    self.look_how_far().await;
                    continue;
                }
                () = stop.said() => return Ok(Emptied::Stopped),
            };
            for Delivery { record, source, ticket, .. } in taken {
                if self.shared.state.borrow().waiting().bytes() <= enough {
                    break;
                }
                self.bury(record, source, ticket, consumer).await;
            }
        }
        Ok(Emptied::All)
    }

    /// Drops a record: all but its value becomes a dead letter.
    async fn bury(
        &self,
        mut record: wire::Record,
        source: wire::Source,
        ticket: Ticket,
        consumer: &Consumer,
    ) {
        let bytes = size(&record);
        let max_mib = self.shared.settings.buffer.max_bytes >> 20;
        let reason = format!(
            "it waited for `{}` longest, and topic `{}` holds the {max_mib} MiB that may",
            self.shared.ends.servers, source.topic
        );
        record.value = None;
        let reject = Reject::new(RejectCode::BufferFull, reason);
        self.shared.dead_letters.bury(&record, &source, &reject, 0).await;
        self.shared.counts.dropped.fetch_add(1, Ordering::Relaxed);
        self.taken_out(consumer, ticket, source.offset + 1, bytes);
    }

    fn taken_out(&self, consumer: &Consumer, ticket: Ticket, next: i64, bytes: u64) {
        consumer.done([ticket]);
        self.shared.state.send_modify(|state| state.taken_out(next, bytes));
    }

    /// Takes note of what another process has taken out.
    async fn look_how_far(&self) {
        match self.extent().await {
            Ok((_, next)) => self.shared.state.send_modify(|state| state.taken_out(next, 0)),
            Err(error) => tracing::warn!("the buffer does not say how far it was read: {error}"),
        }
    }

    /// Gives the disk back what was taken out.
    async fn delete_taken(&self) {
        let next = self.shared.state.borrow().waiting().next();
        let topic = &self.shared.settings.buffer.topic.name;
        let deleted =
            admin::delete_records(&self.shared.ends.own_servers, topic, &[(0, next)]).await;
        if let Err(error) = deleted {
            tracing::warn!("what was taken out of the buffer still takes its disk: {error}");
        }
    }
}

fn look_again() -> Duration {
    LOOK_AGAIN.mul_f64(0.5 + 0.5 * rand::random::<f64>())
}

/// The only partition of a buffer, and the offset of the first record in it that waits.
pub async fn buffer_extent(servers: &str, topic: &str) -> Result<(Extent, i64), KafkaError> {
    let extents = admin::extents(servers, topic).await?;
    let &[extent] = extents.as_slice() else {
        let (topic, count) = (topic.to_owned(), extents.len());
        return Err(KafkaError::NotOnePartition { topic, count });
    };
    let progress = admin::progress(servers, topic).await?;
    let committed = progress.iter().find(|progress| progress.topic == *topic);
    let committed = committed.map_or(extent.start, |progress| progress.committed);
    Ok((extent, committed.max(extent.start)))
}
