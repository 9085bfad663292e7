//! Elements of tensors as raw bytes, little-endian.

use half::f16;

use crate::reject::{Reject, RejectCode};

/// How an element is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Element {
    /// 16-bit float.
    F16,
    /// 32-bit float.
    F32,
    /// 64-bit float.
    F64,
    /// Signed byte.
    I8,
    /// 16-bit integer.
    I16,
    /// 32-bit integer.
    I32,
    /// 64-bit integer.
    I64,
    /// Unsigned byte.
    U8,
    /// Unsigned 16-bit integer.
    U16,
    /// A byte that is 0 or not.
    Bool,
}

impl Element {
    /// Bytes of an element.
    pub const fn bytes(self) -> usize {
        match self {
            Self::I8 | Self::U8 | Self::Bool => 1,
            Self::F16 | Self::I16 | Self::U16 => 2,
            Self::F32 | Self::I32 => 4,
            Self::F64 | Self::I64 => 8,
        }
    }

    /// The elements of a value; what is behind the last whole one is left.
    ///
    /// # Errors
    ///
    /// One is not a finite 32-bit float.
    pub fn decode(self, value: &[u8]) -> Result<Vec<f32>, Reject> {
        let elements: Vec<f32> = match self {
            Self::F16 => each(value, |bytes| f16::from_le_bytes(bytes).to_f32()),
            Self::F32 => each(value, f32::from_le_bytes),
            Self::F64 => each(value, |bytes| f64::from_le_bytes(bytes) as f32),
            Self::I8 => each(value, |bytes| f32::from(i8::from_le_bytes(bytes))),
            Self::I16 => each(value, |bytes| f32::from(i16::from_le_bytes(bytes))),
            Self::I32 => each(value, |bytes| i32::from_le_bytes(bytes) as f32),
            Self::I64 => each(value, |bytes| i64::from_le_bytes(bytes) as f32),
            Self::U8 => value.iter().map(|&byte| f32::from(byte)).collect(),
            Self::U16 => each(value, |bytes| f32::from(u16::from_le_bytes(bytes))),
            Self::Bool => value.iter().map(|&byte| f32::from(u8::from(byte != 0))).collect(),
        };
        finite(elements)
    }
}

/// These elements, if all are finite.
pub(crate) fn finite(elements: Vec<f32>) -> Result<Vec<f32>, Reject> {
    match elements.iter().position(|element| !element.is_finite()) {
        None => Ok(elements),
        Some(at) => {
            let reason = format!("element {at} of the value is not a finite 32-bit float");
            Err(Reject::new(RejectCode::NotFinite, reason))
        }
    }
}

fn each<const N: usize>(value: &[u8], element: impl Fn([u8; N]) -> f32) -> Vec<f32> {
    let chunks = value.chunks_exact(N);
    chunks.map(|bytes| element(bytes.try_into().expect("chunks are of that size"))).collect()
}
