//! The keys of a tier that say what happens while the next tier's broker is away.

use std::time::Duration;

use super::name_of;
use crate::uplink::{Buffer, DEFAULT_BUFFER_MIB, DEFAULT_UPLINK_TIMEOUT, OnLoss, Uplink};
use crate::{Servers, Topic};
use tables::Table;

const KEYS: [&str; 3] = ["on_uplink_loss", "uplink_timeout_ms", "buffer"];

/// The keys of a tier that has no next tier on another broker: none of them has an effect.
pub(super) fn none(table: &Table<'_, '_>, reason: &str) {
    for key in KEYS {
        if table.has(key) {
            table.problem(key, format!("is set, but {reason}: remove it"));
        }
    }
}

/// The keys of a tier whose next tier, with the topic `up`, is on another broker.
pub(super) fn read(table: &Table<'_, '_>, own: &Servers, default_topic: String) -> Uplink {
    let on_loss = table.parsed("on_uplink_loss", "\"hold\" or \"answer-here\"").unwrap_or_default();
    let timeout = table.whole("uplink_timeout_ms", 10..=600_000);
    let buffer = buffer(table, own, default_topic);
    if on_loss == OnLoss::AnswerHere && table.has("buffer") {
        table.problem(
            "buffer",
            "is set, but with `on_uplink_loss` = \"answer-here\" no record waits: remove one of them",
        );
    }
    Uplink {
        on_loss,
        timeout: timeout.map_or(DEFAULT_UPLINK_TIMEOUT, Duration::from_millis),
        buffer,
    }
}

fn buffer(table: &Table<'_, '_>, own: &Servers, default_topic: String) -> Buffer {
    let topic = |name| Topic { servers: own.clone(), name };
    let mut buffer = Buffer {
        topic: topic(default_topic),
        max_bytes: DEFAULT_BUFFER_MIB << 20,
        when_full: crate::WhenFull::default(),
        drain_rate: None,
        live_first: false,
    };
    let Some(table) = table.table("buffer", "a table as { max_mib = 1024 }") else { return buffer };
    if let Some(name) = name_of(&table, "topic") {
        buffer.topic = topic(name);
    }
    if let Some(mib) = table.whole("max_mib", 1..=1 << 30) {
        buffer.max_bytes = mib << 20;
    }
    buffer.when_full =
        table.parsed("when_full", "\"refuse\" or \"drop-oldest\"").unwrap_or_default();
    buffer.drain_rate = table.whole("drain_rate", 1..=10_000_000).map(|rate| rate as u32);
    buffer.live_first = table.flag("live_first").unwrap_or_default();
    table.finish();
    buffer
}
