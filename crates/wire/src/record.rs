//! A record as every function sees it.

use std::fmt;
use std::str::FromStr;

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

/// A text that is no place in a log.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not a place in a log; expected TOPIC/PARTITION/OFFSET")]
pub struct NotASource(String);

impl FromStr for Source {
    type Err = NotASource;

    fn from_str(text: &str) -> Result<Self, NotASource> {
        // From the right: no topic that a broker accepts has a slash, but this need not rely on it.
        let mut parts = text.rsplitn(3, '/');
        let offset = parts.next().and_then(|offset| offset.parse().ok());
        let partition = parts.next().and_then(|partition| partition.parse().ok());
        match (parts.next(), partition, offset) {
            (Some(topic), Some(partition), Some(offset))
                if !topic.is_empty() && 0 <= partition && 0 <= offset =>
            {
                Ok(Self { topic: topic.to_owned(), partition, offset })
            }
            _ => Err(NotASource(text.to_owned())),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.topic, self.partition, self.offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_read_as_it_is_written() {
        let source = Source { topic: "p.edge-input".to_owned(), partition: 2, offset: 9 };
        assert_eq!(source.to_string().parse::<Source>().unwrap(), source);
        for text in ["", "t", "t/1", "/1/2", "t/-1/2", "t/1/-2", "t/1/x", "t/99999999999/1"] {
            let error = text.parse::<Source>().unwrap_err().to_string();
            assert!(error.contains("TOPIC/PARTITION/OFFSET"), "{text}: {error}");
        }
    }
}
