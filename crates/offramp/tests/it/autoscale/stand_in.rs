//! A stand-in for what `offramp autoscale` asks: neither a Kubernetes cluster nor somebody else's gateway can run in
//! these tests. It listens on a real port, with or without TLS, and has the routes that are used and no others, with
//! the shapes of the Kubernetes API reference (`Deployment` of `apps/v1`, `Scale` of `autoscaling/v1`, `Status`) and of
//! faas-provider's types (`FunctionStatus`, `ScaleServiceRequest`), numbers that are 0 left out as there. Instances are
//! ready at once.

use std::io::{BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};

use crate::process::DEADLINE;

/// What it stands in for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Function `fog` in namespace `ns`, for user `admin` with password `secret`.
    Gateway,
    /// Deployment `fog` in namespace `ns`, for the token `secret`.
    Kubernetes,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transport {
    Plain,
    /// With `server.pem`, which `ca.pem` has signed for 127.0.0.1.
    Tls,
}

/// What there is, and what was asked.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) replicas: u32,
    /// Numbers that were asked for and taken, in their order.
    pub(super) taken: Vec<u32>,
    /// How often it was read.
    pub(super) reads: u32,
    /// A status that everything is answered with.
    pub(super) failing: Option<u16>,
    /// The most instances there may be, and at least one, as behind OpenFaaS CE's gateway, which says yes to more.
    pub(super) most: Option<u32>,
}

#[derive(Debug)]
pub(super) struct StandIn {
    pub(super) url: String,
    state: Arc<Mutex<State>>,
}

struct Request {
    line: String,
    authorization: String,
    content_type: String,
    body: String,
}

impl StandIn {
    pub(super) fn start(kind: Kind, transport: Transport) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        let tls = (transport == Transport::Tls).then(server_config);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                // A connection that breaks off is the client's affair.
                let _ = match &tls {
                    Some(config) => {
                        let connection = ServerConnection::new(Arc::clone(config)).unwrap();
                        answer(StreamOwned::new(connection, stream), kind, &shared)
                    }
                    None => answer(stream, kind, &shared),
                };
            }
        });
        let scheme = if transport == Transport::Tls { "https" } else { "http" };
        Self { url: format!("{scheme}://{address}"), state }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Waits for a state.
    pub(super) async fn until(&self, what: &str, is: impl Fn(&State) -> bool) {
        let deadline = Instant::now() + DEADLINE;
        while !is(&self.state()) {
            assert!(Instant::now() < deadline, "not in time: {what}; {:?}", self.state());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn server_config() -> Arc<ServerConfig> {
    let chain = CertificateDer::pem_slice_iter(include_bytes!("server.pem"));
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("server.key")).unwrap();
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain.map(Result::unwrap).collect(), key);
    Arc::new(config.unwrap())
}

fn answer(stream: impl Read + Write, kind: Kind, state: &Mutex<State>) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let Some(request) = read(&mut stream)? else { return Ok(()) };
    let (status, body) = match kind {
        Kind::Gateway => gateway(&request, &mut state.lock().unwrap()),
        Kind::Kubernetes => kubernetes(&request, &mut state.lock().unwrap()),
    };
    let length = body.len();
    let head =
        format!("HTTP/1.1 {status} x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n");
    stream.get_mut().write_all(format!("{head}{body}").as_bytes())?;
    stream.get_mut().flush()
}

fn read(stream: &mut impl std::io::BufRead) -> std::io::Result<Option<Request>> {
    let mut line = String::new();
    if stream.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let line = line.trim().trim_end_matches(" HTTP/1.1").to_owned();
    let (mut authorization, mut content_type, mut length) = (String::new(), String::new(), 0);
    loop {
        let mut header = String::new();
        stream.read_line(&mut header)?;
        let Some((name, value)) = header.trim().split_once(": ") else { break };
        match name.to_ascii_lowercase().as_str() {
            "authorization" => value.clone_into(&mut authorization),
            "content-type" => value.clone_into(&mut content_type),
            "content-length" => length = value.parse().unwrap(),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    let body = String::from_utf8(body).unwrap();
    Ok(Some(Request { line, authorization, content_type, body }))
}

/// Errors are text.
fn gateway(request: &Request, state: &mut State) -> (u16, String) {
    let text = |status, text: &str| (status, format!("{text}\n"));
    // base64 of `admin:secret`.
    if request.authorization != "Basic YWRtaW46c2VjcmV0" {
        return text(401, "invalid credentials");
    }
    if let Some(status) = state.failing {
        return text(status, "unable to reach the provider");
    }
    match request.line.as_str() {
        "GET /system/function/fog?namespace=ns" => {
            state.reads += 1;
            let mut function = json!({ "name": "fog", "image": "i", "namespace": "ns" });
            if state.replicas > 0 {
                function["replicas"] = json!(state.replicas);
                function["availableReplicas"] = json!(state.replicas);
            }
            (200, function.to_string())
        }
        "POST /system/scale-function/fog?namespace=ns" => {
            let body: Value = serde_json::from_str(&request.body).unwrap();
            assert_eq!(body["serviceName"], "fog");
            let wanted = body["replicas"].as_u64().unwrap() as u32;
            if state.most.is_some() && wanted == 0 {
                return text(400, "replicas cannot be set to 0 in OpenFaaS CE");
            }
            state.replicas = wanted.min(state.most.unwrap_or(wanted));
            state.taken.push(wanted);
            (202, String::new())
        }
        line => text(404, line),
    }
}

/// Errors are objects.
fn kubernetes(request: &Request, state: &mut State) -> (u16, String) {
    const DEPLOYMENT: &str = "/apis/apps/v1/namespaces/ns/deployments/fog";
    let failure = |status: u16, reason: &str| {
        let failure = json!({ "kind": "Status", "apiVersion": "v1", "metadata": {},
            "status": "Failure", "message": reason, "reason": reason, "code": status });
        (status, failure.to_string())
    };
    if request.authorization != "Bearer secret" {
        return failure(401, "Unauthorized");
    }
    if let Some(status) = state.failing {
        return failure(status, "ServiceUnavailable");
    }
    let metadata = json!({ "name": "fog", "namespace": "ns", "resourceVersion": "7" });
    if request.line == format!("GET {DEPLOYMENT}") {
        state.reads += 1;
        let mut status = json!({ "observedGeneration": 3 });
        if state.replicas > 0 {
            status["replicas"] = json!(state.replicas);
            status["readyReplicas"] = json!(state.replicas);
        }
        let spec = json!({ "replicas": state.replicas, "selector": {}, "template": {} });
        let deployment = json!({ "kind": "Deployment", "apiVersion": "apps/v1",
            "metadata": metadata, "spec": spec, "status": status });
        (200, deployment.to_string())
    } else if request.line == format!("PATCH {DEPLOYMENT}/scale") {
        if request.content_type != "application/merge-patch+json" {
            return failure(415, "UnsupportedMediaType");
        }
        let patch: Value = serde_json::from_str(&request.body).unwrap();
        let wanted = patch["spec"]["replicas"].as_u64().unwrap() as u32;
        let status = json!({ "replicas": state.replicas, "selector": "app=fog" });
        state.replicas = wanted;
        state.taken.push(wanted);
        let scale = json!({ "kind": "Scale", "apiVersion": "autoscaling/v1",
            "metadata": metadata, "spec": { "replicas": wanted }, "status": status });
        (200, scale.to_string())
    } else {
        failure(404, "NotFound")
    }
}
