//! From librdkafka's messages to records.

use bytes::Bytes;
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};
use wire::{Header, Record, Source};

/// Where a message stands.
pub(crate) fn source(message: &BorrowedMessage<'_>) -> Source {
    Source {
        topic: message.topic().to_owned(),
        partition: message.partition(),
        offset: message.offset(),
    }
}

/// The message as a record of its own.
pub(crate) fn record(message: &BorrowedMessage<'_>) -> Record {
    Record {
        key: message.key().map(Bytes::copy_from_slice),
        headers: message.headers().map_or_else(Vec::new, |headers| {
            headers
                .iter()
                .map(|header| Header {
                    name: header.key.to_owned(),
                    value: header.value.map(Bytes::copy_from_slice),
                })
                .collect()
        }),
        timestamp_ms: message.timestamp().to_millis().filter(|&at| at >= 0),
        value: message.payload().map(Bytes::copy_from_slice),
    }
}
