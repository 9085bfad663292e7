//! Figures as SVG. Text stays text: it can be searched, copied and set in the font of a paper.

use std::fmt::Write as _;

use super::canvas::{Anchor, Canvas, Colour, Stroke, TextStyle};

/// `DejaVu Sans`, in which widths were measured, and what is as wide.
const FONTS: &str = "DejaVu Sans, Verdana, sans-serif";

pub(super) struct Svg {
    text: String,
    clips: usize,
}

impl Svg {
    pub(super) fn new(width: f64, height: f64) -> Self {
        let mut text = String::new();
        put(
            &mut text,
            format_args!(
                "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}pt\" height=\"{height}pt\" \
                 viewBox=\"0 0 {width} {height}\" font-family=\"{FONTS}\">\n\
                 <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>"
            ),
        );
        Self { text, clips: 0 }
    }

    pub(super) fn finish(mut self) -> String {
        self.text.push_str("</svg>\n");
        self.text
    }
}

impl Canvas for Svg {
    fn line(&mut self, points: &[(f64, f64)], stroke: Stroke) {
        let dashes = if stroke.dashed { " stroke-dasharray=\"5 3\"" } else { "" };
        put(
            &mut self.text,
            format_args!(
                "<polyline points=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"{}\" \
                 stroke-linejoin=\"round\"{dashes}/>",
                list(points),
                hex(stroke.colour),
                stroke.width
            ),
        );
    }

    fn area(&mut self, points: &[(f64, f64)], colour: Colour, opacity: f64) {
        put(
            &mut self.text,
            format_args!(
                "<polygon points=\"{}\" fill=\"{}\" fill-opacity=\"{opacity}\"/>",
                list(points),
                hex(colour)
            ),
        );
    }

    fn dot(&mut self, (x, y): (f64, f64), radius: f64, colour: Colour) {
        put(
            &mut self.text,
            format_args!(
                "<circle cx=\"{x:.2}\" cy=\"{y:.2}\" r=\"{radius}\" fill=\"{}\" stroke=\"#ffffff\" \
                 stroke-width=\"1\"/>",
                hex(colour)
            ),
        );
    }

    /// One path of lines without a length, whose round ends are the dots: a tenth of what circles take.
    fn specks(&mut self, at: &[(f64, f64)], radius: f64, colour: Colour, opacity: f64) {
        let mut dots = String::new();
        for (x, y) in at {
            write!(dots, "M{x:.1} {y:.1}h0").expect("memory takes all text");
        }
        put(
            &mut self.text,
            format_args!(
                "<path d=\"{dots}\" fill=\"none\" stroke=\"{}\" stroke-opacity=\"{opacity}\" stroke-width=\"{}\" \
                 stroke-linecap=\"round\"/>",
                hex(colour),
                radius * 2.0
            ),
        );
    }

    fn text(&mut self, (x, y): (f64, f64), text: &str, style: TextStyle) {
        let anchor = match style.anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let bold = if style.bold { " font-weight=\"bold\"" } else { "" };
        let turned = if style.upright {
            format!(" transform=\"rotate(-90 {x:.2} {y:.2})\"")
        } else {
            String::new()
        };
        put(
            &mut self.text,
            format_args!(
                "<text x=\"{x:.2}\" y=\"{y:.2}\" font-size=\"{}\" text-anchor=\"{anchor}\" \
                 fill=\"{}\"{bold}{turned}>{}</text>",
                style.size,
                hex(Colour::Black),
                escaped(text)
            ),
        );
    }

    fn clip(&mut self, min: (f64, f64), max: (f64, f64)) {
        self.clips += 1;
        let (id, width, height) = (self.clips, max.0 - min.0, max.1 - min.1);
        put(
            &mut self.text,
            format_args!(
                "<clipPath id=\"panel-{id}\"><rect x=\"{:.2}\" y=\"{:.2}\" width=\"{width:.2}\" \
                 height=\"{height:.2}\"/></clipPath>\n<g clip-path=\"url(#panel-{id})\">",
                min.0, min.1
            ),
        );
    }

    fn unclip(&mut self) {
        put(&mut self.text, format_args!("</g>"));
    }
}

fn put(text: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(text, "{line}").expect("memory takes all text");
}

fn list(points: &[(f64, f64)]) -> String {
    let points: Vec<String> = points.iter().map(|(x, y)| format!("{x:.2},{y:.2}")).collect();
    points.join(" ")
}

fn hex(colour: Colour) -> String {
    let [red, green, blue] = colour.rgb();
    format!("#{red:02x}{green:02x}{blue:02x}")
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
