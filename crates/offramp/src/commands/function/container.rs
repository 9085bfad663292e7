//! A container with one function: found out where it runs, bound to its port, and served until told to stop.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context as _;
use function::Stop;
use function::http::Function;
use function::http::server::Server;
use function::platform::detect::{Evidence, detect};
use function::platform::{self, Container, Given, Platform, Probes, Start, Variables};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::task::JoinHandle;

use super::kind::{Kind, Started, takes_no_calls};
use crate::metrics::{Metrics, MetricsServer};
use crate::outcome::OrConfig as _;
use crate::signals::stop_on_signal;

/// What all functions have in common: how they are a container.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct Args {
    /// Platform by whose contract to answer: plain, openfaas, fission, openwhisk, knative, nuclio or tinyfaas; default:
    /// the one that this process finds itself on.
    #[arg(long, env = "OFFRAMP_PLATFORM", value_name = "PLATFORM", help_heading = "Container")]
    platform: Option<Platform>,
    /// Address to listen on; default: where the platform expects it; with none, $PORT, or 127.0.0.1:8080.
    #[arg(long, env = "OFFRAMP_LISTEN", value_name = "ADDRESS", help_heading = "Container")]
    pub(super) listen: Option<SocketAddr>,
    /// Serve metrics for Prometheus on this address; default: none, on `openfaas` 0.0.0.0:8081.
    #[arg(long, env = "OFFRAMP_METRICS", value_name = "ADDRESS", help_heading = "Container")]
    metrics: Option<SocketAddr>,
    /// Milliseconds to go on after SIGTERM while probes say that it drains; default: 5000 on `openfaas` (or its
    /// `healthcheck_interval`), `nuclio` and `openwhisk`, else 0.
    #[arg(long, env = "OFFRAMP_DRAIN_MS", value_name = "MS", help_heading = "Container",
          value_parser = clap::value_parser!(u64).range(0..=600_000))]
    drain_ms: Option<u64>,
}

/// Makes the container's function, and keeps what belongs to it.
#[derive(Debug, Clone)]
struct Starter(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    /// The function whose settings were given, until it is started; else variables and the platform say which.
    named: Option<Kind>,
    variables: Variables,
    started: Option<Started>,
    /// Why it did not start.
    error: Option<anyhow::Error>,
}

impl Starter {
    fn kind(&self, given: Given) -> anyhow::Result<Kind> {
        let mut inner = self.0.lock().expect("no holder panics");
        if let Some(kind) = inner.named.take() {
            return Ok(kind);
        }
        let mut variables = inner.variables.clone();
        variables.extend(given.variables);
        platform::resolve(Path::new("/"), &mut variables).or_config()?;
        Kind::of_variables(given.function.as_deref(), &variables).or_config()
    }

    async fn made(&self, given: Given) -> anyhow::Result<Function> {
        let kind = self.kind(given)?;
        let started = kind.start().await?;
        let function = started.function.clone();
        self.0.lock().expect("no holder panics").started = Some(started);
        Ok(function)
    }

    fn started(&self) -> Option<Started> {
        self.0.lock().expect("no holder panics").started.clone()
    }
}

impl Start for Starter {
    fn start(&self, given: Given) -> BoxFuture<'_, Result<Function, String>> {
        async move {
            self.made(given).await.map_err(|error| {
                let words = format!("{error:#}");
                self.0.lock().expect("no holder panics").error = Some(error);
                words
            })
        }
        .boxed()
    }
}

/// Serves a function until told to stop: the one that is given with its settings, or that variables and the platform
/// say.
pub(super) async fn serve(args: &Args, named: Option<Kind>) -> anyhow::Result<()> {
    let stop = stop_on_signal()?;
    let evidence = Evidence::of_this_process();
    let detected = detect(args.platform, &evidence).or_config()?;
    let platform = detected.platform;
    let variables = evidence.variables;
    let is_complete = named.is_some() || !platform.initialises() || Kind::is_complete(&variables);
    let name = match &named {
        Some(kind) => kind.name(),
        None => Kind::named(&variables),
    };
    let is_connector = takes_no_calls(name);
    if is_connector && platform.freezes() {
        let message = format!(
            "a connector can't run on `{platform}`, which freezes containers that nobody calls; expected it elsewhere, or \
             the platform's own feed"
        );
        return Err(anyhow::anyhow!(message)).or_config();
    }
    let drain = match args.drain_ms {
        Some(ms) => Duration::from_millis(ms),
        None => platform.drain(&variables).or_config()?,
    };
    let inner = Inner { named, variables: variables.clone(), started: None, error: None };
    let starter = Starter(Arc::new(Mutex::new(inner)));
    let container = Container::new(platform, Box::new(starter.clone()), &variables).or_config()?;
    let container = Arc::new(container);
    // Nobody calls a connector: it listens where it is told to, or where a platform looks.
    let is_silent = is_connector
        && platform == Platform::Plain
        && args.listen.is_none()
        && !variables.contains_key("PORT");
    // A platform asks at once; elsewhere a port that answers is a function that works.
    let starts_first = is_complete && platform == Platform::Plain;
    if starts_first {
        start(&container, &starter).await?;
    }
    let (mut servers, mut listening_on) = (Vec::new(), None);
    if !is_silent {
        let address = match args.listen {
            Some(address) => address,
            None => platform.address(&variables).or_config()?,
        };
        let server = Server::bind(address).await?;
        let listening = server.address();
        listening_on = Some(listening);
        let evidence = &detected.evidence;
        tracing::info!(%platform, evidence, %listening, drain_ms = drain.as_millis(), "container");
        servers.push(tokio::spawn(server.serve(Arc::clone(&container), stop.clone(), drain)));
        if let Some(address) = platform.probes_address() {
            let probes = Arc::new(Probes(Arc::clone(&container)));
            let server = Server::bind(address).await?;
            servers.push(tokio::spawn(server.serve(probes, stop.clone(), drain)));
        }
    }
    let _metrics = metrics(args, platform, &container).await?;
    if is_complete {
        if !starts_first {
            start(&container, &starter).await?;
        }
        let listening = listening_on.map(tracing::field::display);
        tracing::info!(listening, "{name} ready");
    } else {
        tracing::info!("waiting to be told which function this is");
    }
    // Best effort: whoever looks for it finds out over HTTP too, or has nowhere to write.
    let lock = platform.lock_file().filter(|file| std::fs::write(file, "").is_ok());
    let ended = until_stopped(&starter, stop, servers).await;
    if let Some(file) = lock {
        let _ = std::fs::remove_file(file);
    }
    ended
}

async fn start(container: &Container, starter: &Starter) -> anyhow::Result<()> {
    let Err(words) = container.start(Given::default()).await else { return Ok(()) };
    let error = starter.0.lock().expect("no holder panics").error.take();
    Err(error.unwrap_or_else(|| anyhow::anyhow!(words)))
}

async fn metrics(
    args: &Args,
    platform: Platform,
    container: &Arc<Container>,
) -> anyhow::Result<Option<MetricsServer>> {
    let Some(address) = args.metrics.or_else(|| platform.metrics_address()) else {
        return Ok(None);
    };
    let mut metrics = Metrics::default();
    metrics.container(Arc::clone(container));
    match metrics.serve(address).await {
        Ok(server) => Ok(Some(server)),
        Err(error) if args.metrics.is_none() => {
            tracing::warn!("no metrics: {error:#}");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Returns when told to stop and drained, or when the function has ended by itself.
async fn until_stopped(
    starts: &Starter,
    mut stop: Stop,
    servers: Vec<JoinHandle<()>>,
) -> anyhow::Result<()> {
    let by_itself = async {
        match starts.started() {
            Some(running) => running.ended().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        ended = by_itself => anyhow::bail!("{ended}"),
        () = stop.said() => {}
    }
    if let Some(running) = starts.started() {
        running.stop().await;
    }
    for server in servers {
        server.await.context("a server panicked")?;
    }
    Ok(())
}
