//! What compaction takes away, what it leaves, and what a crash in the middle of it does.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use crate::log::compaction::CompactionBounds;
use crate::log::flusher::{Durable, Flush, Flusher};
use crate::log::partition::Partition;
use crate::log::read::Oversize;
use crate::log::segment::segment_names;
use crate::log::store::LogConfig;
use crate::log::tests::Batch;
use crate::topic_config::{Cleanup, TopicConfig};
use protocol::batch::{BatchHeader, HEADER_BYTES, NewBatch, seal};
use protocol::compression::Compression;
use protocol::records::Records;

const BOUNDS: CompactionBounds = CompactionBounds { keys: 1000, inflated_bytes: 1 << 20 };

/// Compacts at every opportunity and keeps tombstones for ever.
fn config() -> LogConfig {
    let topic = TopicConfig {
        cleanup: Cleanup::Compact,
        retention: None,
        segment_bytes: 1000,
        tombstones_kept: Duration::MAX,
        dirty_ratio: 0.0,
        ..TopicConfig::default()
    };
    LogConfig { topic, producers: 8, compaction: BOUNDS }
}

fn open(dir: &Path, config: LogConfig) -> Arc<Partition> {
    Partition::open(dir, config, Flush::Always, Flusher::stopped()).unwrap()
}

fn append(partition: &Partition, bytes: Vec<u8>) -> i64 {
    let appended = partition.append(NewBatch::check(bytes.into()).unwrap()).unwrap();
    partition.sync();
    appended.base_offset
}

fn put(partition: &Partition, pairs: &[(&str, Option<&str>)]) -> i64 {
    let pairs: Vec<_> = pairs.iter().map(|&(key, value)| (Some(key), value)).collect();
    append(partition, Batch::pairs(&pairs).bytes())
}

fn compact(partition: &Partition) {
    let now_ms = i64::MAX;
    partition.compact(now_ms, &|| false).unwrap();
}

/// Closes the active segment, so that all there is can be compacted.
fn roll(partition: &Partition, config: LogConfig) {
    let topic = TopicConfig { segment_age: Duration::ZERO, ..config.topic };
    partition.configure(LogConfig { topic, ..config });
    partition.enforce_retention(i64::MAX).unwrap();
    partition.configure(config);
    partition.sync();
}

/// The records that a consumer gets from `offset` on: offsets, keys, and whether there is a value.
fn consume(partition: &Partition, mut offset: i64) -> Vec<(i64, String, bool)> {
    let mut seen = Vec::new();
    let from = offset;
    loop {
        let (_, batches) = partition.read(offset, 200, Oversize::Return).unwrap();
        if batches.is_empty() {
            return seen;
        }
        let mut rest: &[u8] = &batches;
        while let Ok(header) = BatchHeader::parse(rest) {
            header.verify(&rest[..header.size]).unwrap();
            let compression = Compression::of(&header).unwrap();
            let records = compression.inflate(&rest[HEADER_BYTES..header.size], 1 << 20).unwrap();
            for record in Records::new(&records, header.record_count).map(Result::unwrap) {
                let at = header.base_offset + record.offset_delta;
                let key = String::from_utf8(record.key.unwrap_or_default().to_vec()).unwrap();
                if from <= at {
                    seen.push((at, key, record.value.is_some()));
                }
            }
            offset = header.next_offset();
            rest = &rest[header.size..];
        }
    }
}

/// What a reader that keeps a table knows in the end.
fn table(records: &[(i64, String, bool)]) -> BTreeMap<String, i64> {
    let mut table = BTreeMap::new();
    for (offset, key, has_value) in records {
        if *has_value {
            table.insert(key.clone(), *offset);
        } else {
            table.remove(key);
        }
    }
    table
}

#[test]
fn only_the_newest_record_of_a_key_stays_and_offsets_do_not_change() {
    let dir = tempfile::tempdir().unwrap();
    let partition = open(dir.path(), config());
    put(&partition, &[("a", Some("1")), ("b", Some("1"))]);
    put(&partition, &[("a", Some("2"))]);
    put(&partition, &[("a", Some("3")), ("c", None)]);
    roll(&partition, config());
    compact(&partition);
    let owned = |(offset, key, has_value): (i64, &str, bool)| (offset, key.to_owned(), has_value);
    let expected = [(1, "b", true), (3, "a", true), (4, "c", false)].map(owned);
    assert_eq!(consume(&partition, 0), expected);
    assert_eq!(put(&partition, &[("a", Some("4"))]), 5);
}

#[test]
fn what_a_reader_knows_in_the_end_is_the_same_from_any_offset_after_any_number_of_passes() {
    let seed = rand::rng().random();
    println!("seed {seed}");
    let mut random = SmallRng::seed_from_u64(seed);
    let keys = ["a", "b", "c", "d", "e"];
    for _ in 0..20 {
        let dir = tempfile::tempdir().unwrap();
        let mut partition = open(dir.path(), config());
        let mut all = Vec::new();
        for _ in 0..random.random_range(1..5) {
            for _ in 0..random.random_range(1..40) {
                let batch: Vec<_> = (0..random.random_range(1..5))
                    .map(|_| {
                        let key = keys[random.random_range(0..keys.len())];
                        (key, random.random_bool(0.8).then_some("some value"))
                    })
                    .collect();
                let base_offset = put(&partition, &batch);
                let records = batch.iter().zip(base_offset..);
                all.extend(records.map(|((k, v), at)| (at, (*k).to_owned(), v.is_some())));
            }
            if random.random() {
                roll(&partition, config());
            }
            compact(&partition);
            if random.random() {
                partition = open(dir.path(), config());
            }
            let kept = consume(&partition, 0);
            assert_eq!(table(&kept), table(&all));
            assert!(kept.iter().all(|record| all[record.0 as usize] == *record));
            assert_eq!(kept.last(), all.last());
            for offset in 0..all.len() as i64 {
                let from = kept.partition_point(|(at, ..)| *at < offset);
                assert_eq!(consume(&partition, offset), kept[from..], "from {offset}");
            }
        }
    }
}

#[test]
fn compacted_segments_are_joined_and_stay_within_their_size() {
    let dir = tempfile::tempdir().unwrap();
    let partition = open(dir.path(), config());
    for n in 0..200 {
        put(&partition, &[(&format!("key {}", n % 10), Some("a value of some size"))]);
    }
    let before = segment_names(dir.path()).unwrap().len();
    compact(&partition);
    let after = segment_names(dir.path()).unwrap();
    assert!(10 < before && after.len() <= 3, "{before} segments became {after:?}");
    for name in after {
        assert!(fs::metadata(name.path(dir.path())).unwrap().len() <= 1000);
    }
}

#[test]
fn tombstones_stay_as_long_as_they_are_to_and_the_last_record_for_ever() {
    let dir = tempfile::tempdir().unwrap();
    let config = config();
    let partition = open(dir.path(), config);
    put(&partition, &[("a", Some("1")), ("b", Some("1"))]);
    put(&partition, &[("a", None), ("b", None)]);
    roll(&partition, config);
    let offsets = |partition: &Partition| -> Vec<i64> {
        consume(partition, 0).iter().map(|(offset, ..)| *offset).collect()
    };
    compact(&partition);
    assert_eq!(offsets(&partition), [2, 3]);
    // A pass that has something to do, once they are due.
    let topic = TopicConfig { tombstones_kept: Duration::ZERO, ..config.topic };
    partition.configure(LogConfig { topic, ..config });
    put(&partition, &[("c", Some("1"))]);
    roll(&partition, LogConfig { topic, ..config });
    compact(&partition);
    assert_eq!(offsets(&partition), [4]);
    put(&partition, &[("c", None)]);
    for _ in 0..3 {
        roll(&partition, LogConfig { topic, ..config });
        compact(&partition);
    }
    assert_eq!(offsets(&partition), [5]);
    assert_eq!(partition.watermarks().unwrap().start, 0);
}

/// They would pass for older than what came before them, and the newest value of a key would go.
#[test]
fn a_batch_whose_records_claim_offsets_outside_of_it_stays_whole() {
    const DELTA_AT: usize = HEADER_BYTES + 3;
    let dir = tempfile::tempdir().unwrap();
    let partition = open(dir.path(), config());
    put(&partition, &[("a", Some("1"))]);
    let mut claims = Batch::pairs(&[(Some("a"), Some("2"))]).bytes();
    // Five before its place, in the zigzag encoding.
    claims[DELTA_AT] = 9;
    seal(&mut claims);
    append(&partition, claims);
    put(&partition, &[("b", Some("3"))]);
    roll(&partition, config());
    compact(&partition);
    let (_, batches) = partition.read(0, 1 << 20, Oversize::Return).unwrap();
    let mut bases = Vec::new();
    let mut rest: &[u8] = &batches;
    while let Ok(header) = BatchHeader::parse(rest) {
        bases.push(header.base_offset);
        rest = &rest[header.size..];
    }
    assert_eq!(bases, [0, 1, 2]);
}

fn compressed(pairs: &[(Option<&str>, Option<&str>)], compression: Compression) -> Vec<u8> {
    let mut bytes = Batch::pairs(pairs).bytes();
    let records = compression.deflate(bytes.split_off(HEADER_BYTES)).unwrap();
    bytes.extend_from_slice(&records);
    let length = bytes.len() as i32 - 12;
    bytes[8..12].copy_from_slice(&length.to_be_bytes());
    bytes[22] = compression as u8;
    seal(&mut bytes);
    bytes
}

#[test]
fn compressed_batches_are_compacted_and_stay_compressed() {
    use Compression::{Gzip, Lz4, Snappy, Zstd};
    for compression in [Gzip, Snappy, Lz4, Zstd] {
        let dir = tempfile::tempdir().unwrap();
        let partition = open(dir.path(), config());
        let pairs = [(Some("a"), Some("x")), (Some("b"), Some("x")), (Some("a"), Some("y"))];
        append(&partition, compressed(&pairs, compression));
        put(&partition, &[("c", Some("1"))]);
        roll(&partition, config());
        compact(&partition);
        let offsets: Vec<_> = consume(&partition, 0).iter().map(|(offset, ..)| *offset).collect();
        assert_eq!(offsets, [1, 2, 3], "{compression:?}");
        let (_, batches) = partition.read(0, 1 << 20, Oversize::Return).unwrap();
        let header = BatchHeader::parse(&batches).unwrap();
        assert_eq!((Compression::of(&header), header.record_count), (Some(compression), 2));
    }
}

#[test]
fn what_cannot_be_decompressed_stays_and_so_do_the_tombstones_after_it() {
    let dir = tempfile::tempdir().unwrap();
    let topic = TopicConfig { tombstones_kept: Duration::ZERO, ..config().topic };
    let bounds = CompactionBounds { inflated_bytes: 2000, ..BOUNDS };
    let config = LogConfig { topic, compaction: bounds, ..config() };
    let partition = open(dir.path(), config);
    let large = "x".repeat(3000);
    append(&partition, compressed(&[(Some("a"), Some(&large))], Compression::Gzip));
    put(&partition, &[("a", None)]);
    for n in 0..3 {
        put(&partition, &[("b", Some("x")), ("c", Some("x"))]);
        roll(&partition, config);
        compact(&partition);
        let offsets: Vec<_> = consume(&partition, 0).iter().map(|(offset, ..)| *offset).collect();
        assert_eq!(offsets, [0, 1, 2 + 2 * n, 3 + 2 * n]);
    }
}

#[test]
fn more_keys_than_fit_into_memory_take_more_passes() {
    let dir = tempfile::tempdir().unwrap();
    let bounds = CompactionBounds { keys: 7, ..BOUNDS };
    let config = LogConfig { compaction: bounds, ..config() };
    let partition = open(dir.path(), config);
    let keys: Vec<_> = (0..30).map(|n| format!("key {n}")).collect();
    for _ in 0..4 {
        for key in &keys {
            put(&partition, &[(key, Some("x"))]);
        }
    }
    roll(&partition, config);
    (0..40).for_each(|_| compact(&partition));
    let offsets: Vec<_> = consume(&partition, 0).iter().map(|(offset, ..)| *offset).collect();
    assert_eq!(offsets, (90..120).collect::<Vec<_>>());
}

#[test]
fn producers_are_known_after_their_batches_have_gone() {
    let dir = tempfile::tempdir().unwrap();
    let batch = |sequence| Batch::pairs(&[(Some("a"), Some("x"))]).from(7, 0, sequence).bytes();
    let partition = open(dir.path(), config());
    for sequence in 0..5 {
        assert_eq!(append(&partition, batch(sequence)), i64::from(sequence));
    }
    put(&partition, &[("a", Some("newest"))]);
    roll(&partition, config());
    compact(&partition);
    assert_eq!(consume(&partition, 0).len(), 1);
    for partition in [partition, open(dir.path(), config())] {
        assert_eq!(append(&partition, batch(3)), 3);
    }
}

/// Everything in a directory, by name.
fn files(dir: &Path) -> BTreeMap<String, Bytes> {
    let read = |entry: std::io::Result<fs::DirEntry>| {
        let entry = entry.unwrap();
        (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap().into())
    };
    fs::read_dir(dir).unwrap().map(read).collect()
}

#[test]
fn a_crash_at_any_step_loses_nothing_and_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let partition = open(dir.path(), config());
    for n in 0..60 {
        put(&partition, &[(&format!("key {}", n % 7), Some("a value of some size"))]);
    }
    let newest = table(&consume(&partition, 0));
    let before = files(dir.path());
    compact(&partition);
    let after = files(dir.path());
    drop(partition);
    // The new files appear one by one, each unfinished first; then the old ones go.
    let new: Vec<_> = after.keys().filter(|name| !before.contains_key(*name)).collect();
    let old: Vec<_> = before.keys().filter(|name| !after.contains_key(*name)).collect();
    assert!(!new.is_empty() && !old.is_empty());
    for step in 0..=new.len() + old.len() {
        let crashed = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: &[u8]| fs::write(crashed.path().join(name), bytes).unwrap();
        let (done, gone) = (step.min(new.len()), step.saturating_sub(new.len()));
        before
            .iter()
            .filter(|(name, _)| !old[..gone].contains(name))
            .for_each(|(n, b)| write(n, b));
        // A seal is there before its segment is.
        let mut order = new.clone();
        order.sort_by_key(|name| (name.split('.').next().unwrap(), name.contains(".log")));
        order[..done].iter().for_each(|name| write(name, &after[*name]));
        write("compacting.unfinished", b"half of a segment");
        for _ in 0..2 {
            let partition = open(crashed.path(), config());
            assert_eq!(table(&consume(&partition, 0)), newest, "step {step}");
            compact(&partition);
        }
        let left = files(crashed.path());
        assert!(left.keys().all(|name| !name.contains("unfinished")), "step {step}: {left:?}");
    }
}

#[test]
fn segments_that_retention_takes_meanwhile_do_not_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let partition = open(dir.path(), config());
    for _ in 0..60 {
        put(&partition, &[("a", Some("a value of some size")), ("b", Some("x"))]);
    }
    let taken = std::cell::Cell::new(false);
    // Asked before each batch: in the middle of the pass, everything is deleted.
    let delete_once = || {
        if !taken.replace(true) {
            partition.delete_before(-1).unwrap();
            partition.enforce_retention(i64::MAX).unwrap();
        }
        false
    };
    let _ = partition.compact(i64::MAX, &delete_once);
    assert!(consume(&partition, 120).is_empty());
    let reopened = open(dir.path(), config());
    assert_eq!(reopened.watermarks().unwrap().start, 120);
}
