//! The requests that `faas-cli` sends, in their order, with its bodies: for machines where the program itself can't be
//! had, which `cargo xtask faas-cli` runs. From its source (commands/, proxy/) and that of the SDK, both of them MIT.

use serde_json::{Value, json};

use crate::stage::Stage;

/// What `faas-cli deploy` sends, empty maps and nulls with it.
fn deployment(image: &str) -> Value {
    json!({
        "service": "edge", "image": image, "namespace": "", "envProcess": "", "envVars": {},
        "constraints": null, "secrets": [], "labels": {}, "annotations": {}, "limits": null,
        "requests": null, "readOnlyRootFilesystem": false,
    })
}

/// As its client sends bodies, whatever they are.
const HEADERS: [(&str, &str); 2] =
    [("content-type", "application/json"), ("user-agent", "faas-cli/0.17.8")];

async fn send(stage: &Stage, method: &str, path: &str, body: Value) -> u16 {
    stage.send(method, path, &HEADERS, body.to_string()).await.status
}

#[tokio::test]
async fn deploy_puts_then_posts() {
    let stage = Stage::new().await;
    assert_eq!(send(&stage, "PUT", "/system/functions", deployment("echo")).await, 404);
    assert_eq!(send(&stage, "POST", "/system/functions", deployment("echo")).await, 202);
    assert_eq!(send(&stage, "PUT", "/system/functions", deployment("echo:2")).await, 202);
    // With --replace --update=false.
    let remove = json!({"functionName": "edge", "namespace": ""});
    assert_eq!(send(&stage, "DELETE", "/system/functions", remove).await, 202);
    assert_eq!(send(&stage, "POST", "/system/functions", deployment("echo")).await, 202);
    // `ready edge`, then `describe edge`.
    stage.until("/system/function/edge", |reply| reply.json()["availableReplicas"] == 1).await;
    let described = stage.get("/system/function/edge?usage=1").await;
    assert_eq!((described.status, described.header("content-type")), (200, "application/json"));
    assert_eq!(stage.get("/system/functions").await.json()[0]["name"], "edge");
}

#[tokio::test]
async fn invoke_names_the_default_namespace() {
    let stage = Stage::new().await;
    assert_eq!(send(&stage, "POST", "/system/functions", deployment("echo")).await, 202);
    let headers = [("content-type", "text/plain")];
    let reply = stage.send("POST", "/function/edge.openfaas-fn", &headers, "hi").await;
    assert_eq!((reply.status, &reply.json()["body"]), (200, &json!("hi")));
    let later = stage.send("POST", "/async-function/edge.openfaas-fn", &headers, "hi").await;
    assert_eq!((later.status, later.text.as_str()), (202, ""));
}

#[tokio::test]
async fn secrets_are_created_replaced_applied_and_removed() {
    let stage = Stage::new().await;
    let secret = |value: &str| json!({"name": "api-key", "value": value});
    let path = "/system/secrets";
    assert_eq!(send(&stage, "POST", path, secret("one")).await, 201);
    // With --replace.
    assert_eq!(send(&stage, "POST", path, secret("two")).await, 409);
    assert_eq!(send(&stage, "PUT", path, secret("two")).await, 202);
    // `secret apply` removes those that it finds, and makes them again.
    assert_eq!(stage.get("/system/secrets").await.json()[0]["name"], "api-key");
    assert_eq!(send(&stage, "DELETE", path, json!({"name": "api-key"})).await, 202);
    assert_eq!(send(&stage, "POST", path, secret("three")).await, 201);
    assert_eq!(
        send(&stage, "DELETE", path, json!({"name": "api-key", "namespace": ""})).await,
        202
    );
    assert_eq!(send(&stage, "DELETE", path, json!({"name": "api-key"})).await, 404);
}

#[tokio::test]
async fn a_new_namespace_has_its_name_in_the_body_alone() {
    let stage = Stage::new().await;
    let namespace = json!({"name": "dev", "annotations": {}, "labels": {}});
    assert_eq!(send(&stage, "POST", "/system/namespace/", namespace.clone()).await, 201);
    assert_eq!(send(&stage, "POST", "/system/namespace/", namespace.clone()).await, 409);
    assert_eq!(send(&stage, "PUT", "/system/namespace/dev", namespace).await, 202);
    assert_eq!(stage.get("/system/namespace/dev").await.json()["name"], "dev");
    assert_eq!(stage.get("/system/namespaces").await.json(), json!(["openfaas-fn", "dev"]));
    let removed = send(&stage, "DELETE", "/system/namespace/dev", json!({"name": "dev"})).await;
    assert_eq!(removed, 202);
}

#[tokio::test]
async fn version_finds_what_it_prints_without_a_look() {
    let stage = Stage::new().await;
    let info = stage.get("/system/info").await.json();
    for at in
        ["/version/release", "/version/sha", "/provider/version/release", "/provider/provider"]
    {
        assert!(info.pointer(at).is_some_and(Value::is_string), "{at}");
    }
    assert_eq!(stage.get("/healthz").await.status, 200);
}
