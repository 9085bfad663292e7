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
//! | `offramp.temperature` | the softmax vector is `softmax(logits / temperature)` |
//! | `offramp.producer` | what made the file |
//! | `offramp.training.*` | how it was trained, for people |
//!
//! A file without them is still a sub-model: each key has a default that changes nothing.

use std::collections::BTreeMap;

use wire::ExitCriterion;

use crate::ModelError;

const PREFIX: &str = "offramp.";
const TRAINING_PREFIX: &str = "offramp.training.";

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
    /// What made the file, e.g. `offramp 0.1.0`.
    pub producer: String,
    /// How the weights came to be (recipe, seed, …), in the words of the trainer.
    pub training: BTreeMap<String, String>,
}

/// When a sample may leave at an exit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Exit {
    /// What is computed from the softmax vector.
    pub criterion: ExitCriterion,
    /// The least confidence with which a sample leaves.
    pub threshold: f64,
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
            producer: concat!("offramp ", env!("CARGO_PKG_VERSION")).to_owned(),
            training: BTreeMap::new(),
        }
    }
}

impl Metadata {
    /// The keys and values that a file carries.
    pub(crate) fn to_properties(&self) -> Vec<(String, String)> {
        let mut properties = BTreeMap::from([
            ("tier".to_owned(), self.tier.clone()),
            ("labels".to_owned(), serde_json::json!(self.labels).to_string()),
            ("input_shape".to_owned(), serde_json::json!(self.input_shape).to_string()),
            ("input_scale".to_owned(), self.input_scale.to_string()),
            ("input_offset".to_owned(), self.input_offset.to_string()),
            ("temperature".to_owned(), self.temperature.to_string()),
            ("producer".to_owned(), self.producer.clone()),
        ]);
        if let Some(exit) = &self.exit {
            properties.insert("exit_criterion".to_owned(), exit.criterion.to_string());
            properties.insert("exit_threshold".to_owned(), exit.threshold.to_string());
        }
        for (key, value) in &self.training {
            properties.insert(format!("training.{key}"), value.clone());
        }
        properties.into_iter().map(|(key, value)| (format!("{PREFIX}{key}"), value)).collect()
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
        if let Some(temperature) =
            read.number("offramp.temperature", "a positive number", positive)?
        {
            self.temperature = temperature;
        }
        self.exit = read.exit()?.or(self.exit);
        for (key, value) in &properties {
            if let Some(key) = key.strip_prefix(TRAINING_PREFIX) {
                self.training.insert(key.to_owned(), (*value).to_owned());
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
        let criterion: Option<ExitCriterion> =
            self.parse("offramp.exit_criterion", "`max-softmax`", |value| value.parse().ok())?;
        let threshold: Option<f64> =
            self.parse("offramp.exit_threshold", "a number from 0 to 1", |value| {
                value.parse().ok().filter(|threshold| (0.0..=1.0).contains(threshold))
            })?;
        match (criterion, threshold) {
            (Some(criterion), Some(threshold)) => Ok(Some(Exit { criterion, threshold })),
            (None, None) => Ok(None),
            (Some(_), None) => {
                Err(self.error("offramp.exit_threshold", "", "a number from 0 to 1"))
            }
            (None, Some(_)) => Err(self.error("offramp.exit_criterion", "", "`max-softmax`")),
        }
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
            exit: Some(Exit { criterion: ExitCriterion::MaxSoftmax, threshold: 0.8 }),
            temperature: 1.25,
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
            ("exit_criterion", "luck", "`max-softmax`"),
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
