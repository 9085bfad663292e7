//! Where an outcome goes.

use std::collections::HashSet;

use wire::{Record, Source};

use super::{Inference, Outcome};
use crate::connector::{Called, Lane};
use crate::dead_letter::letter;
use crate::failure::{Failure, Fate};
use crate::funnel::{Funnel, Sending};
use crate::http::client::HttpFunction;
use crate::uplink::{Rising, Uplink};

/// Where a result goes.
#[derive(Debug, Clone)]
pub enum Destination {
    /// Into a topic, by the funnel of this process.
    Funnel(Funnel),
    /// To a funnel over HTTP.
    Url(HttpFunction),
    /// Up to a next tier whose broker may be away.
    Uplink(Uplink),
}

/// A record that a destination has taken.
#[derive(Debug)]
enum OnItsWay {
    There,
    Sending(Sending),
    Rising(Box<Rising>),
}

/// A record to be delivered, and what it has to share with others for their order to be kept.
struct Parcel<'a> {
    /// Which outcome it is of.
    at: usize,
    record: Record,
    lane: Option<&'a Lane>,
}

/// An outcome, and those of its parts that are on their way.
#[derive(Debug)]
struct Delivering {
    fate: Fate,
    answer: Option<Record>,
    forward: Option<Record>,
    instead: Option<Record>,
    is_answered_instead: bool,
    answering: Vec<OnItsWay>,
    forwarding: Option<OnItsWay>,
}

impl Destination {
    /// Starts to deliver records, in their order. Of one lane, none goes after one that failed and may succeed
    /// later.
    async fn start(&self, parcels: &[Parcel<'_>]) -> Vec<Result<OnItsWay, Failure>> {
        if let Self::Url(function) = self {
            let records: Vec<_> = parcels.iter().map(|parcel| (&parcel.record, None)).collect();
            let called = function.call_many(&records).await;
            return called.into_iter().map(|called| called.map(|_| OnItsWay::There)).collect();
        }
        let mut stuck = Stuck::default();
        let mut started = Vec::with_capacity(parcels.len());
        for Parcel { record, lane, .. } in parcels {
            let outcome = match self {
                _ if stuck.holds(*lane) => Err(Failure::Behind),
                Self::Funnel(funnel) => funnel.enqueue(record).await.map(OnItsWay::Sending),
                Self::Uplink(uplink) => {
                    uplink.enqueue(record).await.map(|rising| OnItsWay::Rising(Box::new(rising)))
                }
                Self::Url(_) => unreachable!("called above"),
            };
            stuck.note(*lane, outcome.as_ref().err());
            started.push(outcome);
        }
        started
    }
}

impl OnItsWay {
    /// Returns when the record is durable.
    async fn confirmed(self) -> Result<(), Failure> {
        match self {
            Self::There => Ok(()),
            Self::Sending(sending) => sending.confirmed().await,
            Self::Rising(rising) => rising.confirmed().await,
        }
    }
}

/// The lanes of which a record failed that may succeed later.
#[derive(Debug, Default)]
struct Stuck<'a>(HashSet<&'a Lane>);

impl<'a> Stuck<'a> {
    fn note(&mut self, lane: Option<&'a Lane>, failure: Option<&Failure>) {
        if failure.is_some_and(Failure::may_succeed_later) {
            self.0.extend(lane);
        }
    }

    fn holds(&self, lane: Option<&Lane>) -> bool {
        lane.is_some_and(|lane| self.0.contains(lane))
    }
}

impl Delivering {
    fn new(outcome: Outcome) -> Self {
        let fate = outcome.fate();
        let Outcome { answer, forward, instead } = outcome;
        Self {
            fate,
            answer,
            forward,
            instead,
            is_answered_instead: false,
            answering: Vec::new(),
            forwarding: None,
        }
    }

    /// Has the answer go that is there for when the next tier is away, if this is why the other part failed.
    fn answer_instead(&mut self, failure: &Failure) -> bool {
        let is_away = matches!(failure, Failure::Unavailable(_));
        self.is_answered_instead = is_away && self.instead.is_some();
        if self.is_answered_instead {
            self.fate = Fate::Answered;
        }
        self.is_answered_instead
    }
}

impl Inference {
    /// Delivers what has a destination. Returns the fate that the record has met by that.
    pub async fn deliver(&self, outcome: Outcome) -> Result<Fate, Failure> {
        let called = self.deliver_many(vec![Ok(outcome)], &[None]).await;
        called.into_iter().next().expect("one for one")
    }

    /// Delivers the parts of outcomes that have destinations, in their order. Returns once all are durable, or
    /// have failed. Of one lane, none is delivered after one that failed and may succeed later.
    pub(crate) async fn deliver_many(
        &self,
        outcomes: Vec<Result<Outcome, Failure>>,
        lanes: &[Option<Lane>],
    ) -> Vec<Called> {
        let delivering = outcomes.into_iter().map(|outcome| outcome.map(Delivering::new));
        let mut delivering: Vec<Result<Delivering, Failure>> = delivering.collect();
        hold_back(&mut delivering, lanes);
        self.start_forwards(&mut delivering, lanes).await;
        hold_back(&mut delivering, lanes);
        self.start_answers(&mut delivering, lanes).await;
        let mut called = Vec::with_capacity(delivering.len());
        for delivering in delivering {
            called.push(match delivering {
                Ok(delivering) => self.finish(delivering).await,
                Err(failure) => Err(failure),
            });
        }
        called
    }

    /// Makes dead letters of records that can never succeed, where there is a place for them.
    pub(crate) async fn bury_refused(
        &self,
        records: &[(Record, Option<Source>)],
        called: &mut [Called],
    ) {
        let Some(refused) = &self.refused else { return };
        for ((record, source), called) in records.iter().zip(called) {
            let Err(Failure::Reject(reject)) = called else { continue };
            tracing::warn!(code = %reject.code, "record goes to the dead letters: {reject}");
            let record = letter(record, source.as_ref(), reject, 1);
            let mut started = refused.start(&[Parcel { at: 0, record, lane: None }]).await;
            *called = match started.pop().expect("one for one") {
                Ok(on_its_way) => on_its_way.confirmed().await.map(|()| Fate::DeadLettered),
                Err(failure) => Err(failure),
            };
        }
    }

    async fn start_forwards(
        &self,
        delivering: &mut [Result<Delivering, Failure>],
        lanes: &[Option<Lane>],
    ) {
        let Some(up) = &self.forward else { return };
        let mut parcels = Vec::new();
        for (at, (delivering, lane)) in delivering.iter_mut().zip(lanes).enumerate() {
            if let Ok(delivering) = delivering
                && let Some(record) = delivering.forward.take()
            {
                parcels.push(Parcel { at, record, lane: lane.as_ref() });
            }
        }
        if parcels.is_empty() {
            return;
        }
        let started = up.start(&parcels).await;
        for (parcel, started) in parcels.iter().zip(started) {
            let slot = &mut delivering[parcel.at];
            match (started, &mut *slot) {
                (Ok(forwarding), Ok(delivering)) => delivering.forwarding = Some(forwarding),
                (Err(failure), Ok(delivering)) => {
                    if !delivering.answer_instead(&failure) {
                        *slot = Err(failure);
                    }
                }
                (_, Err(_)) => unreachable!("only what has not failed is started"),
            }
        }
    }

    async fn start_answers(
        &self,
        delivering: &mut [Result<Delivering, Failure>],
        lanes: &[Option<Lane>],
    ) {
        let Some(exit) = &self.exit else { return };
        let mut parcels = Vec::new();
        for (at, (delivering, lane)) in delivering.iter_mut().zip(lanes).enumerate() {
            let Ok(delivering) = delivering else { continue };
            let instead = delivering.is_answered_instead.then(|| delivering.instead.take());
            let records = [delivering.answer.take(), instead.flatten()];
            let lane = lane.as_ref();
            parcels.extend(records.into_iter().flatten().map(|record| Parcel { at, record, lane }));
        }
        if parcels.is_empty() {
            return;
        }
        let started = exit.start(&parcels).await;
        for (parcel, started) in parcels.iter().zip(started) {
            let slot = &mut delivering[parcel.at];
            match (started, &mut *slot) {
                (Ok(answering), Ok(delivering)) => delivering.answering.push(answering),
                (Err(failure), _) => *slot = Err(failure),
                (Ok(_), Err(_)) => {}
            }
        }
    }

    /// Returns when what has been started is durable.
    async fn finish(&self, mut delivering: Delivering) -> Called {
        if let Some(forwarding) = delivering.forwarding.take()
            && let Err(failure) = forwarding.confirmed().await
        {
            if !delivering.answer_instead(&failure) {
                return Err(failure);
            }
            let mut one = [Ok(delivering)];
            self.start_answers(&mut one, &[None]).await;
            let [one] = one;
            delivering = one?;
        }
        for answering in delivering.answering {
            answering.confirmed().await?;
        }
        if delivering.is_answered_instead
            && let Some(Destination::Uplink(uplink)) = &self.forward
        {
            uplink.answered_here();
        }
        Ok(delivering.fate)
    }
}

/// Holds back what has to wait for one of its lane that failed.
fn hold_back(delivering: &mut [Result<Delivering, Failure>], lanes: &[Option<Lane>]) {
    let mut stuck = Stuck::default();
    for (delivering, lane) in delivering.iter_mut().zip(lanes) {
        let lane = lane.as_ref();
        if stuck.holds(lane) && matches!(delivering, Ok(waiting) if waiting.forwarding.is_none()) {
            *delivering = Err(Failure::Behind);
        }
        stuck.note(lane, delivering.as_ref().err());
    }
}
