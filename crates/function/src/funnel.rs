//! The funnel: function → Kafka. Answers after the broker's delivery report.

use kafka::{Confirmation, Producer, SendError};
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
        self.enqueue(record).await?.confirmed().await
    }

    /// Hands a record over to be stored, in the order of these calls.
    pub async fn enqueue(&self, record: &Record) -> Result<Sending, Failure> {
        let enqueued = self.producer.enqueue(&self.topic, record).await;
        enqueued.map(Sending).map_err(|error| failure(&error))
    }
}

/// A record that is on its way.
#[derive(Debug)]
pub struct Sending(Confirmation);

impl Sending {
    /// Returns when the record is durable.
    pub async fn confirmed(self) -> Result<(), Failure> {
        self.0.confirmed().await.map(drop).map_err(|error| failure(&error))
    }
}

/// What a record that was not stored is to its caller.
pub(crate) fn failure(error: &SendError) -> Failure {
    match error {
        SendError::TooLarge { .. } => {
            Failure::Reject(Reject::new(RejectCode::TooLarge, error.to_string()))
        }
        SendError::Refused { .. } => Failure::Unavailable(error.to_string()),
    }
}
