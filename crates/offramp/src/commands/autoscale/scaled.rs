//! One target at work: what is seen of it, and what is done to it.
//!
//! Nothing is decided from what isn't known. A broker or a platform that does not answer leaves the instances as they
//! are, is said once, and is asked again with growing pauses.

use std::time::Duration;

use autoscale::{Decision, Load};
use kafka::admin::Observer;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use ureq::http::StatusCode;

use super::backlog::{Backlog, Counts};
use super::bounds::Bounds;
use super::http::HttpError;
use super::link::Link;
use super::platform::{Platform, Scale};
use super::record::{Outcome, Record};
use super::service::Service;
use super::target::Target;
use crate::clock;

/// A broker that takes longer to say where records stand is not waited for: other targets are looked at as well.
const LOOK_TIMEOUT: Duration = Duration::from_secs(3);

/// What is done about a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// It is carried out.
    Act,
    /// It is only said.
    DryRun,
}

/// A target, and all that is known of it.
#[derive(Debug)]
pub(super) struct Scaled {
    pub(super) target: Target,
    platform: Platform,
    broker: Broker,
    broker_link: Link,
    reads: Link,
    sets: Link,
    backlog: Backlog,
    service: Service,
    bounds: Bounds,
    forwarded: Forwarded,
    /// What a dry run has said last.
    said: Option<(u32, u32)>,
}

/// The way to the offsets.
#[derive(Debug, Default)]
enum Broker {
    #[default]
    Away,
    Connecting(JoinHandle<Result<Observer, kafka::KafkaError>>),
    Open(Box<Observer>),
}

/// Records that have come to the next target, as far as they are counted beside those completed here.
#[derive(Debug, Default)]
struct Forwarded {
    first: Option<u64>,
    counted: u64,
}

/// What there was to see at a look.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look {
    /// Unless the broker was away.
    pub(super) counts: Option<Counts>,
    /// Unless the platform was.
    pub(super) scale: Option<Scale>,
}

impl Scaled {
    /// Nothing has been seen of it.
    pub(super) fn new(target: Target) -> Result<Self, HttpError> {
        Ok(Self {
            platform: Platform::new(&target.place)?,
            broker: Broker::Away,
            broker_link: Link::default(),
            reads: Link::default(),
            sets: Link::default(),
            backlog: Backlog::new(target.commit),
            service: Service::new(target.commit),
            bounds: Bounds::default(),
            forwarded: Forwarded::default(),
            said: None,
            target,
        })
    }

    /// Looks at the topic and at the instances.
    pub(super) async fn look(&mut self, now: Duration) -> Look {
        let counts = self.counts(now).await;
        let scale = self.scale(now).await;
        Look { counts, scale }
    }

    async fn counts(&mut self, now: Duration) -> Option<Counts> {
        let name = &self.target.name;
        let looked = match std::mem::take(&mut self.broker) {
            Broker::Open(mut observer) => match timeout(LOOK_TIMEOUT, observer.look()).await {
                Ok(Ok(standings)) => {
                    self.broker = Broker::Open(observer);
                    Ok(Some(standings))
                }
                Ok(Err(error)) => Err(error.to_string()),
                Err(_) => Err(format!(
                    "broker `{}` does not say within {} s where records stand",
                    self.target.servers,
                    LOOK_TIMEOUT.as_secs()
                )),
            },
            Broker::Connecting(connecting) if connecting.is_finished() => match connecting.await {
                Ok(Ok(observer)) => {
                    self.broker = Broker::Open(Box::new(observer));
                    Ok(None)
                }
                Ok(Err(error)) => Err(error.to_string()),
                Err(error) => Err(error.to_string()),
            },
            Broker::Away if self.broker_link.is_due(now) => {
                let Target { servers, group, topic, .. } = self.target.clone();
                let connect = async move { Observer::connect(&servers, &group, &topic).await };
                // Ends by itself soon: connecting has a bound.
                self.broker = Broker::Connecting(tokio::spawn(connect));
                Ok(None)
            }
            waiting => {
                self.broker = waiting;
                Ok(None)
            }
        };
        match looked {
            Ok(None) => None,
            Ok(Some(standings)) => {
                if let Some(away) = self.broker_link.worked(now) {
                    let away_s = away.as_secs();
                    tracing::info!(target = name, away_s, "the load is known again");
                }
                Some(self.backlog.see(&standings, now))
            }
            Err(error) => {
                if self.broker_link.failed(&error, now) {
                    tracing::warn!(
                        target = name,
                        "the load is not known, and the instances stay as they are: {error}"
                    );
                }
                None
            }
        }
    }

    async fn scale(&mut self, now: Duration) -> Option<Scale> {
        if !self.reads.is_due(now) {
            return None;
        }
        let name = &self.target.name;
        match self.platform.scale().await {
            Ok(scale) => {
                if let Some(away) = self.reads.worked(now) {
                    let away_s = away.as_secs();
                    tracing::info!(target = name, away_s, "the instances are known again");
                }
                if let Some(finding) = self.bounds.see(scale.instances, now) {
                    tracing::warn!(target = name, "{finding}");
                }
                Some(scale)
            }
            Err(error) => {
                if self.reads.failed(&error.to_string(), now) {
                    tracing::warn!(
                        target = name,
                        "how many instances there are is not known, and they stay as they are: {error}"
                    );
                }
                None
            }
        }
    }

    /// The load, if it is known; `next` is what has arrived at the target that this one feeds.
    pub(super) fn load(&mut self, look: Look, next: Option<Counts>, now: Duration) -> Option<Load> {
        let Look { counts: Some(counts), scale: Some(Scale { instances, ready }) } = look else {
            return None;
        };
        let Target { concurrency, cold_start, is_bounded_by_partitions, .. } = self.target;
        let useful = if is_bounded_by_partitions { ready.min(counts.partitions) } else { ready };
        let served = self.service.see(&counts, useful * concurrency, now);
        let forwarded = self.forwarded.see(next.map(|next| next.arrivals), served.is_new);
        // With no instance nobody can have done what is not committed; and while anything is not, nothing is idle.
        let lag = if ready == 0 { counts.lag } else { counts.waiting.max(counts.lag.min(1)) };
        Some(Load {
            arrivals: counts.arrivals,
            lag,
            served: served.times,
            forwarded,
            instances,
            ready,
            concurrency,
            cold_start,
        })
    }

    /// Carries a decision out. Returns what is to be recorded of it.
    pub(super) async fn act(
        &mut self,
        decision: &Decision,
        partitions: u32,
        mode: Mode,
        now: Duration,
    ) -> Option<Record> {
        let name = &self.target.name;
        let (from, mut to) = (decision.from, decision.to);
        if self.target.is_bounded_by_partitions && from < to {
            to = to.min(partitions).max(from);
        }
        to = self.bounds.within(to, now);
        if to == from || self.bounds.is_waiting() || !self.sets.is_due(now) {
            tracing::debug!(target = name, instances = from, "{decision}");
            return None;
        }
        let mut reason = decision.reason.to_string();
        if to != decision.to {
            reason = format!("{reason}; {} would be needed", decision.to);
        }
        let outcome = match mode {
            Mode::DryRun if self.said == Some((from, to)) => return None,
            Mode::DryRun => {
                self.said = Some((from, to));
                tracing::info!(target = name, from, to, "would scale: {reason}");
                Outcome::DryRun
            }
            Mode::Act => match self.platform.set(to).await {
                Ok(()) => {
                    self.bounds.asked(to);
                    if let Some(away) = self.sets.worked(now) {
                        let away_s = away.as_secs();
                        tracing::info!(target = name, away_s, "instances can be asked for again");
                    }
                    tracing::info!(target = name, from, to, "scaled: {reason}");
                    Outcome::Asked
                }
                Err(error) if to == 0 && error.status().is_some_and(is_refusal) => {
                    let finding = self.bounds.zero_was_refused(now);
                    tracing::warn!(target = name, "{finding}: {error}");
                    Outcome::Failed
                }
                Err(error) => {
                    if !self.sets.failed(&error.to_string(), now) {
                        return None;
                    }
                    tracing::warn!(target = name, from, to, "not scaled: {error}");
                    Outcome::Failed
                }
            },
        };
        let (at_ms, name) = (clock::now_ms(), name.clone());
        Some(Record { at_ms, name, from, to, reason, outcome })
    }
}

/// The number is refused, and not who asks or what is asked for.
fn is_refusal(status: StatusCode) -> bool {
    matches!(status, StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY)
}

impl Forwarded {
    /// Takes what has arrived at the next target. It is counted when something is counted as completed here: the share
    /// of records that are forwarded is of the two.
    fn see(&mut self, arrivals: Option<u64>, is_counted: bool) -> u64 {
        if let Some(arrivals) = arrivals {
            let first = *self.first.get_or_insert(arrivals);
            if is_counted {
                self.counted = arrivals.saturating_sub(first);
            }
        }
        self.counted
    }
}
