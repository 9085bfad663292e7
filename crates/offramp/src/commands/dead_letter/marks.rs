//! Which letters were sent back, kept on the broker beside them.
//!
//! Letters are sent back in any selection, so that no offset says which were. Nor would a consumer group's
//! offset do: brokers forget those of a group that is away for a week. Marks stand in a compacted topic of
//! their own, `<topic>.redriven`, one record for each [`LETTERS`] letters of a partition:
//!
//! ```text
//! key    partition/number        number = offset / 4096
//! value  fingerprint:u32 …       of the letter at each offset that was sent back, little-endian; 0 for the others;
//!                                zeros at the end are left out
//! ```
//!
//! The fingerprint holds a mark to its letter: a topic that was deleted and made again has other letters at the
//! same places. In memory are the marks of one such block, and where the others stand (some bytes for each 4096
//! letters), however large the topic is. Marks of letters that are gone are removed by [`Marks::prune`].

use std::collections::BTreeMap;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use kafka::admin::{self, Extent};
use kafka::{Event, Producer, Reader, Start, record_at};
use wire::{Record, Source};

use super::Position;
use super::letter::Letter;

/// Letters of one block: 16 KiB of marks, which is written again with each progress.
const LETTERS: i64 = 4096;

/// The marks of a dead-letter topic, to be asked for in the order of the letters.
#[derive(Debug)]
pub(super) struct Marks {
    servers: String,
    topic: String,
    /// Offset of the newest record of each block, by partition and number.
    places: BTreeMap<(i32, i64), i64>,
    /// The block that was asked for last.
    block: Option<Block>,
    exists: bool,
}

/// The marks of [`LETTERS`] letters.
#[derive(Debug)]
struct Block {
    partition: i32,
    number: i64,
    fingerprints: Vec<u32>,
    is_written: bool,
}

impl Block {
    fn covers(&self, position: Position) -> bool {
        self.partition == position.partition && self.number == position.offset / LETTERS
    }

    fn write(&self) -> Record {
        let last = self.fingerprints.iter().rposition(|&print| print != 0);
        let marked = &self.fingerprints[..last.map_or(0, |last| last + 1)];
        let value: Vec<u8> = marked.iter().flat_map(|print| print.to_le_bytes()).collect();
        Record {
            key: Some(key(self.partition, self.number)),
            value: Some(Bytes::from(value)),
            ..Record::default()
        }
    }
}

impl Marks {
    /// The marks of the letters in `letters`. Where none was ever sent back, there are none.
    pub(super) async fn open(servers: &str, letters: &str) -> anyhow::Result<Self> {
        let topic = format!("{letters}.redriven");
        let exists = admin::topics(servers).await?.iter().any(|found| found.name == topic);
        let mut places = BTreeMap::new();
        if exists {
            let reader = Reader::open(servers, &[&topic], Some(0), Start::Beginning).await?;
            while let Event::Record(source, record) = reader.next().await? {
                let block = record.key.as_deref().and_then(read_key);
                let block = block.with_context(|| format!("{source} is no record of marks"))?;
                match record.value {
                    Some(_) => places.insert(block, source.offset),
                    None => places.remove(&block),
                };
            }
        }
        Ok(Self { servers: servers.to_owned(), topic, places, block: None, exists })
    }

    /// Makes the topic unless it is there.
    pub(super) async fn create(&mut self) -> anyhow::Result<()> {
        if !self.exists {
            let settings = [("cleanup.policy".to_owned(), "compact".to_owned())];
            admin::create_topic(&self.servers, &self.topic, Some(1), &settings).await?;
            self.exists = true;
        }
        Ok(())
    }

    /// Whether another block has to be loaded to know of this letter. What was marked has to be written before.
    pub(super) fn is_elsewhere(&self, position: Position) -> bool {
        self.block.as_ref().is_some_and(|block| !block.covers(position))
    }

    /// Whether the letter was sent back.
    pub(super) async fn is_marked(
        &mut self,
        position: Position,
        letter: &Letter,
    ) -> anyhow::Result<bool> {
        let block = self.load(position).await?;
        Ok(block.fingerprints[place_in_block(position)] == fingerprint(letter))
    }

    /// How many letters in a range of offsets have a mark.
    pub(super) async fn count(&mut self, range: Extent) -> anyhow::Result<i64> {
        let numbers = range.start / LETTERS..=(range.end - 1).max(range.start) / LETTERS;
        let (first, last) =
            ((range.partition, *numbers.start()), (range.partition, *numbers.end()));
        let found: Vec<_> =
            self.places.range(first..=last).map(|(&(_, number), _)| number).collect();
        let mut count = 0;
        for number in found {
            let partition = range.partition;
            let block = self.load(Position { partition, offset: number * LETTERS }).await?;
            let offsets = (number * LETTERS..).zip(&block.fingerprints);
            count += offsets
                .filter(|&(offset, &print)| {
                    (range.start..range.end).contains(&offset) && print != 0
                })
                .count() as i64;
        }
        Ok(count)
    }

    async fn load(&mut self, position: Position) -> anyhow::Result<&mut Block> {
        let (partition, number) = (position.partition, position.offset / LETTERS);
        if let Some(block) = self.block.take().filter(|block| block.covers(position)) {
            return Ok(self.block.insert(block));
        }
        let mut fingerprints = vec![0; LETTERS as usize];
        if let Some(&offset) = self.places.get(&(partition, number)) {
            let place = Source { topic: self.topic.clone(), partition: 0, offset };
            let record = record_at(&self.servers, &place).await?;
            // Only whoever wrote newer marks in this moment lets compaction take these.
            let value = record.and_then(|record| record.value).with_context(|| {
                format!("the marks at {place} are gone: somebody else sends letters back")
            })?;
            read_marks(&value, &mut fingerprints)
                .with_context(|| format!("{place} is no record of marks"))?;
        }
        let block = Block { partition, number, fingerprints, is_written: true };
        Ok(self.block.insert(block))
    }

    /// Notes that a letter of the loaded block was sent back.
    pub(super) fn mark(&mut self, position: Position, fingerprint: u32) {
        let block = self.block.as_mut().filter(|block| block.covers(position));
        let block = block.expect("a block stays until its letters are confirmed");
        block.fingerprints[place_in_block(position)] = fingerprint;
        block.is_written = false;
    }

    /// Writes what was marked; returns when it is durable.
    pub(super) async fn write(&mut self, producer: &Producer) -> anyhow::Result<()> {
        if let Some(block) = self.block.as_mut().filter(|block| !block.is_written) {
            producer.send(&self.topic, &block.write()).await?;
            block.is_written = true;
        }
        Ok(())
    }

    /// Removes the marks of letters that are not there any more.
    pub(super) async fn prune(
        &mut self,
        producer: &Producer,
        extents: &[Extent],
    ) -> anyhow::Result<()> {
        let is_gone = |partition: i32, number: i64| {
            let extent = extents.iter().find(|extent| extent.partition == partition);
            extent.is_none_or(|extent| (number + 1) * LETTERS <= extent.start)
        };
        let gone: Vec<_> =
            self.places.keys().copied().filter(|&(p, number)| is_gone(p, number)).collect();
        for (partition, number) in gone {
            let tombstone = Record { key: Some(key(partition, number)), ..Record::default() };
            producer.send(&self.topic, &tombstone).await?;
            self.places.remove(&(partition, number));
        }
        Ok(())
    }
}

fn key(partition: i32, number: i64) -> Bytes {
    Bytes::from(format!("{partition}/{number}"))
}

fn read_key(key: &[u8]) -> Option<(i32, i64)> {
    let (partition, number) = std::str::from_utf8(key).ok()?.split_once('/')?;
    Some((partition.parse().ok()?, number.parse().ok()?))
}

fn read_marks(value: &[u8], into: &mut [u32]) -> anyhow::Result<()> {
    let (bytes, most) = (value.len(), 4 * into.len());
    ensure!(
        bytes.is_multiple_of(4) && bytes <= most,
        "it has {bytes} bytes, expected four for each letter and at most {most}"
    );
    for (mark, bytes) in into.iter_mut().zip(value.chunks_exact(4)) {
        *mark = u32::from_le_bytes(bytes.try_into().expect("chunks are of that size"));
    }
    Ok(())
}

fn place_in_block(position: Position) -> usize {
    (position.offset % LETTERS) as usize
}

/// Tells a letter from another at the same place: FNV-1a over where and when its record came from. Never 0.
pub(super) fn fingerprint(letter: &Letter) -> u32 {
    let source = letter.source().map(ToString::to_string).unwrap_or_default();
    let time = letter.original.timestamp_ms.unwrap_or_default().to_le_bytes();
    let key = letter.original.key.as_deref().unwrap_or_default();
    let bytes = source.bytes().chain(time).chain(key.iter().copied());
    let hash = bytes
        .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    hash.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_read_as_they_are_written() {
        let mut fingerprints = vec![0; LETTERS as usize];
        (fingerprints[0], fingerprints[70]) = (7, u32::MAX);
        let block = Block { partition: 3, number: 12, fingerprints, is_written: false };
        let record = block.write();
        assert_eq!(record.key.as_deref().and_then(read_key), Some((3, 12)));
        let value = record.value.unwrap();
        assert_eq!(value.len(), 4 * 71);
        let mut read = vec![0; LETTERS as usize];
        read_marks(&value, &mut read).unwrap();
        assert_eq!(read, block.fingerprints);
        for bad in [&[1u8, 2, 3][..], &vec![0; 4 * LETTERS as usize + 4]] {
            assert!(read_marks(bad, &mut read).is_err());
        }
        assert!(read_key(b"x").is_none() && read_key(b"1/x").is_none());
    }

    #[test]
    fn letters_of_different_records_differ() {
        let letter = |at: i64| {
            let record = Record { timestamp_ms: Some(at), ..Record::default() };
            Letter { original: record, cause: None }
        };
        assert_eq!(fingerprint(&letter(1)), fingerprint(&letter(1)));
        assert_ne!(fingerprint(&letter(1)), fingerprint(&letter(2)));
        assert_ne!(fingerprint(&letter(0)), 0);
    }
}
