//! Packs the outlines of the figures' font: those of the scripts that names of runs are likely to be in, without what a
//! font has besides. All of it would be a fortieth of the whole program.
//!
//! What is written, packed: units per em, then for each character, the first of which stands for all others: the
//! character (`u32`), how wide it is (`u16`), the length of its outline (`u16`), and its outline: for each step a letter,
//! and each point of it as seen from the point before (`i16`, `i16`). All little-endian.

use std::io::Write as _;
use std::ops::RangeInclusive;
use std::path::Path;

use flate2::Compression;
use flate2::write::ZlibEncoder;
use ttf_parser::{Face, GlyphId, OutlineBuilder};

/// Unicode's blocks from Latin to Latin Extended-B; Greek and Cyrillic; Latin Extended Additional; from punctuation to
/// mathematical operators.
const CHARACTERS: [RangeInclusive<char>; 4] =
    ['\u{20}'..='\u{24f}', '\u{370}'..='\u{4ff}', '\u{1e00}'..='\u{1eff}', '\u{2000}'..='\u{22ff}'];

fn main() -> std::io::Result<()> {
    let face = Face::parse(dejavu::sans::regular(), 0).expect("the package's font is well-formed");
    let mut font = face.units_per_em().to_le_bytes().to_vec();
    add(&mut font, &face, '\0', GlyphId(0));
    for c in CHARACTERS.into_iter().flatten() {
        if let Some(glyph) = face.glyph_index(c) {
            add(&mut font, &face, c, glyph);
        }
    }
    let dir = std::env::var_os("OUT_DIR").expect("Cargo sets it");
    let file = std::fs::File::create(Path::new(&dir).join("font.zlib"))?;
    let mut packed = ZlibEncoder::new(file, Compression::best());
    packed.write_all(&font)?;
    packed.finish()?;
    println!("cargo::rerun-if-changed=build.rs");
    Ok(())
}

fn add(font: &mut Vec<u8>, face: &Face<'_>, c: char, glyph: GlyphId) {
    let mut outline = Outline::default();
    face.outline_glyph(glyph, &mut outline);
    let length = u16::try_from(outline.steps.len()).expect("outlines are shorter");
    font.extend(u32::from(c).to_le_bytes());
    font.extend(face.glyph_hor_advance(glyph).unwrap_or_default().to_le_bytes());
    font.extend(length.to_le_bytes());
    font.extend(outline.steps);
}

#[derive(Default)]
struct Outline {
    steps: Vec<u8>,
    at: (i16, i16),
}

impl Outline {
    fn step(&mut self, letter: u8, points: &[(f32, f32)]) {
        self.steps.push(letter);
        for (x, y) in points {
            let to = (x.round() as i16, y.round() as i16);
            self.steps.extend((to.0 - self.at.0).to_le_bytes());
            self.steps.extend((to.1 - self.at.1).to_le_bytes());
            self.at = to;
        }
    }
}

impl OutlineBuilder for Outline {
    fn move_to(&mut self, x: f32, y: f32) {
        self.step(b'm', &[(x, y)]);
    }

    fn line_to(&mut self, x: f32, y: f32) {
        self.step(b'l', &[(x, y)]);
    }

    fn quad_to(&mut self, x1: f32, y1: f32, x: f32, y: f32) {
        self.step(b'q', &[(x1, y1), (x, y)]);
    }

    fn curve_to(&mut self, _: f32, _: f32, _: f32, _: f32, _: f32, _: f32) {
        unreachable!("TrueType's curves are quadratic");
    }

    fn close(&mut self) {
        self.step(b'z', &[]);
    }
}
