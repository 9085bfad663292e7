//! Records that a platform's own Kafka trigger, or somebody by hand, sends as a request: the body is the record's value,
//! and headers say the rest, as far as the trigger passes it on.
//!
//! | trigger | it sends | not |
//! |---|---|---|
//! | OpenFaaS connector | `X-Topic`, `X-Kafka-Partition`, `-Offset`, `-Key` (`-Key-Enc: b64`), `-NAME` for a header | some or all but the topic, by version |
//! | Fission | `X-Fission-MQTrigger-Topic`, a record's headers by their names | key, partition, offset |
//! | Fission with KEDA | `KEDA-Topic`, a record's headers by their names | key, partition, offset |
//! | anybody | `Content-Type: application/octet-stream`, headers by their names | |
//!
//! HTTP knows no case of names: those that this project writes are restored, others come in lower case.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use hyper::header::CONTENT_TYPE;
use hyper::{HeaderMap, Request};
use wire::{Header, Record, Source, header};

/// Headers of HTTP, of proxies and of platforms, which are none of a record's.
const OTHERS: [&str; 22] = [
    "accept",
    "accept-encoding",
    "accept-language",
    "authorization",
    "cache-control",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "cookie",
    "expect",
    "forwarded",
    "host",
    "origin",
    "referer",
    "transfer-encoding",
    "user-agent",
    "via",
    "x-call-id",
    "x-connector",
    "x-request-id",
    "x-start-time",
];
const OTHERS_BEGIN: [&str; 5] = ["keda-", "sec-", "x-b3-", "x-fission-", "x-forwarded-"];
/// What an OpenFaaS connector puts before what is a record's.
const KAFKA: &str = "x-kafka-";

/// The record that a request carries as its body; `None` where the body describes it.
pub(crate) fn record(request: &Request<Bytes>) -> Option<(Record, Option<Source>)> {
    let headers = request.headers();
    let of = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let topic = ["x-topic", "x-kafka-topic", "x-fission-mqtrigger-topic", "keda-topic"]
        .into_iter()
        .find_map(of);
    let is_raw = of(CONTENT_TYPE.as_str()).is_some_and(|media_type| {
        let essence = media_type.split(';').next().unwrap_or_default().trim();
        essence.eq_ignore_ascii_case("application/octet-stream")
    });
    if topic.is_none() && !is_raw {
        return None;
    }
    let key = of("x-kafka-key").map(|key| match of("x-kafka-key-enc") {
        Some("b64") => BASE64.decode(key).map_or_else(|_| Bytes::from(key.to_owned()), Bytes::from),
        _ => Bytes::from(key.to_owned()),
    });
    let number = |name| of(name).and_then(|number| number.parse::<i64>().ok());
    let source = match (topic, number("x-kafka-partition"), number("x-kafka-offset")) {
        (Some(topic), Some(partition), Some(offset)) => Some(Source {
            topic: topic.to_owned(),
            partition: i32::try_from(partition).ok()?,
            offset,
        }),
        _ => None,
    };
    let value = Some(request.body().clone());
    Some((Record { key, headers: own(headers), timestamp_ms: None, value }, source))
}

/// The headers of a request that are a record's.
fn own(headers: &HeaderMap) -> Vec<Header> {
    let own = headers.iter().filter_map(|(name, value)| {
        let name = name.as_str();
        let name = match name.strip_prefix(KAFKA) {
            Some("topic" | "partition" | "offset" | "key" | "key-enc" | "timestamp") => None,
            Some(own) => Some(own),
            None if name == "x-topic" || OTHERS.contains(&name) => None,
            None if OTHERS_BEGIN.iter().any(|prefix| name.starts_with(prefix)) => None,
            None => Some(name),
        };
        Some(Header::new(restored(name?), Bytes::copy_from_slice(value.as_bytes())))
    });
    own.collect()
}

/// A header's name as it was before HTTP wrote it in lower case, as far as this is known.
pub(crate) fn restored(name: &str) -> &str {
    if name.eq_ignore_ascii_case(header::INFERENCE_TS) { header::INFERENCE_TS } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(headers: &[(&str, &str)]) -> Request<Bytes> {
        let mut request = Request::post("/");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(Bytes::from_static(b"[[1]]")).unwrap()
    }

    #[test]
    fn a_body_without_a_trigger_describes_its_record() {
        assert_eq!(record(&request(&[("content-type", "application/json"), ("a", "b")])), None);
    }

    #[test]
    fn an_openfaas_connector_tells_where_a_record_stands() {
        let (record, source) = record(&request(&[
            ("X-Topic", "in"),
            ("X-Connector", "connector-sdk"),
            ("X-Kafka-Partition", "2"),
            ("X-Kafka-Offset", "17"),
            ("X-Kafka-Key", "aw=="),
            ("X-Kafka-Key-Enc", "b64"),
            ("X-Kafka-X-INFERENCE-TS", "1.5"),
            ("X-Call-Id", "7"),
        ]))
        .unwrap();
        assert_eq!(source.unwrap().to_string(), "in/2/17");
        assert_eq!(record.key.as_deref(), Some(&b"k"[..]));
        assert_eq!(record.headers, [Header::new("X-INFERENCE-TS", "1.5")]);
        assert_eq!(record.value.as_deref(), Some(&b"[[1]]"[..]));
    }

    #[test]
    fn fission_gives_a_records_headers_by_their_names() {
        for topic in ["X-Fission-MQTrigger-Topic", "KEDA-Topic"] {
            let (record, source) = record(&request(&[
                (topic, "in"),
                ("X-Fission-Function-Name", "edge"),
                ("KEDA-Source-Name", "mqt"),
                ("Content-Type", "application/json"),
                ("offramp-encoding", "f16"),
                ("x-inference-ts", "1.5"),
            ]))
            .unwrap();
            assert_eq!(source, None);
            assert_eq!(
                record.headers,
                [Header::new("offramp-encoding", "f16"), Header::new("X-INFERENCE-TS", "1.5")]
            );
        }
    }
}
