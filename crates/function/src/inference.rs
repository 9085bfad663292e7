//! The inference function: sub-model → exit or forward, decided per sample.

mod deliver;

use std::fmt::Write as _;
use std::sync::{Arc, RwLock};
use std::time::UNIX_EPOCH;

use bytes::Bytes;
use futures_util::future::join_all;
use model::{Exit, Rows, SubModel, predict};
use pipeline::Scale;
use wire::kafka_ml::{self, InputFormat};
use wire::{Encoding, Header, Record, Reject, RejectCode, Source, header, trace};

use crate::connector::{Called, Lane};
use crate::failure::{Failure, Fate};
use crate::pool::Pool;
use crate::steps::{Step, through};

pub use deliver::Destination;

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
    /// Where records go that it refuses; `None` tells the caller.
    refused: Option<Destination>,
    /// What a record goes through before it is inferred.
    before: Vec<Step>,
    /// What an answer goes through before it is delivered.
    after: Vec<Step>,
}

/// An inference function that another may take the place of while records go through it: those that are under way
/// stay with the one that they came to.
#[derive(Debug)]
pub struct Replaceable(RwLock<Arc<Inference>>);

impl Replaceable {
    /// One that starts with this function.
    pub fn new(inference: Inference) -> Self {
        Self(RwLock::new(Arc::new(inference)))
    }

    /// The function as it is at present.
    pub fn current(&self) -> Arc<Inference> {
        Arc::clone(&self.0.read().expect("no holder panics"))
    }

    /// Puts another in its place, once that runs.
    ///
    /// # Errors
    ///
    /// It does not: the one that is there stays.
    pub async fn replace(&self, inference: Inference) -> Result<(), Failure> {
        inference.warm().await?;
        *self.0.write().expect("no holder panics") = Arc::new(inference);
        Ok(())
    }
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
    /// How values are written.
    pub dialect: Dialect,
}

/// How values are written.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Dialect {
    /// Samples and features as their encodings say, answers as `[[…], …]`.
    #[default]
    Offramp,
    /// As Kafka-ML's inference container does: one sample a record, in this format, features as `f32`, answers as
    /// `{"values": […]}`.
    KafkaMl(Arc<InputFormat>),
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
        Self {
            settings,
            sub_model,
            pool,
            exit,
            forward,
            refused: None,
            before: Vec::new(),
            after: Vec::new(),
        }
    }

    /// The same with functions that a record goes through before it is inferred, and an answer before it is delivered.
    #[must_use]
    pub fn with_steps(self, before: Vec<Step>, after: Vec<Step>) -> Self {
        Self { before, after, ..self }
    }

    /// The same with a place for records that it refuses, for callers that would lose them.
    #[must_use]
    pub fn with_dead_letters(self, refused: Option<Destination>) -> Self {
        Self { refused, ..self }
    }

    /// What it was told beside its sub-model.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Its sub-model.
    pub fn sub_model(&self) -> &SubModel {
        &self.sub_model
    }

    /// Infers a record and delivers the outcome to its destinations. Returns once it is durable there.
    pub async fn call(&self, record: &Record, source: Option<&Source>) -> Result<Fate, Failure> {
        let outcome = self.infer(record, source).await?;
        self.deliver(outcome).await
    }

    /// What the caller gets back: copies of the parts of the outcome that have no destination.
    pub fn returned(&self, outcome: &Outcome) -> (Option<Record>, Option<Record>) {
        (
            outcome.answer.clone().filter(|_| self.exit.is_none()),
            outcome.forward.clone().filter(|_| self.forward.is_none()),
        )
    }

    /// Infers a record.
    pub async fn infer(
        &self,
        record: &Record,
        source: Option<&Source>,
    ) -> Result<Outcome, Failure> {
        let mut outcomes = self.infer_many(&[Incoming::now(record, source)]).await;
        outcomes.pop().expect("one for one")
    }

    /// Has an instance run a sample of nothing, so that the next does not wait for it to load.
    async fn warm(&self) -> Result<(), Failure> {
        let len = self.sub_model.input_shape().iter().product();
        self.pool.run(vec![0.0; len], 1).await.map(drop)
    }

    /// Its instances.
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Infers several records in one run and delivers their outcomes, in their order. Returns once all are
    /// durable, or have failed. Of one lane, none is delivered after one that failed and may succeed later.
    pub(crate) async fn call_many(
        &self,
        records: &[Incoming<'_>],
        lanes: &[Option<Lane>],
    ) -> Vec<Called> {
        let outcomes = self.infer_many(records).await;
        self.deliver_many(outcomes, lanes).await
    }

    /// Takes several records through what comes before, infers them in one run, and takes their answers through what
    /// comes after.
    pub(crate) async fn infer_many(
        &self,
        incoming: &[Incoming<'_>],
    ) -> Vec<Result<Outcome, Failure>> {
        if self.before.is_empty() && self.after.is_empty() {
            return self.run_many(incoming).await;
        }
        let before = incoming.iter().map(|of| through(&self.before, of.record, of.source));
        let before = join_all(before).await;
        let ready: Vec<Incoming<'_>> = incoming
            .iter()
            .zip(&before)
            .filter_map(|(incoming, before)| {
                let record = before.as_ref().ok()?.as_ref().unwrap_or(incoming.record);
                Some(Incoming { record, ..*incoming })
            })
            .collect();
        let ran = self.run_many(&ready).await.into_iter().zip(&ready);
        let ran = join_all(ran.map(|(outcome, of)| self.complete(outcome, of.source))).await;
        let mut ran = ran.into_iter();
        let outcomes = before.into_iter().map(|before| match before {
            Ok(_) => ran.next().expect("one for each that is ready"),
            Err(failure) => Err(failure),
        });
        outcomes.collect()
    }

    async fn complete(
        &self,
        outcome: Result<Outcome, Failure>,
        source: Option<&Source>,
    ) -> Result<Outcome, Failure> {
        let mut outcome = outcome?;
        for answer in [&mut outcome.answer, &mut outcome.instead].into_iter().flatten() {
            if let Some(changed) = through(&self.after, answer, source).await? {
                *answer = changed;
            }
        }
        Ok(outcome)
    }

    /// Infers several records in one run.
    async fn run_many(&self, incoming: &[Incoming<'_>]) -> Vec<Result<Outcome, Failure>> {
        let mut samples = Vec::new();
        let counts: Vec<Result<usize, Reject>> = incoming
            .iter()
            .map(|incoming| {
                let (of_record, count) = self.samples(incoming.record)?;
                samples.extend_from_slice(&of_record);
                Ok(count)
            })
            .collect();
        let all = counts.iter().flatten().sum();
        let output = if all == 0 { Ok(None) } else { self.pool.run(samples, all).await.map(Some) };
        let mut first = 0;
        let records = incoming.iter().zip(counts);
        records
            .map(|(incoming, count)| {
                let count = count?;
                let output = output.as_ref().map_err(Clone::clone)?;
                let output = output.as_ref().expect("there are samples").rows(first, count);
                first += count;
                Ok(self.split(*incoming, &output)?)
            })
            .collect()
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
        if let Dialect::KafkaMl(format) = &self.settings.dialect {
            return Ok((format.decode(value, self.sub_model.input_shape())?, 1));
        }
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
        let rule = self.settings.exit.as_ref();
        let criterion = rule.map(|rule| rule.criterion).unwrap_or_default();
        let mut confidences = Vec::with_capacity(output.samples);
        for row in 0..output.samples {
            let exit = output.exit_row(row);
            let features = output.features_row(row);
            if exit.iter().chain(features.unwrap_or_default()).any(|value| !value.is_finite()) {
                let reason = format!("the sub-model's output for sample {row} is not finite");
                return Err(Reject::new(RejectCode::NotFinite, reason));
            }
            let prediction = predict(exit, criterion);
            confidences.push(prediction.confidence);
            let leaves = rule.is_none_or(|rule| rule.admits(&prediction));
            match features {
                Some(features) if !leaves => {
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
        let outgoing = |rows: &[(usize, &[f32])], written| {
            (!rows.is_empty()).then(|| self.outgoing(&hop, rows, written))
        };
        let (answers, features) = match self.settings.dialect {
            Dialect::Offramp => (Written::As(Encoding::Json), Written::As(self.settings.features)),
            Dialect::KafkaMl(_) => (Written::Values, Written::As(Encoding::F32)),
        };
        let mut instead = outgoing(&instead, answers);
        if let Some(instead) = &mut instead {
            let why = Header::new(header::DEGRADED, header::DEGRADED_BY_UPLINK_LOSS);
            instead.headers.push(why);
        }
        Ok(Outcome {
            answer: outgoing(&answered, answers),
            forward: outgoing(&forwarded, features),
            instead,
        })
    }

    /// A record that keeps what the incoming one had and adds this hop's headers.
    fn outgoing(&self, hop: &Hop<'_>, rows: &[(usize, &[f32])], written: Written) -> Record {
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
        let value = match written {
            Written::Values => kafka_ml::values(rows[0].1),
            Written::As(encoding) => {
                if encoding != Encoding::Json {
                    headers.push(Header::new(header::ENCODING, encoding.name()));
                }
                encoding.encode(rows.iter().map(|&(_, values)| values))
            }
        };
        Record {
            key: record.key.clone(),
            headers,
            timestamp_ms: record.timestamp_ms,
            value: Some(Bytes::from(value)),
        }
    }
}

/// How rows become a value.
#[derive(Debug, Clone, Copy)]
enum Written {
    As(Encoding),
    /// Kafka-ML's, of the only row.
    Values,
}

/// A record that has arrived.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Incoming<'a> {
    pub(crate) record: &'a Record,
    pub(crate) source: Option<&'a Source>,
    /// When, in microseconds since the epoch.
    pub(crate) received_us: u64,
}

impl<'a> Incoming<'a> {
    pub(crate) fn now(record: &'a Record, source: Option<&'a Source>) -> Self {
        Self { record, source, received_us: now_us() }
    }
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
pub(crate) fn now_us() -> u64 {
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
