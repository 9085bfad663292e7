//! The funnel: function → Kafka. Answers after the broker's delivery report.

use kafka::{Producer, SendError};
use wire::{Record, Reject, RejectCode};

use crate::failure::Failure;

/// Writes records to one topic.
#[derive(Debug, Clone)]
pub struct Funnel {
    producer: Producer,
    topic: String,
}

impl Funnel {
    /// A funnel into `topic`.
    pub fn new(producer: Producer, topic: impl Into<String>) -> Self {
        Self { producer, topic: topic.into() }
    }

    /// The topic it writes to.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// Stores a record as it is; returns when it is durable. A broker that is away is waited for.
    pub async fn send(&self, record: &Record) -> Result<(), Failure> {
        self.producer.send(&self.topic, record).await.map_err(|error| match error {
            SendError::TooLarge { .. } => {
                Failure::Reject(Reject::new(RejectCode::TooLarge, error.to_string()))
            }
            SendError::Refused { ref source, .. } => {
                Failure::Unavailable(format!("{error}: {source}"))
            }
        })
    }
}
