//! Functions as child processes: any program that serves HTTP.
//!
//! An instance gets a free port of this machine, in the environment as `PORT` (and `port`, and as an address in
//! `OFFRAMP_LISTEN`), and takes calls once it answers `GET` of its health path with anything below 500, which a
//! server that does not know that path does too. It runs in a process group of its own, within its limits
//! ([`limits`]), with its output in the function's logs. It is asked to end by `SIGTERM`, and made to by `SIGKILL`;
//! nothing of its group outlives it. Where `setpriv` (util-linux) is there, a child ends with this process, however that
//! ends; elsewhere, and what it has itself started, when this one starts again.
//!
//! A program is a file of the programs' folder, or was named in the configuration: whoever may deploy functions can't
//! run just anything.

mod child;
mod limits;
mod output;
mod proc;

use std::collections::{BTreeSet, HashMap};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{StatusCode, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::process::Command;
use tokio::time::{sleep, timeout};

use crate::chain::chain;
use crate::driver::{Broken, Driver, Grace, Instance, Request, Response, Usage};
use crate::logs::Logs;
use crate::secrets::Secrets;
use crate::spec::Spec;
use child::Child;
use limits::Limits;

/// An instance that is asked to end has this long to do so.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// Waits between looks whether a new instance takes calls: short at first, since small programs need milliseconds.
const FIRST_LOOK: Duration = Duration::from_millis(1);
const LAST_LOOK: Duration = Duration::from_millis(50);
/// Connections to an instance that nothing goes over are closed after this.
const IDLE_CONNECTION: Duration = Duration::from_secs(30);
/// Largest answer of a function.
const MAX_ANSWER_BYTES: usize = 16 << 20;
/// Runs a program with other attributes of its process.
const SETPRIV: &str = "setpriv";
/// The kernel signals the process when its parent has ended.
const PARENT_DEATH: &str = "--pdeathsig";
/// What a program sees of this process's environment.
const INHERITED: [&str; 6] = ["PATH", "HOME", "LANG", "TZ", "TMPDIR", "USER"];

/// Starts programs.
#[derive(Debug)]
pub struct Programs {
    /// The programs that may be named when a function is deployed.
    dir: PathBuf,
    secrets: Secrets,
    /// Where what runs is written down.
    run: PathBuf,
    /// Programs that the configuration names, wherever they are.
    configured: Mutex<BTreeSet<PathBuf>>,
    /// Whether there is a program that has the kernel end a child with this process.
    ends_with_this: bool,
}

impl Programs {
    /// Programs of the folder `dir`, which may read secrets. Children of an earlier process that kept its notes
    /// in `run` are ended.
    pub fn new(dir: PathBuf, secrets: Secrets, run: PathBuf) -> std::io::Result<Self> {
        std::fs::create_dir_all(&run)?;
        child::end_leftovers(&run)?;
        let ends_with_this = knows_parent_death();
        Ok(Self { dir, secrets, run, configured: Mutex::default(), ends_with_this })
    }

    /// Lets a function be this program, which the configuration names.
    pub fn configured(&self, program: PathBuf) {
        self.configured.lock().expect("no holder panics").insert(program);
    }

    fn program(&self, spec: &Spec) -> Result<PathBuf, String> {
        let name = match spec.command.first() {
            Some(program) => program.as_str(),
            None => image_name(&spec.image),
        };
        let named = Path::new(name);
        if self.configured.lock().expect("no holder panics").contains(named) {
            return Ok(named.to_owned());
        }
        let dir = self.dir.display();
        let is_plain = named.file_name().is_some_and(|file| file == named.as_os_str());
        if !is_plain {
            return Err(format!("`{name}` is not the name of a program in {dir}"));
        }
        let path = self.dir.join(named);
        if path.is_file() {
            return Ok(path);
        }
        let there = names(&self.dir);
        Err(format!("there is no program `{name}` in {dir}, expected one of: {there}"))
    }

    fn secret_values(&self, spec: &Spec) -> Result<HashMap<String, PathBuf>, String> {
        let path = |name: &String| {
            let there = self.secrets.has(&spec.namespace, name);
            let folder = self.secrets.folder(&spec.namespace);
            let path = std::path::absolute(folder.join(name)).ok().filter(|_| there);
            path.map(|path| (name.clone(), path)).ok_or_else(|| {
                format!("there is no secret `{name}`, expected it to be created first")
            })
        };
        spec.secrets.iter().map(path).collect()
    }

    async fn start(&self, spec: &Spec, number: u64, logs: &Logs) -> Result<Process, String> {
        let program = self.program(spec)?;
        let name: Arc<str> = format!("{}-{number}", spec.name).into();
        let secrets = self.secret_values(spec)?;
        let address = free_address().map_err(|error| format!("no free port: {error}"))?;
        let mut command = if self.ends_with_this {
            let mut command = Command::new(SETPRIV);
            command.args([PARENT_DEATH, "KILL", "--"]).arg(&program);
            command
        } else {
            Command::new(&program)
        };
        command.args(spec.command.iter().skip(1)).env_clear();
        for key in INHERITED {
            if let Some(value) = std::env::var_os(key) {
                command.env(key, value);
            }
        }
        command.envs(&spec.env);
        let port = address.port().to_string();
        command.env("PORT", &port).env("port", &port).env("OFFRAMP_LISTEN", address.to_string());
        for (secret, path) in &secrets {
            command.env(format!("OFFRAMP_SECRET_{}_FILE", variable(secret)), path);
        }
        let limits = Limits::prepare(&name, spec);
        let child = Child::spawn(command, limits, &self.run, &name, logs)
            .map_err(|error| format!("{}: {error}", program.display()))?;
        let process = |child| Process::new(child, address, &spec.health_path);
        let mut look = FIRST_LOOK;
        let probing = process(child.handle());
        loop {
            if probing.probe().await.is_ok() {
                return Ok(process(child));
            }
            tokio::select! {
                reason = child.ended() => return Err(reason),
                () = sleep(look) => look = (look * 2).min(LAST_LOOK),
            }
        }
    }
}

/// Whether [`SETPRIV`] is there and has the option that is needed; others of that name have not.
fn knows_parent_death() -> bool {
    let help = std::process::Command::new(SETPRIV).arg("--help").output();
    help.is_ok_and(|help| String::from_utf8_lossy(&help.stdout).contains(PARENT_DEATH))
}

/// `registry/path/name:tag` names the program `name`.
fn image_name(image: &str) -> &str {
    let last = image.rsplit('/').next().unwrap_or(image);
    last.split([':', '@']).next().unwrap_or(last)
}

/// A secret's name as part of an environment variable's.
fn variable(name: &str) -> String {
    let letter = |letter: char| {
        if letter.is_ascii_alphanumeric() { letter.to_ascii_uppercase() } else { '_' }
    };
    name.chars().map(letter).collect()
}

fn names(dir: &Path) -> String {
    let files = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let files = files.filter(|entry| entry.path().is_file());
    let mut names: Vec<String> =
        files.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    if names.is_empty() { "(the folder has none)".to_owned() } else { names.join(", ") }
}

/// A port of this machine that nobody listens on.
fn free_address() -> std::io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

impl Driver for Programs {
    fn check(&self, spec: &Spec) -> Result<(), String> {
        self.program(spec)?;
        self.secret_values(spec)?;
        Ok(())
    }

    fn start<'a>(
        &'a self,
        spec: &'a Spec,
        number: u64,
        logs: &'a Logs,
    ) -> BoxFuture<'a, Result<Box<dyn Instance>, String>> {
        async move { Ok(Box::new(self.start(spec, number, logs).await?) as Box<dyn Instance>) }
            .boxed()
    }
}

/// A program that runs and serves HTTP on a port of this machine.
#[derive(Debug)]
struct Process {
    child: Child,
    address: SocketAddr,
    health: Uri,
    client: Client<HttpConnector, Full<Bytes>>,
}

impl Process {
    fn new(child: Child, address: SocketAddr, health_path: &str) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_CONNECTION)
            .build(connector);
        let health = uri(address, health_path).unwrap_or_default();
        Self { child, address, health, client }
    }

    async fn probe(&self) -> Result<(), String> {
        let response = self.client.get(self.health.clone()).await;
        let status = response.map_err(|error| chain(&error))?.status();
        if status.is_server_error() {
            return Err(format!("GET {} answered {status}", self.health.path()));
        }
        Ok(())
    }

    async fn call(&self, request: Request) -> Result<Response, Broken> {
        let (mut head, body) = request.into_parts();
        let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
        head.uri = uri(self.address, path).map_err(|error| Broken(error.to_string()))?;
        head.headers.remove(HOST);
        let request = hyper::Request::from_parts(head, Full::new(body));
        let response = self.client.request(request).await.map_err(|error| Broken(chain(&error)))?;
        let (head, body) = response.into_parts();
        match Limited::new(body, MAX_ANSWER_BYTES).collect().await {
            Ok(body) => Ok(Response::from_parts(head, body.to_bytes())),
            Err(error) if error.is::<LengthLimitError>() => Ok(too_large()),
            Err(error) => Err(Broken(format!("the answer broke off: {error}"))),
        }
    }
}

/// What a caller gets instead of an answer that does not fit in memory; another instance would answer the same.
fn too_large() -> Response {
    let text = format!("the function's answer is larger than {MAX_ANSWER_BYTES} bytes");
    let response = hyper::Response::builder().status(StatusCode::BAD_GATEWAY);
    let response = response.header(CONTENT_TYPE, "text/plain; charset=utf-8");
    response.body(Bytes::from(text)).expect("the parts of the answer are valid")
}

fn uri(address: SocketAddr, path: &str) -> Result<Uri, hyper::http::Error> {
    Uri::builder().scheme("http").authority(address.to_string()).path_and_query(path).build()
}

impl Instance for Process {
    fn call(&self, request: Request) -> BoxFuture<'_, Result<Response, Broken>> {
        self.call(request).boxed()
    }

    fn healthy(&self) -> BoxFuture<'_, Result<(), String>> {
        self.probe().boxed()
    }

    fn ended(&self) -> BoxFuture<'_, String> {
        self.child.ended().boxed()
    }

    fn stop(&self, grace: Grace) -> BoxFuture<'_, ()> {
        async move {
            if grace == Grace::Drain {
                self.child.ask();
                if timeout(STOP_TIMEOUT, self.child.ended()).await.is_ok() {
                    return;
                }
            }
            self.child.kill();
            self.child.ended().await;
        }
        .boxed()
    }

    fn usage(&self) -> Option<Usage> {
        proc::usage(self.child.pid())
    }

    fn pid(&self) -> Option<u32> {
        Some(self.child.pid())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_names_a_program() {
        let images = ["decode", "decode:1.2", "host:5000/team/decode:1", "team/decode@sha256:00"];
        assert_eq!(images.map(image_name), ["decode"; 4]);
    }
}
