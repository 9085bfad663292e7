//! Fetches the records of partitions, somewhat ahead of who reads them.
//!
//! A task has one request under way to each leader, and asks for more once what it has is running out and somebody
//! reads: whoever stops reading stops the fetching, and memory is bounded. While records come in a trickle, it may
//! wait a little between two requests, so that several come with each.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use protocol::ErrorCode;
use protocol::fetch::{
    FetchPartition, FetchPartitionResponse, FetchRequest, FetchResponse, FetchTopic,
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsResponse, ListOffsetsTopic,
};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use wire::{Record, Source};

use crate::batches::Batches;
use crate::cluster::{
    ANSWER_TIMEOUT, Backoff, Cluster, NodeId, Place, addresses, by_topic, question,
};
use crate::connection::{CallError, Connection};
use crate::error::KafkaError;
use crate::peers::{Ask, PeerEvent, Peers, Way};
use crate::sender::leader_may_have_moved;

/// A broker that has nothing answers after this time.
const MAX_WAIT: Duration = Duration::from_millis(500);
/// How much longer its answer may take.
const FETCH_TIMEOUT: Duration = Duration::from_secs(30);
/// More is fetched once less than this is left of what was. The bounds of other clients, some 64 MiB, do not fit a
/// board with as much memory.
const LOW_BYTES: usize = 512 << 10;
/// A request asks for at most so much, of each partition and in all. A batch that is larger comes all the same.
const MAX_FETCH_BYTES: i32 = 1 << 20;
/// A response of so many bytes is no trickle.
const MUCH_BYTES: usize = 64 << 10;
/// Only what was committed, as other clients do by default.
const READ_COMMITTED: i8 = 1;
/// In the place of a time: the first offset that is there.
pub(crate) const EARLIEST: i64 = -2;
/// In the place of a time: the offset that the next record gets.
pub(crate) const LATEST: i64 = -1;

/// Where to begin with a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Begin {
    /// At the first record that is there.
    Earliest,
    At(i64),
}

/// What comes of a partition.
#[derive(Debug)]
pub(crate) enum Fetched {
    Record(Source, Record),
    /// All before this offset has come, and what has not never will.
    Passed(Place, i64),
}

/// Fetches records.
pub(crate) struct Fetcher {
    shared: Arc<Shared>,
}

impl std::fmt::Debug for Fetcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fetcher").field("servers", &self.shared.servers).finish_non_exhaustive()
    }
}

struct Shared {
    servers: String,
    linger: Duration,
    state: Mutex<State>,
    /// Something has come.
    arrived: Notify,
    /// The task has something to look at.
    changed: Notify,
}

#[derive(Default)]
struct State {
    cursors: HashMap<Place, Cursor>,
    stays: u64,
    chunks: VecDeque<Chunk>,
    bytes: usize,
    is_wanted: bool,
    is_running: bool,
    is_closed: bool,
    failure: Option<String>,
}

/// How far a partition has been fetched.
struct Cursor {
    /// A partition that leaves and comes back starts anew.
    stay: u64,
    /// None where the first offset that is there has to be asked for.
    next: Option<i64>,
    is_asked: bool,
    not_before: Option<Instant>,
    backoff: Backoff,
}

impl Cursor {
    /// Nothing is asked of the partition for a while.
    fn put_off(&mut self) {
        self.not_before = Some(Instant::now() + self.backoff.next());
    }
}

/// Part of a response.
struct Chunk {
    place: Place,
    batches: Batches,
    /// The offset after the last.
    next: i64,
    bytes: usize,
}

impl Fetcher {
    /// Waits up to `linger` between two requests while records come in a trickle.
    pub(crate) fn new(servers: &str, linger: Duration) -> Result<Self, KafkaError> {
        addresses(servers)?;
        let shared = Shared {
            servers: servers.to_owned(),
            linger,
            state: Mutex::default(),
            arrived: Notify::new(),
            changed: Notify::new(),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Begins to fetch a partition.
    pub(crate) fn add(&self, place: Place, begin: Begin) {
        let mut state = self.shared.state();
        state.stays += 1;
        let cursor = Cursor {
            stay: state.stays,
            next: match begin {
                Begin::Earliest => None,
                Begin::At(offset) => Some(offset),
            },
            is_asked: false,
            not_before: None,
            backoff: Backoff::default(),
        };
        state.cursors.insert(place, cursor);
        drop(state);
        self.shared.changed.notify_one();
    }

    /// Ends with a partition: nothing of it comes any more.
    pub(crate) fn remove(&self, place: &Place) {
        let mut state = self.shared.state();
        state.cursors.remove(place);
        let State { chunks, bytes, .. } = &mut *state;
        chunks.retain(|chunk| {
            let is_kept = chunk.place != *place;
            if !is_kept {
                *bytes -= chunk.bytes;
            }
            is_kept
        });
    }

    /// Whoever reads can't go on, for this reason.
    pub(crate) fn fail(&self, reason: String) {
        self.shared.state().failure = Some(reason);
        self.shared.arrived.notify_one();
    }

    /// Returns once there is something to [`take`](Self::take), or why there never will be. Dropping the future
    /// loses nothing.
    pub(crate) async fn ready(&self) -> Result<(), String> {
        loop {
            {
                let mut state = self.shared.state();
                if let Some(reason) = &state.failure {
                    return Err(reason.clone());
                }
                self.want(&mut state);
                if !state.chunks.is_empty() {
                    return Ok(());
                }
            }
            self.shared.arrived.notified().await;
        }
    }

    /// What has come, up to `max` of it.
    pub(crate) fn take(&self, max: usize, mut fetched: impl FnMut(Fetched)) {
        let mut state = self.shared.state();
        let mut taken = 0;
        while taken < max
            && let Some(chunk) = state.chunks.front_mut()
        {
            let (topic, partition) = &chunk.place;
            if let Some((offset, record)) = chunk.batches.next() {
                let topic = topic.as_ref().to_owned();
                fetched(Fetched::Record(Source { topic, partition: *partition, offset }, record));
                taken += 1;
            } else {
                let Chunk { place, next, bytes, .. } =
                    state.chunks.pop_front().expect("just looked");
                state.bytes -= bytes;
                fetched(Fetched::Passed(place, next));
            }
        }
        self.want(&mut state);
    }

    fn want(&self, state: &mut State) {
        if LOW_BYTES <= state.bytes || state.is_wanted || state.is_closed {
            return;
        }
        state.is_wanted = true;
        if state.is_running {
            self.shared.changed.notify_one();
        } else {
            state.is_running = true;
            tokio::spawn(Task::new(Arc::clone(&self.shared)).run());
        }
    }
}

impl Drop for Fetcher {
    fn drop(&mut self) {
        self.shared.state().is_closed = true;
        self.shared.changed.notify_one();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder panics")
    }
}

/// What is asked for: of which partition, in which of its stays, and from which offset on.
type Asked = (Place, u64, i64);

enum Event {
    Peer(PeerEvent),
    Fetched(NodeId, Vec<Asked>, Result<FetchResponse, CallError>),
    Listed(Vec<(Place, u64)>, Result<ListOffsetsResponse, CallError>),
}

/// What fetches.
struct Task {
    shared: Arc<Shared>,
    peers: Peers,
    /// Leaders from whom something is under way.
    busy: HashSet<NodeId>,
    /// When records that came in a trickle last came.
    trickled: Option<Instant>,
    events: FuturesUnordered<BoxFuture<'static, Event>>,
}

impl Drop for Task {
    fn drop(&mut self) {
        self.shared.state().is_running = false;
    }
}

impl Task {
    fn new(shared: Arc<Shared>) -> Self {
        let cluster = Cluster::new(&shared.servers).expect("checked when the fetcher was made");
        Self {
            shared,
            peers: Peers::new(cluster),
            busy: HashSet::new(),
            trickled: None,
            events: FuturesUnordered::new(),
        }
    }

    async fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        while !shared.state().is_closed {
            let alarm = self.ask();
            tokio::select! {
                biased;
                Some(event) = self.events.next() => self.happened(event),
                () = shared.changed.notified() => {}
                () = sleep_until(alarm.unwrap_or_else(Instant::now)), if alarm.is_some() => {}
            }
        }
    }

    /// Asks every leader that may be asked. Returns when to look again.
    fn ask(&mut self) -> Option<Instant> {
        let now = Instant::now();
        let mut alarm: Option<Instant> = None;
        let mut look_at = |at: Instant| alarm = Some(alarm.map_or(at, |alarm| alarm.min(at)));
        let shared = Arc::clone(&self.shared);
        let mut state = shared.state();
        let pause = self.trickled.map(|at| at + shared.linger).filter(|at| now < *at);
        if let (Some(at), true) = (pause, state.is_wanted) {
            look_at(at);
        }
        let may_fetch = state.is_wanted && state.bytes < LOW_BYTES && pause.is_none();
        let mut fetches: HashMap<NodeId, (Connection, Vec<Asked>)> = HashMap::new();
        let mut lists: HashMap<NodeId, (Connection, Vec<(Place, u64)>)> = HashMap::new();
        for (place, cursor) in &mut state.cursors {
            if cursor.is_asked {
                continue;
            }
            if let Some(at) = cursor.not_before.filter(|at| now < *at) {
                look_at(at);
                continue;
            }
            let Some(leader) = self.peers.leader(place) else { continue };
            if self.busy.contains(&leader) {
                continue;
            }
            let connection = match self.peers.way(leader, now) {
                Way::Open(connection) => connection,
                Way::ToOpen(opening) => {
                    self.events.push(Box::pin(async move { Event::Peer(opening.await) }));
                    continue;
                }
                Way::Opens => continue,
                Way::Later(at) => {
                    look_at(at);
                    continue;
                }
            };
            match cursor.next {
                None => {
                    cursor.is_asked = true;
                    let (_, asked) =
                        lists.entry(leader).or_insert_with(|| (connection.clone(), Vec::new()));
                    asked.push((place.clone(), cursor.stay));
                }
                Some(next) if may_fetch => {
                    let (_, asked) =
                        fetches.entry(leader).or_insert_with(|| (connection.clone(), Vec::new()));
                    asked.push((place.clone(), cursor.stay, next));
                }
                Some(_) => {}
            }
        }
        drop(state);
        for (_, (connection, asked)) in lists {
            let answer = connection.call(&list_request(&asked), ANSWER_TIMEOUT);
            self.events.push(Box::pin(async move { Event::Listed(asked, answer.await) }));
        }
        for (leader, (connection, mut asked)) in fetches {
            // In another order each time: a response is filled from its start.
            let turn = rand::random_range(0..asked.len());
            asked.rotate_left(turn);
            let answer = connection.call(&fetch_request(&asked), MAX_WAIT + FETCH_TIMEOUT);
            self.busy.insert(leader);
            self.events.push(Box::pin(async move { Event::Fetched(leader, asked, answer.await) }));
        }
        match self.peers.metadata.ask(now) {
            Ask::Now => self.ask_for_metadata(),
            Ask::Later(at) => look_at(at),
            Ask::No => {}
        }
        alarm
    }

    fn ask_for_metadata(&mut self) {
        let state = self.shared.state();
        let topics: HashSet<String> =
            state.cursors.keys().map(|place| place.0.as_ref().to_owned()).collect();
        drop(state);
        let asked = self.peers.ask(question(Some(topics.into_iter().collect()), false));
        self.events.push(Box::pin(async move { Event::Peer(PeerEvent::Metadata(asked.await)) }));
    }

    fn happened(&mut self, event: Event) {
        match event {
            Event::Peer(event) => {
                if self.peers.happened(event) {
                    let state = self.shared.state();
                    let mut places = state.cursors.keys();
                    let is_enough = places.all(|place| self.peers.leader(place).is_some());
                    self.peers.metadata.answered(is_enough, Instant::now());
                }
            }
            Event::Listed(asked, answer) => self.listed(asked, answer),
            Event::Fetched(node, asked, answer) => {
                self.busy.remove(&node);
                self.fetched(asked, answer);
            }
        }
    }

    fn listed(&mut self, asked: Vec<(Place, u64)>, answer: Result<ListOffsetsResponse, CallError>) {
        let mut found = HashMap::new();
        match answer {
            Ok(answer) => {
                for topic in answer.topics {
                    let name: Arc<str> = topic.name.into();
                    found.extend(topic.partitions.into_iter().map(|partition| {
                        let place = (Arc::clone(&name), partition.partition_index);
                        (place, (partition.error_code, partition.offset))
                    }));
                }
            }
            Err(error) => {
                tracing::debug!("consumer: {error}");
                self.peers.metadata.is_wanted = true;
            }
        }
        let mut state = self.shared.state();
        for (place, stay) in asked {
            let Some(cursor) = state.cursors.get_mut(&place).filter(|cursor| cursor.stay == stay)
            else {
                continue;
            };
            cursor.is_asked = false;
            match found.get(&place) {
                Some((ErrorCode::None, offset)) => {
                    cursor.next = Some(*offset);
                    cursor.backoff = Backoff::default();
                }
                Some((error, _)) => {
                    self.peers.metadata.is_wanted |= leader_may_have_moved(*error);
                    cursor.put_off();
                }
                None => cursor.put_off(),
            }
        }
    }

    fn fetched(&mut self, asked: Vec<Asked>, answer: Result<FetchResponse, CallError>) {
        let responses = match answer {
            Ok(answer) if answer.error_code == ErrorCode::None => answer.responses,
            Ok(answer) => {
                tracing::debug!("consumer: not fetched: {}", answer.error_code);
                Vec::new()
            }
            Err(error) => {
                tracing::debug!("consumer: {error}");
                self.peers.metadata.is_wanted = true;
                Vec::new()
            }
        };
        let shared = Arc::clone(&self.shared);
        let mut state = shared.state();
        let before = state.bytes;
        let mut asked: HashMap<Place, (u64, i64)> =
            asked.into_iter().map(|(place, stay, next)| (place, (stay, next))).collect();
        for topic in responses {
            let name: Arc<str> = topic.topic.into();
            for partition in topic.partitions {
                let place = (Arc::clone(&name), partition.partition_index);
                let Some((stay, from)) = asked.remove(&place) else { continue };
                let is_here = state.cursors.get(&place).is_some_and(|cursor| cursor.stay == stay);
                if is_here {
                    self.partition(&mut state, place, from, partition);
                }
            }
        }
        // What is not answered for is not asked for again at once.
        for (place, (stay, _)) in asked {
            let cursor = state.cursors.get_mut(&place).filter(|cursor| cursor.stay == stay);
            cursor.into_iter().for_each(Cursor::put_off);
        }
        let came = state.bytes - before;
        if state.chunks.is_empty() {
            return;
        }
        if 0 < came {
            state.is_wanted = false;
            self.trickled = (came < MUCH_BYTES).then(Instant::now);
        }
        drop(state);
        shared.arrived.notify_one();
    }

    fn partition(
        &mut self,
        state: &mut State,
        place: Place,
        from: i64,
        answer: FetchPartitionResponse,
    ) {
        let cursor = state.cursors.get_mut(&place).expect("the caller has looked");
        match answer.error_code {
            ErrorCode::None => {}
            ErrorCode::OffsetOutOfRange => {
                tracing::warn!(
                    topic = &*place.0,
                    partition = place.1,
                    offset = from,
                    "the log does not have this offset any more; going on at its first"
                );
                cursor.next = None;
                return;
            }
            error @ (ErrorCode::TopicAuthorizationFailed
            | ErrorCode::ClusterAuthorizationFailed) => {
                let words = format!("topic `{}`: the broker says {error}", place.0);
                state.failure = Some(words);
                self.shared.arrived.notify_one();
                return;
            }
            error => {
                tracing::debug!(topic = &*place.0, partition = place.1, "not fetched: {error}");
                self.peers.metadata.is_wanted |= leader_may_have_moved(error);
                cursor.put_off();
                return;
            }
        }
        let bytes = answer.records.unwrap_or_default();
        let size = bytes.len();
        let aborted = answer.aborted_transactions.unwrap_or_default().into_iter();
        let aborted = aborted.map(|aborted| (aborted.producer_id, aborted.first_offset));
        match Batches::check(&bytes, from, aborted.collect()) {
            Ok((batches, next)) => {
                cursor.next = Some(next);
                cursor.backoff = Backoff::default();
                let end = answer.last_stable_offset.max(-1);
                let end = if end < 0 { answer.high_watermark } else { end };
                // Nothing has come of what there is: the end is worth saying, and nothing else is.
                if 0 < size || end <= next {
                    let chunk = Chunk { place, batches, next, bytes: size };
                    state.bytes += size;
                    state.chunks.push_back(chunk);
                }
            }
            Err(error) => {
                tracing::error!(
                    topic = &*place.0,
                    partition = place.1,
                    from,
                    "what the broker sent is damaged, and is fetched again: {error}"
                );
                cursor.put_off();
            }
        }
    }
}

fn fetch_request(asked: &[Asked]) -> FetchRequest {
    let partitions = asked.iter().map(|(place, _, next)| {
        let partition = FetchPartition {
            partition: place.1,
            fetch_offset: *next,
            partition_max_bytes: MAX_FETCH_BYTES,
            ..Default::default()
        };
        (Arc::clone(&place.0), partition)
    });
    let topics = by_topic(partitions).into_iter();
    FetchRequest {
        max_wait_ms: MAX_WAIT.as_millis() as i32,
        min_bytes: 1,
        max_bytes: MAX_FETCH_BYTES,
        isolation_level: READ_COMMITTED,
        topics: topics.map(|(topic, partitions)| FetchTopic { topic, partitions }).collect(),
        ..Default::default()
    }
}

fn list_request(asked: &[(Place, u64)]) -> ListOffsetsRequest {
    offsets_request(asked.iter().map(|(place, _)| (place.clone(), EARLIEST)))
}

/// Asks for the offsets of records of a time, by partition.
pub(crate) fn offsets_request(asked: impl Iterator<Item = (Place, i64)>) -> ListOffsetsRequest {
    let partitions = asked.map(|((topic, partition_index), timestamp)| {
        (topic, ListOffsetsPartition { partition_index, timestamp, ..Default::default() })
    });
    let topics = by_topic(partitions).into_iter();
    ListOffsetsRequest {
        isolation_level: READ_COMMITTED,
        topics: topics.map(|(name, partitions)| ListOffsetsTopic { name, partitions }).collect(),
        ..Default::default()
    }
}
