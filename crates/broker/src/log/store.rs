//! The log itself: appends in memory order, remembers what is not durable, knows which segment holds what.
//!
//! It knows no threads and no clock. Its caller holds a lock around it and syncs what [`Log::begin_sync`]
//! names outside of that lock.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::compaction::{Compaction, CompactionBounds, Replacement};
use super::read::{ReadPlan, Source, Target};
use super::recovery::{OpenError, Recovered, Trust, recover};
use super::retention::{Kept, Retention, is_older};
use super::segment::{
    Active, COMPACTED, Extent, START, Seal, Sealed, newest_ms, write_offset, write_seal,
};
use crate::files::sync_dir;
use crate::producers::{Producers, SequenceError, Verdict};
use crate::topic_config::TopicConfig;
use protocol::batch::NewBatch;

/// How a log is kept.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LogConfig {
    pub(crate) topic: TopicConfig,
    /// Idempotent producers that are remembered.
    pub(crate) producers: usize,
    pub(crate) compaction: CompactionBounds,
}

/// Why a batch was not appended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AppendError {
    #[error(transparent)]
    Sequence(#[from] SequenceError),
    /// Nothing of the batch is in the log, and the log goes on.
    #[error("writing {path}: {source}")]
    Write { path: PathBuf, source: io::Error },
    /// The file may hold bytes it should not: the log has to be opened again.
    #[error("undoing a failed write to {path}: {source}")]
    Undo { path: PathBuf, source: io::Error },
}

/// Where a batch is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Appended {
    pub(crate) base_offset: i64,
    /// The batch is durable when everything before this offset is.
    pub(crate) next_offset: i64,
}

#[derive(Debug)]
pub(crate) struct Log {
    dir: PathBuf,
    config: LogConfig,
    /// Records before it were deleted, although their segment may still be there.
    start_offset: i64,
    /// The log is compacted before it.
    clean_offset: i64,
    sealed: VecDeque<Sealed>,
    active: Active,
    producers: Producers,
    unsynced_seals: Vec<PendingSeal>,
    is_dir_unsynced: bool,
}

/// A full segment that is not known to be durable, and the seal it gets when it is.
#[derive(Debug)]
struct PendingSeal {
    base_offset: i64,
    path: PathBuf,
    file: Arc<File>,
    seal: Vec<u8>,
}

impl Log {
    pub(crate) fn open(dir: &Path, trust: Trust, config: LogConfig) -> Result<Self, OpenError> {
        let Recovered { start_offset, clean_offset, sealed, active, producers } =
            recover(dir, trust, config.producers)?;
        Ok(Self {
            dir: dir.to_owned(),
            config,
            start_offset,
            clean_offset,
            sealed: sealed.into(),
            active,
            producers,
            unsynced_seals: Vec::new(),
            is_dir_unsynced: false,
        })
    }

    pub(crate) fn start_offset(&self) -> i64 {
        let first = self.sealed.front().map_or(&self.active.extent, |segment| &segment.extent);
        first.base_offset.max(self.start_offset)
    }

    pub(crate) fn configure(&mut self, config: LogConfig) {
        self.config = config;
    }

    pub(crate) fn next_offset(&self) -> i64 {
        self.active.extent.next_offset
    }

    /// Appends a batch, or finds it again if it is a producer's retry.
    pub(crate) fn append(&mut self, mut batch: NewBatch) -> Result<Appended, AppendError> {
        if let Verdict::Duplicate { base_offset, next_offset } =
            self.producers.check(&batch.header)?
        {
            return Ok(Appended { base_offset, next_offset });
        }
        let size = self.active.extent.size;
        let is_full =
            u64::from(size) + batch.header.size as u64 > self.config.topic.segment_bytes.into();
        if is_full && 0 < size {
            self.roll().map_err(|source| AppendError::Write { path: self.dir.clone(), source })?;
        }
        batch.assign(self.next_offset());
        if let Err(source) = self.active.append(&batch) {
            let path = self.active.path.clone();
            return Err(match self.active.trim() {
                Ok(()) => AppendError::Write { path, source },
                Err(source) => AppendError::Undo { path, source },
            });
        }
        self.producers.record(&batch.header, self.config.producers);
        let (base_offset, next_offset) = (batch.header.base_offset, batch.header.next_offset());
        Ok(Appended { base_offset, next_offset })
    }

    #[cfg(test)]
    pub(crate) fn replace_file(&mut self, file: File) -> File {
        let old = std::mem::replace(&mut self.active.file, Arc::new(file));
        Arc::into_inner(old).expect("nobody else uses the file")
    }

    /// Begins a new active segment.
    fn roll(&mut self) -> io::Result<()> {
        let active = Active::create(&self.dir, self.next_offset())?;
        let Active { extent, index, file, path, .. } = std::mem::replace(&mut self.active, active);
        let seal = Seal::encode(&extent, &index, &self.producers);
        let base_offset = extent.base_offset;
        self.unsynced_seals.push(PendingSeal { base_offset, path: path.clone(), file, seal });
        self.sealed.push_back(Sealed { extent, path, index: Some(Arc::new(index)) });
        self.is_dir_unsynced = true;
        Ok(())
    }

    /// Deletes records before `offset`, durably. Their segments go when the next ones are retired.
    pub(crate) fn delete_before(&mut self, offset: i64) -> io::Result<()> {
        if self.start_offset() < offset {
            write_offset(&self.dir, START, offset)?;
            self.start_offset = offset;
        }
        Ok(())
    }

    /// Takes out of the log what has been kept long enough and is before `end_offset`, for the caller to
    /// remove. An active segment that is old is closed, so that it goes or can be compacted as well.
    pub(crate) fn retire(&mut self, end_offset: i64, now_ms: i64) -> io::Result<Vec<Sealed>> {
        let TopicConfig { cleanup, retention, retention_bytes, segment_age, .. } =
            self.config.topic;
        let retention = if cleanup.deletes() {
            Retention { time: retention, bytes: retention_bytes }
        } else {
            Retention::default()
        };
        let Active { extent, path, begun_ms, .. } = &self.active;
        let is_due = is_older(*begun_ms, segment_age, now_ms)
            || retention.is_old(newest_ms(extent, path), now_ms);
        if 0 < extent.size && is_due {
            self.roll()?;
        }
        let start_offset = self.start_offset;
        let deleted = |sealed: &&Sealed| sealed.extent.next_offset <= start_offset;
        let deleted = self.sealed.iter().take_while(deleted).count();
        let durable = |sealed: &&Sealed| sealed.extent.next_offset <= end_offset;
        let full = self.sealed.iter().take_while(durable).map(|sealed| Kept {
            bytes: sealed.extent.size.into(),
            newest_ms: newest_ms(&sealed.extent, &sealed.path),
        });
        let expired = retention.expired(full, self.size(), now_ms);
        Ok(self.sealed.drain(..deleted.max(expired)).collect())
    }

    /// A pass of compaction, if enough of what is before `end_offset` has not been through one.
    pub(crate) fn compaction(&self, end_offset: i64, now_ms: i64) -> Option<Compaction> {
        let TopicConfig {
            cleanup,
            segment_bytes,
            tombstones_kept,
            compaction_lag,
            dirty_ratio,
            ..
        } = self.config.topic;
        let may_be_compacted = |segment: &&Sealed| {
            let newest_ms = newest_ms(&segment.extent, &segment.path);
            segment.index.is_none()
                && segment.extent.next_offset <= end_offset
                && is_older(newest_ms, compaction_lag, now_ms)
        };
        let segments: Vec<_> = self.sealed.iter().take_while(may_be_compacted).cloned().collect();
        let bytes = |segments: &mut dyn Iterator<Item = &Sealed>| -> u64 {
            segments.map(|segment| u64::from(segment.extent.size)).sum()
        };
        let is_dirty = |segment: &&Sealed| self.clean_offset < segment.extent.next_offset;
        let dirty = bytes(&mut segments.iter().filter(is_dirty));
        let is_enough = dirty_ratio * bytes(&mut segments.iter()) as f64 <= dirty as f64;
        (cleanup.compacts() && 0 < dirty && is_enough).then(|| Compaction {
            dir: self.dir.clone(),
            segments,
            clean_offset: self.clean_offset,
            segment_bytes,
            tombstones_kept,
            bounds: self.config.compaction,
        })
    }

    /// Puts segments that were written anew in the place of the old, which the caller then removes. False if
    /// the old ones are not all there: retention has taken some.
    pub(crate) fn replace(&mut self, replacement: &Replacement) -> io::Result<bool> {
        let Replacement { old, new, unfinished } = replacement;
        let is_first = |sealed: &Sealed| sealed.path == old[0].path;
        let Some(start) = self.sealed.iter().position(is_first) else { return Ok(false) };
        let range = start..start + old.len();
        let is_there = self.sealed.range(start..).map(|sealed| &sealed.path);
        if !is_there.take(old.len()).eq(old.iter().map(|sealed| &sealed.path)) {
            return Ok(false);
        }
        std::fs::rename(unfinished, &new.path)?;
        sync_dir(&self.dir)?;
        self.sealed.drain(range);
        self.sealed.insert(start, new.clone());
        Ok(true)
    }

    /// Notes how far the log is compacted.
    pub(crate) fn compacted_before(&mut self, offset: i64) -> io::Result<()> {
        write_offset(&self.dir, COMPACTED, offset)?;
        self.clean_offset = offset;
        Ok(())
    }

    /// Bytes of all segments.
    pub(crate) fn size(&self) -> u64 {
        let sealed: u64 = self.sealed.iter().map(|segment| u64::from(segment.extent.size)).sum();
        sealed + u64::from(self.active.extent.size)
    }

    /// Names what has to be synced for everything appended so far to be durable.
    pub(crate) fn begin_sync(&mut self) -> SyncWork {
        SyncWork {
            dir: std::mem::take(&mut self.is_dir_unsynced).then(|| self.dir.clone()),
            seals: std::mem::take(&mut self.unsynced_seals),
            active: Arc::clone(&self.active.file),
            next_offset: self.next_offset(),
        }
    }

    /// Lets go of the indexes that are on disk as part of a seal.
    pub(crate) fn finish_sync(&mut self, sealed_bases: &[i64]) {
        for segment in self.sealed.iter_mut().rev() {
            if sealed_bases.contains(&segment.extent.base_offset) {
                segment.index = None;
            }
        }
    }

    /// The segment to read `target` from, for a reader that may see what is before `end_offset`.
    pub(crate) fn plan(&self, target: Target, end_offset: i64) -> Option<ReadPlan> {
        let holds = |extent: &Extent| match target {
            Target::Offset(offset) => offset < extent.next_offset,
            Target::Timestamp(timestamp) => timestamp <= extent.max_timestamp,
        };
        let sealed = match target {
            Target::Offset(_) => {
                let after = self.sealed.partition_point(|segment| !holds(&segment.extent));
                self.sealed.get(after)
            }
            Target::Timestamp(_) => self.sealed.iter().find(|segment| holds(&segment.extent)),
        };
        if let Some(Sealed { extent, path, index }) = sealed {
            let path = path.clone();
            let source = match index {
                Some(index) => Source::Indexed { path, index: Arc::clone(index) },
                None => Source::Sealed { path },
            };
            return Some(ReadPlan { source, extent: *extent, end_offset });
        }
        let Active { extent, index, file, .. } = &self.active;
        let position = match target {
            Target::Offset(offset) => index.position_of(offset),
            Target::Timestamp(timestamp) => index.position_since(timestamp),
        };
        let source = Source::Open { file: Arc::clone(file), position };
        holds(extent).then(|| ReadPlan { source, extent: *extent, end_offset })
    }

    /// Whether the batch that holds `offset` is in a sealed segment.
    pub(crate) fn is_sealed(&self, offset: i64) -> bool {
        self.sealed.back().is_some_and(|segment| offset < segment.extent.next_offset)
    }

    /// The newest timestamp of any record; None in an empty log.
    pub(crate) fn max_timestamp(&self) -> Option<i64> {
        let sealed = self.sealed.iter().map(|segment| segment.extent.max_timestamp);
        sealed.chain([self.active.extent.max_timestamp]).max().filter(|&max| max != i64::MIN)
    }

    /// About how many bytes there are from `offset` to the end, exact to the index interval.
    pub(crate) fn bytes_from(&self, offset: i64) -> u64 {
        let whole = |extent: &Extent| if offset < extent.next_offset { extent.size } else { 0 };
        let sealed: u64 = self.sealed.iter().map(|segment| u64::from(whole(&segment.extent))).sum();
        let active = whole(&self.active.extent);
        sealed + u64::from(active.saturating_sub(self.active.index.position_of(offset)))
    }
}

/// A sync to be done without the log's lock.
#[derive(Debug)]
pub(crate) struct SyncWork {
    dir: Option<PathBuf>,
    seals: Vec<PendingSeal>,
    active: Arc<File>,
    /// Everything before this offset is durable once the work is done.
    pub(crate) next_offset: i64,
}

impl SyncWork {
    /// Syncs, oldest first, and returns the base offsets of the segments whose seals are on disk.
    pub(crate) fn run(self) -> io::Result<Vec<i64>> {
        for sealed in &self.seals {
            sealed.file.sync_data()?;
        }
        self.active.sync_data()?;
        if let Some(dir) = &self.dir {
            sync_dir(dir)?;
        }
        let mut bases = Vec::new();
        for PendingSeal { base_offset, path, seal, .. } in &self.seals {
            // Without a seal the index stays in memory and the next start reads the segment: no more is lost.
            match write_seal(path, seal) {
                Ok(()) => bases.push(*base_offset),
                Err(error) => tracing::warn!(path = %path.display(), %error, "writing a seal"),
            }
        }
        Ok(bases)
    }
}
