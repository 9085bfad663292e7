//! What `offramp ps`, `top`, `scale history`, `reload` and `down` ask of a node, below `/system/offramp/`.
//!
//! | route | answer |
//! |---|---|
//! | `GET status` | a [`super::status::Status`] |
//! | `GET scale-history` | a list of [`super::status::Scaled`] |
//! | `POST reload` | 200 and lines on what became of each tier and function; 409 and why nothing was reloaded |
//! | `POST down` | 202; the node stops |

use std::sync::Arc;

use bytes::Bytes;
use function::stop::Stopper;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use hyper::header::CONTENT_TYPE;
use hyper::http::request::Parts;
use hyper::{Method, StatusCode};
use runtime::Response;
use runtime::gateway::Extra;
use tokio::sync::{mpsc, oneshot};

use super::overseer::Overseer;

/// Asks the node to read its file again, and where to say what became of it.
pub(crate) type Reload = oneshot::Sender<Result<Vec<String>, String>>;

/// Answers.
#[derive(Debug)]
pub(crate) struct Control {
    pub(crate) overseer: Overseer,
    pub(crate) reloads: mpsc::Sender<Reload>,
    pub(crate) stopper: Arc<Stopper>,
}

impl Extra for Control {
    fn route(&self, head: &Parts, _: Bytes) -> Option<BoxFuture<'static, Response>> {
        let path = head.uri.path().strip_prefix("/system/offramp/")?;
        let overseer = self.overseer.clone();
        Some(match (&head.method, path) {
            (&Method::GET, "status") => async move { json(&overseer.status().await) }.boxed(),
            (&Method::GET, "scale-history") => async move { json(&overseer.history()) }.boxed(),
            (&Method::POST, "reload") => reload(self.reloads.clone()).boxed(),
            (&Method::POST, "down") => {
                self.stopper.stop();
                std::future::ready(text(StatusCode::ACCEPTED, "stopping")).boxed()
            }
            _ => return None,
        })
    }
}

async fn reload(reloads: mpsc::Sender<Reload>) -> Response {
    let (tell, told) = oneshot::channel();
    if reloads.send(tell).await.is_err() {
        return text(StatusCode::SERVICE_UNAVAILABLE, "the node is stopping");
    }
    match told.await {
        Ok(Ok(lines)) => json(&lines),
        Ok(Err(reason)) => text(StatusCode::CONFLICT, &reason),
        Err(_) => text(StatusCode::SERVICE_UNAVAILABLE, "the node is stopping"),
    }
}

fn json(value: &impl serde::Serialize) -> Response {
    let body = serde_json::to_vec(value).expect("a status is plain JSON");
    answer(StatusCode::OK, "application/json", body.into())
}

fn text(status: StatusCode, text: &str) -> Response {
    answer(status, "text/plain; charset=utf-8", Bytes::from(text.to_owned()))
}

fn answer(status: StatusCode, kind: &str, body: Bytes) -> Response {
    let response = hyper::Response::builder().status(status).header(CONTENT_TYPE, kind);
    response.body(body).expect("the parts of the answer are valid")
}
