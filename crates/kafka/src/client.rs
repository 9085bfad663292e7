//! Settings that every client shares, and where its log lines go.

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

/// A broker that comes back is found again within this time. librdkafka's own bound is 10 s, during which an
/// edge node that restarted its broker would answer nothing.
const RECONNECT_BACKOFF_MS_MAX: u32 = 500;

/// Largest record that a client sends or asks for, in bytes. Above the 1 MiB that brokers take by default, so
/// that the broker, which knows its own bound, is who refuses.
const MAX_RECORD_BYTES: u32 = 16 << 20;

/// Bound on what a client reads ahead, in KiB and in records. The client's own bounds, 64 MiB and 100,000,
/// do not fit a board with 64 MiB.
const READ_AHEAD_KBYTES: u32 = 4 << 10;
const READ_AHEAD_RECORDS: u32 = 4096;
/// How soon the client asks for more once there is room; its own second would be a second without records.
const READ_AHEAD_BACKOFF_MS: u32 = 5;

/// Settings of a client that reads records.
pub(crate) fn reading(servers: &str) -> ClientConfig {
    let mut config = config(servers);
    config
        .set("queued.max.messages.kbytes", READ_AHEAD_KBYTES.to_string())
        .set("queued.min.messages", READ_AHEAD_RECORDS.to_string())
        .set("fetch.queue.backoff.ms", READ_AHEAD_BACKOFF_MS.to_string())
        .set("fetch.message.max.bytes", (1 << 20).to_string())
        .set("receive.message.max.bytes", (4 * MAX_RECORD_BYTES).to_string());
    config
}

/// Settings of any client.
pub(crate) fn config(servers: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", servers)
        .set("client.id", "offramp")
        .set("socket.nagle.disable", "true")
        .set("reconnect.backoff.ms", "50")
        .set("reconnect.backoff.max.ms", RECONNECT_BACKOFF_MS_MAX.to_string())
        .set("message.max.bytes", MAX_RECORD_BYTES.to_string())
        .set_log_level(RDKafkaLogLevel::Warning);
    config
}

/// Whether a client can't go on after this error.
pub(crate) fn is_fatal(error: &KafkaError) -> bool {
    error.rdkafka_error_code() == Some(RDKafkaErrorCode::Fatal)
}
