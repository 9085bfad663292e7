//! Text in `DejaVu Sans`: how wide it is, and its outlines. The font is in the program.

use std::sync::LazyLock;

use tiny_skia::{Path, PathBuilder};
use ttf_parser::{Face, GlyphId, OutlineBuilder};

static REGULAR: LazyLock<Face<'static>> = LazyLock::new(|| face(dejavu::sans::regular()));
static BOLD: LazyLock<Face<'static>> = LazyLock::new(|| face(dejavu::sans::bold()));

fn face(data: &'static [u8]) -> Face<'static> {
    Face::parse(data, 0).expect("the font in the program is well-formed")
}

fn of(bold: bool) -> &'static Face<'static> {
    if bold { &BOLD } else { &REGULAR }
}

/// How wide a text is, in points.
pub(super) fn width(text: &str, size: f64, bold: bool) -> f64 {
    let face = of(bold);
    let units: u32 = text.chars().map(|c| u32::from(advance(face, glyph(face, c)))).sum();
    f64::from(units) * size / f64::from(face.units_per_em())
}

/// The outlines of a text whose base line starts at the origin, in points, y downwards. `None` of blank text.
pub(super) fn outlines(text: &str, size: f64, bold: bool) -> Option<Path> {
    let face = of(bold);
    let scale = size as f32 / f32::from(face.units_per_em());
    let mut outline = Outline { path: PathBuilder::new(), scale, x: 0.0 };
    for c in text.chars() {
        let glyph = glyph(face, c);
        face.outline_glyph(glyph, &mut outline);
        outline.x += f32::from(advance(face, glyph)) * scale;
    }
    outline.path.finish()
}

/// The glyph of a character; one that the font lacks shows as its box.
fn glyph(face: &Face<'_>, c: char) -> GlyphId {
    face.glyph_index(c).unwrap_or_default()
}

fn advance(face: &Face<'_>, glyph: GlyphId) -> u16 {
    face.glyph_hor_advance(glyph).unwrap_or_default()
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
