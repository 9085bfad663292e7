//! Reading: from an offset or a time to batches, outside the lock of the log.
//!
//! The log hands out a [`ReadPlan`] under its lock; opening files, seeking and reading happen after, so a slow
//! disk holds up a reader and never a producer.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::index::SparseIndex;
use super::segment::{Extent, Seal};
use protocol::batch::{BatchHeader, HEADER_BYTES, first_record_since};

/// Bytes read at a time while walking over headers.
const HEADER_CHUNK_BYTES: usize = 8 * 1024;

/// Where a segment's bytes and index are.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    /// The active segment; `position` comes from its index.
    Open {
        file: Arc<File>,
        position: u32,
    },
    /// A sealed segment whose seal is not on disk yet.
    Indexed {
        path: PathBuf,
        index: Arc<SparseIndex>,
    },
    Sealed {
        path: PathBuf,
    },
}

/// One segment to read, from the first batch that matters.
#[derive(Debug)]
pub(crate) struct ReadPlan {
    pub(crate) source: Source,
    pub(crate) extent: Extent,
    /// Batches from this offset on are not for readers yet.
    pub(crate) end_offset: i64,
}

/// What a read looks for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Target {
    Offset(i64),
    Timestamp(i64),
}

/// What to do with a first batch that is larger than asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Oversize {
    /// Return it alone: a consumer that asks for too little would never get past it.
    Return,
    /// Leave it for a later read: the response holds other batches already.
    Skip,
}

/// What a segment holds for a reader.
#[derive(Debug)]
pub(crate) enum Read {
    Batches(Bytes),
    /// Compaction has left nothing from the offset to the segment's end.
    NoneLeft,
}

impl ReadPlan {
    /// Whole batches from the one that holds `offset` on, of at most `max_bytes`.
    pub(crate) fn read(
        self,
        offset: i64,
        max_bytes: usize,
        oversize: Oversize,
    ) -> io::Result<Read> {
        let (file, position) = self.open(Target::Offset(offset))?;
        let mut headers = self.headers(&file, position);
        while let Some((position, header)) = headers.next()? {
            if offset < header.next_offset() {
                if max_bytes < header.size && oversize == Oversize::Skip {
                    return Ok(Read::Batches(Bytes::new()));
                }
                let left = (self.extent.size - position) as usize;
                let size = max_bytes.max(header.size).min(left);
                let mut batches = BytesMut::zeroed(size);
                file.read_exact_at(&mut batches, u64::from(position))?;
                batches.truncate(whole_batches(&batches, self.end_offset));
                return Ok(Read::Batches(batches.freeze()));
            }
        }
        Ok(Read::NoneLeft)
    }

    /// The offset and timestamp of the first record not older than `timestamp`. For a compressed batch they
    /// are those of its first record: the broker does not look inside.
    pub(crate) fn find(self, timestamp: i64) -> io::Result<Option<(i64, i64)>> {
        let (file, position) = self.open(Target::Timestamp(timestamp))?;
        let mut headers = self.headers(&file, position);
        while let Some((position, header)) = headers.next()? {
            if timestamp <= header.max_timestamp {
                let whole = (header.base_offset, header.base_timestamp);
                if header.is_compressed() {
                    return Ok(Some(whole));
                }
                let mut batch = vec![0; header.size];
                file.read_exact_at(&mut batch, u64::from(position))?;
                return Ok(Some(first_record_since(&batch, timestamp).unwrap_or(whole)));
            }
        }
        Ok(None)
    }

    fn open(&self, target: Target) -> io::Result<(Arc<File>, u32)> {
        let position = |index: &SparseIndex| match target {
            Target::Offset(offset) => index.position_of(offset),
            Target::Timestamp(timestamp) => index.position_since(timestamp),
        };
        match &self.source {
            Source::Open { file, position } => Ok((Arc::clone(file), *position)),
            Source::Indexed { path, index } => Ok((Arc::new(File::open(path)?), position(index))),
            Source::Sealed { path } => {
                // Without its seal a segment is read from its start.
                let start = Seal::load(path).map_or(0, |seal| position(&seal.index));
                Ok((Arc::new(File::open(path)?), start))
            }
        }
    }

    fn headers<'a>(&self, file: &'a File, position: u32) -> Headers<'a> {
        Headers {
            file,
            position,
            end: self.extent.size,
            end_offset: self.end_offset,
            chunk: Vec::new(),
            chunk_position: 0,
        }
    }
}

/// Bytes of the batches at the start of `batches` that are all there and before `end_offset`.
fn whole_batches(batches: &[u8], end_offset: i64) -> usize {
    let mut end = 0;
    while let Ok(header) = BatchHeader::parse(&batches[end..]) {
        if end_offset <= header.base_offset || batches.len() - end < header.size {
            break;
        }
        end += header.size;
    }
    end
}

/// Walks over the headers of a segment.
#[derive(Debug)]
struct Headers<'a> {
    file: &'a File,
    position: u32,
    end: u32,
    end_offset: i64,
    chunk: Vec<u8>,
    chunk_position: u32,
}

impl Headers<'_> {
    fn next(&mut self) -> io::Result<Option<(u32, BatchHeader)>> {
        let left = (self.end - self.position) as usize;
        if left < HEADER_BYTES {
            return Ok(None);
        }
        let mut start = (self.position - self.chunk_position) as usize;
        if self.chunk.len() < start + HEADER_BYTES {
            self.chunk.resize(left.min(HEADER_CHUNK_BYTES), 0);
            self.file.read_exact_at(&mut self.chunk, u64::from(self.position))?;
            self.chunk_position = self.position;
            start = 0;
        }
        let header = BatchHeader::parse(&self.chunk[start..])
            .ok()
            .filter(|header| header.size <= left)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, self.damaged()))?;
        if self.end_offset <= header.base_offset {
            return Ok(None);
        }
        let position = self.position;
        self.position += header.size as u32;
        Ok(Some((position, header)))
    }

    fn damaged(&self) -> String {
        format!("no batch where one was written, at byte {}", self.position)
    }
}
