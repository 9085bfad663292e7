//! What a broker or a client can refuse.

/// A client could not be made, or a broker did not answer or refused.
#[derive(Debug, thiserror::Error)]
pub enum KafkaError {
    /// The client's settings are not accepted.
    #[error("kafka client for `{servers}` could not be made")]
    Client {
        /// `bootstrap.servers`.
        servers: String,
        /// What librdkafka said.
        #[source]
        source: Box<rdkafka::error::KafkaError>,
    },
    /// No broker answered in time.
    #[error(
        "broker `{servers}` does not answer within {waited_s} s: {reason}; \
         expected a Kafka broker there (`offramp broker` starts one)"
    )]
    Unreachable {
        /// `bootstrap.servers`.
        servers: String,
        /// How long was waited, in seconds.
        waited_s: u64,
        /// What librdkafka said last.
        reason: String,
    },
    /// A topic could not be created.
    #[error("topic `{topic}` could not be created on `{servers}`: {reason}")]
    Topic {
        /// Topic name.
        topic: String,
        /// `bootstrap.servers`.
        servers: String,
        /// The broker's words.
        reason: String,
    },
    /// The consumer can't go on.
    #[error("consumer of `{topics}` on `{servers}` failed")]
    Consumer {
        /// Topic names.
        topics: String,
        /// `bootstrap.servers`.
        servers: String,
        /// What librdkafka said.
        #[source]
        source: Box<rdkafka::error::KafkaError>,
    },
}

impl KafkaError {
    pub(crate) fn client(servers: &str, source: rdkafka::error::KafkaError) -> Self {
        Self::Client { servers: servers.to_owned(), source: Box::new(source) }
    }
}

/// A record was not stored.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The broker, or the client on its behalf, will never take the record: it is too large.
    #[error("a record of {bytes} bytes is larger than topic `{topic}` takes")]
    TooLarge {
        /// Topic name.
        topic: String,
        /// Size of key and value.
        bytes: usize,
    },
    /// The record was not stored, and may be when tried again.
    #[error("topic `{topic}` did not take the record")]
    Refused {
        /// Topic name.
        topic: String,
        /// What librdkafka said.
        #[source]
        source: Box<rdkafka::error::KafkaError>,
    },
}
