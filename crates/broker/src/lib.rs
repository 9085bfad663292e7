//! The embedded log: a single-node, durable broker that speaks the Kafka protocol.
//!
//! It exists so that one machine needs nothing else: producers and consumers use it through any Kafka client,
//! and moving to Apache Kafka changes one address. It promises that what it has acknowledged is on disk
//! ([`Flush::Always`]), that consumers see nothing before that, and that it stays small: every queue, buffer
//! and count is bounded ([`Bounds`]). It leaves out what one node does not need (replication, rack awareness)
//! and what its users do not (transactions, quotas, TLS, SASL): it should listen on loopback or on a network
//! that is trusted.
//!
//! ```no_run
//! # async fn run() -> Result<(), broker::BrokerError> {
//! use broker::{Broker, BrokerConfig};
//!
//! let config = BrokerConfig::new("/var/lib/broker", "127.0.0.1:9092".parse().expect("an address"));
//! let broker = Broker::start(config).await?;
//! broker.create_topic("edge-input", 4).await?;
//! println!("bootstrap.servers={}", broker.advertised());
//! broker.shutdown().await
//! # }
//! ```
//!
//! One connection is one task (`connection`); one thread makes logs durable (`log::flusher`); one task keeps
//! the consumer groups' time (`groups::coordinator`) and removes what has been kept long enough.

mod apis;
pub mod bounds;
mod broker;
mod connection;
mod error;
mod files;
#[cfg(any(fuzzing, test))]
pub mod fuzz;
mod groups;
mod identity;
mod log;
mod memory;
mod node;
mod offsets;
mod producers;
mod stats;
mod topic_config;
mod topics;

pub use bounds::Bounds;
pub use broker::{Broker, BrokerConfig, Monitor};
pub use error::BrokerError;
pub use log::flusher::Flush;
pub use stats::{PartitionStats, Stats};
pub use topic_config::{Cleanup, TopicConfig};
