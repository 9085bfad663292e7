//! The tiers of a pipeline, running in this process.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use broker::{Broker, BrokerConfig};
use function::counters::Counters;
use function::http::Local;
use function::tier::{Brokers, Composed, compose, topics};
use function::uplink::Uplink;
use function::{Connector, Stop};
use kafka::KafkaError;
use model::SubModel;
use pipeline::{EmbeddedBroker, Pipeline, Servers};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Partitions of a topic that a tier creates. Parallelism does not come from partitions here: a connector has
/// many records of one partition in flight.
const PARTITIONS: u32 = 1;

/// Joining a group takes a few hundred milliseconds; one whose other members are slow takes longer.
const JOIN_TIMEOUT: Duration = Duration::from_secs(5);

/// Connectors under way, one a tier.
#[derive(Debug)]
pub(crate) struct Tiers {
    tasks: JoinSet<anyhow::Result<()>>,
    running: Vec<Running>,
    assigned: Vec<watch::Receiver<bool>>,
}

/// What a running tier tells of itself.
#[derive(Debug, Clone)]
pub(crate) struct Running {
    /// The tier's name.
    pub(crate) tier: String,
    /// Its live counts.
    pub(crate) counters: Arc<Counters>,
    /// Its way up, if the next tier's broker is another one.
    pub(crate) uplink: Option<Uplink>,
}

/// Starts the embedded broker of a pipeline.
pub(crate) async fn start_broker(broker: &EmbeddedBroker) -> anyhow::Result<Broker> {
    let broker = Broker::start(BrokerConfig::new(&broker.dir, broker.listen)).await?;
    tracing::info!(listening = %broker.local_addr(), "embedded broker");
    Ok(broker)
}

/// Whether a topic of one of these tiers is on the embedded broker.
pub(crate) fn use_embedded(pipeline: &Pipeline, selected: &[usize]) -> bool {
    let tiers = selected.iter().map(|&at| &pipeline.tiers[at]);
    let mut topics = tiers.flat_map(|tier| topics(pipeline, tier));
    topics.any(|topic| topic.servers == Servers::Embedded)
}

/// For pipelines whose tiers call no functions of this process.
pub(crate) fn no_functions(name: &str) -> Arc<dyn Local> {
    unreachable!("there is no function `{name}`: a pipeline file names those of its own")
}

impl Tiers {
    /// Creates the topics of the selected tiers and starts their connectors.
    pub(crate) async fn start(
        pipeline: &Pipeline,
        selected: &[usize],
        sub_models: &[SubModel],
        embedded: String,
        local: &dyn Fn(&str) -> Arc<dyn Local>,
        stop: &Stop,
    ) -> anyhow::Result<Self> {
        let mut brokers = Brokers::new(embedded);
        create_topics(pipeline, selected, &brokers).await?;
        let mut this = Self { tasks: JoinSet::new(), running: Vec::new(), assigned: Vec::new() };
        for &at in selected {
            let tier = &pipeline.tiers[at];
            let Composed { connector, uplink } =
                compose(pipeline, tier, sub_models[at].clone(), &mut brokers, local)?;
            tracing::info!(
                tier = tier.name,
                model = sub_models[at].version(),
                input = tier.input.name,
                output = tier.output.name,
                in_flight = tier.in_flight,
                "tier starts"
            );
            this.assigned.push(connector.assigned());
            this.running.push(Running {
                tier: tier.name.clone(),
                counters: connector.counters(),
                uplink: uplink.clone(),
            });
            if let Some(uplink) = uplink {
                this.spawn(&tier.name, uplink.keep(stop.clone()));
            }
            this.spawn_apart(&tier.name, connector, stop.clone())?;
        }
        Ok(this)
    }

    fn spawn(
        &mut self,
        tier: &str,
        task: impl Future<Output = Result<(), KafkaError>> + Send + 'static,
    ) {
        let context = format!("tier `{tier}`");
        self.tasks.spawn(async move { task.await.context(context) });
    }

    /// Runs a connector on a thread of its own. What it waits for comes from threads of others, a few times for
    /// each record, and a runtime of several threads wakes two of them each time.
    fn spawn_apart(&mut self, tier: &str, connector: Connector, stop: Stop) -> anyhow::Result<()> {
        let context = format!("tier `{tier}`");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        self.tasks.spawn_blocking(move || runtime.block_on(connector.run(stop)).context(context));
        Ok(())
    }

    /// Waits until every tier takes records, at most for [`JOIN_TIMEOUT`]: where another process has all the
    /// partitions, a tier stands by.
    pub(crate) async fn ready(&self) {
        let all = async {
            for assigned in &self.assigned {
                // An error means that its connector has ended, which `ended` reports.
                let _ = assigned.clone().wait_for(|assigned| *assigned).await;
            }
        };
        let _ = tokio::time::timeout(JOIN_TIMEOUT, all).await;
    }

    /// What each tier tells of itself, in the order of the selection.
    pub(crate) fn running(&self) -> &[Running] {
        &self.running
    }

    /// Waits until every connector has stopped; ends at the first that fails.
    pub(crate) async fn ended(mut self) -> anyhow::Result<()> {
        while let Some(ended) = self.tasks.join_next().await {
            ended.context("a connector panicked")??;
        }
        Ok(())
    }
}

async fn create_topics(
    pipeline: &Pipeline,
    selected: &[usize],
    brokers: &Brokers,
) -> anyhow::Result<()> {
    let mut by_broker: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for &at in selected {
        for topic in topics(pipeline, &pipeline.tiers[at]) {
            let names = by_broker.entry(brokers.servers(&topic.servers)).or_default();
            if !names.contains(&topic.name.as_str()) {
                names.push(&topic.name);
            }
        }
    }
    for (servers, names) in by_broker {
        kafka::admin::ensure_topics(servers, &names, PARTITIONS).await?;
    }
    Ok(())
}
