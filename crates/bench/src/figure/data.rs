//! A figure as data, for pages that draw it themselves.
//!
//! ```text
//! {"title", "columns", "size": [w, h], "panels": [{"title", "x": axis, "y": axis, "series": [{"name", "colour", "mark", "data"}]}]}
//! axis: {"label", "range": [from, to], "scale": "linear" | "log" | "named", "names": […]}
//! ```
//!
//! Numbers are rounded to five digits: more can't be seen. Specks that would be drawn on each other stay: a page may be
//! looked at more closely.

use serde_json::{Value, json};

use super::axis::{Axis, Scale};
use super::canvas::Colour;
use super::{Figure, Mark, Panel, Series};
use crate::stats::Box;

impl Figure {
    /// The figure as data.
    pub fn data(&self) -> Value {
        json!({
            "title": self.title,
            "columns": self.columns,
            "size": self.size.map(|(width, height)| [width, height]),
            "panels": self.panels.iter().map(panel).collect::<Vec<_>>(),
        })
    }
}

fn panel(panel: &Panel) -> Value {
    let extents: Vec<_> = panel.series.iter().flat_map(Series::extent).collect();
    let x = panel.x.range(extents.iter().filter_map(|(x, _)| *x));
    let y = panel.y.range(extents.iter().map(|(_, y)| *y));
    json!({
        "title": panel.title,
        "x": axis(&panel.x, x),
        "y": axis(&panel.y, y),
        "series": panel.series.iter().map(series).collect::<Vec<_>>(),
    })
}

fn axis(axis: &Axis, (from, to): (f64, f64)) -> Value {
    let (scale, names) = match &axis.scale {
        Scale::Linear => ("linear", None),
        Scale::Logarithmic => ("log", None),
        Scale::Named(names) => ("named", Some(names)),
    };
    json!({ "label": axis.label, "range": [short(from), short(to)], "scale": scale, "names": names })
}

fn series(series: &Series) -> Value {
    let pair = |&(x, y): &(f64, f64)| json!([short(x), short(y)]);
    let triple = |&(a, b, c): &(f64, f64, f64)| json!([short(a), short(b), short(c)]);
    let pairs = |all: &[(f64, f64)]| Value::from(all.iter().map(pair).collect::<Vec<_>>());
    let triples = |all: &[(f64, f64, f64)]| Value::from(all.iter().map(triple).collect::<Vec<_>>());
    let (mark, data) = match &series.mark {
        Mark::Line(points) => ("line", pairs(points)),
        Mark::Dashes(points) => ("dashes", pairs(points)),
        Mark::Points(points) => ("points", pairs(points)),
        Mark::Specks(points) => ("specks", pairs(points)),
        Mark::Band(points) => ("band", triples(points)),
        Mark::Bars(bars) => ("bars", triples(bars)),
        Mark::Intervals(points) => ("intervals", triples(points)),
        Mark::Spans(spans) => ("spans", triples(spans)),
        Mark::Rule(y) => ("rule", short(*y)),
        Mark::Uprights(places) => {
            ("uprights", Value::from(places.iter().map(|x| short(*x)).collect::<Vec<_>>()))
        }
        Mark::Blocks(blocks) => {
            let block = |(a, b): &((f64, f64), (f64, f64))| {
                json!([short(a.0), short(a.1), short(b.0), short(b.1)])
            };
            ("blocks", Value::from(blocks.iter().map(block).collect::<Vec<_>>()))
        }
        Mark::Boxes(boxes) => {
            let all = boxes.iter().map(|(y, plot)| box_plot(*y, plot)).collect::<Vec<_>>();
            ("boxes", Value::from(all))
        }
    };
    json!({ "name": series.name, "colour": hex(series.colour), "mark": mark, "data": data })
}

fn box_plot(y: f64, plot: &Box) -> Value {
    let Box { low, first, median, third, high, outliers } = plot;
    let five = [*low, *first, *median, *third, *high].map(short);
    let outliers: Vec<Value> = outliers.iter().map(|value| short(*value)).collect();
    json!({ "y": short(y), "five": five, "outliers": outliers })
}

/// A number with five digits; null where it is none.
fn short(value: f64) -> Value {
    if !value.is_finite() {
        return Value::Null;
    }
    let text = format!("{value:.4e}");
    let value: f64 = text.parse().unwrap_or(value);
    // Whole numbers are written without a point.
    if value.fract() == 0.0 && value.abs() < 1e15 { json!(value as i64) } else { json!(value) }
}

fn hex(colour: Colour) -> String {
    let [red, green, blue] = colour.rgb();
    format!("#{red:02x}{green:02x}{blue:02x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_what_is_none_is_null() {
        assert_eq!(short(1.0), json!(1));
        assert_eq!(short(0.123_456_7), json!(0.12346));
        assert_eq!(short(f64::NAN), Value::Null);
    }

    #[test]
    fn a_figure_says_its_ranges() {
        let mut panel =
            Panel::new(Axis::new("x").from_to(0.0, 2.0), Axis::named("", vec!["a".into()]));
        panel.add(Series::new("line", Colour::Blue, Mark::Line(vec![(0.0, 1.0), (2.0, f64::NAN)])));
        let data = Figure::new("t", vec![panel]).data();
        assert_eq!(data["panels"][0]["x"]["range"], json!([0, 2]));
        assert_eq!(data["panels"][0]["y"]["names"], json!(["a"]));
        let series = &data["panels"][0]["series"][0];
        assert_eq!(series["data"], json!([[0, 1], [2, null]]));
        assert_eq!(series["colour"], json!("#0072b2"));
    }
}
