//! Text in `DejaVu Sans`: how wide it is, and its outlines. The font is in the program, packed.
//!
//! Bold text is the same font with a stroke along its outlines, [`weight`] wide: a second font for titles would take as
//! much of the program as the first.

use std::io::Read as _;
use std::sync::LazyLock;

use flate2::read::ZlibDecoder;
use tiny_skia::{Path, PathBuilder};
use ttf_parser::{Face, GlyphId, OutlineBuilder};

static FONT: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut packed = ZlibDecoder::new(&include_bytes!(concat!(env!("OUT_DIR"), "/font.zlib"))[..]);
    let mut font = Vec::new();
    packed.read_to_end(&mut font).expect("the font in the program is well-formed");
    font
});
static FACE: LazyLock<Face<'static>> =
    LazyLock::new(|| Face::parse(&FONT, 0).expect("the font in the program is well-formed"));

/// How wide the stroke along the outlines of text is, in points: none but for bold text.
pub(super) fn weight(size: f64, bold: bool) -> f64 {
    if bold { size / 16.0 } else { 0.0 }
}

/// How wide a text is, in points.
pub(super) fn width(text: &str, size: f64, bold: bool) -> f64 {
    let scale = size / f64::from(FACE.units_per_em());
    text.chars().map(|c| f64::from(advance(glyph(c))) * scale + weight(size, bold)).sum()
}

/// The outlines of a text whose base line starts at the origin, in points, y downwards. `None` of blank text.
pub(super) fn outlines(text: &str, size: f64, bold: bool) -> Option<Path> {
    let scale = size as f32 / f32::from(FACE.units_per_em());
    let weight = weight(size, bold) as f32;
    let mut outline = Outline { path: PathBuilder::new(), scale, x: weight / 2.0 };
    for c in text.chars() {
        let glyph = glyph(c);
        FACE.outline_glyph(glyph, &mut outline);
        outline.x += f32::from(advance(glyph)) * scale + weight;
    }
    outline.path.finish()
}

/// The glyph of a character; one that the font lacks shows as its box.
fn glyph(c: char) -> GlyphId {
    FACE.glyph_index(c).unwrap_or_default()
}

fn advance(glyph: GlyphId) -> u16 {
    FACE.glyph_hor_advance(glyph).unwrap_or_default()
}

/// Collects outlines: from the font's units, y upwards, to points.
struct Outline {
    path: PathBuilder,
    scale: f32,
    x: f32,
}

impl Outline {
    fn at(&self, x: f32, y: f32) -> (f32, f32) {
        (self.x + x * self.scale, -y * self.scale)
    }
}

impl OutlineBuilder for Outline {
    fn move_to(&mut self, x: f32, y: f32) {
        let (x, y) = self.at(x, y);
        self.path.move_to(x, y);
    }

    fn line_to(&mut self, x: f32, y: f32) {
        let (x, y) = self.at(x, y);
        self.path.line_to(x, y);
    }

    fn quad_to(&mut self, x1: f32, y1: f32, x: f32, y: f32) {
        let ((x1, y1), (x, y)) = (self.at(x1, y1), self.at(x, y));
        self.path.quad_to(x1, y1, x, y);
    }

    fn curve_to(&mut self, x1: f32, y1: f32, x2: f32, y2: f32, x: f32, y: f32) {
        let ((x1, y1), (x2, y2), (x, y)) = (self.at(x1, y1), self.at(x2, y2), self.at(x, y));
        self.path.cubic_to(x1, y1, x2, y2, x, y);
    }

    fn close(&mut self) {
        self.path.close();
    }
}
