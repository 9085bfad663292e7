//! The client against the embedded broker, and beside librdkafka.

#![cfg(test)]

mod groups;
mod sending;

use broker::{Broker, BrokerConfig};
use bytes::Bytes;
use tempfile::TempDir;
use wire::{Header, Record};

/// A broker, and where its log is.
struct Place {
    broker: Broker,
    _dir: TempDir,
}

impl Place {
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = BrokerConfig::new(dir.path(), "127.0.0.1:0".parse().unwrap());
        Self { broker: Broker::start(config).await.unwrap(), _dir: dir }
    }

    fn servers(&self) -> &str {
        self.broker.advertised()
    }
}

fn record(key: Option<&str>, value: impl Into<Bytes>) -> Record {
    Record {
        key: key.map(|key| Bytes::copy_from_slice(key.as_bytes())),
        headers: vec![
            Header::new("a", &b"1"[..]),
            Header { name: "none".to_owned(), value: None },
            Header::new("a", &b""[..]),
        ],
        timestamp_ms: Some(1_700_000_000_123),
        value: Some(value.into()),
    }
}
