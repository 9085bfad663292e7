//! Opening a log: which of its bytes can be believed.
//!
//! Sealed segments are believed. The others are read from the first batch on, and end where a batch is torn:
//! its checksum or its place is wrong. What follows was never acknowledged, because the high watermark only
//! passes what is durable, in order. The one case that is not a torn tail, damage before a sealed segment, is
//! an error for a person to look at.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tracing::warn;

use super::index::SparseIndex;
use super::segment::{
    Active, COMPACTED, Extent, START, Seal, Sealed, SegmentName, read_offset, remove_unfinished,
    seal_path, segment_names, write_seal,
};
use crate::files::{remove_if_there, sync_dir};
use crate::producers::Producers;
use protocol::batch::{BatchHeader, HEADER_BYTES, LEADER_EPOCH};

/// Why a log cannot be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: io::Error },
    #[error("{path} is damaged at byte {position} ({reason}), before whole segments")]
    Corrupt { path: PathBuf, position: u32, reason: String },
}

/// A log's parts as they were found.
#[derive(Debug)]
pub(crate) struct Recovered {
    pub(crate) start_offset: i64,
    /// The log is compacted before it.
    pub(crate) clean_offset: i64,
    pub(crate) sealed: Vec<Sealed>,
    pub(crate) active: Active,
    pub(crate) producers: Producers,
}

/// How far to believe what is on disk.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Trust {
    /// Every whole batch counts: the process was started.
    WholeBatches,
    /// Only what is below this offset: a sync failed, and what the page cache shows may not be on disk.
    Below(i64),
}

impl Trust {
    fn end(self) -> i64 {
        match self {
            Self::WholeBatches => i64::MAX,
            Self::Below(offset) => offset,
        }
    }
}

/// Reads a partition's directory, cuts the torn tail, and makes what is left durable.
pub(crate) fn recover(
    dir: &Path,
    trust: Trust,
    producer_capacity: usize,
) -> Result<Recovered, OpenError> {
    remove_unfinished(dir).map_err(at(dir))?;
    let names = remove_replaced(dir).map_err(at(dir))?;
    let start_offset = read_offset(dir, START).map_err(at(dir))?;
    let clean_offset = read_offset(dir, COMPACTED).map_err(at(dir))?;
    let mut producers = Producers::default();
    let mut sealed = Vec::new();
    let mut last = None;
    for (nth, &name) in names.iter().enumerate() {
        let path = name.path(dir);
        let later = &names[nth + 1..];
        let seal = Seal::load(&path).filter(|seal| seal.extent.next_offset <= trust.end());
        if let Some(seal) = seal.filter(|_| !later.is_empty()) {
            producers = seal.producers;
            sealed.push(Sealed { extent: seal.extent, path, index: None });
            continue;
        }
        let scan = Scan::run(&path, name, trust.end(), producer_capacity, &mut producers);
        let scan = scan.map_err(at(&path))?;
        if scan.damage.is_none() && !later.is_empty() {
            sealed.push(seal_again(scan, path.clone(), &producers).map_err(at(&path))?);
        } else {
            last = Some((path, scan, later));
            break;
        }
    }
    let Some((path, scan, later)) = last else {
        let active = Active::create(dir, 0).and_then(|active| sync_dir(dir).map(|()| active));
        let active = active.map_err(at(dir))?;
        return Ok(Recovered { start_offset, clean_offset, sealed, active, producers });
    };
    if let Some(reason) = &scan.damage {
        let position = scan.extent.size;
        let is_sealed_later = later.iter().any(|name| Seal::load(&name.path(dir)).is_some());
        if is_sealed_later && matches!(trust, Trust::WholeBatches) {
            return Err(OpenError::Corrupt { path, position, reason: reason.clone() });
        }
        warn!(path = %path.display(), position, %reason, "dropping the torn end of a log");
        // The newest goes first, so that a crash in between leaves no gap.
        for name in later.iter().rev() {
            remove(&name.path(dir)).map_err(at(dir))?;
        }
    }
    let active = activate(scan, path.clone()).map_err(at(&path))?;
    sync_dir(dir).map_err(at(dir))?;
    Ok(Recovered { start_offset, clean_offset, sealed, active, producers })
}

/// Removes the segments that compaction has replaced without getting to remove them, and names the others.
fn remove_replaced(dir: &Path) -> io::Result<Vec<SegmentName>> {
    let mut names: Vec<SegmentName> = Vec::new();
    let mut replaced_before = 0;
    let found = segment_names(dir)?;
    for (nth, &name) in found.iter().enumerate() {
        let next = found.get(nth + 1);
        let is_older = next.is_some_and(|next| next.base_offset == name.base_offset);
        if is_older || name.base_offset < replaced_before {
            remove(&name.path(dir))?;
            continue;
        }
        if let Some(seal) = Seal::load(&name.path(dir)).filter(|_| 0 < name.version) {
            replaced_before = seal.extent.next_offset;
        }
        names.push(name);
    }
    Ok(names)
}

fn at(path: &Path) -> impl Fn(io::Error) -> OpenError {
    move |source| OpenError::Io { path: path.to_owned(), source }
}

/// Makes a segment the active one: cut to its whole batches, and durable.
fn activate(scan: Scan, path: PathBuf) -> io::Result<Active> {
    let file = OpenOptions::new().read(true).write(true).open(&path)?;
    // To set the length that a file has still marks it as written to, which makes each sync wait for the disk.
    if file.metadata()?.len() != u64::from(scan.extent.size) {
        file.set_len(u64::from(scan.extent.size))?;
    }
    file.sync_all()?;
    // It may have been longer and sealed.
    remove_if_there(&seal_path(&path))?;
    Active::open(scan.extent, scan.index, file, path)
}

/// Gives a full segment without a seal a new one, with the producers as they were at its end. If it cannot be
/// written, on a full disk for instance, the index stays in memory.
fn seal_again(scan: Scan, path: PathBuf, producers: &Producers) -> io::Result<Sealed> {
    let Scan { extent, index, damage: _ } = scan;
    File::open(&path)?.sync_all()?;
    let index = match write_seal(&path, &Seal::encode(&extent, &index, producers)) {
        Ok(()) => None,
        Err(error) => {
            warn!(path = %path.display(), %error, "writing a seal");
            Some(Arc::new(index))
        }
    };
    Ok(Sealed { extent, path, index })
}

fn remove(segment: &Path) -> io::Result<()> {
    remove_if_there(&seal_path(segment))?;
    std::fs::remove_file(segment)
}

/// One segment file, read from start to end or to the first batch that is not whole.
#[derive(Debug)]
struct Scan {
    extent: Extent,
    index: SparseIndex,
    damage: Option<String>,
}

impl Scan {
    fn run(
        path: &Path,
        name: SegmentName,
        end: i64,
        producer_capacity: usize,
        producers: &mut Producers,
    ) -> io::Result<Self> {
        let file = File::open(path)?;
        let file_size = file.metadata()?.len();
        let mut reader = BufReader::with_capacity(64 * 1024, file);
        let mut scan = Self {
            extent: Extent::empty(name.base_offset),
            index: SparseIndex::default(),
            damage: None,
        };
        let mut batch = Vec::new();
        loop {
            let left = file_size - u64::from(scan.extent.size);
            if left == 0 {
                return Ok(scan);
            }
            let place = match name.version {
                0 => Place::At(scan.extent.next_offset),
                _ => Place::NotBefore(scan.extent.next_offset),
            };
            match read_batch(&mut reader, left, place, &mut batch)? {
                Ok(header) if header.base_offset < end => {
                    scan.index.observe(&header, scan.extent.size, scan.extent.max_timestamp);
                    scan.extent.extend(&header);
                    producers.record(&header, producer_capacity);
                }
                Ok(header) => {
                    scan.damage = Some(format!("offset {} may not be on disk", header.base_offset));
                    return Ok(scan);
                }
                Err(reason) => {
                    scan.damage = Some(reason);
                    return Ok(scan);
                }
            }
        }
    }
}

/// Where the next batch of a segment has to begin.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Place {
    At(i64),
    /// The segment was compacted, which leaves gaps.
    NotBefore(i64),
}

/// Reads the next batch into `batch`; `Ok(Err(reason))` if what is there is not the batch that belongs there.
pub(crate) fn read_batch(
    reader: &mut impl Read,
    left: u64,
    place: Place,
    batch: &mut Vec<u8>,
) -> io::Result<Result<BatchHeader, String>> {
    batch.resize(HEADER_BYTES.min(left as usize), 0);
    reader.read_exact(batch)?;
    let header = match BatchHeader::parse(batch) {
        Ok(header) => header,
        Err(error) => return Ok(Err(error.to_string())),
    };
    if left < header.size as u64 {
        return Ok(Err(format!("a batch of {} bytes, of which {left} are there", header.size)));
    }
    let actual = header.base_offset;
    match place {
        Place::At(offset) if actual != offset => {
            return Ok(Err(format!("offset {actual} where {offset} belongs")));
        }
        Place::NotBefore(offset) if actual < offset => {
            return Ok(Err(format!("offset {actual} where {offset} or a later one belongs")));
        }
        _ => {}
    }
    if header.leader_epoch != LEADER_EPOCH || header.last_offset_delta < 0 {
        return Ok(Err("a header that no broker of one node writes".to_owned()));
    }
    batch.resize(header.size, 0);
    reader.read_exact(&mut batch[HEADER_BYTES..])?;
    Ok(header.verify(batch).map(|()| header).map_err(|error| error.to_string()))
}
