//! NumPy's array files, as the archives hold them.
//!
//! ```text
//! 93 "NUMPY"  01 00  76 00  "{'descr': '|u1', 'fortran_order': False, 'shape': (60000, 28, 28), }   …\n"  values
//!             version  length, 2 bytes; 4 from version 2 on
//! ```

/// The values of an array and its shape.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Array {
    pub(super) shape: Vec<usize>,
    pub(super) values: Values,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Values {
    Bytes(Vec<u8>),
    Whole(Vec<i64>),
    Real(Vec<f32>),
}

const TYPES: &str = "u1, u2, u4, u8, i1, i2, i4, i8, f4 or f8, little-endian";

impl Array {
    /// Reads a file; errors go on after "array `name`".
    pub(super) fn parse(bytes: &[u8]) -> Result<Array, String> {
        let header = || "has no header of NumPy's format, versions 1 to 3".to_owned();
        let rest = bytes.strip_prefix(b"\x93NUMPY").ok_or_else(header)?;
        let (len, rest) = match *rest {
            [1, _, a, b, ref rest @ ..] => (usize::from(u16::from_le_bytes([a, b])), rest),
            [2 | 3, _, a, b, c, d, ref rest @ ..] => {
                (u32::from_le_bytes([a, b, c, d]) as usize, rest)
            }
            _ => return Err(header()),
        };
        let (text, values) = rest.split_at_checked(len).ok_or_else(header)?;
        let text = std::str::from_utf8(text).map_err(|_| header())?;
        let after = |key: &str| {
            let (_, value) = text.split_once(&format!("'{key}':"))?;
            Some(value.trim_start())
        };
        let order = after("fortran_order").ok_or_else(header)?;
        if !order.starts_with("False") {
            return Err(
                "is in Fortran order, expected C order (numpy.ascontiguousarray)".to_owned()
            );
        }
        let kind = after("descr").and_then(|value| value.strip_prefix('\'')?.split('\'').next());
        let kind = kind.ok_or_else(|| format!("has a structured type, expected {TYPES}"))?;
        let shape = after("shape").and_then(shape).ok_or_else(header)?;
        let values = read(kind, &shape, values)?;
        Ok(Array { shape, values })
    }

    /// The values as labels.
    pub(super) fn labels(&self) -> Result<Vec<u8>, String> {
        // Keras keeps some labels as a column.
        if self.shape.len() != 1 && self.shape[1..].iter().any(|&size| size != 1) {
            return Err(format!("has shape {:?}, expected one label a sample", self.shape));
        }
        match &self.values {
            Values::Bytes(labels) => Ok(labels.clone()),
            Values::Whole(labels) => labels
                .iter()
                .enumerate()
                .map(|(at, &label)| {
                    u8::try_from(label).map_err(|_| {
                        format!("has label {label} for sample {at}, expected 0 to 255")
                    })
                })
                .collect(),
            Values::Real(_) => Err("holds numbers with a fraction, expected whole ones".to_owned()),
        }
    }
}

/// The sizes in `(60000, 28, 28), …`.
fn shape(text: &str) -> Option<Vec<usize>> {
    let (sizes, _) = text.strip_prefix('(')?.split_once(')')?;
    let sizes = sizes.split(',').map(str::trim).filter(|size| !size.is_empty());
    let sizes: Vec<usize> = sizes.map(|size| size.parse().ok()).collect::<Option<_>>()?;
    (1..=8).contains(&sizes.len()).then_some(sizes)
}

fn read(kind: &str, shape: &[usize], bytes: &[u8]) -> Result<Values, String> {
    let width = match kind.trim_start_matches(['<', '|']) {
        "u1" | "i1" => 1,
        "u2" | "i2" => 2,
        "u4" | "i4" | "f4" => 4,
        "u8" | "i8" | "f8" => 8,
        _ => return Err(format!("has type `{kind}`, expected {TYPES}")),
    };
    let len = shape.iter().try_fold(width, |len: usize, &size| len.checked_mul(size));
    if len != Some(bytes.len()) {
        return Err(format!(
            "has shape {shape:?} of `{kind}` and {} bytes of values, expected {}",
            bytes.len(),
            len.map_or("fewer dimensions".to_owned(), |len| len.to_string())
        ));
    }
    let whole = |read: fn(&[u8]) -> Option<i64>| {
        let values = bytes.chunks_exact(width).map(read);
        values.collect::<Option<_>>().map(Values::Whole)
    };
    let values = match kind.trim_start_matches(['<', '|']) {
        "u1" => Some(Values::Bytes(bytes.to_vec())),
        "i1" => whole(|bytes| Some(i64::from(bytes[0] as i8))),
        "u2" => whole(|bytes| Some(u16::from_le_bytes(bytes.try_into().ok()?).into())),
        "i2" => whole(|bytes| Some(i16::from_le_bytes(bytes.try_into().ok()?).into())),
        "u4" => whole(|bytes| Some(u32::from_le_bytes(bytes.try_into().ok()?).into())),
        "i4" => whole(|bytes| Some(i32::from_le_bytes(bytes.try_into().ok()?).into())),
        "u8" => whole(|bytes| u64::from_le_bytes(bytes.try_into().ok()?).try_into().ok()),
        "i8" => whole(|bytes| Some(i64::from_le_bytes(bytes.try_into().ok()?))),
        "f4" => {
            let values = bytes.chunks_exact(4);
            let value = |bytes: &[u8]| Some(f32::from_le_bytes(bytes.try_into().ok()?));
            values.map(value).collect::<Option<_>>().map(Values::Real)
        }
        _ => {
            let values = bytes.chunks_exact(8);
            let value = |bytes: &[u8]| Some(f64::from_le_bytes(bytes.try_into().ok()?) as f32);
            values.map(value).collect::<Option<_>>().map(Values::Real)
        }
    };
    values.ok_or_else(|| "holds a number beyond 2^63".to_owned())
}
