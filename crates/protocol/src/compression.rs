//! Compressed records.
//!
//! Snappy comes in two forms: as one raw block, or in blocks behind the header that Java clients write, which
//! is what all clients read:
//!
//! ```text
//! 82 "SNAPPY" 00 version:i32 compatible:i32 ( length:i32 block )*
//! ```

use std::borrow::Cow;
use std::io::{self, Read, Write};

use bytes::{Buf, BufMut};

use crate::batch::BatchHeader;

const SNAPPY_MAGIC: [u8; 8] = *b"\x82SNAPPY\0";
const SNAPPY_VERSION: i32 = 1;
/// Size of the blocks that Java clients write.
const SNAPPY_BLOCK_BYTES: usize = 32 * 1024;

/// Why records cannot be made out.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "each says what it is")]
pub enum InflateError {
    #[error("the records are larger than {bound} bytes once they are decompressed")]
    TooLarge { bound: usize },
    #[error("the records cannot be decompressed: {0}")]
    Damaged(#[from] io::Error),
}

/// How the records of a batch are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// As gzip does.
    Gzip,
    /// As Snappy does.
    Snappy,
    /// As LZ4 does, in frames.
    Lz4,
    /// As Zstandard does.
    Zstd,
}

impl Compression {
    /// All there are.
    pub const ALL: [Self; 5] = [Self::None, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd];

    /// Its code in a batch's attributes.
    pub const fn code(self) -> i16 {
        self as i16
    }

    /// None for a code that nobody has given a meaning.
    pub fn of(batch: &BatchHeader) -> Option<Self> {
        match batch.compression_code() {
            0 => Some(Self::None),
            1 => Some(Self::Gzip),
            2 => Some(Self::Snappy),
            3 => Some(Self::Lz4),
            4 => Some(Self::Zstd),
            _ => None,
        }
    }

    /// The records as they were before compression, if they were at most `bound` bytes.
    pub fn inflate(self, bytes: &[u8], bound: usize) -> Result<Cow<'_, [u8]>, InflateError> {
        match self {
            Self::None => return Ok(bytes.into()),
            Self::Gzip => read(flate2::read::MultiGzDecoder::new(bytes), bound),
            Self::Snappy => inflate_snappy(bytes, bound),
            Self::Lz4 => read(lz4_flex::frame::FrameDecoder::new(bytes), bound),
            Self::Zstd => {
                let decoder = ruzstd::decoding::StreamingDecoder::new(bytes);
                read(decoder.map_err(io::Error::other)?, bound)
            }
        }
        .map(Cow::from)
    }

    /// The records, compressed.
    pub fn deflate(self, bytes: Vec<u8>) -> io::Result<Vec<u8>> {
        match self {
            Self::None => Ok(bytes),
            Self::Gzip => {
                let mut encoder =
                    flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
                encoder.write_all(&bytes)?;
                encoder.finish()
            }
            Self::Snappy => deflate_snappy(&bytes),
            Self::Lz4 => {
                let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
                encoder.write_all(&bytes)?;
                encoder.finish().map_err(io::Error::other)
            }
            Self::Zstd => {
                use ruzstd::encoding::{CompressionLevel, compress_to_vec};
                Ok(compress_to_vec(&bytes[..], CompressionLevel::Fastest))
            }
        }
    }
}

fn read(decoder: impl Read, bound: usize) -> Result<Vec<u8>, InflateError> {
    let mut records = Vec::new();
    decoder.take(bound as u64 + 1).read_to_end(&mut records)?;
    if bound < records.len() { Err(InflateError::TooLarge { bound }) } else { Ok(records) }
}

fn inflate_snappy(bytes: &[u8], bound: usize) -> Result<Vec<u8>, InflateError> {
    let mut records = Vec::new();
    let Some(mut blocks) = bytes.strip_prefix(&SNAPPY_MAGIC) else {
        inflate_block(bytes, bound, &mut records)?;
        return Ok(records);
    };
    let cut_off = || InflateError::Damaged(io::ErrorKind::UnexpectedEof.into());
    blocks.try_get_i64().map_err(|_| cut_off())?;
    while blocks.has_remaining() {
        let length = blocks.try_get_i32().ok().and_then(|length| usize::try_from(length).ok());
        let block = length.and_then(|length| blocks.get(..length)).ok_or_else(cut_off)?;
        blocks.advance(block.len());
        inflate_block(block, bound, &mut records)?;
    }
    Ok(records)
}

/// Appends a block to `records`, which then have at most `bound` bytes.
fn inflate_block(block: &[u8], bound: usize, records: &mut Vec<u8>) -> Result<(), InflateError> {
    let start = records.len();
    let size = snap::raw::decompress_len(block).map_err(io::Error::from)?;
    if bound - start < size {
        return Err(InflateError::TooLarge { bound });
    }
    records.resize(start + size, 0);
    let mut decoder = snap::raw::Decoder::new();
    decoder.decompress(block, &mut records[start..]).map_err(io::Error::from)?;
    Ok(())
}

fn deflate_snappy(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut framed = SNAPPY_MAGIC.to_vec();
    framed.put_i32(SNAPPY_VERSION);
    framed.put_i32(SNAPPY_VERSION);
    let mut encoder = snap::raw::Encoder::new();
    for block in bytes.chunks(SNAPPY_BLOCK_BYTES) {
        let block = encoder.compress_vec(block)?;
        framed.put_i32(block.len() as i32);
        framed.put_slice(&block);
    }
    Ok(framed)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Half of it repeats and half of it does not.
    fn sample() -> Vec<u8> {
        let mut state = 1u32;
        let noise = std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        });
        noise.take(50_000).chain(std::iter::repeat_n(7, 50_000)).collect()
    }

    #[test]
    fn what_was_compressed_comes_back() {
        for compression in Compression::ALL {
            for bytes in [sample(), Vec::new(), b"x".to_vec()] {
                let compressed = compression.deflate(bytes.clone()).unwrap();
                let inflated = compression.inflate(&compressed, bytes.len()).unwrap();
                assert_eq!(inflated, bytes, "{compression:?}");
            }
        }
    }

    #[test]
    fn no_more_than_the_bound_is_inflated() {
        for compression in &Compression::ALL[1..] {
            let compressed = compression.deflate(vec![0; 1 << 20]).unwrap();
            let error = compression.inflate(&compressed, (1 << 20) - 1).unwrap_err();
            assert!(matches!(error, InflateError::TooLarge { .. }), "{compression:?}: {error}");
        }
    }

    #[test]
    fn damaged_bytes_are_an_error_and_never_a_panic() {
        for compression in &Compression::ALL[1..] {
            let compressed = compression.deflate(sample()).unwrap();
            for position in (0..compressed.len()).step_by(97) {
                let mut damaged = compressed.clone();
                damaged[position] ^= 0x55;
                let _ = compression.inflate(&damaged, 1 << 20);
                let cut = compression.inflate(&compressed[..position], 1 << 20);
                let is_whole = cut.is_ok_and(|records| records == sample());
                assert!(!is_whole, "{compression:?} cut at {position}");
            }
        }
    }

    #[test]
    fn snappy_without_a_header_is_one_block() {
        let block = snap::raw::Encoder::new().compress_vec(&sample()).unwrap();
        assert_eq!(Compression::Snappy.inflate(&block, 1 << 20).unwrap(), sample());
    }
}
