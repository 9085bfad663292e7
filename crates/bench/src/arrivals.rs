//! Records of several topics, of one broker or more, as they arrive.

use std::collections::{BTreeMap, HashMap};

use kafka::{Event, KafkaError, Reader, Start};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;
use wire::{Record, Source};

/// Arrivals between the readers and whoever takes them.
pub const QUEUE: usize = 4096;

/// A topic of a broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// `bootstrap.servers` of its broker.
    pub servers: String,
    /// Topic name.
    pub topic: String,
}

/// A record that arrived.
#[derive(Debug)]
pub struct Arrived {
    /// Which of the places it came from, counted from 0.
    pub place: usize,
    /// Where it stands.
    pub source: Source,
    /// The record.
    pub record: Record,
    /// When it was read.
    pub at: Instant,
    /// Whether it came after its broker's topics had been read to where they ended at first.
    pub live: bool,
}

/// Reads topics until it is dropped.
#[derive(Debug)]
pub struct Arrivals {
    queue: mpsc::Receiver<Arrived>,
    _readers: JoinSet<()>,
}

impl Arrivals {
    /// Starts to read. The topics have to exist.
    pub async fn open(places: &[Place], start: Start) -> Result<Self, KafkaError> {
        let mut by_broker: BTreeMap<&str, HashMap<String, usize>> = BTreeMap::new();
        for (at, Place { servers, topic }) in places.iter().enumerate() {
            by_broker.entry(servers).or_default().insert(topic.clone(), at);
        }
        let (sender, queue) = mpsc::channel(QUEUE);
        let mut readers = JoinSet::new();
        for (servers, topics) in by_broker {
            let names: Vec<&str> = topics.keys().map(String::as_str).collect();
            let reader = Reader::open(servers, &names, None, start).await?;
            readers.spawn(read(reader, topics, sender.clone()));
        }
        Ok(Self { queue, _readers: readers })
    }

    /// Takes what has arrived, waiting for the first; how many they are. None come any more when it is 0.
    /// Dropping the future loses nothing.
    pub async fn take(&mut self, into: &mut Vec<Arrived>) -> usize {
        self.queue.recv_many(into, QUEUE).await
    }
}

async fn read(reader: Reader, places: HashMap<String, usize>, queue: mpsc::Sender<Arrived>) {
    let mut live = false;
    loop {
        match reader.next().await {
            Ok(Event::Record(source, record)) => {
                let place = places[&source.topic];
                let arrived = Arrived { place, source, record, at: Instant::now(), live };
                if queue.send(arrived).await.is_err() {
                    return;
                }
            }
            Ok(Event::End) => live = true,
            Err(error) => return tracing::error!("topics can't be read on: {error}"),
        }
    }
}
