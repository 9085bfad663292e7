//! Calls that are answered at once.

use std::sync::Arc;

use serde_json::json;

use crate::scripted::SOON;
use crate::stage::{Stage, eventually};

#[tokio::test]
async fn a_function_gets_the_call_and_its_caller_the_answer() {
    let stage = Stage::new().await;
    stage.deploy("echo").await;
    let headers = [
        ("x-yours", "a"),
        ("connection", "x-hop"),
        ("x-hop", "1"),
        ("te", "trailers"),
        ("x-call-id", "call-1"),
        ("x-forwarded-for", "192.0.2.1"),
    ];
    let reply = stage.send("PATCH", "/function/echo/sub/path?status=201", &headers, "body").await;
    assert_eq!(reply.status, 201);
    assert_eq!([reply.header("x-mine"), reply.header("content-type")], ["1", "application/json"]);
    assert_eq!([reply.header("x-hop"), reply.header("keep-alive")], ["", ""]);
    assert_eq!(reply.header("x-call-id"), "call-1");
    assert!(reply.header("x-start-time").parse::<u64>().unwrap() > 1_700_000_000_000_000_000);
    assert!(reply.header("x-duration-seconds").parse::<f64>().unwrap() < SOON.as_secs_f64());
    let told = reply.json();
    assert_eq!((&told["method"], &told["uri"]), (&json!("PATCH"), &json!("/sub/path?status=201")));
    assert_eq!(told["body"], "body");
    let seen = told["headers"].as_object().unwrap();
    assert_eq!((&seen["x-yours"], &seen["x-call-id"]), (&json!("a"), &json!("call-1")));
    assert_eq!(seen["x-start-time"], reply.header("x-start-time"));
    assert_eq!(seen["x-forwarded-for"], "192.0.2.1, 127.0.0.1");
    assert_eq!(seen["x-forwarded-host"], stage.address());
    for hop in ["connection", "x-hop", "te"] {
        assert!(!seen.contains_key(hop), "{hop}");
    }
}

#[tokio::test]
async fn a_call_without_an_id_gets_one() {
    let stage = Stage::new().await;
    stage.deploy("echo").await;
    let replies = [stage.get("/function/echo").await, stage.get("/function/echo").await];
    let ids = replies.each_ref().map(|reply| reply.header("x-call-id"));
    assert_eq!(ids[0].len(), 36);
    assert_ne!(ids[0], ids[1]);
    assert_eq!(replies[0].json()["headers"]["x-call-id"], ids[0]);
}

#[tokio::test]
async fn the_default_namespace_may_be_written_out() {
    let stage = Stage::new().await;
    stage.deploy("echo").await;
    let reply = stage.post("/function/echo.openfaas-fn/x", "hi").await;
    assert_eq!((reply.status, &reply.json()["uri"]), (200, &json!("/x")));
    stage.get("/function/echo.elsewhere").await.says(404, "`echo.elsewhere` is not there");
    stage.get("/function/other").await.says(404, "function `other` is not there");
    stage.get("/function/").await.says(400, "no function's name");
}

#[tokio::test]
async fn functions_of_one_name_in_two_namespaces_are_two() {
    let stage = Stage::new().await;
    assert_eq!(
        stage.json("POST", "/system/namespace/", &json!({"name": "team"})).await.status,
        201
    );
    stage.deploy("echo").await;
    let deployment = json!({"service": "echo", "image": "flaky", "namespace": "team"});
    stage.deploy_as(deployment).await;
    stage.flaky.lock().unwrap().push_back(418);
    assert_eq!(stage.get("/function/echo").await.status, 200);
    assert_eq!(stage.get("/function/echo.team").await.status, 418);
    let listed = stage.get("/system/functions?namespace=team").await.json();
    assert_eq!((&listed[0]["image"], &listed[1]), (&json!("flaky"), &json!(null)));
    let here = stage.get("/system/functions").await.json();
    assert_eq!((&here[0]["image"], &here[0]["namespace"]), (&json!("echo"), &json!("openfaas-fn")));
    let remove = json!({"functionName": "echo", "namespace": "team"});
    assert_eq!(stage.json("DELETE", "/system/functions", &remove).await.status, 202);
    assert_eq!(stage.get("/function/echo").await.status, 200);
    stage.get("/function/echo.team").await.says(404, "`echo.team` is not there");
}

#[tokio::test]
async fn a_call_to_a_function_without_instances_is_held_until_there_is_one() {
    let stage = Arc::new(Stage::new().await);
    let labels = json!({"com.openfaas.scale.zero": "true", "com.openfaas.scale.min": "0"});
    stage.deploy_as(json!({"service": "sleepy", "image": "sleepy", "labels": labels})).await;
    let scaled = json!({"serviceName": "sleepy", "replicas": 0});
    let scaled = stage.json("POST", "/system/scale-function/sleepy", &scaled).await;
    scaled.says(202, "0 instances wanted");
    let called = tokio::spawn({
        let stage = Arc::clone(&stage);
        async move { stage.post("/function/sleepy", "x").await }
    });
    let function = stage.functions.get("sleepy").unwrap();
    eventually(|| function.pool.status().waiting == 1).await;
    assert_eq!(function.pool.status().wanted, 1);
    stage.sleepy.add_permits(2);
    let reply = called.await.unwrap();
    assert_eq!((reply.status, &reply.json()["body"]), (200, &json!("x")));
}

#[tokio::test]
async fn more_calls_than_may_wait_are_told_so() {
    let stage = Arc::new(Stage::new().await);
    let deployment = json!({
        "service": "slow", "image": "slow", "envVars": {"max_inflight": "1"},
        "labels": {"com.openfaas.scale.max": "1"},
    });
    stage.deploy_as(deployment).await;
    // Bodies of 64 MiB may wait in all.
    let large = bytes::Bytes::from(vec![b'x'; 15 << 20]);
    let calls = (0..5).map(|_| {
        let (stage, large) = (Arc::clone(&stage), large.clone());
        tokio::spawn(async move { stage.post("/function/slow", large).await.status })
    });
    let calls: Vec<_> = calls.collect();
    let pool = || stage.functions.get("slow").unwrap().pool.status();
    eventually(|| (pool().in_flight, pool().waiting) == (1, 4)).await;
    let refused = stage.post("/function/slow", large).await;
    refused.says(429, "4 calls wait");
    assert_eq!(
        [refused.header("retry-after"), refused.header("x-openfaas-internal")],
        ["1", "gateway"]
    );
    stage.slow.add_permits(5);
    for call in calls {
        assert_eq!(call.await.unwrap(), 200);
    }
}

#[tokio::test]
async fn what_is_wrong_with_instances_has_a_status_each() {
    let stage = Stage::new().await;
    stage.deploy("breaking").await;
    let broken = stage.post("/function/breaking", "").await;
    broken.says(502, "4 instances broke off");
    stage.deploy("panicking").await;
    stage.post("/function/panicking", "").await.says(502, "the last one: it panicked");
    let short = json!({"exec_timeout": "50ms"});
    stage.deploy_as(json!({"service": "slow", "image": "slow", "envVars": short})).await;
    stage.until("/system/function/slow", |reply| reply.json()["availableReplicas"] == 1).await;
    stage.get("/function/slow").await.says(504, "no answer within 0.05 s");
    stage.deploy_as(json!({"service": "sleepy", "image": "sleepy", "envVars": short})).await;
    stage.get("/function/sleepy").await.says(503, "no instance took the call");
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused() {
    let stage = Stage::new().await;
    stage.deploy("echo").await;
    let large = vec![b'x'; runtime::gateway::MAX_BODY_BYTES + 1];
    let refused = stage.post("/function/echo", large.clone()).await;
    refused.says(413, "larger than 16777216 bytes");
    assert_eq!(refused.header("x-call-id").len(), 36);
    stage.post("/system/functions", large).await.says(413, "larger than");
    assert_eq!(stage.get("/function/echo").await.status, 200);
}

#[tokio::test]
async fn calls_are_counted_by_what_was_answered() {
    let stage = Stage::new().await;
    stage.deploy("echo").await;
    for path in ["/function/echo", "/function/echo?status=500", "/function/echo.openfaas-fn"] {
        stage.get(path).await;
    }
    let counted = stage.functions.get("echo").unwrap().counts.read();
    assert_eq!((counted.calls, counted.by_code), (3, vec![(200, 2), (500, 1)]));
    assert_eq!(stage.get("/system/function/echo").await.json()["invocationCount"], 3);
    // An update is still the same function.
    let again = json!({"service": "echo", "image": "echo:2"});
    assert_eq!(stage.json("PUT", "/system/functions", &again).await.status, 202);
    let path = "/system/function/echo";
    let updated = stage.until(path, |reply| reply.json()["image"] == "echo:2").await;
    assert_eq!(updated.json()["invocationCount"], 3);
}
