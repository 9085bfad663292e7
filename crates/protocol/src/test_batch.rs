//! The batches that tests use.

use crate::compression::Compression;
use crate::records::body;
use crate::writer::{BatchWriter, Sequence};

/// Records without keys or headers, a millisecond apart from `timestamp` on.
pub(crate) fn of(values: &[&str], timestamp: i64) -> Vec<u8> {
    let mut writer = BatchWriter::new();
    for (at, value) in values.iter().enumerate() {
        writer.push(timestamp + at as i64, &body(None, Some(value.as_bytes()), [].into_iter()));
    }
    writer.finish(Sequence::NONE, Compression::None).unwrap().to_vec()
}

/// Records with keys and values.
pub(crate) fn pairs(pairs: &[(Option<&str>, Option<&str>)]) -> Vec<u8> {
    let mut writer = BatchWriter::new();
    for (key, value) in pairs {
        let [key, value] = [key, value].map(|text| text.map(str::as_bytes));
        writer.push(0, &body(key, value, [].into_iter()));
    }
    writer.finish(Sequence::NONE, Compression::None).unwrap().to_vec()
}
