//! Avro records of numbers, without their schema ("Apache Avro 1.11 Specification", "Binary Encoding").
//!
//! Samples are records of numbers, arrays of numbers and records of such; that is all that is read here. Other types are
//! refused when the schema is, so that the whole of Avro need not be linked into an edge node.

use serde_json::Value;

use crate::reject::{Reject, RejectCode};

/// Records within records, at most.
const MAX_DEPTH: usize = 16;
/// Elements of one value, at most: an array's count is the sender's word.
const MAX_ELEMENTS: usize = 1 << 24;

/// What a schema says of the bytes.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Schema {
    Boolean,
    /// `int` or `long`.
    Integer,
    Float,
    Double,
    Array(Box<Schema>),
    Record(Vec<Schema>),
}

impl Schema {
    /// Errors go on after the schema's name.
    pub(super) fn new(schema: &Value) -> Result<Self, String> {
        Self::within(schema, 0)
    }

    fn within(schema: &Value, depth: usize) -> Result<Self, String> {
        if MAX_DEPTH < depth {
            return Err(format!("is more than {MAX_DEPTH} deep"));
        }
        let name = match schema {
            Value::String(name) => name,
            Value::Object(object) => match &object.get("type") {
                Some(Value::String(name)) => name,
                Some(inner) => return Self::within(inner, depth + 1),
                None => return Err(format!("has no `type`: {schema}")),
            },
            _ => return Err(format!("is `{schema}`, expected a record of numbers")),
        };
        Ok(match name.as_str() {
            "boolean" => Self::Boolean,
            "int" | "long" => Self::Integer,
            "float" => Self::Float,
            "double" => Self::Double,
            "array" => Self::Array(Box::new(Self::within(&schema["items"], depth + 1)?)),
            "record" => {
                let fields = schema["fields"].as_array();
                let fields =
                    fields.ok_or_else(|| format!("has a record without `fields`: {schema}"))?;
                let fields = fields.iter().map(|field| Self::within(&field["type"], depth + 1));
                Self::Record(fields.collect::<Result<_, _>>()?)
            }
            other => {
                return Err(format!(
                    "has the type `{other}`, expected boolean, int, long, float, double, array or record"
                ));
            }
        })
    }

    /// The numbers of a value, in the order of its fields.
    pub(super) fn decode(&self, value: &[u8]) -> Result<Vec<f32>, Reject> {
        let mut rest = value;
        let mut numbers = Vec::new();
        let read = self.read(&mut rest, &mut numbers);
        let left = rest.len();
        if read.is_none() || 0 < left {
            let reason = match read {
                None => {
                    format!("the value of {} bytes is no record of the Avro schema", value.len())
                }
                Some(()) => {
                    format!("the value has {left} bytes behind the record of the Avro schema")
                }
            };
            return Err(Reject::new(RejectCode::WrongShape, reason));
        }
        Ok(numbers)
    }

    fn read(&self, rest: &mut &[u8], numbers: &mut Vec<f32>) -> Option<()> {
        if MAX_ELEMENTS <= numbers.len() {
            return None;
        }
        match self {
            Self::Boolean => numbers.push(f32::from(u8::from(rest.split_off_first()? == &1))),
            Self::Integer => numbers.push(long(rest)? as f32),
            Self::Float => numbers.push(f32::from_le_bytes(take(rest)?)),
            Self::Double => numbers.push(f64::from_le_bytes(take(rest)?) as f32),
            Self::Record(fields) => {
                for field in fields {
                    field.read(rest, numbers)?;
                }
            }
            Self::Array(items) => loop {
                let count = long(rest)?;
                if count < 0 {
                    // The block's bytes are said too, for readers that skip it.
                    long(rest)?;
                }
                for _ in 0..count.unsigned_abs() {
                    let before = (rest.len(), numbers.len());
                    items.read(rest, numbers)?;
                    // A record of nothing could be there any number of times.
                    if before == (rest.len(), numbers.len()) {
                        return None;
                    }
                }
                if count == 0 {
                    break;
                }
            },
        }
        Some(())
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    rest.split_off(..N)?.try_into().ok()
}

/// A zig-zag number of variable length.
fn long(rest: &mut &[u8]) -> Option<i64> {
    let mut number = 0u64;
    for shift in (0..70).step_by(7) {
        let byte = *rest.split_off_first()?;
        number |= u64::from(byte & 0x7f).checked_shl(shift)?;
        if byte < 0x80 {
            return Some((number >> 1) as i64 ^ -((number & 1) as i64));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn sensor() -> Schema {
        Schema::new(&json!({ "type": "record", "name": "sample", "fields": [
            { "name": "on", "type": "boolean" },
            { "name": "count", "type": "long" },
            { "name": "level", "type": "float" },
            { "name": "rows", "type": { "type": "array", "items": "double" } },
        ] }))
        .unwrap()
    }

    #[test]
    fn numbers_come_in_the_order_of_the_fields() {
        let mut value = vec![1, 0x85, 0x01];
        value.extend(0.5f32.to_le_bytes());
        value.push(4);
        value.extend([1.5f64, -2.0].map(f64::to_le_bytes).concat());
        value.push(0);
        assert_eq!(sensor().decode(&value).unwrap(), [1.0, -67.0, 0.5, 1.5, -2.0]);
        // The same array as a block that says its bytes.
        let at = value.len() - 18;
        value.splice(at..=at, [3, 32]);
        assert_eq!(sensor().decode(&value).unwrap(), [1.0, -67.0, 0.5, 1.5, -2.0]);
        value.push(9);
        assert!(sensor().decode(&value).unwrap_err().reason.contains("1 bytes behind"));
    }

    #[test]
    fn a_schema_of_other_things_is_refused() {
        for (schema, words) in [
            (json!("string"), "`string`, expected boolean"),
            (json!(["null", "int"]), "expected a record of numbers"),
            (json!({ "type": "record" }), "without `fields`"),
            (json!({ "items": "int" }), "has no `type`"),
        ] {
            let error = Schema::new(&schema).unwrap_err();
            assert!(error.contains(words), "{words}: {error}");
        }
        let deep =
            (0..40).fold(json!("int"), |inner, _| json!({ "type": "array", "items": inner }));
        assert!(Schema::new(&deep).unwrap_err().contains("deep"));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(value in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = sensor().decode(&value);
            let nothing = Schema::Array(Box::new(Schema::Record(Vec::new())));
            let _ = nothing.decode(&value);
        }
    }
}
