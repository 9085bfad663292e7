//! Changes the metadata of an ONNX file and nothing else.
//!
//! An ONNX file is one Protocol Buffers message, `ModelProto`, whose field 14 holds the metadata, one entry each time
//! it occurs:
//!
//! ```text
//! tag: varint (number << 3 | type)   type 0: varint   1: 8 bytes   2: length: varint, bytes   5: 4 bytes
//! entry: field 1 key, field 2 value, both of type 2
//! ```
//!
//! Fields are copied as they stand, whatever they are: weights, graphs, extensions that this program has never heard
//! of. Decoding the message and encoding it again would drop those. Entries that are replaced are left out, and the new
//! ones follow at the end.

use prost::Message;
use tract_onnx::pb;

/// The number of the field `metadata_props`.
const METADATA: u64 = 14;
/// The tag of such a field: its number and type 2.
const METADATA_TAG: u8 = (METADATA as u8) << 3 | 2;

/// The file `bytes` with the entries for which `is_replaced` holds replaced by `entries`, or `None` where it is no
/// sequence of fields.
pub(crate) fn with_metadata(
    bytes: &[u8],
    is_replaced: impl Fn(&str) -> bool,
    entries: &[(String, String)],
) -> Option<Vec<u8>> {
    let mut written = Vec::with_capacity(bytes.len() + 1024);
    let mut rest = bytes;
    while !rest.is_empty() {
        let (field, after) = rest.split_at(field_len(rest)?);
        if !metadata_key(field).is_some_and(|key| is_replaced(&key)) {
            written.extend_from_slice(field);
        }
        rest = after;
    }
    for (key, value) in entries {
        let entry = pb::StringStringEntryProto { key: key.clone(), value: value.clone() };
        written.push(METADATA_TAG);
        let content = entry.encode_length_delimited_to_vec();
        written.extend_from_slice(&content);
    }
    Some(written)
}

/// The length of the field at the start of `bytes`, tag included.
fn field_len(bytes: &[u8]) -> Option<usize> {
    let (tag, tag_len) = varint(bytes)?;
    let content = bytes.get(tag_len..)?;
    let content_len = match tag & 7 {
        0 => varint(content)?.1,
        1 => 8,
        2 => {
            let (len, len_len) = varint(content)?;
            usize::try_from(len).ok()?.checked_add(len_len)?
        }
        5 => 4,
        _ => return None,
    };
    let len = tag_len.checked_add(content_len)?;
    (len <= bytes.len()).then_some(len)
}

/// The key of a field that is an entry of metadata.
fn metadata_key(field: &[u8]) -> Option<String> {
    let (tag, tag_len) = varint(field)?;
    if tag != METADATA << 3 | 2 {
        return None;
    }
    let content = &field[tag_len..];
    pb::StringStringEntryProto::decode_length_delimited(content).ok().map(|entry| entry.key)
}

/// A number of up to 64 bits, seven in each byte, the lowest first, and its length.
fn varint(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut number = 0;
    for (at, byte) in bytes.iter().take(10).enumerate() {
        number |= u64::from(byte & 0x7f).checked_shl(7 * at as u32)?;
        if byte & 0x80 == 0 {
            return Some((number, at + 1));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn replaced(bytes: &[u8], value: &str) -> Option<Vec<u8>> {
        let entries = [("mine.a".to_owned(), value.to_owned())];
        with_metadata(bytes, |key| key.starts_with("mine."), &entries)
    }

    fn entry(key: &str, value: &str) -> pb::StringStringEntryProto {
        pb::StringStringEntryProto { key: key.to_owned(), value: value.to_owned() }
    }

    #[test]
    fn only_the_replaced_entries_change() {
        let model = pb::ModelProto {
            ir_version: 8,
            producer_name: "someone".to_owned(),
            metadata_props: vec![
                entry("mine.a", "old"),
                entry("other", "kept"),
                entry("mine.b", ""),
            ],
            graph: Some(pb::GraphProto { name: "net".to_owned(), ..Default::default() }),
            ..Default::default()
        };
        let mut bytes = model.encode_to_vec();
        // A field that this program does not know: number 1000, eight bytes.
        let unknown = [0xc1, 0x3e, 1, 2, 3, 4, 5, 6, 7, 8];
        bytes.extend_from_slice(&unknown);
        let changed = replaced(&bytes, "new").unwrap();
        let expected = pb::ModelProto {
            metadata_props: vec![entry("other", "kept"), entry("mine.a", "new")],
            ..model
        };
        assert_eq!(pb::ModelProto::decode(&changed[..]).unwrap(), expected);
        assert!(changed.windows(unknown.len()).any(|window| window == unknown));
        // Again: the same file.
        assert_eq!(replaced(&changed, "new").unwrap(), changed);
    }

    #[test]
    fn what_is_no_sequence_of_fields_is_refused() {
        for bytes in [&[0x80][..], &[0x0a, 5, 1], &[0x0b], &[0x09, 1], &[0xff; 11]] {
            assert_eq!(replaced(bytes, "new"), None, "{bytes:02x?}");
        }
        // A tag beyond 64 bits, and a length beyond the address space.
        assert_eq!(
            replaced(&[0x72, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1], ""),
            None
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_kept_in_front_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Some(changed) = with_metadata(&bytes, |_| false, &[]) {
                prop_assert_eq!(changed, bytes);
            }
        }
    }
}
