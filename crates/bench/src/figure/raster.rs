//! Figures as pixels, with smooth edges.

use tiny_skia::{
    Color, FillRule, LineCap, LineJoin, Mask, Paint, PathBuilder, Pixmap, Stroke as SkiaStroke,
    StrokeDash, Transform,
};

use super::canvas::{Anchor, Canvas, Colour, Stroke, TextStyle};
use super::{font, png};

/// Pixels a point: 144 to the inch, twice what a screen of old had.
const SCALE: f32 = 2.0;
const PIXELS_PER_METRE: u32 = 5669;

pub(super) struct Raster {
    pixels: Pixmap,
    mask: Option<Mask>,
}

impl Raster {
    pub(super) fn new(width: f64, height: f64) -> Self {
        let pixels = |points: f64| (points as f32 * SCALE).ceil().max(1.0) as u32;
        let mut pixels = Pixmap::new(pixels(width), pixels(height))
            .expect("a figure is neither empty nor larger than memory");
        pixels.fill(Color::WHITE);
        Self { pixels, mask: None }
    }

    pub(super) fn finish(self) -> Vec<u8> {
        let rgb: Vec<u8> = self
            .pixels
            .data()
            .chunks_exact(4)
            .flat_map(|pixel| [pixel[0], pixel[1], pixel[2]])
            .collect();
        png::encode(self.pixels.width(), &rgb, PIXELS_PER_METRE)
    }

    fn fill(&mut self, path: &tiny_skia::Path, colour: Colour, opacity: f64, transform: Transform) {
        let rule = FillRule::Winding;
        self.pixels.fill_path(path, &paint(colour, opacity), rule, transform, self.mask.as_ref());
    }
}

impl Canvas for Raster {
    fn line(&mut self, points: &[(f64, f64)], stroke: Stroke) {
        let Some(path) = path(points, false) else { return };
        let dash = if stroke.dashed { StrokeDash::new(vec![5.0, 3.0], 0.0) } else { None };
        let width = SkiaStroke {
            width: stroke.width as f32,
            line_cap: LineCap::Butt,
            line_join: LineJoin::Round,
            dash,
            ..SkiaStroke::default()
        };
        let paint = paint(stroke.colour, 1.0);
        self.pixels.stroke_path(&path, &paint, &width, scale(), self.mask.as_ref());
    }

    fn area(&mut self, points: &[(f64, f64)], colour: Colour, opacity: f64) {
        if let Some(path) = path(points, true) {
            self.fill(&path, colour, opacity, scale());
        }
    }

    fn dot(&mut self, (x, y): (f64, f64), radius: f64, colour: Colour) {
        let circle = |radius: f64| PathBuilder::from_circle(x as f32, y as f32, radius as f32);
        // A white edge, half of it outside as SVG draws it, keeps a dot apart from a line below it.
        if let (Some(edge), Some(dot)) = (circle(radius + 0.5), circle(radius - 0.5)) {
            let white =
                Paint { shader: tiny_skia::Shader::SolidColor(Color::WHITE), ..paint(colour, 1.0) };
            let rule = FillRule::Winding;
            self.pixels.fill_path(&edge, &white, rule, scale(), self.mask.as_ref());
            self.fill(&dot, colour, 1.0, scale());
        }
    }

    fn specks(&mut self, at: &[(f64, f64)], radius: f64, colour: Colour, opacity: f64) {
        for &(x, y) in at {
            if let Some(dot) = PathBuilder::from_circle(x as f32, y as f32, radius as f32) {
                self.fill(&dot, colour, opacity, scale());
            }
        }
    }

    fn text(&mut self, (x, y): (f64, f64), text: &str, style: TextStyle) {
        let Some(path) = font::outlines(text, style.size, style.bold) else { return };
        let width = font::width(text, style.size, style.bold);
        let back = match style.anchor {
            Anchor::Start => 0.0,
            Anchor::Middle => width / 2.0,
            Anchor::End => width,
        };
        let turned = if style.upright { -90.0 } else { 0.0 };
        let transform = Transform::from_translate(-back as f32, 0.0)
            .post_concat(Transform::from_rotate(turned))
            .post_translate(x as f32, y as f32)
            .post_scale(SCALE, SCALE);
        self.fill(&path, Colour::Black, 1.0, transform);
        if style.bold {
            let width = font::weight(style.size, true) as f32;
            let stroke = SkiaStroke { width, line_join: LineJoin::Round, ..SkiaStroke::default() };
            let ink = paint(Colour::Black, 1.0);
            self.pixels.stroke_path(&path, &ink, &stroke, transform, self.mask.as_ref());
        }
    }

    fn clip(&mut self, min: (f64, f64), max: (f64, f64)) {
        let corners = [min, (max.0, min.1), max, (min.0, max.1)];
        self.mask = Mask::new(self.pixels.width(), self.pixels.height());
        if let (Some(mask), Some(path)) = (&mut self.mask, path(&corners, true)) {
            mask.fill_path(&path, FillRule::Winding, true, scale());
        }
    }

    fn unclip(&mut self) {
        self.mask = None;
    }
}

fn scale() -> Transform {
    Transform::from_scale(SCALE, SCALE)
}

fn paint(colour: Colour, opacity: f64) -> Paint<'static> {
    let [red, green, blue] = colour.rgb();
    let mut paint = Paint { anti_alias: true, ..Paint::default() };
    paint.set_color_rgba8(red, green, blue, (opacity * 255.0).round() as u8);
    paint
}

fn path(points: &[(f64, f64)], closed: bool) -> Option<tiny_skia::Path> {
    let mut path = PathBuilder::new();
    for (at, &(x, y)) in points.iter().enumerate() {
        if at == 0 {
            path.move_to(x as f32, y as f32);
        } else {
            path.line_to(x as f32, y as f32);
        }
    }
    if closed {
        path.close();
    }
    path.finish()
}
