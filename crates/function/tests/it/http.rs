//! The server's routes, bounds and statuses.

use std::sync::Arc;

use bytes::Bytes;
use function::http::Function;
use function::http::server::Server;
use function::inference::Settings;
use function::stop::{self, Stopper};
use function::{Inference, tier};
use http_body_util::{BodyExt as _, Full};
use hyper::{Method, Request, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use pipeline::ExitSettings;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::inference::{demo_model, image, settings};

/// An inference function that gives its results back to the caller.
async fn serve() -> (String, Stopper, JoinHandle<()>) {
    let sub_model = demo_model("edge");
    let exit = Some(tier::exit_of(&sub_model, &ExitSettings::threshold(0.5)).unwrap().1);
    let settings = Settings { exit, max_batch: 8, ..settings("edge") };
    let inference = Arc::new(Inference::new(sub_model, settings, None, None));
    let server = Server::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let url = format!("http://{}", server.address());
    let (stopper, stop) = stop::channel();
    let task = tokio::spawn(server.serve(
        Arc::new(Function::Inference(inference)),
        stop,
        std::time::Duration::ZERO,
    ));
    (url, stopper, task)
}

async fn call(method: Method, url: &str, body: impl Into<Bytes>) -> (StatusCode, String) {
    let client: Client<HttpConnector, Full<Bytes>> =
        Client::builder(TokioExecutor::new()).build_http();
    let request = Request::builder().method(method).uri(url).body(Full::new(body.into())).unwrap();
    let response = client.request(request).await.unwrap();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn probes_are_answered_and_other_verbs_refused() {
    let (url, _stopper, _task) = serve().await;
    for probe in ["/_/health", "/_/ready"] {
        assert_eq!(
            call(Method::GET, &format!("{url}{probe}"), "").await,
            (StatusCode::OK, "OK".into())
        );
    }
    let (status, _) = call(Method::GET, &format!("{url}/"), "").await;
    assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_without_destinations_gets_the_answer_back() {
    let (url, _stopper, _task) = serve().await;
    let value: Value = serde_json::from_slice(&image(3)).unwrap();
    let body = json!({"value": value, "key": "k", "headers": {"X-INFERENCE-TS": "1.5"}});
    let (status, text) = call(Method::POST, &format!("{url}/any/path"), body.to_string()).await;
    assert_eq!(status, StatusCode::OK, "{text}");
    let answer: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(answer["statusCode"], 200);
    assert_eq!(answer["fate"], "answered");
    assert_eq!(answer["answer"]["key"], "k");
    assert_eq!(answer["answer"]["headers"]["X-INFERENCE-TS"], "1.5");
    assert_eq!(answer["answer"]["headers"]["offramp-tier"], "edge");
    assert_eq!(answer["answer"]["value"][0].as_array().unwrap().len(), 10);
    assert_eq!(answer.get("forward"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_bodies_are_rejected_with_a_code_and_a_reason() {
    let (url, _stopper, _task) = serve().await;
    let check = async |body: &str, code: &str| {
        let (status, text) = call(Method::POST, &url, body.to_owned()).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{body}: {text}");
        let reject: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(reject["code"], code, "{body}: {text}");
        assert!(reject["reason"].as_str().unwrap().len() > 10, "{text}");
    };
    check("", "not-json").await;
    check("hello", "not-json").await;
    check("{}", "not-json").await;
    check("{\"value\": null}", "not-json").await;
    check("{\"value\": [[1, 2]]}", "wrong-shape").await;
    check("{\"value\": [1e99]}", "not-finite").await;
    let huge = vec![b' '; 17 << 20];
    let (status, text) = call(Method::POST, &url, huge).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE, "{text}");
    assert!(text.contains("too-large"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_told_to_stop_ends() {
    let (url, stopper, task) = serve().await;
    call(Method::GET, &format!("{url}/_/health"), "").await;
    stopper.stop();
    tokio::time::timeout(std::time::Duration::from_secs(30), task).await.unwrap().unwrap();
}
