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

pub(crate) mod api;
pub(crate) mod error_code;
pub(crate) mod primitives;
pub(crate) mod schema;

pub(crate) mod admin;
pub(crate) mod cluster;
pub(crate) mod configs;
pub(crate) mod fetch;
pub(crate) mod groups;
pub(crate) mod offsets;
pub(crate) mod produce;

#[cfg(test)]
pub(crate) mod tests;

pub(crate) use api::{Api, Request};
pub(crate) use error_code::ErrorCode;
pub(crate) use primitives::{DecodeError, Frame, Reader, Shape, Wire};
