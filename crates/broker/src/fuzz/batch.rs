//! Record batches: what a producer sends, and what looks into it.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::input::Parsed;
use super::world::{TABLE, TOPIC};
use protocol::batch::{BatchHeader, HEADER_BYTES, MAGIC, first_record_since, seal};
use protocol::compression::Compression;
use protocol::fetch::{
    FetchPartition, FetchRequest, FetchTopic, ListOffsetsPartition, ListOffsetsRequest,
    ListOffsetsTopic,
};
use protocol::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use protocol::records::Records;

/// A record with a key and a value.
pub(crate) const RECORD: &[u8] = &[0x10, 0, 0, 0, 2, b'k', 2, b'v', 0];

/// The batch is taken as it is.
pub(super) const WHOLE: u8 = 0x80;
/// The records are compressed first, instead of being taken for compressed ones.
pub(super) const COMPRESS: u8 = 0x08;
const CODEC: u8 = 0x07;

/// Where the fields are that are made to fit.
const ATTRIBUTES_AT: usize = 21;
const DELTA_AT: usize = 23;
const COUNT_AT: usize = 57;

/// Records that are looked into, once they are inflated.
const INFLATED_BYTES: usize = 64 * 1024;

/// A batch of one record, or what else is given as records.
pub(crate) fn of(codec: u8, records: &[u8]) -> Bytes {
    let mut batch = BytesMut::zeroed(HEADER_BYTES);
    batch.put_slice(records);
    (&mut batch[43..51]).put_i64(-1);
    fit(&mut batch, codec);
    batch.freeze()
}

/// Makes a header out of what is in its place.
fn fit(batch: &mut [u8], codec: u8) {
    batch[16] = MAGIC;
    (&mut batch[ATTRIBUTES_AT..]).put_i16(i16::from(codec));
    let count = (&batch[COUNT_AT..]).get_i32().max(1);
    (&mut batch[COUNT_AT..]).put_i32(count);
    (&mut batch[DELTA_AT..]).put_i32(count - 1);
    seal(batch);
}

/// Looks into the batch, then has it appended, found and fetched.
pub(super) fn requests(mut input: Bytes) -> Option<Parsed> {
    let how = input.try_get_u8().ok()?;
    let batch = if how & WHOLE == 0 { made(how, &input)? } else { input };
    look_into(&batch);
    let timestamps = BatchHeader::parse(&batch)
        .map_or([0; 2], |header| [header.base_timestamp, header.max_timestamp]);
    let mut parsed = Parsed::default();
    for _ in 0..2 {
        parsed.push(9, &produce(&batch), false);
    }
    parsed.push(12, &fetch(), false);
    parsed.push(7, &find(timestamps), false);
    Some(parsed)
}

fn made(how: u8, input: &[u8]) -> Option<Bytes> {
    let (header, records) = input.split_at_checked(HEADER_BYTES - ATTRIBUTES_AT)?;
    let mut batch = vec![0; ATTRIBUTES_AT];
    batch.put_slice(header);
    fit(&mut batch, how & CODEC);
    let compression = BatchHeader::parse(&batch).ok().and_then(|header| Compression::of(&header));
    match compression.filter(|_| how & COMPRESS != 0) {
        Some(compression) => {
            batch
                .put_slice(&compression.deflate(records.to_vec()).expect("records are compressed"));
        }
        None => batch.put_slice(records),
    }
    fit(&mut batch, how & CODEC);
    Some(batch.into())
}

fn look_into(batch: &[u8]) {
    let Ok(header) = BatchHeader::parse(batch) else { return };
    for timestamp in [i64::MIN, 0, header.max_timestamp, i64::MAX] {
        if let Some((_, found)) = first_record_since(batch, timestamp) {
            assert!(timestamp <= found);
        }
    }
    let Some(compression) = Compression::of(&header) else { return };
    let Ok(records) = compression.inflate(&batch[HEADER_BYTES..], INFLATED_BYTES) else { return };
    if header.is_compressed() {
        assert!(records.len() <= INFLATED_BYTES, "{} bytes were inflated", records.len());
    }
    let deflated = compression.deflate(records.to_vec()).expect("records are compressed");
    let again = compression.inflate(&deflated, records.len()).expect("what was compressed");
    assert_eq!(again, records, "{compression:?}");
    let read = Records::new(&records, header.record_count).map_while(Result::ok);
    assert!(
        records.starts_with(&read.flat_map(|record| record.bytes).copied().collect::<Vec<_>>())
    );
}

pub(super) fn produce(batch: &Bytes) -> ProduceRequest {
    let topic_data = [TABLE, TOPIC].map(|name| TopicProduceData {
        name: name.to_owned(),
        partition_data: vec![PartitionProduceData { index: 0, records: Some(batch.clone()) }],
    });
    ProduceRequest { acks: -1, topic_data: topic_data.into(), ..ProduceRequest::default() }
}

fn fetch() -> FetchRequest {
    let partition = FetchPartition { partition_max_bytes: 4096, ..FetchPartition::default() };
    let topics = [TABLE, TOPIC]
        .map(|topic| FetchTopic { topic: topic.to_owned(), partitions: vec![partition.clone()] });
    FetchRequest { topics: topics.into(), ..FetchRequest::default() }
}

fn find(timestamps: [i64; 2]) -> ListOffsetsRequest {
    // The newest record's as well.
    let asked = [timestamps[0], timestamps[1], -3];
    let partitions = asked
        .map(|timestamp| ListOffsetsPartition { timestamp, ..ListOffsetsPartition::default() });
    let topics = [TABLE, TOPIC]
        .map(|name| ListOffsetsTopic { name: name.to_owned(), partitions: partitions.to_vec() });
    ListOffsetsRequest { topics: topics.into(), ..ListOffsetsRequest::default() }
}
