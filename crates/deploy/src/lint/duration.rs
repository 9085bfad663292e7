//! Times as the platforms write them.

use wire::time::go_seconds;

/// Seconds of a time as Go writes it, `1m30s`, or of a plain number of seconds.
pub(super) fn seconds(text: &str) -> Option<f64> {
    text.parse().ok().or_else(|| go_seconds(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_go_are_read() {
        assert_eq!(seconds("1m30s"), Some(90.0));
        assert_eq!(seconds("500ms"), Some(0.5));
        assert_eq!(seconds("30"), Some(30.0));
        assert_eq!(seconds("1h"), Some(3600.0));
        assert_eq!(seconds("soon"), None);
        assert_eq!(seconds("1x"), None);
    }
}
