//! The JSON body of a call from one function to another, as the paper's connector and functions send it:
//!
//! ```json
//! {"magicByte": 2, "attributes": 0, "timestamp": "1681899936418", "offset": "0", "key": "6116c661-…",
//!  "value": [[[0, 0, …]]], "headers": {"X-INFERENCE-TS": "1681899936.417709"}, "isControlRecord": false,
//!  "topic": "mnist.edge-input", "partition": 0}
//! ```
//!
//! Only `value` is needed to read a body. `topic` and `partition` are ours. JSON text cannot carry a key or a
//! header that is not UTF-8, a null header or one name twice; the paper's connector corrupts them. Where a
//! record has any, `keyBase64` and `headersBase64` carry them whole, and win over `key` and `headers`. A value
//! that is not JSON goes as `valueBase64` in the place of `value`; either way its bytes arrive as they were.
//! kafkajs' `batchContext` is not sent: no function read it, and it doubled the metadata of a record.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use serde::de::{MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use crate::record::{Header, Record, Source};
use crate::reject::{Reject, RejectCode};

/// Writes a record and where it came from as a body. A value that is JSON stands in it verbatim.
pub fn encode(record: &Record, source: Option<&Source>) -> Vec<u8> {
    let (value, value_base64) = match record.value.as_deref() {
        None => (Some(RawValue::NULL.to_owned()), None),
        // The text `null` would read back as no value at all, and spaces around a value would be gone.
        Some(value) => match serde_json::from_slice::<&RawValue>(value) {
            Ok(json) if value != b"null" && json.get().len() == value.len() => {
                (Some(json.to_owned()), None)
            }
            _ => (None, Some(BASE64.encode(value))),
        },
    };
    let key = record.key.as_deref();
    let key_text = key.and_then(|key| std::str::from_utf8(key).ok());
    let body = Body {
        magic_byte: 2,
        attributes: 0,
        timestamp: record.timestamp_ms.map(|at| at.to_string()),
        offset: source.map(|source| source.offset.to_string()),
        key: key_text.map(str::to_owned),
        key_base64: key.filter(|_| key_text.is_none()).map(|key| BASE64.encode(key)),
        value,
        value_base64,
        headers: TextHeaders(
            record
                .headers
                .iter()
                .filter_map(|header| Some((header.name.clone(), text(header)?)))
                .collect(),
        ),
        headers_base64: (!fits_an_object(&record.headers)).then(|| {
            record
                .headers
                .iter()
                .map(|header| {
                    (header.name.clone(), header.value.as_ref().map(|value| BASE64.encode(value)))
                })
                .collect()
        }),
        is_control_record: false,
        topic: source.map(|source| source.topic.clone()),
        partition: source.map(|source| source.partition),
    };
    serde_json::to_vec(&body).expect("a body is plain JSON")
}

/// Reads a body. Fields that are not known are passed over, as the paper's functions do.
pub fn decode(body: &[u8]) -> Result<(Record, Option<Source>), Reject> {
    let not_json = |error: &dyn fmt::Display| {
        Reject::new(
            RejectCode::NotJson,
            format!(
                "the body is not a function body, expected a JSON object with `value`: {error}"
            ),
        )
    };
    let body: Body = serde_json::from_slice(body).map_err(|error| not_json(&error))?;
    let from_base64 = |field: &str, text: &str| {
        BASE64
            .decode(text)
            .map(Bytes::from)
            .map_err(|error| not_json(&format!("`{field}`: {error}")))
    };
    let key = match body.key_base64 {
        Some(key) => Some(from_base64("keyBase64", &key)?),
        None => body.key.map(Bytes::from),
    };
    let headers = match body.headers_base64 {
        Some(headers) => headers
            .into_iter()
            .map(|(name, value)| {
                let value = value.map(|value| from_base64("headersBase64", &value)).transpose()?;
                Ok(Header { name, value })
            })
            .collect::<Result<_, Reject>>()?,
        None => body.headers.0.into_iter().map(|(name, value)| Header::new(name, value)).collect(),
    };
    let value = match (body.value_base64, body.value) {
        (Some(value), _) => Some(from_base64("valueBase64", &value)?),
        (None, Some(value)) => {
            let value = Bytes::from(Box::<str>::from(value).into_string());
            (value.as_ref() != b"null").then_some(value)
        }
        (None, None) => return Err(not_json(&"`value` is missing")),
    };
    let source = match (body.topic, body.partition, body.offset.and_then(|at| at.parse().ok())) {
        (Some(topic), Some(partition), Some(offset)) => Some(Source { topic, partition, offset }),
        _ => None,
    };
    let timestamp_ms = body.timestamp.and_then(|at| at.parse().ok());
    Ok((Record { key, headers, timestamp_ms, value }, source))
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    #[serde(default)]
    magic_byte: u8,
    #[serde(default)]
    attributes: u8,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    timestamp: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    offset: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key_base64: Option<String>,
    // Not an `Option` of the reader's: `null` must arrive as the text `null`.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    value: Option<Box<RawValue>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    value_base64: Option<String>,
    #[serde(default)]
    headers: TextHeaders,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    headers_base64: Option<Vec<(String, Option<String>)>>,
    #[serde(default)]
    is_control_record: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    topic: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    partition: Option<i32>,
}

fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::<RawValue>::deserialize(deserializer).map(Some)
}

fn text(header: &Header) -> Option<String> {
    std::str::from_utf8(header.value.as_deref()?).ok().map(str::to_owned)
}

fn fits_an_object(headers: &[Header]) -> bool {
    headers.iter().enumerate().all(|(at, header)| {
        text(header).is_some() && headers[..at].iter().all(|other| other.name != header.name)
    })
}

/// Headers as a JSON object that keeps their order.
#[derive(Default)]
struct TextHeaders(Vec<(String, String)>);

impl Serialize for TextHeaders {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for TextHeaders {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = TextHeaders;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of header names and texts")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<TextHeaders, A::Error> {
                let mut headers = Vec::new();
                while let Some(header) = map.next_entry()? {
                    headers.push(header);
                }
                Ok(TextHeaders(headers))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn image(value: &'static str) -> Record {
        Record {
            key: Some(Bytes::from_static(b"6116c661")),
            headers: vec![Header::new("X-INFERENCE-TS", "1681899936.417709")],
            timestamp_ms: Some(1_681_899_936_418),
            value: Some(Bytes::from_static(value.as_bytes())),
        }
    }

    #[test]
    fn a_record_is_written_as_the_papers_connector_writes_it() {
        let source = Source { topic: "edge-input".into(), partition: 0, offset: 7 };
        let body = encode(&image("[[[0, 12]]]"), Some(&source));
        assert_eq!(
            String::from_utf8(body).unwrap(),
            "{\"magicByte\":2,\"attributes\":0,\"timestamp\":\"1681899936418\",\"offset\":\"7\",\
             \"key\":\"6116c661\",\"value\":[[[0, 12]]],\
             \"headers\":{\"X-INFERENCE-TS\":\"1681899936.417709\"},\"isControlRecord\":false,\
             \"topic\":\"edge-input\",\"partition\":0}"
        );
    }

    #[test]
    fn the_papers_own_body_is_read() {
        let body = br#"{"magicByte":2,"attributes":0,"timestamp":"1681899936418","offset":"0","key":"6116c661",
            "value":[[[0, 12]]],"headers":{"X-INFERENCE-TS":"1681899936.417709"},"isControlRecord":false,
            "batchContext":{"firstOffset":"0","maxTimestamp":"1681899936418","magicByte":2}}"#;
        let (record, source) = decode(body).unwrap();
        assert_eq!(record, image("[[[0, 12]]]"));
        assert_eq!(source, None);
    }

    #[test]
    fn a_body_that_is_none_is_rejected_with_the_reason() {
        let reason = |body: &str| decode(body.as_bytes()).unwrap_err().reason;
        assert!(reason("[1]").contains("expected a JSON object with `value`"));
        assert!(reason("{}").contains("`value` is missing"));
        assert!(reason("{\"value\": 1, \"keyBase64\": \"?\"}").contains("keyBase64"));
    }

    #[test]
    fn a_value_that_is_not_json_goes_as_base64() {
        let body = |value| String::from_utf8(encode(&image(value), None)).unwrap();
        assert!(body("hello").contains("\"valueBase64\":\"aGVsbG8=\""), "{}", body("hello"));
        assert!(body("[NaN]").contains("\"valueBase64\":\"W05hTl0=\""));
        assert!(!body("[1]").contains("valueBase64"));
    }

    prop_compose! {
        fn any_header()(name in "[a-c]{1,2}", value in prop::option::of(prop::collection::vec(any::<u8>(), 0..6)))
            -> Header {
            Header { name, value: value.map(Bytes::from) }
        }
    }

    proptest! {
        #[test]
        fn keys_headers_and_values_survive_byte_for_byte(
            key in prop::option::of(prop::collection::vec(any::<u8>(), 0..9)),
            headers in prop::collection::vec(any_header(), 0..5),
            timestamp_ms in prop::option::of(any::<i64>()),
            value in prop::option::of(prop::sample::select(
                vec![&b"[[1.50, 2]]"[..], b"{\"a\":  null}", b"\"x\"", b"null", b"", b" [1]", b"\xff\x00"]
            )),
            offset in prop::option::of(0..i64::MAX),
        ) {
            let record = Record {
                key: key.map(Bytes::from),
                headers,
                timestamp_ms,
                value: value.map(Bytes::from_static),
            };
            let source = offset.map(|offset| Source { topic: "t".into(), partition: 3, offset });
            let body = encode(&record, source.as_ref());
            prop_assert_eq!(decode(&body).unwrap(), (record, source));
        }
    }
}
