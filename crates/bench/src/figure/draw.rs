//! Where everything of a figure goes. Sizes are in points.

use super::canvas::{Anchor, Canvas, Colour, Stroke, TextStyle};
use super::{Figure, Mark, Panel, Series, font};
use crate::stats::Box;

/// One panel alone is wider than those of several.
const WIDTH_ALONE: f64 = 400.0;
const WIDTH_BESIDE: f64 = 230.0;
const HEIGHT: f64 = 230.0;
/// Panels in rows are lower.
const HEIGHT_IN_ROWS: f64 = 130.0;
const MARGIN: f64 = 14.0;
/// Between two panels, beside the labels of the right one.
const GAP: f64 = 24.0;

const TITLE: f64 = 11.0;
const LABEL: f64 = 10.0;
const TICK: f64 = 9.0;
/// Lines of text of a size are this much apart.
const LEADING: f64 = 1.5;
const TICK_LENGTH: f64 = 4.0;
/// The line or patch in front of a legend's entry.
const KEY: f64 = 20.0;
const KEY_GAP: f64 = 5.0;
const ENTRY_GAP: f64 = 16.0;

const LINE: f64 = 1.75;
const DOT: f64 = 4.5;
/// Half of an interval's end.
const CAP: f64 = 2.5;
const BAND_OPACITY: f64 = 0.18;
const BAR_OPACITY: f64 = 0.75;
const SPECK: f64 = 1.1;
const SPECK_OPACITY: f64 = 0.45;
/// Specks closer than this, in points, look like one, and are drawn as one.
const SPECK_GRID: f64 = 0.5;
/// Half of a box's height, on its axis.
const BOX: f64 = 0.3;

/// A panel and where its parts are.
struct Placed<'f> {
    panel: &'f Panel,
    x: (f64, f64),
    y: (f64, f64),
    /// Width of the widest label beside the panels of its column.
    beside: f64,
    /// Upper left and lower right corner of the data's area.
    min: (f64, f64),
    max: (f64, f64),
}

/// A legend's entry, and the row and position where it stands.
struct Entry<'f> {
    series: &'f Series,
    row: usize,
    x: f64,
}

/// Width and height of a figure.
pub(super) fn size(figure: &Figure) -> (f64, f64) {
    let (placed, width) = place(figure);
    let bottom = placed.iter().map(|panel| panel.max.1).fold(MARGIN, f64::max);
    let below = TICK_LENGTH + TICK * LEADING + LABEL * LEADING;
    (width.ceil(), (bottom + below + MARGIN).ceil())
}

pub(super) fn figure(figure: &Figure, canvas: &mut impl Canvas) {
    let (placed, width) = place(figure);
    let mut y = MARGIN + TITLE;
    if !figure.title.is_empty() {
        canvas.text((MARGIN, y), &figure.title, style(TITLE, Anchor::Start, true));
        y += TITLE * LEADING;
    }
    for entry in legend(figure, width) {
        let baseline = y + entry.row as f64 * LABEL * LEADING;
        key(&entry, baseline, canvas);
        let at = (entry.x + KEY + KEY_GAP, baseline);
        canvas.text(at, &entry.series.name, style(LABEL, Anchor::Start, false));
    }
    for panel in &placed {
        panel.axes(canvas);
        canvas.clip(panel.min, panel.max);
        for series in &panel.panel.series {
            panel.series(series, canvas);
        }
        canvas.unclip();
        panel.frame(canvas);
    }
}

fn place(figure: &Figure) -> (Vec<Placed<'_>>, f64) {
    let columns = figure.columns.min(figure.panels.len());
    let usual = if columns > 1 { WIDTH_BESIDE } else { WIDTH_ALONE };
    let width = figure.size.map_or(usual, |(width, _)| width);
    let mut placed: Vec<Placed<'_>> = figure.panels.iter().map(Placed::new).collect();
    let mut left = MARGIN;
    for column in 0..columns {
        let labels = placed.iter().skip(column).step_by(columns).map(|panel| panel.beside);
        let beside = labels.fold(0.0, f64::max);
        left += LABEL * LEADING + beside + 2.0 * TICK_LENGTH;
        for panel in placed.iter_mut().skip(column).step_by(columns) {
            (panel.beside, panel.min.0, panel.max.0) = (beside, left, left + width);
        }
        left += width + GAP;
    }
    let heading = font::width(&figure.title, TITLE, true) + 2.0 * MARGIN;
    // The label of the last tick reaches beyond the area by half its width; a gap is more than that.
    let right = (left - GAP + 2.0 * MARGIN).max(heading);
    let rows = legend(figure, right).last().map_or(0, |entry| entry.row + 1);
    let title = if figure.title.is_empty() { 0.0 } else { TITLE * LEADING };
    let mut top = MARGIN + title + rows as f64 * LABEL * LEADING;
    let usual = if placed.len() > columns { HEIGHT_IN_ROWS } else { HEIGHT };
    let height = figure.size.map_or(usual, |(_, height)| height);
    for row in placed.chunks_mut(columns.max(1)) {
        let has_titles = row.iter().any(|placed| !placed.panel.title.is_empty());
        top += TICK + if has_titles { LABEL * LEADING } else { 0.0 };
        for panel in &mut *row {
            (panel.min.1, panel.max.1) = (top, top + height);
        }
        let has_labels = row.iter().any(|placed| !placed.panel.x.label.is_empty());
        let below = TICK_LENGTH + TICK * LEADING;
        top += height + below + if has_labels { LABEL * LEADING } else { 0.0 };
    }
    (placed, right)
}

/// The entries of the legend in rows that are not wider than the figure.
fn legend(figure: &Figure, width: f64) -> Vec<Entry<'_>> {
    let mut entries: Vec<Entry<'_>> = Vec::new();
    let (mut row, mut x) = (0, MARGIN);
    for series in figure.panels.iter().flat_map(|panel| &panel.series) {
        if entries.iter().any(|entry| entry.series.name == series.name) {
            continue;
        }
        let wide = KEY + KEY_GAP + font::width(&series.name, LABEL, false);
        if x > MARGIN && x + wide > width - MARGIN {
            (row, x) = (row + 1, MARGIN);
        }
        entries.push(Entry { series, row, x });
        x += wide + ENTRY_GAP;
    }
    entries
}

/// What a series looks like, in front of its name.
fn key(entry: &Entry<'_>, baseline: f64, canvas: &mut impl Canvas) {
    let (colour, middle) = (entry.series.colour, baseline - LABEL * 0.36);
    let (from, to) = (entry.x, entry.x + KEY);
    let line = [(from, middle), (to, middle)];
    let patch = |height: f64| {
        [
            (from, middle - height),
            (to, middle - height),
            (to, middle + height),
            (from, middle + height),
        ]
    };
    match &entry.series.mark {
        Mark::Line(_) => canvas.line(&line, stroke(colour, LINE, false)),
        Mark::Dashes(_) | Mark::Rule(_) => canvas.line(&line, stroke(colour, LINE, true)),
        Mark::Intervals(_) => {
            let (x, half) = (f64::midpoint(from, to), LABEL * 0.45);
            interval((x, middle - half), (x, middle + half), colour, canvas);
        }
        Mark::Points(_) => canvas.dot((f64::midpoint(from, to), middle), DOT, colour),
        Mark::Band(_) => canvas.area(&patch(LABEL * 0.4), colour, BAND_OPACITY),
        Mark::Bars(_) | Mark::Blocks(_) | Mark::Boxes(_) => {
            canvas.area(&patch(LABEL * 0.4), colour, BAR_OPACITY);
        }
        Mark::Specks(_) => {
            canvas.specks(&[(f64::midpoint(from, to), middle)], SPECK * 2.5, colour, 1.0);
        }
        Mark::Uprights(_) => {
            let x = f64::midpoint(from, to);
            let half = LABEL * 0.5;
            canvas.line(&[(x, middle - half), (x, middle + half)], stroke(colour, 1.0, true));
        }
        Mark::Spans(_) => span((from, middle), (to, middle), colour, canvas),
    }
}

impl<'f> Placed<'f> {
    fn new(panel: &'f Panel) -> Self {
        let extents: Vec<_> = panel.series.iter().flat_map(Series::extent).collect();
        let x = panel.x.range(extents.iter().filter_map(|(x, _)| *x));
        let y = panel.y.range(extents.iter().map(|(_, y)| *y));
        let ticks = panel.y.ticks(y).into_iter();
        let beside = ticks.map(|(_, label)| font::width(&label, TICK, false)).fold(0.0, f64::max);
        Self { panel, x, y, beside, min: (0.0, 0.0), max: (0.0, 0.0) }
    }

    fn at(&self, x: f64, y: f64) -> (f64, f64) {
        (
            self.min.0 + self.panel.x.share(x, self.x) * (self.max.0 - self.min.0),
            self.max.1 - self.panel.y.share(y, self.y) * (self.max.1 - self.min.1),
        )
    }

    /// The points that have a place.
    fn line(&self, points: &[(f64, f64)]) -> Vec<(f64, f64)> {
        let placed = points.iter().map(|&(x, y)| self.at(x, y));
        placed.filter(|(x, y)| x.is_finite() && y.is_finite()).collect()
    }

    /// Grid, ticks and labels.
    fn axes(&self, canvas: &mut impl Canvas) {
        let (grid, tick) = (stroke(Colour::Light, 0.75, false), stroke(Colour::Black, 0.75, false));
        for (value, label) in self.panel.x.ticks(self.x) {
            let (x, bottom) = (self.at(value, self.y.0).0, self.max.1);
            canvas.line(&[(x, self.min.1), (x, bottom)], grid);
            canvas.line(&[(x, bottom), (x, bottom + TICK_LENGTH)], tick);
            let at = (x, bottom + TICK_LENGTH + TICK * 1.15);
            canvas.text(at, &label, style(TICK, Anchor::Middle, false));
        }
        for (value, label) in self.panel.y.ticks(self.y) {
            let (left, y) = (self.min.0, self.at(self.x.0, value).1);
            canvas.line(&[(left, y), (self.max.0, y)], grid);
            canvas.line(&[(left - TICK_LENGTH, y), (left, y)], tick);
            // A figure's digits are 0.73 of its size high.
            let at = (left - 2.0 * TICK_LENGTH, y + TICK * 0.36);
            canvas.text(at, &label, style(TICK, Anchor::End, false));
        }
        let middle = (f64::midpoint(self.min.0, self.max.0), f64::midpoint(self.min.1, self.max.1));
        let below = self.max.1 + TICK_LENGTH + TICK * LEADING + LABEL * 1.15;
        canvas.text((middle.0, below), &self.panel.x.label, style(LABEL, Anchor::Middle, false));
        let beside = self.min.0 - 2.0 * TICK_LENGTH - self.beside - LABEL * 0.5;
        let upright = TextStyle { upright: true, ..style(LABEL, Anchor::Middle, false) };
        canvas.text((beside, middle.1), &self.panel.y.label, upright);
        if !self.panel.title.is_empty() {
            let at = (middle.0, self.min.1 - LABEL * 0.6);
            canvas.text(at, &self.panel.title, style(LABEL, Anchor::Middle, true));
        }
    }

    fn frame(&self, canvas: &mut impl Canvas) {
        let (min, max) = (self.min, self.max);
        let corners = [min, (max.0, min.1), max, (min.0, max.1), min];
        canvas.line(&corners, stroke(Colour::Black, 0.75, false));
    }

    fn series(&self, series: &Series, canvas: &mut impl Canvas) {
        let colour = series.colour;
        match &series.mark {
            Mark::Line(points) => canvas.line(&self.line(points), stroke(colour, LINE, false)),
            Mark::Dashes(points) => canvas.line(&self.line(points), stroke(colour, LINE, true)),
            Mark::Rule(y) => {
                let line = self.line(&[(self.x.0, *y), (self.x.1, *y)]);
                canvas.line(&line, stroke(colour, LINE, true));
            }
            Mark::Uprights(places) => {
                for &x in places {
                    let line = self.line(&[(x, self.y.0), (x, self.y.1)]);
                    canvas.line(&line, stroke(colour, 1.0, true));
                }
            }
            Mark::Specks(points) => {
                canvas.specks(&self.specks(points), SPECK, colour, SPECK_OPACITY);
            }
            Mark::Boxes(boxes) => {
                for (y, plot) in boxes {
                    self.box_plot(*y, plot, colour, canvas);
                }
            }
            Mark::Blocks(blocks) => {
                for &((left, low), (right, high)) in blocks {
                    let corners = [(left, low), (right, low), (right, high), (left, high)];
                    canvas.area(&self.line(&corners), colour, BAR_OPACITY);
                }
            }
            Mark::Spans(spans) => {
                for &(y, low, high) in spans {
                    if let [low, high] = self.line(&[(low, y), (high, y)])[..] {
                        span(low, high, colour, canvas);
                    }
                }
            }
            Mark::Intervals(points) => {
                for &(x, low, high) in points {
                    if let [low, high] = self.line(&[(x, low), (x, high)])[..] {
                        interval(high, low, colour, canvas);
                    }
                }
            }
            Mark::Points(points) => {
                for at in self.line(points) {
                    canvas.dot(at, DOT, colour);
                }
            }
            Mark::Band(points) => {
                let high = points.iter().map(|&(x, _, high)| (x, high));
                let low = points.iter().rev().map(|&(x, low, _)| (x, low));
                canvas.area(&self.line(&high.chain(low).collect::<Vec<_>>()), colour, BAND_OPACITY);
            }
            Mark::Bars(bars) => {
                for &(from, to, y) in bars {
                    let inset = (to - from) * 0.06;
                    let (from, to) = (from + inset, to - inset);
                    let corners = self.line(&[(from, 0.0), (from, y), (to, y), (to, 0.0)]);
                    canvas.area(&corners, colour, BAR_OPACITY);
                }
            }
        }
    }
}

impl Placed<'_> {
    /// Where specks are seen, each place once.
    fn specks(&self, points: &[(f64, f64)]) -> Vec<(f64, f64)> {
        let mut seen = std::collections::HashSet::new();
        let cell = |value: f64| (value / SPECK_GRID).round() as i64;
        let mut places = self.line(points);
        places.retain(|&(x, y)| seen.insert((cell(x), cell(y))));
        places
    }

    fn box_plot(&self, y: f64, plot: &Box, colour: Colour, canvas: &mut impl Canvas) {
        // What is below a logarithmic axis is at its end.
        let at = |x: f64, y: f64| self.at(x.max(self.x.0.min(self.x.1)), y);
        let Box { low, first, median, third, high, outliers } = plot;
        let outliers: Vec<(f64, f64)> = outliers.iter().map(|x| (*x, y)).collect();
        canvas.specks(&self.specks(&outliers), SPECK, colour, SPECK_OPACITY);
        let thin = stroke(colour, 1.0, false);
        for (from, to) in [(low, first), (third, high)] {
            canvas.line(&[at(*from, y), at(*to, y)], thin);
        }
        for end in [low, high] {
            canvas.line(&[at(*end, y - BOX / 2.0), at(*end, y + BOX / 2.0)], thin);
        }
        let (above, below) = (y - BOX, y + BOX);
        let mut corners =
            vec![at(*first, above), at(*third, above), at(*third, below), at(*first, below)];
        canvas.area(&corners, colour, 0.3);
        corners.push(corners[0]);
        canvas.line(&corners, thin);
        canvas.line(&[at(*median, above), at(*median, below)], stroke(colour, 2.25, false));
    }
}

/// A lying line with ends.
fn span(left: (f64, f64), right: (f64, f64), colour: Colour, canvas: &mut impl Canvas) {
    let stroke = stroke(colour, 1.0, false);
    canvas.line(&[left, right], stroke);
    for (x, y) in [left, right] {
        canvas.line(&[(x, y - CAP), (x, y + CAP)], stroke);
    }
}

/// An upright line with ends.
fn interval(top: (f64, f64), bottom: (f64, f64), colour: Colour, canvas: &mut impl Canvas) {
    let stroke = stroke(colour, 1.0, false);
    canvas.line(&[top, bottom], stroke);
    for (x, y) in [top, bottom] {
        canvas.line(&[(x - CAP, y), (x + CAP, y)], stroke);
    }
}

fn style(size: f64, anchor: Anchor, bold: bool) -> TextStyle {
    TextStyle { size, anchor, bold, upright: false }
}

fn stroke(colour: Colour, width: f64, dashed: bool) -> Stroke {
    Stroke { colour, width, dashed }
}
