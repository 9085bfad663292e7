//! Answers `/system/secrets`: names are listed, values are taken and never given.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::{Method, StatusCode};
use serde::{Deserialize, Serialize};

use super::answer::{Answer, Refusal, either, json, not_allowed, text};
use super::route::{Asked, done, on_disk};

/// A secret as it is sent. Its value is text, or base64 of any bytes. There is no `Debug`: it would print them.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Sent {
    name: String,
    namespace: Option<String>,
    value: Option<String>,
    raw_value: Option<String>,
}

/// A secret as it is listed.
#[derive(Debug, Serialize)]
struct Listed<'a> {
    name: &'a str,
    namespace: &'a str,
}

impl Sent {
    fn value(&self) -> Result<Vec<u8>, Refusal> {
        match self.raw_value.as_deref() {
            None | Some("") => Ok(self.value.clone().unwrap_or_default().into_bytes()),
            Some(raw) => STANDARD.decode(raw).map_err(|_| {
                let problem = format_args!("secret `{}`: rawValue is not base64", self.name);
                text(StatusCode::BAD_REQUEST, problem).into()
            }),
        }
    }
}

/// Answers `/system/secrets`.
pub(super) async fn answer(asked: &Asked<'_>) -> Answer {
    let answered = match *asked.method() {
        Method::GET => list(asked),
        Method::POST | Method::PUT | Method::DELETE => change(asked).await,
        _ => Ok(not_allowed("GET, POST, PUT, DELETE")),
    };
    either(answered)
}

fn list(asked: &Asked<'_>) -> Result<Answer, Refusal> {
    let namespace = asked.namespace("")?;
    let names = asked.shared.secrets.names(&namespace)?;
    let listed = names.iter().map(|name| Listed { name, namespace: &namespace });
    Ok(json(&listed.collect::<Vec<_>>()))
}

async fn change(asked: &Asked<'_>) -> Result<Answer, Refusal> {
    let sent: Sent = asked.json()?;
    let namespace = asked.namespace(sent.namespace.as_deref().unwrap_or_default())?;
    let value = sent.value()?;
    let secrets = asked.shared.secrets.clone();
    let method = asked.method().clone();
    let (status, changed) = on_disk(move || match method {
        Method::POST => (StatusCode::CREATED, secrets.create(&namespace, &sent.name, &value)),
        Method::PUT => (StatusCode::ACCEPTED, secrets.update(&namespace, &sent.name, &value)),
        _ => (StatusCode::ACCEPTED, secrets.remove(&namespace, &sent.name)),
    })
    .await;
    changed?;
    Ok(done(status))
}
