//! The log as a whole: what it stores, finds, and keeps through crashes; and the batches all tests use.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes};

use super::compaction::CompactionBounds;
use super::flusher::{Durable, Flush, Flusher};
use super::partition::{Partition, PartitionError, PendingAppend, Watermarks};
use super::read::{Oversize, Read, Target};
use super::recovery::{OpenError, Trust};
use super::segment::{SegmentName, seal_path};
use super::store::{Log, LogConfig};
use crate::topic_config::{Cleanup, TopicConfig};
use protocol::batch::{BatchHeader, LEADER_EPOCH, NewBatch};
use protocol::compression::Compression;
use protocol::{BatchWriter, ErrorCode, Sequence};

/// A batch in the making.
#[derive(Debug, Clone)]
pub(crate) struct Batch {
    pairs: Vec<(Option<String>, Option<String>)>,
    base_offset: i64,
    timestamp: i64,
    producer: (i64, i16, i32),
}

impl Batch {
    /// Records without keys or headers, a millisecond apart.
    pub(crate) fn of(values: &[&str]) -> Self {
        Self::pairs(&values.iter().map(|&value| (None, Some(value))).collect::<Vec<_>>())
    }

    /// Records with keys and values.
    pub(crate) fn pairs(pairs: &[(Option<&str>, Option<&str>)]) -> Self {
        let owned = |text: Option<&str>| text.map(ToOwned::to_owned);
        let pairs = pairs.iter().map(|&(key, value)| (owned(key), owned(value))).collect();
        Self { pairs, base_offset: 0, timestamp: 0, producer: (-1, -1, -1) }
    }

    pub(crate) fn based(self, base_offset: i64) -> Self {
        Self { base_offset, ..self }
    }

    pub(crate) fn at(self, timestamp: i64) -> Self {
        Self { timestamp, ..self }
    }

    pub(crate) fn from(self, id: i64, epoch: i16, sequence: i32) -> Self {
        Self { producer: (id, epoch, sequence), ..self }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut writer = BatchWriter::new();
        for (at, (key, value)) in (self.timestamp..).zip(&self.pairs) {
            let [key, value] = [key, value].map(|text| text.as_deref().map(str::as_bytes));
            writer.push(at, &protocol::records::body(key, value, [].into_iter()));
        }
        let (producer_id, producer_epoch, base_sequence) = self.producer;
        let sequence = Sequence { producer_id, producer_epoch, base_sequence };
        let mut bytes = writer.finish(sequence, Compression::None).unwrap().to_vec();
        (&mut bytes[..8]).put_i64(self.base_offset);
        (&mut bytes[12..16]).put_i32(LEADER_EPOCH);
        bytes
    }
}

/// Segments that a few batches fill.
const CONFIG: LogConfig = LogConfig {
    topic: TopicConfig {
        cleanup: Cleanup::Delete,
        retention: Some(Duration::from_secs(10)),
        retention_bytes: None,
        segment_bytes: 400,
        segment_age: Duration::MAX,
        max_batch_bytes: 1 << 20,
        tombstones_kept: Duration::ZERO,
        compaction_lag: Duration::ZERO,
        dirty_ratio: 0.0,
    },
    producers: 8,
    compaction: CompactionBounds { keys: 100, inflated_bytes: 1 << 20 },
};

fn open(dir: &Path) -> Log {
    Log::open(dir, Trust::WholeBatches, CONFIG).unwrap()
}

fn append(log: &mut Log, batch: &Batch) -> i64 {
    log.append(NewBatch::check(batch.bytes().into()).unwrap()).unwrap().base_offset
}

/// The nth batch: two records, a thousand milliseconds after the one before.
fn nth(n: i64) -> Batch {
    Batch::of(&[&format!("value {n}"), "second"]).at(n * 1000)
}

/// Appends batches `from..to` and makes them durable, with the seals of the segments that became full.
fn fill(log: &mut Log, from: i64, to: i64) {
    for n in from..to {
        assert_eq!(append(log, &nth(n)), n * 2);
    }
    let sealed = log.begin_sync().run().unwrap();
    log.finish_sync(&sealed);
}

impl Read {
    fn batches(self) -> Bytes {
        match self {
            Self::Batches(batches) => batches,
            Self::NoneLeft => panic!("the segment holds nothing from that offset on"),
        }
    }
}

/// Everything that can be read from an offset on, read in small pieces.
fn read_all(log: &Log, mut offset: i64) -> Vec<u8> {
    let mut all = Vec::new();
    while let Some(plan) = log.plan(Target::Offset(offset), i64::MAX) {
        let segment_end = plan.extent.next_offset;
        let batches = match plan.read(offset, 150, Oversize::Return).unwrap() {
            Read::Batches(batches) => batches,
            Read::NoneLeft if segment_end < log.next_offset() => {
                offset = segment_end;
                continue;
            }
            Read::NoneLeft => break,
        };
        assert!(!batches.is_empty());
        all.put_slice(&batches);
        let mut rest = &batches[..];
        while !rest.is_empty() {
            let header = BatchHeader::parse(rest).unwrap();
            offset = header.next_offset();
            rest = &rest[header.size..];
        }
    }
    all
}

fn expected(from: i64, to: i64) -> Vec<u8> {
    (from..to).flat_map(|n| nth(n).based(n * 2).bytes()).collect()
}

fn newest_segment(dir: &Path) -> PathBuf {
    let mut logs: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
        .collect();
    logs.sort();
    logs.pop().unwrap()
}

#[test]
fn what_was_appended_is_read_over_all_segments_and_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path());
    fill(&mut log, 0, 20);
    for log in [log, open(dir.path())] {
        assert_eq!((log.start_offset(), log.next_offset()), (0, 40));
        for n in 0..20 {
            // From either record of a batch the whole batch is read.
            assert_eq!(read_all(&log, n * 2), expected(n, 20), "{n}");
            assert_eq!(read_all(&log, n * 2 + 1), expected(n, 20), "{n}");
        }
    }
}

#[test]
fn readers_see_nothing_from_their_end_offset_on() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path());
    fill(&mut log, 0, 20);
    for end in 1..20 {
        let plan = log.plan(Target::Offset(0), end * 2).unwrap();
        let batches = plan.read(0, usize::MAX >> 1, Oversize::Return).unwrap().batches();
        assert!(!batches.is_empty() && expected(0, end).starts_with(&batches), "{end}");
    }
}

#[test]
fn a_batch_larger_than_asked_for_is_returned_alone_or_skipped() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path());
    fill(&mut log, 0, 3);
    let read = |oversize| log.plan(Target::Offset(2), i64::MAX).unwrap().read(2, 10, oversize);
    assert_eq!(read(Oversize::Return).unwrap().batches(), expected(1, 2));
    assert_eq!(read(Oversize::Skip).unwrap().batches(), Bytes::new());
}

#[test]
fn records_are_found_by_time_over_all_segments() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path());
    fill(&mut log, 0, 20);
    let find = |time| {
        let plan = log.plan(Target::Timestamp(time), i64::MAX)?;
        plan.find(time).unwrap()
    };
    assert_eq!(find(-5), Some((0, 0)));
    for n in 0..20 {
        assert_eq!(find(n * 1000), Some((n * 2, n * 1000)), "{n}");
        assert_eq!(find(n * 1000 + 1), Some((n * 2 + 1, n * 1000 + 1)), "{n}");
    }
    assert_eq!(find(19_002), None);
}

/// Damages the last batch with `damage` at each of its bytes, and checks that a start drops it alone.
fn check_torn(damage: impl Fn(&File, u64)) {
    let batch = nth(0).bytes().len() as u64;
    for byte in 0..batch {
        let dir = tempfile::tempdir().unwrap();
        fill(&mut open(dir.path()), 0, 9);
        let path = newest_segment(dir.path());
        let size = fs::metadata(&path).unwrap().len();
        damage(&OpenOptions::new().write(true).open(&path).unwrap(), size - batch + byte);
        for _ in 0..2 {
            let mut log = open(dir.path());
            assert_eq!(log.next_offset(), 16, "byte {byte}");
            assert_eq!(read_all(&log, 0), expected(0, 8), "byte {byte}");
            assert_eq!(fs::metadata(&path).unwrap().len(), size - batch, "byte {byte}");
            fill(&mut log, 8, 8);
        }
        let mut log = open(dir.path());
        fill(&mut log, 8, 12);
        assert_eq!(read_all(&open(dir.path()), 0), expected(0, 12), "byte {byte}");
    }
}

#[test]
fn a_tail_cut_at_any_byte_loses_exactly_its_batch() {
    check_torn(|file, position| file.set_len(position).unwrap());
}

#[test]
fn a_tail_damaged_at_any_byte_loses_exactly_its_batch() {
    check_torn(|file, position| file.write_all_at(&[0xa5], position).unwrap());
}

#[test]
fn garbage_after_the_end_is_dropped() {
    let dir = tempfile::tempdir().unwrap();
    fill(&mut open(dir.path()), 0, 9);
    let path = newest_segment(dir.path());
    let size = fs::metadata(&path).unwrap().len();
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    for garbage in [vec![0; 5000], vec![0xff; 61], nth(3).bytes()] {
        file.write_all_at(&garbage, size).unwrap();
        assert_eq!(read_all(&open(dir.path()), 0), expected(0, 9));
    }
}

#[test]
fn lost_and_damaged_seals_cost_nothing() {
    let dir = tempfile::tempdir().unwrap();
    fill(&mut open(dir.path()), 0, 20);
    let seal = seal_path(&SegmentName::new(0).path(dir.path()));
    let whole = fs::read(&seal).unwrap();
    for byte in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[byte] ^= 1;
        fs::write(&seal, damaged).unwrap();
        assert_eq!(read_all(&open(dir.path()), 0), expected(0, 20));
        assert_eq!(fs::read(&seal).unwrap(), whole);
    }
    fs::remove_file(&seal).unwrap();
    assert_eq!(read_all(&open(dir.path()), 0), expected(0, 20));
    assert_eq!(fs::read(&seal).unwrap(), whole);
}

#[test]
fn a_crash_between_two_segments_loses_what_follows_the_damage() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path());
    fill(&mut log, 0, 3);
    // Appended over several segments, and never synced.
    (3..12).for_each(|n| {
        append(&mut log, &nth(n));
    });
    let damaged = SegmentName::new(8).path(dir.path());
    assert_ne!(newest_segment(dir.path()), damaged);
    OpenOptions::new().write(true).open(&damaged).unwrap().set_len(100).unwrap();
    assert_eq!(read_all(&open(dir.path()), 0), expected(0, 5));
    assert_eq!(newest_segment(dir.path()), damaged);
}

#[test]
fn damage_before_sealed_segments_is_an_error_that_names_the_place() {
    let dir = tempfile::tempdir().unwrap();
    fill(&mut open(dir.path()), 0, 20);
    let path = SegmentName::new(0).path(dir.path());
    fs::remove_file(seal_path(&path)).unwrap();
    OpenOptions::new().write(true).open(&path).unwrap().write_all_at(&[9], 100).unwrap();
    let error = Log::open(dir.path(), Trust::WholeBatches, CONFIG).unwrap_err();
    let second_batch = nth(0).bytes().len() as u32;
    assert!(matches!(error, OpenError::Corrupt { position, .. } if position == second_batch));
}

#[test]
fn producers_are_known_again_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let batch = |sequence| Batch::of(&["a", "b"]).from(5, 0, sequence);
    let mut log = open(dir.path());
    for n in 0..12 {
        assert_eq!(append(&mut log, &batch(n * 2)), i64::from(n) * 2);
    }
    let sealed = log.begin_sync().run().unwrap();
    log.finish_sync(&sealed);
    for mut log in [log, open(dir.path())] {
        assert_eq!(append(&mut log, &batch(22)), 22);
        assert_eq!(append(&mut log, &batch(14)), 14);
        let gap = log.append(NewBatch::check(batch(30).bytes().into()).unwrap());
        assert!(gap.is_err());
        assert_eq!(log.next_offset(), 24);
    }
}

/// A partition whose syncs happen when the test says so.
fn partition(dir: &Path) -> Arc<Partition> {
    Partition::open(dir, CONFIG, Flush::Always, Flusher::stopped()).unwrap()
}

fn produce(partition: &Partition, n: i64) -> Result<PendingAppend, PartitionError> {
    partition.append(NewBatch::check(nth(n).bytes().into()).unwrap())
}

#[tokio::test]
async fn nothing_is_acknowledged_or_read_before_it_is_durable() {
    let dir = tempfile::tempdir().unwrap();
    let partition = partition(dir.path());
    let mut first = produce(&partition, 0).unwrap();
    let waiting = tokio::time::timeout(Duration::ZERO, first.durable());
    assert!(waiting.await.is_err());
    let (watermarks, batches) = partition.read(0, 1000, Oversize::Return).unwrap();
    assert_eq!((watermarks, batches), (Watermarks { start: 0, high: 0 }, Bytes::new()));
    partition.sync();
    assert!(first.durable().await);
    let (watermarks, batches) = partition.read(0, 1000, Oversize::Return).unwrap();
    assert_eq!((watermarks.high, batches.to_vec()), (2, expected(0, 1)));
}

#[tokio::test]
async fn a_failed_sync_is_an_error_to_those_who_wait_and_is_not_repeated() {
    let dir = tempfile::tempdir().unwrap();
    let partition = partition(dir.path());
    produce(&partition, 0).unwrap();
    partition.sync();
    // Nothing written here can be synced: a device that is no disk refuses it.
    partition.replace_file(File::options().read(true).write(true).open("/dev/null").unwrap());
    let mut lost = produce(&partition, 1).unwrap();
    partition.sync();
    assert!(!lost.durable().await);
    let refused = produce(&partition, 1).unwrap_err();
    assert_eq!(refused.code(), ErrorCode::KafkaStorageError);
    // The next round opens the log again, as far as it is known to be on disk.
    partition.sync();
    assert_eq!(partition.watermarks().unwrap(), Watermarks { start: 0, high: 2 });
    let mut again = produce(&partition, 1).unwrap();
    assert_eq!(again.base_offset, 2);
    partition.sync();
    assert!(again.durable().await);
    assert_eq!(partition.read(0, 1000, Oversize::Return).unwrap().1, expected(0, 2));
}

#[tokio::test]
async fn a_full_disk_refuses_batches_until_there_is_space() {
    let dir = tempfile::tempdir().unwrap();
    let partition = partition(dir.path());
    produce(&partition, 0).unwrap();
    partition.sync();
    partition.replace_file(File::options().write(true).open("/dev/full").unwrap());
    for _ in 0..3 {
        let refused = produce(&partition, 1).unwrap_err();
        assert_eq!(refused.code(), ErrorCode::KafkaStorageError);
    }
    // This device cannot be cut back either, so the log is opened again.
    partition.sync();
    let mut again = produce(&partition, 1).unwrap();
    partition.sync();
    assert!(again.durable().await);
    assert_eq!(partition.read(0, 1000, Oversize::Return).unwrap().1, expected(0, 2));
}
