//! A stay in a consumer group: joining, sharing partitions out, heartbeats, commits, leaving.
//!
//! One task does one thing after the other over one connection to the group's coordinator. Records are fetched and
//! handled meanwhile, also during a rebalance: only partitions that move stop (KIP-429).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use protocol::cluster::{MetadataRequest, MetadataResponse};
use protocol::consumer::{Assignment, PROTOCOL_TYPE, Subscription, TopicPartitions};
use protocol::groups::{
    HeartbeatRequest, JoinGroupProtocol, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest,
    LeavingMember, SyncGroupAssignment, SyncGroupRequest,
};
use protocol::offsets::{
    OffsetCommitPartition, OffsetCommitRequest, OffsetCommitTopic, OffsetFetchTopic,
};
use protocol::{ErrorCode, Request};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until, timeout};

use crate::assignor;
use crate::cluster::{
    ANSWER_TIMEOUT, Backoff, Cluster, Place, ask_any, by_topic, connect_any, question,
};
use crate::connection::{CallError, Connection};
use crate::fetcher::{Begin, Fetcher};
use crate::group::{committed_in, committed_request, find_coordinator};
use crate::ledger::Ledger;

/// Silence after which a group gives a dead member's partitions to others.
const SESSION_TIMEOUT: Duration = Duration::from_secs(10);
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(3);
/// How long the others are waited for in a rebalance.
const REBALANCE_TIMEOUT: Duration = Duration::from_secs(60);
/// What is done is committed this often: the bound, in time, on what a crash delivers again.
const COMMIT_INTERVAL: Duration = Duration::from_millis(200);
/// A topic that is not there is looked for this often, and new partitions this often.
const LOOK_FOR_TOPIC: Duration = Duration::from_secs(1);
const LOOK_FOR_PARTITIONS: Duration = Duration::from_secs(30);
/// A broker that is away does not keep a consumer from closing for longer than this.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// What a consumer and its membership share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) servers: String,
    pub(crate) group: String,
    pub(crate) topics: Vec<String>,
    pub(crate) fetcher: Fetcher,
    pub(crate) assigned: watch::Sender<bool>,
    pub(crate) closing: watch::Sender<bool>,
    pub(crate) ended: watch::Sender<bool>,
    /// There is something to commit.
    pub(crate) changed: Notify,
    offsets: Mutex<Offsets>,
}

/// What was handed out, and what is to be committed of it.
#[derive(Debug, Default)]
pub(crate) struct Offsets {
    pub(crate) ledger: Ledger,
    pub(crate) uncommitted: HashMap<(String, i32), i64>,
}

impl Shared {
    pub(crate) fn new(servers: &str, group: &str, topics: &[&str], fetcher: Fetcher) -> Self {
        Self {
            servers: servers.to_owned(),
            group: group.to_owned(),
            topics: topics.iter().map(|&topic| topic.to_owned()).collect(),
            fetcher,
            assigned: watch::Sender::new(false),
            closing: watch::Sender::new(false),
            ended: watch::Sender::new(false),
            changed: Notify::new(),
            offsets: Mutex::default(),
        }
    }

    pub(crate) fn offsets(&self) -> MutexGuard<'_, Offsets> {
        self.offsets.lock().expect("no holder panics")
    }

    /// Returns once the consumer closes.
    async fn closing(&self) {
        // Never fails: the sender is here.
        let _ = self.closing.subscribe().wait_for(|closing| *closing).await;
    }
}

/// Why a stay, or an attempt at one, has ended.
#[derive(Debug)]
enum End {
    /// The consumer closes.
    Closing,
    /// There is a rebalance, or one is called for.
    Rejoin,
    /// The group does not know this member any more: its partitions may be somebody else's.
    Lost(String),
    /// The coordinator does not answer, or is another one.
    Coordinator(String),
    /// Nothing that passes.
    Fatal(String),
}

impl From<CallError> for End {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Unsupported { .. } => Self::Fatal(error.to_string()),
            _ => Self::Coordinator(error.to_string()),
        }
    }
}

impl End {
    /// What an error of the group's coordinator means.
    fn of(error: ErrorCode) -> Result<(), Self> {
        let words = error.to_string();
        Err(match error {
            ErrorCode::None => return Ok(()),
            ErrorCode::RebalanceInProgress => Self::Rejoin,
            ErrorCode::UnknownMemberId
            | ErrorCode::IllegalGeneration
            | ErrorCode::FencedInstanceId => Self::Lost(words),
            ErrorCode::GroupAuthorizationFailed
            | ErrorCode::InvalidGroupId
            | ErrorCode::InconsistentGroupProtocol
            | ErrorCode::GroupMaxSizeReached
            | ErrorCode::InvalidSessionTimeout
            | ErrorCode::TopicAuthorizationFailed => {
                Self::Fatal(format!("the broker says {words}"))
            }
            _ => Self::Coordinator(words),
        })
    }
}

pub(crate) struct Member {
    shared: Arc<Shared>,
    cluster: Cluster,
    coordinator: Option<Connection>,
    any: Option<Connection>,
    id: String,
    generation: i32,
    owned: BTreeSet<Place>,
    /// How many partitions there were of each topic when this member joined.
    partitions: HashMap<String, usize>,
}

impl Drop for Member {
    fn drop(&mut self) {
        self.shared.ended.send_replace(true);
    }
}

impl Member {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        let cluster = Cluster::new(&shared.servers).expect("checked when the consumer was made");
        Self {
            shared,
            cluster,
            coordinator: None,
            any: None,
            id: String::new(),
            generation: -1,
            owned: BTreeSet::new(),
            partitions: HashMap::new(),
        }
    }

    /// Is a member until the consumer closes.
    pub(crate) async fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        let mut backoff = Backoff::default();
        loop {
            let end = tokio::select! {
                end = self.join() => end,
                () = shared.closing() => Err(End::Closing),
            };
            let end = match end {
                Ok(()) => {
                    backoff = Backoff::default();
                    tokio::select! {
                        end = self.stay() => end,
                        () = shared.closing() => End::Closing,
                    }
                }
                Err(end) => end,
            };
            let pause = match end {
                End::Closing => break,
                End::Rejoin => continue,
                End::Lost(reason) => {
                    tracing::debug!(group = shared.group, "no member any more: {reason}");
                    self.release_all();
                    self.id.clear();
                    self.generation = -1;
                    backoff.next()
                }
                End::Coordinator(reason) => {
                    tracing::debug!(group = shared.group, "coordinator: {reason}");
                    self.coordinator = None;
                    backoff.next()
                }
                End::Fatal(reason) => {
                    self.release_all();
                    shared.fetcher.fail(reason);
                    return;
                }
            };
            tokio::select! {
                () = sleep(pause) => {}
                () = shared.closing() => break,
            }
        }
        if timeout(CLOSE_TIMEOUT, self.leave()).await.is_err() {
            tracing::warn!(
                group = shared.group,
                "left the group without a word: its coordinator does not answer"
            );
        }
    }

    async fn call<R: Request + Send + 'static>(
        &mut self,
        request: R,
        patience: Duration,
    ) -> Result<R::Response, End> {
        let coordinator = self.coordinator().await?;
        Ok(coordinator.call(&request, patience).await?)
    }

    async fn coordinator(&mut self) -> Result<Connection, End> {
        if let Some(connection) = self.coordinator.as_ref().filter(|known| !known.is_lost()) {
            return Ok(connection.clone());
        }
        let any = match self.any.take().filter(|any| !any.is_lost()) {
            Some(any) => any,
            None => connect_any(self.cluster.candidates()).await?,
        };
        let found = find_coordinator(&any, &self.shared.group).await?;
        self.any = Some(any);
        let address = match found {
            Ok(address) => address,
            Err(error) => return Err(End::of(error).expect_err("it is one")),
        };
        let connection = Connection::open(&address).await?;
        self.coordinator = Some(connection.clone());
        Ok(connection)
    }

    /// Joins the group, or its next generation, and takes its share.
    async fn join(&mut self) -> Result<(), End> {
        // What others may get next is committed before they do.
        if self.generation != -1 {
            match self.commit().await {
                Ok(()) | Err(End::Rejoin) => {}
                Err(end) => return Err(end),
            }
        }
        self.look().await?;
        let joined = loop {
            let joined = self.call(self.join_request(), 2 * REBALANCE_TIMEOUT).await?;
            if joined.error_code == ErrorCode::MemberIdRequired {
                self.id = joined.member_id;
                continue;
            }
            End::of(joined.error_code)?;
            break joined;
        };
        self.id.clone_from(&joined.member_id);
        self.generation = joined.generation_id;
        let assignments = if joined.leader == joined.member_id {
            self.share_out(joined).await?
        } else {
            Vec::new()
        };
        let request = SyncGroupRequest {
            group_id: self.shared.group.clone(),
            generation_id: self.generation,
            member_id: self.id.clone(),
            protocol_type: Some(PROTOCOL_TYPE.to_owned()),
            protocol_name: Some(assignor::PROTOCOL.to_owned()),
            assignments,
            ..Default::default()
        };
        let synced = self.call(request, 2 * REBALANCE_TIMEOUT).await?;
        End::of(synced.error_code)?;
        let assignment = Assignment::parse(synced.assignment)
            .map_err(|error| End::Fatal(format!("the share can't be read: {error}")))?;
        self.take_over(assignment).await
    }

    fn join_request(&self) -> JoinGroupRequest {
        let subscription = Subscription {
            topics: self.shared.topics.clone(),
            owned_partitions: topic_partitions(self.owned.iter().cloned()),
            generation_id: self.generation,
            ..Default::default()
        };
        JoinGroupRequest {
            group_id: self.shared.group.clone(),
            session_timeout_ms: SESSION_TIMEOUT.as_millis() as i32,
            rebalance_timeout_ms: REBALANCE_TIMEOUT.as_millis() as i32,
            member_id: self.id.clone(),
            protocol_type: PROTOCOL_TYPE.to_owned(),
            protocols: vec![JoinGroupProtocol {
                name: assignor::PROTOCOL.to_owned(),
                metadata: subscription.to_bytes(),
            }],
            ..Default::default()
        }
    }

    /// As the group's leader, says who gets what.
    async fn share_out(
        &mut self,
        joined: JoinGroupResponse,
    ) -> Result<Vec<SyncGroupAssignment>, End> {
        let mut members = BTreeMap::new();
        for member in joined.members {
            match Subscription::parse(member.metadata) {
                Ok(subscription) => drop(members.insert(member.member_id, subscription)),
                Err(error) => {
                    tracing::warn!(member = member.member_id, "subscription not read: {error}");
                    members.insert(member.member_id, Subscription::default());
                }
            }
        }
        let wanted: BTreeSet<String> =
            members.values().flat_map(|wants| wants.topics.iter().cloned()).collect();
        let metadata = self.metadata(question(Some(wanted.into_iter().collect()), false)).await?;
        self.cluster.learn(metadata);
        let partitions = self
            .cluster
            .topics()
            .map(|(name, topic)| (name.clone(), topic.leaders.len()))
            .collect();
        let shares = assignor::assign(&members, &partitions);
        let shares = shares.into_iter().map(|(member_id, share)| {
            let assigned_partitions = topic_partitions(share);
            let assignment = Assignment { assigned_partitions, user_data: None }.to_bytes();
            SyncGroupAssignment { member_id, assignment }
        });
        Ok(shares.collect())
    }

    /// Gives up what is not in its share any more, and begins with what is new in it.
    async fn take_over(&mut self, assignment: Assignment) -> Result<(), End> {
        let share: BTreeSet<Place> = assignment
            .assigned_partitions
            .into_iter()
            .flat_map(|TopicPartitions { topic, partitions }| {
                let topic: Arc<str> = topic.into();
                partitions.into_iter().map(move |partition| (Arc::clone(&topic), partition))
            })
            .collect();
        let revoked: Vec<Place> = self.owned.difference(&share).cloned().collect();
        if !revoked.is_empty() {
            self.commit().await?;
            for place in &revoked {
                self.release(place);
            }
            // Only now may others have them.
            return Err(End::Rejoin);
        }
        let added: Vec<Place> = share.difference(&self.owned).cloned().collect();
        for (place, begin) in self.committed(added).await? {
            self.shared.fetcher.add(place.clone(), begin);
            self.owned.insert(place);
        }
        self.shared.assigned.send_replace(true);
        Ok(())
    }

    fn release(&mut self, place: &Place) {
        self.owned.remove(place);
        let key = (place.0.as_ref().to_owned(), place.1);
        let mut offsets = self.shared.offsets();
        self.shared.fetcher.remove(place);
        offsets.ledger.revoked(&key.0, key.1);
        offsets.uncommitted.remove(&key);
    }

    fn release_all(&mut self) {
        for place in self.owned.clone() {
            self.release(&place);
        }
    }

    /// Where the group goes on with partitions.
    async fn committed(&mut self, places: Vec<Place>) -> Result<Vec<(Place, Begin)>, End> {
        if places.is_empty() {
            return Ok(Vec::new());
        }
        let topics = by_topic(places.iter().cloned()).into_iter();
        let topics =
            topics.map(|(name, partition_indexes)| OffsetFetchTopic { name, partition_indexes });
        let request = committed_request(&self.shared.group, Some(topics.collect()), true);
        let (error, topics) = committed_in(self.call(request, ANSWER_TIMEOUT).await?);
        End::of(error)?;
        let mut found = HashMap::new();
        for topic in topics {
            let name: Arc<str> = topic.name.into();
            for partition in topic.partitions {
                End::of(partition.error_code)?;
                let place = (Arc::clone(&name), partition.partition_index);
                found.insert(place, partition.committed_offset);
            }
        }
        let begin = |place: &Place| match found.get(place) {
            Some(&offset) if 0 <= offset => Begin::At(offset),
            // What was sent before the first start is not passed over.
            _ => Begin::Earliest,
        };
        Ok(places.into_iter().map(|place| (place.clone(), begin(&place))).collect())
    }

    /// Keeps its place until there is a reason to go.
    async fn stay(&mut self) -> End {
        let shared = Arc::clone(&self.shared);
        let mut beat = interval(HEARTBEAT_INTERVAL);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        beat.reset();
        let mut commit_at: Option<Instant> = None;
        let mut look_at = Instant::now() + self.look_after();
        loop {
            let done = tokio::select! {
                _ = beat.tick() => self.heartbeat().await,
                () = shared.changed.notified() => {
                    if !shared.offsets().uncommitted.is_empty() {
                        commit_at.get_or_insert_with(|| Instant::now() + COMMIT_INTERVAL);
                    }
                    Ok(())
                }
                () = sleep_until(commit_at.unwrap_or(look_at)), if commit_at.is_some() => {
                    commit_at = None;
                    self.commit().await
                }
                () = sleep_until(look_at) => {
                    let known = self.partitions.clone();
                    let looked = self.look().await;
                    look_at = Instant::now() + self.look_after();
                    if looked.is_ok() && known != self.partitions { Err(End::Rejoin) } else { looked }
                }
            };
            if let Err(end) = done {
                return end;
            }
        }
    }

    fn look_after(&self) -> Duration {
        let is_missing = |topic| self.partitions.get(topic).is_none_or(|&count| count == 0);
        let is_any_missing = self.shared.topics.iter().any(is_missing);
        if is_any_missing { LOOK_FOR_TOPIC } else { LOOK_FOR_PARTITIONS }
    }

    /// Looks how many partitions there are. A broker that creates topics when they are asked for does so.
    async fn look(&mut self) -> Result<(), End> {
        let metadata = self.metadata(question(Some(self.shared.topics.clone()), true)).await?;
        self.cluster.learn(metadata);
        let mut partitions = HashMap::new();
        for name in &self.shared.topics {
            let Some(topic) = self.cluster.topic(name) else { continue };
            match topic.error {
                Some(error @ (ErrorCode::TopicAuthorizationFailed | ErrorCode::InvalidTopic)) => {
                    return Err(End::Fatal(format!("topic `{name}`: the broker says {error}")));
                }
                _ => drop(partitions.insert(name.clone(), topic.leaders.len())),
            }
        }
        self.partitions = partitions;
        Ok(())
    }

    async fn metadata(&mut self, question: MetadataRequest) -> Result<MetadataResponse, End> {
        let asked = ask_any(self.any.take(), self.cluster.candidates(), question).await;
        let (connection, metadata) = asked?;
        self.any = Some(connection);
        Ok(metadata)
    }

    async fn heartbeat(&mut self) -> Result<(), End> {
        let request = HeartbeatRequest {
            group_id: self.shared.group.clone(),
            generation_id: self.generation,
            member_id: self.id.clone(),
            ..Default::default()
        };
        let answer = self.call(request, ANSWER_TIMEOUT).await?;
        End::of(answer.error_code)
    }

    /// Commits what is done.
    async fn commit(&mut self) -> Result<(), End> {
        let offsets = self.shared.offsets().uncommitted.clone();
        if offsets.is_empty() {
            return Ok(());
        }
        let partitions = offsets.iter().map(|((topic, partition), offset)| {
            let partition = OffsetCommitPartition {
                partition_index: *partition,
                committed_offset: *offset,
                ..Default::default()
            };
            (topic.as_str().into(), partition)
        });
        let topics = by_topic(partitions).into_iter();
        let request = OffsetCommitRequest {
            group_id: self.shared.group.clone(),
            generation_id: self.generation,
            member_id: self.id.clone(),
            topics: topics
                .map(|(name, partitions)| OffsetCommitTopic { name, partitions })
                .collect(),
            ..Default::default()
        };
        let committed = match self.call(request, ANSWER_TIMEOUT).await {
            Ok(answer) => answer
                .topics
                .iter()
                .flat_map(|topic| &topic.partitions)
                .try_for_each(|partition| End::of(partition.error_code)),
            Err(end) => Err(end),
        };
        if committed.is_ok() {
            // What was done since is further on.
            self.shared
                .offsets()
                .uncommitted
                .retain(|place, offset| offsets.get(place) != Some(&*offset));
        }
        self.shared.changed.notify_one();
        committed
    }

    /// Commits what is done, and leaves.
    async fn leave(&mut self) {
        if self.generation == -1 {
            return;
        }
        if let Err(end) = self.commit().await {
            tracing::warn!(group = self.shared.group, ?end, "last offsets not committed");
        }
        let request = LeaveGroupRequest {
            group_id: self.shared.group.clone(),
            member_id: self.id.clone(),
            members: vec![LeavingMember { member_id: self.id.clone(), ..Default::default() }],
        };
        if let Err(end) = self.call(request, ANSWER_TIMEOUT).await {
            tracing::debug!(group = self.shared.group, ?end, "left without an answer");
        }
    }
}

fn topic_partitions(places: impl IntoIterator<Item = Place>) -> Vec<TopicPartitions> {
    let topics = by_topic(places).into_iter();
    topics.map(|(topic, partitions)| TopicPartitions { topic, partitions }).collect()
}
