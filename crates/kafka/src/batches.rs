//! The records of a fetch response, one after the other.
//!
//! They are made out only when they are asked for, and their keys and values are slices of the response, so that
//! what is read ahead takes no more memory than it took on the way.

use bytes::Bytes;
use protocol::batch::{BatchError, BatchHeader, HEADER_BYTES};
use protocol::compression::Compression;
use protocol::records::Records;
use wire::{Header, Record};

/// Bound on what a compressed batch may become, in bytes.
const MAX_INFLATED_BYTES: usize = 64 << 20;
/// The key of a control record: version, then 0 where its transaction was aborted.
const ABORTED: &[u8] = &[0, 0, 0, 0];

/// Batches as a broker sent them.
#[derive(Debug)]
pub(crate) struct Batches {
    /// What has not been looked at; a batch that is cut off may stand at its end.
    rest: Bytes,
    current: Option<Current>,
    /// Records before this offset were asked for by nobody: a batch comes whole.
    from: i64,
    /// Transactions that were aborted, as producer and first offset, by that.
    aborted: Vec<(i64, i64)>,
    /// Producers whose transactions under way were aborted.
    discarded: Vec<i64>,
}

#[derive(Debug)]
struct Current {
    header: BatchHeader,
    /// Not compressed.
    records: Bytes,
    at: usize,
    left: i32,
}

impl Batches {
    /// Checks batches from offset `from` on. Returns them, and the offset that follows the last whole one.
    pub(crate) fn check(
        bytes: &Bytes,
        from: i64,
        mut aborted: Vec<(i64, i64)>,
    ) -> Result<(Self, i64), BatchError> {
        let (mut at, mut next) = (0, from);
        while HEADER_BYTES <= bytes.len() - at {
            let header = BatchHeader::parse(&bytes[at..])?;
            let Some(batch) = bytes.get(at..at + header.size) else { break };
            header.verify(batch)?;
            if Compression::of(&header).is_none() {
                return Err(BatchError::Attributes(header.attributes, "unknown compression"));
            }
            at += header.size;
            next = next.max(header.next_offset());
        }
        aborted.sort_unstable_by_key(|&(_, first)| first);
        let rest = bytes.slice(..at);
        Ok((Self { rest, current: None, from, aborted, discarded: Vec::new() }, next))
    }

    /// The next record and its offset. What can't be made out of a batch is said in the log and passed over.
    pub(crate) fn next(&mut self) -> Option<(i64, Record)> {
        loop {
            while let Some(current) = &mut self.current {
                let Some((offset, record)) = current.next() else {
                    self.current = None;
                    break;
                };
                if self.from <= offset {
                    return Some((offset, record));
                }
            }
            if self.rest.is_empty() {
                return None;
            }
            self.open();
        }
    }

    fn open(&mut self) {
        let header = BatchHeader::parse(&self.rest).expect("checked before");
        let batch = self.rest.split_to(header.size);
        let producer = header.producer_id;
        while let Some(&(producer, first)) = self.aborted.first()
            && first <= header.base_offset
        {
            self.aborted.remove(0);
            self.discarded.push(producer);
        }
        if header.is_control() {
            let control = Records::new(&batch[HEADER_BYTES..], header.record_count).next();
            if control.is_some_and(|record| record.is_ok_and(|record| record.key == Some(ABORTED)))
            {
                self.discarded.retain(|&discarded| discarded != producer);
            }
            return;
        }
        if header.is_transactional() && self.discarded.contains(&producer) {
            return;
        }
        let records = batch.slice(HEADER_BYTES..);
        let compression = Compression::of(&header).expect("checked before");
        let records = match compression {
            Compression::None => Ok(records),
            _ => compression
                .inflate(&records, MAX_INFLATED_BYTES)
                .map(|inflated| Bytes::from(inflated.into_owned())),
        };
        match records {
            Ok(records) => {
                let left = header.record_count;
                self.current = Some(Current { header, records, at: 0, left });
            }
            Err(error) => tracing::error!(
                from = header.base_offset,
                to = header.next_offset() - 1,
                "records can't be made out, and are passed over: {error}"
            ),
        }
    }
}

impl Current {
    fn next(&mut self) -> Option<(i64, Record)> {
        let Self { header, records, at, left } = self;
        if *left <= 0 {
            return None;
        }
        let record = Records::new(&records[*at..], *left).next()?.ok();
        let made_out = record.and_then(|record| {
            let slice = |part: Option<&[u8]>| part.map(|part| records.slice_ref(part));
            let made_out = Record {
                key: slice(record.key),
                headers: record
                    .headers()?
                    .into_iter()
                    .map(|(name, value)| Header { name: name.to_owned(), value: slice(value) })
                    .collect(),
                timestamp_ms: header.timestamp_of(&record).filter(|&at| 0 <= at),
                value: slice(record.value),
            };
            Some((header.offset_of(&record)?, made_out, record.bytes.len()))
        });
        let Some((offset, record, size)) = made_out else {
            tracing::error!(
                batch = header.base_offset,
                records = *left,
                "the last records of a batch can't be made out, and are passed over"
            );
            *left = 0;
            return None;
        };
        *at += size;
        *left -= 1;
        Some((offset, record))
    }
}

#[cfg(test)]
mod tests {
    use protocol::records::body;
    use protocol::{BatchWriter, Sequence};

    use super::*;

    fn batch(base: i64, values: &[&str], compression: Compression) -> Vec<u8> {
        let mut writer = BatchWriter::new();
        for value in values {
            let headers = [("h", Some(value.as_bytes())), ("none", None)];
            writer.push(5, &body(Some(b"k"), Some(value.as_bytes()), headers.into_iter()));
        }
        let mut bytes = writer.finish(Sequence::NONE, compression).unwrap().to_vec();
        bytes[..8].copy_from_slice(&base.to_be_bytes());
        bytes
    }

    fn all(mut batches: Batches) -> Vec<(i64, String)> {
        let next = std::iter::from_fn(|| batches.next());
        next.map(|(offset, record)| {
            assert_eq!((record.key.as_deref(), record.timestamp_ms), (Some(&b"k"[..]), Some(5)));
            assert_eq!(record.headers.len(), 2);
            assert_eq!(
                (&record.headers[0].value, &record.headers[1].value),
                (&record.value, &None)
            );
            (offset, String::from_utf8(record.value.unwrap().to_vec()).unwrap())
        })
        .collect()
    }

    #[test]
    fn records_come_from_the_offset_asked_for_to_the_last_whole_batch() {
        for compression in Compression::ALL {
            let mut bytes = batch(10, &["a", "b", "c"], compression);
            bytes.extend(batch(20, &["d"], compression));
            let whole = bytes.len();
            bytes.extend(&batch(21, &["e"], compression)[..40]);
            for cut in [whole, bytes.len()] {
                let (batches, next) =
                    Batches::check(&Bytes::copy_from_slice(&bytes[..cut]), 11, vec![]).unwrap();
                assert_eq!(next, 21);
                let expected = [(11, "b"), (12, "c"), (20, "d")];
                assert_eq!(all(batches), expected.map(|(at, value)| (at, value.to_owned())));
            }
        }
    }

    #[test]
    fn damage_is_an_error() {
        let mut bytes = batch(0, &["a"], Compression::None);
        *bytes.last_mut().unwrap() ^= 1;
        let error = Batches::check(&bytes.into(), 0, vec![]).unwrap_err();
        assert!(matches!(error, BatchError::Crc { .. }), "{error}");
    }
}
