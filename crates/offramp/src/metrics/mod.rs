//! Prometheus metrics, on an address of their own.
//!
//! | route | answer |
//! |---|---|
//! | `GET /metrics` | all metrics, in the text format of `OpenMetrics` |
//! | anything else | 404 |
//!
//! Nothing is kept here: each scrape asks those who count.

mod container;
mod functions;

use std::convert::Infallible;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use broker::Monitor;
use function::counters::Counts;
use function::platform::Container;
use function::uplink::Status;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::CONTENT_TYPE;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use runtime::Functions;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::{AbortHandle, JoinSet};

use crate::tiers::Running;
use container::ContainerCollector;
use functions::FunctionCollector;

/// What the format calls itself.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// Scrapers at once; further ones wait.
const MAX_CONNECTIONS: usize = 16;
/// A scraper sends its request's head in this time.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// What is to be served.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    registry: Registry,
}

/// Serves until it is dropped.
#[derive(Debug)]
pub(crate) struct MetricsServer {
    address: SocketAddr,
    task: AbortHandle,
}

impl Metrics {
    /// Adds what a broker counts.
    pub(crate) fn broker(&mut self, monitor: Monitor) {
        self.registry.register_collector(Box::new(BrokerCollector { monitor }));
    }

    /// Adds what tiers count.
    pub(crate) fn tiers(&mut self, tiers: &[Running]) {
        self.registry.register_collector(Box::new(TierCollector { tiers: tiers.to_vec() }));
    }

    /// Adds what functions count.
    pub(crate) fn functions(&mut self, functions: Functions) {
        self.registry.register_collector(Box::new(FunctionCollector { functions }));
    }

    /// Adds what a function's container counts.
    pub(crate) fn container(&mut self, container: Arc<Container>) {
        self.registry.register_collector(Box::new(ContainerCollector { container }));
    }

    /// Listens on an address.
    pub(crate) async fn serve(self, address: SocketAddr) -> anyhow::Result<MetricsServer> {
        let listener = TcpListener::bind(address)
            .await
            .with_context(|| format!("cannot listen on {address} for metrics"))?;
        let address = listener.local_addr()?;
        let task = tokio::spawn(accept(listener, Arc::new(self.registry))).abort_handle();
        tracing::info!(url = format!("http://{address}/metrics"), "metrics");
        Ok(MetricsServer { address, task })
    }
}

impl Drop for MetricsServer {
    fn drop(&mut self) {
        tracing::debug!(address = %self.address, "no more metrics");
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, registry: Arc<Registry>) {
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let permit = Arc::clone(&room).acquire_owned().await.expect("never closed");
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        while connections.try_join_next().is_some() {}
        let registry = Arc::clone(&registry);
        connections.spawn(async move {
            let answer =
                |request| std::future::ready(Ok::<_, Infallible>(answer(&registry, &request)));
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_TIMEOUT)
                .serve_connection(TokioIo::new(stream), service_fn(answer));
            if let Err(error) = connection.await {
                tracing::debug!("a scrape ended: {error}");
            }
            drop(permit);
        });
    }
}

fn answer(registry: &Registry, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let (status, kind, text) = match (request.method(), request.uri().path()) {
        (&Method::GET, "/metrics") => {
            let mut text = String::new();
            match prometheus_client::encoding::text::encode(&mut text, registry) {
                Ok(()) => (StatusCode::OK, OPEN_METRICS, text),
                Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, "text/plain", error.to_string()),
            }
        }
        _ => (StatusCode::NOT_FOUND, "text/plain", "metrics are at /metrics\n".to_owned()),
    };
    let response = Response::builder().status(status).header(CONTENT_TYPE, kind);
    response.body(Full::from(text)).expect("the parts of the answer are valid")
}

/// Writes one metric.
pub(crate) fn encode(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    kind: MetricType,
    values: impl IntoIterator<Item = (impl EncodeLabelSet, f64)>,
) -> fmt::Result {
    let mut metric = encoder.encode_descriptor(name, help, None, kind)?;
    for (labels, value) in values {
        let metric = metric.encode_family(&labels)?;
        match kind {
            MetricType::Counter => ConstCounter::new(value).encode(metric)?,
            _ => ConstGauge::new(value).encode(metric)?,
        }
    }
    Ok(())
}

#[derive(Debug)]
struct BrokerCollector {
    monitor: Monitor,
}

const NO_LABELS: [(&str, &str); 0] = [];

impl Collector for BrokerCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let (Some(stats), Some(partitions)) = (self.monitor.stats(), self.monitor.partitions())
        else {
            return Ok(());
        };
        let mut one = |name: &str, help: &str, kind, value: f64| {
            let name = format!("offramp_broker_{name}");
            encode(&mut encoder, &name, help, kind, [(NO_LABELS, value)])
        };
        let (gauge, counter) = (MetricType::Gauge, MetricType::Counter);
        one("connections", "Open connections", gauge, stats.connections as f64)?;
        one("connections_opened", "Accepted connections", counter, stats.connections_total as f64)?;
        one(
            "connections_refused",
            "Connections closed because there were too many",
            counter,
            stats.connections_refused_total as f64,
        )?;
        one("requests", "Requests of any kind", counter, stats.requests_total as f64)?;
        one(
            "request_bytes",
            "Requests and responses in memory",
            gauge,
            stats.request_bytes as f64,
        )?;
        one("topics", "Topics", gauge, stats.topics as f64)?;
        one("groups", "Consumer groups with members", gauge, stats.groups as f64)?;
        one("log_bytes", "Bytes of all logs", gauge, stats.log_bytes as f64)?;
        one("records_in", "Records appended", counter, stats.records_in_total as f64)?;
        one("bytes_in", "Bytes of appended batches", counter, stats.bytes_in_total as f64)?;
        one("bytes_out", "Bytes of fetched batches", counter, stats.bytes_out_total as f64)?;
        one("batches_refused", "Refused batches", counter, stats.batches_refused_total as f64)?;
        one("syncs", "Times that a log was made durable", counter, stats.syncs_total as f64)?;
        one("syncs_failed", "Times that it failed", counter, stats.syncs_failed_total as f64)?;
        one(
            "sync_seconds",
            "Time that making logs durable took",
            counter,
            stats.sync_microseconds_total as f64 / 1e6,
        )?;
        let mut each = |name: &str, help: &str, value: fn(&broker::PartitionStats) -> f64| {
            let name = format!("offramp_broker_partition_{name}");
            let labelled = partitions.iter().map(|stats| {
                let labels =
                    [("topic", stats.topic.clone()), ("partition", stats.partition.to_string())];
                (labels, value(stats))
            });
            encode(&mut encoder, &name, help, MetricType::Gauge, labelled)
        };
        each("start_offset", "First offset that is there", |stats| stats.start_offset as f64)?;
        each("end_offset", "Offset that the next record gets", |stats| stats.end_offset as f64)?;
        each("bytes", "Bytes of the log", |stats| stats.bytes as f64)?;
        each("writable", "0 after an error on the disk, until the log is open again", |stats| {
            f64::from(u8::from(stats.is_writable))
        })
    }
}

#[derive(Debug)]
struct TierCollector {
    tiers: Vec<Running>,
}

impl Collector for TierCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let counts: Vec<_> =
            self.tiers.iter().map(|running| (&running.tier, running.counters.counts())).collect();
        let fates = counts.iter().flat_map(|(tier, counts)| {
            let fates = [
                ("answered", counts.answered),
                ("forwarded", counts.forwarded),
                ("split", counts.split),
                ("dead-lettered", counts.dead_lettered),
            ];
            let labelled =
                |(fate, count)| ([("tier", tier.as_str()), ("fate", fate)], count as f64);
            fates.map(labelled)
        });
        let (gauge, counter) = (MetricType::Gauge, MetricType::Counter);
        let name = "offramp_tier_records";
        encode(&mut encoder, name, "Records that met their fate", counter, fates)?;
        let mut each = |name: &str, help: &str, kind, value: fn(&Counts) -> u64| {
            let name = format!("offramp_tier_{name}");
            let labelled = counts
                .iter()
                .map(|(tier, counts)| ([("tier", tier.as_str())], value(counts) as f64));
            encode(&mut encoder, &name, help, kind, labelled)
        };
        each("consumed", "Records taken from the log", counter, |counts| counts.consumed)?;
        each("retried", "Calls that were made again", counter, |counts| counts.retried)?;
        each("in_flight", "Records under way", gauge, Counts::in_flight)?;
        let uplinks: Vec<_> = self
            .tiers
            .iter()
            .filter_map(|running| Some((&running.tier, running.uplink.as_ref()?.status())))
            .collect();
        let mut each = |name: &str, help: &str, kind, value: fn(&Status) -> u64| {
            let name = format!("offramp_uplink_{name}");
            let labelled = uplinks
                .iter()
                .map(|(tier, status)| ([("tier", tier.as_str())], value(status) as f64));
            encode(&mut encoder, &name, help, kind, labelled)
        };
        each("up", "1 while records go straight to the next tier", gauge, |s| s.is_up.into())?;
        each("waiting", "Records that wait for the next tier", gauge, |s| s.waiting_records)?;
        each("waiting_bytes", "What they take, about", gauge, |s| s.waiting_bytes)?;
        each("waiting_bytes_max", "What they may take", gauge, |s| s.max_bytes)?;
        each("held", "Records that had to wait", counter, |s| s.held)?;
        each("taken_up", "Records that no longer had to", counter, |s| s.taken_up)?;
        each("dropped", "Records dropped from the full buffer", counter, |s| s.dropped)?;
        each("answered_here", "Records answered instead", counter, |s| s.answered_here)
    }
}
