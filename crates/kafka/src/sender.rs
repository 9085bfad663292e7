//! The task behind a producer: finds each record's partition and its leader, and keeps batches under way.
//!
//! It waits for nothing but events: connections, metadata, identities and answers each come as one, so that a
//! broker that hangs holds up none of the others.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use protocol::ErrorCode;
use protocol::cluster::MetadataResponse;
use protocol::produce::{
    InitProducerIdRequest, InitProducerIdResponse, PartitionProduceData, PartitionProduceResponse,
    ProduceRequest, ProduceResponse, TopicProduceData,
};
use tokio::time::{Instant, sleep_until};

use crate::cluster::{Backoff, Cluster, NodeId, Place, ask_any, question};
use crate::connection::{CallError, Connection};
use crate::link::{Ask, Link, Opening, Question};
use crate::outbox::{Answer, Identity, MAX_UNDER_WAY, Outbox, Refusal};
use crate::producer::{Receipt, Shared, Unsent};

/// How long a broker may wait for its replicas, and how much longer its answer may take.
const ACKS_TIMEOUT: Duration = Duration::from_secs(30);
const PRODUCE_TIMEOUT: Duration = Duration::from_secs(40);
/// Metadata is asked for again after this long, to notice new partitions.
const METADATA_AGE: Duration = Duration::from_secs(300);
/// A topic that is not there for this long is not waited for any longer.
const TOPIC_PATIENCE: Duration = Duration::from_secs(30);
/// Where an answer takes longer than this, as many batches as may be are under way; otherwise one more than the one
/// that the broker works on: what comes meanwhile gathers, and goes together.
const LONG_WAY: Duration = Duration::from_millis(5);
const NEAR_UNDER_WAY: usize = 2;
/// Records without keys go to one partition for this long, and then to another: so they gather.
const STICK_TO_PARTITION: Duration = Duration::from_millis(10);

/// A batch on its way: where to, and its number there.
type Going = (Place, u64, bytes::Bytes);

enum Event {
    Connected(NodeId, Result<Connection, CallError>),
    Metadata(Result<(Connection, MetadataResponse), CallError>),
    Identity(Result<(Connection, InitProducerIdResponse), CallError>),
    Produced { node: NodeId, sent: Instant, batches: Vec<(Place, u64)>, answer: Produced },
}

type Produced = Result<ProduceResponse, CallError>;

/// A topic that records go to.
struct Topic {
    partitions: Vec<Partition>,
    /// Records that have no partition, because the topic's are not known.
    homeless: Vec<Unsent>,
    /// Since when brokers have said that it is not there.
    missing_since: Option<Instant>,
    stuck_to: (usize, Instant),
}

struct Partition {
    outbox: Outbox<Receipt>,
    backoff: Backoff,
    not_before: Option<Instant>,
}

pub(crate) struct Sender {
    shared: Arc<Shared>,
    cluster: Cluster,
    topics: HashMap<Arc<str>, Topic>,
    /// Partitions with something that has not gone.
    pending: BTreeSet<Place>,
    links: HashMap<NodeId, Link>,
    /// For questions that any broker answers.
    any: Option<Connection>,
    round_trip: Duration,
    metadata: Question,
    metadata_at: Option<Instant>,
    identity: Question,
    events: FuturesUnordered<BoxFuture<'static, Event>>,
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.shared.ended();
    }
}

impl Sender {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        let cluster = Cluster::new(&shared.servers).expect("checked when the producer was made");
        Self {
            shared,
            cluster,
            topics: HashMap::new(),
            pending: BTreeSet::new(),
            links: HashMap::new(),
            any: None,
            round_trip: Duration::ZERO,
            metadata: Question::default(),
            metadata_at: None,
            identity: Question::default(),
            events: FuturesUnordered::new(),
        }
    }

    /// Sends until nobody sends or waits any more.
    pub(crate) async fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        while let Some(arrived) = shared.take() {
            for unsent in arrived {
                self.place(unsent);
            }
            let alarm = self.send();
            tokio::select! {
                biased;
                Some(event) = self.events.next() => self.happened(event),
                () = shared.arrived.notified() => {}
                () = sleep_until(alarm.unwrap_or_else(Instant::now)), if alarm.is_some() => {}
            }
        }
    }

    /// Puts a record with its partition, if that is known.
    fn place(&mut self, unsent: Unsent) {
        let now = Instant::now();
        let partitions = self.cluster.topic(&unsent.topic).map_or(0, |topic| topic.leaders.len());
        let topic = self.topics.entry(Arc::clone(&unsent.topic)).or_insert_with(|| Topic {
            partitions: Vec::new(),
            homeless: Vec::new(),
            missing_since: None,
            stuck_to: (0, now),
        });
        if partitions == 0 {
            topic.homeless.push(unsent);
            self.metadata.is_wanted = true;
            return;
        }
        let Unsent { topic: name, key, item } = unsent;
        let partition = if let Some(key) = key.filter(|key| !key.is_empty()) {
            // As librdkafka and what is built on it do, so that a key's records stay together.
            crc32fast::hash(&key) as usize % partitions
        } else {
            let (stuck_to, until) = &mut topic.stuck_to;
            if *until <= now {
                *stuck_to = rand::random_range(0..partitions);
                *until = now + STICK_TO_PARTITION;
            }
            (*stuck_to).min(partitions - 1)
        };
        while topic.partitions.len() <= partition {
            topic.partitions.push(Partition {
                outbox: Outbox::new(self.shared.compression.codec()),
                backoff: Backoff::default(),
                not_before: None,
            });
        }
        topic.partitions[partition].outbox.push(item);
        self.pending.insert((name, partition as i32));
    }

    /// Has go what can. Returns when to look again.
    fn send(&mut self) -> Option<Instant> {
        let now = Instant::now();
        let mut alarm: Option<Instant> = None;
        let mut look_at = |at: Instant| alarm = Some(alarm.map_or(at, |alarm| alarm.min(at)));
        if !self.pending.is_empty()
            && self.metadata_at.is_some_and(|at| METADATA_AGE < now.duration_since(at))
        {
            self.metadata.is_wanted = true;
        }
        let near = self.round_trip < LONG_WAY;
        let max_under_way = if near { NEAR_UNDER_WAY } else { MAX_UNDER_WAY };
        let mut going: HashMap<NodeId, (Connection, Vec<Going>)> = HashMap::new();
        let mut emptied = Vec::new();
        for place in &self.pending {
            let topic = self.topics.get_mut(&place.0).expect("records came for it");
            let partition = &mut topic.partitions[place.1 as usize];
            if let Some(at) = partition.not_before.filter(|at| now < *at) {
                look_at(at);
                continue;
            }
            if partition.outbox.wants_identity() {
                self.identity.is_wanted = true;
                continue;
            }
            let Some(leader) = self.cluster.leader(&place.0, place.1) else {
                self.metadata.is_wanted = true;
                continue;
            };
            let link = self.links.entry(leader).or_default();
            if let Some(connection) = link.connection() {
                while let Some((number, bytes)) = partition.outbox.next_batch(max_under_way) {
                    let batch = (place.clone(), number, bytes);
                    let (_, batches) =
                        going.entry(leader).or_insert_with(|| (connection.clone(), Vec::new()));
                    batches.push(batch);
                }
                if !partition.outbox.has_more() {
                    emptied.push(place.clone());
                }
                continue;
            }
            match link.open(self.cluster.address(leader), now) {
                Opening::Starts(opening) => self
                    .events
                    .push(Box::pin(async move { Event::Connected(leader, opening.await) })),
                Opening::Later(at) => look_at(at),
                Opening::Goes => {}
                Opening::Unknown => self.metadata.is_wanted = true,
            }
        }
        for place in emptied {
            self.pending.remove(&place);
        }
        for (node, (connection, batches)) in going {
            self.produce(node, &connection, batches);
        }
        if let Some(at) = self.ask_for_metadata(now) {
            look_at(at);
        }
        if let Some(at) = self.ask_for_identity(now) {
            look_at(at);
        }
        alarm
    }

    fn produce(&mut self, node: NodeId, connection: &Connection, batches: Vec<Going>) {
        // A partition has one batch in a request.
        let mut requests: Vec<Vec<Going>> = Vec::new();
        for batch in batches {
            let has_room =
                |request: &Vec<Going>| request.iter().all(|(place, ..)| *place != batch.0);
            match requests.iter_mut().find(|request| has_room(request)) {
                Some(request) => request.push(batch),
                None => requests.push(vec![batch]),
            }
        }
        for request in requests {
            let mut topic_data: Vec<TopicProduceData> = Vec::new();
            let mut sent_batches = Vec::with_capacity(request.len());
            for (place, number, bytes) in request {
                let data = PartitionProduceData { index: place.1, records: Some(bytes) };
                match topic_data.last_mut().filter(|topic| *topic.name == *place.0) {
                    Some(topic) => topic.partition_data.push(data),
                    None => topic_data.push(TopicProduceData {
                        name: place.0.as_ref().to_owned(),
                        partition_data: vec![data],
                    }),
                }
                sent_batches.push((place, number));
            }
            let request = ProduceRequest {
                transactional_id: None,
                acks: -1,
                timeout_ms: ACKS_TIMEOUT.as_millis() as i32,
                topic_data,
            };
            let answer = connection.call(&request, PRODUCE_TIMEOUT);
            let sent = Instant::now();
            self.events.push(Box::pin(async move {
                let answer = answer.await;
                Event::Produced { node, sent, batches: sent_batches, answer }
            }));
        }
    }

    fn ask_for_metadata(&mut self, now: Instant) -> Option<Instant> {
        match self.metadata.ask(now) {
            Ask::Now => {}
            Ask::Later(at) => return Some(at),
            Ask::No => return None,
        }
        let topics = self.topics.keys().map(|name| name.as_ref().to_owned()).collect();
        let asked =
            ask_any(self.any.take(), self.cluster.candidates(), question(Some(topics), true));
        self.events.push(Box::pin(async move { Event::Metadata(asked.await) }));
        None
    }

    fn ask_for_identity(&mut self, now: Instant) -> Option<Instant> {
        match self.identity.ask(now) {
            Ask::Now => {}
            Ask::Later(at) => return Some(at),
            Ask::No => return None,
        }
        let request = InitProducerIdRequest {
            transaction_timeout_ms: ACKS_TIMEOUT.as_millis() as i32,
            ..Default::default()
        };
        let asked = ask_any(self.any.take(), self.cluster.candidates(), request);
        self.events.push(Box::pin(async move { Event::Identity(asked.await) }));
        None
    }

    fn happened(&mut self, event: Event) {
        match event {
            Event::Connected(node, opened) => {
                if let Err(error) = &opened {
                    tracing::debug!(node, "producer: {error}");
                    // Somebody else may lead by now.
                    self.metadata.is_wanted = true;
                }
                self.links.entry(node).or_default().opened(opened);
            }
            Event::Metadata(Ok((connection, metadata))) => {
                self.any = Some(connection);
                self.metadata.answered();
                self.metadata_at = Some(Instant::now());
                self.cluster.learn(metadata);
                self.learnt();
            }
            Event::Metadata(Err(error)) => {
                tracing::debug!("producer: {error}");
                self.metadata.failed();
            }
            Event::Identity(answer) => self.identified(answer),
            Event::Produced { node, sent, batches, answer } => {
                self.produced(node, sent, batches, answer);
            }
        }
    }

    /// Houses records whose topics are known now, and gives up those whose topics have been missing for long.
    fn learnt(&mut self) {
        let now = Instant::now();
        let names: Vec<_> = self.topics.keys().cloned().collect();
        for name in names {
            let Some(known) = self.cluster.topic(&name).cloned() else { continue };
            let topic = self.topics.get_mut(&name).expect("just listed");
            let Some(error) = known.error else {
                topic.missing_since = None;
                for unsent in std::mem::take(&mut topic.homeless) {
                    self.place(unsent);
                }
                continue;
            };
            let since = *topic.missing_since.get_or_insert(now);
            let is_final =
                matches!(error, ErrorCode::InvalidTopic | ErrorCode::TopicAuthorizationFailed);
            let has_any =
                !topic.homeless.is_empty() || self.pending.iter().any(|place| place.0 == name);
            if !has_any {
                topic.missing_since = None;
            } else if is_final || TOPIC_PATIENCE <= now.duration_since(since) {
                let reason: Arc<str> = format!("the broker says {error} of it").into();
                topic.missing_since = None;
                let homeless = topic.homeless.drain(..).map(|unsent| unsent.item.receipt);
                let housed = topic.partitions.iter_mut().flat_map(|at| at.outbox.clear());
                for receipt in homeless.chain(housed) {
                    receipt.report(Err(Refusal::Because(Arc::clone(&reason))));
                }
                self.pending.retain(|place| place.0 != name);
            } else {
                self.metadata.again();
            }
        }
    }

    fn identified(&mut self, answer: Result<(Connection, InitProducerIdResponse), CallError>) {
        let (connection, answer) = match answer {
            Ok(answer) => answer,
            Err(error) => {
                tracing::debug!("producer: {error}");
                return self.identity.failed();
            }
        };
        self.any.get_or_insert(connection);
        if answer.error_code != ErrorCode::None {
            tracing::debug!("producer: no identity: {}", answer.error_code);
            return self.identity.failed();
        }
        self.identity.answered();
        let identity = Identity { id: answer.producer_id, epoch: answer.producer_epoch };
        for topic in self.topics.values_mut() {
            for partition in &mut topic.partitions {
                if partition.outbox.wants_identity() {
                    partition.outbox.identify(identity);
                }
            }
        }
    }

    fn produced(
        &mut self,
        node: NodeId,
        sent: Instant,
        batches: Vec<(Place, u64)>,
        answer: Produced,
    ) {
        let mut answers: HashMap<Place, PartitionProduceResponse> = HashMap::new();
        match answer {
            Ok(answer) => {
                let took = sent.elapsed();
                // Of the last few, so that one slow answer changes little.
                self.round_trip = (3 * self.round_trip + took) / 4;
                for topic in answer.responses {
                    let name: Arc<str> = topic.name.into();
                    answers.extend(
                        topic
                            .partition_responses
                            .into_iter()
                            .map(|partition| ((Arc::clone(&name), partition.index), partition)),
                    );
                }
            }
            Err(error) => {
                tracing::debug!(node, "producer: {error}");
                self.metadata.is_wanted = true;
            }
        }
        for (place, number) in batches {
            let answer = answers.remove(&place).map_or(Answer::Again, |answer| {
                if leader_may_have_moved(answer.error_code) {
                    self.metadata.is_wanted = true;
                }
                read_answer(&place, answer)
            });
            let topic = self.topics.get_mut(&place.0).expect("batches were sent to it");
            let partition = &mut topic.partitions[place.1 as usize];
            match answer {
                Answer::Stored(_) => {
                    partition.backoff = Backoff::default();
                    partition.not_before = None;
                }
                Answer::Again | Answer::OutOfSequence => {
                    let pause = partition.backoff.next();
                    partition.not_before = Some(Instant::now() + pause);
                }
                Answer::TooLarge | Answer::Refused(..) => {}
            }
            for (receipt, verdict) in partition.outbox.answered(number, answer) {
                receipt.report(verdict);
            }
            if partition.outbox.has_more() {
                self.pending.insert(place);
            }
        }
    }
}

/// Whether somebody else may lead the partition.
pub(crate) fn leader_may_have_moved(error: ErrorCode) -> bool {
    matches!(
        error,
        ErrorCode::NotLeaderOrFollower
            | ErrorCode::LeaderNotAvailable
            | ErrorCode::UnknownTopicOrPartition
            | ErrorCode::UnknownTopicId
            | ErrorCode::FencedLeaderEpoch
            | ErrorCode::KafkaStorageError
            | ErrorCode::NetworkException
    )
}

fn read_answer(place: &Place, answer: PartitionProduceResponse) -> Answer {
    match answer.error_code {
        ErrorCode::None => Answer::Stored(answer.base_offset),
        // It had it already, from an attempt whose answer was lost.
        ErrorCode::DuplicateSequenceNumber => Answer::Stored(-1),
        ErrorCode::OutOfOrderSequenceNumber
        | ErrorCode::UnknownProducerId
        | ErrorCode::InvalidProducerEpoch
        | ErrorCode::ProducerFenced => Answer::OutOfSequence,
        ErrorCode::MessageTooLarge | ErrorCode::RecordListTooLarge => Answer::TooLarge,
        error @ (ErrorCode::InvalidRecord
        | ErrorCode::InvalidTopic
        | ErrorCode::InvalidTimestamp
        | ErrorCode::InvalidRequiredAcks
        | ErrorCode::TopicAuthorizationFailed
        | ErrorCode::ClusterAuthorizationFailed
        | ErrorCode::UnsupportedForMessageFormat
        | ErrorCode::UnsupportedCompressionType
        | ErrorCode::PolicyViolation) => {
            let mut which: Vec<_> = answer
                .record_errors
                .iter()
                .filter_map(|record| usize::try_from(record.batch_index).ok())
                .collect();
            which.sort_unstable();
            which.dedup();
            let words = answer.error_message.or_else(|| {
                answer.record_errors.into_iter().find_map(|record| record.batch_index_error_message)
            });
            let reason =
                words.map_or_else(|| error.to_string(), |words| format!("{error}: {words}"));
            Answer::Refused(which, reason.into())
        }
        error => {
            tracing::debug!(topic = &*place.0, partition = place.1, "not stored yet: {error}");
            Answer::Again
        }
    }
}
