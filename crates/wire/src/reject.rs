//! Why a record can never succeed.
//!
//! A rejection is final: trying again would give the same answer. It becomes a 400 over HTTP and two headers
//! of a dead letter.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Stable code of a rejection, for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RejectCode {
    /// The value is not JSON (or is absent).
    NotJson,
    /// The samples do not have the shape that the sub-model takes.
    WrongShape,
    /// A sample holds NaN or an infinity.
    NotFinite,
    /// The record, or what it became, is larger than the bound.
    TooLarge,
    /// A function refused the record.
    Refused,
    /// Every attempt failed.
    AttemptsSpent,
    /// It was the oldest of those that wait for another broker, and there was no more room.
    BufferFull,
}

impl RejectCode {
    /// Every code, in the order in which help texts and errors list them.
    pub const ALL: [Self; 7] = [
        Self::NotJson,
        Self::WrongShape,
        Self::NotFinite,
        Self::TooLarge,
        Self::Refused,
        Self::AttemptsSpent,
        Self::BufferFull,
    ];

    /// The code as headers and bodies write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotJson => "not-json",
            Self::WrongShape => "wrong-shape",
            Self::NotFinite => "not-finite",
            Self::TooLarge => "too-large",
            Self::Refused => "refused",
            Self::AttemptsSpent => "attempts-spent",
            Self::BufferFull => "buffer-full",
        }
    }
}

impl fmt::Display for RejectCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for RejectCode {
    type Err = ();

    fn from_str(name: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|code| code.name() == name).ok_or(())
    }
}

/// Longest reason. Parsers quote the value that they did not expect, which may be all of a record's.
const MAX_REASON_BYTES: usize = 600;

/// A rejection: the code and what a person reads.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("{reason}")]
pub struct Reject {
    /// Stable code.
    pub code: RejectCode,
    /// Names the thing, its value and what was expected.
    pub reason: String,
}

impl Reject {
    /// A rejection with this code and reason, of which a very long one is cut: it becomes a header.
    pub fn new(code: RejectCode, reason: impl Into<String>) -> Self {
        let mut reason = reason.into();
        if MAX_REASON_BYTES < reason.len() {
            reason.truncate(reason.floor_char_boundary(MAX_REASON_BYTES));
            reason.push('…');
        }
        Self { code, reason }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_that_quotes_a_whole_record_is_cut_between_characters() {
        let reject = Reject::new(RejectCode::NotJson, format!("x{}", "ä".repeat(1000)));
        assert_eq!(reject.reason.len(), MAX_REASON_BYTES - 1 + '…'.len_utf8());
        assert!(reject.reason.ends_with("ä…"));
    }
}
