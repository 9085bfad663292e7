//! How much of everything: each queue, buffer, wait and count in the broker has its bound here.

use std::time::Duration;

/// Each connection takes a file descriptor, as does each partition. Together they stay below 4096, the usual
/// hard limit of old systems; the usual soft limit of 1024 has to be raised for as many.
pub const CONNECTIONS: usize = 1024;
/// Holds the largest batch that producers send by default (1 MB) many times over.
pub const PRODUCE_FRAME_BYTES: usize = 16 * 1024 * 1024;
/// No request but Produce carries records; the largest in practice is a group leader's assignment.
pub const FRAME_BYTES: usize = 1024 * 1024;
/// Eight times what a producer sends by default, for features of larger models.
pub const BATCH_BYTES: usize = 8 * 1024 * 1024;
/// What Apache Kafka gives an idle connection.
pub const IDLE: Duration = Duration::from_mins(10);
/// A peer that has begun a frame, or has a response to take, makes some progress in this time.
pub const STALLED: Duration = Duration::from_secs(30);
/// Requests of one connection that wait for their turn.
pub const PIPELINED_REQUESTS: usize = 128;
/// Bytes of those requests. One request of any allowed size always fits.
pub const PIPELINED_BYTES: usize = 1024 * 1024;
/// A response this large takes a consumer at full speed a few milliseconds to digest.
pub const FETCH_BYTES: usize = 4 * 1024 * 1024;
/// What requests and responses may take of memory in all: one of the largest requests and some fetches, and
/// still half of a small board's 64 MiB.
pub const MEMORY_BYTES: usize = 32 * 1024 * 1024;
/// Longest that a fetch waits for data, whatever it asks for.
pub const FETCH_WAIT: Duration = Duration::from_mins(1);
/// Topics of a broker.
pub const TOPICS: usize = 1024;
/// Partitions of a broker, over all topics.
pub const PARTITIONS: usize = 2048;
/// Consumer groups, with members or with offsets only.
pub const GROUPS: usize = 1024;
/// Members of one group.
pub const GROUP_MEMBERS: usize = 512;
/// Bytes of subscription or assignment that one member may store in the coordinator.
pub const GROUP_MEMBER_BYTES: usize = 256 * 1024;
/// Offsets committed by one group.
pub const GROUP_OFFSETS: usize = 4096;
/// What Apache Kafka allows for a commit's metadata.
pub const OFFSET_METADATA_BYTES: usize = 4096;
/// Idempotent producers that one partition remembers.
pub const PRODUCERS: usize = 1024;

/// Keys that one pass of compaction distinguishes, at about 60 bytes each.
pub const COMPACTION_KEYS: usize = 64 * 1024;
/// Bytes of a batch's records after decompression, where the broker has to look into them: in topics that are
/// compacted.
pub const INFLATED_BYTES: usize = 32 * 1024 * 1024;

/// The bounds of a broker; the defaults are the constants of this module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bounds {
    /// Open connections; one more is closed as soon as it is accepted.
    pub connections: usize,
    /// Bytes of a Produce request.
    pub produce_frame_bytes: usize,
    /// Bytes of any other request.
    pub frame_bytes: usize,
    /// Bytes of a record batch.
    pub batch_bytes: usize,
    /// A connection without requests is closed after this long.
    pub idle: Duration,
    /// A connection whose peer sends part of a frame, or takes part of a response, and then nothing for this
    /// long is closed.
    pub stalled: Duration,
    /// Requests of one connection that wait for their turn; the connection is not read meanwhile.
    pub pipelined_requests: usize,
    /// Bytes of those requests.
    pub pipelined_bytes: usize,
    /// Record bytes of one fetch response, except that one batch is always returned.
    pub fetch_bytes: usize,
    /// Bytes of requests and responses in memory, over all connections; beyond, connections wait.
    pub memory_bytes: usize,
    /// Longest wait of a fetch.
    pub fetch_wait: Duration,
    /// Topics of the broker.
    pub topics: usize,
    /// Partitions of the broker.
    pub partitions: usize,
    /// Consumer groups.
    pub groups: usize,
    /// Members of a group.
    pub group_members: usize,
    /// Bytes of a member's subscription or assignment.
    pub group_member_bytes: usize,
    /// Offsets that a group has committed.
    pub group_offsets: usize,
    /// Bytes of a committed offset's metadata.
    pub offset_metadata_bytes: usize,
    /// Idempotent producers that one partition remembers.
    pub producers: usize,
    /// Keys that one pass of compaction distinguishes.
    pub compaction_keys: usize,
    /// Bytes of a batch's records after decompression.
    pub inflated_bytes: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            connections: CONNECTIONS,
            produce_frame_bytes: PRODUCE_FRAME_BYTES,
            frame_bytes: FRAME_BYTES,
            batch_bytes: BATCH_BYTES,
            idle: IDLE,
            stalled: STALLED,
            pipelined_requests: PIPELINED_REQUESTS,
            pipelined_bytes: PIPELINED_BYTES,
            fetch_bytes: FETCH_BYTES,
            memory_bytes: MEMORY_BYTES,
            fetch_wait: FETCH_WAIT,
            topics: TOPICS,
            partitions: PARTITIONS,
            groups: GROUPS,
            group_members: GROUP_MEMBERS,
            group_member_bytes: GROUP_MEMBER_BYTES,
            group_offsets: GROUP_OFFSETS,
            offset_metadata_bytes: OFFSET_METADATA_BYTES,
            producers: PRODUCERS,
            compaction_keys: COMPACTION_KEYS,
            inflated_bytes: INFLATED_BYTES,
        }
    }
}
