//! The files of a log: one active segment that grows, and sealed ones that never change again.
//!
//! A seal is written beside a full segment once the segment is durable. It lets a start trust the segment
//! without reading it, and lets a read find its way without an index in memory:
//!
//! ```text
//! "seal":u32 crc:u32 of the rest | base:i64 next:i64 size:u32 max_timestamp:i64 | index | producers
//! ```
//!
//! A seal that is missing or damaged costs a scan, never data.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use bytes::{Buf, BufMut};

use super::index::SparseIndex;
use crate::files;
use crate::producers::Producers;
use protocol::batch::{BatchHeader, NewBatch};

/// File with the first offset that counts, where it is not a segment's first.
pub(crate) const START: &str = "start";
/// File with the offset before which the log is compacted.
pub(crate) const COMPACTED: &str = "compacted";
const SEAL_MAGIC: u32 = u32::from_be_bytes(*b"seal");

/// What a segment holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) base_offset: i64,
    pub(crate) next_offset: i64,
    /// Bytes of whole batches.
    pub(crate) size: u32,
    /// `i64::MIN` while there is no record.
    pub(crate) max_timestamp: i64,
}

impl Extent {
    pub(crate) fn empty(base_offset: i64) -> Self {
        Self { base_offset, next_offset: base_offset, size: 0, max_timestamp: i64::MIN }
    }

    /// Takes in a batch at the end.
    pub(crate) fn extend(&mut self, batch: &BatchHeader) {
        self.next_offset = batch.next_offset();
        self.size += batch.size as u32;
        self.max_timestamp = self.max_timestamp.max(batch.max_timestamp);
    }
}

/// The segment that is appended to.
#[derive(Debug)]
pub(crate) struct Active {
    pub(crate) extent: Extent,
    pub(crate) index: SparseIndex,
    pub(crate) file: Arc<File>,
    pub(crate) path: PathBuf,
    /// In milliseconds since the epoch.
    pub(crate) begun_ms: i64,
}

impl Active {
    /// Creates the file; the directory entry is durable only once the directory is synced.
    pub(crate) fn create(dir: &Path, base_offset: i64) -> io::Result<Self> {
        let path = SegmentName::new(base_offset).path(dir);
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path)?;
        Self::open(Extent::empty(base_offset), SparseIndex::default(), file, path)
    }

    pub(crate) fn open(
        extent: Extent,
        index: SparseIndex,
        file: File,
        path: PathBuf,
    ) -> io::Result<Self> {
        let begun_ms = begun_ms(&file)?;
        Ok(Self { extent, index, file: Arc::new(file), path, begun_ms })
    }

    /// Writes a batch that has its offset. On an error the segment is as before, but for bytes past its end.
    pub(crate) fn append(&mut self, batch: &NewBatch) -> io::Result<()> {
        let position = self.extent.size;
        self.file.write_all_at(batch.bytes(), u64::from(position))?;
        self.index.observe(&batch.header, position, self.extent.max_timestamp);
        self.extent.extend(&batch.header);
        Ok(())
    }

    /// Cuts off what a failed write may have left behind.
    pub(crate) fn trim(&self) -> io::Result<()> {
        self.file.set_len(u64::from(self.extent.size))
    }
}

/// A full segment.
#[derive(Debug, Clone)]
pub(crate) struct Sealed {
    pub(crate) extent: Extent,
    pub(crate) path: PathBuf,
    /// In memory until the seal is on disk.
    pub(crate) index: Option<Arc<SparseIndex>>,
}

impl Sealed {
    pub(crate) fn remove(&self) -> io::Result<()> {
        files::remove_if_there(&seal_path(&self.path))?;
        files::remove_if_there(&self.path)
    }
}

/// When a file was begun, or last written to where the file system does not know; in milliseconds since the
/// epoch.
pub(crate) fn begun_ms(file: &File) -> io::Result<i64> {
    let metadata = file.metadata()?;
    let begun = metadata.created().or_else(|_| metadata.modified())?;
    Ok(begun.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64))
}

/// The newest of a segment's records, or its last write if that is later; in milliseconds since the epoch.
pub(crate) fn newest_ms(extent: &Extent, path: &Path) -> i64 {
    let written = fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    let since_epoch = written.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let written_ms = since_epoch.map_or(i64::MAX, |since| since.as_millis() as i64);
    extent.max_timestamp.max(written_ms)
}

/// An offset as [`write_offset`] left it; 0 if it was never written.
pub(crate) fn read_offset(dir: &Path, name: &str) -> io::Result<i64> {
    let Some(text) = files::read(&dir.join(name))? else { return Ok(0) };
    text.trim().parse().map_err(|_| {
        let reason = format!("`{name}` holds `{}` instead of an offset", text.trim());
        io::Error::new(io::ErrorKind::InvalidData, reason)
    })
}

/// Writes an offset, durably and in one step.
pub(crate) fn write_offset(dir: &Path, name: &str, offset: i64) -> io::Result<()> {
    files::replace(dir, name, &format!("{offset}\n"))
}

/// What a seal says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seal {
    pub(crate) extent: Extent,
    pub(crate) index: SparseIndex,
    pub(crate) producers: Producers,
}

impl Seal {
    pub(crate) fn encode(extent: &Extent, index: &SparseIndex, producers: &Producers) -> Vec<u8> {
        let mut body = Vec::new();
        body.put_i64(extent.base_offset);
        body.put_i64(extent.next_offset);
        body.put_u32(extent.size);
        body.put_i64(extent.max_timestamp);
        index.encode(&mut body);
        producers.encode(&mut body);
        let mut seal = Vec::with_capacity(8 + body.len());
        seal.put_u32(SEAL_MAGIC);
        seal.put_u32(crc32c::crc32c(&body));
        seal.put_slice(&body);
        seal
    }

    fn decode(mut bytes: &[u8]) -> Option<Self> {
        let (magic, crc) = (bytes.try_get_u32().ok()?, bytes.try_get_u32().ok()?);
        if magic != SEAL_MAGIC || crc != crc32c::crc32c(bytes) {
            return None;
        }
        let extent = Extent {
            base_offset: bytes.try_get_i64().ok()?,
            next_offset: bytes.try_get_i64().ok()?,
            size: bytes.try_get_u32().ok()?,
            max_timestamp: bytes.try_get_i64().ok()?,
        };
        let index = SparseIndex::decode(&mut bytes)?;
        let producers = Producers::decode(&mut bytes)?;
        Some(Self { extent, index, producers })
    }

    /// The seal of a segment, if there is one, it is whole, and it speaks of a file of that size.
    pub(crate) fn load(segment: &Path) -> Option<Self> {
        let seal = Self::decode(&fs::read(seal_path(segment)).ok()?)?;
        let size = fs::metadata(segment).ok()?.len();
        (u64::from(seal.extent.size) == size).then_some(seal)
    }
}

/// Writes a seal in one step, so that a crash leaves none or all of it. It is not synced: a lost seal is
/// written again at the next start.
pub(crate) fn write_seal(segment: &Path, seal: &[u8]) -> io::Result<()> {
    let path = seal_path(segment);
    let unfinished = path.with_extension("unfinished");
    fs::write(&unfinished, seal)?;
    fs::rename(&unfinished, &path)
}

/// What a segment's file is called. Of two segments with one base offset the one with the higher version
/// counts; it was made from the other by compaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SegmentName {
    pub(crate) base_offset: i64,
    /// How often the segment was compacted.
    pub(crate) version: u32,
}

impl SegmentName {
    pub(crate) fn new(base_offset: i64) -> Self {
        Self { base_offset, version: 0 }
    }

    pub(crate) fn path(self, dir: &Path) -> PathBuf {
        let Self { base_offset, version } = self;
        match version {
            0 => dir.join(format!("{base_offset:020}.log")),
            _ => dir.join(format!("{base_offset:020}-{version}.log")),
        }
    }

    pub(crate) fn parse(path: &Path) -> Option<Self> {
        let stem = path.file_name()?.to_str()?.strip_suffix(".log")?;
        let (base_offset, version) = stem.split_once('-').unwrap_or((stem, "0"));
        Some(Self { base_offset: base_offset.parse().ok()?, version: version.parse().ok()? })
    }
}

pub(crate) fn seal_path(segment: &Path) -> PathBuf {
    segment.with_extension("seal")
}

/// The segments in a directory, by base offset and version.
pub(crate) fn segment_names(dir: &Path) -> io::Result<Vec<SegmentName>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir)? {
        names.extend(SegmentName::parse(&entry?.path()));
    }
    names.sort_unstable();
    Ok(names)
}

/// Removes what crashes have left of files in the making.
pub(crate) fn remove_unfinished(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "unfinished") {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}
