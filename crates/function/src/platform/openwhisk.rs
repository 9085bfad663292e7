//! `OpenWhisk`'s contract of action containers: `POST /init` once, then `POST /run`, one activation a call.
//!
//! Parameters are a call's body in the paper's form. A web action's request is a call with its body; its response has
//! `statusCode`, `headers` and `body`. What a Kafka feed sends, `messages`, are records. An activation that fails is a
//! 200 with `error`: any other status costs the container, but 503, which has the activation go elsewhere, while it
//! drains. After each activation both streams get a line that ends its logs.
//!
//! Where there is one route only, as on Knative, `POST /` does both, as `OpenWhisk`'s single entrypoint does: `init`
//! initialises, `activation` and `value` run. A container whose variables say which function it is needs no `init` there.
//!
//! Bodies have a length, and at most 1 MiB either way: more would be cut off by the platform, silently.

use std::collections::HashMap;
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use hyper::header::CONTENT_TYPE;
use hyper::{Method, Request, StatusCode};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use wire::{Record, Source};

use super::container::{Container, Given};
use super::{Platform, Variables, package};
use crate::http::MAX_BODY_BYTES;
use crate::http::function::{Answer, json as answer_json};

/// Ends the logs of an activation.
const SENTINEL: &str = "XXX_THE_END_OF_A_WHISK_ACTIVATION_XXX\n";
/// The parameter that only web actions have, and the one that the Kafka feed has.
const WEB: &str = "__ow_method";
const FEED: &str = "messages";
/// Largest parameters and results that the platform carries.
const MAX_PAYLOAD_BYTES: usize = 1 << 20;
/// Largest body of `/init`: 48 MiB of code, as base64 in JSON.
const MAX_INIT_BYTES: usize = 68 << 20;

#[derive(Debug, Deserialize)]
struct Init {
    value: InitValue,
}

#[derive(Debug, Default, Deserialize)]
struct InitValue {
    #[serde(default)]
    code: Option<String>,
    #[serde(default)]
    binary: bool,
    #[serde(default)]
    env: HashMap<String, Value>,
}

#[derive(Debug, Deserialize)]
struct Run<'a> {
    #[serde(borrow, default)]
    value: Option<&'a RawValue>,
    /// Milliseconds since the epoch: a text, whatever the documentation says.
    #[serde(default)]
    deadline: Option<Value>,
}

/// What the one route takes.
#[derive(Debug, Deserialize)]
struct Single<'a> {
    #[serde(default)]
    init: Option<InitValue>,
    /// That it is to run; its deadline is that of no platform.
    #[serde(borrow, default)]
    activation: Option<&'a RawValue>,
    #[serde(borrow, default)]
    value: Option<&'a RawValue>,
}

/// A message of the Kafka feed.
#[derive(Debug, Deserialize)]
struct Message {
    value: Value,
    #[serde(default)]
    key: Option<Value>,
    #[serde(default)]
    topic: Option<String>,
    #[serde(default)]
    partition: Option<i32>,
    #[serde(default)]
    offset: Option<i64>,
}

/// The bound on the body of a request.
pub(super) fn max_body_bytes(platform: Platform, path: &str) -> usize {
    let may_be_init = platform == Platform::OpenWhisk && matches!(path, "/init" | "/");
    if may_be_init { MAX_INIT_BYTES } else { MAX_BODY_BYTES }
}

/// Answers as an action's container does.
pub(super) async fn answer(
    container: &Container,
    request: &Request<Bytes>,
    draining: bool,
) -> Answer {
    let answer = match (request.method(), request.uri().path()) {
        (&Method::POST, "/init") => init(container, request.body()).await,
        (&Method::POST, "/run") => run(container, request.body(), draining).await,
        (&Method::POST, "/") => single(container, request.body(), draining).await,
        (_, path) => {
            return failed(
                StatusCode::NOT_FOUND,
                &format!(
                    "`{} {path}` is no route of an action, expected `POST /run`",
                    request.method()
                ),
            );
        }
    };
    container.ends.one_more();
    answer
}

/// Ends the logs of activations on both streams.
///
/// A write to each is most of what an activation costs more than a call does, so activations that end at about the same
/// time share them, and no answer waits for them.
#[derive(Debug, Default)]
pub(super) struct Ends {
    /// How many activations have ended whose logs have not.
    due: AtomicUsize,
}

impl Ends {
    /// An activation has ended.
    fn one_more(self: &Arc<Self>) {
        if self.due.fetch_add(1, Ordering::AcqRel) > 0 {
            return;
        }
        let ends = Arc::clone(self);
        tokio::spawn(async move {
            // Whoever is ready goes first, and may end as well.
            tokio::task::yield_now().await;
            ends.write();
        });
    }

    /// Nothing can be done for a stream that is closed.
    fn write(&self) {
        let lines = SENTINEL.repeat(self.due.swap(0, Ordering::AcqRel));
        let (mut out, mut err) = (std::io::stdout().lock(), std::io::stderr().lock());
        let _ = out.write_all(lines.as_bytes()).and_then(|()| out.flush());
        let _ = err.write_all(lines.as_bytes());
    }
}

impl Drop for Ends {
    /// Those whose turn did not come before the container ended.
    fn drop(&mut self) {
        if *self.due.get_mut() > 0 {
            self.write();
        }
    }
}

fn failed(status: StatusCode, error: &str) -> Answer {
    answer_json(status, &json!({ "error": error }))
}

async fn init(container: &Container, body: &Bytes) -> Answer {
    match serde_json::from_slice::<Init>(body) {
        Ok(Init { value }) => initialise(container, value).await,
        Err(error) => {
            not_initialised(&format!("the body is not `{{\"value\": …}}` of /init: {error}"))
        }
    }
}

async fn initialise(container: &Container, value: InitValue) -> Answer {
    let mut is_told = container.telling.lock().await;
    if *is_told {
        return failed(StatusCode::FORBIDDEN, "Cannot initialize the action more than once.");
    }
    match load(container, value).await {
        Ok(()) => {
            *is_told = true;
            answer_json(StatusCode::OK, &json!({ "ok": true }))
        }
        Err(error) => not_initialised(&error),
    }
}

/// Into the activation's record and its logs: people find either.
fn not_initialised(error: &str) -> Answer {
    tracing::error!("not initialised: {error}");
    failed(StatusCode::BAD_GATEWAY, &format!("not initialised: {error}"))
}

async fn load(container: &Container, value: InitValue) -> Result<(), String> {
    let scratch =
        tempfile::tempdir().map_err(|error| format!("no folder for the code: {error}"))?;
    let mut variables: Variables =
        value.env.into_iter().map(|(name, value)| (name, text(value))).collect();
    match value.code.as_deref().map(str::trim).filter(|code| !code.is_empty()) {
        Some(code) if value.binary => {
            let bytes =
                BASE64.decode(code).map_err(|error| format!("`code` is not base64: {error}"))?;
            let package = package::of_bytes(&bytes, scratch.path())?;
            // What the action says goes before what its package says.
            for (name, value) in package {
                variables.entry(name).or_insert(value);
            }
        }
        Some(_) => {
            return Err(
                "`code` is text, expected none, or a ZIP archive with a sub-model".to_owned()
            );
        }
        None => {}
    }
    container.start(Given { function: None, variables }).await
}

fn text(value: Value) -> String {
    match value {
        Value::String(text) => text,
        other => other.to_string(),
    }
}

async fn run(container: &Container, body: &Bytes, draining: bool) -> Answer {
    if let Some(refusal) = refusal(container, draining) {
        return refusal;
    }
    if let Some(too_large) = too_large(body.len()) {
        return too_large;
    }
    let run: Run<'_> = match serde_json::from_slice(body) {
        Ok(run) => run,
        Err(error) => {
            return failed(
                StatusCode::OK,
                &format!("the body is not `{{\"value\": …}}` of /run: {error}"),
            );
        }
    };
    let left =
        run.deadline.and_then(|deadline| text(deadline).parse::<u64>().ok()).map(|deadline| {
            let now = UNIX_EPOCH.elapsed().map_or(0, |passed| passed.as_millis() as u64);
            Duration::from_millis(deadline.saturating_sub(now))
        });
    let activation = activate(container, run.value);
    match left {
        None => activation.await,
        Some(left) => match tokio::time::timeout(left, activation).await {
            Ok(answer) => answer,
            Err(_) => failed(StatusCode::OK, "the deadline of the activation passed"),
        },
    }
}

async fn single(container: &Container, body: &Bytes, draining: bool) -> Answer {
    let Single { init, activation, value } = match serde_json::from_slice(body) {
        Ok(single) => single,
        Err(error) => {
            return failed(
                StatusCode::BAD_REQUEST,
                &format!("the body is no JSON with `init`, `activation` or `value`: {error}"),
            );
        }
    };
    let runs = activation.is_some() || value.is_some();
    if !runs && init.is_none() {
        return failed(
            StatusCode::BAD_REQUEST,
            "the body has neither `init` nor `activation`, expected one of them, or both",
        );
    }
    if let Some(init) = init {
        let answer = initialise(container, init).await;
        if !runs || !answer.status().is_success() {
            return answer;
        }
    } else if !container.is_ready() {
        // By the container's own variables; another activation may have come first.
        let answer = initialise(container, InitValue::default()).await;
        if !container.is_ready() {
            return answer;
        }
    }
    if let Some(refusal) = refusal(container, draining) {
        return refusal;
    }
    if let Some(too_large) = too_large(value.map_or(0, |value| value.get().len())) {
        return too_large;
    }
    activate(container, value).await
}

/// Why nothing can run now.
fn refusal(container: &Container, draining: bool) -> Option<Answer> {
    if draining {
        return Some(failed(StatusCode::SERVICE_UNAVAILABLE, "this container is about to end"));
    }
    let why = "not initialised: /run came before /init";
    (!container.is_ready()).then(|| failed(StatusCode::INTERNAL_SERVER_ERROR, why))
}

fn too_large(given: usize) -> Option<Answer> {
    let most = MAX_PAYLOAD_BYTES;
    let error = || format!("the parameters have {given} bytes, expected at most {most}");
    (most < given).then(|| failed(StatusCode::OK, &error()))
}

async fn activate(container: &Container, value: Option<&RawValue>) -> Answer {
    let answer = fate(container, value.map_or("{}", RawValue::get)).await;
    let (given, most) = (answer.body().len(), MAX_PAYLOAD_BYTES);
    if given <= most {
        return answer;
    }
    let error = format!(
        "the result has {given} bytes, expected at most {most}; send fewer samples a call, forward features as f16 or \
         int8, or write them to a topic (OFFRAMP_FORWARD_URL)"
    );
    failed(StatusCode::OK, &error)
}

/// What becomes of parameters.
async fn fate(container: &Container, value: &str) -> Answer {
    // Most activations are neither, which is seen without reading them. An array of parameters is a list of bodies, and
    // names with escapes are none of these.
    let is_either = value.contains(WEB) || value.contains(FEED);
    let parameters = is_either.then(|| serde_json::from_str(value).ok()).flatten();
    let parameters: HashMap<&str, &RawValue> = parameters.unwrap_or_default();
    if let Some(method) = parameters.get(WEB) {
        return web(container, method, &parameters, value).await;
    }
    if let Some(messages) = parameters.get(FEED)
        && !parameters.contains_key("value")
    {
        return feed(container, messages).await;
    }
    of_call(container.call(&post(Bytes::from(value.to_owned()))).await)
}

fn post(body: Bytes) -> Request<Bytes> {
    let mut request = Request::new(body);
    *request.method_mut() = Method::POST;
    request
}

/// What a call's answer is as an activation's result.
fn of_call(answer: Answer) -> Answer {
    let status = answer.status();
    if status.is_success() {
        return answer;
    }
    let said = serde_json::from_slice::<Value>(answer.body());
    let said = said.unwrap_or_else(|_| String::from_utf8_lossy(answer.body()).into_owned().into());
    answer_json(
        StatusCode::OK,
        &json!({ "error": { "statusCode": status.as_u16(), "reason": said } }),
    )
}

/// A web action: a request in JSON, for a response in JSON.
async fn web(
    container: &Container,
    method: &RawValue,
    parameters: &HashMap<&str, &RawValue>,
    value: &str,
) -> Answer {
    let of = |name: &str| {
        parameters.get(name).and_then(|value| serde_json::from_str::<String>(value.get()).ok())
    };
    let method: String = serde_json::from_str(method.get()).unwrap_or_default();
    let headers: HashMap<String, String> = parameters
        .get("__ow_headers")
        .and_then(|headers| serde_json::from_str(headers.get()).ok())
        .unwrap_or_default();
    // A raw action's body is text, or base64 of what is none; any other's are parameters among the rest.
    let body = match of("__ow_body").filter(|body| !body.is_empty()) {
        Some(body) if body.trim_start().starts_with(['{', '[']) => Bytes::from(body),
        Some(body) => BASE64.decode(&body).map_or_else(|_| Bytes::from(body), Bytes::from),
        None => Bytes::from(value.to_owned()),
    };
    let path =
        of("__ow_path").filter(|path| path.starts_with('/')).unwrap_or_else(|| "/".to_owned());
    let mut request = Request::builder().method(method.to_uppercase().as_str()).uri(path);
    for (name, value) in &headers {
        request = request.header(name, value);
    }
    let Ok(request) = request.body(body) else {
        return answer_json(
            StatusCode::OK,
            &json!({ "statusCode": 400, "body": "the request is not one of HTTP" }),
        );
    };
    let answer = container.call(&request).await;
    let mut headers = serde_json::Map::new();
    for (name, value) in answer.headers() {
        headers.insert(name.to_string(), String::from_utf8_lossy(value.as_bytes()).into());
    }
    let media_type =
        answer.headers().get(CONTENT_TYPE).map_or(&b""[..], |media_type| media_type.as_bytes());
    let body = match std::str::from_utf8(answer.body()) {
        Ok(text) if !media_type.starts_with(b"application/octet-stream") => {
            serde_json::from_str(text).unwrap_or_else(|_| text.into())
        }
        _ => Value::String(BASE64.encode(answer.body())),
    };
    let status = answer.status().as_u16();
    answer_json(StatusCode::OK, &json!({ "statusCode": status, "headers": headers, "body": body }))
}

/// Messages of the Kafka feed, which are records without headers.
async fn feed(container: &Container, messages: &RawValue) -> Answer {
    let messages: Vec<Message> = match serde_json::from_str(messages.get()) {
        Ok(messages) => messages,
        Err(error) => {
            return failed(
                StatusCode::OK,
                &format!("`messages` are not those of a Kafka feed: {error}"),
            );
        }
    };
    let bodies = messages.into_iter().map(|message| {
        let source = match (message.topic, message.partition, message.offset) {
            (Some(topic), Some(partition), Some(offset)) => {
                Some(Source { topic, partition, offset })
            }
            _ => None,
        };
        let key = message.key.filter(|key| !key.is_null()).map(|key| Bytes::from(text(key)));
        let record = Record { key, value: Some(of_message(message.value)), ..Record::default() };
        wire::body::encode(&record, source.as_ref())
    });
    let list = [b"[", bodies.collect::<Vec<_>>().join(&b","[..]).as_slice(), b"]"].concat();
    let answer = container.call(&post(Bytes::from(list))).await;
    let outcomes: Vec<Value> = serde_json::from_slice(answer.body()).unwrap_or_default();
    let is_done = |outcome: &Value| outcome["statusCode"].as_u64() == Some(200);
    if !answer.status().is_success() {
        return of_call(answer);
    }
    if outcomes.iter().all(is_done) {
        return answer_json(StatusCode::OK, &json!({ "messages": outcomes }));
    }
    answer_json(StatusCode::OK, &json!({ "error": "a message met no fate", "messages": outcomes }))
}

/// A message's value: JSON as it is, text that is JSON, base64, or text.
fn of_message(value: Value) -> Bytes {
    match value {
        Value::String(text) if serde_json::from_str::<&RawValue>(&text).is_ok() => {
            Bytes::from(text)
        }
        Value::String(text) => BASE64.decode(&text).map_or_else(|_| Bytes::from(text), Bytes::from),
        json => Bytes::from(json.to_string()),
    }
}
