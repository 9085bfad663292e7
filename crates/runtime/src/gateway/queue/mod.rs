//! Calls that are carried out later: each is a file from before its caller is answered until it has been carried out.
//!
//! Workers, bounded in number and for each function, carry them out, oldest first. A call whose answer says that it
//! may succeed later waits and is tried again, as its function's [`Retry`](crate::Retry) has it; the answer of the last
//! attempt goes to the call's callback, if it has one. A process that is killed takes its calls up again at its next
//! start, and counts their attempts anew: a function may see a call more than once, and a callback its answer.
//!
//! Left out: order between calls, and what became of those that are done.

mod callback;
mod schedule;
mod store;
mod worker;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

pub(super) use store::Call;

use super::connection::DRAIN_TIMEOUT;
use super::route::on_disk;
use super::told;
use crate::functions::Functions;
use callback::Callbacks;
use schedule::{Entry, Schedule};
use store::Store;
use worker::End;

/// How long a caller should wait after it was told that too many calls wait.
pub(super) const RETRY_AFTER: Duration = Duration::from_secs(5);
/// Calls of one function that are carried out at once, at most, as a share of the workers: one that is slow does not
/// keep the others' waiting.
const SHARE: usize = 4;

/// Calls that are written at once: each waits for the disk on a thread.
const WRITERS: usize = 16;

/// How much waits, and is carried out at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Calls that wait, those that are carried out with them.
    pub calls: usize,
    /// Bytes of their files.
    pub bytes: u64,
    /// Calls that are carried out at once.
    pub workers: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { calls: 10_000, bytes: 256 << 20, workers: 64 }
    }
}

/// What became of calls since the start, and how many wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct QueueStatus {
    /// Calls that wait, those that are carried out with them.
    pub waiting: u64,
    /// Bytes of their files.
    pub bytes: u64,
    /// Calls that were answered for good.
    pub done: u64,
    /// Calls that still failed after their last attempt.
    pub given_up: u64,
    /// Further attempts.
    pub retried: u64,
    /// Calls that were not taken: too many waited.
    pub refused: u64,
    /// Callbacks that could not be told.
    pub lost_callbacks: u64,
}

/// Why a call does not wait to be carried out.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotQueued {
    #[error("{calls} calls with {bytes} bytes wait already, which is as much as may")]
    Full { calls: usize, bytes: u64 },
    #[error("the call can't be written down: {source}")]
    Store { source: std::io::Error },
}

/// The calls that wait. Clones are the same ones.
#[derive(Debug, Clone)]
pub struct Queue {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    store: Store,
    bounds: Bounds,
    state: Mutex<State>,
    counts: Counts,
    /// A call has come, or one is due at another time.
    changed: Notify,
    callbacks: Callbacks,
    writers: Arc<Semaphore>,
}

#[derive(Debug)]
struct State {
    schedule: Schedule,
    newest: u64,
    calls: usize,
    bytes: u64,
}

#[derive(Debug, Default)]
struct Counts {
    done: AtomicU64,
    given_up: AtomicU64,
    retried: AtomicU64,
    refused: AtomicU64,
    lost_callbacks: AtomicU64,
}

impl Queue {
    /// The calls that waited at the end of an earlier run, in the folder `dir`, which is made.
    pub(super) fn open(dir: PathBuf, bounds: Bounds) -> std::io::Result<Self> {
        let (store, stored) = Store::open(dir)?;
        let per_function = bounds.workers.div_ceil(SHARE).max(1);
        let mut state =
            State { schedule: Schedule::new(per_function), newest: 0, calls: 0, bytes: 0 };
        let now = Instant::now();
        for entry in stored {
            state.newest = state.newest.max(entry.sequence);
            state.calls += 1;
            state.bytes += entry.bytes;
            state.schedule.add(now, entry);
        }
        if 0 < state.calls {
            tracing::info!(calls = state.calls, "calls of an earlier run are taken up again");
        }
        let shared = Shared {
            store,
            bounds,
            state: Mutex::new(state),
            counts: Counts::default(),
            changed: Notify::new(),
            callbacks: Callbacks::new(),
            writers: Arc::new(Semaphore::new(WRITERS)),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Has a call carried out later. It is on the disk when this returns.
    pub(super) async fn put(&self, call: Call) -> Result<(), NotQueued> {
        let shared = Arc::clone(&self.shared);
        let function: Arc<str> = call.function.as_str().into();
        let (head, body) = call.written();
        let bytes = (head.len() + body.len()) as u64;
        let writers = Arc::clone(&shared.writers);
        let writer = writers.acquire_owned().await.expect("never closed");
        let sequence = shared.reserve(bytes)?;
        // A caller that goes away meanwhile takes nothing with it: the call is on the disk, or its room is free.
        on_disk(move || {
            let _writer = writer;
            if let Err(source) = shared.store.write(sequence, &head, &body) {
                shared.release(bytes);
                return Err(NotQueued::Store { source });
            }
            let entry = Entry { sequence, function, bytes, attempts: 0 };
            shared.state().schedule.add(Instant::now(), entry);
            shared.changed.notify_one();
            Ok(())
        })
        .await
    }

    /// What became of calls, and how many wait.
    pub fn status(&self) -> QueueStatus {
        let counts = &self.shared.counts;
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let state = self.shared.state();
        QueueStatus {
            waiting: state.calls as u64,
            bytes: state.bytes,
            done: read(&counts.done),
            given_up: read(&counts.given_up),
            retried: read(&counts.retried),
            refused: read(&counts.refused),
            lost_callbacks: read(&counts.lost_callbacks),
        }
    }

    /// Carries calls out, until told to stop. Those that are under way then have [`DRAIN_TIMEOUT`]; those that have
    /// not ended stay on the disk.
    pub(super) async fn work(&self, functions: &Functions, mut stopping: watch::Receiver<bool>) {
        let shared = &self.shared;
        let mut workers: JoinSet<()> = JoinSet::new();
        loop {
            while workers.len() < shared.bounds.workers
                && let Some(entry) = shared.next()
            {
                let (shared, functions) = (Arc::clone(shared), functions.clone());
                workers.spawn(async move {
                    let end = worker::carry_out(&shared, &functions, &entry).await;
                    shared.ended(entry, end);
                });
            }
            let wake_at = shared.state().schedule.wake_at();
            let is_room = workers.len() < shared.bounds.workers;
            let due = async {
                match wake_at {
                    Some(at) if is_room => sleep_until(at).await,
                    _ => std::future::pending().await,
                }
            };
            tokio::select! {
                () = shared.changed.notified() => {}
                () = due => {}
                Some(ended) = workers.join_next() => {
                    if let Err(error) = ended {
                        tracing::error!("a call that was to be carried out later: {error}");
                    }
                }
                () = told(&mut stopping) => break,
            }
        }
        let drain = async { while workers.join_next().await.is_some() {} };
        if timeout(DRAIN_TIMEOUT, drain).await.is_err() {
            tracing::warn!(
                calls = workers.len(),
                "calls that were not carried out stay on the disk"
            );
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder panics")
    }

    /// Room for a call, and its number.
    fn reserve(&self, bytes: u64) -> Result<u64, NotQueued> {
        let mut state = self.state();
        if self.bounds.calls <= state.calls || self.bounds.bytes < state.bytes + bytes {
            self.counts.refused.fetch_add(1, Ordering::Relaxed);
            return Err(NotQueued::Full { calls: state.calls, bytes: state.bytes });
        }
        state.calls += 1;
        state.bytes += bytes;
        state.newest += 1;
        Ok(state.newest)
    }

    fn release(&self, bytes: u64) {
        let mut state = self.state();
        state.calls -= 1;
        state.bytes -= bytes;
    }

    fn next(&self) -> Option<Entry> {
        self.state().schedule.next(Instant::now())
    }

    /// A worker has ended with a call.
    fn ended(&self, mut entry: Entry, end: End) {
        let count = match end {
            End::Done => &self.counts.done,
            End::GivenUp => &self.counts.given_up,
            End::Again(_) => &self.counts.retried,
        };
        count.fetch_add(1, Ordering::Relaxed);
        let mut state = self.state();
        state.schedule.ended(&entry.function);
        if let End::Again(wait) = end {
            entry.attempts += 1;
            state.schedule.add(Instant::now() + wait, entry);
        } else {
            state.calls -= 1;
            state.bytes -= entry.bytes;
        }
    }
}
