//! What crosses a process boundary.
//!
//! - [`record`]: a Kafka record as every function sees it: key, headers, timestamp, value, all bytes kept.
//! - [`header`]: the names of the headers that offramp reads and writes.
//! - [`tensor`]: samples as JSON nested lists, the default encoding of a record's value.
//! - [`encoding`]: the ways in which samples stand in a value: JSON, raw elements, scaled bytes.
//! - [`body`]: the JSON body of a call from one function to another over HTTP.
//! - [`exit`]: exit criteria by name, as configuration and model artefacts write them.
//! - [`engine`]: engines by name.
//! - [`trace`]: the trace context of a record that comes without one.
//! - [`reject`]: why a record can never succeed, by a stable code and a sentence.
//!
//! Pure: no I/O and no runtime, so that every home of the functions shares it.

pub mod body;
mod element;
pub mod encoding;
pub mod engine;
pub mod exit;
pub mod header;
pub mod kafka_ml;
pub mod record;
pub mod reject;
mod scan;
pub mod tensor;
pub mod time;
pub mod trace;

pub use element::Element;
pub use encoding::Encoding;
pub use engine::EngineKind;
pub use exit::ExitCriterion;
pub use record::{Header, Record, Source};
pub use reject::{Reject, RejectCode};
pub use tensor::Tensor;
