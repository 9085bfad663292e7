//! CloudEvents 1.0 over HTTP: an event is a record, and what a function gives back is an event.
//!
//! Binary, structured and batched mode ("HTTP Protocol Binding for CloudEvents", version 1.0.2, section 3). The event's
//! data is the record's value. Of its attributes:
//!
//! | attribute | in the record |
//! |---|---|
//! | `partitionkey`, or `key` | key |
//! | `id` of a Knative `KafkaSource`, `partition:P/offset:O`, with the topic behind the `#` of `source` | where the record stands |
//! | `source` and `id` of any other | header `offramp-id`, so that an event that comes twice has one identity |
//! | `time` | timestamp |
//! | `kafkaheaderNAME` | header NAME |
//! | `traceparent`, `offrampencoding` and such | the headers of these names |
//! | any other extension | header `ce_NAME`, as the Kafka binding names it |
//!
//! A sender that understands replies takes every body of a success for one. So a success has no body, or is an event:
//! `dev.offramp.answer`, or `dev.offramp.features` for the next tier. A sample each of a record of several may become
//! one of both; they come as a batch then.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use hyper::header::CONTENT_TYPE;
use hyper::http::{HeaderName, HeaderValue};
use hyper::{HeaderMap, Request, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use wire::time::parse_rfc3339;
use wire::{Header, Record, Reject, RejectCode, Source, header};

use crate::connector::Called;
use crate::failure::Failure;
use crate::http::MAX_LIST;
use crate::http::function::{Answer, Function, of_type, refuse};
use crate::platform::trigger;

const STRUCTURED: &str = "application/cloudevents+json";
const BATCH: &str = "application/cloudevents-batch+json";
const VERSION: &str = "1.0";
/// What binary mode puts before an attribute's name.
const PREFIX: &str = "ce-";
/// What a `KafkaSource` puts before a header's name, in lower case.
const KAFKA_HEADER: &str = "kafkaheader";
/// Headers whose names are no names of attributes as they are, which have letters and digits only.
const KNOWN: [&str; 9] = [
    header::ID,
    header::TIER,
    header::EXIT_CONFIDENCE,
    header::MODEL,
    header::TIMES,
    header::ROWS,
    header::ENCODING,
    header::DEGRADED,
    header::INFERENCE_TS,
];

/// Attributes that every event may have, whose places no record's header can take.
const OWN: [&str; 9] = [
    "specversion",
    "id",
    "source",
    "type",
    "datacontenttype",
    "dataschema",
    "subject",
    "time",
    "data",
];

/// How events stand in a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Binary,
    Structured,
    Batch,
}

/// What a function gives back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Answer,
    Features,
}

impl Mode {
    /// How the events of a request with these headers stand in it; `None` where it carries none.
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        let media_type = headers.get(CONTENT_TYPE).map_or(&b""[..], |value| value.as_bytes());
        let begins = |with: &str| {
            let start = media_type.get(..with.len());
            start.is_some_and(|start| start.eq_ignore_ascii_case(with.as_bytes()))
        };
        if begins("application/cloudevents-batch") {
            Some(Self::Batch)
        } else if begins("application/cloudevents") {
            Some(Self::Structured)
        } else {
            headers.contains_key("ce-specversion").then_some(Self::Binary)
        }
    }
}

/// An event as JSON writes it.
#[derive(Debug, Serialize, Deserialize)]
struct Event {
    #[serde(default)]
    specversion: String,
    #[serde(default)]
    id: String,
    #[serde(default)]
    source: String,
    #[serde(default, rename = "type")]
    kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    datacontenttype: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    time: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    data: Option<Box<RawValue>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    data_base64: Option<String>,
    #[serde(flatten)]
    others: BTreeMap<String, serde_json::Value>,
}

/// Carries out what the events of a request say.
pub(crate) async fn answer(function: &Function, mode: Mode, request: &Request<Bytes>) -> Answer {
    let records = match records(mode, request) {
        Ok(records) => records,
        Err(reject) => return refuse(&reject.into()),
    };
    let carried_out = function.carry_out(records).await;
    if let Some(failure) = worst(carried_out.iter().map(|(_, called)| called)) {
        return refuse(failure);
    }
    let replies = carried_out.iter().flat_map(|(returned, _)| {
        let answer = returned.answer.iter().map(|record| (record, Kind::Answer));
        answer.chain(returned.forward.iter().map(|record| (record, Kind::Features)))
    });
    let replies: Vec<(&Record, Kind)> = replies.collect();
    match (mode, replies.as_slice()) {
        (_, []) => Answer::new(Bytes::new()),
        (Mode::Binary, [(record, kind)]) => binary(record, *kind),
        (Mode::Structured, [(record, kind)]) => written(STRUCTURED, &Event::of(record, *kind)),
        (_, replies) => {
            let events = replies.iter().map(|(record, kind)| Event::of(record, *kind));
            written(BATCH, &events.collect::<Vec<_>>())
        }
    }
}

/// The failure that all events of a request are said to have met: one that may succeed later, since those are tried
/// again, and else any. Those that have succeeded then come once more, with their identity.
fn worst<'a>(called: impl Iterator<Item = &'a Called> + Clone) -> Option<&'a Failure> {
    let mut failures = called.filter_map(|called| called.as_ref().err());
    // What waits behind another says nothing, and a sender would take its status for final.
    let passes = |failure: &&Failure| failure.may_succeed_later() && **failure != Failure::Behind;
    failures.clone().find(passes).or_else(|| failures.next())
}

fn written(media_type: &'static str, events: &impl Serialize) -> Answer {
    let events = serde_json::to_vec(events).expect("an event is plain JSON");
    of_type(StatusCode::OK, media_type, events)
}

fn records(mode: Mode, request: &Request<Bytes>) -> Result<Vec<(Record, Option<Source>)>, Reject> {
    let not_json = |what: &str, error: serde_json::Error| {
        Reject::new(RejectCode::NotJson, format!("the body is not {what}: {error}"))
    };
    match mode {
        Mode::Binary => {
            let (event, data) = from_headers(request);
            Ok(vec![event.record(Some(data))?])
        }
        Mode::Structured => {
            let event: Event = serde_json::from_slice(request.body())
                .map_err(|error| not_json("a CloudEvent in JSON", error))?;
            Ok(vec![event.record(None)?])
        }
        Mode::Batch => {
            let events: Vec<Event> = serde_json::from_slice(request.body())
                .map_err(|error| not_json("a list of CloudEvents in JSON", error))?;
            if MAX_LIST < events.len() {
                let given = events.len();
                let reason = format!("the batch has {given} events, expected at most {MAX_LIST}");
                return Err(Reject::new(RejectCode::TooLarge, reason));
            }
            events.into_iter().map(|event| event.record(None)).collect()
        }
    }
}

/// The attributes of an event in binary mode, and its data.
fn from_headers(request: &Request<Bytes>) -> (Event, Bytes) {
    let mut attributes = BTreeMap::new();
    for (name, value) in request.headers() {
        if let (Some(name), Ok(value)) = (name.as_str().strip_prefix(PREFIX), value.to_str()) {
            attributes.insert(name.to_owned(), percent_decoded(value));
        }
    }
    let media_type = request.headers().get(CONTENT_TYPE);
    let mut take = |name: &str| attributes.remove(name);
    let event = Event {
        specversion: take("specversion").unwrap_or_default(),
        id: take("id").unwrap_or_default(),
        source: take("source").unwrap_or_default(),
        kind: take("type").unwrap_or_default(),
        datacontenttype: media_type.and_then(|value| value.to_str().ok()).map(str::to_owned),
        time: take("time"),
        data: None,
        data_base64: None,
        others: attributes.into_iter().map(|(name, value)| (name, value.into())).collect(),
    };
    (event, request.body().clone())
}

impl Event {
    /// The record of this event, whose data is `data` where it is not in the event itself.
    fn record(self, data: Option<Bytes>) -> Result<(Record, Option<Source>), Reject> {
        let refused = |reason: String| Reject::new(RejectCode::Refused, reason);
        if self.specversion != VERSION {
            let given = &self.specversion;
            return Err(refused(format!("`specversion` is `{given}`, expected `{VERSION}`")));
        }
        let required = [("id", &self.id), ("source", &self.source), ("type", &self.kind)];
        if let Some((name, _)) = required.iter().find(|(_, value)| value.is_empty()) {
            return Err(refused(format!("the event has no `{name}`, which every CloudEvent has")));
        }
        let value = match (data, self.data_base64, self.data) {
            (Some(data), _, _) => Some(data),
            (None, Some(text), _) => Some(Bytes::from(
                BASE64
                    .decode(text)
                    .map_err(|error| refused(format!("`data_base64` is not base64: {error}")))?,
            )),
            (None, None, Some(json)) => Some(of_json(&json, self.datacontenttype.as_deref())),
            (None, None, None) => None,
        };
        let source = kafka_source(&self.source, &self.id);
        let mut record = Record {
            timestamp_ms: self.time.as_deref().and_then(parse_rfc3339),
            value: value.filter(|value| !value.is_empty()),
            ..Record::default()
        };
        let mut keys = (None, None);
        for (name, value) in self.others {
            let text = match value {
                serde_json::Value::String(text) => text,
                other => other.to_string(),
            };
            match name.as_str() {
                "partitionkey" => keys.0 = Some(text),
                "key" => keys.1 = Some(text),
                "subject" | "dataschema" => {}
                _ => record.headers.push(Header::new(header_name(&name), text)),
            }
        }
        record.key = keys.0.or(keys.1).map(Bytes::from);
        if source.is_none() && record.header(header::ID).is_none() {
            record.headers.push(Header::new(header::ID, format!("{}#{}", self.source, self.id)));
        }
        Ok((record, source))
    }

    /// What a function gives back, as an event.
    fn of(record: &Record, kind: Kind) -> Self {
        let last = |name: &str| {
            let header = record.headers.iter().rfind(|header| header.name == name)?;
            std::str::from_utf8(header.value.as_ref()?).ok()
        };
        let mut others = BTreeMap::new();
        if let Some(key) = record.key.as_deref().and_then(|key| std::str::from_utf8(key).ok()) {
            others.insert("partitionkey".to_owned(), key.into());
        }
        for header in &record.headers {
            let name = attribute_name(&header.name);
            if let Some(value) = last(&header.name)
                && !OWN.contains(&name.as_str())
            {
                others.insert(name, value.into());
            }
        }
        let value = record.value.as_deref().unwrap_or_default();
        let is_json = record.header(header::ENCODING).is_none();
        let json = serde_json::from_slice(value).ok().filter(|_| is_json);
        let media_type =
            if json.is_some() { "application/json" } else { "application/octet-stream" };
        Self {
            specversion: VERSION.to_owned(),
            id: record.id().map_or_else(|| uuid_of(value), str::to_owned),
            source: format!("/offramp/{}", last(header::TIER).unwrap_or_default()),
            kind: match kind {
                Kind::Answer => "dev.offramp.answer".to_owned(),
                Kind::Features => "dev.offramp.features".to_owned(),
            },
            datacontenttype: Some(media_type.to_owned()),
            time: None,
            data_base64: json.is_none().then(|| BASE64.encode(value)),
            data: json,
            others,
        }
    }
}

/// An event in binary mode.
fn binary(record: &Record, kind: Kind) -> Answer {
    let event = Event::of(record, kind);
    let mut answer = Answer::new(record.value.clone().unwrap_or_default());
    let headers = answer.headers_mut();
    let media_type = event.datacontenttype.unwrap_or_default();
    headers.insert(CONTENT_TYPE, media_type.parse().expect("a media type of ours"));
    let mut put = |name: &str, value: &str| {
        let name = HeaderName::try_from(format!("{PREFIX}{name}"));
        let value = HeaderValue::try_from(percent_encoded(value));
        // A name with other characters than a header's may have stays out: binary mode can't carry it.
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.insert(name, value);
        }
    };
    put("specversion", &event.specversion);
    put("id", &event.id);
    put("source", &event.source);
    put("type", &event.kind);
    for (name, value) in &event.others {
        put(name, value.as_str().unwrap_or_default());
    }
    answer
}

/// The identity of what came without one.
fn uuid_of(value: &[u8]) -> String {
    let trace = wire::trace::start(&String::from_utf8_lossy(value));
    trace.split('-').nth(1).unwrap_or_default().to_owned()
}

/// JSON as a value: its text, or where it is a string of something else, what that says.
fn of_json(json: &RawValue, media_type: Option<&str>) -> Bytes {
    let is_json = media_type.is_none_or(|media_type| media_type.contains("json"));
    match serde_json::from_str::<String>(json.get()) {
        Ok(text) if !is_json => Bytes::from(text),
        _ => Bytes::from(json.get().to_owned()),
    }
}

/// Where the record of a `KafkaSource`'s event stands: `…#TOPIC` and `partition:P/offset:O`.
fn kafka_source(source: &str, id: &str) -> Option<Source> {
    let (_, topic) = source.rsplit_once('#')?;
    let (partition, offset) = id.strip_prefix("partition:")?.split_once("/offset:")?;
    Some(Source {
        topic: topic.to_owned(),
        partition: partition.parse().ok()?,
        offset: offset.parse().ok()?,
    })
}

fn header_name(attribute: &str) -> String {
    let bare = attribute.strip_prefix(KAFKA_HEADER).unwrap_or(attribute);
    let is = |known: &&&str| attribute_name(known) == bare;
    if let Some(known) = KNOWN.iter().find(is) {
        (*known).to_owned()
    } else if bare == header::TRACEPARENT || bare.len() < attribute.len() {
        trigger::restored(bare).to_owned()
    } else {
        format!("ce_{attribute}")
    }
}

/// A header's name as that of an attribute: letters and digits.
fn attribute_name(header: &str) -> String {
    let name = header.strip_prefix("ce_").unwrap_or(header).chars();
    name.filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

/// Section 3.1.3.2 of the binding: what is no printable ASCII, and `"` and `%`, as `%XX` of its UTF-8.
fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_graphic() && byte != b'"' && byte != b'%' {
            encoded.push(char::from(byte));
        } else {
            write!(encoded, "%{byte:02X}").expect("writing to memory does not fail");
        }
    }
    encoded
}

fn percent_decoded(text: &str) -> String {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [byte, behind @ ..] = rest {
        let hex = behind.get(..2).filter(|_| *byte == b'%');
        let hex = hex.and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        decoded.push(hex.unwrap_or(*byte));
        rest = if hex.is_some() { &behind[2..] } else { behind };
    }
    String::from_utf8(decoded).unwrap_or_else(|_| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_takes_no_attributes_place() {
        let headers = ["id", "Type", "ce_source", "camera"];
        let mut headers: Vec<Header> = headers.map(|name| Header::new(name, "mine")).into();
        headers.push(Header::new(header::ID, "r1"));
        let record =
            Record { headers, value: Some(Bytes::from_static(b"[1]")), ..Record::default() };
        let event = serde_json::to_string(&Event::of(&record, Kind::Answer)).unwrap();
        assert_eq!(event.matches("\"mine\"").count(), 1, "{event}");
        assert!(event.contains("\"camera\":\"mine\""), "{event}");
        let answer = binary(&record, Kind::Answer);
        assert_eq!(
            (&answer.headers()["ce-id"], &answer.headers()["ce-camera"]),
            (&"r1".parse().unwrap(), &"mine".parse().unwrap())
        );
    }

    #[test]
    fn header_values_are_written_and_read() {
        for text in ["plain", "Euro € 😀", "50 %", "a\"b", "%zz", "%"] {
            assert_eq!(percent_decoded(&percent_encoded(text)), text);
        }
        assert_eq!(percent_encoded("Euro € 😀"), "Euro%20%E2%82%AC%20%F0%9F%98%80");
        assert_eq!(percent_decoded("100%"), "100%");
    }

    #[test]
    fn names_of_headers_and_of_attributes() {
        assert_eq!(header_name("kafkaheaderofframpencoding"), "offramp-encoding");
        assert_eq!(header_name("offrampencoding"), "offramp-encoding");
        assert_eq!(header_name("kafkaheaderxinferencets"), "X-INFERENCE-TS");
        assert_eq!(header_name("kafkaheadercamera"), "camera");
        assert_eq!(header_name("traceparent"), "traceparent");
        assert_eq!(header_name("room"), "ce_room");
        assert_eq!(attribute_name("ce_room"), "room");
    }

    #[test]
    fn a_kafka_source_tells_where_a_record_stands() {
        let source = "/apis/v1/namespaces/default/kafkasources/edge#mnist.edge-input";
        let place = kafka_source(source, "partition:2/offset:17").unwrap();
        assert_eq!(place.to_string(), "mnist.edge-input/2/17");
        assert_eq!(kafka_source("/cameras/7", "partition:2/offset:17"), None);
        assert_eq!(kafka_source(source, "17"), None);
    }
}
