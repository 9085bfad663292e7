//! What a tier does while the next tier's broker is away.

use std::str::FromStr;
use std::time::Duration;

use crate::Topic;

/// The way up from a tier to a next tier whose broker is not its own, and may be away while its own is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uplink {
    /// What is done with the records of the next tier meanwhile.
    pub on_loss: OnLoss,
    /// A record that the next tier's broker has not confirmed within this time means that it is away.
    pub timeout: Duration,
    /// Where records wait; unused by [`OnLoss::AnswerHere`].
    pub buffer: Buffer,
}

/// What a tier does with what it would forward while the next tier's broker is away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum OnLoss {
    /// Keeps it in its own broker's log, and sends it up later.
    #[default]
    Hold,
    /// Answers it at its own exit, and says so in a header.
    AnswerHere,
}

impl OnLoss {
    /// Both, in the order in which errors list them.
    pub const ALL: [Self; 2] = [Self::Hold, Self::AnswerHere];

    /// The name in configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hold => "hold",
            Self::AnswerHere => "answer-here",
        }
    }
}

impl FromStr for OnLoss {
    type Err = ();

    fn from_str(name: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|on_loss| on_loss.name() == name).ok_or(())
    }
}

/// The records that wait for the next tier's broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Buffer {
    /// The topic that holds them, on the tier's own broker.
    pub topic: Topic,
    /// What they may take of its disk, in bytes of keys, values and headers.
    pub max_bytes: u64,
    /// What is done when they take as much.
    pub when_full: WhenFull,
    /// By how many records a second they become fewer once the broker is back; `None` as fast as it takes them.
    pub drain_rate: Option<u32>,
    /// Whether new records go before those that wait, out of the order of their keys.
    pub live_first: bool,
}

/// What is done with a record for which there is no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum WhenFull {
    /// It is not taken: it waits in the tier's input topic, and what is behind it as well.
    #[default]
    Refuse,
    /// The oldest ones make room: they become dead letters without their values.
    DropOldest,
}

impl WhenFull {
    /// Both, in the order in which errors list them.
    pub const ALL: [Self; 2] = [Self::Refuse, Self::DropOldest];

    /// The name in configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Refuse => "refuse",
            Self::DropOldest => "drop-oldest",
        }
    }
}

impl FromStr for WhenFull {
    type Err = ();

    fn from_str(name: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|when_full| when_full.name() == name).ok_or(())
    }
}

/// A slow link has a record there and confirmed within a second; a device waits no longer for a dead one.
pub(crate) const DEFAULT_UPLINK_TIMEOUT: Duration = Duration::from_secs(1);
/// 1 GiB holds a day of 100 records a second of 100 bytes, on a small SD card.
pub(crate) const DEFAULT_BUFFER_MIB: u64 = 1024;
