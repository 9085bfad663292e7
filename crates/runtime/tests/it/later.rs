//! Calls that are carried out later.

use std::sync::Arc;

use runtime::gateway::Bounds;
use serde_json::{Value, json};

use crate::stage::{Callback, Stage, eventually};

/// Tried again at once, three times in all.
fn hasty(image: &str) -> Value {
    let annotations = json!({
        "com.openfaas.retry.attempts": "3",
        "com.openfaas.retry.min_wait": "1ms",
        "com.openfaas.retry.max_wait": "5ms",
    });
    json!({"service": image, "image": image, "annotations": annotations})
}

async fn call(stage: &Stage, path: &str, callback: &Callback) {
    let headers = [("x-callback-url", callback.url.as_str()), ("x-call-id", "call-1")];
    let taken = stage.send("POST", path, &headers, "body").await;
    assert_eq!((taken.status, taken.text.as_str()), (202, ""));
    assert_eq!(taken.header("x-call-id"), "call-1");
}

fn lines(stage: &Stage, function: &str) -> Vec<String> {
    let lines = stage.functions.get(function).unwrap().logs.after(0);
    lines.into_iter().map(|line| line.text).collect()
}

#[tokio::test]
async fn the_answer_to_a_call_goes_to_its_callback() {
    let stage = Stage::new().await;
    stage.deploy("echo").await;
    let callback = Callback::new(&[]).await;
    call(&stage, "/async-function/echo.openfaas-fn/sub?status=201", &callback).await;
    callback.told(1).await;
    let told = callback.told.lock().unwrap().pop().unwrap();
    let headers = ["x-call-id", "x-function-status", "x-function-name", "content-type", "x-mine"];
    let headers = headers.map(|name| told.header(name));
    assert_eq!(headers, ["call-1", "201", "echo", "application/json", "1"]);
    assert!(told.header("x-duration-seconds").parse::<f64>().is_ok());
    let seen = told.json();
    assert_eq!((&seen["method"], &seen["body"]), (&json!("POST"), &json!("body")));
    assert_eq!(seen["uri"], "/sub?status=201");
    assert_eq!(
        (&seen["headers"]["x-callback-url"], &seen["headers"]["x-retry"]),
        (&Value::Null, &Value::Null)
    );
    eventually(|| stage.queue.status().done == 1).await;
    let status = stage.queue.status();
    assert_eq!((status.waiting, status.bytes), (0, 0));
    assert_eq!(std::fs::read_dir(stage.path().join("gateway/calls")).unwrap().count(), 0);
}

#[tokio::test]
async fn a_call_that_may_succeed_later_is_tried_again() {
    let stage = Stage::new().await;
    stage.deploy_as(hasty("flaky")).await;
    stage.flaky.lock().unwrap().extend([500, 503]);
    let callback = Callback::new(&[]).await;
    call(&stage, "/async-function/flaky", &callback).await;
    callback.told(1).await;
    let told = callback.told.lock().unwrap().pop().unwrap();
    assert_eq!(told.header("x-function-status"), "200");
    let seen = &told.json()["headers"];
    assert_eq!((&seen["x-retry"], &seen["x-retry-max"]), (&json!("2"), &json!("3")));
    eventually(|| stage.queue.status().done == 1).await;
    assert_eq!(stage.queue.status().retried, 2);
}

#[tokio::test]
async fn a_call_is_given_up_in_the_end_and_that_is_said() {
    let stage = Stage::new().await;
    stage.deploy_as(hasty("breaking")).await;
    let callback = Callback::new(&[]).await;
    call(&stage, "/async-function/breaking", &callback).await;
    callback.told(1).await;
    let told = callback.told.lock().unwrap().pop().unwrap();
    assert_eq!(told.header("x-function-status"), "502");
    assert!(told.text.contains("4 instances broke off"), "{told:?}");
    eventually(|| stage.queue.status().given_up == 1).await;
    let said = "call call-1 is given up after 3 attempts, the last one: 502 Bad Gateway";
    assert!(lines(&stage, "breaking").iter().any(|line| line == said));
    assert_eq!((stage.queue.status().retried, stage.queue.status().waiting), (2, 0));
}

#[tokio::test]
async fn who_asks_for_a_wait_is_waited_for() {
    let stage = Stage::new().await;
    stage.deploy_as(hasty("flaky")).await;
    stage.flaky.lock().unwrap().push_back(429);
    let callback = Callback::new(&[]).await;
    let started = tokio::time::Instant::now();
    call(&stage, "/async-function/flaky", &callback).await;
    callback.told(1).await;
    // Its answer asks for a second, and its own wait is a few milliseconds.
    assert!(started.elapsed().as_secs_f64() >= 1.0);
}

#[tokio::test]
async fn an_answer_that_is_final_is_not_asked_for_again() {
    let stage = Stage::new().await;
    stage.deploy_as(hasty("echo")).await;
    let callback = Callback::new(&[]).await;
    call(&stage, "/async-function/echo?status=404", &callback).await;
    callback.told(1).await;
    eventually(|| stage.queue.status().done == 1).await;
    assert_eq!(stage.queue.status().retried, 0);
}

#[tokio::test]
async fn a_callback_is_told_again_and_one_that_does_not_want_to_know_is_not() {
    let stage = Stage::new().await;
    stage.deploy("echo").await;
    let callback = Callback::new(&[503]).await;
    call(&stage, "/async-function/echo", &callback).await;
    callback.told(2).await;
    eventually(|| stage.queue.status().done == 1).await;
    assert_eq!(stage.queue.status().lost_callbacks, 0);

    let callback = Callback::new(&[403]).await;
    call(&stage, "/async-function/echo", &callback).await;
    eventually(|| stage.queue.status().lost_callbacks == 1).await;
    assert_eq!(callback.told.lock().unwrap().len(), 1);
    let lines = lines(&stage, "echo");
    assert!(lines.iter().any(|line| line.contains("it answered 403")), "{lines:?}");
}

#[tokio::test]
async fn calls_survive_the_process() {
    let stage = Stage::new().await;
    stage.deploy("slow").await;
    let callback = Callback::new(&[]).await;
    let count = 20;
    for _ in 0..count {
        call(&stage, "/async-function/slow", &callback).await;
    }
    let in_flight = || stage.functions.get("slow").unwrap().pool.status().in_flight;
    eventually(|| in_flight() > 0).await;
    let dir = stage.kill().await;
    assert!(callback.told.lock().unwrap().is_empty());

    let stage = Stage::at(dir, |_| {}).await;
    assert_eq!(stage.queue.status().waiting, count as u64);
    stage.slow.add_permits(count);
    callback.told(count).await;
    eventually(|| stage.queue.status().waiting == 0).await;
    assert_eq!(stage.queue.status().done, count as u64);
    let stage = Stage::at(stage.kill().await, |_| {}).await;
    assert_eq!(stage.queue.status().waiting, 0);
    assert_eq!(callback.told.lock().unwrap().len(), count);
}

#[tokio::test]
async fn more_calls_than_may_wait_are_refused() {
    let bounds = Bounds { calls: 3, bytes: 1 << 20, workers: 2 };
    let stage = Stage::with(|config| config.queue = bounds).await;
    stage.deploy("slow").await;
    for _ in 0..3 {
        assert_eq!(stage.post("/async-function/slow", "x").await.status, 202);
    }
    let refused = stage.post("/async-function/slow", "x").await;
    refused.says(429, "3 calls with");
    assert_eq!(refused.header("retry-after"), "5");
    stage.slow.add_permits(3);
    eventually(|| stage.queue.status().done == 3).await;
    let large = vec![b'x'; 1 << 20];
    stage.post("/async-function/slow", large).await.says(429, "0 calls with 0 bytes wait");
    assert_eq!(stage.queue.status().refused, 2);
    stage.slow.add_permits(1);
    assert_eq!(stage.post("/async-function/slow", "x").await.status, 202);
    eventually(|| stage.queue.status().done == 4).await;
}

#[tokio::test]
async fn a_slow_function_does_not_keep_the_others_calls_waiting() {
    let bounds = Bounds { workers: 8, ..Bounds::default() };
    let stage = Arc::new(Stage::with(|config| config.queue = bounds).await);
    stage.deploy("slow").await;
    stage.deploy("echo").await;
    for _ in 0..8 {
        assert_eq!(stage.post("/async-function/slow", "x").await.status, 202);
    }
    assert_eq!(stage.post("/async-function/echo", "x").await.status, 202);
    eventually(|| stage.queue.status().done == 1).await;
    assert_eq!(stage.functions.get("slow").unwrap().pool.status().in_flight, 2);
}

#[tokio::test]
async fn a_call_whose_function_goes_is_given_up() {
    let stage = Stage::new().await;
    stage.deploy_as(hasty("slow")).await;
    let callback = Callback::new(&[]).await;
    stage.deploy_as(json!({"service": "never", "image": "sleepy"})).await;
    call(&stage, "/async-function/never", &callback).await;
    let remove = json!({"functionName": "never"});
    assert_eq!(stage.json("DELETE", "/system/functions", &remove).await.status, 202);
    callback.told(1).await;
    let told = callback.told.lock().unwrap().pop().unwrap();
    assert_eq!(told.header("x-function-status"), "404");
    eventually(|| stage.queue.status().given_up == 1).await;
}

#[tokio::test]
async fn what_can_not_be_carried_out_is_refused_at_once() {
    let stage = Stage::new().await;
    stage.deploy("echo").await;
    for url in ["", "nowhere", "/done", "ftp://127.0.0.1/", "https://127.0.0.1/"] {
        let headers = [("x-callback-url", url)];
        let refused = stage.send("POST", "/async-function/echo", &headers, "").await;
        refused.says(400, "expected a URL as http://");
    }
    stage.post("/async-function/other", "").await.says(404, "function `other` is not there");
    stage.get("/async-function/echo").await.says(405, "POST");
    stage.post("/async-function/", "").await.says(400, "no function's name");
    assert_eq!(stage.queue.status(), runtime::gateway::QueueStatus::default());
}
