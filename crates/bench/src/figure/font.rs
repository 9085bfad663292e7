//! Text in `DejaVu Sans`: how wide it is, and its outlines, which `build.rs` has packed into the program.
//!
//! Bold text is the same font with a stroke along its outlines, [`weight`] wide: a second font for titles would take as
//! much of the program as the first.

use std::collections::HashMap;
use std::io::Read as _;
use std::sync::LazyLock;

use bytes::{Buf as _, Bytes};
use flate2::read::ZlibDecoder;
use tiny_skia::{Path, PathBuilder};

static FONT: LazyLock<Font> = LazyLock::new(|| {
    let packed = &include_bytes!(concat!(env!("OUT_DIR"), "/font.zlib"))[..];
    let mut font = Vec::new();
    ZlibDecoder::new(packed).read_to_end(&mut font).expect("what was packed unpacks");
    Font::read(font.into())
});

/// Stands for every character that the font lacks.
const BOX: char = '\0';

/// How wide the stroke along the outlines of text is, in points: none but for bold text.
pub(super) fn weight(size: f64, bold: bool) -> f64 {
    if bold { size / 16.0 } else { 0.0 }
}

/// How wide a text is, in points.
pub(super) fn width(text: &str, size: f64, bold: bool) -> f64 {
    let scale = size / FONT.units_per_em;
    text.chars().map(|c| FONT.glyph(c).advance * scale + weight(size, bold)).sum()
}

/// The outlines of a text whose base line starts at the origin, in points, y downwards. `None` of blank text.
pub(super) fn outlines(text: &str, size: f64, bold: bool) -> Option<Path> {
    let scale = size / FONT.units_per_em;
    let weight = weight(size, bold);
    let mut path = PathBuilder::new();
    let mut x = weight / 2.0;
    for c in text.chars() {
        let glyph = FONT.glyph(c);
        glyph.draw(&mut path, x, scale);
        x += glyph.advance * scale + weight;
    }
    path.finish()
}

#[derive(Debug)]
struct Font {
    units_per_em: f64,
    glyphs: HashMap<char, Glyph>,
}

#[derive(Debug)]
struct Glyph {
    /// In the font's units.
    advance: f64,
    /// Steps, as `build.rs` writes them.
    outline: Bytes,
}

impl Font {
    fn read(mut bytes: Bytes) -> Self {
        let units_per_em = f64::from(bytes.get_u16_le());
        let mut glyphs = HashMap::new();
        while bytes.has_remaining() {
            let c = char::from_u32(bytes.get_u32_le()).expect("characters were packed");
            let advance = f64::from(bytes.get_u16_le());
            let length = usize::from(bytes.get_u16_le());
            glyphs.insert(c, Glyph { advance, outline: bytes.split_to(length) });
        }
        Self { units_per_em, glyphs }
    }

    fn glyph(&self, c: char) -> &Glyph {
        self.glyphs.get(&c).unwrap_or_else(|| &self.glyphs[&BOX])
    }
}

impl Glyph {
    /// From the font's units, y upwards, to points, y downwards.
    fn draw(&self, path: &mut PathBuilder, x: f64, scale: f64) {
        let (mut steps, mut at) = (self.outline.clone(), (0.0, 0.0));
        let mut point = |steps: &mut Bytes| {
            at.0 += f64::from(steps.get_i16_le());
            at.1 += f64::from(steps.get_i16_le());
            ((x + at.0 * scale) as f32, (-at.1 * scale) as f32)
        };
        while steps.has_remaining() {
            match steps.get_u8() {
                b'm' => {
                    let (x, y) = point(&mut steps);
                    path.move_to(x, y);
                }
                b'l' => {
                    let (x, y) = point(&mut steps);
                    path.line_to(x, y);
                }
                b'q' => {
                    let (x1, y1) = point(&mut steps);
                    let (x, y) = point(&mut steps);
                    path.quad_to(x1, y1, x, y);
                }
                _ => path.close(),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outlines_stand_where_their_text_does() {
        let of = |text| outlines(text, 10.0, false).unwrap().bounds();
        let (one, two) = (of("H"), of("HH"));
        assert!(0.0 < one.left() && one.bottom() <= 0.0 && -10.0 < one.top());
        assert!((f64::from(two.right() - one.right()) - width("H", 10.0, false)).abs() < 1e-3);
        assert!(outlines(" ", 10.0, false).is_none() && width(" ", 10.0, false) > 1.0);
        assert!(width("H", 10.0, false) < width("H", 10.0, true));
    }

    #[test]
    fn what_figures_say_has_outlines_of_its_own_and_all_else_a_box() {
        let of = |c: char| FONT.glyph(c).outline.clone();
        for c in "Aé≤×µ→–Ωя²".chars() {
            assert_ne!(of(c), of(BOX), "{c}");
        }
        assert_eq!(of('字'), of(BOX));
        assert!(of(BOX).len() > 20);
    }
}
