//! `offramp topic` and `offramp lag`, against the broker of another process.

use crate::place::Place;
use crate::process::run;

#[test]
fn topics_are_created_listed_described_and_deleted() {
    let place = Place::new();
    place.run(&["topic", "create", "t", "--partitions", "3", "--set", "retention.ms=1234"]);
    let listed = place.run(&["topic", "list"]);
    let line: Vec<_> = listed.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(line, ["t", "3", "0"], "{listed}");
    let described = place.run(&["topic", "describe", "t"]);
    assert!(described.contains("retention.ms=1234\n"), "{described}");
    assert!(described.contains("cleanup.policy=delete  (default)\n"), "{described}");
    for (arguments, expected) in [
        (&["topic", "create", "t"][..], "topic `t` could not be created"),
        (&["topic", "create", "u", "--set", "x=1"], "InvalidConfig (40): topics have no `x`"),
        (&["topic", "describe", "u"], "topic `u` does not exist on"),
        (&["topic", "consume", "t", "-p", "9"], "topic `t` has no partition 9; it has 3"),
    ] {
        let error = place.fails(arguments);
        assert!(error.contains(expected), "{arguments:?}: {error}");
    }
    place.run(&["topic", "delete", "t"]);
    assert_eq!(place.run(&["topic", "list"]).lines().count(), 1);
    assert!(place.fails(&["topic", "delete", "t"]).contains("topic `t` does not exist"));
}

#[test]
fn what_is_produced_is_consumed_from_where_one_asks() {
    let place = Place::new();
    place.produce(&["t", "--key-separator", ":", "-H", "a=b"], "k1:v1\nk2:v2\nk3:v:3\n");
    assert_eq!(place.run(&["topic", "consume", "t", "--exit"]), "v1\nv2\nv:3\n");
    let consume = |from: &str| place.run(&["topic", "consume", "t", "-e", "-f", from]);
    assert_eq!(consume("1"), "v2\nv:3\n");
    assert_eq!(consume("-1"), "v:3\n");
    assert_eq!(consume("@0"), "v1\nv2\nv:3\n");
    assert_eq!(consume("end"), "");
    let json = place.run(&["topic", "consume", "t", "--count", "1", "-o", "json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json["key"], &json["value"]), (&"k1".into(), &"v1".into()));
    assert_eq!(json["headers"], serde_json::json!([["a", "b"]]));

    let file = place.dir.path().join("bytes");
    std::fs::write(&file, [0, 0xff, b'\n']).unwrap();
    place.produce(&["t", file.to_str().unwrap()], "");
    let raw = ["topic", "consume", "t", "-e", "-f", "3", "-o", "raw", "-b", &place.servers];
    assert_eq!(run(&raw).stdout, [0, 0xff, b'\n']);
    assert!(
        run(&["topic", "produce", "t", "no-such-file", "-b", &place.servers]).status.code()
            == Some(78)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn lag_is_what_a_group_has_not_read() {
    let place = Place::new();
    let lines = "a line\n".repeat(10);
    place.produce(&["t"], &lines);
    let consumer = kafka::Consumer::subscribe(&place.servers, "readers", &["t"]).unwrap();
    for _ in 0..4 {
        consumer.done([consumer.recv().await.unwrap().ticket]);
    }
    consumer.close().await;
    let lag = place.run(&["lag", "readers", "-o", "json"]);
    let lag: serde_json::Value = serde_json::from_str(&lag).unwrap();
    assert_eq!(
        (&lag[0]["committed"], &lag[0]["end"], &lag[0]["lag"]),
        (&4.into(), &10.into(), &6.into())
    );
    assert!(place.run(&["lag"]).contains("readers"));
    let error = place.fails(&["lag", "nobody"]);
    assert!(
        error.contains("group `nobody` does not exist") && error.contains("one of `readers`"),
        "{error}"
    );
}
