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
use protocol::produce::{
    InitProducerIdRequest, InitProducerIdResponse, PartitionProduceData, PartitionProduceResponse,
    ProduceRequest, ProduceResponse, TopicProduceData,
};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};

use crate::cluster::{Backoff, Cluster, NodeId, Place, by_topic, question, said};
use crate::connection::{CallError, Connection};
use crate::outbox::{Answer, Identity, MAX_UNDER_WAY, Outbox, Refusal};
use crate::peers::{Ask, PeerEvent, Peers, Question, Way};
use crate::producer::{Arrived, Receipt, Shared, Unsent};

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
    Peer(PeerEvent),
    Identity(Result<(Connection, InitProducerIdResponse), CallError>),
    Produced { node: NodeId, sent: Instant, batches: Vec<(Place, u64)>, answer: Produced },
}

type Produced = Result<ProduceResponse, CallError>;

/// A topic that records go to.
struct Topic {
    partitions: Vec<Partition>,
    /// Records that have no partition, because the topic's are not known.
    homeless: Vec<Unsent>,
    /// Who waits for everything to be ready for records.
    preparing: Vec<oneshot::Sender<()>>,
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
    peers: Peers,
    topics: HashMap<Arc<str>, Topic>,
    /// Partitions with something that has not gone.
    pending: BTreeSet<Place>,
    round_trip: Duration,
    metadata_at: Option<Instant>,
    /// The last one that was given to this producer. New partitions start with it.
    identity: Option<Identity>,
    identity_question: Question,
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
            peers: Peers::new(cluster),
            topics: HashMap::new(),
            pending: BTreeSet::new(),
            round_trip: Duration::ZERO,
            metadata_at: None,
            identity: None,
            identity_question: Question::default(),
            events: FuturesUnordered::new(),
        }
    }

    /// Sends until nobody sends or waits any more.
    pub(crate) async fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        while let Some(Arrived { unsent, preparing }) = shared.take() {
            for unsent in unsent {
                self.place(unsent);
            }
            for (topic, ready) in preparing {
                self.topic(topic).preparing.push(ready);
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

    fn topic(&mut self, name: Arc<str>) -> &mut Topic {
        self.topics.entry(name).or_insert_with(|| Topic {
            partitions: Vec::new(),
            homeless: Vec::new(),
            preparing: Vec::new(),
            missing_since: None,
            stuck_to: (0, Instant::now()),
        })
    }

    /// Puts a record with its partition, if that is known.
    fn place(&mut self, unsent: Unsent) {
        let now = Instant::now();
        let partitions = self.peers.cluster.partitions(&unsent.topic);
        let compression = self.shared.compression.codec();
        let topic = self.topic(Arc::clone(&unsent.topic));
        if partitions == 0 {
            topic.homeless.push(unsent);
            self.peers.metadata.is_wanted = true;
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
                outbox: Outbox::new(compression),
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
            self.peers.metadata.is_wanted = true;
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
            if partition.outbox.wants_identity()
                && !self.identity.is_some_and(|identity| partition.outbox.identify(identity))
            {
                self.identity_question.is_wanted = true;
                continue;
            }
            match reach(&mut self.peers, &self.events, place, now) {
                Ok((leader, connection)) => {
                    while let Some((number, bytes)) = partition.outbox.next_batch(max_under_way) {
                        let batch = (place.clone(), number, bytes);
                        let (_, batches) =
                            going.entry(leader).or_insert_with(|| (connection.clone(), Vec::new()));
                        batches.push(batch);
                    }
                    if !partition.outbox.has_more() {
                        emptied.push(place.clone());
                    }
                }
                Err(later) => later.into_iter().for_each(&mut look_at),
            }
        }
        for place in emptied {
            self.pending.remove(&place);
        }
        for (node, (connection, batches)) in going {
            self.produce(node, &connection, batches);
        }
        for (name, topic) in self.topics.iter_mut().filter(|(_, topic)| !topic.preparing.is_empty())
        {
            let partitions = self.peers.cluster.partitions(name);
            self.peers.metadata.is_wanted |= partitions == 0;
            self.identity_question.is_wanted |= self.identity.is_none();
            let mut is_ready = 0 < partitions && self.identity.is_some();
            for partition in 0..partitions {
                let place = (Arc::clone(name), partition as i32);
                if let Err(later) = reach(&mut self.peers, &self.events, &place, now) {
                    is_ready = false;
                    later.into_iter().for_each(&mut look_at);
                }
            }
            if is_ready {
                for ready in topic.preparing.drain(..) {
                    // Whoever no longer waits need not hear it.
                    let _ = ready.send(());
                }
            }
        }
        match self.peers.metadata.ask(now) {
            Ask::Now => {
                let topics = self.topics.keys().map(|name| name.as_ref().to_owned()).collect();
                let asked = self.peers.ask(question(Some(topics), true));
                self.events
                    .push(Box::pin(async move { Event::Peer(PeerEvent::Metadata(asked.await)) }));
            }
            Ask::Later(at) => look_at(at),
            Ask::No => {}
        }
        match self.identity_question.ask(now) {
            Ask::Now => {
                let request = InitProducerIdRequest {
                    transaction_timeout_ms: ACKS_TIMEOUT.as_millis() as i32,
                    ..Default::default()
                };
                let asked = self.peers.ask(request);
                self.events.push(Box::pin(async move { Event::Identity(asked.await) }));
            }
            Ask::Later(at) => look_at(at),
            Ask::No => {}
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
            let mut sent_batches = Vec::with_capacity(request.len());
            let data = request.into_iter().map(|(place, number, bytes)| {
                let data = PartitionProduceData { index: place.1, records: Some(bytes) };
                let topic = Arc::clone(&place.0);
                sent_batches.push((place, number));
                (topic, data)
            });
            let topic_data = by_topic(data)
                .into_iter()
                .map(|(name, partition_data)| TopicProduceData { name, partition_data })
                .collect();
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

    fn happened(&mut self, event: Event) {
        match event {
            Event::Peer(event) => {
                if self.peers.happened(event) {
                    self.metadata_at = Some(Instant::now());
                    let is_enough = self.learnt();
                    self.peers.metadata.answered(is_enough, Instant::now());
                }
            }
            Event::Identity(answer) => self.identified(answer),
            Event::Produced { node, sent, batches, answer } => {
                self.produced(node, sent, batches, answer);
            }
        }
    }

    /// Houses records whose topics are known now, and gives up those whose topics have been missing for long. False
    /// while some lack a topic, or a leader.
    fn learnt(&mut self) -> bool {
        let now = Instant::now();
        let mut is_enough = true;
        let names: Vec<_> = self.topics.keys().cloned().collect();
        for name in names {
            let Some(known) = self.peers.cluster.topic(&name).cloned() else { continue };
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
            topic.preparing.retain(|ready| !ready.is_closed());
            is_enough &= topic.preparing.is_empty();
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
                is_enough = false;
            }
        }
        let mut places = self.pending.iter();
        is_enough && places.all(|place| self.peers.leader(place).is_some())
    }

    fn identified(&mut self, answer: Result<(Connection, InitProducerIdResponse), CallError>) {
        match answer {
            Ok((connection, answer)) => {
                self.peers.answered_over(connection);
                let is_given = answer.error_code == ErrorCode::None;
                if is_given {
                    let (id, epoch) = (answer.producer_id, answer.producer_epoch);
                    self.identity = Some(Identity { id, epoch });
                } else {
                    tracing::debug!("producer: no identity: {}", answer.error_code);
                }
                self.identity_question.answered(is_given, Instant::now());
            }
            Err(error) => {
                tracing::debug!("producer: {error}");
                self.identity_question.answered(false, Instant::now());
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
                self.peers.metadata.is_wanted = true;
            }
        }
        for (place, number) in batches {
            let answer = answers.remove(&place).map_or(Answer::Again, |answer| {
                if leader_may_have_moved(answer.error_code) {
                    self.peers.metadata.is_wanted = true;
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

/// The connection to a partition's leader; without one, when to look again, unless an event says so.
fn reach<'p>(
    peers: &'p mut Peers,
    events: &FuturesUnordered<BoxFuture<'static, Event>>,
    place: &Place,
    now: Instant,
) -> Result<(NodeId, &'p Connection), Option<Instant>> {
    let leader = peers.leader(place).ok_or(None)?;
    match peers.way(leader, now) {
        Way::Open(connection) => Ok((leader, connection)),
        Way::ToOpen(opening) => {
            events.push(Box::pin(async move { Event::Peer(opening.await) }));
            Err(None)
        }
        Way::Opens => Err(None),
        Way::Later(at) => Err(Some(at)),
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
            Answer::Refused(which, said(error, words).into())
        }
        error => {
            tracing::debug!(topic = &*place.0, partition = place.1, "not stored yet: {error}");
            Answer::Again
        }
    }
}
