//! What has not been confirmed of one partition, and its place in the sequence that keeps retries from storing a
//! record twice (KIP-98).
//!
//! Pure: [`Outbox`] is told what comes and how the broker answered, and says what goes next. Several batches are
//! under way at once. A broker stores none that comes before its turn, so once one has failed, all that follow fail
//! as well: they are gathered, and go again in order. What a broker will never take leaves a gap, and what follows
//! is numbered anew. Where the broker has lost its place, the partition starts a new sequence: what it had stored
//! without saying so is stored twice then, and nothing is lost.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use protocol::batch::{BatchHeader, HEADER_BYTES};
use protocol::compression::Compression;
use protocol::records::Records;
use protocol::{BatchWriter, Sequence, resequenced};

/// A batch's records are at most so large, unless one alone is larger: below the 1 MiB that brokers take by default.
const MAX_BATCH_BYTES: usize = 1_000_000;
/// Records of a batch. The protocol has no bound; one keeps the time that is spent on a batch in bounds.
const MAX_BATCH_RECORDS: usize = 10_000;
/// Batches that follow each other without an answer, at most: as many as brokers remember.
pub(crate) const MAX_UNDER_WAY: usize = 5;

/// Who sends: given by a broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) id: i64,
    pub(crate) epoch: i16,
}

/// A record that waits to be sent, and what goes with it until it is confirmed.
#[derive(Debug)]
pub(crate) struct Item<T> {
    pub(crate) timestamp: i64,
    pub(crate) body: Vec<u8>,
    pub(crate) receipt: T,
}

/// Why a record was not stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    TooLarge,
    Because(Arc<str>),
}

/// How a broker answered for a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It is durable; its first record has this offset.
    Stored(i64),
    /// It may be stored when it is sent again, or has been and nobody knows.
    Again,
    /// It is not its turn, or the broker does not know its sender any more.
    OutOfSequence,
    /// It is larger than the topic takes.
    TooLarge,
    /// It will never be taken, because of these records, or of all where there are none.
    Refused(Vec<usize>, Arc<str>),
}

/// What became of records.
pub(crate) type Verdicts<T> = Vec<(T, Result<i64, Refusal>)>;

#[derive(Debug)]
struct Batch<T> {
    /// Ascending with the order.
    number: u64,
    receipts: Vec<T>,
    bytes: Bytes,
    sequence: Sequence,
}

/// The unconfirmed records of a partition.
#[derive(Debug)]
pub(crate) struct Outbox<T> {
    compression: Compression,
    waiting: VecDeque<Item<T>>,
    under_way: Vec<Batch<T>>,
    /// Go again, before what waits.
    failed: Vec<Batch<T>>,
    /// Something has failed: nothing goes before all that is under way has been answered.
    is_recovering: bool,
    /// What failed is numbered anew before it goes again.
    is_gapped: bool,
    /// Under which the last sequence started.
    identity: Option<Identity>,
    /// Where the next new batch stands; None before the first, and when a new sequence is to start.
    next: Option<Sequence>,
    /// Where the batch after the last that was stored stands, and the number of that.
    after_stored: i32,
    last_stored: u64,
    batches: u64,
}

impl<T> Outbox<T> {
    pub(crate) fn new(compression: Compression) -> Self {
        Self {
            compression,
            waiting: VecDeque::new(),
            under_way: Vec::new(),
            failed: Vec::new(),
            is_recovering: false,
            is_gapped: false,
            identity: None,
            next: None,
            after_stored: 0,
            last_stored: 0,
            batches: 0,
        }
    }

    pub(crate) fn push(&mut self, item: Item<T>) {
        self.waiting.push_back(item);
    }

    /// Whether there is something that could go.
    pub(crate) fn has_more(&self) -> bool {
        !(self.waiting.is_empty() && self.failed.is_empty())
    }

    /// Whether a new sequence starts with what goes next, for which it is to be [identified](Self::identify).
    pub(crate) fn wants_identity(&self) -> bool {
        self.next.is_none() && self.under_way.is_empty() && self.has_more()
    }

    /// Starts a new sequence. False where the last one was this sender's as well: it needs another.
    pub(crate) fn identify(&mut self, identity: Identity) -> bool {
        if self.identity == Some(identity) {
            return false;
        }
        self.identity = Some(identity);
        let start =
            Sequence { producer_id: identity.id, producer_epoch: identity.epoch, base_sequence: 0 };
        self.renumber(0, start);
        true
    }

    /// The next batch to send, if one may go while so many are under way.
    pub(crate) fn next_batch(&mut self, max_under_way: usize) -> Option<(u64, Bytes)> {
        if self.is_recovering && self.under_way.is_empty() {
            self.is_recovering = false;
            if let Some(next) = self.next.filter(|_| self.is_gapped) {
                // What came before something that was stored has been stored as well, or the broker has forgotten
                // this sender. It says which, when it gets that in its old place.
                let from = self.failed.partition_point(|batch| batch.number < self.last_stored);
                self.renumber(from, Sequence { base_sequence: self.after_stored, ..next });
            }
        }
        let next = self.next?;
        if self.is_recovering || max_under_way <= self.under_way.len() {
            return None;
        }
        let batch = if self.failed.is_empty() { self.pack(next)? } else { self.failed.remove(0) };
        let going = (batch.number, batch.bytes.clone());
        self.under_way.push(batch);
        Some(going)
    }

    fn pack(&mut self, sequence: Sequence) -> Option<Batch<T>> {
        let (mut writer, mut receipts) = (BatchWriter::new(), Vec::new());
        while receipts.len() < MAX_BATCH_RECORDS
            && let Some(item) = self.waiting.front()
            && (receipts.is_empty() || writer.size() + item.body.len() < MAX_BATCH_BYTES)
        {
            writer.push(item.timestamp, &item.body);
            receipts.extend(self.waiting.pop_front().map(|item| item.receipt));
        }
        if receipts.is_empty() {
            return None;
        }
        self.next = Some(sequence.after(writer.count()));
        let bytes = writer.finish(sequence, self.compression).expect("memory can be written to");
        self.batches += 1;
        Some(Batch { number: self.batches, receipts, bytes, sequence })
    }

    /// Takes note of the answer for a batch, and returns what became of its records, if that is known.
    pub(crate) fn answered(&mut self, number: u64, answer: Answer) -> Verdicts<T> {
        let Some(at) = self.under_way.iter().position(|batch| batch.number == number) else {
            return Vec::new();
        };
        let mut batch = self.under_way.remove(at);
        match answer {
            Answer::Stored(base) => {
                let records = batch.receipts.len();
                // Answers may be heard in another order than they came in.
                if self.last_stored < number {
                    self.last_stored = number;
                    self.after_stored = batch.sequence.after(records as i32).base_sequence;
                }
                let offset = |at| if base < 0 { base } else { base + at as i64 };
                let receipts = batch.receipts.into_iter().enumerate();
                receipts.map(|(at, receipt)| (receipt, Ok(offset(at)))).collect()
            }
            Answer::Again => {
                self.again(batch);
                Vec::new()
            }
            Answer::OutOfSequence => {
                let is_first = self.under_way.iter().all(|other| number < other.number)
                    && self.failed.iter().all(|other| number < other.number);
                // Those that follow one that failed are out of sequence because of it.
                if is_first && !self.is_gapped {
                    self.next = None;
                }
                self.again(batch);
                Vec::new()
            }
            Answer::TooLarge if 1 < batch.receipts.len() => {
                self.gap();
                self.split(batch);
                Vec::new()
            }
            Answer::TooLarge => {
                self.gap();
                let refuse = |receipt| (receipt, Err(Refusal::TooLarge));
                batch.receipts.into_iter().map(refuse).collect()
            }
            Answer::Refused(which, reason) => {
                self.gap();
                let mut verdicts = Vec::new();
                if which.is_empty() {
                    let refuse = |receipt| (receipt, Err(Refusal::Because(Arc::clone(&reason))));
                    verdicts.extend(batch.receipts.drain(..).map(refuse));
                } else {
                    let kept = self.split(batch);
                    // The others are sound, and go again.
                    for at in which.into_iter().rev() {
                        let at = kept + at;
                        if at < self.failed.len() {
                            let refused = self.failed.remove(at).receipts.into_iter();
                            verdicts.extend(refused.map(|receipt| {
                                (receipt, Err(Refusal::Because(Arc::clone(&reason))))
                            }));
                        }
                    }
                }
                verdicts
            }
        }
    }

    /// Gives up all that has not gone or has failed, if nothing is under way: the partition is not there any more.
    pub(crate) fn clear(&mut self) -> Vec<T> {
        if !self.under_way.is_empty() {
            return Vec::new();
        }
        self.next = None;
        let failed = self.failed.drain(..).flat_map(|batch| batch.receipts);
        failed.chain(self.waiting.drain(..).map(|item| item.receipt)).collect()
    }

    fn again(&mut self, batch: Batch<T>) -> usize {
        self.is_recovering = true;
        let at = self.failed.partition_point(|other| other.number <= batch.number);
        self.failed.insert(at, batch);
        at
    }

    fn gap(&mut self) {
        self.is_gapped = true;
        self.is_recovering = true;
    }

    /// Makes batches of one record each. Returns the position of the first among what has failed.
    fn split(&mut self, batch: Batch<T>) -> usize {
        let Batch { number, receipts, bytes, sequence } = batch;
        let at = self.failed.partition_point(|other| other.number <= number);
        let header = BatchHeader::parse(&bytes).expect("made here");
        let inflated = self.compression.inflate(&bytes[HEADER_BYTES..], usize::MAX - 1);
        let inflated = inflated.expect("compressed here");
        let records = Records::new(&inflated, header.record_count);
        let single = receipts.into_iter().zip(records).map(|(receipt, record)| {
            let record = record.expect("written here");
            let mut writer = BatchWriter::new();
            let timestamp = header.timestamp_of(&record).expect("as it was written");
            writer.push(timestamp, record.body);
            let bytes = writer.finish(sequence, self.compression).expect("as before");
            Batch { number, receipts: vec![receipt], bytes, sequence }
        });
        let single: Vec<_> = single.collect();
        self.failed.splice(at..at, single);
        at
    }

    /// Numbers what has failed, without the first `from` of it, from `start` on, and what follows it after that.
    fn renumber(&mut self, from: usize, start: Sequence) {
        let mut next = start;
        for batch in &mut self.failed[from..] {
            self.batches += 1;
            batch.number = self.batches;
            batch.sequence = next;
            batch.bytes = resequenced(&batch.bytes, next);
            next = next.after(batch.receipts.len() as i32);
        }
        self.next = Some(next);
        self.after_stored = start.base_sequence;
        self.is_gapped = false;
    }
}

#[cfg(test)]
mod tests;
