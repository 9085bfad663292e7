//! What a tier must know about its sub-model beyond the weights.
//!
//! Kept in the ONNX file itself, as `metadata_props` under keys that start with `offramp.`, so that
//! the model file and the way to use it cannot come apart:
//!
//! | key | value |
//! |---|---|
//! | `offramp.tier` | the tier's name |
//! | `offramp.labels` | JSON array, one string per class |
//! | `offramp.input_shape` | JSON array, the shape of one sample |
//! | `offramp.input_scale`, `offramp.input_offset` | the network is fed `x * scale + offset` |
//! | `offramp.exit_criterion`, `offramp.exit_threshold` | both, or neither: then it always answers |
//! | `offramp.exit_class_thresholds` | JSON array, one threshold per class; where it is there, they count |
//! | `offramp.exit_histogram` | JSON, how sure the exit was of the samples that it was calibrated on: see [`Histogram`] |
//! | `offramp.temperature` | the softmax vector is `softmax(logits / temperature)` |
//! | `offramp.calibration.*` | what the threshold was chosen for, and on what, for people |
//! | `offramp.producer` | what made the file |
//! | `offramp.training.*` | how it was trained, for people |
//!
//! A file without them is still a sub-model: each key has a default that changes nothing.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tract_onnx::pb::StringStringEntryProto;
use wire::ExitCriterion;

use crate::{Exit, ModelError};

const PREFIX: &str = "offramp.";
const TRAINING_PREFIX: &str = "offramp.training.";
const CALIBRATION_PREFIX: &str = "offramp.calibration.";
const CRITERION: &str = "offramp.exit_criterion";
const THRESHOLD: &str = "offramp.exit_threshold";
const CLASS_THRESHOLDS: &str = "offramp.exit_class_thresholds";
const HISTOGRAM: &str = "offramp.exit_histogram";
const TEMPERATURE: &str = "offramp.temperature";

/// What a tier must know about its sub-model beyond the weights.
#[derive(Debug, Clone, PartialEq)]
pub struct Metadata {
    /// The name of the tier that the sub-model was made for; may be empty.
    pub tier: String,
    /// One name per class.
    pub labels: Vec<String>,
    /// The shape of one sample as the network takes it, e.g. `[28, 28, 1]`.
    pub input_shape: Vec<usize>,
    /// The network is fed `x * input_scale + input_offset`.
    pub input_scale: f32,
    /// See [`input_scale`](Self::input_scale).
    pub input_offset: f32,
    /// When a sample may leave at this tier; without it, each sample does.
    pub exit: Option<Exit>,
    /// Divides the logits before the softmax (Guo et al., 2017); 1 leaves them as they are.
    pub temperature: f32,
    /// How sure the exit was of the samples that it was calibrated on.
    pub histogram: Option<Histogram>,
    /// What the exit was calibrated for, and on what, in the words of the calibrator.
    pub calibration: BTreeMap<String, String>,
    /// What made the file, e.g. `offramp 0.1.0`.
    pub producer: String,
    /// How the weights came to be (recipe, seed, …), in the words of the trainer.
    pub training: BTreeMap<String, String>,
}

/// How an exit's confidence was distributed over the samples of its calibration.
///
/// Bin `i` counts the samples whose confidence is at least `edges[i]` and less than `edges[i + 1]`; the last bin ends
/// at 1 and includes it. A tier under load can find in it the threshold for any share that may leave, and a tier in
/// operation whether what arrives is still like what it was calibrated on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Histogram {
    /// Where each bin starts: ascending, from 0.
    pub edges: Vec<f64>,
    /// The number of samples.
    pub count: Vec<u32>,
    /// How many of them this exit classifies correctly.
    pub right: Vec<u32>,
    /// How many of them the last exit classifies correctly.
    pub last_right: Vec<u32>,
}

impl Histogram {
    /// Whether the parts fit each other.
    fn is_consistent(&self) -> bool {
        let bins = self.edges.len();
        let same = [&self.count, &self.right, &self.last_right].iter().all(|n| n.len() == bins);
        let ascending = self.edges.windows(2).all(|pair| pair[0] < pair[1]);
        let within = self.edges.iter().all(|edge| (0.0..=1.0).contains(edge));
        let parts = self.right.iter().chain(&self.last_right);
        bins > 0
            && same
            && ascending
            && within
            && parts.zip(self.count.iter().cycle()).all(|(part, count)| part <= count)
    }
}

impl Default for Metadata {
    fn default() -> Metadata {
        Metadata {
            tier: String::new(),
            labels: Vec::new(),
            input_shape: Vec::new(),
            input_scale: 1.0,
            input_offset: 0.0,
            exit: None,
            temperature: 1.0,
            histogram: None,
            calibration: BTreeMap::new(),
            producer: concat!("offramp ", env!("CARGO_PKG_VERSION")).to_owned(),
            training: BTreeMap::new(),
        }
    }
}

impl Metadata {
    /// What a file carries, as it stands in one.
    pub(crate) fn to_entries(&self) -> Vec<StringStringEntryProto> {
        let properties = self.to_properties().into_iter();
        properties.map(|(key, value)| StringStringEntryProto { key, value }).collect()
    }

    /// The keys and values that a file carries.
    pub(crate) fn to_properties(&self) -> Vec<(String, String)> {
        let mut properties = BTreeMap::from([
            ("tier".to_owned(), self.tier.clone()),
            ("labels".to_owned(), serde_json::json!(self.labels).to_string()),
            ("input_shape".to_owned(), serde_json::json!(self.input_shape).to_string()),
            ("input_scale".to_owned(), self.input_scale.to_string()),
            ("input_offset".to_owned(), self.input_offset.to_string()),
            ("producer".to_owned(), self.producer.clone()),
        ]);
        for (key, value) in &self.training {
            properties.insert(format!("training.{key}"), value.clone());
        }
        let properties =
            properties.into_iter().map(|(key, value)| (format!("{PREFIX}{key}"), value));
        let mut properties: Vec<_> = properties.chain(self.exit_properties()).collect();
        properties.sort();
        properties
    }

    /// The keys and values that a calibration decides.
    pub(crate) fn exit_properties(&self) -> Vec<(String, String)> {
        let mut properties = vec![(TEMPERATURE.to_owned(), self.temperature.to_string())];
        if let Some(exit) = &self.exit {
            properties.push((CRITERION.to_owned(), exit.criterion.to_string()));
            properties.push((THRESHOLD.to_owned(), exit.threshold.to_string()));
            if !exit.class_thresholds.is_empty() {
                let thresholds = serde_json::json!(exit.class_thresholds).to_string();
                properties.push((CLASS_THRESHOLDS.to_owned(), thresholds));
            }
        }
        if let Some(histogram) = &self.histogram {
            properties.push((HISTOGRAM.to_owned(), serde_json::json!(histogram).to_string()));
        }
        for (key, value) in &self.calibration {
            properties.push((format!("{CALIBRATION_PREFIX}{key}"), value.clone()));
        }
        properties
    }

    /// Whether `key` is one that a calibration decides, and that its [`exit_properties`](Self::exit_properties)
    /// replace.
    pub(crate) fn is_exit_property(key: &str) -> bool {
        [TEMPERATURE, CRITERION, THRESHOLD, CLASS_THRESHOLDS, HISTOGRAM].contains(&key)
            || key.starts_with(CALIBRATION_PREFIX)
    }

    /// Reads what the file `name` carries; what it does not carry stays as in `self`.
    pub(crate) fn with_properties<'a>(
        mut self,
        name: &str,
        properties: impl Iterator<Item = (&'a str, &'a str)>,
    ) -> Result<Metadata, ModelError> {
        let properties: BTreeMap<&str, &str> =
            properties.filter(|(key, _)| key.starts_with(PREFIX)).collect();
        let read = Reader { name, properties: &properties };
        if let Some(tier) = read.text("offramp.tier") {
            self.tier = tier;
        }
        if let Some(producer) = read.text("offramp.producer") {
            self.producer = producer;
        }
        if let Some(labels) = read.json("offramp.labels", "a JSON array of strings")? {
            self.labels = labels;
        }
        if let Some(shape) = read.json("offramp.input_shape", "a JSON array of sizes")? {
            self.input_shape = shape;
        }
        if let Some(scale) = read.number("offramp.input_scale", "a number", |_| true)? {
            self.input_scale = scale;
        }
        if let Some(offset) = read.number("offramp.input_offset", "a number", |_| true)? {
            self.input_offset = offset;
        }
        let positive = |value: f32| value > 0.0;
        if let Some(temperature) = read.number(TEMPERATURE, "a positive number", positive)? {
            self.temperature = temperature;
        }
        self.exit = read.exit()?.or(self.exit);
        self.histogram = read.histogram()?.or(self.histogram);
        for (key, value) in &properties {
            if let Some(key) = key.strip_prefix(TRAINING_PREFIX) {
                self.training.insert(key.to_owned(), (*value).to_owned());
            } else if let Some(key) = key.strip_prefix(CALIBRATION_PREFIX) {
                self.calibration.insert(key.to_owned(), (*value).to_owned());
            }
        }
        Ok(self)
    }
}

struct Reader<'a> {
    name: &'a str,
    properties: &'a BTreeMap<&'a str, &'a str>,
}

impl Reader<'_> {
    fn text(&self, key: &str) -> Option<String> {
        self.properties.get(key).map(|value| (*value).to_owned())
    }

    fn json<T: serde::de::DeserializeOwned>(
        &self,
        key: &'static str,
        expected: &'static str,
    ) -> Result<Option<T>, ModelError> {
        self.parse(key, expected, |value| serde_json::from_str(value).ok())
    }

    fn number(
        &self,
        key: &'static str,
        expected: &'static str,
        valid: impl Fn(f32) -> bool,
    ) -> Result<Option<f32>, ModelError> {
        self.parse(key, expected, |value| {
            value.parse().ok().filter(|number: &f32| number.is_finite() && valid(*number))
        })
    }

    fn exit(&self) -> Result<Option<Exit>, ModelError> {
        let is_share = |threshold: &f64| (0.0..=1.0).contains(threshold);
        let criterion: Option<ExitCriterion> =
            self.parse(CRITERION, ExitCriterion::EXPECTED, |value| value.parse().ok())?;
        let threshold: Option<f64> = self.parse(THRESHOLD, "a number from 0 to 1", |value| {
            value.parse().ok().filter(is_share)
        })?;
        let class_thresholds: Option<Vec<f64>> =
            self.parse(CLASS_THRESHOLDS, "a JSON array of numbers from 0 to 1", |value| {
                serde_json::from_str(value).ok().filter(|all: &Vec<f64>| all.iter().all(is_share))
            })?;
        match (criterion, threshold) {
            (Some(criterion), Some(threshold)) => {
                let class_thresholds = class_thresholds.unwrap_or_default();
                Ok(Some(Exit { criterion, threshold, class_thresholds }))
            }
            (None, None) => Ok(None),
            (Some(_), None) => Err(self.error(THRESHOLD, "", "a number from 0 to 1")),
            (None, Some(_)) => Err(self.error(CRITERION, "", ExitCriterion::EXPECTED)),
        }
    }

    fn histogram(&self) -> Result<Option<Histogram>, ModelError> {
        let expected = "bins as JSON, as `offramp model calibrate` writes them";
        self.parse(HISTOGRAM, expected, |value| {
            serde_json::from_str(value).ok().filter(Histogram::is_consistent)
        })
    }

    fn parse<T>(
        &self,
        key: &'static str,
        expected: &'static str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, ModelError> {
        let Some(value) = self.properties.get(key) else { return Ok(None) };
        parse(value).map(Some).ok_or_else(|| self.error(key, value, expected))
    }

    fn error(&self, key: &'static str, value: &str, expected: &'static str) -> ModelError {
        ModelError::Metadata {
            name: self.name.to_owned(),
            key,
            value: value.chars().take(80).collect(),
            expected,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(properties: &[(String, String)]) -> Result<Metadata, ModelError> {
        Metadata::default().with_properties(
            "edge.onnx",
            properties.iter().map(|(key, value)| (key.as_str(), value.as_str())),
        )
    }

    fn full() -> Metadata {
        Metadata {
            tier: "edge".to_owned(),
            labels: vec!["zero".to_owned(), "\"one\"".to_owned()],
            input_shape: vec![28, 28, 1],
            input_scale: 1.0 / 255.0,
            input_offset: -0.5,
            exit: Some(Exit {
                class_thresholds: vec![0.1, 0.95],
                ..Exit::new(ExitCriterion::Margin, 0.8)
            }),
            temperature: 1.25,
            histogram: Some(Histogram {
                edges: vec![0.0, 0.123_456_789],
                count: vec![3, 5],
                right: vec![1, 5],
                last_right: vec![3, 4],
            }),
            calibration: BTreeMap::from([("samples".to_owned(), "8".to_owned())]),
            producer: "a test".to_owned(),
            training: BTreeMap::from([("seed".to_owned(), "1".to_owned())]),
        }
    }

    #[test]
    fn metadata_survives_the_file() {
        assert_eq!(read(&full().to_properties()).unwrap(), full());
        assert_eq!(read(&Metadata::default().to_properties()).unwrap(), Metadata::default());
    }

    #[test]
    fn a_file_without_metadata_changes_nothing() {
        assert_eq!(
            read(&[("author".to_owned(), "someone".to_owned())]).unwrap(),
            Metadata::default()
        );
    }

    #[test]
    fn each_malformed_value_is_named() {
        for (key, value, expected) in [
            ("labels", "[1, 2]", "a JSON array of strings"),
            ("input_shape", "[-1]", "a JSON array of sizes"),
            ("input_scale", "NaN", "a number"),
            ("input_offset", "inf", "a number"),
            ("temperature", "0", "a positive number"),
            ("exit_threshold", "1.5", "a number from 0 to 1"),
            ("exit_criterion", "luck", "`max-softmax`, `margin` or `entropy`"),
            ("exit_class_thresholds", "[0.5, 2]", "a JSON array of numbers from 0 to 1"),
            (
                "exit_histogram",
                r#"{"edges":[0],"count":[1],"right":[2],"last_right":[0]}"#,
                "bins as JSON, as `offramp model calibrate` writes them",
            ),
        ] {
            let mut properties = full().to_properties();
            for property in &mut properties {
                if property.0 == format!("offramp.{key}") {
                    value.clone_into(&mut property.1);
                }
            }
            assert_eq!(
                read(&properties).unwrap_err().to_string(),
                format!(
                    "sub-model `edge.onnx`: metadata `offramp.{key}` is `{value}`, \
                     expected {expected}"
                )
            );
        }
    }

    #[test]
    fn a_threshold_needs_its_criterion() {
        let mut properties = full().to_properties();
        properties.retain(|(key, _)| key != "offramp.exit_criterion");
        assert!(read(&properties).unwrap_err().to_string().contains("offramp.exit_criterion"));
    }
}
