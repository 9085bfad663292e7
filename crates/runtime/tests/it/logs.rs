//! What functions have written.

use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::scripted::SOON;
use crate::stage::Stage;

fn texts(lines: &str) -> Vec<String> {
    let lines = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.map(|line| line["text"].as_str().unwrap().to_owned()).collect()
}

/// The next part of an answer, which is a line; `None` at its end.
async fn next(body: &mut Incoming) -> Option<String> {
    let frame = timeout(SOON, body.frame()).await.expect("a line, or the end")?.unwrap();
    Some(texts(std::str::from_utf8(frame.data_ref().unwrap()).unwrap()).concat())
}

#[tokio::test]
async fn lines_are_json_and_end_unless_followed() {
    let stage = Stage::new().await;
    stage.deploy("echo").await;
    for path in ["/1", "/2", "/3"] {
        stage.get(&format!("/function/echo{path}")).await;
    }
    let reply = stage.get("/system/logs?name=echo&tail=-1&follow=false").await;
    assert_eq!((reply.status, reply.header("content-type")), (200, "application/x-ndjson"));
    let first: Value = serde_json::from_str(reply.text.lines().next().unwrap()).unwrap();
    let timestamp = first["timestamp"].as_str().unwrap();
    let expected = json!({
        "name": "echo", "namespace": "openfaas-fn", "instance": "echo-1",
        "timestamp": timestamp, "text": "GET /1",
    });
    assert_eq!(first, expected);
    assert_eq!(texts(&reply.text), ["GET /1", "GET /2", "GET /3"]);
    let last = stage.get("/system/logs?name=echo.openfaas-fn&tail=1&follow=0").await;
    assert_eq!(texts(&last.text), ["GET /3"]);
    let third: Value = serde_json::from_str(reply.text.lines().last().unwrap()).unwrap();
    let since = third["timestamp"].as_str().unwrap().replace(':', "%3A");
    let since = stage.get(&format!("/system/logs?name=echo&since={since}")).await;
    assert_eq!(texts(&since.text), ["GET /3"]);
    assert_eq!(stage.get("/system/logs?name=echo&instance=other").await.text, "");
}

#[tokio::test]
async fn a_line_goes_to_who_follows_as_it_comes() {
    let stage = Stage::new().await;
    stage.deploy("echo").await;
    stage.get("/function/echo/1").await;
    let path = "/system/logs?name=echo&namespace=openfaas-fn&follow=1&tail=5";
    let mut body = stage.open("GET", path, &[], "").await.into_body();
    assert_eq!(next(&mut body).await.as_deref(), Some("GET /1"));
    for path in ["/2", "/3"] {
        stage.get(&format!("/function/echo{path}")).await;
        assert_eq!(next(&mut body).await, Some(format!("GET {path}")));
    }
    // It goes on over an update, and ends with the function.
    let update = json!({"service": "echo", "image": "echo:2"});
    assert_eq!(stage.json("PUT", "/system/functions", &update).await.status, 202);
    let status = "/system/function/echo";
    stage.until(status, |reply| reply.json()["image"] == "echo:2").await;
    stage.get("/function/echo/4").await;
    assert_eq!(next(&mut body).await.as_deref(), Some("GET /4"));
    let remove = json!({"functionName": "echo"});
    assert_eq!(stage.json("DELETE", "/system/functions", &remove).await.status, 202);
    assert_eq!(next(&mut body).await.as_deref(), Some("removed"));
    assert_eq!(next(&mut body).await, None);
}

#[tokio::test]
async fn who_follows_is_let_go_when_the_gateway_stops() {
    let mut stage = Stage::new().await;
    stage.deploy("echo").await;
    let mut body =
        stage.open("GET", "/system/logs?name=echo&follow=true", &[], "").await.into_body();
    stage.stop().send(()).unwrap();
    assert_eq!(next(&mut body).await, None);
    timeout(Duration::from_secs(10), stage.stopped()).await.expect("nobody is waited for");
}

#[tokio::test]
async fn what_is_not_understood_is_said() {
    let stage = Stage::new().await;
    stage.deploy("echo").await;
    for (query, part) in [
        ("", "name: is missing"),
        ("name=echo&tail=some", "tail: `some`"),
        ("name=echo&since=5m", "since: `5m`"),
        ("name=echo&follow=maybe", "follow"),
    ] {
        stage.get(&format!("/system/logs?{query}")).await.says(422, part);
    }
    stage.get("/system/logs?name=other").await.says(404, "function `other` is not there");
    stage.get("/system/logs?name=echo&namespace=x").await.says(400, "namespace `x`");
    stage.post("/system/logs?name=echo", "").await.says(405, "GET");
}
