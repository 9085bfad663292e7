//! The tiers of a pipeline, running in this process.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use broker::{Broker, BrokerConfig};
use function::counters::Counters;
use function::tier::{Brokers, compose, topics};
use function::{Connector, Stop};
use model::SubModel;
use pipeline::{EmbeddedBroker, Pipeline};
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
    counters: Vec<Arc<Counters>>,
    assigned: Vec<watch::Receiver<bool>>,
}

/// Starts the embedded broker of a pipeline.
pub(crate) async fn start_broker(broker: &EmbeddedBroker) -> anyhow::Result<Broker> {
    let broker = Broker::start(BrokerConfig::new(&broker.dir, broker.listen)).await?;
    tracing::info!(listening = %broker.local_addr(), "embedded broker");
    Ok(broker)
}

impl Tiers {
    /// Creates the topics of the selected tiers and starts their connectors.
    pub(crate) async fn start(
        pipeline: &Pipeline,
        selected: &[usize],
        sub_models: &[SubModel],
        embedded: String,
        stop: &Stop,
    ) -> anyhow::Result<Self> {
        let mut brokers = Brokers::new(embedded);
        create_topics(pipeline, selected, &brokers).await?;
        let mut connectors: Vec<(String, Connector)> = Vec::new();
        for &at in selected {
            let tier = &pipeline.tiers[at];
            let connector = compose(pipeline, tier, sub_models[at].clone(), &mut brokers)?;
            tracing::info!(
                tier = tier.name,
                model = sub_models[at].version(),
                input = tier.input.name,
                output = tier.output.name,
                in_flight = tier.in_flight,
                "tier starts"
            );
            connectors.push((tier.name.clone(), connector));
        }
        let counters = connectors.iter().map(|(_, connector)| connector.counters()).collect();
        let assigned = connectors.iter().map(|(_, connector)| connector.assigned()).collect();
        let mut tasks = JoinSet::new();
        for (name, connector) in connectors {
            let stop = stop.clone();
            tasks.spawn(async move {
                connector.run(stop).await.with_context(|| format!("tier `{name}`"))
            });
        }
        Ok(Self { tasks, counters, assigned })
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

    /// The live counts of each tier, in the order of the selection.
    pub(crate) fn counters(&self) -> &[Arc<Counters>] {
        &self.counters
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
