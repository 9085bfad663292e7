//! A partition: a log behind a lock, its high watermark, and what to do when the disk fails.
//!
//! The high watermark is the offset before which everything is durable; consumers see nothing beyond it. It is
//! a watch channel: producers wait on it for their acknowledgement and fetches for data.
//!
//! When a write cannot be undone or a sync fails, the log is abandoned: the channel closes, so that whoever
//! waits gets an error, and the flusher opens the log again, cut back to the last durable offset. A failed
//! sync is never repeated in the hope of success, because the kernel may have dropped the pages it could not
//! write and would then report success for nothing.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::{Duration, Instant};
use tracing::{error, info};

use super::flusher::{Durable, Flush, Flusher};
use super::read::{Oversize, Read, ReadPlan, Target};
use super::recovery::{OpenError, Trust};
use super::store::{AppendError, Appended, Log, LogConfig};
use protocol::batch::NewBatch;

/// Pause between two attempts to open a failed log again.
const REOPEN_PAUSE: Duration = Duration::from_secs(1);

/// How often a read goes on after its segment was removed under it: each time, another pass has ended.
const READ_ATTEMPTS: usize = 3;

/// Why a partition could not take a batch or give one.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PartitionError {
    #[error(transparent)]
    Append(#[from] AppendError),
    #[error("the log is being opened again after an error on the disk")]
    Failed,
    #[error("the topic was deleted")]
    Deleted,
    #[error("offset {offset} is outside [{start}, {end}]")]
    OutOfRange { offset: i64, start: i64, end: i64 },
    #[error("removing records from {path}: {source}")]
    Retain { path: PathBuf, source: std::io::Error },
    #[error("compacting {path}: {source}")]
    Compact { path: PathBuf, source: std::io::Error },
    #[error("reading {path}: {source}")]
    Read { path: PathBuf, source: std::io::Error },
}

#[derive(Debug)]
pub(crate) struct Partition {
    dir: PathBuf,
    flush: Flush,
    flusher: Flusher,
    this: Weak<Self>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    config: LogConfig,
    health: Health,
    high_watermark: watch::Sender<i64>,
    is_queued: bool,
}

#[derive(Debug)]
enum Health {
    Sound(Box<Log>),
    Failed { durable: i64, start: i64, retry_at: Instant },
    Deleted,
}

/// The offsets a partition's readers may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Watermarks {
    pub(crate) start: i64,
    pub(crate) high: i64,
}

/// A batch that was written and is durable once the high watermark reaches `next_offset`.
#[derive(Debug)]
pub(crate) struct PendingAppend {
    pub(crate) base_offset: i64,
    pub(crate) start_offset: i64,
    next_offset: i64,
    high_watermark: watch::Receiver<i64>,
}

impl PendingAppend {
    /// Waits for durability; false if it will never come.
    pub(crate) async fn durable(&mut self) -> bool {
        let next_offset = self.next_offset;
        self.high_watermark.wait_for(|&high| next_offset <= high).await.is_ok()
    }
}

impl Partition {
    /// Opens the log in `dir`, which has to exist.
    pub(crate) fn open(
        dir: &Path,
        config: LogConfig,
        flush: Flush,
        flusher: Flusher,
    ) -> Result<Arc<Self>, OpenError> {
        let log = Log::open(dir, Trust::WholeBatches, config)?;
        let high_watermark = watch::Sender::new(log.next_offset());
        let health = Health::Sound(Box::new(log));
        let state = State { config, health, high_watermark, is_queued: false };
        Ok(Arc::new_cyclic(|this| Self {
            dir: dir.to_owned(),
            flush,
            flusher,
            this: Weak::clone(this),
            state: Mutex::new(state),
        }))
    }

    /// A panic while the lock was held leaves the log as the panicking append left it: whole, because
    /// nothing is changed before its write succeeded.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes a batch to the end of the log and asks for a sync.
    pub(crate) fn append(&self, batch: NewBatch) -> Result<PendingAppend, PartitionError> {
        let mut state = self.lock();
        let log = match &mut state.health {
            Health::Sound(log) => log,
            Health::Deleted => return Err(PartitionError::Deleted),
            Health::Failed { retry_at, .. } => {
                if *retry_at <= Instant::now() {
                    self.queue(&mut state);
                }
                return Err(PartitionError::Failed);
            }
        };
        let Appended { base_offset, next_offset } = match log.append(batch) {
            Ok(appended) => appended,
            Err(undo @ AppendError::Undo { .. }) => {
                error!(error = %undo, "a log is abandoned and will be opened again");
                self.fail(&mut state);
                return Err(undo.into());
            }
            Err(refused) => return Err(refused.into()),
        };
        let (start_offset, end) = (log.start_offset(), log.next_offset());
        if let Flush::Interval(_) = self.flush {
            state.high_watermark.send_replace(end);
        }
        self.queue(&mut state);
        let high_watermark = state.high_watermark.subscribe();
        Ok(PendingAppend { base_offset, start_offset, next_offset, high_watermark })
    }

    fn queue(&self, state: &mut State) {
        if !std::mem::replace(&mut state.is_queued, true)
            && let Some(this) = self.this.upgrade()
        {
            self.flusher.request(this);
        }
    }

    /// Abandons the log. Everyone who waits on the high watermark is told by its channel closing.
    fn fail(&self, state: &mut State) {
        let Health::Sound(log) = &state.health else { return };
        let durable = *state.high_watermark.borrow();
        let (start, retry_at) = (log.start_offset(), Instant::now());
        state.health = Health::Failed { durable, start, retry_at };
        state.high_watermark = watch::Sender::new(durable);
        self.queue(state);
    }

    /// Opens a failed log again, cut back to what is durable.
    fn reopen(&self, state: &mut State, durable: i64, start: i64) {
        match Log::open(&self.dir, Trust::Below(durable), state.config) {
            Ok(log) => {
                info!(dir = %self.dir.display(), offset = durable, "a failed log was opened again");
                state.high_watermark.send_replace(log.next_offset());
                state.health = Health::Sound(Box::new(log));
            }
            Err(reason) => {
                error!(error = %reason, "a failed log cannot be opened again");
                let retry_at = Instant::now() + REOPEN_PAUSE;
                state.health = Health::Failed { durable, start, retry_at };
            }
        }
    }

    /// Puts another file in the active one's place, which is returned.
    #[cfg(test)]
    pub(crate) fn replace_file(&self, file: std::fs::File) -> std::fs::File {
        let mut state = self.lock();
        let Health::Sound(log) = &mut state.health else { panic!("the log is sound") };
        log.replace_file(file)
    }

    /// Changes how the log is kept from then on.
    pub(crate) fn configure(&self, config: LogConfig) {
        let mut state = self.lock();
        state.config = config;
        if let Health::Sound(log) = &mut state.health {
            log.configure(config);
        }
    }

    /// Removes what has been kept long enough. Blocks.
    pub(crate) fn enforce_retention(&self, now_ms: i64) -> Result<(), PartitionError> {
        let failed = |source| PartitionError::Retain { path: self.dir.clone(), source };
        let retired = {
            let mut state = self.lock();
            let high = *state.high_watermark.borrow();
            let Health::Sound(log) = &mut state.health else { return Ok(()) };
            let retired = log.retire(high, now_ms).map_err(failed)?;
            // The active segment may have been closed.
            self.queue(&mut state);
            retired
        };
        for segment in retired {
            segment.remove().map_err(failed)?;
            info!(segment = %segment.path.display(), "removed a segment");
        }
        Ok(())
    }

    /// Takes out of full segments what newer records have replaced, if there is enough of it. Blocks.
    pub(crate) fn compact(
        &self,
        now_ms: i64,
        is_stopping: &impl Fn() -> bool,
    ) -> Result<(), PartitionError> {
        let failed = |source| PartitionError::Compact { path: self.dir.clone(), source };
        let compaction = {
            let state = self.lock();
            let high = *state.high_watermark.borrow();
            let Health::Sound(log) = &state.health else { return Ok(()) };
            let Some(compaction) = log.compaction(high, now_ms) else { return Ok(()) };
            compaction
        };
        let mut pass = compaction.begin(now_ms, is_stopping).map_err(failed)?;
        let (mut before, mut after) = (0u64, 0u64);
        while let Some(replacement) = pass.next().map_err(failed)? {
            let mut state = self.lock();
            let Health::Sound(log) = &mut state.health else { return Ok(()) };
            if !log.replace(&replacement).map_err(failed)? {
                return Ok(());
            }
            drop(state);
            for segment in &replacement.old {
                segment.remove().map_err(failed)?;
                before += u64::from(segment.extent.size);
            }
            after += u64::from(replacement.new.extent.size);
        }
        let end_offset = pass.end_offset;
        let mut state = self.lock();
        let Health::Sound(log) = &mut state.health else { return Ok(()) };
        log.compacted_before(end_offset).map_err(failed)?;
        info!(dir = %self.dir.display(), offset = end_offset, before, after, "compacted a log");
        Ok(())
    }

    /// Deletes the records before `offset`, or all there are for -1, and returns the first that is left.
    /// Blocks.
    pub(crate) fn delete_before(&self, offset: i64) -> Result<i64, PartitionError> {
        let mut state = self.lock();
        let end = *state.high_watermark.borrow();
        let log = match &mut state.health {
            Health::Sound(log) => log,
            Health::Failed { .. } => return Err(PartitionError::Failed),
            Health::Deleted => return Err(PartitionError::Deleted),
        };
        let start = log.start_offset();
        let offset = if offset == -1 { end } else { offset };
        if offset < 0 || end < offset {
            return Err(PartitionError::OutOfRange { offset, start, end });
        }
        let failed = |source| PartitionError::Retain { path: self.dir.clone(), source };
        log.delete_before(offset).map_err(failed)?;
        Ok(log.start_offset())
    }

    /// Whether records can be appended; false after an error on the disk, until the log is open again.
    pub(crate) fn is_sound(&self) -> bool {
        self.lock().sound().is_ok()
    }

    /// Bytes of all segments.
    pub(crate) fn size(&self) -> u64 {
        match &self.lock().health {
            Health::Sound(log) => log.size(),
            _ => 0,
        }
    }

    /// Ends all use of the log, before its files are removed.
    pub(crate) fn delete(&self) {
        let mut state = self.lock();
        state.health = Health::Deleted;
        state.high_watermark = watch::Sender::new(0);
    }

    /// The high watermark as it moves. Closes when the log fails or is deleted.
    pub(crate) fn watch(&self) -> watch::Receiver<i64> {
        self.lock().high_watermark.subscribe()
    }

    pub(crate) fn watermarks(&self) -> Result<Watermarks, PartitionError> {
        let state = self.lock();
        let start = match &state.health {
            Health::Sound(log) => log.start_offset(),
            Health::Failed { start, .. } => *start,
            Health::Deleted => return Err(PartitionError::Deleted),
        };
        let high = *state.high_watermark.borrow();
        Ok(Watermarks { start, high })
    }

    /// About how many bytes a fetch from `offset` could return.
    pub(crate) fn bytes_from(&self, offset: i64) -> u64 {
        match &self.lock().health {
            Health::Sound(log) => log.bytes_from(offset),
            _ => 0,
        }
    }

    /// Whether `offset` is in a sealed segment: written long ago, and maybe to be waited for until the disk has it.
    pub(crate) fn is_sealed(&self, offset: i64) -> bool {
        match &self.lock().health {
            Health::Sound(log) => log.is_sealed(offset),
            _ => false,
        }
    }

    /// Reads whole batches below the high watermark, from the one that holds `offset` on, or the next where
    /// compaction has left none.
    pub(crate) fn read(
        &self,
        mut offset: i64,
        max_bytes: usize,
        oversize: Oversize,
    ) -> Result<(Watermarks, Bytes), PartitionError> {
        let mut attempts = READ_ATTEMPTS;
        loop {
            let (watermarks, plan) = self.plan(offset)?;
            let Some(plan) = plan else { return Ok((watermarks, Bytes::new())) };
            let segment_end = plan.extent.next_offset;
            match plan.read(offset, max_bytes, oversize) {
                Ok(Read::Batches(batches)) => return Ok((watermarks, batches)),
                Ok(Read::NoneLeft) if segment_end < watermarks.high => offset = segment_end,
                Ok(Read::NoneLeft) => return Ok((watermarks, Bytes::new())),
                // Retention or compaction has removed the segment since it was planned for.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound && 0 < attempts => {
                    attempts -= 1;
                }
                Err(source) => return Err(self.read_error(source)),
            }
        }
    }

    fn plan(&self, offset: i64) -> Result<(Watermarks, Option<ReadPlan>), PartitionError> {
        let state = self.lock();
        let log = state.sound()?;
        let (start, high) = (log.start_offset(), *state.high_watermark.borrow());
        if offset < start || high < offset {
            return Err(PartitionError::OutOfRange { offset, start, end: high });
        }
        let plan = (offset < high).then(|| log.plan(Target::Offset(offset), high)).flatten();
        Ok((Watermarks { start, high }, plan))
    }

    /// The first record that is not older than `timestamp`: its offset and timestamp.
    pub(crate) fn find(&self, timestamp: i64) -> Result<Option<(i64, i64)>, PartitionError> {
        let (start, plan) = {
            let state = self.lock();
            let (log, high) = (state.sound()?, *state.high_watermark.borrow());
            (log.start_offset(), log.plan(Target::Timestamp(timestamp), high))
        };
        let found = plan.map(|plan| plan.find(timestamp)).transpose();
        let found = found.map_err(|source| self.read_error(source))?.flatten();
        Ok(found.map(|(offset, timestamp)| (offset.max(start), timestamp)))
    }

    /// The newest record's timestamp.
    pub(crate) fn max_timestamp(&self) -> Result<Option<i64>, PartitionError> {
        Ok(self.lock().sound()?.max_timestamp())
    }

    fn read_error(&self, source: std::io::Error) -> PartitionError {
        PartitionError::Read { path: self.dir.clone(), source }
    }
}

impl State {
    fn sound(&self) -> Result<&Log, PartitionError> {
        match &self.health {
            Health::Sound(log) => Ok(log),
            Health::Failed { .. } => Err(PartitionError::Failed),
            Health::Deleted => Err(PartitionError::Deleted),
        }
    }
}

impl Durable for Partition {
    fn sync(&self) {
        let work = {
            let mut state = self.lock();
            state.is_queued = false;
            match &mut state.health {
                Health::Sound(log) => log.begin_sync(),
                Health::Deleted => return,
                Health::Failed { durable, start, .. } => {
                    let (durable, start) = (*durable, *start);
                    return self.reopen(&mut state, durable, start);
                }
            }
        };
        let next_offset = work.next_offset;
        let result = self.flusher.timed(|| work.run());
        let mut state = self.lock();
        match (result, &mut state.health) {
            (Ok(sealed), Health::Sound(log)) => {
                log.finish_sync(&sealed);
                state.high_watermark.send_if_modified(|high| {
                    let moves = *high < next_offset;
                    *high = next_offset.max(*high);
                    moves
                });
            }
            (Err(source), Health::Sound(_)) => {
                error!(dir = %self.dir.display(), error = %source, "a sync failed; the log is abandoned");
                self.fail(&mut state);
            }
            // Failed or deleted in the meantime: whoever waited was told then.
            (_, Health::Failed { .. } | Health::Deleted) => {}
        }
    }
}
