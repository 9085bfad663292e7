//! Compaction: of each key, the newest record stays; older ones go, and in the end so do tombstones.
//!
//! It reads full segments only, never the one that is appended to. A pass notes the newest offset of each key
//! in the part that no pass has seen ([`NewestByKey`]), then writes all segments up to there anew without what
//! is out of date, several small ones into one, and puts them in the place of the old. Offsets stay as they
//! are, so that what is left has gaps. A pass that ends half way has lost nothing and is begun again.
//!
//! Guarantees: the newest record of a key stays, whatever its value; one without a value (a tombstone) stays
//! for `delete.retention.ms` after its segment was last written to, so that readers hear of it; the last record
//! of all stays. A batch that cannot be decompressed stays whole, and then so do all tombstones after it.
//!
//! Memory is bounded: by [`CompactionBounds::keys`], in that a pass ends before the key too many and the next
//! one goes on from there, and by one batch at a time, decompressed.

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::fs::{self, File};
use std::hash::BuildHasher;
use std::io::{self, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::index::SparseIndex;
use super::recovery::{Place, read_batch};
use super::retention::is_older;
use super::segment::{Extent, Seal, Sealed, SegmentName, newest_ms, seal_path, write_seal};
use protocol::batch::{BatchHeader, HEADER_BYTES, rewritten};
use protocol::compression::Compression;
use protocol::records::{Record, Records};

/// Bytes that are read or written at once.
const BUFFER_BYTES: usize = 64 * 1024;

/// What bounds the memory of a pass.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CompactionBounds {
    /// Keys that one pass distinguishes.
    pub(crate) keys: usize,
    /// Bytes of a batch's records once they are decompressed.
    pub(crate) inflated_bytes: usize,
}

/// Where each key was seen last.
///
/// Keys are known by 128 bits of two randomly seeded hashes: that two keys share them does not happen by chance
/// and cannot be brought about by whoever chooses keys.
#[derive(Debug)]
pub(crate) struct NewestByKey {
    seeds: [RandomState; 2],
    offsets: HashMap<[u64; 2], i64>,
    bound: usize,
}

impl NewestByKey {
    fn new(bound: usize) -> Self {
        Self { seeds: [RandomState::new(), RandomState::new()], offsets: HashMap::new(), bound }
    }

    /// Notes a key; false if there is no room for another.
    fn note(&mut self, key: &[u8], offset: i64) -> bool {
        let hash = self.hash(key);
        if self.bound <= self.offsets.len() && !self.offsets.contains_key(&hash) {
            return false;
        }
        self.offsets.insert(hash, offset);
        true
    }

    fn newest(&self, key: &[u8]) -> Option<i64> {
        self.offsets.get(&self.hash(key)).copied()
    }

    fn hash(&self, key: &[u8]) -> [u64; 2] {
        self.seeds.each_ref().map(|seed| seed.hash_one(key))
    }
}

/// One pass over a log, to be run without the log's lock.
#[derive(Debug)]
pub(crate) struct Compaction {
    pub(crate) dir: PathBuf,
    /// Full segments with their seals on disk, oldest first; never empty.
    pub(crate) segments: Vec<Sealed>,
    /// What is before it has been through a pass.
    pub(crate) clean_offset: i64,
    pub(crate) segment_bytes: u32,
    pub(crate) tombstones_kept: Duration,
    pub(crate) bounds: CompactionBounds,
}

/// Segments that were written anew as one.
#[derive(Debug)]
pub(crate) struct Replacement {
    pub(crate) old: Vec<Sealed>,
    pub(crate) new: Sealed,
    /// Where the new segment is until it is put in its place.
    pub(crate) unfinished: PathBuf,
}

/// What may go.
#[derive(Debug)]
struct Rule<'a> {
    newest: &'a NewestByKey,
    clean_offset: i64,
    last_offset: i64,
    tombstones_may_go: bool,
}

impl Rule<'_> {
    fn keeps(&self, offset: i64, record: &Record<'_>) -> bool {
        let Some(key) = record.key.filter(|_| offset != self.last_offset) else { return true };
        let is_newest = self.newest.newest(key).is_none_or(|newest| newest <= offset);
        let is_due = record.value.is_none() && offset < self.clean_offset && self.tombstones_may_go;
        is_newest && !is_due
    }
}

/// A pass under way: it knows what is newest, and writes segment after segment.
#[derive(Debug)]
pub(crate) struct Pass<S> {
    compaction: Compaction,
    newest: NewestByKey,
    /// The log is compacted before it when the pass has ended.
    pub(crate) end_offset: i64,
    /// Index of the segment to go on with.
    next: usize,
    tombstones_may_go: bool,
    now_ms: i64,
    is_stopping: S,
}

impl Compaction {
    /// Notes the newest offset of each key. `is_stopping` is asked before each batch, and ends the pass with
    /// an error.
    pub(crate) fn begin<S: Fn() -> bool>(self, now_ms: i64, is_stopping: S) -> io::Result<Pass<S>> {
        let (newest, end_offset) = self.newest_by_key(&is_stopping)?;
        Ok(Pass {
            compaction: self,
            newest,
            end_offset,
            next: 0,
            tombstones_may_go: true,
            now_ms,
            is_stopping,
        })
    }

    /// The newest offset of each key, and up to which offset that holds.
    fn newest_by_key(&self, is_stopping: &impl Fn() -> bool) -> io::Result<(NewestByKey, i64)> {
        let mut newest = NewestByKey::new(self.bounds.keys);
        let mut end = self.clean_offset;
        let is_dirty = |segment: &&Sealed| self.clean_offset < segment.extent.next_offset;
        for segment in self.segments.iter().filter(is_dirty) {
            let mut batches = Batches::open(segment)?;
            while let Some((header, batch)) = batches.next(is_stopping)? {
                // Batches that cannot be looked into stay, so there is nothing to note of them.
                let records = self.look_into(&header, batch).unwrap_or_default();
                for record in Records::new(&records, header.record_count).map_while(Result::ok) {
                    let Some(offset) = header.offset_of(&record) else { break };
                    let is_dirty = self.clean_offset <= offset;
                    if is_dirty && record.key.is_some_and(|key| !newest.note(key, offset)) {
                        return Ok((newest, offset));
                    }
                }
            }
            end = segment.extent.next_offset;
        }
        Ok((newest, end))
    }

    /// The records of a batch, if they can be decompressed within the bound.
    fn look_into<'a>(&self, header: &BatchHeader, batch: &'a [u8]) -> Option<Cow<'a, [u8]>> {
        let compression = Compression::of(header)?;
        let records = compression.inflate(&batch[HEADER_BYTES..], self.bounds.inflated_bytes);
        records.inspect_err(|error| tracing::warn!(%error, "a batch stays whole")).ok()
    }
}

impl<S: Fn() -> bool> Pass<S> {
    /// Writes as many of the next segments as fit into one anew, beside the old. None when the pass is through.
    pub(crate) fn next(&mut self) -> io::Result<Option<Replacement>> {
        while let Some(first) = self.segment() {
            let base_offset = first.extent.base_offset;
            let mut writer = SegmentWriter::create(&self.compaction.dir, base_offset)?;
            let mut old = Vec::new();
            while let Some(segment) = self.segment() {
                let size = u64::from(writer.extent.size) + u64::from(segment.extent.size);
                if !old.is_empty() && u64::from(self.compaction.segment_bytes) < size {
                    break;
                }
                self.copy(&segment, &mut writer)?;
                old.push(segment);
                self.next += 1;
            }
            if let [segment] = &old[..]
                && segment.extent.size == writer.extent.size
            {
                fs::remove_file(&writer.unfinished)?;
                continue;
            }
            return writer.finish(old).map(Some);
        }
        Ok(None)
    }

    fn segment(&self) -> Option<Sealed> {
        let segment = self.compaction.segments.get(self.next)?;
        (segment.extent.base_offset < self.end_offset).then(|| segment.clone())
    }

    /// Writes what stays of a segment.
    fn copy(&mut self, segment: &Sealed, writer: &mut SegmentWriter) -> io::Result<()> {
        let age = self.compaction.tombstones_kept;
        let is_due = is_older(newest_ms(&segment.extent, &segment.path), age, self.now_ms);
        let mut batches = Batches::open(segment)?;
        while let Some((header, batch)) = batches.next(&self.is_stopping)? {
            match self.keep(&header, batch, is_due) {
                Kept::Whole => writer.append(batch)?,
                Kept::Unreadable => {
                    self.tombstones_may_go = false;
                    writer.append(batch)?;
                }
                Kept::Part(batch) => writer.append(&batch)?,
                Kept::Nothing => {}
            }
        }
        Ok(())
    }

    fn keep(&self, header: &BatchHeader, batch: &[u8], tombstones_are_due: bool) -> Kept {
        let rule = Rule {
            newest: &self.newest,
            clean_offset: self.compaction.clean_offset,
            last_offset: self.compaction.segments.last().map_or(0, |s| s.extent.next_offset - 1),
            tombstones_may_go: self.tombstones_may_go && tombstones_are_due,
        };
        let Some(records) = self.compaction.look_into(header, batch) else {
            return Kept::Unreadable;
        };
        let mut kept = Vec::new();
        let (mut count, mut max_timestamp) = (0, i64::MIN);
        for record in Records::new(&records, header.record_count) {
            let Ok(record) = record else { return Kept::Unreadable };
            let place = (header.offset_of(&record), header.timestamp_of(&record));
            let (Some(offset), Some(timestamp)) = place else { return Kept::Unreadable };
            if rule.keeps(offset, &record) {
                kept.extend_from_slice(record.bytes);
                count += 1;
                max_timestamp = max_timestamp.max(timestamp);
            }
        }
        if count == header.record_count {
            return Kept::Whole;
        }
        if count == 0 {
            return Kept::Nothing;
        }
        let compression = Compression::of(header).expect("the batch was decompressed");
        match compression.deflate(kept) {
            Ok(records) => Kept::Part(rewritten(batch, &records, count, max_timestamp)),
            Err(_) => Kept::Unreadable,
        }
    }
}

/// What is left of a batch.
#[derive(Debug)]
enum Kept {
    Whole,
    Part(Vec<u8>),
    Nothing,
    Unreadable,
}

/// The batches of a segment, one at a time.
#[derive(Debug)]
struct Batches<'a> {
    path: &'a Path,
    reader: BufReader<File>,
    next_offset: i64,
    left: u64,
    batch: Vec<u8>,
}

impl<'a> Batches<'a> {
    fn open(segment: &'a Sealed) -> io::Result<Self> {
        Ok(Self {
            path: &segment.path,
            reader: BufReader::with_capacity(BUFFER_BYTES, File::open(&segment.path)?),
            next_offset: segment.extent.base_offset,
            left: segment.extent.size.into(),
            batch: Vec::new(),
        })
    }

    fn next(
        &mut self,
        is_stopping: &impl Fn() -> bool,
    ) -> io::Result<Option<(BatchHeader, &[u8])>> {
        if is_stopping() {
            return Err(io::Error::new(io::ErrorKind::Interrupted, "the broker stops"));
        }
        if self.left == 0 {
            return Ok(None);
        }
        let place = Place::NotBefore(self.next_offset);
        let header = read_batch(&mut self.reader, self.left, place, &mut self.batch)?
            .map_err(|reason| damaged(self.path, &reason))?;
        self.next_offset = header.next_offset();
        self.left -= header.size as u64;
        Ok(Some((header, &self.batch)))
    }
}

/// A segment in the making.
#[derive(Debug)]
struct SegmentWriter {
    dir: PathBuf,
    unfinished: PathBuf,
    extent: Extent,
    index: SparseIndex,
    file: BufWriter<File>,
}

impl SegmentWriter {
    fn create(dir: &Path, base_offset: i64) -> io::Result<Self> {
        let unfinished = dir.join("compacting.unfinished");
        Ok(Self {
            dir: dir.to_owned(),
            file: BufWriter::with_capacity(BUFFER_BYTES, File::create(&unfinished)?),
            unfinished,
            extent: Extent::empty(base_offset),
            index: SparseIndex::default(),
        })
    }

    fn append(&mut self, batch: &[u8]) -> io::Result<()> {
        let header = BatchHeader::parse(batch).map_err(io::Error::other)?;
        self.index.observe(&header, self.extent.size, self.extent.max_timestamp);
        self.extent.extend(&header);
        self.file.write_all(batch)
    }

    /// Makes the segment durable, with its seal. All it lacks is its name.
    fn finish(self, old: Vec<Sealed>) -> io::Result<Replacement> {
        let Self { dir, unfinished, mut extent, index, file } = self;
        let last = old.last().expect("a segment is made from others");
        let seal = Seal::load(&last.path).ok_or_else(|| damaged(&last.path, "no seal"))?;
        extent.next_offset = last.extent.next_offset;
        let versions = old.iter().filter_map(|segment| SegmentName::parse(&segment.path));
        let version = versions.map(|name| name.version).max().unwrap_or(0) + 1;
        let path = SegmentName { base_offset: extent.base_offset, version }.path(&dir);
        let file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
        // Retention and tombstones count from the last write of a producer, not from this one.
        let written = old.iter().map(|segment| fs::metadata(&segment.path)?.modified());
        let written: Vec<_> = written.collect::<io::Result<_>>()?;
        file.set_modified(written.into_iter().max().unwrap_or(SystemTime::UNIX_EPOCH))?;
        file.sync_all()?;
        write_seal(&path, &Seal::encode(&extent, &index, &seal.producers))?;
        // A start after a crash tells by the seal which segments this one replaces.
        File::open(seal_path(&path))?.sync_all()?;
        Ok(Replacement { old, new: Sealed { extent, path, index: None }, unfinished })
    }
}

fn damaged(path: &Path, reason: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{}: {reason}", path.display()))
}

#[cfg(test)]
mod tests;
