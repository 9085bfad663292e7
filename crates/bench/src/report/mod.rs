//! Reports: what came out of runs, side by side.
//!
//! [`digest`] has their figures, [`charts`] draws them, [`page`] makes one self-contained HTML page of both, [`files`]
//! writes the page, each chart as SVG and PNG, and the figures as CSV and JSON, and [`terminal`] says the same in text.

pub mod charts;
pub mod digest;
pub mod files;
pub mod page;
pub mod terminal;

pub use digest::Digest;

/// A number for a reader: three significant digits, two of what is small, more before the point, no point where there is
/// nothing behind it.
pub fn number(value: f64) -> String {
    if !value.is_finite() {
        return "–".to_owned();
    }
    let decimals = match value.abs() {
        v if v >= 100.0 || v == 0.0 => 0,
        v if v >= 10.0 => 1,
        v if v >= 1.0 => 2,
        v if v >= 0.01 => 3,
        v => (1 - v.log10().floor() as i32).min(6) as usize,
    };
    let text = format!("{value:.decimals$}");
    // Thousands are apart.
    let (whole, rest) =
        text.split_once('.').map_or((text.as_str(), ""), |(whole, rest)| (whole, rest));
    let (sign, digits) = whole.strip_prefix('-').map_or(("", whole), |digits| ("-", digits));
    let mut grouped = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    if rest.is_empty() { format!("{sign}{grouped}") } else { format!("{sign}{grouped}.{rest}") }
}

/// A number that may be missing.
pub fn maybe(value: Option<f64>) -> String {
    value.map_or("–".to_owned(), number)
}

/// A share as percent.
pub fn percent(share: Option<f64>) -> String {
    share.map_or("–".to_owned(), |share| format!("{:.2} %", share * 100.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits_or_more() {
        let shown = [0.0, 0.1234, 1.234, 12.34, 123.4, 1234.5, 1_234_567.0, -1234.0].map(number);
        assert_eq!(shown, ["0", "0.123", "1.23", "12.3", "123", "1,234", "1,234,567", "-1,234"]);
        let small = [0.0123, 0.003_56, 0.000_357_9, 1e-9].map(number);
        assert_eq!(small, ["0.012", "0.0036", "0.00036", "0.000000"]);
        assert_eq!((maybe(None), percent(Some(0.5))), ("–".to_owned(), "50.00 %".to_owned()));
    }
}
