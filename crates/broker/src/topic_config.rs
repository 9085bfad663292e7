//! What can be set per topic, under the names that Kafka's tools use.
//!
//! ```text
//! cleanup.policy             delete          logs are cut at their start (delete), or keep each key's newest
//!                                            record (compact), or both (compact,delete)
//! retention.ms               604800000       records are kept at least this long; -1 for ever
//! retention.bytes            -1              a partition is cut once it is larger than this by a segment; -1 never
//! segment.bytes              67108864        size at which a new segment is begun
//! segment.ms                 604800000       age at which a new segment is begun
//! max.message.bytes          8388608         largest record batch that is taken
//! delete.retention.ms        86400000        how long compaction keeps a record that takes its key away
//! min.compaction.lag.ms      0               records are not compacted before this age
//! min.cleanable.dirty.ratio  0.5             share of a log that no compaction has seen at which one is due
//! ```
//!
//! A topic stores what was set for it; the rest comes from the broker's defaults, and follows them when they
//! change.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::bounds::BATCH_BYTES;

/// Smaller segments would cost more files than they save space.
const MIN_SEGMENT_BYTES: u32 = 16 * 1024;
/// Positions in a segment are 32 bits wide.
const MAX_SEGMENT_BYTES: u32 = 1 << 30;
/// What Apache Kafka keeps by default.
const RETENTION: Duration = Duration::from_secs(7 * 24 * 3600);
/// Small enough for retention to free space in time on a small disk, and for a start to check the last one in
/// well under a second.
const SEGMENT_BYTES: u32 = 64 * 1024 * 1024;

/// What Apache Kafka waits before it begins a new segment.
const SEGMENT_AGE: Duration = Duration::from_secs(7 * 24 * 3600);
/// What Apache Kafka gives readers to hear of a key that is gone.
const TOMBSTONES_KEPT: Duration = Duration::from_secs(24 * 3600);
/// What Apache Kafka lets accumulate: a compacted log is at most twice as large as need be.
const DIRTY_RATIO: f64 = 0.5;

/// What becomes of old records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cleanup {
    /// They go once they have been kept long enough.
    Delete,
    /// They go once there is a newer one with their key.
    Compact,
    /// Either is enough.
    CompactAndDelete,
}

impl Cleanup {
    pub(crate) fn deletes(self) -> bool {
        self != Self::Compact
    }

    pub(crate) fn compacts(self) -> bool {
        self != Self::Delete
    }

    fn parse(value: &str) -> Option<Self> {
        let mut policies: Vec<_> = value.split(',').map(str::trim).collect();
        policies.sort_unstable();
        policies.dedup();
        match policies[..] {
            ["delete"] => Some(Self::Delete),
            ["compact"] => Some(Self::Compact),
            ["compact", "delete"] => Some(Self::CompactAndDelete),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Delete => "delete",
            Self::Compact => "compact",
            Self::CompactAndDelete => "compact,delete",
        }
    }
}

/// How a topic's records are kept.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TopicConfig {
    /// What becomes of old records.
    pub cleanup: Cleanup,
    /// Records are kept at least this long; None for ever.
    pub retention: Option<Duration>,
    /// A partition is cut once it is larger than this by a segment; None never.
    pub retention_bytes: Option<u64>,
    /// Size at which a new segment is begun.
    pub segment_bytes: u32,
    /// Age at which a new segment is begun.
    pub segment_age: Duration,
    /// Largest record batch that is taken.
    pub max_batch_bytes: u32,
    /// How long compaction keeps tombstones: records without a value, which take their keys away.
    pub tombstones_kept: Duration,
    /// Records younger than this are not compacted.
    pub compaction_lag: Duration,
    /// Share of a log, from 0 to 1, that no compaction has seen at which one is due.
    pub dirty_ratio: f64,
}

impl Default for TopicConfig {
    fn default() -> Self {
        Self {
            cleanup: Cleanup::Delete,
            retention: Some(RETENTION),
            retention_bytes: None,
            segment_bytes: SEGMENT_BYTES,
            segment_age: SEGMENT_AGE,
            max_batch_bytes: BATCH_BYTES as u32,
            tombstones_kept: TOMBSTONES_KEPT,
            compaction_lag: Duration::ZERO,
            dirty_ratio: DIRTY_RATIO,
        }
    }
}

/// Why a setting is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error("topics have no `{0}`; they have {names}", names = Key::names())]
    Unknown(String),
    #[error("{key} = `{value}` is not {expected}", key = .key.name(), expected = .key.expected())]
    Value { key: Key, value: String },
    #[error("no value is given for `{0}`")]
    NoValue(String),
    #[error("`{name}` is not a list, which could be added to or taken from", name = .0.name())]
    NoList(Key),
}

/// What a setting's value is, as the protocol numbers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i8)]
pub(crate) enum Kind {
    Int = 3,
    Long = 5,
    Double = 6,
    List = 7,
}

/// What is done to a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ListChange {
    Add,
    Remove,
}

/// A setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Key {
    CleanupPolicy,
    RetentionMs,
    RetentionBytes,
    SegmentBytes,
    SegmentMs,
    MaxMessageBytes,
    DeleteRetentionMs,
    MinCompactionLagMs,
    MinCleanableDirtyRatio,
}

impl Key {
    pub(crate) const ALL: [Self; 9] = [
        Self::CleanupPolicy,
        Self::RetentionMs,
        Self::RetentionBytes,
        Self::SegmentBytes,
        Self::SegmentMs,
        Self::MaxMessageBytes,
        Self::DeleteRetentionMs,
        Self::MinCompactionLagMs,
        Self::MinCleanableDirtyRatio,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::CleanupPolicy => "cleanup.policy",
            Self::RetentionMs => "retention.ms",
            Self::RetentionBytes => "retention.bytes",
            Self::SegmentBytes => "segment.bytes",
            Self::SegmentMs => "segment.ms",
            Self::MaxMessageBytes => "max.message.bytes",
            Self::DeleteRetentionMs => "delete.retention.ms",
            Self::MinCompactionLagMs => "min.compaction.lag.ms",
            Self::MinCleanableDirtyRatio => "min.cleanable.dirty.ratio",
        }
    }

    pub(crate) fn find(name: &str) -> Result<Self, ConfigError> {
        let found = Self::ALL.into_iter().find(|key| key.name() == name);
        found.ok_or_else(|| ConfigError::Unknown(name.to_owned()))
    }

    pub(crate) fn kind(self) -> Kind {
        match self {
            Self::CleanupPolicy => Kind::List,
            Self::SegmentBytes | Self::MaxMessageBytes => Kind::Int,
            Self::MinCleanableDirtyRatio => Kind::Double,
            Self::RetentionMs
            | Self::RetentionBytes
            | Self::SegmentMs
            | Self::DeleteRetentionMs
            | Self::MinCompactionLagMs => Kind::Long,
        }
    }

    fn names() -> String {
        Self::ALL.map(Self::name).join(", ")
    }

    fn expected(self) -> String {
        match self {
            Self::CleanupPolicy => "`delete`, `compact` or `compact,delete`".to_owned(),
            Self::RetentionMs => "a number of milliseconds, or -1 for ever".to_owned(),
            Self::RetentionBytes => "a number of bytes, or -1 for any".to_owned(),
            Self::SegmentBytes => format!("from {MIN_SEGMENT_BYTES} to {MAX_SEGMENT_BYTES}"),
            Self::MaxMessageBytes => format!("from 1 to {MAX_SEGMENT_BYTES}"),
            Self::SegmentMs => "a number of milliseconds, at least 1".to_owned(),
            Self::DeleteRetentionMs | Self::MinCompactionLagMs => {
                "a number of milliseconds".to_owned()
            }
            Self::MinCleanableDirtyRatio => "from 0 to 1".to_owned(),
        }
    }

    /// Puts a value into a configuration.
    fn apply(self, value: &str, config: &mut TopicConfig) -> Result<(), ConfigError> {
        let refused = || ConfigError::Value { key: self, value: value.to_owned() };
        let number = || value.parse::<i64>().map_err(|_| refused());
        let within = |least: u32| {
            let number = u32::try_from(number()?).map_err(|_| refused())?;
            if (least..=MAX_SEGMENT_BYTES).contains(&number) { Ok(number) } else { Err(refused()) }
        };
        let duration = |least: u64| {
            let ms = u64::try_from(number()?).ok().filter(|&ms| least <= ms);
            ms.map(Duration::from_millis).ok_or_else(refused)
        };
        match self {
            Self::CleanupPolicy => {
                config.cleanup = Cleanup::parse(value).ok_or_else(refused)?;
            }
            Self::RetentionMs => {
                config.retention = unless_minus_one(number()?, refused)?.map(Duration::from_millis);
            }
            Self::RetentionBytes => {
                config.retention_bytes = unless_minus_one(number()?, refused)?;
            }
            Self::SegmentBytes => config.segment_bytes = within(MIN_SEGMENT_BYTES)?,
            Self::SegmentMs => config.segment_age = duration(1)?,
            Self::MaxMessageBytes => config.max_batch_bytes = within(1)?,
            Self::DeleteRetentionMs => config.tombstones_kept = duration(0)?,
            Self::MinCompactionLagMs => config.compaction_lag = duration(0)?,
            Self::MinCleanableDirtyRatio => {
                let ratio = value.parse().ok().filter(|ratio| (0.0..=1.0).contains(ratio));
                config.dirty_ratio = ratio.ok_or_else(refused)?;
            }
        }
        Ok(())
    }

    /// The value as it is in a configuration.
    pub(crate) fn value(self, config: &TopicConfig) -> String {
        let or_minus_one = |value: Option<u128>| value.map_or("-1".to_owned(), |v| v.to_string());
        match self {
            Self::CleanupPolicy => config.cleanup.name().to_owned(),
            Self::RetentionMs => or_minus_one(config.retention.map(|kept| kept.as_millis())),
            Self::RetentionBytes => or_minus_one(config.retention_bytes.map(u128::from)),
            Self::SegmentBytes => config.segment_bytes.to_string(),
            Self::SegmentMs => config.segment_age.as_millis().to_string(),
            Self::MaxMessageBytes => config.max_batch_bytes.to_string(),
            Self::DeleteRetentionMs => config.tombstones_kept.as_millis().to_string(),
            Self::MinCompactionLagMs => config.compaction_lag.as_millis().to_string(),
            Self::MinCleanableDirtyRatio => config.dirty_ratio.to_string(),
        }
    }
}

fn unless_minus_one(
    number: i64,
    refused: impl Fn() -> ConfigError,
) -> Result<Option<u64>, ConfigError> {
    match number {
        -1 => Ok(None),
        number => u64::try_from(number).map(Some).map_err(|_| refused()),
    }
}

/// What was set for one topic. Every value in it is valid.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Overrides {
    values: BTreeMap<Key, String>,
}

impl Overrides {
    pub(crate) fn set(&mut self, name: &str, value: &str) -> Result<(), ConfigError> {
        let key = Key::find(name)?;
        let mut config = TopicConfig::default();
        key.apply(value, &mut config)?;
        // As it is written here, not as it came: white space within it would not read back.
        self.values.insert(key, key.value(&config));
        Ok(())
    }

    pub(crate) fn reset(&mut self, name: &str) -> Result<(), ConfigError> {
        self.values.remove(&Key::find(name)?);
        Ok(())
    }

    /// Adds members to a list, or takes them out of it; they are separated by commas.
    pub(crate) fn change_list(
        &mut self,
        name: &str,
        change: ListChange,
        members: &str,
        defaults: &TopicConfig,
    ) -> Result<(), ConfigError> {
        let key = Key::find(name)?;
        if key.kind() != Kind::List {
            return Err(ConfigError::NoList(key));
        }
        let value = key.value(&self.over(defaults));
        let mut list: Vec<_> = value.split(',').collect();
        for member in members.split(',').map(str::trim) {
            list.retain(|present| *present != member);
            if change == ListChange::Add {
                list.push(member);
            }
        }
        self.set(name, &list.join(","))
    }

    pub(crate) fn has(&self, key: Key) -> bool {
        self.values.contains_key(&key)
    }

    /// The defaults, with what was set in their place.
    pub(crate) fn over(&self, defaults: &TopicConfig) -> TopicConfig {
        let mut config = *defaults;
        for (key, value) in &self.values {
            key.apply(value, &mut config).expect("values were checked when they were set");
        }
        config
    }

    /// One `name=value` per line.
    pub(crate) fn to_text(&self) -> String {
        let lines = self.values.iter().map(|(key, value)| [key.name(), "=", value, "\n"]);
        lines.flatten().collect()
    }

    pub(crate) fn from_text(text: &str) -> Result<Self, ConfigError> {
        let mut overrides = Self::default();
        for line in text.lines() {
            let (name, value) = line.split_once('=').unwrap_or((line, ""));
            overrides.set(name, value)?;
        }
        Ok(overrides)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(pairs: &[(&str, &str)]) -> Result<Overrides, ConfigError> {
        let mut overrides = Overrides::default();
        pairs.iter().try_for_each(|(name, value)| overrides.set(name, value))?;
        Ok(overrides)
    }

    #[test]
    fn what_is_set_replaces_the_default_and_the_rest_does_not() {
        let overrides = set(&[("retention.ms", "-1"), ("segment.bytes", "16384")]).unwrap();
        let defaults = TopicConfig { retention_bytes: Some(7), ..TopicConfig::default() };
        let expected = TopicConfig { retention: None, segment_bytes: 16_384, ..defaults };
        assert_eq!(overrides.over(&defaults), expected);
    }

    #[test]
    fn every_value_shown_can_be_set_again() {
        let config = TopicConfig {
            cleanup: Cleanup::CompactAndDelete,
            retention: Some(Duration::from_millis(5)),
            retention_bytes: Some(1 << 40),
            segment_bytes: 1 << 20,
            segment_age: Duration::from_millis(3),
            max_batch_bytes: 9,
            tombstones_kept: Duration::from_millis(4),
            compaction_lag: Duration::from_millis(6),
            dirty_ratio: 0.25,
        };
        let shown = Key::ALL.map(|key| (key.name(), key.value(&config)));
        let shown = shown.each_ref().map(|(name, value)| (*name, value.as_str()));
        let overrides = set(&shown).unwrap();
        assert_eq!(overrides.over(&TopicConfig::default()), config);
        assert_eq!(Overrides::from_text(&overrides.to_text()), Ok(overrides));
    }

    #[test]
    fn a_list_that_is_not_set_is_changed_from_its_default() {
        let (mut overrides, defaults) = (Overrides::default(), TopicConfig::default());
        let mut change = |change, members| {
            overrides.change_list("cleanup.policy", change, members, &defaults)?;
            Ok::<_, ConfigError>(overrides.over(&defaults).cleanup)
        };
        assert_eq!(change(ListChange::Add, "compact"), Ok(Cleanup::CompactAndDelete));
        assert_eq!(change(ListChange::Remove, "delete"), Ok(Cleanup::Compact));
        assert_eq!(change(ListChange::Add, " delete,compact"), Ok(Cleanup::CompactAndDelete));
        change(ListChange::Remove, "compact,delete").unwrap_err();
        let error = overrides.change_list("retention.ms", ListChange::Add, "1", &defaults);
        assert_eq!(error, Err(ConfigError::NoList(Key::RetentionMs)));
    }

    #[test]
    fn what_was_set_with_white_space_reads_back() {
        let overrides = set(&[("cleanup.policy", "\ndelete ,\n compact\r\n")]).unwrap();
        assert_eq!(overrides.to_text(), "cleanup.policy=compact,delete\n");
        assert_eq!(Overrides::from_text(&overrides.to_text()), Ok(overrides));
    }

    #[test]
    fn what_cannot_be_set_is_said() {
        let message = |name, value| set(&[(name, value)]).unwrap_err().to_string();
        assert_eq!(
            message("compression.type", "lz4"),
            "topics have no `compression.type`; they have cleanup.policy, retention.ms, \
             retention.bytes, segment.bytes, segment.ms, max.message.bytes, delete.retention.ms, \
             min.compaction.lag.ms, min.cleanable.dirty.ratio"
        );
        assert_eq!(
            message("cleanup.policy", "compact,shred"),
            "cleanup.policy = `compact,shred` is not `delete`, `compact` or `compact,delete`"
        );
        assert_eq!(
            message("retention.ms", "-2"),
            "retention.ms = `-2` is not a number of milliseconds, or -1 for ever"
        );
        assert_eq!(
            message("segment.bytes", "9"),
            "segment.bytes = `9` is not from 16384 to 1073741824"
        );
        assert_eq!(
            message("min.cleanable.dirty.ratio", "NaN"),
            "min.cleanable.dirty.ratio = `NaN` is not from 0 to 1"
        );
    }
}
