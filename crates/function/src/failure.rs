//! How a call ends: in the record's fate, or in a failure that says what to do next.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use wire::Reject;

/// What became of a record. Every record meets exactly one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fate {
    /// Every sample left at this tier's exit.
    Answered,
    /// Every sample went to the next tier.
    Forwarded,
    /// Some samples left at this tier's exit, the others went to the next tier.
    Split,
    /// The record went to the dead-letter topic.
    DeadLettered,
}

/// Why a call did not end in a fate.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Failure {
    /// The record can never succeed.
    #[error("rejected: {0}")]
    Reject(#[from] Reject),
    /// The function has more to do than it can hold. Not an attempt.
    #[error("overloaded, try again in {} ms", retry_after.as_millis())]
    Overloaded {
        /// How long to wait.
        retry_after: Duration,
    },
    /// Nobody answers there. Not an attempt: waited out for as long as it takes.
    #[error("unavailable: {0}")]
    Unavailable(String),
    /// A record of the same lane in front of this one failed, and this one was not carried out. Not an attempt.
    #[error("behind one that failed")]
    Behind,
    /// The call failed, and may succeed when tried again: an attempt.
    #[error("failed: {0}")]
    Failed(String),
}

impl Failure {
    /// Whether the record may succeed when tried again, so that those of its lane have to wait for it.
    pub(crate) fn may_succeed_later(&self) -> bool {
        !matches!(self, Self::Reject(_))
    }
}
