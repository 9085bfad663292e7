//! What every exit says of every sample, and what moving and computing a sample takes.
//!
//! All samples go through all tiers, whether or not they would have left: only then can any thresholds be judged.
//! Softmax vectors are kept as they are at temperature 1, in memory: `samples × classes × 4` bytes an exit.

use std::time::{Duration, Instant};

use wire::{Encoding, ExitCriterion};

use crate::dataset::Dataset;
use crate::engine::apply_temperature;
use crate::evaluate::{self, Stage};
use crate::{ModelError, predict};

/// How many samples are run between two reports of progress.
const BATCH: usize = 256;

/// How many samples are run one by one to time a tier; the median of so many is good to a few per cent.
const TIMED_SAMPLES: usize = 200;

/// What every exit says of every sample.
#[derive(Debug, Clone, PartialEq)]
pub struct Recording {
    /// The class of each sample.
    pub labels: Vec<u8>,
    /// In the order of the tiers.
    pub exits: Vec<ExitRecording>,
}

/// What one exit says of every sample.
#[derive(Debug, Clone, PartialEq)]
pub struct ExitRecording {
    /// The tier's name, from its sub-model.
    pub tier: String,
    /// The number of classes.
    pub classes: usize,
    /// The softmax vectors at temperature 1: `samples * classes` values, row-major.
    pub rows: Vec<f32>,
    /// The mean size of one sample's features as a record's value, in bytes; 0 at the last tier.
    pub features_bytes: f64,
}

/// What one exit makes of one sample.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Verdict {
    /// What the criterion gives, or not a number.
    pub confidence: f32,
    /// The most probable class.
    pub label: u16,
    /// Whether that is the sample's class.
    pub right: bool,
}

impl Recording {
    /// Runs all of `dataset` through `stages`, reporting after each batch how many samples are done. `encodings` says
    /// how each tier but the last writes its features; where it is shorter, the rest are JSON.
    ///
    /// # Errors
    ///
    /// [`ModelError::Signature`] where a tier does not take what the one before it gives or knows fewer classes than
    /// the dataset; [`ModelError::Engine`] where an engine fails.
    pub fn new(
        stages: &[Stage],
        dataset: &Dataset,
        encodings: &[Encoding],
        mut progress: impl FnMut(usize),
    ) -> Result<Recording, ModelError> {
        evaluate::check_shapes(stages, dataset)?;
        let raw = |stage: &Stage| stage.sub_model.with_temperature(1.0);
        let mut engines =
            stages.iter().map(|stage| raw(stage).engine()).collect::<Result<Vec<_>, _>>()?;
        let mut exits: Vec<ExitRecording> = stages.iter().map(ExitRecording::empty).collect();
        for start in (0..dataset.len()).step_by(BATCH) {
            let end = dataset.len().min(start + BATCH);
            let mut values = dataset.values(start..end);
            for (at, (engine, exit)) in engines.iter_mut().zip(&mut exits).enumerate() {
                let output = engine.run(&values)?;
                exit.rows.extend_from_slice(&output.exit);
                values = output.features.unwrap_or_default();
                if at + 1 < stages.len() {
                    let encoding = encodings.get(at).copied().unwrap_or_default();
                    let samples = values.chunks_exact(values.len() / (end - start));
                    let bytes: usize = samples.map(|sample| encoding.encode([sample]).len()).sum();
                    exit.features_bytes += bytes as f64;
                }
            }
            progress(end);
        }
        for exit in &mut exits {
            exit.features_bytes /= dataset.len().max(1) as f64;
        }
        Ok(Recording { labels: dataset.labels.clone(), exits })
    }

    /// What exit `at` makes of each sample.
    ///
    /// # Panics
    ///
    /// When there is no such exit.
    pub fn verdicts(&self, at: usize, criterion: ExitCriterion, temperature: f32) -> Vec<Verdict> {
        let exit = &self.exits[at];
        let mut row = vec![0.0; exit.classes];
        let rows = exit.rows.chunks_exact(exit.classes).zip(&self.labels);
        rows.map(|(raw, &class)| {
            row.copy_from_slice(raw);
            apply_temperature(&mut row, temperature);
            let prediction = predict(&row, criterion);
            Verdict {
                confidence: prediction.confidence,
                label: prediction.label as u16,
                right: prediction.label == usize::from(class),
            }
        })
        .collect()
    }
}

impl ExitRecording {
    fn empty(stage: &Stage) -> ExitRecording {
        ExitRecording {
            tier: stage.sub_model.metadata().tier.clone(),
            classes: stage.sub_model.classes(),
            rows: Vec::new(),
            features_bytes: 0.0,
        }
    }
}

/// How long each tier computes one sample by itself on this machine: the median over some of the dataset.
///
/// # Errors
///
/// As [`Recording::new`].
pub fn service_times(stages: &[Stage], dataset: &Dataset) -> Result<Vec<Duration>, ModelError> {
    evaluate::check_shapes(stages, dataset)?;
    let mut engines =
        stages.iter().map(|stage| stage.sub_model.engine()).collect::<Result<Vec<_>, _>>()?;
    let mut times = vec![Vec::new(); stages.len()];
    for index in 0..dataset.len().min(TIMED_SAMPLES) {
        let mut values = dataset.values(index..index + 1);
        for (engine, times) in engines.iter_mut().zip(&mut times) {
            let start = Instant::now();
            let output = engine.run(&values)?;
            times.push(start.elapsed());
            values = output.features.unwrap_or_default();
        }
    }
    let median = |mut times: Vec<Duration>| {
        times.sort_unstable();
        times.get(times.len() / 2).copied().unwrap_or_default()
    };
    Ok(times.into_iter().map(median).collect())
}
