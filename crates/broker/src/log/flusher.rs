//! The thread that makes logs durable: group commit.
//!
//! While it syncs one round, appends go on, and all of them are durable with the next round: the slower the
//! disk, the more each sync carries. Syncing blocks, for seconds on a worn SD card, so it has its own thread.

use std::io;
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::stats::SyncCounters;

/// When appended records are made durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flush {
    /// Before they are acknowledged, and before any consumer sees them. A power cut loses nothing that was
    /// acknowledged.
    Always,
    /// At most this long after they are acknowledged. A killed process loses nothing; a power cut may lose
    /// what was acknowledged during the last interval.
    Interval(Duration),
}

/// What can be synced: a partition's log, or the log of committed offsets.
pub(crate) trait Durable: Send + Sync {
    /// Makes durable what was written before the call, and tells those who wait for it.
    fn sync(&self);
}

enum Job {
    Sync(Arc<dyn Durable>),
    Stop,
}

/// Takes in what has to be synced. Each log queues itself at most once, which bounds the queue.
#[derive(Debug, Clone)]
pub(crate) struct Flusher {
    jobs: mpsc::Sender<Job>,
    counters: Arc<SyncCounters>,
}

/// The running thread.
#[derive(Debug)]
pub(crate) struct FlusherThread {
    jobs: mpsc::Sender<Job>,
    thread: JoinHandle<()>,
}

impl Flusher {
    pub(crate) fn start(flush: Flush) -> io::Result<(Self, FlusherThread)> {
        let (jobs, queue) = mpsc::channel();
        let thread = thread::Builder::new()
            .name("broker-flusher".to_owned())
            .spawn(move || run(&queue, flush))?;
        let flusher = Self { jobs: jobs.clone(), counters: Arc::default() };
        Ok((flusher, FlusherThread { jobs, thread }))
    }

    /// One that syncs nothing, for tests that do so themselves.
    #[cfg(test)]
    pub(crate) fn stopped() -> Self {
        Self { jobs: mpsc::channel().0, counters: Arc::default() }
    }

    pub(crate) fn counters(&self) -> &SyncCounters {
        &self.counters
    }

    /// Syncs, and takes note of how that went and how long it took.
    pub(crate) fn timed<T, E>(&self, sync: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        let begun = Instant::now();
        let result = sync();
        self.counters.syncs.add(1);
        self.counters.failures.add(result.is_err().into());
        self.counters.microseconds.add(begun.elapsed().as_micros() as u64);
        result
    }

    /// Asks for a sync soon. After the thread has stopped this does nothing, and nothing is acknowledged.
    pub(crate) fn request(&self, log: Arc<dyn Durable>) {
        let _ = self.jobs.send(Job::Sync(log));
    }
}

impl FlusherThread {
    /// Syncs what was asked for before, then ends the thread.
    pub(crate) async fn stop(self) {
        let _ = self.jobs.send(Job::Stop);
        let joined = tokio::task::spawn_blocking(move || self.thread.join()).await;
        if !matches!(joined, Ok(Ok(()))) {
            tracing::error!("the flusher panicked; what it had not synced was not acknowledged");
        }
    }
}

fn run(queue: &mpsc::Receiver<Job>, flush: Flush) {
    let mut is_stopping = false;
    while !is_stopping {
        let Ok(first) = queue.recv() else { return };
        let mut round = Vec::new();
        let mut add = |job| match job {
            Job::Sync(log) => {
                round.push(log);
                true
            }
            Job::Stop => {
                is_stopping = true;
                false
            }
        };
        let mut is_open = add(first);
        if let Flush::Interval(interval) = flush {
            let deadline = Instant::now() + interval;
            while is_open {
                let left = deadline.saturating_duration_since(Instant::now());
                let Ok(job) = queue.recv_timeout(left) else { break };
                is_open = add(job);
            }
        }
        while is_open {
            let Ok(job) = queue.try_recv() else { break };
            is_open = add(job);
        }
        for log in round {
            log.sync();
        }
    }
}
