//! Fission's environment protocol, versions 1 to 3: which function a container is, it hears once.
//!
//! A package, and the values of config maps that the function names, become variables ([`super::package`]);
//! `functionName` says which function: `inference`, `funnel` or, as ever, what `OFFRAMP_FUNCTION` says.

use bytes::Bytes;
use hyper::StatusCode;
use serde::Deserialize;

use super::container::{Container, Given};
use super::{Variables, package};
use crate::http::function::{Answer, text};

/// Where the fetcher puts a package for environments of version 1, which are not told.
const USER_FUNCTION: &str = "/userfunc/user";
/// Config maps: a folder for each namespace, one in it for each map, a file for each key.
const CONFIGS: &str = "configs";
/// What the variables of functions begin with.
const OURS: &str = "OFFRAMP_";

/// What the fetcher posts: its `FunctionLoadRequest`.
#[derive(Debug, Default, Deserialize)]
struct LoadRequest {
    #[serde(default)]
    filepath: String,
    #[serde(default, rename = "functionName")]
    function_name: String,
    #[serde(default, rename = "FunctionMetadata")]
    metadata: Option<Metadata>,
}

#[derive(Debug, Default, Deserialize)]
struct Metadata {
    #[serde(default)]
    name: String,
    #[serde(default)]
    namespace: String,
}

pub(super) fn is_control(path: &str) -> bool {
    matches!(path, "/specialize" | "/v2/specialize")
}

/// Hears which function this is.
pub(super) async fn specialize(container: &Container, path: &str, body: &Bytes) -> Answer {
    let mut is_told = container.telling.lock().await;
    if *is_told {
        return text(StatusCode::BAD_REQUEST, "Not a generic container");
    }
    match load(container, path, body).await {
        Ok(()) => {
            *is_told = true;
            text(StatusCode::OK, "OK")
        }
        Err((status, error)) => {
            tracing::error!("not specialized: {error}");
            text(status, &error)
        }
    }
}

async fn load(container: &Container, path: &str, body: &Bytes) -> Result<(), (StatusCode, String)> {
    let request = if path == "/specialize" {
        LoadRequest { filepath: USER_FUNCTION.to_owned(), ..LoadRequest::default() }
    } else {
        serde_json::from_slice(body).map_err(|error| {
            let expected = "expected Fission's load request in JSON, with `filepath`";
            (StatusCode::BAD_REQUEST, format!("the body: {error}; {expected}"))
        })?
    };
    let metadata = request.metadata.unwrap_or_default();
    let (name, namespace) = (&metadata.name, &metadata.namespace);
    tracing::info!(name, namespace, package = request.filepath, "specialized");
    if container.is_ready() {
        // Started with all it needs, as an image with a sub-model inside.
        return Ok(());
    }
    let failed = |error: String| (StatusCode::INTERNAL_SERVER_ERROR, error);
    let scratch = tempfile::tempdir()
        .map_err(|error| failed(format!("no folder for the package: {error}")))?;
    let mut variables = configured(container);
    if !request.filepath.is_empty() {
        let package = container.root.join(request.filepath.trim_start_matches('/'));
        variables.extend(package::read(&package, scratch.path()).map_err(failed)?);
    }
    let function = Some(request.function_name).filter(|name| !name.is_empty());
    container.start(Given { function, variables }).await.map_err(failed)
}

/// The variables that config maps set.
fn configured(container: &Container) -> Variables {
    let mut variables = Variables::new();
    let folders = |of: std::path::PathBuf| {
        std::fs::read_dir(of).into_iter().flatten().flatten().map(|entry| entry.path())
    };
    let maps = folders(container.root.join(CONFIGS)).flat_map(folders);
    let mut files: Vec<_> = maps.flat_map(folders).collect();
    files.sort();
    for file in files {
        let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.starts_with(OURS)
            && let Ok(value) = std::fs::read_to_string(&file)
        {
            variables.insert(name.to_owned(), value.trim_end_matches(['\r', '\n']).to_owned());
        }
    }
    variables
}
