//! What an answer says: rows of softmax in its value, and what the tiers wrote into its headers.

use wire::{Record, Tensor, header};

/// What Kafka-ML writes around a row: `{"values": [0.1, …]}`.
const VALUES: &[u8] = b"\"values\"";

/// The classes with the largest probability, one for each sample. Empty where the value is no answer.
pub fn classes(record: &Record) -> Vec<usize> {
    let rows = record.value.as_deref().map(rows);
    let tensor = rows.and_then(|rows| Tensor::from_json(rows).ok());
    let Some(Tensor { shape, data }) = tensor else { return Vec::new() };
    let classes = shape.last().copied().unwrap_or(0).max(1);
    let best = |row: &[f32]| {
        let best = row.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
        best.map_or(0, |(class, _)| class)
    };
    data.chunks(classes).map(best).collect()
}

/// The rows of an answer without what is around them.
fn rows(value: &[u8]) -> &[u8] {
    let inner = |value: &[u8]| -> Option<std::ops::Range<usize>> {
        let text = value.strip_prefix(b"{")?.trim_ascii_start().strip_prefix(VALUES)?;
        let rows = text.trim_ascii_start().strip_prefix(b":")?;
        let start = value.len() - rows.len();
        Some(start..value.iter().rposition(|byte| *byte == b'}')?)
    };
    let value = value.trim_ascii();
    inner(value).and_then(|range| value.get(range)).unwrap_or(value)
}

/// The confidences with which the answering tier left, one for each sample. Empty where it did not say.
pub fn confidences(record: &Record) -> Vec<f32> {
    let Some(text) = last(record, header::EXIT_CONFIDENCE) else { return Vec::new() };
    let numbers = text.trim_start_matches('[').trim_end_matches(']').split(',');
    numbers.map(|number| number.trim().parse()).collect::<Result<_, _>>().unwrap_or_default()
}

/// The tier that answered: the last one that the record passed.
pub fn tier(record: &Record) -> Option<&str> {
    last(record, header::TIER)
}

/// The last header of this name as text. Each hop appends its own.
fn last<'r>(record: &'r Record, name: &str) -> Option<&'r str> {
    let header = record.headers.iter().rfind(|header| header.name == name)?;
    std::str::from_utf8(header.value.as_deref()?).ok()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use wire::Header;

    use super::*;

    fn answer(value: &'static str, headers: &[(&str, &'static str)]) -> Record {
        let headers = headers.iter().map(|&(name, value)| Header::new(name, value)).collect();
        Record { value: Some(Bytes::from(value)), headers, ..Record::default() }
    }

    #[test]
    fn the_largest_of_each_row_is_the_class() {
        assert_eq!(classes(&answer("[[0.1, 0.7, 0.2]]", &[])), [1]);
        assert_eq!(classes(&answer("[0.1, 0.2, 0.7]", &[])), [2]);
        assert_eq!(classes(&answer("[[0.9, 0.1], [0.2, 0.8]]", &[])), [0, 1]);
        assert_eq!(classes(&answer("{\"values\": [0.1, 0.2, 0.7]}", &[])), [2]);
        assert_eq!(classes(&answer("{\"values\":[[0.9, 0.2]]} ", &[])), [0]);
        assert_eq!(classes(&answer("{\"values\"}", &[])), [0; 0]);
        assert_eq!(classes(&answer("none", &[])), [0; 0]);
        assert_eq!(classes(&Record::default()), [0; 0]);
    }

    #[test]
    fn the_last_hop_is_what_answered() {
        let record = answer(
            "[[1]]",
            &[
                (header::TIER, "edge"),
                (header::EXIT_CONFIDENCE, "0.4"),
                (header::TIER, "fog"),
                (header::EXIT_CONFIDENCE, "[0.9, 0.5]"),
            ],
        );
        assert_eq!((tier(&record), confidences(&record)), (Some("fog"), vec![0.9, 0.5]));
        let other = answer("[[1]]", &[(header::EXIT_CONFIDENCE, "sure")]);
        assert_eq!((tier(&other), confidences(&other)), (None, vec![]));
    }
}
