//! The inference function: sub-model → exit or forward, decided per sample.

use std::collections::HashSet;
use std::fmt::Write as _;

use bytes::Bytes;
use kafka::Delivery;
use model::{Decision, Exit, Rows, SubModel, confidence, decide};
use pipeline::Scale;
use wire::{Encoding, Header, Record, Reject, RejectCode, Source, header};

use crate::connector::{Called, Lane};
use crate::failure::{Failure, Fate};
use crate::funnel::{Funnel, Sending};
use crate::http::client::HttpFunction;
use crate::pool::Pool;

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
}

/// Where a result goes.
#[derive(Debug, Clone)]
pub enum Destination {
    /// Into a topic, by the funnel of this process.
    Funnel(Funnel),
    /// To a funnel over HTTP.
    Url(HttpFunction),
}

impl Destination {
    async fn send(&self, record: &Record) -> Result<(), Failure> {
        match self {
            Self::Funnel(funnel) => funnel.send(record).await,
            Self::Url(function) => function.call(record, None).await.map(drop),
        }
    }
}

/// What a record became: a record with the answered samples, one with the forwarded ones, or both.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// The samples that left at the exit: rows of softmax, `[[…], …]`.
    pub answer: Option<Record>,
    /// The samples for the next tier: rows of features, `[[…], …]`.
    pub forward: Option<Record>,
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
        self.deliver(&outcome).await?;
        Ok(outcome.fate())
    }

    /// Delivers what has a destination.
    pub async fn deliver(&self, outcome: &Outcome) -> Result<(), Failure> {
        let send = async |destination: &Option<Destination>, record: &Option<Record>| match (
            destination,
            record,
        ) {
            (Some(destination), Some(record)) => destination.send(record).await,
            _ => Ok(()),
        };
        send(&self.exit, &outcome.answer).await?;
        send(&self.forward, &outcome.forward).await
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
        let (samples, count) = self.samples(record)?;
        let output = self.pool.run(samples, count).await?;
        Ok(self.split(record, source, &output.rows(0, count))?)
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
                Ok(outcome) => self.send(&outcome).await.map(|sent| (outcome.fate(), sent)),
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
                Ok((fate, sent)) => confirmed(sent).await.map(|()| fate),
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
            .map(|(Delivery { record, source, .. }, count)| {
                let count = count?;
                let output = output.as_ref().map_err(Clone::clone)?;
                let output = output.as_ref().expect("there are samples").rows(first, count);
                first += count;
                Ok(self.split(record, Some(source), &output)?)
            })
            .collect()
    }

    /// Starts to deliver what has a destination.
    async fn send(&self, outcome: &Outcome) -> Result<Vec<Sending>, Failure> {
        let parts = [(&self.exit, &outcome.answer), (&self.forward, &outcome.forward)];
        let mut sending = Vec::new();
        for part in parts {
            match part {
                (Some(Destination::Funnel(funnel)), Some(record)) => {
                    sending.push(funnel.enqueue(record).await?);
                }
                (Some(destination), Some(record)) => destination.send(record).await?,
                _ => {}
            }
        }
        Ok(sending)
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
    fn split(
        &self,
        record: &Record,
        source: Option<&Source>,
        output: &Rows<'_>,
    ) -> Result<Outcome, Reject> {
        let (mut answered, mut forwarded) = (Vec::new(), Vec::new());
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
                (Decision::Forward, Some(features)) => forwarded.push((row, features)),
                _ => answered.push((row, exit)),
            }
        }
        let split = !answered.is_empty() && !forwarded.is_empty();
        let outgoing = |rows: &[(usize, &[f32])], encoding| {
            let outgoing = || self.outgoing(record, source, rows, encoding, &confidences, split);
            (!rows.is_empty()).then(outgoing)
        };
        Ok(Outcome {
            answer: outgoing(&answered, Encoding::Json),
            forward: outgoing(&forwarded, self.settings.features),
        })
    }

    /// A record that keeps what the incoming one had and adds this hop's headers.
    fn outgoing(
        &self,
        record: &Record,
        source: Option<&Source>,
        rows: &[(usize, &[f32])],
        encoding: Encoding,
        confidences: &[f32],
        split: bool,
    ) -> Record {
        let mut headers = Vec::with_capacity(record.headers.len() + 6);
        // How the value was written that this hop has read; what it writes may be written otherwise.
        headers.extend(record.headers.iter().filter(|h| h.name != header::ENCODING).cloned());
        // The same log position gives the same id, also when the record is inferred twice.
        if let (None, Some(source)) = (record.header(header::ID), source) {
            headers.push(Header::new(header::ID, source.to_string()));
        }
        headers.push(Header::new(header::TIER, self.settings.tier.clone()));
        let own = rows.iter().map(|&(row, _)| confidences[row]);
        headers.push(Header::new(header::EXIT_CONFIDENCE, list(own, confidences.len() == 1)));
        headers.push(Header::new(header::MODEL, self.sub_model.version().to_owned()));
        if split {
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

async fn confirmed(sending: Vec<Sending>) -> Result<(), Failure> {
    for sending in sending {
        sending.confirmed().await?;
    }
    Ok(())
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
