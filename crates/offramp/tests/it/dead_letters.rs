//! `offramp dead-letter`, against the broker of another process: ours, or Kafka.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use bytes::Bytes;
use kafka::{Event, Reader, Start, admin};
use serde_json::{Value, json};
use wire::{Header, Record, header};

use crate::images::{demo_models, digits, record};
use crate::place::Place;
use crate::process::{Service, offramp, run};
use crate::whole::{collect, send};

/// A dead letter, as a connector writes it.
fn letter(number: usize, code: &str, source: &str) -> Record {
    Record {
        key: Some(Bytes::from(format!("k{}", number % 3))),
        headers: vec![
            Header::new("kept", &b"\xff\x00"[..]),
            Header::new(header::DEAD_LETTER_CODE, code.to_owned()),
            Header::new(header::DEAD_LETTER_REASON, format!("reason {number}\nin two lines")),
            Header::new(header::DEAD_LETTER_SOURCE, source.to_owned()),
            Header::new(header::DEAD_LETTER_ATTEMPTS, "2"),
        ],
        timestamp_ms: Some(1_700_000_000_000 + number as i64),
        value: Some(Bytes::from(format!("value {number}"))),
    }
}

/// What is in a topic, in order.
async fn all(servers: &str, topic: &str) -> Vec<Record> {
    let reader = Reader::open(servers, &[topic], None, Start::Beginning).await.unwrap();
    let mut records = Vec::new();
    while let Event::Record(_, record) = reader.next().await.unwrap() {
        records.push(record);
    }
    records
}

async fn values(servers: &str, topic: &str) -> Vec<String> {
    let text = |record: Record| String::from_utf8(record.value.unwrap().to_vec()).unwrap();
    all(servers, topic).await.into_iter().map(text).collect()
}

/// Six letters of one partition: from `first` and `second` in turn, `not-json` and then `wrong-shape`.
async fn six_letters(place: &Place) -> (String, String, String) {
    let (first, second) = (place.topic("first", 1), place.topic("second", 1));
    let dead = place.topic("dead", 1);
    let producer = kafka::Producer::new(&place.servers).unwrap();
    for number in 0..6 {
        let code = if number < 3 { "not-json" } else { "wrong-shape" };
        let source = if number % 2 == 0 { &first } else { &second };
        let letter = letter(number, code, &format!("{source}/0/{number}"));
        producer.send(&dead, &letter).await.unwrap();
    }
    (dead, first, second)
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_are_listed_counted_and_shown() {
    let place = Place::of_parity();
    let (dead, first, _) = six_letters(&place).await;
    let listed = place.run(&["dead-letter", "list", &dead]);
    let lines: Vec<_> = listed.lines().collect();
    assert_eq!(lines.len(), 1 + 6 + 1 + 3, "{listed}");
    let words: Vec<_> = lines[1].split_whitespace().collect();
    let source = format!("{first}/0/0");
    let expected =
        ["0/0", "2023-11-14T22:13:20.000Z", "not-json", "2", "-", &source, "reason", "0\u{fffd}in"];
    assert_eq!(words[..8], expected, "{listed}");
    assert!(listed.contains("wrong-shape              3  0 sent back\n6 letters\n"), "{listed}");

    let json = |arguments: &[&str]| -> Vec<Value> {
        let list = ["dead-letter", "list", &dead, "-o", "json"];
        let printed = place.run(&[&list[..], arguments].concat());
        printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let some = json(&["--code", "wrong-shape", "--source", &first]);
    assert_eq!(some.len(), 2);
    assert_eq!((&some[0]["offset"], &some[0]["bytes"]), (&json!(4), &json!(7)));
    assert_eq!(some[1]["codes"], json!({"wrong-shape": {"letters": 1, "redriven": 0}}));
    let newest = json(&["--max", "2"]);
    let offsets: Vec<_> = newest.iter().map(|letter| letter["offset"].as_i64()).collect();
    assert_eq!(offsets, [Some(4), Some(5), None]);
    assert_eq!(newest[2]["letters"], json!(6));

    let shown = place.run(&["dead-letter", "show", &dead, "0/5"]);
    for part in ["code       wrong-shape\n", "attempts   2\n", "sent back  no\n", "key        k2\n"]
    {
        assert!(shown.contains(part), "no {part:?} in {shown}");
    }
    assert!(
        shown.ends_with("header     kept=(2 bytes)\nvalue      7 bytes\n\nvalue 5\n"),
        "{shown}"
    );
    let shown = place.run(&["dead-letter", "show", &dead, "0/5", "-o", "json"]);
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!((&shown["value"], &shown["redriven"]), (&json!("value 5"), &json!(false)));
    let error = place.fails(&["dead-letter", "show", &dead, "0/6"]);
    assert!(error.contains("there is no letter 0/6 in topic"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_back_is_the_record_and_is_sent_once() {
    let place = Place::of_parity();
    let (dead, first, second) = six_letters(&place).await;
    let redrive = |arguments: &[&str]| {
        place.run(&[&["dead-letter", "redrive", &dead][..], arguments].concat())
    };
    let would = redrive(&["--all", "--dry-run"]);
    assert!(would.contains("6 letters would be sent: 3 to "), "{would}");
    assert_eq!(all(&place.servers, &first).await.len(), 0);

    let said = redrive(&["--code", "not-json"]);
    assert!(said.starts_with("3 letters sent: "), "{said}");
    assert!(said.ends_with("; 0 sent back before, 0 refused\n"), "{said}");
    assert!(redrive(&["--code", "not-json"]).contains("0 letters sent; 3 sent back before"));
    let sent = all(&place.servers, &first).await;
    let mut expected = letter(2, "", "");
    expected.headers.truncate(1);
    expected.headers.push(Header::new(header::ID, format!("{first}/0/2")));
    assert_eq!(sent[1], expected);

    // Everything else, and nothing of what went before.
    assert!(redrive(&["--all"]).starts_with("3 letters sent: "));
    assert!(redrive(&["--all"]).starts_with("0 letters sent; 6 sent back before"));
    assert_eq!(values(&place.servers, &first).await, ["value 0", "value 2", "value 4"]);
    assert_eq!(values(&place.servers, &second).await, ["value 1", "value 3", "value 5"]);
    let listed = place.run(&["dead-letter", "list", &dead]);
    assert!(listed.contains("not-json                 3  3 sent back"), "{listed}");

    // One that comes later, and some again.
    let producer = kafka::Producer::new(&place.servers).unwrap();
    producer.send(&dead, &letter(6, "refused", &format!("{first}/0/6"))).await.unwrap();
    assert!(redrive(&["--all"]).starts_with(&format!("1 letter sent: 1 to {first}")));
    let aside = place.topic("aside", 1);
    let said = redrive(&["0/4", "0/1", "--to", &aside, "--again"]);
    assert!(said.starts_with(&format!("2 letters sent: 2 to {aside}")), "{said}");
    assert_eq!(values(&place.servers, &aside).await, ["value 1", "value 4"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_sent_back_is_named_and_does_not_stop_the_rest() {
    let place = Place::of_parity();
    let (input, dead) = (place.topic("input", 1), place.topic("dead", 1));
    let producer = kafka::Producer::new(&place.servers).unwrap();
    let original = |number: usize| {
        let mut record = letter(number, "", "");
        record.headers.truncate(1);
        record
    };
    for number in 0..3 {
        producer.send(&input, &original(number)).await.unwrap();
    }
    // Without its value, as a letter that is too large goes; and one whose place has another record.
    for (number, offset) in [(0, 0), (1, 1), (5, 2), (2, 2)] {
        let mut letter = letter(number, "too-large", &format!("{input}/0/{offset}"));
        letter.value = None;
        producer.send(&dead, &letter).await.unwrap();
    }
    producer.send(&dead, &letter(6, "refused", "no-such-topic/0/0")).await.unwrap();
    producer.send(&dead, &original(7)).await.unwrap();
    admin::delete_records(&place.servers, &input, &[(0, 1)]).await.unwrap();

    let output = run(&["dead-letter", "redrive", &dead, "--all", "-b", &place.servers]);
    let stderr = String::from_utf8(output.stderr).unwrap();
    for said in [
        format!("letter 0/0 is not sent: it came without its value, and {input}/0/0, where that"),
        format!("{input}/0/2, where that stood, is another record now"),
        "letter 0/4 is not sent: topic `no-such-topic` does not exist".to_owned(),
        "letter 0/5 is not sent: it does not say where it came from".to_owned(),
        "error: 4 letters not sent".to_owned(),
    ] {
        assert!(stderr.contains(&said), "no `{said}` in {stderr}");
    }
    assert_eq!(output.status.code(), Some(1));
    let values = values(&place.servers, &input).await;
    assert_eq!(values, ["value 1", "value 2", "value 1", "value 2"]);
    let error = place.fails(&["dead-letter", "redrive", &dead, "--all", "--to", "nowhere"]);
    assert!(error.contains("topic `nowhere` does not exist"), "{error}");
    let error = place.fails(&["dead-letter", "redrive", &dead, "0/17"]);
    assert!(error.contains("letter 0/17 is not sent: there is no such letter"), "{error}");
    let unselected = run(&["dead-letter", "redrive", &dead, "-b", &place.servers]);
    assert_eq!(unselected.status.code(), Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redrive_that_is_killed_loses_nothing_and_the_next_goes_on() {
    const LETTERS: usize = 20_000;
    let place = Place::new();
    let (input, dead) = (place.topic("input", 1), place.topic("dead", 2));
    let letters =
        (0..LETTERS).map(|number| letter(number, "refused", &format!("{input}/0/{number}")));
    send(&place.servers, &dead, letters).await;
    let redrive = ["dead-letter", "redrive", &dead, "--all", "-b", &place.servers];
    let mut first = Service::spawn(&mut offramp(&redrive));
    let end = async || admin::extents(&place.servers, &input).await.unwrap()[0].end;
    while end().await < 3000 {
        tokio::task::yield_now().await;
    }
    first.kill();
    let before = end().await;
    assert!(before < LETTERS as i64, "it was done before it was killed");
    let said = place.run(&redrive[..4]);
    let mut times: BTreeMap<String, usize> = BTreeMap::new();
    for record in all(&place.servers, &input).await {
        *times.entry(record.id().unwrap().to_owned()).or_default() += 1;
    }
    assert_eq!(times.len(), LETTERS, "lost");
    let twice = times.values().filter(|&&count| 1 < count).count();
    eprintln!("killed after {before}; {twice} sent twice; then: {said}");
    // Those in flight, and those since the last marks.
    assert!(twice <= 256 + 512, "{twice} of {before} were sent twice");
    assert!(place.run(&redrive[..4]).starts_with("0 letters sent; 20000 sent back before"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_made_again_has_no_marks() {
    let place = Place::new();
    let (input, dead) = (place.topic("input", 1), place.topic("dead", 1));
    let producer = kafka::Producer::new(&place.servers).unwrap();
    producer.send(&dead, &letter(1, "refused", &format!("{input}/0/1"))).await.unwrap();
    assert!(place.run(&["dead-letter", "redrive", &dead, "--all"]).starts_with("1 letter sent"));
    place.run(&["topic", "delete", &dead]);
    place.run(&["topic", "create", &dead]);
    let producer = kafka::Producer::new(&place.servers).unwrap();
    producer.send(&dead, &letter(2, "refused", &format!("{input}/0/2"))).await.unwrap();
    assert!(place.run(&["dead-letter", "redrive", &dead, "--all"]).starts_with("1 letter sent"));
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_are_purged_once_it_is_confirmed() {
    let place = Place::of_parity();
    let (dead, ..) = six_letters(&place).await;
    place.run(&["dead-letter", "redrive", &dead, "0/0", "0/2"]);
    let purge = ["dead-letter", "purge", &dead];
    let error = place.fails(&purge);
    let what = format!("6 letters of `{dead}`, 4 of them not sent back");
    assert!(error.contains(&what) && error.contains("expected --yes"), "{error}");
    let purge = |arguments: &[&str]| place.run(&[&purge[..], arguments, &["--yes"]].concat());
    let deleted = purge(&["--before", "0/1"]);
    assert!(deleted.starts_with("deleted 1 letter of"), "{deleted}");
    let deleted = purge(&["--before", "@1700000000003"]);
    assert!(deleted.contains("deleted 2 letters of") && deleted.contains(", 1 of them not"));
    assert!(place.run(&["dead-letter", "list", &dead]).ends_with("\n3 letters\n"));
    let error = place.fails(&["dead-letter", "purge", &dead, "--before", "0/9", "--yes"]);
    assert!(error.contains("has no letter 0/9; partition 0 ends at 6"), "{error}");
    assert!(purge(&[]).starts_with("deleted 3 letters of"));
    assert!(purge(&[]).starts_with("nothing to delete in"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_to_what_was_sent_back_joins_to_what_was_sent() {
    let place = Place::new();
    let model = demo_models()[2].display().to_string();
    let mut text = "[pipeline]\nname = \"p\"\n[[tier]]\nname = \"edge\"\n".to_owned();
    write!(text, "model = \"{model}\"\nbootstrap_servers = \"{}\"\n", place.servers).unwrap();
    let file = place.dir.path().join("offramp.toml");
    // The cloud's sub-model takes features, not images: every record dies.
    std::fs::write(&file, &text).unwrap();
    let mut up = Service::start(&["up", file.to_str().unwrap()]);
    up.wait_for("ready");
    let mut image = record(&digits(1), 0, "r");
    image.headers.retain(|header| header.name != header::ID);
    send(&place.servers, "p.edge-input", [image.clone()]).await;
    collect(&place.servers, &["p.edge-dead-letter"], 1).await;
    up.terminate();
    std::fs::write(&file, text.replace("cloud.onnx", "edge.onnx")).unwrap();
    let mut up = Service::start(&["up", file.to_str().unwrap()]);
    up.wait_for("ready");
    let said =
        place.run(&["dead-letter", "redrive", "p.edge-dead-letter", "--code", "wrong-shape"]);
    assert!(said.starts_with("1 letter sent: 1 to p.edge-input"), "{said}");
    let arrived = collect(&place.servers, &["p.edge-output"], 1).await;
    let (_, answer) = &arrived.records["p.edge-input/0/0"];
    assert_eq!((&answer.key, answer.timestamp_ms), (&image.key, image.timestamp_ms));
    assert_eq!(answer.headers[..image.headers.len()], image.headers);
}
