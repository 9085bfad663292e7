//! The connector: Kafka → function.
//!
//! Many records in flight, whatever the number of partitions; in order within a lane (a key, or a partition);
//! each tried until it has met its fate, and only then handed back to the log. While a function is overloaded or
//! away the records in flight wait, and once there are as many as are allowed no more are taken: the log holds
//! the rest.
//!
//! Records that have arrived together go together where the target takes several at once: one task, one call.
//! Records of one lane may be among them, since the target keeps their order. What fails of such a call goes on
//! by itself, in order within its lane, and holds up nobody else.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{BoxFuture, join_all};
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use kafka::{Consumer, Delivery, KafkaError, Ticket};
use pipeline::{Order, Retry};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;
use wire::{Record, Reject, RejectCode, Source};

use crate::backoff;
use crate::counters::Counters;
use crate::dead_letter::DeadLetters;
use crate::failure::{Failure, Fate};
use crate::funnel::Funnel;
use crate::http::client::HttpFunction;
use crate::inference::{Incoming, Replaceable, now_us};
use crate::lanes::Lanes;
use crate::steps::Step;
use crate::stop::Stop;

/// Below Kubernetes' default `terminationGracePeriodSeconds` (30 s): a connector that is killed before its
/// last offsets are committed has those records inferred twice.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(20);
/// So few records are handled by the connector's own task. More than these are worth waking a thread for, to
/// which they go as a task of their own.
const FEW: usize = 4;
/// A failure that lasts is said again in the log after this many repetitions.
const SAY_EVERY: u32 = 10;

/// What a connector calls.
#[derive(Debug, Clone)]
pub enum Target {
    /// The inference function of this process.
    Inference(Arc<Replaceable>),
    /// A function over HTTP.
    Url(HttpFunction),
    /// A function that takes the value alone; what it answers is not looked at, beyond whether it did.
    Value(Step),
}

impl Target {
    /// Records that one call takes at most.
    fn max_records(&self) -> usize {
        match self {
            Self::Inference(inference) => inference.current().max_batch(),
            Self::Url(function) => function.max_records(),
            Self::Value(_) => 1,
        }
    }

    /// Calls the function with several records. Those of one lane are carried out in order: one that fails and
    /// may succeed later fails those of its lane that come after it as well.
    async fn call_many(&self, records: &[Delivery], lanes: &[Option<Lane>]) -> Vec<Called> {
        match self {
            Self::Inference(inference) => {
                let incoming = records.iter().map(|delivery| Incoming {
                    record: &delivery.record,
                    source: Some(&delivery.source),
                    received_us: delivery.received_us,
                });
                let inference = inference.current();
                inference.call_many(&incoming.collect::<Vec<_>>(), lanes).await
            }
            Self::Url(function) => {
                let records =
                    records.iter().map(|delivery| (&delivery.record, Some(&delivery.source)));
                function.call_many(&records.collect::<Vec<_>>()).await
            }
            Self::Value(step) => {
                let calls = records.iter().map(|of| step.call(&of.record, Some(&of.source)));
                join_all(calls).await
            }
        }
    }

    async fn call(&self, record: &Record, source: &Source) -> Result<Fate, Failure> {
        match self {
            Self::Inference(inference) => inference.current().call(record, Some(source)).await,
            Self::Url(function) => function.call(record, Some(source)).await,
            Self::Value(step) => step.call(record, Some(source)).await,
        }
    }
}

/// How a call ended for a record.
pub(crate) type Called = Result<Fate, Failure>;

/// What records have to share for one to wait for the other.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Lane {
    Key(Bytes),
    Partition(i32),
}

impl Lane {
    fn of(delivery: &Delivery, order: Order) -> Option<Self> {
        match order {
            Order::Key => delivery.record.key.clone().map(Self::Key),
            Order::Partition => Some(Self::Partition(delivery.source.partition)),
            Order::None => None,
        }
    }
}

/// Takes the records of one topic to a function.
#[derive(Debug)]
pub struct Connector {
    consumer: Consumer,
    calls: Arc<Calls>,
    settings: Settings,
}

/// How a connector goes about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Records that are being handled at once, at most.
    pub in_flight: usize,
    /// Which records wait for which.
    pub order: Order,
    /// How a failing call is tried again.
    pub retry: Retry,
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
    /// A connector from `consumer` to `target`.
    pub fn new(
        consumer: Consumer,
        target: Target,
        dead_letters: Funnel,
        settings: Settings,
    ) -> Self {
        let retry = settings.retry;
        let dead_letters = DeadLetters::new(dead_letters, retry);
        let calls = Calls { target, dead_letters, retry, counters: Arc::default() };
        Self { consumer, calls: Arc::new(calls), settings }
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
        let Self { consumer, calls, settings } = self;
        let mut flight = Flight::new(calls, settings.order);
        let outcome = loop {
            let room = settings.in_flight.saturating_sub(flight.lanes.outstanding());
            tokio::select! {
                Some(tickets) = flight.landed() => consumer.done(tickets),
                // Without room nothing is asked for, and so nothing is fetched; its place in the group it keeps.
                arrived = consumer.recv_many(room), if 0 < room => match arrived {
                    Ok(deliveries) => flight.take(deliveries),
                    Err(error) => break Err(error),
                },
                () = stop.said() => break Ok(()),
            }
        };
        let drain = async {
            while let Some(tickets) = flight.landed().await {
                consumer.done(tickets);
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
        consumer.close().await;
        outcome
    }
}

/// A record that is under way, and its lane.
type Admitted = (Delivery, Option<Lane>);

/// The records in flight: under way, or waiting behind others of their lane.
struct Flight {
    calls: Arc<Calls>,
    order: Order,
    lanes: Lanes<Lane, Admitted>,
    few: FuturesUnordered<BoxFuture<'static, Landed>>,
    tasks: JoinSet<Landed>,
}

/// What a task has done.
struct Landed {
    done: Vec<Ticket>,
    /// Lanes in which nothing is under way any more.
    freed: HashSet<Lane>,
    /// Records whose call failed, with how; those of one lane together, in order.
    failed: Vec<Vec<(Admitted, Failure)>>,
}

impl Flight {
    fn new(calls: Arc<Calls>, order: Order) -> Self {
        let (few, tasks) = (FuturesUnordered::new(), JoinSet::new());
        Self { calls, order, lanes: Lanes::new(), few, tasks }
    }

    fn take(&mut self, deliveries: Vec<Delivery>) {
        let mut starting = Vec::with_capacity(deliveries.len());
        for delivery in deliveries {
            self.calls.counters.consumed();
            let lane = Lane::of(&delivery, self.order);
            starting.extend(self.lanes.admit(lane.clone().as_ref(), (delivery, lane)));
        }
        self.start(starting);
    }

    /// Starts records of lanes that are free, with those that wait behind them, as many to a call as it takes.
    fn start(&mut self, starting: Vec<Admitted>) {
        let max = self.calls.target.max_records();
        let mut call: Vec<Admitted> = Vec::new();
        for first in starting {
            if max <= call.len() {
                self.call(std::mem::take(&mut call));
            }
            let lane = first.1.clone();
            call.push(first);
            if let Some(lane) = lane {
                call.extend(self.lanes.join(&lane, max - call.len()));
            }
        }
        if !call.is_empty() {
            self.call(call);
        }
    }

    fn call(&mut self, call: Vec<Admitted>) {
        let calls = Arc::clone(&self.calls);
        let is_few = call.len() <= FEW;
        let call = async move { calls.call(call).await };
        if is_few {
            self.few.push(call.boxed());
        } else {
            self.tasks.spawn(call);
        }
    }

    /// The tickets of the next records that met their fates; `None` when none is in flight.
    async fn landed(&mut self) -> Option<Vec<Ticket>> {
        let Landed { done, freed, failed } = tokio::select! {
            Some(landed) = self.few.next() => landed,
            Some(landed) = self.tasks.join_next() => landed.expect("a call does not panic"),
            else => return None,
        };
        self.lanes.finished(done.len());
        let starting = freed.iter().filter_map(|lane| self.lanes.freed(lane)).collect();
        self.start(starting);
        for records in failed {
            let calls = Arc::clone(&self.calls);
            self.tasks.spawn(async move { calls.carry_all(records).await });
        }
        Some(done)
    }
}

impl Calls {
    /// Calls the function once.
    async fn call(&self, call: Vec<Admitted>) -> Landed {
        let (deliveries, lanes): (Vec<_>, Vec<_>) = call.into_iter().unzip();
        let called = self.target.call_many(&deliveries, &lanes).await;
        let now_us = now_us();
        let mut done = Vec::with_capacity(deliveries.len());
        let mut failed: HashMap<Option<Lane>, Vec<(Admitted, Failure)>> = HashMap::new();
        let mut alone = Vec::new();
        for ((delivery, lane), called) in deliveries.into_iter().zip(lanes).zip(called) {
            match called {
                Ok(fate) => {
                    self.counters.met(fate, now_us.saturating_sub(delivery.received_us));
                    done.push((delivery.ticket, lane));
                }
                Err(failure) if lane.is_none() => alone.push(vec![((delivery, None), failure)]),
                Err(failure) => {
                    let failed = failed.entry(lane.clone()).or_default();
                    failed.push(((delivery, lane), failure));
                }
            }
        }
        let (done, lanes): (Vec<_>, Vec<_>) = done.into_iter().unzip();
        let freed = lanes.into_iter().filter(|lane| !failed.contains_key(lane)).flatten();
        let freed = freed.collect();
        Landed { done, freed, failed: failed.into_values().chain(alone).collect() }
    }

    /// Carries records of one lane on, one after the other, each until it has met its fate.
    async fn carry_all(&self, records: Vec<(Admitted, Failure)>) -> Landed {
        let mut landed = Landed { done: Vec::new(), freed: HashSet::new(), failed: Vec::new() };
        for ((delivery, lane), failure) in records {
            let Delivery { record, source, ticket, received_us } = delivery;
            let fate = self.carry(&record, &source, failure).await;
            self.counters.met(fate, now_us().saturating_sub(received_us));
            landed.done.push(ticket);
            landed.freed.extend(lane);
        }
        landed
    }

    /// Calls the function, after it has failed once, until the record has met its fate.
    async fn carry(&self, record: &Record, source: &Source, failure: Failure) -> Fate {
        let mut failed = Some(failure);
        let (mut attempts, mut waits) = (0, 0);
        let reject = loop {
            let called = match failed.take() {
                Some(failure) => Err(failure),
                None => self.target.call(record, source).await,
            };
            let failure = match called {
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
                // The one in front was waited for.
                Failure::Behind => Duration::ZERO,
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
