//! As much of ZIP as NumPy and Keras write: one disk, entries stored or deflated, sizes of more than 32 bits in extra
//! fields. An entry gives at most as many bytes as its caller allows, whatever the archive says of its size, and its
//! checksum must be right. Left out: encryption, and archives of 4 GiB.
//!
//! The directory at the end is what counts, as for every reader:
//!
//! ```text
//! "PK\5\6"  … number of entries (at 10), size (12) and offset (16) of the directory      end of the file
//! "PK\1\2"  flags (8), method (10), CRC (16), packed size (20), size (24), lengths of name (28), extra (30) and comment (32),
//!           offset of the entry (42), name, extra, comment                               each entry of it
//! "PK\3\4"  lengths of name (26) and extra (28), name, extra, content                    each entry itself
//! ```

use std::io::Read as _;

use flate2::Crc;
use flate2::bufread::DeflateDecoder;

/// Archives of arrays and of models have a handful of entries.
const MAX_ENTRIES: usize = 1024;
/// Bit 0 of the flags.
const ENCRYPTED: u16 = 1;
const STORED: u16 = 0;
const DEFLATED: u16 = 8;
/// The end record and the longest comment after it.
const END: usize = 22;
const MAX_COMMENT: usize = 65_535;
/// A size that stands for "see the extra field".
const ELSEWHERE: u32 = u32::MAX;

/// One file of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) name: String,
    flags: u16,
    method: u16,
    crc: u32,
    packed: u64,
    size: u64,
    offset: u64,
}

/// The content of the entry `name`, of at most `max` bytes; errors go on after "`file` …: ".
pub(crate) fn member(archive: &[u8], name: &str, max: u64) -> Result<Vec<u8>, String> {
    let entries = entries(archive)?;
    let entry = entries.iter().find(|entry| entry.name == name);
    let entry = entry.ok_or_else(|| format!("it has no member `{name}`"))?;
    content(archive, entry, max).map_err(|reason| format!("its member `{name}` {reason}"))
}

/// The files of an archive, by name, of at most `max` bytes together.
///
/// # Errors
///
/// It is damaged, encrypted or larger; the message goes on after "`file`: ".
pub fn unzip(archive: &[u8], max: u64) -> Result<Vec<(String, Vec<u8>)>, String> {
    let mut files = Vec::new();
    let mut left = max;
    for entry in entries(archive)? {
        let name = &entry.name;
        let content = content(archive, &entry, left)
            .map_err(|reason| format!("its member `{name}` {reason}"))?;
        left -= content.len() as u64;
        files.push((entry.name, content));
    }
    Ok(files)
}

/// What an archive holds; errors go on after "`file`: ".
pub(crate) fn entries(bytes: &[u8]) -> Result<Vec<Entry>, String> {
    let none = || "it has no directory".to_owned();
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
        flags: half(bytes, 8)?,
        method: half(bytes, 10)?,
        crc: word(bytes, 16)?,
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

/// The content of an entry, of at most `max` bytes; errors go on after its name.
pub(crate) fn content(bytes: &[u8], entry: &Entry, max: u64) -> Result<Vec<u8>, String> {
    let beyond = || "lies outside of the archive".to_owned();
    if entry.flags & ENCRYPTED != 0 {
        return Err("is encrypted".to_owned());
    }
    if entry.size > max {
        return Err(format!("has {} bytes, expected at most {max}", entry.size));
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
        STORED => packed.to_vec(),
        DEFLATED => {
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
    let mut sum = Crc::new();
    sum.update(&content);
    if sum.sum() != entry.crc {
        return Err("has a wrong checksum".to_owned());
    }
    Ok(content)
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
pub(crate) mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::DeflateEncoder;
    use proptest::prelude::*;

    use super::*;

    /// How members are packed.
    #[derive(Clone, Copy, PartialEq, Eq)]
    pub(crate) enum Packing {
        Stored,
        /// With sizes in extra fields, as NumPy stores.
        StoredWide,
        Deflated,
    }

    /// An archive of these members.
    pub(crate) fn archive(members: &[(&str, &[u8])], packing: Packing) -> Vec<u8> {
        let (mut bytes, mut directory) = (Vec::new(), Vec::new());
        for (name, content) in members {
            let mut data = content.to_vec();
            if packing == Packing::Deflated {
                let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
                encoder.write_all(content).unwrap();
                data = encoder.finish().unwrap();
            }
            let mut sum = Crc::new();
            sum.update(content);
            let method = if packing == Packing::Deflated { DEFLATED } else { STORED };
            let (mut sizes, mut extra) = ([data.len() as u32, content.len() as u32], Vec::new());
            if packing == Packing::StoredWide {
                sizes = [ELSEWHERE; 2];
                extra.extend([1u16, 16].map(u16::to_le_bytes).concat());
                let wide = [content.len() as u64, data.len() as u64];
                extra.extend(wide.map(u64::to_le_bytes).concat());
            }
            let mut common =
                [&20u16.to_le_bytes()[..], &[0, 0], &method.to_le_bytes(), &[0; 4]].concat();
            common.extend(sum.sum().to_le_bytes());
            common.extend(sizes.map(u32::to_le_bytes).concat());
            common.extend((name.len() as u16).to_le_bytes());
            common.extend((extra.len() as u16).to_le_bytes());
            let offset = bytes.len() as u32;
            bytes.extend([&b"PK\x03\x04"[..], &common, name.as_bytes(), &extra, &data].concat());
            directory.extend(
                [
                    &b"PK\x01\x02\x14\0"[..],
                    &common,
                    &[0; 10],
                    &offset.to_le_bytes(),
                    name.as_bytes(),
                    &extra,
                ]
                .concat(),
            );
        }
        let (offset, size) = (bytes.len() as u32, directory.len() as u32);
        let count = (members.len() as u16).to_le_bytes();
        bytes.extend(directory);
        bytes.extend(
            [
                &b"PK\x05\x06"[..],
                &[0; 4],
                &count,
                &count,
                &size.to_le_bytes(),
                &offset.to_le_bytes(),
                &[0, 0],
            ]
            .concat(),
        );
        bytes
    }

    #[test]
    fn members_are_found_stored_or_deflated() {
        let zeros = vec![0; 100_000];
        for packing in [Packing::Stored, Packing::StoredWide, Packing::Deflated] {
            let archive = archive(&[("a", b"first"), ("folder/b", &zeros)], packing);
            assert_eq!(member(&archive, "a", 5).unwrap(), b"first");
            assert_eq!(member(&archive, "folder/b", 100_000).unwrap(), zeros);
            assert_eq!(member(&archive, "b", 9).unwrap_err(), "it has no member `b`");
            assert_eq!(
                member(&archive, "a", 4).unwrap_err(),
                "its member `a` has 5 bytes, expected at most 4"
            );
        }
    }

    #[test]
    fn a_bomb_inflates_no_further_than_it_admits() {
        let mut bomb = archive(&[("a", &vec![0; 10 << 20])], Packing::Deflated);
        let entry = bomb.windows(4).position(|window| window == b"PK\x01\x02").unwrap();
        bomb[entry + 24..entry + 28].copy_from_slice(&1000u32.to_le_bytes());
        assert_eq!(
            member(&bomb, "a", 1 << 20).unwrap_err(),
            "its member `a` is damaged: it unpacks to 1001 bytes, expected 1000"
        );
    }

    proptest! {
        #[test]
        fn a_damaged_archive_gives_the_member_or_an_error(
            at in any::<prop::sample::Index>(), value in any::<u8>(), cut in any::<prop::sample::Index>()
        ) {
            let mut bytes = archive(&[("config.json", b"{}"), ("b", &[7; 300])], Packing::Deflated);
            let at = at.index(bytes.len());
            bytes[at] = value;
            if let Ok(content) = member(&bytes, "b", 300) {
                prop_assert_eq!(content, [7; 300]);
            }
            let _ = member(&bytes[..cut.index(bytes.len())], "b", 300);
        }
    }
}
