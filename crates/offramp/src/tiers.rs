//! The tiers of a pipeline, running in this process.

use std::collections::BTreeMap;
use std::iter;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use broker::{Broker, BrokerConfig};
use function::Stop;
use function::counters::Counters;
use function::http::Local;
use function::inference::Replaceable;
use function::tier::{Brokers, Composed, compose, topics};
use function::uplink::Uplink;
use kafka::KafkaError;
use model::SubModel;
use pipeline::{EmbeddedBroker, Pipeline, Servers, Tier};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::thread::Thread;

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
    brokers: Brokers,
    /// As they run.
    pipeline: Pipeline,
    selected: Vec<usize>,
    /// Of tiers that share none with the broker.
    _threads: Vec<Thread>,
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
    /// What its records are taken through.
    pub(crate) inference: Arc<Replaceable>,
    /// The topic that it reads, with the group of the same name, and the broker of that.
    pub(crate) input: (String, String),
}

/// Starts the embedded broker of a pipeline, on a thread that it may share with a tier.
pub(crate) async fn start_broker(
    broker: &EmbeddedBroker,
    thread: &Thread,
) -> anyhow::Result<Broker> {
    let start = Broker::start(BrokerConfig::new(&broker.dir, broker.listen));
    let broker = thread.runtime().spawn(start).await.context("the broker panicked")??;
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
    /// Creates the topics of the selected tiers and starts their connectors: the first on `thread`, which may be the
    /// embedded broker's, and each other on one of its own.
    pub(crate) async fn start(
        pipeline: &Pipeline,
        selected: &[usize],
        sub_models: &[SubModel],
        embedded: String,
        local: &dyn Fn(&str) -> Arc<dyn Local>,
        stop: &Stop,
        thread: &Thread,
    ) -> anyhow::Result<Self> {
        let brokers = Brokers::new(embedded);
        create_topics(pipeline, selected, &brokers).await?;
        let threads = selected.iter().skip(1).map(|_| Thread::start());
        let threads: Vec<_> = threads.collect::<Result<_, _>>().context("a thread for a tier")?;
        let runtimes = iter::once(thread).chain(&threads).map(Thread::runtime);
        let runtimes: Vec<_> = runtimes.cloned().collect();
        let mut this = Self {
            tasks: JoinSet::new(),
            running: Vec::new(),
            assigned: Vec::new(),
            brokers,
            pipeline: pipeline.clone(),
            selected: selected.to_vec(),
            _threads: threads,
        };
        for (&at, runtime) in selected.iter().zip(&runtimes) {
            // A tier's clients are tasks of the thread that they are made on.
            let _entered = runtime.enter();
            let tier = &pipeline.tiers[at];
            let Composed { connector, inference, uplink } =
                compose(pipeline, tier, sub_models[at].clone(), &mut this.brokers, local)?;
            tracing::info!(
                tier = tier.name,
                model = sub_models[at].version(),
                engine = tier.engine.name(),
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
                inference,
                input: (
                    this.brokers.servers(&tier.input.servers).to_owned(),
                    tier.input.name.clone(),
                ),
            });
            if let Some(uplink) = uplink {
                this.spawn(&tier.name, uplink.keep(stop.clone()));
            }
            this.spawn(&tier.name, connector.run(stop.clone()));
        }
        Ok(this)
    }

    /// Has a task of a tier run on the thread that this is called on.
    fn spawn(
        &mut self,
        tier: &str,
        task: impl Future<Output = Result<(), KafkaError>> + Send + 'static,
    ) {
        let context = format!("tier `{tier}`");
        self.tasks.spawn(async move { task.await.context(context) });
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

    /// Waits until every connector has stopped; ends at the first that fails. May be called again when it was dropped.
    pub(crate) async fn ended(&mut self) -> anyhow::Result<()> {
        while let Some(ended) = self.tasks.join_next().await {
            ended.context("a connector panicked")??;
        }
        Ok(())
    }

    /// Takes what may change while records go through from a pipeline that was read again: each tier's sub-model,
    /// exit, instances, encodings and steps. New instances run before they take the place of the old ones, which
    /// finish what they have. Returns a line for each tier on what became of it.
    ///
    /// # Errors
    ///
    /// The tiers are other ones.
    pub(crate) async fn reload(
        &mut self,
        pipeline: &Pipeline,
        sub_models: &[SubModel],
        local: &dyn Fn(&str) -> Arc<dyn Local>,
    ) -> anyhow::Result<Vec<String>> {
        let names = |pipeline: &Pipeline| -> Vec<String> {
            pipeline.tiers.iter().map(|tier| tier.name.clone()).collect()
        };
        let (old, new) = (names(&self.pipeline), names(pipeline));
        if old != new {
            bail!(
                "the tiers are {}, and were {}: that takes a restart",
                new.join(", "),
                old.join(", ")
            );
        }
        let mut lines = Vec::new();
        for (running, &at) in self.running.iter().zip(&self.selected) {
            let (tier, old) = (&pipeline.tiers[at], &self.pipeline.tiers[at]);
            let sub_model = &sub_models[at];
            let name = &tier.name;
            let merged = with_what_may_change_of(tier, old);
            let rest = if merged == *tier {
                ""
            } else {
                "; what else has changed in its table takes a restart"
            };
            let running_version = running.inference.current().sub_model().version().to_owned();
            if merged == *old && running_version == sub_model.version() {
                lines.push(format!("tier `{name}`: as it was{rest}"));
                continue;
            }
            let inference = function::tier::inference(
                pipeline,
                tier,
                sub_model.clone(),
                &mut self.brokers,
                local,
                running.uplink.as_ref(),
            )?;
            let version = sub_model.version();
            running.inference.replace(inference).await.map_err(|failure| {
                anyhow!("tier `{name}` stays as it was, its new instance does not run: {failure}")
            })?;
            tracing::info!(tier = name, model = version, "tier reloaded");
            lines.push(format!("tier `{name}`: runs {version}{rest}"));
            self.pipeline.tiers[at] = merged;
        }
        Ok(lines)
    }
}

/// A tier as it was, with what may change while records go through it as it is in the file.
fn with_what_may_change_of(file: &Tier, was: &Tier) -> Tier {
    Tier {
        model: file.model.clone(),
        engine: file.engine,
        exit: file.exit.clone(),
        encoding: file.encoding,
        shape: file.shape.clone(),
        features: file.features,
        max_batch: file.max_batch,
        scale: file.scale,
        before: file.before.clone(),
        after: file.after.clone(),
        ..was.clone()
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
