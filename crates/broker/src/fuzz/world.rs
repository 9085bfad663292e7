//! A small broker with something of everything in it, and what has to hold of it after any requests.
//!
//! Its time is virtual, so that nothing waits, and it forgets nothing that it was asked to keep: it is started
//! again on what it has left on disk, and compared with what it was.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use bytes::{Buf, Bytes};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};
use tokio::time::{Instant, sleep};

use super::batch::RECORD;
use super::input::Parsed;
use crate::bounds::Bounds;
use crate::broker::{BrokerConfig, open};
use crate::connection;
use crate::groups::group::{Caller, Sync};
use crate::groups::member::{Join, Protocol};
use crate::groups::reply::Joined;
use crate::log::flusher::{Durable, Flush, FlusherThread};
use crate::log::partition::{Partition, Watermarks};
use crate::log::read::Oversize;
use crate::node::{Client, Node, wall_clock_ms};
use crate::offsets::{Committed, GroupOffsets};
use crate::topic_config::{Cleanup, Overrides};
use protocol::batch::{BatchHeader, HEADER_BYTES, NewBatch};
use protocol::compression::Compression;
use protocol::records::Records;

/// A topic of two partitions, with a full segment in the first, and one to append to.
pub(super) const TOPIC: &str = "t";
/// A topic that is compacted as soon as may be.
pub(super) const TABLE: &str = "c";
/// A group of two members, in its first generation.
pub(super) const GROUP: &str = "g";
/// A group of offsets without members.
pub(super) const OFFSETS: &str = "o";
/// Stands in inputs for the leader's id, which is as long.
pub(super) const MEMBER: &str = "m-00000000-0000-0000-0000-000000000000";
/// Stands in inputs for the id of the static member of [`INSTANCE`].
pub(super) const STATIC_MEMBER: &str = "i-00000000-0000-0000-0000-000000000000";
pub(super) const INSTANCE: &str = "i";
pub(super) const PROTOCOL_TYPE: &str = "consumer";
pub(super) const PROTOCOL: &str = "range";

/// Where there is one, files are in memory: each input is a broker's life, and syncing would take most of it.
const MEMORY_DIR: &str = "/dev/shm";
/// Longer than a group can be asked to wait for its members, which is 2^31 milliseconds, and once more.
pub(super) const LONGEST_REBALANCE: Duration = Duration::from_secs(60 * 24 * 3600);
/// Longer than anything waits to be cleaned that inputs do not set themselves.
const CLEANED_AFTER_MS: i64 = 3_600_000;

#[derive(Debug)]
pub(super) struct World {
    // Ends after what runs on it.
    node: Node,
    flusher: FlusherThread,
    config: BrokerConfig,
    members: [(&'static str, String); 2],
    begun: State,
    runtime: Runtime,
    _dir: TempDir,
}

/// What requests can change.
#[derive(Debug, PartialEq)]
struct State {
    kept: Kept,
    groups: BTreeMap<String, String>,
    now: Instant,
}

/// What a restart does not change.
#[derive(Debug, PartialEq)]
struct Kept {
    /// What is set for each topic, and its partitions' watermarks.
    topics: BTreeMap<String, (String, Vec<Watermarks>)>,
    offsets: BTreeMap<String, GroupOffsets>,
}

impl World {
    pub(super) fn new() -> Self {
        let memory = Path::new(MEMORY_DIR);
        let dir = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        let dir = dir.expect("a directory for the broker");
        let mut config = BrokerConfig::new(dir.path(), ([127, 0, 0, 1], 0).into());
        // Acknowledged at once, so that virtual time does not pass while the disk works.
        config.flush = Flush::Interval(Duration::ZERO);
        config.bounds = bounds();
        let mut runtime = Builder::new_current_thread();
        let runtime = runtime.enable_time().start_paused(true).build().expect("a runtime");
        let (node, flusher) = open(&config, None).expect("a new broker");
        fill_topics(&node);
        let [member, static_member] = runtime.block_on(async {
            tokio::select! {
                members = form_group(&node) => members,
                () = node.coordinator.keep_time() => unreachable!("a broker keeps time"),
            }
        });
        let members = [(MEMBER, member), (STATIC_MEMBER, static_member)];
        let begun = runtime.block_on(async { State::of(&node) });
        Self { node, flusher, config, members, begun, runtime, _dir: dir }
    }

    /// Puts the members' ids where an input names them.
    pub(super) fn named(&self, input: &[u8]) -> Vec<u8> {
        let mut input = input.to_vec();
        for (name, id) in &self.members {
            while let Some(at) = input.windows(name.len()).position(|at| at == name.as_bytes()) {
                input[at..at + name.len()].copy_from_slice(id.as_bytes());
            }
        }
        input
    }

    /// Serves a connection; returns the world if it is as before.
    pub(super) fn carry_out(self, parsed: &Parsed) -> Option<Self> {
        let Self { node, runtime, .. } = &self;
        let mut answers = Vec::new();
        let state = runtime.block_on(async {
            let nobody = ([127, 0, 0, 1], 0).into();
            let client = Client { id: String::new(), peer: nobody, local: nobody };
            tokio::select! {
                _ = connection::run(node, &parsed.bytes[..], &mut answers, client) => State::of(node),
                () = node.coordinator.keep_time() => unreachable!("a broker keeps time"),
            }
        });
        check_answers(parsed, answers.into());
        assert_eq!(node.memory.used(), 0, "bytes that nobody has given back");
        if state == self.begun {
            return Some(self);
        }
        runtime.block_on(groups_end(node));
        let before = tables(node);
        for _ in 0..3 {
            // Only what is durable can be compacted, and a pass has room for a few keys.
            each_partition(node, clean);
        }
        assert_eq!(tables(node), before, "after compaction");
        self.restart();
        None
    }

    /// Starts the broker again and compares it with what it was.
    fn restart(self) {
        let Self { node, flusher, config, runtime, .. } = self;
        let kept = Kept::of(&node);
        drop(node);
        runtime.block_on(flusher.stop());
        let (node, flusher) = open(&config, None).expect("the broker starts again");
        assert_eq!(Kept::of(&node), kept, "after a restart");
        each_partition(&node, |partition| drop(read_all(partition)));
        drop(node);
        runtime.block_on(flusher.stop());
    }
}

/// Small enough to be reached by inputs, and to be held many times per second.
fn bounds() -> Bounds {
    Bounds {
        batch_bytes: 64 * 1024,
        fetch_bytes: 16 * 1024,
        topics: 6,
        partitions: 12,
        groups: 4,
        group_members: 4,
        group_member_bytes: 512,
        group_offsets: 8,
        offset_metadata_bytes: 64,
        producers: 2,
        compaction_keys: 4,
        inflated_bytes: 64 * 1024,
        // So that each request is answered, although its connection has ended.
        stalled: LONGEST_REBALANCE,
        ..Bounds::default()
    }
}

fn fill_topics(node: &Node) {
    let kept = "segment.ms=1";
    let compacted = "cleanup.policy=compact\ndelete.retention.ms=0\nmin.cleanable.dirty.ratio=0";
    for (topic, partitions, settings) in
        [(TOPIC, 2, kept.to_owned()), (TABLE, 1, format!("{kept}\n{compacted}"))]
    {
        let overrides = Overrides::from_text(&settings).expect("a topic's settings");
        node.topics.create(topic, partitions, &overrides).expect("a new topic");
    }
    for topic in [TOPIC, TABLE] {
        let partition = node.topics.partition(topic, 0).expect("a topic's first partition");
        let append = |codec: Compression| {
            let records = codec.deflate(RECORD.to_vec()).expect("records are compressed");
            let batch = super::batch::of(codec as u8, &records);
            partition.append(NewBatch::check(batch).expect("a batch")).expect("it is appended");
        };
        append(Compression::None);
        append(Compression::Lz4);
        // Begins a new segment.
        clean(&partition);
        append(Compression::None);
    }
    let committed =
        Committed { offset: 1, leader_epoch: 0, metadata: "metadata".to_owned(), at_ms: 1 };
    let commits = vec![((TOPIC.to_owned(), 0), committed)];
    node.offsets.commit(OFFSETS, commits).expect("an offset is committed");
}

/// Returns the ids of the leader and of the static member.
async fn form_group(node: &Node) -> [String; 2] {
    let join = |client_id: &str, instance_id: Option<&str>| Join {
        member_id: String::new(),
        instance_id: instance_id.map(ToOwned::to_owned),
        client_id: client_id.to_owned(),
        client_host: "/127.0.0.1".to_owned(),
        session_timeout: Duration::from_mins(1),
        rebalance_timeout: Duration::from_mins(1),
        protocol_type: PROTOCOL_TYPE.to_owned(),
        protocols: vec![Protocol { name: PROTOCOL.to_owned(), metadata: Bytes::new() }],
        takes_id_first: false,
        may_skip_assignment: false,
    };
    let (leader, other) = tokio::join!(
        node.coordinator.join(GROUP, join("m", None)),
        node.coordinator.join(GROUP, join(INSTANCE, Some(INSTANCE))),
    );
    let members = [leader.expect("a member"), other.expect("a member")];
    let sync = |member: &Joined, instance_id: Option<&str>| Sync {
        caller: Caller {
            member_id: member.member_id.clone(),
            instance_id: instance_id.map(ToOwned::to_owned),
            generation: member.generation,
        },
        protocol_type: None,
        protocol: None,
        assignments: vec![(member.member_id.clone(), Bytes::from_static(b"share"))],
    };
    let (leader, other) = tokio::join!(
        node.coordinator.sync(GROUP, sync(&members[0], None)),
        node.coordinator.sync(GROUP, sync(&members[1], Some(INSTANCE))),
    );
    leader.and(other).expect("the members share");
    members.map(|member| member.member_id)
}

impl State {
    fn of(node: &Node) -> Self {
        let groups =
            node.coordinator.inspect_all(|id, group| (id.to_owned(), format!("{group:?}")));
        Self { kept: Kept::of(node), groups: groups.into_iter().collect(), now: Instant::now() }
    }
}

impl Kept {
    fn of(node: &Node) -> Self {
        let watermarks = |partition: &std::sync::Arc<Partition>| {
            assert!(partition.is_sound(), "a partition's log");
            partition.watermarks().expect("a sound partition's offsets")
        };
        let topics = node.topics.all().into_iter().map(|topic| {
            let watermarks = topic.partitions.iter().map(watermarks).collect();
            (topic.name.clone(), (topic.overrides.to_text(), watermarks))
        });
        let offsets = node.offsets.groups().into_iter().map(|group| {
            let offsets = node.offsets.of(&group);
            (group, offsets)
        });
        Self { topics: topics.collect(), offsets: offsets.collect() }
    }
}

fn check_answers(parsed: &Parsed, mut answers: Bytes) {
    let expected = &parsed.expected;
    let mut due = expected.iter().enumerate().filter(|(_, answer)| !answer.is_silent);
    while answers.has_remaining() {
        let length = answers.get_i32() as usize;
        let answer = answers.split_to(length);
        match due.next() {
            Some((position, expected)) => expected.check(position, answer),
            None => assert!(expected.is_empty(), "more answers than requests"),
        }
    }
    // One who takes no answers is told of a refusal by the end of his connection.
    let may_end_early = expected.iter().any(|answer| answer.is_silent);
    assert!(may_end_early || due.next().is_none(), "a request without an answer");
}

/// Whoever is in a group is gone in the end, and nobody waits for him.
async fn groups_end(node: &Node) {
    tokio::select! {
        () = sleep(LONGEST_REBALANCE) => {}
        () = node.coordinator.keep_time() => unreachable!("a broker keeps time"),
    }
    let left = node.coordinator.inspect_all(|id, group| format!("{id}: {group:?}"));
    assert_eq!(left, [""; 0], "groups whose members are gone");
    assert_eq!(node.coordinator.waiting(), 0, "requests without a reply");
}

fn each_partition(node: &Node, look: fn(&Partition)) {
    let topics = node.topics.all();
    topics.iter().flat_map(|topic| &topic.partitions).for_each(|partition| look(partition));
}

fn clean(partition: &Partition) {
    let now_ms = wall_clock_ms() + CLEANED_AFTER_MS;
    partition.enforce_retention(now_ms).expect("old segments are removed");
    partition.compact(now_ms, &|| false).expect("a log is compacted");
    partition.sync();
}

/// Reads a partition from start to end, as a consumer does.
fn read_all(partition: &Partition) -> Vec<(BatchHeader, Bytes)> {
    let Watermarks { start: mut offset, high } = partition.watermarks().expect("a sound partition");
    let mut all = Vec::new();
    while offset < high {
        let (_, mut rest) =
            partition.read(offset, 1024, Oversize::Return).expect("what was written");
        if rest.is_empty() {
            break;
        }
        while rest.has_remaining() {
            let header = BatchHeader::parse(&rest).expect("whole batches are read");
            let batch = rest.split_to(header.size);
            header.verify(&batch).expect("a batch's checksum");
            assert!(offset < header.next_offset(), "a batch before offset {offset}");
            offset = header.next_offset();
            all.push((header, batch));
        }
    }
    all
}

/// A partition as a table: of each key the newest record, unless it takes the key away.
fn table(partition: &Partition) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut table = BTreeMap::new();
    for (header, batch) in read_all(partition) {
        let compression = Compression::of(&header).expect("unknown ones are refused");
        let inflated = compression.inflate(&batch[HEADER_BYTES..], bounds().inflated_bytes);
        let inflated = inflated.unwrap_or_default();
        let records = Records::new(&inflated, header.record_count).map_while(Result::ok);
        for record in records.take_while(|record| header.offset_of(record).is_some()) {
            match record.key {
                Some(key) if record.value.is_none() => drop(table.remove(key)),
                Some(key) => drop(table.insert(key.to_vec(), record.bytes.to_vec())),
                None => {}
            }
        }
    }
    table
}

/// What compaction must not change.
fn tables(node: &Node) -> Vec<BTreeMap<Vec<u8>, Vec<u8>>> {
    let topics = node.topics.all().into_iter();
    let compacted = topics.filter(|topic| topic.config.cleanup == Cleanup::Compact);
    compacted.flat_map(|t| t.partitions.iter().map(|p| table(p)).collect::<Vec<_>>()).collect()
}
