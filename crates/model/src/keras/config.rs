//! One layer's configuration, read option by option.
//!
//! A missing option has Keras's default; one of the wrong type or an unknown value is an error that
//! names the layer.

use serde_json::{Map, Value as Json};

use crate::{ModelError, Unsupported};

/// A layer of a Keras model.
#[derive(Debug, Clone)]
pub(super) struct Layer {
    /// The file, for errors.
    file: String,
    pub(super) name: String,
    pub(super) class: String,
    /// Where a `.keras` file has its weights: `layers/conv2d_1`.
    pub(super) path: String,
    config: Map<String, Json>,
}

impl Layer {
    /// Reads `{"class_name": …, "config": {"name": …}}`.
    pub(super) fn parse(file: &str, json: &Json) -> Result<Layer, ModelError> {
        let fail = |reason: &str| ModelError::NotKeras {
            name: file.to_owned(),
            reason: format!("a layer of its `model_config` {reason}: {}", excerpt(json)),
        };
        let class = json["class_name"].as_str().ok_or_else(|| fail("has no class"))?;
        let config = json["config"].as_object().ok_or_else(|| fail("has no configuration"))?;
        let name = config
            .get("name")
            .or_else(|| json.get("name"))
            .and_then(Json::as_str)
            .ok_or_else(|| fail("has no name"))?;
        Ok(Layer {
            file: file.to_owned(),
            name: name.to_owned(),
            class: class.to_owned(),
            path: String::new(),
            config: config.clone(),
        })
    }

    /// The roles of its weights (`kernel`, `bias`, …) in the order in which the layer makes them: a `.keras` file numbers
    /// them.
    pub(super) fn variables(&self) -> Result<Vec<&'static str>, ModelError> {
        let known: &[(&str, bool)] = match self.class.as_str() {
            "BatchNormalization" => &[
                ("gamma", self.flag("scale", true)?),
                ("beta", self.flag("center", true)?),
                ("moving_mean", true),
                ("moving_variance", true),
            ],
            "SeparableConv2D" => &[
                ("depthwise_kernel", true),
                ("pointwise_kernel", true),
                ("bias", self.flag("use_bias", true)?),
            ],
            _ => &[("kernel", true), ("bias", self.flag("use_bias", true)?)],
        };
        Ok(known.iter().filter(|(_, is_there)| *is_there).map(|(role, _)| *role).collect())
    }

    /// Whether it is a model of its own.
    pub(super) fn is_model(&self) -> bool {
        ["Functional", "Model", "Sequential"].contains(&self.class.as_str())
    }

    /// Something is wrong with this layer.
    pub(super) fn error(&self, reason: impl Into<String>) -> ModelError {
        ModelError::Layer {
            name: self.file.clone(),
            layer: self.name.clone(),
            reason: reason.into(),
        }
    }

    /// Nothing is wrong with this layer, but the import does not know `option` = `found`.
    pub(super) fn unsupported(
        &self,
        option: &str,
        found: impl Into<String>,
        supported: &str,
    ) -> ModelError {
        ModelError::from(Box::new(Unsupported {
            name: self.file.clone(),
            layer: self.name.clone(),
            class: self.class.clone(),
            option: option.to_owned(),
            found: found.into(),
            supported: supported.to_owned(),
        }))
    }

    /// The option as it stands in the file; `null` counts as missing.
    pub(super) fn option(&self, option: &str) -> Option<&Json> {
        self.config.get(option).filter(|value| !value.is_null())
    }

    /// A whole number that is not negative.
    pub(super) fn size(&self, option: &str) -> Result<Option<usize>, ModelError> {
        self.read(option, "a size", |value| value.as_u64().and_then(|size| size.try_into().ok()))
    }

    /// A size that the layer cannot do without.
    pub(super) fn required_size(&self, option: &str) -> Result<usize, ModelError> {
        let size = self.size(option)?.filter(|&size| size > 0);
        size.ok_or_else(|| self.error(format!("it has no positive size `{option}`")))
    }

    pub(super) fn float(&self, option: &str) -> Result<Option<f32>, ModelError> {
        self.read(option, "a number", number)
    }

    pub(super) fn flag(&self, option: &str, default: bool) -> Result<bool, ModelError> {
        Ok(self.read(option, "true or false", Json::as_bool)?.unwrap_or(default))
    }

    pub(super) fn text(&self, option: &str) -> Result<Option<&str>, ModelError> {
        self.read(option, "a string", Json::as_str)
    }

    /// One size for both spatial dimensions, or one for each.
    pub(super) fn pair(&self, option: &str) -> Result<Option<[usize; 2]>, ModelError> {
        self.read(option, "one or two positive sizes", |value| {
            let size = |value: &Json| {
                value.as_u64().filter(|&size| size > 0).and_then(|size| usize::try_from(size).ok())
            };
            match value.as_array().map(Vec::as_slice) {
                None => size(value).map(|size| [size, size]),
                Some([height, width]) => Some([size(height)?, size(width)?]),
                Some(_) => None,
            }
        })
    }

    /// The position of an axis among the `rank` dimensions of one sample, which Keras counts from
    /// the batch dimension or, negative, from the end.
    pub(super) fn axis(
        &self,
        option: &str,
        default: i64,
        rank: usize,
    ) -> Result<usize, ModelError> {
        let axis = self.read(option, "an axis", |value| match value.as_array() {
            // Keras 2 keeps a list of axes for batch normalisation.
            Some(axes) if axes.len() == 1 => axes[0].as_i64(),
            _ => value.as_i64(),
        })?;
        let axis = axis.unwrap_or(default);
        let from_front = if axis < 0 { axis + rank as i64 } else { axis - 1 };
        usize::try_from(from_front).ok().filter(|&axis| axis < rank).ok_or_else(|| {
            self.error(format!("{option} = {axis}, expected an axis of its input of rank {rank}"))
        })
    }

    /// The layer that stands where a function is expected (`activation=ReLU(6.0)`), named after this
    /// one.
    pub(super) fn nested(&self, json: &Json) -> Result<Layer, ModelError> {
        let mut nested = Layer::parse(&self.file, json)?;
        nested.name = format!("{}/{}", self.name, nested.name);
        Ok(nested)
    }

    fn read<'a, T>(
        &'a self,
        option: &str,
        expected: &str,
        read: impl Fn(&'a Json) -> Option<T>,
    ) -> Result<Option<T>, ModelError> {
        let Some(value) = self.option(option) else { return Ok(None) };
        read(value).map(Some).ok_or_else(|| {
            self.error(format!("{option} = {}, expected {expected}", excerpt(value)))
        })
    }
}

/// A number, also where Keras wraps it as `{"class_name": "__numpy__", "config": {"value": …}}`.
fn number(value: &Json) -> Option<f32> {
    let value = value.as_f64().or_else(|| value.get("config")?.get("value")?.as_f64())?;
    Some(value as f32).filter(|value| value.is_finite())
}

/// The start of a piece of JSON, for errors.
pub(super) fn excerpt(json: &Json) -> String {
    let text = json.to_string();
    match text.char_indices().nth(120) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
