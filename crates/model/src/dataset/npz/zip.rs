//! As much of ZIP as NumPy writes: one disk, entries stored or deflated, sizes of more than 32 bits
//! in extra fields.
//!
//! The directory at the end is what counts, as for every reader:
//!
//! ```text
//! "PK\5\6"  … number of entries (at 10), size (12) and offset (16) of the directory      end of the file
//! "PK\1\2"  method (10), CRC (16), packed size (20), size (24), lengths of name (28), extra (30) and comment (32),
//!           offset of the entry (42), name, extra, comment                               each entry of it
//! "PK\3\4"  lengths of name (26) and extra (28), name, extra, content                    each entry itself
//! ```

use std::io::Read as _;

use flate2::bufread::DeflateDecoder;

/// NumPy archives have a handful of arrays.
const MAX_ENTRIES: usize = 1024;
/// The end record and the longest comment after it.
const END: usize = 22;
const MAX_COMMENT: usize = 65_535;
/// A size that stands for "see the extra field".
const ELSEWHERE: u32 = u32::MAX;

/// One file of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) name: String,
    method: u16,
    packed: u64,
    size: u64,
    offset: u64,
}

/// What an archive holds; errors go on after "`file`: ".
pub(super) fn entries(bytes: &[u8]) -> Result<Vec<Entry>, String> {
    let none = || "it is no ZIP archive, expected one that numpy.savez wrote".to_owned();
    let broken = || "its directory is damaged".to_owned();
    let tail = bytes.len().saturating_sub(END + MAX_COMMENT);
    let end = (tail..(bytes.len() + 1).saturating_sub(END))
        .rev()
        .find(|&at| bytes[at..].starts_with(b"PK\x05\x06"))
        .ok_or_else(none)?;
    let count = usize::from(half(bytes, end + 10).ok_or_else(none)?);
    let start = word(bytes, end + 16).ok_or_else(none)?;
    if start == ELSEWHERE || count > MAX_ENTRIES {
        return Err(format!(
            "it has {count} entries or more than 4 GiB, expected at most {MAX_ENTRIES}"
        ));
    }
    let mut at = start as usize;
    let mut entries = Vec::with_capacity(count);
    for _ in 0..count {
        let here = bytes.get(at..end).ok_or_else(broken)?;
        let (entry, len) = directory_entry(here).ok_or_else(broken)?;
        entries.push(entry);
        at += len;
    }
    Ok(entries)
}

/// The first entry of the rest of a directory, and its length there.
fn directory_entry(bytes: &[u8]) -> Option<(Entry, usize)> {
    if !bytes.starts_with(b"PK\x01\x02") {
        return None;
    }
    let len = |at| half(bytes, at).map(usize::from);
    let (name, extra, comment) = (len(28)?, len(30)?, len(32)?);
    let name_end = 46 + name;
    let mut entry = Entry {
        name: String::from_utf8_lossy(bytes.get(46..name_end)?).into_owned(),
        method: half(bytes, 10)?,
        packed: word(bytes, 20)?.into(),
        size: word(bytes, 24)?.into(),
        offset: word(bytes, 42)?.into(),
    };
    let extra_end = name_end + extra;
    wide_sizes(bytes.get(name_end..extra_end)?, &mut entry)?;
    Some((entry, extra_end + comment))
}

/// Reads the sizes that do not fit 32 bits from the extra field with the number 1, in the order in which they occur.
fn wide_sizes(mut extra: &[u8], entry: &mut Entry) -> Option<()> {
    let elsewhere = u64::from(ELSEWHERE);
    while let (Some(number), Some(len)) = (half(extra, 0), half(extra, 2)) {
        let field = extra.get(4..4 + usize::from(len))?;
        if number == 1 {
            let mut words = field.chunks_exact(8).map(|bytes| {
                u64::from_le_bytes(bytes.try_into().expect("chunks of eight bytes are eight long"))
            });
            for size in [&mut entry.size, &mut entry.packed, &mut entry.offset] {
                if *size == elsewhere {
                    *size = words.next()?;
                }
            }
        }
        extra = &extra[4 + usize::from(len)..];
    }
    Some(())
}

/// The content of an entry, of at most `max` bytes; errors go on after "array `name` ".
pub(super) fn content(bytes: &[u8], entry: &Entry, max: u64) -> Result<Vec<u8>, String> {
    let beyond = || "lies outside of the archive".to_owned();
    if entry.size > max {
        return Err(format!("unpacks to {} bytes, expected at most {max}", entry.size));
    }
    let offset = usize::try_from(entry.offset).map_err(|_| beyond())?;
    let own =
        bytes.get(offset..).filter(|own| own.starts_with(b"PK\x03\x04")).ok_or_else(beyond)?;
    let len = |at| half(own, at).map(usize::from).ok_or_else(beyond);
    let start = 30 + len(26)? + len(28)?;
    let packed = usize::try_from(entry.packed).map_err(|_| beyond())?;
    let end = start.checked_add(packed).ok_or_else(beyond)?;
    let packed = own.get(start..end).ok_or_else(beyond)?;
    let damaged =
        |found: usize| format!("is damaged: it unpacks to {found} bytes, expected {}", entry.size);
    let content = match entry.method {
        0 => packed.to_vec(),
        8 => {
            // Grows with what is there, not with what the directory promises.
            let mut content = Vec::new();
            let unpacked =
                DeflateDecoder::new(packed).take(entry.size + 1).read_to_end(&mut content);
            unpacked.map_err(|error| format!("is damaged: {error}"))?;
            content
        }
        method => {
            return Err(format!(
                "is packed by method {method}, expected 0 (stored) or 8 (deflate)"
            ));
        }
    };
    if content.len() as u64 != entry.size {
        return Err(damaged(content.len()));
    }
    Ok(content)
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}
