//! What figures are drawn on. Positions are in points from the upper left corner; the two formats implement it.

/// Colours of a figure: those of Okabe and Ito (2008), and greys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colour {
    /// Text and axes.
    Black,
    /// References.
    Grey,
    /// Grid lines.
    Light,
    /// The first series.
    Blue,
    /// What is pointed out.
    Vermilion,
    /// A further series.
    Green,
    /// A further series.
    Orange,
    /// A further series.
    Purple,
    /// A further series.
    Sky,
}

/// Which end of a text is at its position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

/// How a text stands.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct TextStyle {
    pub(super) size: f64,
    pub(super) anchor: Anchor,
    pub(super) bold: bool,
    /// Read from below: turned a quarter to the left.
    pub(super) upright: bool,
}

/// How a line is drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Stroke {
    pub(super) colour: Colour,
    pub(super) width: f64,
    pub(super) dashed: bool,
}

/// A drawing area.
pub(super) trait Canvas {
    fn line(&mut self, points: &[(f64, f64)], stroke: Stroke);
    /// A filled area, this opaque.
    fn area(&mut self, points: &[(f64, f64)], colour: Colour, opacity: f64);
    fn dot(&mut self, at: (f64, f64), radius: f64, colour: Colour);
    /// Small dots without an edge, of which there are many.
    fn specks(&mut self, at: &[(f64, f64)], radius: f64, colour: Colour, opacity: f64);
    /// A text whose base line is at `at`.
    fn text(&mut self, at: (f64, f64), text: &str, style: TextStyle);
    /// What is drawn until [`unclip`](Self::unclip) shows within the box from `min` to `max` only.
    fn clip(&mut self, min: (f64, f64), max: (f64, f64));
    fn unclip(&mut self);
}

impl Colour {
    pub(super) fn rgb(self) -> [u8; 3] {
        match self {
            Self::Black => [0x22, 0x22, 0x22],
            Self::Grey => [0x77, 0x77, 0x77],
            Self::Light => [0xe2, 0xe2, 0xe2],
            Self::Blue => [0x00, 0x72, 0xb2],
            Self::Vermilion => [0xd5, 0x5e, 0x00],
            Self::Green => [0x00, 0x9e, 0x73],
            Self::Orange => [0xe6, 0x9f, 0x00],
            Self::Purple => [0xcc, 0x79, 0xa7],
            Self::Sky => [0x56, 0xb4, 0xe9],
        }
    }
}
