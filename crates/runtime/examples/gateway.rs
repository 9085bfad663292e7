//! A gateway with one built-in function, `echo`, which answers what it is called with: for `cargo xtask faas-cli`, and
//! to try the gateway by hand.
//!
//! `cargo run -p runtime --example gateway -- --dir DIR [--listen ADDRESS] [--auth USER:PASSWORD]` says on standard
//! error where it listens, and ends at SIGINT.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use futures_util::future::{BoxFuture, FutureExt as _};
use runtime::driver::{Broken, Grace};
use runtime::functions::{DeployError, Drivers};
use runtime::gateway::{Auth, Config, GatewayError};
use runtime::logs::Logs;
use runtime::secrets::SecretError;
use runtime::{Driver, Functions, Gateway, Instance, Request, Response, Secrets, Spec};

/// Starts instances that answer what they are called with, and log that they were.
#[derive(Debug)]
struct Echo;

#[derive(Debug)]
struct Echoing {
    name: Arc<str>,
    logs: Logs,
}

/// Functions that this process can't run.
#[derive(Debug)]
struct NoPrograms;

impl Driver for Echo {
    fn check(&self, _: &Spec) -> Result<(), String> {
        Ok(())
    }

    fn start<'a>(
        &'a self,
        spec: &'a Spec,
        number: u64,
        logs: &'a Logs,
    ) -> BoxFuture<'a, Result<Box<dyn Instance>, String>> {
        let name = format!("{}-{number}", spec.name).into();
        let instance = Echoing { name, logs: logs.clone() };
        async { Ok(Box::new(instance) as Box<dyn Instance>) }.boxed()
    }
}

impl Driver for NoPrograms {
    fn check(&self, spec: &Spec) -> Result<(), String> {
        Err(format!("image `{}` is not built in, expected echo", spec.image))
    }

    fn start<'a>(
        &'a self,
        spec: &'a Spec,
        _: u64,
        _: &'a Logs,
    ) -> BoxFuture<'a, Result<Box<dyn Instance>, String>> {
        async { Err(format!("image `{}` is not built in", spec.image)) }.boxed()
    }
}

impl Instance for Echoing {
    fn call(&self, request: Request) -> BoxFuture<'_, Result<Response, Broken>> {
        self.logs.write(&self.name, &format!("{} {}", request.method(), request.uri()));
        async { Ok(Response::new(request.into_body())) }.boxed()
    }

    fn healthy(&self) -> BoxFuture<'_, Result<(), String>> {
        async { Ok(()) }.boxed()
    }

    fn ended(&self) -> BoxFuture<'_, String> {
        std::future::pending().boxed()
    }

    fn stop(&self, _: Grace) -> BoxFuture<'_, ()> {
        async {}.boxed()
    }
}

/// Why the example ends.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error("`{0}` is not understood, expected --dir DIR, --listen ADDRESS, --auth USER:PASSWORD")]
    Argument(String),
    #[error(transparent)]
    Functions(#[from] DeployError),
    #[error(transparent)]
    Secrets(#[from] SecretError),
    #[error(transparent)]
    Gateway(#[from] GatewayError),
}

#[tokio::main]
async fn main() -> Result<(), Failed> {
    let (mut dir, mut listen, mut auth) = (None, "127.0.0.1:0".to_owned(), None);
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        match (name.as_str(), arguments.next()) {
            ("--dir", Some(value)) => dir = Some(PathBuf::from(value)),
            ("--listen", Some(value)) => listen = value,
            ("--auth", Some(value)) => auth = Some(value),
            _ => return Err(Failed::Argument(name)),
        }
    }
    let dir = dir.ok_or_else(|| Failed::Argument(String::new()))?;
    let echo: Arc<dyn Driver> = Arc::new(Echo);
    let drivers = Drivers {
        built_in: BTreeMap::from([("echo".to_owned(), echo)]),
        program: Arc::new(NoPrograms),
    };
    let functions = Functions::open(dir.clone(), drivers)?;
    let secrets = Secrets::open(dir.join("secrets"))?;
    let listen = listen.parse().map_err(|_| Failed::Argument(listen))?;
    let mut config = Config::new(listen, dir);
    config.auth = auth.map(|auth| {
        let (user, password) = auth.split_once(':').unwrap_or((&auth, ""));
        Auth::new(user, password)
    });
    let gateway = Gateway::bind(config, functions.clone(), secrets).await?;
    eprintln!("gateway ready listening={}", gateway.address());
    let stop = async {
        // Without signals it goes on until it is killed.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    gateway.serve(stop).await;
    functions.close().await;
    Ok(())
}
