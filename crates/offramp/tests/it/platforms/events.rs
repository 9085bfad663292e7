//! CloudEvents in binary, structured and batched mode, as Knative's sources and brokers send them, and replies.

use serde_json::{Value, json};

use super::{Container, body, model};

fn container() -> Container {
    // A threshold that some digits reach and some do not.
    let threshold = ("OFFRAMP_THRESHOLD", "0.9999");
    Container::start(&[
        threshold,
        ("K_SERVICE", "edge"),
        ("K_REVISION", "edge-1"),
        ("OFFRAMP_MODEL", &model()),
    ])
}

fn image(at: usize) -> Value {
    serde_json::from_str::<Value>(&body(at)).unwrap()["value"].clone()
}

const SOURCE: &str = "/apis/v1/namespaces/default/kafkasources/edge#mnist.edge-input";
const STRUCTURED: &str = "application/cloudevents+json; charset=utf-8";
const BATCH: &str = "application/cloudevents-batch+json";

fn event(at: usize) -> Value {
    json!({
        "specversion": "1.0", "id": format!("e{at}"), "source": "/cameras/7", "type": "frame",
        "datacontenttype": "application/json", "partitionkey": "room-4", "data": image(at),
    })
}

#[test]
fn a_kafka_sources_event_is_the_record_that_it_was() {
    let headers = [
        ("Content-Type", "application/json"),
        ("ce-specversion", "1.0"),
        ("ce-type", "dev.knative.kafka.event"),
        ("ce-source", SOURCE),
        ("ce-id", "partition:2/offset:17"),
        ("ce-subject", "partition:2#17"),
        ("ce-time", "2026-11-26T16:05:01.250Z"),
        ("ce-key", "k%C3%BC"),
        ("ce-kafkaheaderxinferencets", "1.5"),
        ("ce-kafkaheadercamera", "7"),
        ("Prefer", "reply"),
    ];
    let reply = container().send("POST", "/", &headers, image(0).to_string().as_bytes());
    assert_eq!(reply.status, 200, "{reply:?}");
    for (name, value) in [
        ("ce-specversion", "1.0"),
        ("ce-type", "dev.offramp.answer"),
        ("ce-source", "/offramp/edge"),
        ("ce-id", "mnist.edge-input/2/17"),
        ("ce-partitionkey", "k%c3%bc"),
        ("ce-xinferencets", "1.5"),
        ("ce-camera", "7"),
        ("ce-offramptier", "edge"),
        ("content-type", "application/json"),
    ] {
        assert_eq!(reply.header(name), Some(value), "{name}: {reply:?}");
    }
    assert_eq!(reply.json()[0].as_array().unwrap().len(), 10);
}

#[test]
fn structured_events_and_batches_are_answered_in_kind() {
    let container = container();
    let send = |media_type, body: Value| {
        container.send("POST", "/", &[("Content-Type", media_type)], body.to_string().as_bytes())
    };
    let reply = send(STRUCTURED, event(0));
    assert_eq!(reply.header("content-type"), Some("application/cloudevents+json"));
    let reply = reply.json();
    assert_eq!(reply["type"], "dev.offramp.answer", "{reply}");
    assert_eq!((&reply["id"], &reply["partitionkey"]), (&"/cameras/7#e0".into(), &"room-4".into()));
    assert_eq!(reply["data"][0].as_array().unwrap().len(), 10);

    let batch = send(BATCH, json!([event(1), event(2)]));
    assert_eq!(batch.header("content-type"), Some(BATCH));
    let ids: Vec<Value> =
        batch.json().as_array().unwrap().iter().map(|e| e["id"].clone()).collect();
    assert_eq!(ids, ["/cameras/7#e1", "/cameras/7#e2"]);

    // Two samples of which one leaves here and one does not can't be one event.
    let mut both = event(0);
    both["data"] = Value::Array((0..64).map(|at| image(at)[0].clone()).collect());
    let reply = send(STRUCTURED, both).json();
    let kinds: Vec<&str> = match &reply {
        Value::Array(events) => {
            events.iter().map(|event| event["type"].as_str().unwrap()).collect()
        }
        one => vec![one["type"].as_str().unwrap()],
    };
    assert_eq!(kinds, ["dev.offramp.answer", "dev.offramp.features"]);
}

#[test]
fn data_may_be_binary() {
    let container = Container::start(&[
        ("K_SERVICE", "edge"),
        ("K_REVISION", "edge-1"),
        ("OFFRAMP_MODEL", &model()),
        ("OFFRAMP_ENCODING", "u8"),
    ]);
    let pixels = vec![0u8; 784];
    let binary = [
        ("Content-Type", "application/octet-stream"),
        ("ce-specversion", "1.0"),
        ("ce-type", "frame"),
        ("ce-source", "/cameras/7"),
        ("ce-id", "1"),
    ];
    assert_eq!(container.send("POST", "/", &binary, &pixels).status, 200);
    let mut structured = event(0);
    structured.as_object_mut().unwrap().remove("data");
    structured["datacontenttype"] = "application/octet-stream".into();
    structured["data_base64"] =
        base64::Engine::encode(&base64::engine::general_purpose::STANDARD, &pixels).into();
    let headers = [("Content-Type", STRUCTURED)];
    let reply = container.send("POST", "/", &headers, structured.to_string().as_bytes());
    assert_eq!(reply.status, 200, "{reply:?}");
}

#[test]
fn bad_events_go_where_bad_events_go() {
    let container = container();
    let check = |media_type: &str, body: String, words: &str| {
        let answer = container.send("POST", "/", &[("Content-Type", media_type)], body.as_bytes());
        assert_eq!(answer.status, 400, "{answer:?}");
        assert!(answer.text().contains(words), "{words}: {answer:?}");
    };
    check(STRUCTURED, "{".into(), "not a CloudEvent");
    check(BATCH, event(0).to_string(), "not a list of CloudEvents");
    let mut old = event(0);
    old["specversion"] = "0.3".into();
    check(STRUCTURED, old.to_string(), "`specversion` is `0.3`, expected `1.0`");
    let mut nameless = event(0);
    nameless["id"] = "".into();
    check(STRUCTURED, nameless.to_string(), "no `id`");
    let mut small = event(0);
    small["data"] = json!([1]);
    check(STRUCTURED, small.to_string(), "wrong-shape");
    // Of a batch, all go: the sink of dead letters has the whole.
    check(BATCH, json!([event(0), small]).to_string(), "wrong-shape");
}
