//! `OpenWhisk`: the invoker's requests to an action's container.

use std::process::Stdio;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};

use super::{Answer, Container, body, check_answer, entry_point, model, package, until};
use crate::process::ask_to_end;

const OPENWHISK: (&str, &str) = ("__OW_API_HOST", "http://openwhisk");
const SENTINEL: &str = "XXX_THE_END_OF_A_WHISK_ACTIVATION_XXX";

fn init(variables: &Value) -> String {
    json!({ "value": {
        "name": "edge", "main": "main", "binary": false, "env": variables,
    } })
    .to_string()
}

fn run(value: &Value) -> String {
    json!({
        "value": value, "namespace": "guest", "action_name": "/guest/edge", "action_version": "0.0.3",
        "activation_id": "a6b1", "transaction_id": "t", "deadline": "4102444800000",
    })
    .to_string()
}

fn initialised() -> Container {
    let container = Container::start_blank(&[OPENWHISK]);
    let answer = container.post("/init", &init(&json!({ "OFFRAMP_MODEL": model() })));
    assert_eq!((answer.status, answer.json()), (200, json!({ "ok": true })));
    container
}

/// What every answer of an action is.
fn check_framing(answer: &Answer) {
    let length = answer.body.len().to_string();
    assert_eq!(answer.header("content-length"), Some(length.as_str()), "{answer:?}");
    assert_eq!(answer.header("transfer-encoding"), None);
    assert!(answer.json().is_object() || answer.json().is_array());
}

#[test]
fn it_is_initialised_once_and_then_run() {
    let container = Container::start_blank(&[OPENWHISK]);
    let early = container.post("/run", &run(&json!({})));
    assert_eq!(early.status, 500);
    assert!(early.json()["error"].as_str().unwrap().contains("not initialised"));
    let bad = container.post("/init", &init(&json!({ "OFFRAMP_MODEL": "/nowhere.onnx" })));
    assert_eq!(bad.status, 502);
    assert!(bad.json()["error"].as_str().unwrap().contains("/nowhere.onnx"), "{bad:?}");
    let text = json!({ "value": { "code": "def main(): pass", "binary": false } }).to_string();
    assert_eq!(container.post("/init", &text).status, 502);
    let good = container.post("/init", &init(&json!({ "OFFRAMP_MODEL": model() })));
    assert_eq!(good.status, 200, "{good:?}");
    let again = container.post("/init", &init(&json!({})));
    assert_eq!(again.status, 403);
    assert_eq!(again.json()["error"], "Cannot initialize the action more than once.");

    let value: Value = serde_json::from_str(&body(0)).unwrap();
    let answer = container.post("/run", &run(&value));
    check_framing(&answer);
    check_answer(&answer.json());
    for path in ["/elsewhere", "/healthz", "/v2/specialize"] {
        assert_eq!(container.post(path, &body(0)).status, 404);
    }
    assert_eq!(container.get("/run").status, 404);
}

#[test]
fn one_route_initialises_and_runs() {
    let value: Value = serde_json::from_str(&body(0)).unwrap();
    let init = json!({ "name": "edge", "main": "main", "binary": false, "env": { "OFFRAMP_MODEL": model() } });
    // As in OpenWhisk's documentation, with a deadline long past: no platform is there to set one.
    let activation = json!({ "namespace": "", "action_name": "edge", "deadline": 1_000_000 });
    let both = json!({ "init": init, "activation": activation, "value": value }).to_string();
    let run = json!({ "activation": activation, "value": value }).to_string();

    let container = Container::start_blank(&[OPENWHISK]);
    let early = container.post("/", &run);
    assert_eq!(
        early.status, 502,
        "neither it nor its variables say which function it is: {early:?}"
    );
    let done = container.post("/", &both);
    check_framing(&done);
    check_answer(&done.json());
    assert_eq!(container.post("/", &both).status, 403, "initialised twice");
    check_answer(&container.post("/", &run).json());
    check_answer(&container.post("/", &json!({ "value": value }).to_string()).json());
    for (body, status) in [("{}", 400), ("[]", 400), ("no", 400)] {
        let answer = container.post("/", body);
        check_framing(&answer);
        assert_eq!(answer.status, status, "{body}: {answer:?}");
    }
    let huge = json!({ "value": { "value": "x".repeat(1_100_000) } }).to_string();
    let error = container.post("/", &huge).json()["error"].as_str().unwrap().to_owned();
    assert!(error.contains("expected at most 1048576"), "{error}");

    let apart = Container::start_blank(&[OPENWHISK]);
    let answer = apart.post("/", &json!({ "init": init }).to_string());
    assert_eq!((answer.status, answer.json()), (200, json!({ "ok": true })));
    check_answer(&apart.post("/", &run).json());

    let model = model();
    let dedicated = Container::start_blank(&[OPENWHISK, ("OFFRAMP_MODEL", &model)]);
    check_answer(&dedicated.post("/", &run).json());
}

#[test]
fn a_failed_activation_is_an_error_in_a_200() {
    let container = initialised();
    let wrong = container.post("/run", &run(&json!({ "value": [[1, 2]] })));
    check_framing(&wrong);
    assert_eq!((wrong.status, &wrong.json()["error"]["statusCode"]), (200, &json!(400)));
    assert_eq!(wrong.json()["error"]["reason"]["code"], "wrong-shape");
    for body in ["", "[]", "{}", "{\"value\": 7}", "{\"value\": {}}"] {
        let answer = container.post("/run", body);
        check_framing(&answer);
        assert_eq!(answer.status, 200, "{body}");
        assert!(answer.json().get("error").is_some(), "{body}: {answer:?}");
    }
    let mut late: Value = serde_json::from_str(&run(&json!({}))).unwrap();
    late["deadline"] = "1700000000000".into();
    let answer = container.post("/run", &late.to_string());
    assert!(answer.json()["error"].is_string() || answer.json()["error"].is_object());
}

#[test]
fn payloads_have_a_bound_either_way() {
    let container = initialised();
    let huge = run(&json!({ "value": "x".repeat(1_100_000) }));
    let answer = container.post("/run", &huge);
    check_framing(&answer);
    assert_eq!(answer.status, 200);
    let error = answer.json()["error"].as_str().unwrap().to_owned();
    assert!(error.contains("expected at most 1048576"), "{error}");

    // Echoed, it is above the bound with what is around it.
    let container = Container::start_blank(&[OPENWHISK]);
    container.post("/init", &init(&json!({ "OFFRAMP_FUNCTION": "wait", "OFFRAMP_WAIT_MS": "0" })));
    let fits = json!({ "text": "x".repeat(1000) });
    assert_eq!(container.post("/run", &run(&fits)).json(), fits);
}

#[test]
fn code_is_a_package() {
    let dir = tempfile::tempdir().unwrap();
    package(dir.path());
    let archive = dir.path().join("action.zip");
    super::fission::zip(&archive, dir.path());
    let code = BASE64.encode(std::fs::read(&archive).unwrap());
    let container = Container::start_blank(&[OPENWHISK]);
    let request =
        json!({ "value": { "name": "edge", "main": "main", "binary": true, "code": code } });
    let answer = container.post("/init", &request.to_string());
    assert_eq!(answer.status, 200, "{answer:?}");
    let value: Value = serde_json::from_str(&body(0)).unwrap();
    let done = container.post("/run", &run(&value)).json();
    assert_eq!(done["answer"]["headers"]["offramp-tier"], "packed", "{done}");
}

#[test]
fn a_web_action_is_a_request() {
    let container = initialised();
    let web = |more: Value| {
        let mut value = json!({
            "__ow_method": "post", "__ow_path": "", "__ow_headers": { "content-type": "application/json" },
        });
        value.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        container.post("/run", &run(&value)).json()
    };
    let raw = web(json!({ "__ow_body": BASE64.encode(body(0)), "__ow_query": "" }));
    assert_eq!(raw["statusCode"], 200, "{raw}");
    check_answer(&raw["body"]);
    let merged = web(serde_json::from_str(&body(1)).unwrap());
    check_answer(&merged["body"]);
    let refused = web(json!({ "__ow_body": BASE64.encode("{\"value\": 1}") }));
    assert_eq!(
        (&refused["statusCode"], &refused["body"]["code"]),
        (&json!(400), &json!("wrong-shape"))
    );
    let got = web(json!({ "__ow_method": "get", "__ow_path": "/v2/models/edge" }));
    assert_eq!(got["body"]["name"], "edge", "{got}");
}

#[test]
fn messages_of_the_kafka_feed_are_records() {
    let container = initialised();
    let image: Value = serde_json::from_str::<Value>(&body(0)).unwrap()["value"].clone();
    let message = |offset, value: Value| json!({ "topic": "in", "partition": 3, "offset": offset, "key": "k", "value": value });
    let messages = json!({ "messages": [
        message(7, image.clone()),
        message(8, image.to_string().into()),
        message(9, BASE64.encode(image.to_string()).into()),
    ] });
    let done = container.post("/run", &run(&messages)).json();
    let done = done["messages"].as_array().unwrap_or_else(|| panic!("{done}"));
    assert_eq!(done.len(), 3);
    for (outcome, offset) in done.iter().zip(7..) {
        assert_eq!(
            outcome["answer"]["headers"]["offramp-id"],
            format!("in/3/{offset}"),
            "{outcome}"
        );
        assert_eq!(outcome["answer"]["key"], "k");
    }
    let bad = json!({ "messages": [message(7, image), message(8, "no image".into())] });
    let failed = container.post("/run", &run(&bad)).json();
    assert_eq!(failed["error"], "a message met no fate");
    assert_eq!(failed["messages"][1]["statusCode"], 400);
}

#[test]
fn each_activation_ends_its_logs_on_both_streams() {
    let mut child =
        entry_point(&[OPENWHISK]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let stderr = child.stderr.take().unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(stderr));
    let address = lines
        .by_ref()
        .map_while(Result::ok)
        .find_map(|line| Some(line.split_once("listening=")?.1.split(' ').next()?.to_owned()))
        .unwrap();
    let send = |path: &str, body: &str| {
        let sent = ureq::post(format!("http://{address}{path}"))
            .config()
            .http_status_as_error(false)
            .build()
            .content_type("application/json")
            .send(body);
        sent.unwrap();
    };
    send("/init", &init(&json!({ "OFFRAMP_MODEL": "/nowhere.onnx" })));
    send("/init", &init(&json!({ "OFFRAMP_MODEL": model() })));
    send("/run", &run(&json!({ "value": 1 })));
    send("/run", &run(&serde_json::from_str(&body(0)).unwrap()));
    send("/", &json!({ "activation": {}, "value": {} }).to_string());
    // Not killed: what a container said is on its way through the engine for a while.
    ask_to_end(&child);
    let count =
        |lines: &mut dyn Iterator<Item = String>| lines.filter(|line| line == SENTINEL).count();
    let stdout = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
    assert_eq!(count(&mut stdout.map_while(Result::ok)), 5);
    assert_eq!(count(&mut lines.map_while(Result::ok)), 5);
    assert!(child.wait().unwrap().success());
}

#[test]
fn while_it_drains_activations_go_elsewhere() {
    let container = initialised();
    let Container { service, port } = container;
    std::thread::scope(|scope| {
        let ended = scope.spawn(move || service.terminate());
        let value: Value = serde_json::from_str(&body(0)).unwrap();
        until(|| port.post("/run", &run(&value)).status == 503);
        ended.join().unwrap();
    });
}
