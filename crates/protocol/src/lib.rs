//! The Kafka wire protocol, as far as this broker speaks it.
//!
//! A request is a frame: a big-endian `i32` length, then a header, then a body. Each API has versions, and a
//! body's fields depend on the version. [`schema`] lets a message declare each field once, with the versions
//! it exists in; encoding and decoding follow from that for every version, so that a field a version lacks
//! cannot be written, and one it has cannot be forgotten.
//!
//! ```text
//! request   length:i32 api_key:i16 version:i16 correlation_id:i32 client_id:nullable_string [tags] body
//! response  length:i32 correlation_id:i32 [tags] body
//! ```
//!
//! From an API's first *flexible* version on, strings and arrays carry a varint length plus one (zero is
//! null) and each struct ends with tagged fields. This broker skips the tagged fields it is sent and sends
//! none: old clients are known to misread them.

pub mod api;
pub mod batch;
pub mod compression;
mod error_code;
mod primitives;
pub mod records;
pub mod sample;
mod schema;

pub mod admin;
pub mod cluster;
pub mod configs;
pub mod consumer;
pub mod fetch;
pub mod groups;
pub mod offsets;
pub mod produce;
mod writer;

#[cfg(test)]
mod test_batch;
#[cfg(test)]
mod tests;

pub use api::{Api, Request};
pub use error_code::ErrorCode;
pub use primitives::{DecodeError, Frame, Nullable, Reader, Shape, Wire};
pub use writer::{BatchWriter, Sequence, resequenced};
