//! The inference function: sub-model → exit or forward, decided per sample.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::time::UNIX_EPOCH;

use bytes::Bytes;
use kafka::Delivery;
use model::{Decision, Exit, Rows, SubModel, confidence, decide};
use pipeline::Scale;
use wire::{Encoding, Header, Record, Reject, RejectCode, Source, header, trace};

use crate::connector::{Called, Lane};
use crate::failure::{Failure, Fate};
use crate::funnel::{Funnel, Sending};
use crate::http::client::HttpFunction;
use crate::pool::Pool;
use crate::uplink::{Rising, Uplink};

/// A sub-model, its instances, and where its results go.
#[derive(Debug)]
pub struct Inference {
    settings: Settings,
    sub_model: SubModel,
    pool: Pool,
    /// Where answers go; `None` gives them to the caller.
    exit: Option<Destination>,
    /// Where features go; `None` gives them to the caller. Unused by the last tier, which always answers.
    forward: Option<Destination>,
}

/// What an inference function needs to know beside its sub-model.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Name of the tier, written into a header of every record.
    pub tier: String,
    /// When a sample answers here; `None` answers every sample, as the last tier does.
    pub exit: Option<Exit>,
    /// Bounds on the instances.
    pub scale: Scale,
    /// Samples that one run takes, at most.
    pub max_batch: usize,
    /// How samples of records that do not say so are written.
    pub encoding: Encoding,
    /// How features are written.
    pub features: Encoding,
    /// Whether a sample is answered here when it can't be forwarded because the next tier is away. Takes
    /// effect where answers have a destination.
    pub answer_here: bool,
}

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

impl Destination {
    /// Starts to deliver a record, in the order of these calls.
    async fn enqueue(&self, record: &Record) -> Result<OnItsWay, Failure> {
        Ok(match self {
            Self::Funnel(funnel) => OnItsWay::Sending(funnel.enqueue(record).await?),
            Self::Url(function) => {
                function.call(record, None).await?;
                OnItsWay::There
            }
            Self::Uplink(uplink) => OnItsWay::Rising(Box::new(uplink.enqueue(record).await?)),
        })
    }
}

/// A record that a destination has taken.
#[derive(Debug)]
enum OnItsWay {
    There,
    Sending(Sending),
    Rising(Box<Rising>),
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

/// An outcome of which each part is on its way.
#[derive(Debug)]
struct Delivering {
    fate: Fate,
    answers: Vec<OnItsWay>,
    forward: Option<OnItsWay>,
    instead: Option<Record>,
}

/// What a record became: a record with the answered samples, one with the forwarded ones, or both.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// The samples that left at the exit: rows of softmax, `[[…], …]`.
    pub answer: Option<Record>,
    /// The samples for the next tier: rows of features, `[[…], …]`.
    pub forward: Option<Record>,
    /// The same samples answered here, for when the next tier is away.
    pub instead: Option<Record>,
}

impl Outcome {
    /// The fate that the record meets once its outcome is delivered.
    pub fn fate(&self) -> Fate {
        match (&self.answer, &self.forward) {
            (Some(_), Some(_)) => Fate::Split,
            (None, Some(_)) => Fate::Forwarded,
            (_, None) => Fate::Answered,
        }
    }
}

impl Inference {
    /// An inference function; its instances start to load.
    pub fn new(
        sub_model: SubModel,
        settings: Settings,
        exit: Option<Destination>,
        forward: Option<Destination>,
    ) -> Self {
        let pool = Pool::new(sub_model.clone(), settings.scale, settings.max_batch);
        Self { settings, sub_model, pool, exit, forward }
    }

    /// Infers a record and delivers the outcome to its destinations. Returns once it is durable there.
    pub async fn call(&self, record: &Record, source: Option<&Source>) -> Result<Fate, Failure> {
        let outcome = self.infer(record, source).await?;
        self.deliver(&outcome).await
    }

    /// Delivers what has a destination. Returns the fate that the record has met by that.
    pub async fn deliver(&self, outcome: &Outcome) -> Result<Fate, Failure> {
        let delivering = self.begin(outcome).await?;
        self.finish(delivering).await
    }

    /// What the caller gets back: the parts of the outcome that have no destination.
    pub fn returned<'o>(&self, outcome: &'o Outcome) -> (Option<&'o Record>, Option<&'o Record>) {
        (
            outcome.answer.as_ref().filter(|_| self.exit.is_none()),
            outcome.forward.as_ref().filter(|_| self.forward.is_none()),
        )
    }

    /// Infers a record.
    pub async fn infer(
        &self,
        record: &Record,
        source: Option<&Source>,
    ) -> Result<Outcome, Failure> {
        let received_us = now_us();
        let (samples, count) = self.samples(record)?;
        let output = self.pool.run(samples, count).await?;
        let output = output.rows(0, count);
        Ok(self.split(Incoming { record, source, received_us }, &output)?)
    }

    /// Infers several records in one run and delivers their outcomes, in their order. Returns once all are
    /// durable, or have failed. Of one lane, none is delivered after one that failed and may succeed later.
    pub(crate) async fn call_many(
        &self,
        deliveries: &[Delivery],
        lanes: &[Option<Lane>],
    ) -> Vec<Called> {
        let outcomes = self.infer_many(deliveries).await;
        let mut stuck = HashSet::new();
        let mut sending = Vec::with_capacity(outcomes.len());
        for (outcome, lane) in outcomes.into_iter().zip(lanes) {
            let sent = match outcome {
                _ if lane.as_ref().is_some_and(|lane| stuck.contains(lane)) => Err(Failure::Behind),
                Ok(outcome) => self.begin(&outcome).await,
                Err(failure) => Err(failure),
            };
            if let Err(failure) = &sent
                && !matches!(failure, Failure::Reject(_))
            {
                stuck.extend(lane.as_ref());
            }
            sending.push(sent);
        }
        let mut called = Vec::with_capacity(sending.len());
        for sent in sending {
            called.push(match sent {
                Ok(delivering) => self.finish(delivering).await,
                Err(failure) => Err(failure),
            });
        }
        called
    }

    async fn infer_many(&self, deliveries: &[Delivery]) -> Vec<Result<Outcome, Failure>> {
        let mut samples = Vec::new();
        let counts: Vec<Result<usize, Reject>> = deliveries
            .iter()
            .map(|delivery| {
                let (of_record, count) = self.samples(&delivery.record)?;
                samples.extend_from_slice(&of_record);
                Ok(count)
            })
            .collect();
        let all = counts.iter().flatten().sum();
        let output = if all == 0 { Ok(None) } else { self.pool.run(samples, all).await.map(Some) };
        let mut first = 0;
        let records = deliveries.iter().zip(counts);
        records
            .map(|(Delivery { record, source, received_us, .. }, count)| {
                let count = count?;
                let output = output.as_ref().map_err(Clone::clone)?;
                let output = output.as_ref().expect("there are samples").rows(first, count);
                first += count;
                let incoming = Incoming { record, source: Some(source), received_us: *received_us };
                Ok(self.split(incoming, &output)?)
            })
            .collect()
    }

    /// Starts to deliver what has a destination.
    async fn begin(&self, outcome: &Outcome) -> Result<Delivering, Failure> {
        let mut delivering = Delivering {
            fate: outcome.fate(),
            answers: Vec::new(),
            forward: None,
            instead: outcome.instead.clone(),
        };
        if let (Some(exit), Some(answer)) = (&self.exit, &outcome.answer) {
            delivering.answers.push(exit.enqueue(answer).await?);
        }
        if let (Some(up), Some(forward)) = (&self.forward, &outcome.forward) {
            match up.enqueue(forward).await {
                Ok(forward) => delivering.forward = Some(forward),
                Err(failure) => self.answer_instead(&mut delivering, failure).await?,
            }
        }
        Ok(delivering)
    }

    /// Returns when what has been started is durable.
    async fn finish(&self, mut delivering: Delivering) -> Result<Fate, Failure> {
        if let Some(forward) = delivering.forward.take()
            && let Err(failure) = forward.confirmed().await
        {
            self.answer_instead(&mut delivering, failure).await?;
        }
        for answer in delivering.answers {
            answer.confirmed().await?;
        }
        Ok(delivering.fate)
    }

    /// Answers here what could not be forwarded, if that is because the next tier is away, and asked for.
    async fn answer_instead(
        &self,
        delivering: &mut Delivering,
        failure: Failure,
    ) -> Result<(), Failure> {
        let (Failure::Unavailable(_), Some(exit), Some(instead)) =
            (&failure, &self.exit, delivering.instead.take())
        else {
            return Err(failure);
        };
        delivering.answers.push(exit.enqueue(&instead).await?);
        delivering.fate = Fate::Answered;
        if let Some(Destination::Uplink(uplink)) = &self.forward {
            uplink.answered_here();
        }
        Ok(())
    }

    /// Samples that one run takes, at most.
    pub(crate) fn max_batch(&self) -> usize {
        self.settings.max_batch
    }

    /// The samples of a record, concatenated, and how many they are.
    fn samples(&self, record: &Record) -> Result<(Vec<f32>, usize), Reject> {
        let value = record.value.as_deref().ok_or_else(|| {
            let reason = "the record has no value, expected samples";
            Reject::new(RejectCode::NotJson, reason)
        })?;
        let encoding = match record.header(header::ENCODING) {
            None => self.settings.encoding,
            Some(name) => {
                let name = String::from_utf8_lossy(name);
                name.parse().map_err(|error| {
                    Reject::new(RejectCode::WrongShape, format!("{}: {error}", header::ENCODING))
                })?
            }
        };
        encoding.decode(value, self.sub_model.input_shape())
    }

    /// Decides each sample and gathers the two outgoing records.
    fn split(&self, incoming: Incoming<'_>, output: &Rows<'_>) -> Result<Outcome, Reject> {
        let (mut answered, mut forwarded, mut instead) = (Vec::new(), Vec::new(), Vec::new());
        let answers_here = self.settings.answer_here && self.exit.is_some();
        let criterion = self.settings.exit.map(|exit| exit.criterion).unwrap_or_default();
        let mut confidences = Vec::with_capacity(output.samples);
        for row in 0..output.samples {
            let exit = output.exit_row(row);
            let features = output.features_row(row);
            if exit.iter().chain(features.unwrap_or_default()).any(|value| !value.is_finite()) {
                let reason = format!("the sub-model's output for sample {row} is not finite");
                return Err(Reject::new(RejectCode::NotFinite, reason));
            }
            confidences.push(confidence(exit, criterion));
            match (decide(exit, self.settings.exit.as_ref()), features) {
                (Decision::Forward, Some(features)) => {
                    forwarded.push((row, features));
                    instead.extend(answers_here.then_some((row, exit)));
                }
                _ => answered.push((row, exit)),
            }
        }
        let hop = Hop {
            incoming,
            took_us: now_us().saturating_sub(incoming.received_us),
            confidences: &confidences,
            is_split: !answered.is_empty() && !forwarded.is_empty(),
        };
        let outgoing = |rows: &[(usize, &[f32])], encoding| {
            (!rows.is_empty()).then(|| self.outgoing(&hop, rows, encoding))
        };
        let mut instead = outgoing(&instead, Encoding::Json);
        if let Some(instead) = &mut instead {
            let why = Header::new(header::DEGRADED, header::DEGRADED_BY_UPLINK_LOSS);
            instead.headers.push(why);
        }
        Ok(Outcome {
            answer: outgoing(&answered, Encoding::Json),
            forward: outgoing(&forwarded, self.settings.features),
            instead,
        })
    }

    /// A record that keeps what the incoming one had and adds this hop's headers.
    fn outgoing(&self, hop: &Hop<'_>, rows: &[(usize, &[f32])], encoding: Encoding) -> Record {
        let Incoming { record, source, received_us } = hop.incoming;
        let mut headers = Vec::with_capacity(record.headers.len() + 8);
        // How the value was written that this hop has read; what it writes may be written otherwise.
        headers.extend(record.headers.iter().filter(|h| h.name != header::ENCODING).cloned());
        // The same log position gives the same id, also when the record is inferred twice.
        if let (None, Some(source)) = (record.header(header::ID), source) {
            headers.push(Header::new(header::ID, source.to_string()));
        }
        if record.header(header::TRACEPARENT).is_none()
            && let Some(id) = headers.iter().find(|header| header.name == header::ID)
            && let Some(id) = &id.value
        {
            let trace = trace::start(&String::from_utf8_lossy(id));
            headers.push(Header::new(header::TRACEPARENT, trace));
        }
        headers.push(Header::new(header::TIER, self.settings.tier.clone()));
        let own = rows.iter().map(|&(row, _)| hop.confidences[row]);
        headers.push(Header::new(header::EXIT_CONFIDENCE, list(own, hop.confidences.len() == 1)));
        headers.push(Header::new(header::MODEL, self.sub_model.version().to_owned()));
        headers.push(Header::new(header::TIMES, format!("{received_us}+{}", hop.took_us)));
        if hop.is_split {
            headers.push(Header::new(header::ROWS, list(rows.iter().map(|&(row, _)| row), false)));
        }
        if encoding != Encoding::Json {
            headers.push(Header::new(header::ENCODING, encoding.name()));
        }
        let value = encoding.encode(rows.iter().map(|&(_, values)| values));
        Record {
            key: record.key.clone(),
            headers,
            timestamp_ms: record.timestamp_ms,
            value: Some(Bytes::from(value)),
        }
    }
}

/// A record that has arrived.
#[derive(Debug, Clone, Copy)]
struct Incoming<'a> {
    record: &'a Record,
    source: Option<&'a Source>,
    /// When, in microseconds since the epoch.
    received_us: u64,
}

/// What a hop adds to every part of a record.
struct Hop<'a> {
    incoming: Incoming<'a>,
    took_us: u64,
    /// Of every sample of the record.
    confidences: &'a [f32],
    is_split: bool,
}

/// Microseconds since the epoch.
fn now_us() -> u64 {
    UNIX_EPOCH.elapsed().map_or(0, |passed| passed.as_micros() as u64)
}

/// A JSON list, or its only element bare.
fn list(elements: impl Iterator<Item = impl std::fmt::Display>, bare: bool) -> String {
    let mut text = String::new();
    for element in elements {
        let comma = if text.is_empty() { "" } else { ", " };
        write!(text, "{comma}{element}").expect("writing to memory does not fail");
    }
    if bare { text } else { format!("[{text}]") }
}
