//! Functions over HTTP: the paper's bodies, sent with POST.
//!
//! A call's status says what became of it:
//!
//! | status | meaning | the caller |
//! |---|---|---|
//! | 200 | the record met its fate, named in the body | goes on |
//! | 400, 413, 422 | the record can never succeed; `{"code", "reason"}` | dead-letters it |
//! | 429 | too much to do; `Retry-After` | waits, not an attempt |
//! | 503 | not here at present (draining, broker away) | waits, not an attempt |
//! | other | the call failed | tries again, an attempt |

pub mod client;
pub mod server;

use serde::{Deserialize, Serialize};

use crate::failure::Fate;

/// Largest body of a call, in bytes: base64 and JSON around the largest record that brokers take by default.
pub(crate) const MAX_BODY_BYTES: usize = 16 << 20;

/// The body of a 200. `statusCode` and `body` are what the paper's inference function answers.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Done<'a> {
    #[serde(rename = "statusCode")]
    pub(crate) status_code: u16,
    /// The record's fate.
    pub(crate) fate: Fate,
    /// The answer, where the function has no exit destination.
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub(crate) answer: Option<&'a serde_json::value::RawValue>,
    /// The features, where the function has no forward destination.
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub(crate) forward: Option<&'a serde_json::value::RawValue>,
}
