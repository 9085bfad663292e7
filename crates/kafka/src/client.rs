//! Settings that every client shares, and where its log lines go.

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

/// A broker that comes back is found again within this time. librdkafka's own bound is 10 s, during which an
/// edge node that restarted its broker would answer nothing.
const RECONNECT_BACKOFF_MS_MAX: u32 = 500;

/// Largest record that a client sends or asks for, in bytes. Above the 1 MiB that brokers take by default, so
/// that the broker, which knows its own bound, is who refuses.
pub(crate) const MAX_RECORD_BYTES: u32 = 16 << 20;

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
