//! The way up to the next tier, whose broker may be away: store and forward.
//!
//! While it is there, records go straight to it, as through a [`Funnel`]. One that it has not
//! confirmed in time, or refuses, means that it is away. From then on, by configuration,
//!
//! - [`OnLoss::Hold`]: records wait in a topic of the tier's own broker, the **buffer**. Once the next tier's
//!   broker answers again the [`keeper`] takes them up, at a set rate, and when none waits any more the link is
//!   up: in the order of their keys, a record never overtakes one that waits, unless live records are to go
//!   first.
//! - [`OnLoss::AnswerHere`]: they are not taken, and the inference function answers them itself.
//!
//! A record that was under way when the link was lost is sent again, from the buffer; where it had been stored
//! after all there are two, with one id.

mod keeper;
mod pace;
mod state;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use kafka::{Confirmation, Producer, SendError};
use pipeline::{OnLoss, Retry, WhenFull};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};
use wire::Record;

use crate::dead_letter::DeadLetters;
use crate::failure::Failure;
use crate::funnel::{self, Funnel};
pub use keeper::buffer_extent;
use state::{Admission, State};

/// Sends records up to the next tier, or keeps them. Clones share one link.
#[derive(Debug, Clone)]
pub struct Uplink {
    shared: Arc<Shared>,
}

/// Where an uplink leads, and what stands at its lower end.
#[derive(Debug)]
pub struct Ends {
    /// `bootstrap.servers` of the next tier's broker.
    pub servers: String,
    /// The next tier's input topic.
    pub topic: String,
    /// `bootstrap.servers` of the tier's own broker.
    pub own_servers: String,
    /// A producer to it.
    pub own: Producer,
}

#[derive(Debug)]
struct Shared {
    ends: Ends,
    settings: pipeline::Uplink,
    dead_letters: DeadLetters,
    state: watch::Sender<State<Producer>>,
    counts: Counts,
}

#[derive(Debug, Default)]
struct Counts {
    held: AtomicU64,
    taken_up: AtomicU64,
    dropped: AtomicU64,
    answered_here: AtomicU64,
}

/// An uplink at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// Whether records go straight up.
    pub is_up: bool,
    /// Records that wait.
    pub waiting_records: u64,
    /// About how many bytes they take; exact for those of this process.
    pub waiting_bytes: u64,
    /// What they may take.
    pub max_bytes: u64,
    /// Records that were held since the start.
    pub held: u64,
    /// Records that were taken up from the buffer since the start.
    pub taken_up: u64,
    /// Records that were dropped from the full buffer since the start.
    pub dropped: u64,
    /// Records that were answered here because the link was away, since the start.
    pub answered_here: u64,
}

impl Uplink {
    /// An uplink, whose dropped records go to `dead_letters`. Until [`keep`](Self::keep) runs, nothing is known
    /// of its link and records wait.
    pub fn new(ends: Ends, settings: pipeline::Uplink, dead_letters: Funnel, retry: Retry) -> Self {
        let dead_letters = DeadLetters::new(dead_letters, retry);
        let state = watch::Sender::new(State::new());
        let counts = Counts::default();
        Self { shared: Arc::new(Shared { ends, settings, dead_letters, state, counts }) }
    }

    /// How it stands.
    pub fn status(&self) -> Status {
        let state = self.shared.state.borrow();
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let counts = &self.shared.counts;
        Status {
            is_up: state.is_up(),
            waiting_records: state.waiting().records(),
            waiting_bytes: state.waiting().bytes(),
            max_bytes: self.shared.settings.buffer.max_bytes,
            held: read(&counts.held),
            taken_up: read(&counts.taken_up),
            dropped: read(&counts.dropped),
            answered_here: read(&counts.answered_here),
        }
    }

    /// Whether what can't go up is to be answered here.
    pub fn answers_here(&self) -> bool {
        self.shared.settings.on_loss == OnLoss::AnswerHere
    }

    /// Notes that a record was answered here.
    pub(crate) fn answered_here(&self) {
        self.shared.counts.answered_here.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes a record, to be sent up or held, in the order of these calls.
    pub(crate) async fn enqueue(&self, record: &Record) -> Result<Rising, Failure> {
        let taken = self.take(record).await?;
        Ok(Rising { uplink: self.clone(), record: record.clone(), taken })
    }

    async fn take(&self, record: &Record) -> Result<Taken, Failure> {
        let Shared { ends, settings, .. } = &*self.shared;
        loop {
            let (generation, producer) = self.way().await;
            let Some(producer) = producer else {
                match self.divert(record).await? {
                    Some(appending) => return Ok(Taken::Held(appending)),
                    None => continue,
                }
            };
            let due = Instant::now() + settings.timeout;
            match timeout(settings.timeout, producer.enqueue(&ends.topic, record)).await {
                Ok(Ok(confirmation)) => {
                    return Ok(Taken::Up { generation, confirmation, due });
                }
                Ok(Err(error @ SendError::TooLarge { .. })) => return Err(funnel::failure(&error)),
                Ok(Err(error)) => self.lose(generation, &error.to_string()),
                Err(_) => self.lose(generation, "the client has no room for more"),
            }
        }
    }

    /// The link, once something is known of it.
    async fn way(&self) -> (u64, Option<Producer>) {
        let known = self.shared.state.borrow().way();
        if let Some(way) = known {
            return way;
        }
        let mut state = self.shared.state.subscribe();
        let state = state.wait_for(|state| !state.is_unknown()).await.expect("never closed");
        state.way().expect("just waited for")
    }

    /// Puts a record into the buffer; `None` if the link is up meanwhile.
    async fn divert(&self, record: &Record) -> Result<Option<Appending>, Failure> {
        let Shared { ends, settings, state, .. } = &*self.shared;
        let buffer = &settings.buffer;
        let away = || format!("`{}` is away, where topic `{}` is", ends.servers, ends.topic);
        if settings.on_loss == OnLoss::AnswerHere {
            return Err(Failure::Unavailable(away()));
        }
        let bytes = size(record);
        let max_bytes = (buffer.when_full == WhenFull::Refuse).then_some(buffer.max_bytes);
        let mut admission = Admission::Up;
        state.send_if_modified(|state| {
            admission = state.admit(bytes, max_bytes);
            admission == Admission::Append
        });
        match admission {
            Admission::Up => return Ok(None),
            Admission::Full => {
                return Err(Failure::Unavailable(format!(
                    "{}, and topic `{}` holds the {} MiB that may wait for it",
                    away(),
                    buffer.topic.name,
                    buffer.max_bytes >> 20,
                )));
            }
            Admission::Append => {}
        }
        let mut appending = Appending { uplink: self.clone(), bytes, confirmation: None };
        let confirmation = ends.own.enqueue(&buffer.topic.name, record).await;
        appending.confirmation = Some(confirmation.map_err(|error| funnel::failure(&error))?);
        Ok(Some(appending))
    }

    fn lose(&self, generation: u64, reason: &str) {
        let mut lost = None;
        self.shared.state.send_if_modified(|state| {
            lost = state.lose(generation);
            lost.is_some()
        });
        if let Some(producer) = lost {
            let Shared { ends, settings, .. } = &*self.shared;
            tracing::warn!(
                servers = ends.servers,
                topic = ends.topic,
                "uplink lost, {}: {reason}",
                match settings.on_loss {
                    OnLoss::Hold => "records are held",
                    OnLoss::AnswerHere => "records are answered here",
                }
            );
            producer.abandon();
        }
    }

    /// Waits for the confirmation of a record that went straight up; `None` if the link is lost.
    async fn landed(
        &self,
        generation: u64,
        confirmation: Confirmation,
        due: Instant,
    ) -> Option<Result<(), Failure>> {
        let mut state = self.shared.state.subscribe();
        let reason = tokio::select! {
            biased;
            stored = confirmation.confirmed() => match stored {
                Ok(_) => return Some(Ok(())),
                Err(error @ SendError::TooLarge { .. }) => return Some(Err(funnel::failure(&error))),
                Err(error) => error.to_string(),
            },
            _ = state.wait_for(|state| state.generation() != generation) => return None,
            () = sleep_until(due) => {
                format!("no confirmation within {} ms", self.shared.settings.timeout.as_millis())
            }
        };
        self.lose(generation, &reason);
        None
    }
}

/// A record that is on its way up, or into the buffer.
#[derive(Debug)]
pub(crate) struct Rising {
    uplink: Uplink,
    record: Record,
    taken: Taken,
}

#[derive(Debug)]
enum Taken {
    Up { generation: u64, confirmation: Confirmation, due: Instant },
    Held(Appending),
}

impl Rising {
    /// Returns when the record is durable, at either end.
    pub(crate) async fn confirmed(self) -> Result<(), Failure> {
        let Self { uplink, record, mut taken } = self;
        loop {
            match taken {
                Taken::Held(appending) => return appending.confirmed().await,
                Taken::Up { generation, confirmation, due } => {
                    if let Some(landed) = uplink.landed(generation, confirmation, due).await {
                        return landed;
                    }
                }
            }
            taken = uplink.take(&record).await?;
        }
    }
}

/// A record on its way into the buffer, for which there is room.
#[derive(Debug)]
struct Appending {
    uplink: Uplink,
    bytes: u64,
    confirmation: Option<Confirmation>,
}

impl Appending {
    async fn confirmed(mut self) -> Result<(), Failure> {
        let confirmation = self.confirmation.take().expect("taken once");
        let offset = confirmation.confirmed().await.map_err(|error| funnel::failure(&error))?;
        self.uplink.shared.counts.held.fetch_add(1, Ordering::Relaxed);
        self.settle(Some(offset));
        Ok(())
    }

    fn settle(&mut self, offset: Option<i64>) {
        let bytes = std::mem::take(&mut self.bytes);
        self.uplink.shared.state.send_modify(|state| state.appended(offset, bytes));
    }
}

impl Drop for Appending {
    /// Gives its room back, if it is not in the buffer.
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.settle(None);
        }
    }
}

/// What a record takes of the buffer; never nothing, so that it can be told whether it has given it back.
fn size(record: &Record) -> u64 {
    record.size().max(1) as u64
}
