//! Samples as JSON nested lists: the value of the paper's records.
//!
//! ```text
//! [[[0, 0, 12, …28], …28 rows]]      one 28×28 image, batch dimension first     shape [1, 28, 28]
//! [[0.077, 0.0247, …10]]             one softmax vector                         shape [1, 10]
//! ```
//!
//! Numbers are written as the shortest decimal that reads back as the same `f32`.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, SeqAccess, Visitor};

use crate::reject::{Reject, RejectCode};
use crate::scan;

/// Deepest nesting that is read. Keras networks take at most 5 dimensions (3-D convolutions).
pub(crate) const MAX_RANK: usize = 8;

/// A dense block of `f32` in C order.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Tensor {
    /// Length of each dimension, outermost first.
    pub shape: Vec<usize>,
    /// Elements; as many as the product of `shape`.
    pub data: Vec<f32>,
}

impl Tensor {
    /// Reads a nested list. Ragged lists, anything that is not a number and numbers beyond `f32` are rejected.
    pub fn from_json(text: &[u8]) -> Result<Self, Reject> {
        scan::tensor(text).map_or_else(|| Self::parse(text), Ok)
    }

    /// The general way, which finds what is wrong.
    pub(crate) fn parse(text: &[u8]) -> Result<Self, Reject> {
        // Four characters an element (`255,`) is typical of images, so this seldom grows and never
        // reserves more than the text itself occupies.
        let mut builder = Builder { shape: Vec::new(), data: Vec::with_capacity(text.len() / 4) };
        let mut json = serde_json::Deserializer::from_slice(text);
        let read = Level { builder: &mut builder, depth: 0 }.deserialize(&mut json);
        read.and_then(|()| json.end()).map_err(|error| explain(text, &error))?;
        if let Some(at) = builder.data.iter().position(|value| !value.is_finite()) {
            return Err(Reject::new(
                RejectCode::NotFinite,
                format!("element {at} of the value does not fit a 32-bit float"),
            ));
        }
        Ok(Self { shape: builder.shape, data: builder.data })
    }

    /// Writes rows of `row_len` elements as a list of flat lists: `[[…], […]]`.
    pub fn rows_to_json<'a>(rows: impl IntoIterator<Item = &'a [f32]>) -> Vec<u8> {
        let mut out = Vec::with_capacity(256);
        out.push(b'[');
        for (at, row) in rows.into_iter().enumerate() {
            if at > 0 {
                out.extend_from_slice(b", ");
            }
            serde_json::to_writer(&mut out, row).expect("floats are serialised to memory");
        }
        out.push(b']');
        out
    }

    /// The number of samples of shape `sample_shape` in this tensor: a leading batch dimension may be there
    /// or not, and dimensions of length 1 do not count, so that a network of (28, 28, 1) takes a (28, 28) image.
    pub fn samples_of(&self, sample_shape: &[usize]) -> Result<usize, Reject> {
        let mismatch = || {
            Reject::new(
                RejectCode::WrongShape,
                format!(
                    "the value has shape {:?}, expected {sample_shape:?} or a batch of that",
                    self.shape
                ),
            )
        };
        let squeeze = |shape: &[usize]| -> Vec<usize> {
            shape.iter().copied().filter(|&length| length != 1).collect()
        };
        let wanted = squeeze(sample_shape);
        if squeeze(&self.shape) == wanted {
            return Ok(1);
        }
        match self.shape.split_first() {
            Some((&samples, rest)) if samples > 0 && squeeze(rest) == wanted => Ok(samples),
            _ => Err(mismatch()),
        }
    }
}

fn explain(text: &[u8], error: &serde_json::Error) -> Reject {
    if error.is_data() {
        return Reject::new(RejectCode::WrongShape, format!("the value {error}"));
    }
    // Python's `json.dumps` writes these, and no JSON parser reads them: say what it is.
    for token in [&b"NaN"[..], b"Infinity"] {
        if text.windows(token.len()).any(|window| window == token) {
            let token = String::from_utf8_lossy(token);
            return Reject::new(
                RejectCode::NotFinite,
                format!("the value holds {token}, expected finite numbers"),
            );
        }
    }
    if error.to_string().starts_with("number out of range") {
        return Reject::new(
            RejectCode::NotFinite,
            format!("the value holds a number that does not fit a 32-bit float: {error}"),
        );
    }
    Reject::new(RejectCode::NotJson, format!("the value is not a JSON list of numbers: {error}"))
}

struct Builder {
    shape: Vec<usize>,
    data: Vec<f32>,
}

/// Reads one level of nesting; the first visit to a depth fixes the length of that dimension.
struct Level<'a> {
    builder: &'a mut Builder,
    depth: usize,
}

impl<'de> DeserializeSeed<'de> for Level<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Level<'_> {
    fn number<E: serde::de::Error>(self, value: f32) -> Result<(), E> {
        if self.depth == 0
            || (self.depth != self.builder.shape.len() && !self.builder.data.is_empty())
        {
            return Err(E::custom(format!(
                "has a number at depth {}, expected equally deep lists",
                self.depth
            )));
        }
        if self.depth < self.builder.shape.len() {
            return Err(E::custom("is ragged, expected lists of equal depth"));
        }
        self.builder.data.push(value);
        Ok(())
    }
}

impl<'de> Visitor<'de> for Level<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nested lists of numbers")
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<(), E> {
        self.number(value as f32)
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<(), E> {
        self.number(value as f32)
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<(), E> {
        self.number(value as f32)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<(), A::Error> {
        let Self { builder, depth } = self;
        if depth == MAX_RANK {
            return Err(A::Error::custom(format!("nests deeper than {MAX_RANK} lists")));
        }
        let first_visit = builder.shape.len() == depth;
        if first_visit && !builder.data.is_empty() {
            return Err(A::Error::custom("is ragged, expected lists of equal depth"));
        }
        if first_visit {
            builder.shape.push(0);
        }
        let mut length = 0;
        while sequence.next_element_seed(Level { builder, depth: depth + 1 })?.is_some() {
            length += 1;
        }
        if first_visit {
            builder.shape[depth] = length;
        } else if builder.shape[depth] != length {
            return Err(A::Error::custom(format!(
                "is ragged: a list of {length} beside lists of {} at depth {depth}",
                builder.shape[depth]
            )));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(text: &str, shape: &[usize], data: &[f32]) {
        let tensor = Tensor::from_json(text.as_bytes()).unwrap();
        assert_eq!((tensor.shape.as_slice(), tensor.data.as_slice()), (shape, data), "{text}");
    }

    fn check_rejected(text: &str, code: RejectCode, words: &str) {
        let reject = Tensor::from_json(text.as_bytes()).unwrap_err();
        assert_eq!(reject.code, code, "{text}: {reject}");
        assert!(reject.reason.contains(words), "{text}: {reject}");
    }

    #[test]
    fn nested_lists_give_shape_and_elements() {
        check("[[1, 2.5], [-3, 4e0]]", &[2, 2], &[1.0, 2.5, -3.0, 4.0]);
        check("[[[0],[255]]]", &[1, 2, 1], &[0.0, 255.0]);
        check("[]", &[0], &[]);
        check(" [7] ", &[1], &[7.0]);
    }

    #[test]
    fn bad_values_are_rejected_with_the_reason() {
        check_rejected("hello", RejectCode::NotJson, "not a JSON list");
        check_rejected("", RejectCode::NotJson, "EOF");
        check_rejected("[1, 2", RejectCode::NotJson, "EOF");
        check_rejected("[1] [2]", RejectCode::NotJson, "trailing");
        check_rejected("[[1, NaN]]", RejectCode::NotFinite, "NaN");
        check_rejected("[-Infinity]", RejectCode::NotFinite, "Infinity");
        check_rejected("[1e999]", RejectCode::NotFinite, "32-bit float");
        check_rejected("[1e39]", RejectCode::NotFinite, "element 0");
        check_rejected("[[1, 2], [3]]", RejectCode::WrongShape, "a list of 1 beside lists of 2");
        check_rejected("[1, [2]]", RejectCode::WrongShape, "ragged");
        check_rejected("[[1], 2]", RejectCode::WrongShape, "depth");
        check_rejected("[[[1]], [[]]]", RejectCode::WrongShape, "ragged");
        check_rejected("[[], 1]", RejectCode::WrongShape, "ragged");
        check_rejected("3", RejectCode::WrongShape, "depth 0");
        check_rejected("{\"a\": 1}", RejectCode::WrongShape, "nested lists of numbers");
        check_rejected("[true]", RejectCode::WrongShape, "nested lists of numbers");
        check_rejected("[null]", RejectCode::WrongShape, "nested lists of numbers");
        check_rejected(&"[".repeat(100_000), RejectCode::WrongShape, "nests deeper");
    }

    #[test]
    fn a_batch_dimension_and_lengths_of_one_do_not_matter() {
        let of = |shape: &[usize], sample: &[usize]| {
            let data = vec![0.0; shape.iter().product()];
            Tensor { shape: shape.to_vec(), data }.samples_of(sample).map_err(|reject| reject.code)
        };
        assert_eq!(of(&[28, 28], &[28, 28, 1]), Ok(1));
        assert_eq!(of(&[1, 28, 28], &[28, 28]), Ok(1));
        assert_eq!(of(&[5, 28, 28], &[28, 28, 1]), Ok(5));
        assert_eq!(of(&[16], &[16]), Ok(1));
        assert_eq!(of(&[4, 16], &[16]), Ok(4));
        assert_eq!(of(&[1], &[1]), Ok(1));
        assert_eq!(of(&[3], &[1]), Ok(3));
        assert_eq!(of(&[784], &[28, 28]), Err(RejectCode::WrongShape));
        assert_eq!(of(&[0, 16], &[16]), Err(RejectCode::WrongShape));
        assert_eq!(of(&[2, 27, 28], &[28, 28]), Err(RejectCode::WrongShape));
    }

    proptest! {
        #[test]
        fn rows_read_back_as_they_were_written(rows in prop::collection::vec(
            prop::collection::vec(prop::num::f32::NORMAL | prop::num::f32::ZERO | prop::num::f32::SUBNORMAL, 3), 1..5)) {
            let text = Tensor::rows_to_json(rows.iter().map(Vec::as_slice));
            let tensor = Tensor::from_json(&text).unwrap();
            prop_assert_eq!(tensor.shape, vec![rows.len(), 3]);
            prop_assert_eq!(tensor.data, rows.concat());
        }

        #[test]
        fn any_bytes_are_read_or_rejected(text in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Tensor::from_json(&text);
        }
    }
}
