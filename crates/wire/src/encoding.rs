//! How samples stand in a record's value.
//!
//! ```text
//! json                     nested lists: [[…], …]                                       the default
//! u8 i16 i32 f16 f32 f64   the elements, little-endian, one sample after the other      `u8` as images are
//! int8                     per sample: scale:f32, then an i8 per element; element = scale × i8
//! ```
//!
//! Forwarded features say how they are written in `offramp-encoding`, so that the next tier reads what it gets,
//! whatever is configured there. `int8` scales each sample by its own largest element (symmetric quantisation, one
//! scale per sample), so its error is at most 1/254 of that.

use std::fmt;
use std::str::FromStr;

use half::f16;

use crate::element::{Element, finite};
use crate::reject::{Reject, RejectCode};
use crate::tensor::Tensor;

/// The largest magnitude of an `i8` that is used: with −128 the range would not be symmetric.
const INT8_MAX: f32 = 127.0;

/// How samples are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Encoding {
    /// Nested lists of numbers.
    #[default]
    Json,
    /// Unsigned bytes.
    U8,
    /// 16-bit integers, little-endian.
    I16,
    /// 32-bit integers, little-endian.
    I32,
    /// 16-bit floats, little-endian.
    F16,
    /// 32-bit floats, little-endian.
    F32,
    /// 64-bit floats, little-endian.
    F64,
    /// A scale, and bytes that are multiplied by it.
    Int8,
}

impl Encoding {
    /// Every encoding, in the order in which help texts and errors list them.
    pub const ALL: [Self; 8] =
        [Self::Json, Self::U8, Self::I16, Self::I32, Self::F16, Self::F32, Self::F64, Self::Int8];
    /// Those in which features can be forwarded.
    pub const OF_FEATURES: [Self; 4] = [Self::Json, Self::F32, Self::F16, Self::Int8];

    /// The name in configuration and headers.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::U8 => "u8",
            Self::I16 => "i16",
            Self::I32 => "i32",
            Self::F16 => "f16",
            Self::F32 => "f32",
            Self::F64 => "f64",
            Self::Int8 => "int8",
        }
    }

    /// How each element is written; None for JSON, and for bytes with a scale.
    const fn element(self) -> Option<Element> {
        match self {
            Self::Json | Self::Int8 => None,
            Self::U8 => Some(Element::U8),
            Self::I16 => Some(Element::I16),
            Self::I32 => Some(Element::I32),
            Self::F16 => Some(Element::F16),
            Self::F32 => Some(Element::F32),
            Self::F64 => Some(Element::F64),
        }
    }

    /// Bytes of a sample of `elements`; None for JSON, which has no fixed size.
    pub fn sample_bytes(self, elements: usize) -> Option<usize> {
        match self {
            Self::Int8 => Some(4 + elements),
            _ => self.element().map(|element| element.bytes() * elements),
        }
    }

    /// Reads the samples of a value, each of `sample_shape`: their elements one after the other, and how many
    /// samples they are.
    ///
    /// # Errors
    ///
    /// The value is not so many whole samples, or holds a number that is not finite.
    pub fn decode(self, value: &[u8], sample_shape: &[usize]) -> Result<(Vec<f32>, usize), Reject> {
        let elements: usize = sample_shape.iter().product();
        let Some(size) = self.sample_bytes(elements) else {
            let tensor = Tensor::from_json(value)?;
            let samples = tensor.samples_of(sample_shape)?;
            return Ok((tensor.data, samples));
        };
        if value.is_empty() || size == 0 || !value.len().is_multiple_of(size) {
            let reason = format!(
                "the value has {} bytes, expected {size} for each sample of shape {sample_shape:?} \
                 written as {self}",
                value.len()
            );
            return Err(Reject::new(RejectCode::WrongShape, reason));
        }
        let data = match self.element() {
            Some(element) => element.decode(value)?,
            None => finite(value.chunks_exact(size).flat_map(scaled).collect())?,
        };
        let samples = value.len() / size;
        Ok((data, samples))
    }

    /// Writes rows of finite elements, one sample each. Whole numbers are rounded and cut to their range.
    pub fn encode<'a>(self, rows: impl IntoIterator<Item = &'a [f32]>) -> Vec<u8> {
        let rows = rows.into_iter();
        match self {
            Self::Json => Tensor::rows_to_json(rows),
            Self::U8 => rows.flatten().map(|&element| element.round() as u8).collect(),
            Self::I16 => all(rows, |element| (element.round() as i16).to_le_bytes()),
            Self::I32 => all(rows, |element| (element.round() as i32).to_le_bytes()),
            Self::F16 => all(rows, |element| {
                // What is too large for a half is cut to the largest, not to infinity.
                let (least, most) = (f16::MIN.to_f32(), f16::MAX.to_f32());
                f16::from_f32(element.clamp(least, most)).to_le_bytes()
            }),
            Self::F32 => all(rows, f32::to_le_bytes),
            Self::F64 => all(rows, |element| f64::from(element).to_le_bytes()),
            Self::Int8 => rows.flat_map(quantised).collect(),
        }
    }
}

fn all<'a, const N: usize>(
    rows: impl Iterator<Item = &'a [f32]>,
    bytes: impl Fn(f32) -> [u8; N],
) -> Vec<u8> {
    rows.flatten().flat_map(|&element| bytes(element)).collect()
}

/// The elements of one sample, from its scale and bytes.
fn scaled(sample: &[u8]) -> impl Iterator<Item = f32> {
    let (scale, bytes) = sample.split_at(4);
    let scale = f32::from_le_bytes(scale.try_into().expect("four bytes"));
    bytes.iter().map(move |&byte| scale * f32::from(byte as i8))
}

/// The scale and bytes of one sample.
fn quantised(row: &[f32]) -> impl Iterator<Item = u8> {
    let largest = row.iter().fold(0f32, |largest, element| largest.max(element.abs()));
    let scale = largest / INT8_MAX;
    let inverse = if scale > 0.0 { scale.recip() } else { 0.0 };
    // A scale so small that its inverse overflows stands for elements that are as good as zero.
    let inverse = if inverse.is_finite() { inverse } else { 0.0 };
    let bytes = row.iter().map(move |element| (element * inverse).round() as i8 as u8);
    scale.to_le_bytes().into_iter().chain(bytes)
}

impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// An encoding that does not exist.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not an encoding; expected json, u8, i16, i32, f16, f32, f64 or int8")]
pub struct UnknownEncoding(String);

impl FromStr for Encoding {
    type Err = UnknownEncoding;

    fn from_str(name: &str) -> Result<Self, UnknownEncoding> {
        let found = Self::ALL.into_iter().find(|encoding| encoding.name() == name);
        found.ok_or_else(|| UnknownEncoding(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn round_trip(encoding: Encoding, rows: &[&[f32]]) -> Vec<f32> {
        let bytes = encoding.encode(rows.iter().copied());
        let (data, samples) = encoding.decode(&bytes, &[rows[0].len()]).unwrap();
        assert_eq!(samples, rows.len(), "{encoding}");
        data
    }

    #[test]
    fn whole_numbers_survive_in_every_encoding() {
        for encoding in Encoding::ALL {
            let rows: [&[f32]; 2] = [&[0.0, 1.0, 127.0], &[127.0, 5.0, 0.0]];
            assert_eq!(round_trip(encoding, &rows), rows.concat(), "{encoding}");
            assert_eq!(encoding.name().parse::<Encoding>().unwrap(), encoding);
        }
        assert!("float".parse::<Encoding>().is_err());
    }

    #[test]
    fn bytes_stand_as_they_are_documented() {
        assert_eq!(Encoding::U8.encode([&[1.0, 255.0][..]]), [1, 255]);
        assert_eq!(Encoding::I16.encode([&[-2.0][..]]), [0xfe, 0xff]);
        assert_eq!(Encoding::F16.encode([&[1.0][..]]), [0x00, 0x3c]);
        assert_eq!(Encoding::Int8.encode([&[127.0, -127.0][..]]), [0, 0, 0x80, 0x3f, 127, 0x81]);
    }

    #[test]
    fn what_is_not_whole_samples_or_not_finite_is_rejected() {
        let reject =
            |encoding: Encoding, value: &[u8]| encoding.decode(value, &[2, 2]).unwrap_err();
        for (encoding, length) in [(Encoding::U8, 5), (Encoding::F32, 15), (Encoding::Int8, 9)] {
            let reject = reject(encoding, &vec![0; length]);
            assert_eq!(reject.code, RejectCode::WrongShape);
            assert!(reject.reason.contains(&format!("has {length} bytes")), "{reject}");
        }
        assert_eq!(reject(Encoding::F32, &[]).code, RejectCode::WrongShape);
        let nan = f32::NAN.to_le_bytes().repeat(4);
        assert_eq!(reject(Encoding::F32, &nan).code, RejectCode::NotFinite);
        let huge = f64::MAX.to_le_bytes().repeat(4);
        assert_eq!(reject(Encoding::F64, &huge).code, RejectCode::NotFinite);
    }

    proptest! {
        #[test]
        fn int8_is_off_by_a_254th_of_the_largest_element_at_most(
            row in prop::collection::vec(-1e6f32..1e6, 1..40)
        ) {
            let largest = row.iter().fold(0f32, |largest, element| largest.max(element.abs()));
            let bound = largest / 254.0 * 1.001 + f32::MIN_POSITIVE;
            for (before, after) in row.iter().zip(round_trip(Encoding::Int8, &[&row])) {
                prop_assert!((before - after).abs() <= bound, "{before} became {after}");
            }
        }

        #[test]
        fn f32_is_exact_and_f16_close(row in prop::collection::vec(-6e4f32..6e4, 1..40)) {
            prop_assert_eq!(&round_trip(Encoding::F32, &[&row]), &row);
            for (before, after) in row.iter().zip(round_trip(Encoding::F16, &[&row])) {
                prop_assert!((before - after).abs() <= before.abs() / 1024.0 + 1e-7);
            }
        }

        #[test]
        fn any_bytes_are_read_or_rejected(value in prop::collection::vec(any::<u8>(), 0..200)) {
            for encoding in Encoding::ALL {
                let _ = encoding.decode(&value, &[3, 2]);
            }
        }
    }
}
