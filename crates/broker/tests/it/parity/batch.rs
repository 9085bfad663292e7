//! Record batches made by hand, so that every field of theirs can be wrong.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::records::RecordBatchDecoder;

/// Where the fields of a batch lie that tests write to.
pub(super) const LENGTH_AT: usize = 8;
pub(super) const MAGIC_AT: usize = 16;
const CRC_AT: usize = 17;
const CRC_END: usize = 21;
pub(super) const ATTRIBUTES_AT: usize = 21;
pub(super) const LAST_OFFSET_DELTA_AT: usize = 23;
pub(super) const COUNT_AT: usize = 57;

/// The records of a batch, and who sent it.
#[derive(Debug, Clone)]
pub(super) struct Batch {
    records: Vec<(Option<String>, Option<String>)>,
    timestamps: Vec<i64>,
    producer: (i64, i16, i32),
}

impl Batch {
    /// Records with these values and no keys, of no producer, stamped with the present time.
    pub(super) fn of(values: &[&str]) -> Self {
        Self::pairs(values.iter().map(|value| (None, Some(*value))))
    }

    /// One record with a key, and maybe a value.
    pub(super) fn keyed(key: &str, value: Option<&str>) -> Self {
        Self::pairs([(Some(key), value)].into_iter())
    }

    pub(super) fn pairs<'a>(
        pairs: impl Iterator<Item = (Option<&'a str>, Option<&'a str>)>,
    ) -> Self {
        let owned = |text: Option<&str>| text.map(ToOwned::to_owned);
        let records: Vec<_> = pairs.map(|(key, value)| (owned(key), owned(value))).collect();
        let timestamps = vec![now_ms(); records.len()];
        Self { records, timestamps, producer: (-1, -1, -1) }
    }

    pub(super) fn stamped(mut self, timestamps: &[i64]) -> Self {
        timestamps.clone_into(&mut self.timestamps);
        self
    }

    pub(super) fn from(mut self, id: i64, epoch: i16, sequence: i32) -> Self {
        self.producer = (id, epoch, sequence);
        self
    }

    pub(super) fn bytes(&self) -> Bytes {
        let base_timestamp = self.timestamps[0];
        let mut records = BytesMut::new();
        for (nth, (key, value)) in self.records.iter().enumerate() {
            let mut record = BytesMut::new();
            record.put_i8(0);
            put_varint(&mut record, self.timestamps[nth] - base_timestamp);
            put_varint(&mut record, nth as i64);
            for field in [key, value] {
                put_varint(&mut record, field.as_ref().map_or(-1, |field| field.len() as i64));
                record.put_slice(field.as_deref().unwrap_or_default().as_bytes());
            }
            put_varint(&mut record, 0);
            put_varint(&mut records, record.len() as i64);
            records.put(record);
        }
        let (id, epoch, sequence) = self.producer;
        let count = self.records.len() as i32;
        let mut batch = BytesMut::new();
        batch.put_i64(0);
        batch.put_i32(0);
        batch.put_i32(-1);
        batch.put_i8(2);
        batch.put_u32(0);
        batch.put_i16(0);
        batch.put_i32(count - 1);
        batch.put_i64(base_timestamp);
        batch.put_i64(*self.timestamps.iter().max().expect("a batch has records"));
        batch.put_i64(id);
        batch.put_i16(epoch);
        batch.put_i32(sequence);
        batch.put_i32(count);
        batch.put(records);
        sealed(batch)
    }

    /// The batch's bytes, changed, with a checksum that fits.
    pub(super) fn edited(&self, edit: impl FnOnce(&mut BytesMut)) -> Bytes {
        let mut batch = BytesMut::from(self.bytes());
        edit(&mut batch);
        sealed(batch)
    }
}

/// Gives a batch the length and the checksum of what it holds.
fn sealed(mut batch: BytesMut) -> Bytes {
    let length = (batch.len() - LENGTH_AT - 4) as i32;
    (&mut batch[LENGTH_AT..]).put_i32(length);
    let crc = crc32c::crc32c(&batch[CRC_END..]);
    (&mut batch[CRC_AT..]).put_u32(crc);
    batch.freeze()
}

fn put_varint(buffer: &mut BytesMut, value: i64) {
    let mut zigzag = ((value << 1) ^ (value >> 63)) as u64;
    while 0x7f < zigzag {
        buffer.put_u8(zigzag as u8 | 0x80);
        zigzag >>= 7;
    }
    buffer.put_u8(zigzag as u8);
}

/// Milliseconds since the epoch. Kafka refuses records from the future and deletes those of long ago.
pub(super) fn now_ms() -> i64 {
    std::time::UNIX_EPOCH.elapsed().unwrap().as_millis() as i64
}

/// A record as it came back: its offset, key and value.
pub(super) type Read = (i64, Option<String>, Option<String>);

/// The records of whole batches; part of a batch may follow them.
pub(super) fn records(mut batches: Bytes) -> Vec<Read> {
    let mut records = Vec::new();
    while let Some(mut length) = batches.get(LENGTH_AT..LENGTH_AT + 4) {
        let size = LENGTH_AT + 4 + length.get_i32() as usize;
        if batches.len() < size {
            break;
        }
        let set = RecordBatchDecoder::decode(&mut batches.split_to(size)).unwrap();
        let text = |bytes: Option<Bytes>| bytes.map(|b| String::from_utf8(b.to_vec()).unwrap());
        records.extend(set.records.into_iter().map(|r| (r.offset, text(r.key), text(r.value))));
    }
    records
}
