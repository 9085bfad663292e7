//! Reads topics from a place that the caller chooses, without a consumer group: for looking at what is there.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use wire::{Record, Source};

use crate::admin;
use crate::cluster::Place;
use crate::error::KafkaError;
use crate::fetcher::{Begin, Fetched, Fetcher};

/// Records that are taken at once.
const TAKEN: usize = 64;

/// Where in each partition to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// At the first record that is there.
    Beginning,
    /// After the last one.
    End,
    /// At this offset.
    Offset(i64),
    /// This many records before the end.
    Last(i64),
    /// At the first record that is not older, in milliseconds since the epoch.
    Time(i64),
}

/// What a reader came upon.
#[derive(Debug)]
pub enum Event {
    /// A record.
    Record(Source, Record),
    /// Everything that was there when the reader was opened has been read. Said once.
    End,
}

/// Reads partitions of topics.
#[derive(Debug)]
pub struct Reader {
    servers: String,
    topics: String,
    fetcher: Fetcher,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    taken: VecDeque<Fetched>,
    /// Where what was there at first ends, by partition; without those that have been read. None once the end
    /// was said.
    unread: Option<HashMap<Place, i64>>,
}

impl Reader {
    /// Reads all partitions of `topics`, or only those with the number `partition`.
    pub async fn open(
        servers: &str,
        topics: &[&str],
        partition: Option<i32>,
        start: Start,
    ) -> Result<Self, KafkaError> {
        let fetcher = Fetcher::new(servers, Duration::ZERO)?;
        let mut unread = HashMap::new();
        for topic in topics {
            let extents = admin::extents(servers, topic).await?;
            if let Some(wanted) = partition
                && extents.iter().all(|extent| extent.partition != wanted)
            {
                return Err(KafkaError::UnknownPartition {
                    topic: (*topic).to_owned(),
                    partition: wanted,
                    count: extents.len(),
                });
            }
            let times = match start {
                Start::Time(time_ms) => admin::offsets_at(servers, topic, time_ms).await?,
                _ => Vec::new(),
            };
            for extent in extents {
                if partition.is_some_and(|wanted| wanted != extent.partition) {
                    continue;
                }
                let from = match start {
                    Start::Beginning => extent.start,
                    Start::End => extent.end,
                    Start::Offset(offset) => offset,
                    Start::Last(count) => (extent.end - count).max(extent.start),
                    Start::Time(_) => times
                        .iter()
                        .find_map(|&(at, offset)| (at == extent.partition).then_some(offset))
                        .unwrap_or(extent.end),
                };
                let place: Place = ((*topic).into(), extent.partition);
                if from < extent.end && extent.start < extent.end {
                    unread.insert(place.clone(), extent.end);
                }
                fetcher.add(place, Begin::At(from));
            }
        }
        let state = State { taken: VecDeque::new(), unread: Some(unread) };
        let (servers, topics) = (servers.to_owned(), topics.join(", "));
        Ok(Self { servers, topics, fetcher, state: Mutex::new(state) })
    }

    /// The next record, or that there was no more. A broker that is away is waited for. Dropping the future
    /// loses nothing.
    pub async fn next(&self) -> Result<Event, KafkaError> {
        loop {
            if let Some(event) = self.next_taken() {
                return Ok(event);
            }
            let ready = self.fetcher.ready().await;
            ready.map_err(|reason| KafkaError::Consumer {
                topics: self.topics.clone(),
                servers: self.servers.clone(),
                reason,
            })?;
            let mut state = self.state();
            self.fetcher.take(TAKEN, |fetched| state.taken.push_back(fetched));
        }
    }

    fn next_taken(&self) -> Option<Event> {
        let mut state = self.state();
        loop {
            if state.unread.take_if(|unread| unread.is_empty()).is_some() {
                return Some(Event::End);
            }
            match state.taken.pop_front()? {
                Fetched::Record(source, record) => {
                    let place = (source.topic.as_str().into(), source.partition);
                    state.read(&place, source.offset + 1);
                    return Some(Event::Record(source, record));
                }
                // Compaction may have taken the last records, so that they never come.
                Fetched::Passed(place, next) => state.read(&place, next),
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// All before `next` has been read.
    fn read(&mut self, place: &Place, next: i64) {
        if let Some(unread) = &mut self.unread
            && unread.get(place).is_some_and(|end| *end <= next)
        {
            unread.remove(place);
        }
    }
}

/// The record that stands at this place, or None where there is none: deleted, compacted away, or not yet there.
pub async fn record_at(servers: &str, place: &Source) -> Result<Option<Record>, KafkaError> {
    let start = Start::Offset(place.offset);
    let reader = Reader::open(servers, &[&place.topic], Some(place.partition), start).await?;
    // Where the place is empty, the next record that is there comes, or the end.
    match reader.next().await? {
        Event::Record(source, record) if source == *place => Ok(Some(record)),
        _ => Ok(None),
    }
}
