//! The connector: Kafka → function.
//!
//! Many records in flight, whatever the number of partitions; in order within a key; each tried until it has
//! met its fate, and only then handed back to the log. While a function is overloaded or away the records in
//! flight wait, and once there are as many as are allowed no more are taken: the log holds the rest.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kafka::{Consumer, Delivery, KafkaError, Ticket};
use pipeline::Retry;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};
use wire::{Record, Reject, RejectCode, Source};

use crate::backoff;
use crate::counters::Counters;
use crate::dead_letter::DeadLetters;
use crate::failure::{Failure, Fate};
use crate::funnel::Funnel;
use crate::http::client::HttpFunction;
use crate::inference::Inference;
use crate::lanes::Lanes;
use crate::stop::Stop;

/// Below Kubernetes' default `terminationGracePeriodSeconds` (30 s): a connector that is killed before its
/// last offsets are committed has those records inferred twice.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(20);
/// A consumer that asks for nothing for five minutes loses its partitions. Well before, it pauses them and
/// goes on asking.
const PAUSE_AFTER: Duration = Duration::from_secs(10);
/// A failure that lasts is said again in the log after this many repetitions.
const SAY_EVERY: u32 = 10;

/// What a connector calls.
#[derive(Debug, Clone)]
pub enum Target {
    /// The inference function of this process.
    Inference(Arc<Inference>),
    /// A function over HTTP.
    Url(HttpFunction),
}

impl Target {
    async fn call(&self, record: &Record, source: &Source) -> Result<Fate, Failure> {
        match self {
            Self::Inference(inference) => inference.call(record, Some(source)).await,
            Self::Url(function) => function.call(record, Some(source)).await,
        }
    }
}

/// Takes the records of one topic to a function.
#[derive(Debug)]
pub struct Connector {
    consumer: Consumer,
    calls: Arc<Calls>,
    in_flight: usize,
}

/// What every call of a connector shares.
#[derive(Debug)]
struct Calls {
    target: Target,
    dead_letters: DeadLetters,
    retry: Retry,
    counters: Arc<Counters>,
}

impl Connector {
    /// A connector from `consumer` to `target` with at most `in_flight` records at once.
    pub fn new(
        consumer: Consumer,
        target: Target,
        dead_letters: Funnel,
        in_flight: usize,
        retry: Retry,
    ) -> Self {
        let dead_letters = DeadLetters::new(dead_letters, retry);
        let calls = Calls { target, dead_letters, retry, counters: Arc::default() };
        Self { consumer, calls: Arc::new(calls), in_flight }
    }

    /// Its counts, live.
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.calls.counters)
    }

    /// Becomes true when it has a share of the topic's partitions, which it gets while it runs.
    pub fn assigned(&self) -> watch::Receiver<bool> {
        self.consumer.assigned()
    }

    /// Runs until told to stop, then waits for the records in flight, commits and leaves the group.
    pub async fn run(self, mut stop: Stop) -> Result<(), KafkaError> {
        let Self { consumer, calls, in_flight } = self;
        let mut flight = Flight { calls, lanes: Lanes::new(), tasks: JoinSet::new() };
        let mut paused = false;
        let mut last_taken = Instant::now();
        let outcome = loop {
            let full = flight.lanes.outstanding() >= in_flight;
            if paused && !full {
                consumer.set_paused(false);
                paused = false;
            }
            tokio::select! {
                Some(ticket) = flight.landed() => consumer.done(ticket),
                delivery = consumer.recv(), if !full || paused => match delivery {
                    Ok(delivery) => {
                        last_taken = Instant::now();
                        flight.take(delivery);
                    }
                    Err(error) => break Err(error),
                },
                () = sleep_until(last_taken + PAUSE_AFTER), if full && !paused => {
                    consumer.set_paused(true);
                    paused = true;
                }
                () = stop.said() => break Ok(()),
            }
        };
        let drain = async {
            while let Some(ticket) = flight.landed().await {
                consumer.done(ticket);
            }
        };
        if tokio::time::timeout(DRAIN_TIMEOUT, drain).await.is_err() {
            tracing::warn!(
                records = flight.lanes.outstanding(),
                "records in flight are left to the next start: not done within {} s",
                DRAIN_TIMEOUT.as_secs()
            );
        }
        drop(flight);
        tokio::task::spawn_blocking(move || consumer.close())
            .await
            .expect("closing does not panic");
        outcome
    }
}

/// The records in flight: under way, or waiting behind one with the same key.
struct Flight {
    calls: Arc<Calls>,
    lanes: Lanes<Delivery>,
    tasks: JoinSet<(Ticket, Option<Bytes>)>,
}

impl Flight {
    fn take(&mut self, delivery: Delivery) {
        self.calls.counters.consumed();
        let key = delivery.record.key.clone();
        if let Some(delivery) = self.lanes.admit(key.as_ref(), delivery) {
            self.start(delivery);
        }
    }

    fn start(&mut self, delivery: Delivery) {
        let calls = Arc::clone(&self.calls);
        self.tasks.spawn(async move {
            let Delivery { record, source, ticket } = delivery;
            let fate = calls.carry(&record, &source).await;
            calls.counters.met(fate);
            (ticket, record.key)
        });
    }

    /// The ticket of the next record that met its fate; `None` when none is in flight.
    async fn landed(&mut self) -> Option<Ticket> {
        let (ticket, key) = self.tasks.join_next().await?.expect("a call does not panic");
        if let Some(next) = self.lanes.finished(key.as_ref()) {
            self.start(next);
        }
        Some(ticket)
    }
}

impl Calls {
    /// Calls the function until the record has met its fate.
    async fn carry(&self, record: &Record, source: &Source) -> Fate {
        let (mut attempts, mut waits) = (0, 0);
        let reject = loop {
            let failure = match self.target.call(record, source).await {
                Ok(fate) => return fate,
                Err(Failure::Reject(reject)) => {
                    attempts += 1;
                    break reject;
                }
                Err(failure) => failure,
            };
            let wait = match &failure {
                Failure::Overloaded { retry_after } => {
                    retry_after.mul_f64(1.0 + rand::random::<f64>())
                }
                Failure::Failed(reason) => {
                    attempts += 1;
                    if attempts == self.retry.attempts {
                        let reason = format!("{attempts} attempts failed, the last one: {reason}");
                        break Reject::new(RejectCode::AttemptsSpent, reason);
                    }
                    backoff::wait(&self.retry, attempts, rand::random())
                }
                Failure::Unavailable(_) | Failure::Reject(_) => {
                    waits += 1;
                    if waits % SAY_EVERY == 1 {
                        tracing::warn!(source = %source, waits, "{failure}; waiting");
                    }
                    backoff::wait(&self.retry, waits, rand::random())
                }
            };
            self.counters.again();
            sleep(wait).await;
        };
        self.dead_letters.bury(record, source, &reject, attempts).await;
        Fate::DeadLettered
    }
}
