//! Answers about functions: they are deployed, updated, removed, scaled, and described.

use hyper::{Method, StatusCode};
use serde::Deserialize;

use super::answer::{Answer, Refusal, either, json, no_function, not_allowed, text};
use super::route::{Asked, done, on_disk};
use super::status::Status;
use crate::deployment::Deployment;
use crate::functions::Functions;
use crate::secrets::SecretError;

/// Which function is to be removed.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Remove {
    function_name: String,
    namespace: Option<String>,
}

/// How many instances a function is to have.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Scale {
    #[serde(default)]
    namespace: Option<String>,
    replicas: u32,
}

/// Answers `/system/functions`.
pub(super) async fn all(asked: &Asked<'_>) -> Answer {
    let answered = match *asked.method() {
        Method::GET => list(asked),
        Method::POST | Method::PUT => deploy(asked).await,
        Method::DELETE => remove(asked).await,
        _ => Ok(not_allowed("GET, POST, PUT, DELETE")),
    };
    either(answered)
}

fn list(asked: &Asked<'_>) -> Result<Answer, Refusal> {
    let namespace = asked.namespace("")?;
    let all = asked.shared.functions.all();
    let here = all.iter().filter(|function| function.spec.namespace == namespace);
    Ok(json(&here.map(|function| Status::of(function)).collect::<Vec<_>>()))
}

async fn deploy(asked: &Asked<'_>) -> Result<Answer, Refusal> {
    let mut deployment: Deployment = asked.json()?;
    deployment.namespace = asked.namespace(&deployment.namespace)?;
    for secret in &deployment.secrets {
        if !asked.shared.secrets.has(&deployment.namespace, secret) {
            let missing = SecretError::NotFound(secret.clone());
            let name = &deployment.service;
            let problem = format_args!("function `{name}`: {missing}, expected one that is");
            return Err(text(StatusCode::BAD_REQUEST, problem).into());
        }
    }
    let functions = asked.shared.functions.clone();
    let is_new = asked.method() == Method::POST;
    let deploy = if is_new { Functions::deploy } else { Functions::update };
    on_disk(move || deploy(&functions, deployment)).await?;
    // Not 201, which `faas-cli` prints as a success and exits with as a failure.
    Ok(done(StatusCode::ACCEPTED))
}

async fn remove(asked: &Asked<'_>) -> Result<Answer, Refusal> {
    let Remove { function_name: name, namespace } = asked.json()?;
    let key = asked.key(&name, namespace.as_deref().unwrap_or_default())?;
    let functions = asked.shared.functions.clone();
    on_disk(move || functions.remove(&key)).await?;
    Ok(done(StatusCode::ACCEPTED))
}

/// Answers `/system/function/NAME`.
pub(super) async fn one(asked: &Asked<'_>) -> Answer {
    if asked.method() != Method::GET {
        return not_allowed("GET");
    }
    either(described(asked).await)
}

async fn described(asked: &Asked<'_>) -> Result<Answer, Refusal> {
    let key = asked.key(asked.rest, "")?;
    let function = asked.shared.functions.get(&key).ok_or_else(|| no_function(&key))?;
    let with_usage = asked.query().flag("usage") == Some(true);
    let status =
        if with_usage { Status::with_usage(&function).await } else { Status::of(&function) };
    Ok(json(&status))
}

/// Answers `/system/scale-function/NAME`.
pub(super) fn scale(asked: &Asked<'_>) -> Answer {
    if asked.method() != Method::POST {
        return not_allowed("POST");
    }
    either(scaled(asked))
}

fn scaled(asked: &Asked<'_>) -> Result<Answer, Refusal> {
    let Scale { namespace, replicas } = asked.json()?;
    let key = asked.key(asked.rest, namespace.as_deref().unwrap_or_default())?;
    let function = asked.shared.functions.get(&key).ok_or_else(|| no_function(&key))?;
    let wanted = function.pool.scale_to(replicas);
    Ok(text(StatusCode::ACCEPTED, format_args!("function `{key}`: {wanted} instances wanted")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_go_leaves_out_or_writes_as_null_is_empty() {
        let remove: Remove =
            serde_json::from_str(r#"{"functionName": "echo", "namespace": null}"#).unwrap();
        assert_eq!((remove.function_name.as_str(), remove.namespace), ("echo", None));
        let scale: Scale = serde_json::from_str(r#"{"serviceName":"echo","replicas":2}"#).unwrap();
        assert_eq!((scale.namespace, scale.replicas), (None, 2));
    }
}
