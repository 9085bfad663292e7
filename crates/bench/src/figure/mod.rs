//! Figures of measurements, as SVG and PNG.
//!
//! A [`Figure`] is a title and panels beside each other, in rows if there are many; a [`Panel`] has two [`Axis`]es and [`Series`], which are drawn
//! in their order. Ticks are at round numbers, the legend stands above the panels and never over data, and both formats
//! are drawn by the same code on a [`Canvas`](canvas::Canvas): SVG with text as text, PNG at twice the size in points.
//! Fonts are in the program, so that a figure is the same on every machine, byte for byte.
//!
//! Colours are those of Okabe and Ito (2008), which colour-blind readers tell apart.

mod axis;
mod canvas;
mod data;
mod draw;
mod font;
mod png;
mod raster;
mod svg;

use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::stats;

pub use self::axis::Axis;
pub use self::canvas::Colour;

/// A figure.
#[derive(Debug, Clone)]
pub struct Figure {
    title: String,
    panels: Vec<Panel>,
    /// Panels in a row.
    columns: usize,
    /// Width and height of a panel, in points, where they are not the usual ones.
    size: Option<(f64, f64)>,
}

/// One pair of axes with what is drawn between them.
#[derive(Debug, Clone)]
pub struct Panel {
    /// Above the panel; may be empty.
    pub title: String,
    x: Axis,
    y: Axis,
    series: Vec<Series>,
}

/// Values that are drawn in one way.
#[derive(Debug, Clone)]
pub struct Series {
    name: String,
    colour: Colour,
    mark: Mark,
}

/// How values are drawn.
#[derive(Debug, Clone)]
pub enum Mark {
    /// A line through `(x, y)`.
    Line(Vec<(f64, f64)>),
    /// A dashed line through `(x, y)`.
    Dashes(Vec<(f64, f64)>),
    /// A dot at each `(x, y)`.
    Points(Vec<(f64, f64)>),
    /// The area between `low` and `high` along `(x, low, high)`.
    Band(Vec<(f64, f64, f64)>),
    /// A bar over `from..to` up to `y` for each `(from, to, y)`.
    Bars(Vec<(f64, f64, f64)>),
    /// An upright line from `low` to `high` at each `(x, low, high)`, with ends.
    Intervals(Vec<(f64, f64, f64)>),
    /// A dashed line across the panel at this `y`.
    Rule(f64),
    /// Dashed lines from top to bottom at each `x`.
    Uprights(Vec<f64>),
    /// A small dot at each `(x, y)`, for many.
    Specks(Vec<(f64, f64)>),
    /// A lying box plot along `x` at each `y`.
    Boxes(Vec<(f64, stats::Box)>),
    /// A filled area from `(x, y)` to `(x, y)`.
    Blocks(Vec<((f64, f64), (f64, f64))>),
    /// A lying line from `low` to `high` at each `(y, low, high)`, with ends.
    Spans(Vec<(f64, f64, f64)>),
}

/// Why a figure was not written.
#[derive(Debug, Error)]
#[expect(missing_docs, reason = "each variant's message is its documentation")]
pub enum FigureError {
    #[error("`{}` has the extension `{found}`, expected .svg or .png", path.display())]
    Extension { path: PathBuf, found: String },

    #[error("cannot write `{}`", path.display())]
    Write { path: PathBuf, source: std::io::Error },
}

impl Figure {
    /// A figure with panels from left to right.
    pub fn new(title: impl Into<String>, panels: Vec<Panel>) -> Self {
        let columns = panels.len().max(1);
        Self { title: title.into(), panels, columns, size: None }
    }

    /// Has so many panels in a row, which stand above each other in columns.
    #[must_use]
    pub fn in_rows_of(mut self, columns: usize) -> Self {
        self.columns = columns.max(1);
        self
    }

    /// Has panels of this size, in points.
    #[must_use]
    pub fn of_size(mut self, width: f64, height: f64) -> Self {
        self.size = Some((width, height));
        self
    }

    /// Writes the figure to a file, as its extension says.
    ///
    /// # Errors
    ///
    /// The extension is neither `.svg` nor `.png`, or the file system refuses.
    pub fn write(&self, path: &Path) -> Result<(), FigureError> {
        let extension = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
        let bytes = match extension.as_str() {
            "svg" => self.svg().into_bytes(),
            "png" => self.png(),
            _ => {
                return Err(FigureError::Extension { path: path.to_owned(), found: extension });
            }
        };
        std::fs::write(path, bytes)
            .map_err(|source| FigureError::Write { path: path.to_owned(), source })
    }

    /// The figure as SVG.
    pub fn svg(&self) -> String {
        let (width, height) = draw::size(self);
        let mut canvas = svg::Svg::new(width, height);
        draw::figure(self, &mut canvas);
        canvas.finish()
    }

    /// The figure as PNG.
    pub fn png(&self) -> Vec<u8> {
        let (width, height) = draw::size(self);
        let mut canvas = raster::Raster::new(width, height);
        draw::figure(self, &mut canvas);
        canvas.finish()
    }
}

impl Panel {
    /// A panel without series.
    pub fn new(x: Axis, y: Axis) -> Self {
        Self { title: String::new(), x, y, series: Vec::new() }
    }

    /// Draws a series over those before.
    pub fn add(&mut self, series: Series) {
        self.series.push(series);
    }
}

impl Series {
    /// A series by the name that the legend gives it. Series of one name in several panels share an entry.
    pub fn new(name: impl Into<String>, colour: Colour, mark: Mark) -> Self {
        Self { name: name.into(), colour, mark }
    }

    /// The corners of the smallest boxes around each part of it; a rule has no `x`.
    fn extent(&self) -> Vec<(Option<f64>, f64)> {
        match &self.mark {
            Mark::Line(points)
            | Mark::Dashes(points)
            | Mark::Points(points)
            | Mark::Specks(points) => points.iter().map(|&(x, y)| (Some(x), y)).collect(),
            Mark::Band(points) | Mark::Intervals(points) => points
                .iter()
                .flat_map(|&(x, low, high)| [(Some(x), low), (Some(x), high)])
                .collect(),
            Mark::Bars(bars) => {
                bars.iter().flat_map(|&(from, to, y)| [(Some(from), 0.0), (Some(to), y)]).collect()
            }
            Mark::Rule(y) => vec![(None, *y)],
            // What marks a place along the axis does not make it longer.
            Mark::Uprights(_) => Vec::new(),
            Mark::Boxes(boxes) => {
                let ends = |(y, plot): &(f64, stats::Box)| {
                    let outliers = plot.outliers.iter();
                    let all = outliers.chain([&plot.low, &plot.high]).map(|x| (Some(*x), *y));
                    all.collect::<Vec<_>>()
                };
                boxes.iter().flat_map(ends).collect()
            }
            Mark::Blocks(blocks) => {
                blocks.iter().flat_map(|(a, b)| [(Some(a.0), a.1), (Some(b.0), b.1)]).collect()
            }
            Mark::Spans(spans) => {
                spans.iter().flat_map(|&(y, low, high)| [(Some(low), y), (Some(high), y)]).collect()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure() -> Figure {
        let mut panel = Panel::new(Axis::new("x <s>").from_to(0.0, 10.0), Axis::new("y"));
        let line = vec![(0.0, 1.0), (5.0, 2.0), (10.0, f64::NAN)];
        panel.add(Series::new("a & b", Colour::Blue, Mark::Line(line.clone())));
        panel.add(Series::new("rule", Colour::Grey, Mark::Rule(1.5)));
        panel.add(Series::new("band", Colour::Green, Mark::Band(vec![(0.0, 1.0, 2.0)])));
        panel.add(Series::new("bars", Colour::Green, Mark::Bars(vec![(1.0, 2.0, 2.0)])));
        panel.add(Series::new("interval", Colour::Black, Mark::Intervals(vec![(1.0, 1.0, 2.0)])));
        panel.add(Series::new("points", Colour::Vermilion, Mark::Points(line.clone())));
        panel.add(Series::new("specks", Colour::Blue, Mark::Specks(line)));
        panel.add(Series::new("stages", Colour::Grey, Mark::Uprights(vec![2.0])));
        let plot = stats::Box::of_sorted(&[1.0, 2.0, 3.0, 4.0, 50.0]).unwrap();
        panel.add(Series::new("boxes", Colour::Sky, Mark::Boxes(vec![(1.5, plot)])));
        panel.add(Series::new("blocks", Colour::Sky, Mark::Blocks(vec![((1.0, 1.0), (2.0, 1.5))])));
        panel.add(Series::new("spans", Colour::Black, Mark::Spans(vec![(1.0, 1.0, 2.0)])));
        Figure::new("title", vec![panel.clone(), panel])
    }

    #[test]
    fn both_formats_are_written_and_others_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("figure.svg");
        figure().write(&path).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("<svg") && text.ends_with("</svg>\n"));
        assert!(text.contains("a &amp; b") && text.contains("x &lt;s&gt;"));
        assert!(!text.contains("NaN") && !text.contains("inf"), "{text}");
        let path = directory.path().join("figure.PNG");
        figure().write(&path).unwrap();
        assert!(std::fs::read(&path).unwrap().starts_with(b"\x89PNG\r\n\x1a\n"));
        let error = figure().write(Path::new("figure.pdf")).unwrap_err().to_string();
        assert_eq!(error, "`figure.pdf` has the extension `pdf`, expected .svg or .png");
    }

    #[test]
    fn a_figure_is_the_same_each_time_and_without_data_too() {
        assert_eq!(figure().png(), figure().png());
        let empty = Panel::new(Axis::new("x"), Axis::new("y"));
        assert!(Figure::new("", vec![empty]).svg().contains("<svg"));
        assert!(Figure::new("", Vec::new()).svg().contains("<svg"));
    }

    #[test]
    fn panels_in_rows_make_a_figure_narrower_and_higher() {
        let size = |columns| draw::size(&figure().in_rows_of(columns));
        let (beside, above) = (size(2), size(1));
        assert!(above.0 < beside.0 && above.1 > beside.1, "{beside:?} {above:?}");
        assert_eq!(figure().in_rows_of(1).svg().matches(">rule<").count(), 1);
    }

    /// A legend's entry for each name, however many panels have it.
    #[test]
    fn a_name_has_one_entry() {
        assert_eq!(figure().svg().matches(">rule<").count(), 1);
    }
}
