//! Names of record headers.
//!
//! A header that a device sent is passed on byte for byte. What a hop adds is appended behind it, so the
//! headers of an answer tell the tiers that it passed, in order.

/// Identity of a sample's record, equal on every hop and in every duplicate. A device may set it; otherwise
/// the first hop derives it from where the record stands in the log.
pub const ID: &str = "offramp-id";
/// The tier that handled the record: one header a hop, in order.
pub const TIER: &str = "offramp-tier";
/// Confidence of the hop's exit, a decimal in [0, 1] for one sample, a JSON list for several.
pub const EXIT_CONFIDENCE: &str = "offramp-exit-confidence";
/// Version of the sub-model that ran: the leading hexadecimal digits of its content's hash.
pub const MODEL: &str = "offramp-model";
/// When the hop received the record, in microseconds since the epoch, and after how many more it had decided:
/// `1764072000123456+1834`. What is between two hops is the log's.
pub const TIMES: &str = "offramp-times";
/// The trace that the record belongs to: W3C Trace Context. Handed on as it came; where a record comes without
/// one, the first hop starts one.
pub const TRACEPARENT: &str = "traceparent";
/// Which samples of a record this part of it carries, as a JSON list of positions. Present only where the
/// samples of one record parted: some answered, some forwarded.
pub const ROWS: &str = "offramp-rows";
/// How the features of a forwarded record are written; absent for JSON.
pub const ENCODING: &str = "offramp-encoding";
/// Present where a tier answered a sample that it would have forwarded: why, as `uplink-loss`.
pub const DEGRADED: &str = "offramp-degraded";
/// Why a tier answered in the place of the next one: the next tier's broker was away.
pub const DEGRADED_BY_UPLINK_LOSS: &str = "uplink-loss";
/// The device's send time in seconds since the epoch, written by the paper's devices.
pub const INFERENCE_TS: &str = "X-INFERENCE-TS";

/// Stable code of why a record is in a dead-letter topic.
pub const DEAD_LETTER_CODE: &str = "offramp-dead-letter-code";
/// Why a record is in a dead-letter topic, in words.
pub const DEAD_LETTER_REASON: &str = "offramp-dead-letter-reason";
/// Where the record came from: `topic/partition/offset`.
pub const DEAD_LETTER_SOURCE: &str = "offramp-dead-letter-source";
/// How often the record was tried.
pub const DEAD_LETTER_ATTEMPTS: &str = "offramp-dead-letter-attempts";
