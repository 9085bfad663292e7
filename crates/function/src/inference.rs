//! The inference function: sub-model → exit or forward, decided per sample.

use std::fmt::Write as _;

use bytes::Bytes;
use model::{Decision, Exit, Output, SubModel, confidence, decide};
use pipeline::Scale;
use wire::{Header, Record, Reject, RejectCode, Source, Tensor, header};

use crate::failure::{Failure, Fate};
use crate::funnel::Funnel;
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
        let value = record.value.as_deref().ok_or_else(|| {
            Reject::new(
                RejectCode::NotJson,
                "the record has no value, expected JSON lists of numbers",
            )
        })?;
        let tensor = Tensor::from_json(value)?;
        let count = tensor.samples_of(self.sub_model.input_shape())?;
        let output = self.pool.run(tensor.data, count).await?;
        Ok(self.split(record, source, &output)?)
    }

    /// Decides each sample and gathers the two outgoing records.
    fn split(
        &self,
        record: &Record,
        source: Option<&Source>,
        output: &Output,
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
        let outgoing = |rows: &[(usize, &[f32])]| {
            (!rows.is_empty()).then(|| self.outgoing(record, source, rows, &confidences, split))
        };
        Ok(Outcome { answer: outgoing(&answered), forward: outgoing(&forwarded) })
    }

    /// A record that keeps what the incoming one had and adds this hop's headers.
    fn outgoing(
        &self,
        record: &Record,
        source: Option<&Source>,
        rows: &[(usize, &[f32])],
        confidences: &[f32],
        split: bool,
    ) -> Record {
        let mut headers = record.headers.clone();
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
        let value = Tensor::rows_to_json(rows.iter().map(|&(_, values)| values));
        Record {
            key: record.key.clone(),
            headers,
            timestamp_ms: record.timestamp_ms,
            value: Some(Bytes::from(value)),
        }
    }
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
