//! Records as text: for a person on one line, for a program as JSON.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use wire::{Record, Source};

/// Bytes of a value that are shown to a person.
const SHOWN_BYTES: usize = 200;

/// `topic/partition/offset  time  key  name=value …  value`, cut to a readable length.
pub(crate) fn line(source: &Source, record: &Record) -> String {
    let mut parts = vec![source.to_string()];
    parts.push(record.timestamp_ms.map_or("-".to_owned(), |at| at.to_string()));
    parts.push(record.key.as_deref().map_or("-".to_owned(), shown));
    parts.extend(record.headers.iter().map(|header| {
        format!("{}={}", header.name, header.value.as_deref().map_or("null".to_owned(), shown))
    }));
    parts.push(record.value.as_deref().map_or("null".to_owned(), shown));
    parts.join("  ")
}

/// One object with everything a record has. A text that is not UTF-8 is an object `{"base64": …}`.
pub(crate) fn json(source: &Source, record: &Record) -> Value {
    let headers = record.headers.iter();
    let headers: Vec<Value> = headers
        .map(|header| json!([header.name, text_or_base64(header.value.as_deref())]))
        .collect();
    let mut object = Map::new();
    object.insert("topic".to_owned(), json!(source.topic));
    object.insert("partition".to_owned(), json!(source.partition));
    object.insert("offset".to_owned(), json!(source.offset));
    object.insert("timestamp_ms".to_owned(), json!(record.timestamp_ms));
    object.insert("key".to_owned(), text_or_base64(record.key.as_deref()));
    object.insert("headers".to_owned(), Value::Array(headers));
    object.insert("value".to_owned(), text_or_base64(record.value.as_deref()));
    Value::Object(object)
}

fn text_or_base64(bytes: Option<&[u8]>) -> Value {
    match bytes.map(|bytes| (bytes, std::str::from_utf8(bytes))) {
        None => Value::Null,
        Some((_, Ok(text))) => json!(text),
        Some((bytes, Err(_))) => json!({ "base64": STANDARD.encode(bytes) }),
    }
}

/// A text without control characters, which could move a terminal's cursor or end a line.
pub(crate) fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// Bytes as a person reads them: a text, cut to a readable length, or how many they are.
pub(crate) fn shown(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if text.chars().all(|c| !c.is_control()) && text.len() <= SHOWN_BYTES => {
            text.to_owned()
        }
        Ok(text) if text.chars().all(|c| !c.is_control()) => {
            let cut = text.floor_char_boundary(SHOWN_BYTES);
            format!("{}… ({} bytes)", &text[..cut], text.len())
        }
        _ => format!("({} bytes)", bytes.len()),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use wire::Header;

    use super::*;

    fn record() -> (Source, Record) {
        let source = Source { topic: "t".to_owned(), partition: 1, offset: 7 };
        let headers = vec![
            Header::new("a", "b"),
            Header { name: "n".to_owned(), value: None },
            Header::new("x", Bytes::from_static(b"\xff")),
        ];
        let value = Some(Bytes::from("é".repeat(300)));
        (source, Record { key: Some("k".into()), headers, timestamp_ms: Some(5), value })
    }

    #[test]
    fn a_line_is_cut_and_has_no_control_characters() {
        let (source, record) = record();
        let cut = "é".repeat(100);
        let expected = format!("t/1/7  5  k  a=b  n=null  x=(1 bytes)  {cut}… (600 bytes)");
        assert_eq!(line(&source, &record), expected);
        let broken = Record { value: Some("a\nb".into()), ..Record::default() };
        assert_eq!(line(&source, &broken), "t/1/7  -  -  (3 bytes)");
    }

    #[test]
    fn json_has_everything() {
        let (source, record) = record();
        let json = json(&source, &record);
        assert_eq!(json["headers"][2][1]["base64"], "/w==");
        assert_eq!(json["headers"][1], json!(["n", null]));
        assert_eq!(json["value"].as_str().unwrap().len(), 600);
        assert_eq!((&json["offset"], &json["key"]), (&json!(7), &json!("k")));
    }
}
