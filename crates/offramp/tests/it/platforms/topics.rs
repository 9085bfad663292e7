//! An inference function that writes topics itself, and platforms' Kafka triggers, which lose what fails.

use super::{Container, body, model};
use crate::place::Place;

#[test]
fn results_and_refused_records_are_in_topics_before_the_answer() {
    let place = Place::new();
    let [exit, up, dead] = ["exit", "up", "dead"].map(|name| place.topic(name, 1));
    let url = |topic: &str| format!("kafka://{}/{topic}", place.servers);
    let container = Container::start(&[
        ("OFFRAMP_PLATFORM", "fission"),
        ("OFFRAMP_MODEL", &model()),
        ("OFFRAMP_EXIT_URL", &url(&exit)),
        ("OFFRAMP_FORWARD_URL", &url(&up)),
        ("OFFRAMP_DEAD_LETTER_URL", &url(&dead)),
    ]);
    let read = |topic: &str, count: &str| {
        place.run(&[
            "topic",
            "consume",
            topic,
            "--from",
            "beginning",
            "--count",
            count,
            "-o",
            "json",
        ])
    };
    // As the paper's connector sends it.
    let done = container.post("/", &body(0)).json();
    assert_eq!((&done["fate"], done.get("answer")), (&"answered".into(), None));
    assert!(read(&exit, "1").contains("k0"));
    // As Fission's trigger does, which counts nothing but 200 as done, and throws the rest away.
    let trigger = [
        ("X-Fission-MQTrigger-Topic", "in"),
        ("X-Fission-MQTrigger-RespTopic", ""),
        ("camera", "7"),
    ];
    let done = container.send("POST", "/", &trigger, b"no image");
    assert_eq!((done.status, &done.json()["fate"]), (200, &"dead-lettered".into()), "{done:?}");
    let letter = read(&dead, "1");
    for part in ["no image", "not-json", "camera"] {
        assert!(letter.contains(part), "{part}: {letter}");
    }
}
