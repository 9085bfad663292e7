//! Committed offsets: in memory to be read, in an append-only file to be kept.
//!
//! ```text
//! offsets.log   ( length:u32 crc:u32 entry )*
//! entry         group:string topic:string partition:i32 offset:i64 leader_epoch:i32 metadata:string at_ms:i64
//! ```
//!
//! The last entry of a group's partition counts; offset -1 at time 0 takes it away. A commit is acknowledged once it is
//! synced. When half of the file is out of date it is written anew, which never loses an entry: the new file
//! replaces the old one in one step. As with records, a failed sync is not repeated: the file is read again,
//! cut back to what was durable.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bytes::{Buf, BufMut};
use tokio::sync::watch;
use tracing::{error, info, warn};

use crate::files::sync_dir;
use crate::log::flusher::{Durable, Flush, Flusher};

/// Below this size the file is not worth being written anew.
const COMPACT_FROM_BYTES: u64 = 1024 * 1024;
const FILE: &str = "offsets.log";

/// What a group has committed for one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Committed {
    pub(crate) offset: i64,
    pub(crate) leader_epoch: i32,
    pub(crate) metadata: String,
    /// Milliseconds since the epoch.
    pub(crate) at_ms: i64,
}

impl Committed {
    /// Takes away what was committed. Clients may commit any offset, but not at this time.
    const GONE: Self = Self { offset: -1, leader_epoch: -1, metadata: String::new(), at_ms: 0 };
}

/// Offsets by topic and partition.
pub(crate) type GroupOffsets = BTreeMap<(String, i32), Committed>;

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("committed offsets cannot be written; see the log")]
pub(crate) struct OffsetsUnavailable;

#[derive(Debug)]
pub(crate) struct Offsets {
    dir: PathBuf,
    flush: Flush,
    flusher: Flusher,
    this: Weak<Self>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    groups: HashMap<String, GroupOffsets>,
    file: Arc<File>,
    /// Bytes of whole entries, and of those the ones that count.
    size: u64,
    live: u64,
    /// Bytes that are durable. The sender is replaced, and so closed for those who wait, by a failure.
    durable: watch::Sender<u64>,
    is_failed: bool,
    is_queued: bool,
}

/// A commit that was written.
#[derive(Debug)]
pub(crate) struct PendingCommit {
    end: u64,
    durable: watch::Receiver<u64>,
}

impl PendingCommit {
    pub(crate) async fn durable(mut self) -> Result<(), OffsetsUnavailable> {
        let end = self.end;
        let reached = self.durable.wait_for(|&durable| end <= durable).await;
        reached.map(|_| ()).map_err(|_| OffsetsUnavailable)
    }
}

impl Offsets {
    pub(crate) fn open(dir: &Path, flush: Flush, flusher: Flusher) -> io::Result<Arc<Self>> {
        let state = State::load(dir, u64::MAX)?;
        Ok(Arc::new_cyclic(|this| Self {
            dir: dir.to_owned(),
            flush,
            flusher,
            this: Weak::clone(this),
            state: Mutex::new(state),
        }))
    }

    /// Entries are whole before and after each change, so a panic in between harms nothing.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a group has committed.
    pub(crate) fn of(&self, group: &str) -> GroupOffsets {
        self.lock().groups.get(group).cloned().unwrap_or_default()
    }

    /// How many offsets a group has committed, and how many groups there are.
    pub(crate) fn counts(&self, group: &str) -> (usize, usize) {
        let state = self.lock();
        (state.groups.get(group).map_or(0, BTreeMap::len), state.groups.len())
    }

    pub(crate) fn groups(&self) -> Vec<String> {
        self.lock().groups.keys().cloned().collect()
    }

    pub(crate) fn commit(
        &self,
        group: &str,
        commits: Vec<((String, i32), Committed)>,
    ) -> Result<PendingCommit, OffsetsUnavailable> {
        self.write(commits.into_iter().map(|(at, offset)| (group.to_owned(), at, offset)).collect())
    }

    /// Takes away all offsets for which `is_removed` holds.
    pub(crate) fn remove(
        &self,
        is_removed: impl Fn(&str, &(String, i32), &Committed) -> bool,
    ) -> Result<PendingCommit, OffsetsUnavailable> {
        let mut entries = Vec::new();
        for (group, offsets) in &self.lock().groups {
            for (at, _) in offsets.iter().filter(|(at, offset)| is_removed(group, at, offset)) {
                entries.push((group.clone(), at.clone(), Committed::GONE));
            }
        }
        self.write(entries)
    }

    fn write(
        &self,
        entries: Vec<(String, (String, i32), Committed)>,
    ) -> Result<PendingCommit, OffsetsUnavailable> {
        let mut state = self.lock();
        if state.is_failed {
            self.queue(&mut state);
            return Err(OffsetsUnavailable);
        }
        let mut bytes = Vec::new();
        for (group, at, committed) in &entries {
            put_entry(&mut bytes, group, at, committed);
        }
        if let Err(error) = state.file.write_all_at(&bytes, state.size) {
            error!(%error, "writing committed offsets");
            if state.file.set_len(state.size).is_err() {
                self.fail(&mut state);
            }
            return Err(OffsetsUnavailable);
        }
        state.size += bytes.len() as u64;
        for (group, at, committed) in entries {
            state.apply(&group, at, committed);
        }
        if let Flush::Interval(_) = self.flush {
            let size = state.size;
            state.durable.send_replace(size);
        }
        if !bytes.is_empty() {
            self.queue(&mut state);
        }
        Ok(PendingCommit { end: state.size, durable: state.durable.subscribe() })
    }

    fn queue(&self, state: &mut State) {
        if !std::mem::replace(&mut state.is_queued, true)
            && let Some(this) = self.this.upgrade()
        {
            self.flusher.request(this);
        }
    }

    fn fail(&self, state: &mut State) {
        state.is_failed = true;
        let durable = *state.durable.borrow();
        state.durable = watch::Sender::new(durable);
        self.queue(state);
    }

    fn reload(&self, state: &mut State) {
        let durable = *state.durable.borrow();
        match State::load(&self.dir, durable) {
            Ok(loaded) => {
                info!("committed offsets were read again after an error on the disk");
                *state = loaded;
            }
            Err(error) => error!(%error, "committed offsets cannot be read again"),
        }
    }
}

impl Durable for Offsets {
    fn sync(&self) {
        let (file, size) = {
            let mut state = self.lock();
            state.is_queued = false;
            if state.is_failed {
                return self.reload(&mut state);
            }
            (Arc::clone(&state.file), state.size)
        };
        let synced = self.flusher.timed(|| file.sync_data());
        let mut state = self.lock();
        if state.is_failed {
            return;
        }
        if let Err(error) = synced {
            error!(%error, "syncing committed offsets failed; the file will be read again");
            return self.fail(&mut state);
        }
        state.durable.send_if_modified(|durable| {
            let moves = *durable < size;
            *durable = size.max(*durable);
            moves
        });
        if COMPACT_FROM_BYTES.max(2 * state.live) < state.size {
            match state.write_compacted(&self.dir) {
                Err(error) => warn!(%error, "committed offsets keep their old file"),
                Ok((file, size)) => {
                    if let Err(error) = state.replace_file(&self.dir, file, size) {
                        error!(%error, "replacing the file of committed offsets");
                        self.fail(&mut state);
                    }
                }
            }
        }
    }
}

impl State {
    /// Reads the file up to the first entry that is not whole, but no further than `end`.
    fn load(dir: &Path, end: u64) -> io::Result<Self> {
        let path = dir.join(FILE);
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path)?;
        let bytes = fs::read(&path)?;
        let mut state = Self {
            groups: HashMap::new(),
            file: Arc::new(file),
            size: 0,
            live: 0,
            durable: watch::Sender::new(0),
            is_failed: false,
            is_queued: false,
        };
        let believed = &bytes[..bytes.len().min(usize::try_from(end).unwrap_or(usize::MAX))];
        let mut rest = believed;
        while let Some((group, at, committed)) = get_entry(&mut rest) {
            state.apply(&group, at, committed);
        }
        state.size = (believed.len() - rest.len()) as u64;
        if state.size < bytes.len() as u64 {
            let dropped = bytes.len() as u64 - state.size;
            warn!(path = %path.display(), bytes = dropped, "dropping the torn end of the offsets");
            state.file.set_len(state.size)?;
        }
        state.file.sync_all()?;
        sync_dir(dir)?;
        state.durable.send_replace(state.size);
        Ok(state)
    }

    fn apply(&mut self, group: &str, at: (String, i32), committed: Committed) {
        let size = |at: &(String, i32), committed: &Committed| {
            (ENTRY_FIXED_BYTES + group.len() + at.0.len() + committed.metadata.len()) as u64
        };
        let offsets = self.groups.entry(group.to_owned()).or_default();
        if let Some(old) = offsets.remove(&at) {
            self.live -= size(&at, &old);
        }
        if committed != Committed::GONE {
            self.live += size(&at, &committed);
            offsets.insert(at, committed);
        }
        if offsets.is_empty() {
            self.groups.remove(group);
        }
    }

    /// Writes the entries that count to a file beside the one in use.
    fn write_compacted(&self, dir: &Path) -> io::Result<(File, u64)> {
        let mut bytes = Vec::with_capacity(self.live as usize);
        for (group, offsets) in &self.groups {
            for (at, committed) in offsets {
                put_entry(&mut bytes, group, at, committed);
            }
        }
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(true);
        let file = options.open(unfinished(dir))?;
        file.write_all_at(&bytes, 0)?;
        file.sync_all()?;
        Ok((file, bytes.len() as u64))
    }

    /// Puts a file that holds all that is in memory in the place of the one in use.
    fn replace_file(&mut self, dir: &Path, file: File, size: u64) -> io::Result<()> {
        fs::rename(unfinished(dir), dir.join(FILE))?;
        sync_dir(dir)?;
        self.file = Arc::new(file);
        self.size = size;
        // Positions in the old file mean nothing in the new one. Whoever waits for one is served: the new
        // file is durable and holds everything.
        self.durable.send_replace(u64::MAX);
        self.durable = watch::Sender::new(size);
        Ok(())
    }
}

fn unfinished(dir: &Path) -> PathBuf {
    dir.join(FILE).with_extension("unfinished")
}

/// Bytes of an entry besides its strings.
const ENTRY_FIXED_BYTES: usize = 4 + 4 + 3 * 2 + 4 + 8 + 4 + 8;

fn put_entry(bytes: &mut Vec<u8>, group: &str, at: &(String, i32), committed: &Committed) {
    let start = bytes.len();
    bytes.put_u64(0);
    put_string(bytes, group);
    put_string(bytes, &at.0);
    bytes.put_i32(at.1);
    bytes.put_i64(committed.offset);
    bytes.put_i32(committed.leader_epoch);
    put_string(bytes, &committed.metadata);
    bytes.put_i64(committed.at_ms);
    let entry = &bytes[start + 8..];
    let (length, crc) = (entry.len() as u32, crc32c::crc32c(entry));
    let mut prefix = &mut bytes[start..start + 8];
    prefix.put_u32(length);
    prefix.put_u32(crc);
}

/// The next entry; None at the end and where no whole entry is.
fn get_entry(bytes: &mut &[u8]) -> Option<(String, (String, i32), Committed)> {
    let mut next = *bytes;
    let (length, crc) = (next.try_get_u32().ok()? as usize, next.try_get_u32().ok()?);
    let mut entry = next.get(..length)?;
    if crc32c::crc32c(entry) != crc {
        return None;
    }
    let group = get_string(&mut entry)?;
    let at = (get_string(&mut entry)?, entry.try_get_i32().ok()?);
    let committed = Committed {
        offset: entry.try_get_i64().ok()?,
        leader_epoch: entry.try_get_i32().ok()?,
        metadata: get_string(&mut entry)?,
        at_ms: entry.try_get_i64().ok()?,
    };
    *bytes = &next[length..];
    Some((group, at, committed))
}

/// The protocol's strings are shorter than 32 KiB.
fn put_string(bytes: &mut Vec<u8>, text: &str) {
    bytes.put_u16(text.len() as u16);
    bytes.put_slice(text.as_bytes());
}

fn get_string(bytes: &mut &[u8]) -> Option<String> {
    let length = bytes.try_get_u16().ok()? as usize;
    let text = std::str::from_utf8(bytes.get(..length)?).ok()?.to_owned();
    bytes.advance(length);
    Some(text)
}
