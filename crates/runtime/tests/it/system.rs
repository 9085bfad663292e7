//! What functions, secrets and namespaces are asked to be.

use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;

use futures_util::future::{BoxFuture, FutureExt as _};
use hyper::http::request::Parts;
use runtime::Response;
use runtime::gateway::{Auth, Extra};
use serde_json::{Value, json};

use crate::stage::Stage;

#[tokio::test]
async fn a_function_is_deployed_described_updated_and_removed() {
    let stage = Stage::new().await;
    let deployment = json!({
        "service": "echo", "image": "echo:1", "envVars": {"a": "b"}, "labels": {"l": "1"},
        "annotations": {"topic": "t"}, "limits": {"memory": "64Mi"}, "constraints": ["x"],
        "envProcess": "run me", "readOnlyRootFilesystem": true,
    });
    stage.deploy_as(deployment.clone()).await;
    let path = "/system/function/echo";
    let status = stage.until(path, |reply| reply.json()["availableReplicas"] == 1).await.json();
    let created = status["createdAt"].as_str().unwrap();
    assert!(created.starts_with("20") && created.ends_with('Z'), "{created}");
    let mut expected = deployment.clone();
    let fields = expected.as_object_mut().unwrap();
    fields.remove("service");
    for (key, value) in [
        ("name", json!("echo")),
        ("namespace", json!("openfaas-fn")),
        ("invocationCount", json!(0)),
        ("replicas", json!(1)),
        ("availableReplicas", json!(1)),
        ("createdAt", json!(created)),
    ] {
        fields.insert(key.to_owned(), value);
    }
    assert_eq!(status, expected);
    assert_eq!(stage.get("/system/functions").await.json(), json!([expected]));
    let with_usage = stage.get("/system/function/echo?usage=1").await.json();
    assert_eq!(with_usage["usage"], json!({"cpu": 0.0, "totalMemoryBytes": 1 << 20}));

    let exists = stage.json("POST", "/system/functions", &deployment).await;
    exists.says(409, "function `echo` exists already");
    let update = json!({"service": "echo", "image": "echo:2"});
    assert_eq!(stage.json("PUT", "/system/functions", &update).await.status, 202);
    let updated = stage.until(path, |reply| reply.json()["image"] == "echo:2").await.json();
    assert_eq!((&updated["createdAt"], &updated["labels"]), (&json!(created), &Value::Null));

    let stage = Stage::at(stage.kill().await, |_| {}).await;
    let again = stage.get(path).await.json();
    assert_eq!((&again["createdAt"], &again["image"]), (&json!(created), &json!("echo:2")));

    let remove = json!({"functionName": "echo", "namespace": ""});
    let removed = stage.json("DELETE", "/system/functions", &remove).await;
    assert_eq!((removed.status, removed.text.as_str()), (202, ""));
    stage.get(path).await.says(404, "function `echo` is not there");
    stage.json("DELETE", "/system/functions", &remove).await.says(404, "is not there");
    assert_eq!(stage.get("/system/functions").await.json(), json!([]));
}

#[tokio::test]
async fn what_can_not_be_deployed_is_refused_with_all_reasons() {
    let stage = Stage::new().await;
    let update = json!({"service": "echo", "image": "echo"});
    stage.json("PUT", "/system/functions", &update).await.says(404, "`echo` is not there");
    let nothing = stage.json("POST", "/system/functions", &json!({})).await;
    nothing.says(400, "service: `` is not a name");
    assert!(nothing.text.contains("image: is missing"), "{nothing:?}");
    for body in ["", "{", "7", "{\"service\": 1}"] {
        stage.post("/system/functions", body).await.says(400, "not what is expected here");
    }
    let nowhere = json!({"service": "x", "image": "nowhere"});
    stage.json("POST", "/system/functions", &nowhere).await.says(400, "image `nowhere` is nowhere");
    let elsewhere = json!({"service": "echo", "image": "echo", "namespace": "elsewhere"});
    let elsewhere = stage.json("POST", "/system/functions", &elsewhere).await;
    elsewhere.says(400, "namespace `elsewhere` is not there");
    let secret = json!({"service": "echo", "image": "echo", "secrets": ["key"]});
    let secret = stage.json("POST", "/system/functions", &secret).await;
    secret.says(400, "function `echo`: secret `key` is not there");
    let allowed = stage.json("PATCH", "/system/functions", &json!({})).await;
    allowed.says(405, "GET, POST, PUT, DELETE");
    assert_eq!(allowed.header("allow"), "GET, POST, PUT, DELETE");
    stage.get("/system/functions?namespace=elsewhere").await.says(400, "is not there");
    stage.get("/system/function/echo?namespace=elsewhere").await.says(400, "is not there");
}

#[tokio::test]
async fn a_function_is_scaled_within_its_bounds() {
    let stage = Stage::new().await;
    let labels = json!({"com.openfaas.scale.max": "3", "com.openfaas.scale.zero": "true"});
    stage.deploy_as(json!({"service": "echo", "image": "echo", "labels": labels})).await;
    let path = "/system/scale-function/echo";
    for (asked, wanted) in [(2, 2), (10, 3), (0, 0)] {
        let scale = json!({"serviceName": "echo", "replicas": asked});
        let scaled = stage.json("POST", path, &scale).await;
        scaled.says(202, &format!("{wanted} instances wanted"));
        stage
            .until("/system/function/echo", |reply| reply.json()["availableReplicas"] == wanted)
            .await;
    }
    stage.post(path, "{}").await.says(400, "replicas");
    stage.post(path, "{\"replicas\": -1}").await.says(400, "not what is expected");
    stage.get(path).await.says(405, "POST");
    let other = json!({"replicas": 1});
    stage.json("POST", "/system/scale-function/other", &other).await.says(404, "`other`");
}

#[tokio::test]
async fn secrets_are_kept_and_never_told() {
    let stage = Stage::new().await;
    let create = json!({"name": "api.key", "value": "one"});
    assert_eq!(stage.json("POST", "/system/secrets", &create).await.status, 201);
    let exists = stage.json("POST", "/system/secrets", &create).await;
    exists.says(409, "secret `api.key` exists already");
    let listed = stage.get("/system/secrets").await;
    assert_eq!(listed.json(), json!([{"name": "api.key", "namespace": "openfaas-fn"}]));
    let update = json!({"name": "api.key", "namespace": "openfaas-fn", "rawValue": "AP8="});
    assert_eq!(stage.json("PUT", "/system/secrets", &update).await.status, 202);
    let file = stage.path().join("secrets/openfaas-fn/api.key");
    assert_eq!(std::fs::read(&file).unwrap(), [0, 255]);
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let with = json!({"service": "echo", "image": "echo", "secrets": ["api.key"]});
    stage.deploy_as(with).await;

    let remove = json!({"name": "api.key", "namespace": ""});
    assert_eq!(stage.json("DELETE", "/system/secrets", &remove).await.status, 202);
    stage.json("DELETE", "/system/secrets", &remove).await.says(404, "`api.key` is not there");
    stage.json("PUT", "/system/secrets", &create).await.says(404, "`api.key` is not there");
    assert_eq!(stage.get("/system/secrets").await.json(), json!([]));
    for (wrong, part) in [
        (json!({"name": "../key", "value": "x"}), "is not a name"),
        (json!({"name": "key"}), "0 bytes"),
        (json!({"name": "key", "value": "x".repeat((1 << 20) + 1)}), "1048577 bytes"),
        (json!({"name": "key", "rawValue": "%"}), "not base64"),
        (json!({"name": "key", "value": "x", "namespace": "elsewhere"}), "`elsewhere`"),
    ] {
        stage.json("POST", "/system/secrets", &wrong).await.says(400, part);
    }
    stage.post("/system/secrets", "no").await.says(400, "not what is expected");
    stage.json("PATCH", "/system/secrets", &create).await.says(405, "GET");
}

#[tokio::test]
async fn namespaces_are_made_and_stay() {
    let stage = Stage::new().await;
    assert_eq!(stage.get("/system/namespaces").await.json(), json!(["openfaas-fn"]));
    let team = json!({"name": "team", "annotations": {"a": "1"}, "labels": {"l": "2"}});
    let made = stage.json("POST", "/system/namespace/", &team).await;
    assert_eq!((made.status, made.text.as_str()), (201, ""));
    stage.json("POST", "/system/namespace/", &team).await.says(409, "`team` exists already");
    assert_eq!(stage.get("/system/namespace/team").await.json(), team);
    let default = stage.get("/system/namespace/openfaas-fn").await;
    assert_eq!(default.json(), json!({"name": "openfaas-fn"}));

    let stage = Stage::at(stage.kill().await, |_| {}).await;
    assert_eq!(stage.get("/system/namespaces").await.json(), json!(["openfaas-fn", "team"]));
    let changed = json!({"name": "team", "labels": {"l": "3"}});
    assert_eq!(stage.json("PUT", "/system/namespace/team", &changed).await.status, 202);
    assert_eq!(stage.get("/system/namespace/team").await.json(), changed);

    let function = json!({"service": "echo", "image": "echo", "namespace": "team"});
    stage.deploy_as(function).await;
    let secret = json!({"name": "key", "namespace": "team", "value": "x"});
    assert_eq!(stage.json("POST", "/system/secrets", &secret).await.status, 201);
    let used = stage.send("DELETE", "/system/namespace/team", &[], "").await;
    used.says(409, "`team` has 1 functions and 1 secrets");
    let remove = json!({"functionName": "echo", "namespace": "team"});
    assert_eq!(stage.json("DELETE", "/system/functions", &remove).await.status, 202);
    assert_eq!(stage.json("DELETE", "/system/secrets", &secret).await.status, 202);
    let removed = stage.json("DELETE", "/system/namespace/team", &json!({"name": "team"})).await;
    assert_eq!(removed.status, 202);
    stage.get("/system/namespace/team").await.says(404, "`team` is not there");
    stage.send("DELETE", "/system/namespace/team", &[], "").await.says(404, "`team`");
    stage.json("PUT", "/system/namespace/team", &team).await.says(404, "`team`");
    for name in ["Team", "", "-a", "a.b", &"a".repeat(64)] {
        let wrong = stage.json("POST", "/system/namespace/", &json!({"name": name})).await;
        wrong.says(400, "is not a name");
    }
    stage.send("DELETE", "/system/namespace/openfaas-fn", &[], "").await.says(400, "the default");
    stage.post("/system/namespaces", "").await.says(405, "GET");
}

#[tokio::test]
async fn a_gateway_tells_what_it_is() {
    let stage = Stage::new().await;
    assert_eq!(stage.get("/healthz").await.text, "OK");
    assert_eq!(stage.send("HEAD", "/healthz", &[], "").await.status, 200);
    stage.post("/healthz", "").await.says(405, "GET, HEAD");
    stage.get("/").await.says(200, "the gateway of an offramp node");
    let info = stage.get("/system/info").await.json();
    let version = json!({"release": env!("CARGO_PKG_VERSION"), "sha": "", "commit_message": ""});
    let provider = json!({"provider": "offramp", "version": version, "orchestration": "process"});
    let arch = std::env::consts::ARCH;
    assert_eq!(info, json!({"provider": provider, "version": version, "arch": arch}));
    stage.post("/system/alert", "{}").await.says(501, "alerts have no effect");
    stage.get("/metrics").await.says(404, "an address of their own");
    for nothing in ["/system/telemetry", "/system/", "/system/functions/x", "/ui/", "/functions"] {
        stage.get(nothing).await.says(404, "there is nothing at");
    }
}

/// A route of the program's own.
#[derive(Debug)]
struct Ps;

impl Extra for Ps {
    fn route(&self, head: &Parts, body: bytes::Bytes) -> Option<BoxFuture<'static, Response>> {
        let is_ours = head.uri.path() == "/system/ps";
        is_ours.then(|| async { Response::new(body) }.boxed())
    }
}

#[tokio::test]
async fn all_but_calls_asks_for_user_and_password() {
    let stage = Stage::with(|config| {
        config.auth = Some(Auth::new("admin", "secret"));
        config.extra = Some(Arc::new(Ps));
    })
    .await;
    // admin:secret, and admin:wrong.
    let right = [("authorization", "Basic YWRtaW46c2VjcmV0")];
    let wrong = [("authorization", "Basic YWRtaW46d3Jvbmc=")];
    for path in ["/system/functions", "/system/namespaces", "/system/ps", "/system/nothing"] {
        for headers in [&[][..], &wrong] {
            let refused = stage.send("GET", path, headers, "").await;
            refused.says(401, "invalid credentials");
            assert_eq!(refused.header("www-authenticate"), "Basic realm=\"Restricted\"");
        }
        assert_ne!(stage.send("GET", path, &right, "").await.status, 401, "{path}");
    }
    assert_eq!(stage.send("POST", "/system/ps", &right, "ours").await.text, "ours");
    let deployment = json!({"service": "echo", "image": "echo"}).to_string();
    let deployed = stage.send("POST", "/system/functions", &right, deployment).await;
    assert_eq!(deployed.status, 202);
    for open in ["/function/echo", "/healthz", "/"] {
        assert_eq!(stage.get(open).await.status, 200, "{open}");
    }
    assert_eq!(stage.post("/async-function/echo", "").await.status, 202);
}
