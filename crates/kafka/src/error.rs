//! What a broker or a client can refuse.

/// A client could not be made, or a broker did not answer or refused.
#[derive(Debug, thiserror::Error)]
pub enum KafkaError {
    /// `bootstrap.servers` can't be made out.
    #[error(
        "`{servers}` names no brokers, expected `host:port`, several of them with commas between"
    )]
    Servers {
        /// What was given.
        servers: String,
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
        /// What was tried last, and how it failed.
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
    /// A topic is not there.
    #[error(
        "topic `{topic}` does not exist on `{servers}`; `offramp topic list` shows those that do"
    )]
    UnknownTopic {
        /// Topic name.
        topic: String,
        /// `bootstrap.servers`.
        servers: String,
    },
    /// A partition is not there.
    #[error("topic `{topic}` has no partition {partition}; it has {count}, numbered from 0")]
    UnknownPartition {
        /// Topic name.
        topic: String,
        /// Partition number.
        partition: i32,
        /// How many there are.
        count: usize,
    },
    /// A topic that has to keep its records in order has several partitions.
    #[error(
        "topic `{topic}` has {count} partitions, expected 1: its records must keep their order"
    )]
    NotOnePartition {
        /// Topic name.
        topic: String,
        /// How many there are.
        count: usize,
    },
    /// A broker did not do what it was asked to.
    #[error("broker `{servers}` refuses to {what}: {reason}")]
    Refused {
        /// `bootstrap.servers`.
        servers: String,
        /// What it was asked.
        what: String,
        /// The broker's words.
        reason: String,
    },
    /// The consumer can't go on.
    #[error("consumer of `{topics}` on `{servers}` failed: {reason}")]
    Consumer {
        /// Topic names.
        topics: String,
        /// `bootstrap.servers`.
        servers: String,
        /// The broker's words.
        reason: String,
    },
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
    #[error("topic `{topic}` did not take the record: {reason}")]
    Refused {
        /// Topic name.
        topic: String,
        /// The broker's words, or what became of the producer.
        reason: String,
    },
}
