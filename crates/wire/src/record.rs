//! A record as every function sees it.

use std::fmt;

use bytes::Bytes;

use crate::header;

/// One header. Kafka allows a name to occur several times, and a value to be absent or any bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Name, UTF-8 by protocol.
    pub name: String,
    /// Value; `None` is Kafka's null.
    pub value: Option<Bytes>,
}

impl Header {
    /// A header with a value.
    pub fn new(name: impl Into<String>, value: impl Into<Bytes>) -> Self {
        Self { name: name.into(), value: Some(value.into()) }
    }
}

/// A record: everything that must survive a hop.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Record {
    /// Key; records with the same key are handled in order.
    pub key: Option<Bytes>,
    /// Headers in order, duplicates kept.
    pub headers: Vec<Header>,
    /// The device's timestamp, milliseconds since the epoch, if the record carries one.
    pub timestamp_ms: Option<i64>,
    /// Value; `None` is a tombstone.
    pub value: Option<Bytes>,
}

impl Record {
    /// The first header of this name that has a value.
    pub fn header(&self, name: &str) -> Option<&Bytes> {
        self.headers.iter().find(|header| header.name == name)?.value.as_ref()
    }

    /// Bytes of key, value and headers.
    pub fn size(&self) -> usize {
        let length = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
        let headers = self.headers.iter().map(|header| header.name.len() + length(&header.value));
        length(&self.key) + length(&self.value) + headers.sum::<usize>()
    }

    /// The record's identity as text, if it has one.
    pub fn id(&self) -> Option<&str> {
        std::str::from_utf8(self.header(header::ID)?).ok()
    }
}

/// Where a record stands in a log.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Source {
    /// Topic name.
    pub topic: String,
    /// Partition number.
    pub partition: i32,
    /// Offset in the partition.
    pub offset: i64,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.topic, self.partition, self.offset)
    }
}
