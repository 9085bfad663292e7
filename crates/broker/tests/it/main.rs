//! The broker through its socket: with librdkafka, and with frames made by hand.

#![cfg(test)]

mod admin;
mod clients;
mod frames;
mod hostile;
mod lifecycle;
mod matrix;
mod parity;

use std::time::Duration;

use broker::{Broker, BrokerConfig};
use rdkafka::ClientConfig;
use tempfile::TempDir;

/// Longest wait for anything that should happen at once.
const SOON: Duration = Duration::from_secs(20);

/// A broker in a directory of its own, on a port of its own.
struct Place {
    dir: TempDir,
    broker: Broker,
}

impl Place {
    async fn new() -> Self {
        Self::with(|_| ()).await
    }

    async fn with(configure: impl FnOnce(&mut BrokerConfig)) -> Self {
        Self::in_dir(tempfile::tempdir().unwrap(), configure).await
    }

    async fn in_dir(dir: TempDir, configure: impl FnOnce(&mut BrokerConfig)) -> Self {
        let mut config = BrokerConfig::new(dir.path(), "127.0.0.1:0".parse().unwrap());
        configure(&mut config);
        let broker = Broker::start(config).await.unwrap();
        Self { dir, broker }
    }

    /// Stops the broker and starts it again on what it has left.
    async fn restarted(self) -> Self {
        self.broker.shutdown().await.unwrap();
        Self::in_dir(self.dir, |_| ()).await
    }

    fn client(&self, settings: &[(&str, &str)]) -> ClientConfig {
        client_of(self.broker.advertised(), settings)
    }
}

/// A client of the broker at this address, with these settings.
fn client_of(address: &str, settings: &[(&str, &str)]) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", address);
    for (key, value) in settings {
        config.set(*key, *value);
    }
    config
}
