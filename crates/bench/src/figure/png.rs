//! PNG, as far as a figure needs it: 8 bits a channel, red, green and blue, one image.
//!
//! ```text
//! 89 'P' 'N' 'G' 0d 0a 1a 0a
//! chunk: length: u32, type: 4 bytes, content, CRC-32 of type and content; big-endian
//! IHDR: width, height, 8 bits, colour type 2     pHYs: pixels a metre     IDAT: zlib of the rows     IEND
//! row: filter type, then the pixels
//! ```
//!
//! Rows are filtered by "up" (type 2), the difference to the row above: figures are mostly areas and upright lines.

use std::io::Write as _;

use flate2::write::ZlibEncoder;
use flate2::{Compression, Crc};

const CHANNELS: usize = 3;

/// Encodes rows of `width` pixels, red, green and blue, for printing at `pixels_per_metre`.
pub(super) fn encode(width: u32, pixels: &[u8], pixels_per_metre: u32) -> Vec<u8> {
    let row = width as usize * CHANNELS;
    let height = (pixels.len() / row.max(1)) as u32;
    let mut png = b"\x89PNG\r\n\x1a\n".to_vec();
    let mut header = [width.to_be_bytes(), height.to_be_bytes()].concat();
    header.extend([8, 2, 0, 0, 0]);
    chunk(&mut png, *b"IHDR", &header);
    let per_metre = pixels_per_metre.to_be_bytes();
    chunk(&mut png, *b"pHYs", &[&per_metre[..], &per_metre, &[1]].concat());
    let mut above = vec![0; row];
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    let mut filtered = vec![0; row + 1];
    for pixels in pixels.chunks_exact(row.max(1)) {
        filtered[0] = 2;
        for (filtered, (own, above)) in filtered[1..].iter_mut().zip(pixels.iter().zip(&above)) {
            *filtered = own.wrapping_sub(*above);
        }
        encoder.write_all(&filtered).expect("memory takes all bytes");
        above.copy_from_slice(pixels);
    }
    chunk(&mut png, *b"IDAT", &encoder.finish().expect("memory takes all bytes"));
    chunk(&mut png, *b"IEND", &[]);
    png
}

fn chunk(png: &mut Vec<u8>, name: [u8; 4], content: &[u8]) {
    png.extend((content.len() as u32).to_be_bytes());
    let start = png.len();
    png.extend(name);
    png.extend(content);
    let mut crc = Crc::new();
    crc.update(&png[start..]);
    png.extend(crc.sum().to_be_bytes());
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn the_pixels_come_back() {
        let pixels: Vec<u8> = (0..2 * 3 * 3).map(|at| (at * 37) as u8).collect();
        let png = encode(2, &pixels, 5669);
        // Signature, IHDR of 25 bytes, pHYs of 21, then the length and type of IDAT.
        let start = 8 + 25 + 21;
        let len = u32::from_be_bytes(png[start..start + 4].try_into().unwrap()) as usize;
        assert_eq!(&png[start + 4..start + 8], b"IDAT");
        let mut rows = Vec::new();
        let content = &png[start + 8..start + 8 + len];
        flate2::read::ZlibDecoder::new(content).read_to_end(&mut rows).unwrap();
        let mut above = vec![0u8; 6];
        for (row, expected) in rows.chunks(7).zip(pixels.chunks(6)) {
            for (above, byte) in above.iter_mut().zip(&row[1..]) {
                *above = above.wrapping_add(*byte);
            }
            assert_eq!(above, expected);
        }
        // The CRC of an empty IEND is in the specification.
        assert!(png.ends_with(&[0xae, 0x42, 0x60, 0x82]));
    }
}
