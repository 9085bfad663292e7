//! What Kafka-ML's inference container reads and writes: one sample a record, in a format that its environment says, and
//! `{"values": […]}` for it.
//!
//! | `INPUT_FORMAT` | a record's value | `INPUT_CONFIG` |
//! |---|---|---|
//! | `RAW` | elements, little-endian | `{"data_type": "uint8", "data_reshape": "28 28"}` |
//! | `JSON` | nested lists of numbers | |
//! | `TELEGRAF_STR_JSON` | JSON text in a JSON string, whose `fields.value` is JSON text of nested lists | |
//! | `AVRO` | a record without its schema, whose fields are the elements in their order | `{"data_scheme": "…"}` |

mod avro;

use std::fmt;

use serde::Deserialize;
use serde_json::Value;

use crate::element::{Element, finite};
use crate::reject::{Reject, RejectCode};
use crate::tensor::Tensor;
use avro::Schema;

/// How samples stand in values.
#[derive(Debug, Clone, PartialEq)]
pub struct InputFormat(Format);

#[derive(Debug, Clone, PartialEq)]
enum Format {
    Raw(Element),
    Json,
    Telegraf,
    Avro(Schema),
}

/// Kafka-ML's names of elements, which are NumPy's; of several, the first is what errors say. NumPy's `float` is Python's.
const ELEMENTS: [(&str, Element); 13] = [
    ("half", Element::F16),
    ("float16", Element::F16),
    ("float32", Element::F32),
    ("double", Element::F64),
    ("float", Element::F64),
    ("float64", Element::F64),
    ("int8", Element::I8),
    ("int16", Element::I16),
    ("int32", Element::I32),
    ("int64", Element::I64),
    ("uint8", Element::U8),
    ("uint16", Element::U16),
    ("bool", Element::Bool),
];

/// A format that this can't read, or a configuration that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each variant's message is its documentation")]
pub enum BadFormat {
    #[error("INPUT_FORMAT is `{0}`, expected RAW, AVRO, JSON or TELEGRAF_STR_JSON")]
    Format(String),

    #[error(
        "INPUT_CONFIG is not JSON as {{\"data_type\": \"uint8\", \"data_reshape\": \"28 28\"}}: {0}"
    )]
    Config(String),

    #[error(
        "`data_type` of INPUT_CONFIG is `{0}`, expected half, float, float32, double, int8, int16, int32, int64, uint8, \
         uint16 or bool"
    )]
    DataType(String),

    #[error("`data_reshape` of INPUT_CONFIG is `{0}`, expected sizes as `28 28`")]
    Reshape(String),

    #[error(
        "`data_reshape` of INPUT_CONFIG is {given:?}, expected the {expected} elements of a sample of the model, {shape:?}"
    )]
    Shape { given: Vec<usize>, expected: usize, shape: Vec<usize> },

    #[error("`data_scheme` of INPUT_CONFIG {0}")]
    Scheme(String),
}

#[derive(Debug, Default, Deserialize)]
struct Config {
    #[serde(rename = "data_type")]
    element: Option<String>,
    #[serde(rename = "data_reshape")]
    reshape: Option<String>,
    #[serde(rename = "data_scheme")]
    scheme: Option<Value>,
}

impl InputFormat {
    /// The format that `INPUT_FORMAT` and `INPUT_CONFIG` say, for samples of this shape.
    ///
    /// # Errors
    ///
    /// They say none that this can read, or one of other samples.
    pub fn new(format: &str, config: &str, sample_shape: &[usize]) -> Result<Self, BadFormat> {
        let config = config.trim();
        let config: Config = if config.is_empty() {
            Config::default()
        } else {
            serde_json::from_str(config).map_err(|error| BadFormat::Config(error.to_string()))?
        };
        Ok(Self(match format {
            "RAW" => {
                let name = config.element.as_deref().unwrap_or_default();
                let known = ELEMENTS.iter().find(|(known, _)| *known == name);
                let &(_, element) = known.ok_or_else(|| BadFormat::DataType(name.to_owned()))?;
                if let Some(reshape) = config.reshape {
                    check_reshape(&reshape, sample_shape)?;
                }
                Format::Raw(element)
            }
            "JSON" => Format::Json,
            "TELEGRAF_STR_JSON" => Format::Telegraf,
            "AVRO" => {
                let missing =
                    || BadFormat::Scheme("is missing, expected an Avro schema".to_owned());
                // Kafka-ML's page writes a schema as a string, with either kind of quotes.
                let schema = match config.scheme.ok_or_else(missing)? {
                    Value::String(text) => serde_json::from_str(&text.replace('\'', "\""))
                        .map_err(|error| BadFormat::Scheme(format!("is not JSON: {error}")))?,
                    schema => schema,
                };
                Format::Avro(Schema::new(&schema).map_err(BadFormat::Scheme)?)
            }
            other => return Err(BadFormat::Format(other.to_owned())),
        }))
    }

    /// The elements of the sample that a value is.
    ///
    /// # Errors
    ///
    /// It is not one sample of this shape, or holds what is no finite number.
    pub fn decode(&self, value: &[u8], sample_shape: &[usize]) -> Result<Vec<f32>, Reject> {
        let elements: usize = sample_shape.iter().product();
        let data = match &self.0 {
            Format::Raw(element) => {
                let expected = elements * element.bytes();
                if value.len() != expected {
                    let (given, name) = (value.len(), name(*element));
                    let reason = format!(
                        "the value has {given} bytes, expected {expected} for a sample of shape {sample_shape:?} as {name}"
                    );
                    return Err(Reject::new(RejectCode::WrongShape, reason));
                }
                element.decode(value)?
            }
            Format::Json => Tensor::from_json(value)?.data,
            Format::Telegraf => Tensor::from_json(telegraf(value)?.as_bytes())?.data,
            Format::Avro(schema) => finite(schema.decode(value)?)?,
        };
        if data.len() != elements {
            let given = data.len();
            let reason = format!("the value has {given} elements, expected {elements}");
            return Err(Reject::new(RejectCode::WrongShape, reason));
        }
        Ok(data)
    }
}

/// `{"values": […]}` of an exit's probabilities, each as the 64-bit float that Python makes of it.
pub fn values(row: &[f32]) -> Vec<u8> {
    let mut text = b"{\"values\": [".to_vec();
    for (at, &value) in row.iter().enumerate() {
        if 0 < at {
            text.extend_from_slice(b", ");
        }
        serde_json::to_writer(&mut text, &f64::from(value))
            .expect("writing to memory does not fail");
    }
    text.extend_from_slice(b"]}");
    text
}

fn check_reshape(reshape: &str, sample_shape: &[usize]) -> Result<(), BadFormat> {
    let sizes = reshape.split_whitespace().map(str::parse).collect::<Result<Vec<usize>, _>>();
    let given = sizes.map_err(|_| BadFormat::Reshape(reshape.to_owned()))?;
    let expected: usize = sample_shape.iter().product();
    if !given.is_empty() && given.iter().product::<usize>() != expected {
        return Err(BadFormat::Shape { given, expected, shape: sample_shape.to_vec() });
    }
    Ok(())
}

/// What Telegraf's JSON says in the field `value`.
fn telegraf(value: &[u8]) -> Result<String, Reject> {
    let not_json = |what: &str| {
        let expected = "expected JSON text in a JSON string, with text at `fields.value`";
        Reject::new(RejectCode::NotJson, format!("the value {what}; {expected}"))
    };
    let inner: String = serde_json::from_slice(value).map_err(|_| not_json("is no JSON string"))?;
    let metric: Value = serde_json::from_str(&inner).map_err(|_| not_json("holds no JSON"))?;
    match &metric["fields"]["value"] {
        Value::String(text) => Ok(text.clone()),
        Value::Null => Err(not_json("has no `fields.value`")),
        list => Ok(list.to_string()),
    }
}

fn name(of: Element) -> &'static str {
    let named = ELEMENTS.iter().find(|(_, element)| *element == of);
    named.expect("every element has a name").0
}

impl fmt::Display for InputFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Format::Raw(element) => write!(f, "RAW {}", name(*element)),
            Format::Json => f.write_str("JSON"),
            Format::Telegraf => f.write_str("TELEGRAF_STR_JSON"),
            Format::Avro(_) => f.write_str("AVRO"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(data_type: &str) -> InputFormat {
        InputFormat::new(
            "RAW",
            &format!(r#"{{"data_type": "{data_type}", "data_reshape": "2"}}"#),
            &[2],
        )
        .unwrap()
    }

    #[test]
    fn raw_elements_of_each_type() {
        let decode = |data_type: &str, value: &[u8]| raw(data_type).decode(value, &[2]).unwrap();
        assert_eq!(decode("uint8", &[7, 255]), [7.0, 255.0]);
        assert_eq!(decode("int8", &[7, 255]), [7.0, -1.0]);
        assert_eq!(decode("bool", &[0, 9]), [0.0, 1.0]);
        assert_eq!(decode("uint16", &[1, 1, 255, 255]), [257.0, 65535.0]);
        assert_eq!(decode("int16", &[1, 1, 255, 255]), [257.0, -1.0]);
        assert_eq!(decode("half", &[0, 0x3c, 0, 0xc0]), [1.0, -2.0]);
        assert_eq!(decode("int32", &[-5i32, 6].map(i32::to_le_bytes).concat()), [-5.0, 6.0]);
        assert_eq!(decode("int64", &[-5i64, 6].map(i64::to_le_bytes).concat()), [-5.0, 6.0]);
        assert_eq!(decode("float32", &[0.5f32, 6.0].map(f32::to_le_bytes).concat()), [0.5, 6.0]);
        for data_type in ["float", "double"] {
            assert_eq!(
                decode(data_type, &[0.5f64, 6.0].map(f64::to_le_bytes).concat()),
                [0.5, 6.0]
            );
        }
    }

    #[test]
    fn a_value_that_is_no_sample_is_rejected() {
        let code =
            |format: &InputFormat, value: &[u8]| format.decode(value, &[2]).unwrap_err().code;
        assert_eq!(code(&raw("uint8"), &[1, 2, 3]), RejectCode::WrongShape);
        let nan = [f32::NAN, 1.0].map(f32::to_le_bytes).concat();
        assert_eq!(code(&raw("float32"), &nan), RejectCode::NotFinite);
        let json = InputFormat::new("JSON", "", &[2]).unwrap();
        assert_eq!(code(&json, b"[1]"), RejectCode::WrongShape);
        assert_eq!(code(&json, b"x"), RejectCode::NotJson);
    }

    #[test]
    fn json_alone_and_as_telegraf_wraps_it() {
        let json = InputFormat::new("JSON", "{}", &[2]).unwrap();
        assert_eq!(json.decode(b"[[1, 2.5]]", &[2]).unwrap(), [1.0, 2.5]);
        let telegraf = InputFormat::new("TELEGRAF_STR_JSON", "{}", &[2]).unwrap();
        let inner = r#"{"fields": {"value": "[1, 2.5]"}, "name": "mqtt"}"#;
        let value = serde_json::to_vec(inner).unwrap();
        assert_eq!(telegraf.decode(&value, &[2]).unwrap(), [1.0, 2.5]);
        for (value, words) in
            [("{}", "is no JSON string"), ("\"x\"", "holds no JSON"), ("\"{}\"", "has no `fields")]
        {
            let reject = telegraf.decode(value.as_bytes(), &[2]).unwrap_err();
            assert!(reject.reason.contains(words), "{reject}");
        }
    }

    #[test]
    fn a_bad_configuration_is_explained() {
        let check = |format: &str, config: &str, words: &str| {
            let error = InputFormat::new(format, config, &[28, 28]).unwrap_err().to_string();
            assert!(error.contains(words), "{words}: {error}");
        };
        check("CSV", "{}", "INPUT_FORMAT is `CSV`, expected RAW");
        check("RAW", "{", "INPUT_CONFIG is not JSON");
        check("RAW", "{}", "`data_type` of INPUT_CONFIG is ``");
        check("RAW", r#"{"data_type": "string"}"#, "`string`, expected half");
        check(
            "RAW",
            r#"{"data_type": "uint8", "data_reshape": "28x28"}"#,
            "`28x28`, expected sizes",
        );
        check(
            "RAW",
            r#"{"data_type": "uint8", "data_reshape": "28 27"}"#,
            "[28, 27], expected the 784",
        );
        check("AVRO", "{}", "`data_scheme` of INPUT_CONFIG is missing");
        check("AVRO", r#"{"data_scheme": "{"}"#, "is not JSON");
    }

    #[test]
    fn values_are_pythons() {
        assert_eq!(values(&[1.0, 0.5, 0.1]), br#"{"values": [1.0, 0.5, 0.10000000149011612]}"#);
        assert_eq!(values(&[2.351_164_2e-25]), br#"{"values": [2.351164182751458e-25]}"#);
    }
}
