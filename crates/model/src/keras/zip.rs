//! Reads the members of a zip archive, as far as `.keras` files need it.
//!
//! ```text
//! end of central directory: "PK\5\6" disk:u16 disk:u16 here:u16 entries:u16 size:u32 offset:u32 comment_len:u16 comment
//! central entry: "PK\1\2" by:u16 needs:u16 flags:u16 method:u16 time:u32 crc:u32 packed:u32 size:u32
//!                name_len:u16 extra_len:u16 comment_len:u16 disk:u16 attributes:u16 attributes:u32 offset:u32 name …
//! local header: "PK\3\4" … name_len:u16 (at 26) extra_len:u16 (at 28) name extra data
//! ```
//!
//! Members are stored or deflated. A member gives at most as many bytes as its caller allows, whatever the archive says
//! of its size, and its checksum must be right. Left out: archives of 4 GiB or several parts, and encryption.

use std::io::Read as _;

use flate2::Crc;
use flate2::read::DeflateDecoder;

const END: &[u8; 4] = b"PK\x05\x06";
const END_LEN: usize = 22;
const ENTRY: &[u8; 4] = b"PK\x01\x02";
const ENTRY_LEN: usize = 46;
const LOCAL: &[u8; 4] = b"PK\x03\x04";
const LOCAL_LEN: usize = 30;
/// The longest comment that an archive can end with.
const MAX_COMMENT: usize = 0xffff;
/// Bit 0 of the flags: encrypted.
const ENCRYPTED: u16 = 1;
const STORED: u16 = 0;
const DEFLATED: u16 = 8;

/// The content of the member `name`, of at most `max` bytes.
///
/// # Errors
///
/// What is wrong with the archive or the member, in words that go on from "it is no zip archive of Keras's: ".
pub(super) fn member(archive: &[u8], name: &str, max: u64) -> Result<Vec<u8>, String> {
    let end = end(archive).ok_or("it has no directory")?;
    let mut rest =
        archive.get(long(end, 16)? as usize..).ok_or("its directory lies outside of it")?;
    // As many as two bytes can count.
    for _ in 0..short(end, 10)? {
        if !rest.starts_with(ENTRY) {
            return Err("its directory is broken".to_owned());
        }
        let name_len = usize::from(short(rest, 28)?);
        let after = usize::from(short(rest, 30)?) + usize::from(short(rest, 32)?);
        let found = rest.get(ENTRY_LEN..ENTRY_LEN + name_len).ok_or("its directory is cut off")?;
        if found == name.as_bytes() {
            return read(archive, rest, max)
                .map_err(|reason| format!("its member `{name}` {reason}"));
        }
        rest = rest.get(ENTRY_LEN + name_len + after..).ok_or("its directory is cut off")?;
    }
    Err(format!("it has no member `{name}`"))
}

/// The last record that can be the end of the directory.
fn end(archive: &[u8]) -> Option<&[u8]> {
    let last = archive.len().checked_sub(END_LEN)?;
    let first = last.saturating_sub(MAX_COMMENT);
    let at = (first..=last).rev().find(|&at| archive[at..].starts_with(END))?;
    Some(&archive[at..])
}

/// The content of the member with this entry in the directory.
fn read(archive: &[u8], entry: &[u8], max: u64) -> Result<Vec<u8>, String> {
    let (flags, method) = (short(entry, 8)?, short(entry, 10)?);
    let (crc, packed, size) = (long(entry, 16)?, long(entry, 20)?, u64::from(long(entry, 24)?));
    if flags & ENCRYPTED != 0 {
        return Err("is encrypted".to_owned());
    }
    if size > max {
        return Err(format!("has {size} bytes, expected at most {max}"));
    }
    let local = archive.get(long(entry, 42)? as usize..).filter(|local| local.starts_with(LOCAL));
    let local = local.ok_or("is not where the directory says")?;
    let start = LOCAL_LEN + usize::from(short(local, 26)?) + usize::from(short(local, 28)?);
    let data =
        local.get(start..).and_then(|data| data.get(..packed as usize)).ok_or("is cut off")?;
    let content = match method {
        STORED => data.to_vec(),
        DEFLATED => {
            // One byte more than it should have shows that it has more.
            let mut content = Vec::new();
            let inflated = DeflateDecoder::new(data).take(size + 1).read_to_end(&mut content);
            inflated.map_err(|error| format!("cannot be inflated: {error}"))?;
            content
        }
        method => return Err(format!("is packed by method {method}, expected stored or deflated")),
    };
    if content.len() as u64 != size {
        return Err(format!("has {} bytes, expected {size}", content.len()));
    }
    let mut sum = Crc::new();
    sum.update(&content);
    if sum.sum() != crc {
        return Err("has a wrong checksum".to_owned());
    }
    Ok(content)
}

fn short(bytes: &[u8], at: usize) -> Result<u16, String> {
    let field = bytes.get(at..).and_then(|bytes| bytes.first_chunk()).ok_or("is cut off")?;
    Ok(u16::from_le_bytes(*field))
}

fn long(bytes: &[u8], at: usize) -> Result<u32, String> {
    let field = bytes.get(at..).and_then(|bytes| bytes.first_chunk()).ok_or("is cut off")?;
    Ok(u32::from_le_bytes(*field))
}

#[cfg(test)]
pub(super) mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::DeflateEncoder;
    use proptest::prelude::*;

    use super::*;

    /// An archive of these members, deflated or stored.
    pub(crate) fn archive(members: &[(&str, &[u8])], is_deflated: bool) -> Vec<u8> {
        let (mut bytes, mut directory) = (Vec::new(), Vec::new());
        for (name, content) in members {
            let mut data = content.to_vec();
            if is_deflated {
                let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
                encoder.write_all(content).unwrap();
                data = encoder.finish().unwrap();
            }
            let mut sum = Crc::new();
            sum.update(content);
            let method = if is_deflated { DEFLATED } else { STORED };
            let mut common =
                [&20u16.to_le_bytes()[..], &[0, 0], &method.to_le_bytes(), &[0; 4]].concat();
            for field in [sum.sum(), data.len() as u32, content.len() as u32] {
                common.extend(field.to_le_bytes());
            }
            common.extend((name.len() as u16).to_le_bytes());
            common.extend([0, 0]);
            let offset = bytes.len() as u32;
            bytes.extend([&LOCAL[..], &common, name.as_bytes(), &data].concat());
            directory.extend(
                [&ENTRY[..], &[20, 0], &common, &[0; 10], &offset.to_le_bytes(), name.as_bytes()]
                    .concat(),
            );
        }
        let (offset, size) = (bytes.len() as u32, directory.len() as u32);
        let count = (members.len() as u16).to_le_bytes();
        bytes.extend(directory);
        bytes.extend(
            [
                &END[..],
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
        for is_deflated in [false, true] {
            let archive = archive(&[("a", b"first"), ("folder/b", &zeros)], is_deflated);
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
        let mut bomb = archive(&[("a", &vec![0; 10 << 20])], true);
        let entry = bomb.windows(4).position(|window| window == ENTRY).unwrap();
        bomb[entry + 24..entry + 28].copy_from_slice(&1000u32.to_le_bytes());
        assert_eq!(
            member(&bomb, "a", 1 << 20).unwrap_err(),
            "its member `a` has 1001 bytes, expected 1000"
        );
    }

    proptest! {
        #[test]
        fn a_damaged_archive_gives_the_member_or_an_error(
            at in any::<prop::sample::Index>(), value in any::<u8>(), cut in any::<prop::sample::Index>()
        ) {
            let mut bytes = archive(&[("config.json", b"{}"), ("b", &[7; 300])], true);
            let at = at.index(bytes.len());
            bytes[at] = value;
            if let Ok(content) = member(&bytes, "b", 300) {
                prop_assert_eq!(content, [7; 300]);
            }
            let _ = member(&bytes[..cut.index(bytes.len())], "b", 300);
        }
    }
}
