//! Topics whose records are calls: a connector for each topic of each function that names some.
//!
//! Built-in functions get a record in the paper's body; others get its value as the body.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use function::connector::{Settings, Target};
use function::http::client::HttpFunction;
use function::{Connector, Funnel, Step, Stop, stop};
use kafka::{Consumer, KafkaError, Producer};
use pipeline::{DEFAULT_IN_FLIGHT, Order, Retry};
use runtime::Functions;
use tokio::task::JoinHandle;

use super::built_in::is_ours;
use tokio::time::sleep;

/// A broker that is away is tried again after this long.
const TRY_AGAIN: Duration = Duration::from_secs(2);

/// The connectors of functions with topics.
#[derive(Debug)]
pub(super) struct Triggers {
    stopper: stop::Stopper,
    task: JoinHandle<()>,
}

/// What one connector takes where.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Trigger {
    function: String,
    topic: String,
    servers: String,
    is_built_in: bool,
    timeout: Duration,
}

/// A connector that runs.
struct Running {
    stopper: stop::Stopper,
    task: JoinHandle<()>,
}

impl Triggers {
    pub(super) fn start(functions: Functions, servers: String) -> Self {
        let (stopper, stop) = stop::channel();
        let task = tokio::spawn(follow(functions, servers, stop));
        Self { stopper, task }
    }

    /// Has all connectors finish what is in flight and leave their groups.
    pub(super) async fn stop(self) {
        self.stopper.stop();
        if let Err(error) = self.task.await {
            tracing::error!("functions' topics: {error}");
        }
    }
}

/// Has the connectors that the functions want, and no others, until told to stop.
async fn follow(functions: Functions, servers: String, mut stop: Stop) {
    let mut changed = functions.changed();
    let mut running: HashMap<Trigger, Running> = HashMap::new();
    loop {
        let wanted = wanted(&functions, &servers);
        let unwanted: Vec<Trigger> =
            running.keys().filter(|trigger| !wanted.contains(*trigger)).cloned().collect();
        for trigger in unwanted {
            if let Some(running) = running.remove(&trigger) {
                running.end().await;
            }
        }
        for trigger in wanted {
            running.entry(trigger).or_insert_with_key(|trigger| {
                let (stopper, stop) = stop::channel();
                let task = tokio::spawn(run(functions.clone(), trigger.clone(), stop));
                Running { stopper, task }
            });
        }
        tokio::select! {
            heard = changed.changed() => if heard.is_err() { break },
            () = stop.said() => break,
        }
    }
    futures_util::future::join_all(running.into_values().map(Running::end)).await;
}

impl Running {
    async fn end(self) {
        self.stopper.stop();
        if let Err(error) = self.task.await {
            tracing::error!("a function's topic: {error}");
        }
    }
}

fn wanted(functions: &Functions, servers: &str) -> BTreeSet<Trigger> {
    let mut wanted = BTreeSet::new();
    for function in functions.all() {
        let spec = &function.spec;
        let own = spec.env.get("OFFRAMP_BOOTSTRAP_SERVERS");
        for topic in &spec.topics {
            wanted.insert(Trigger {
                function: spec.name.clone(),
                topic: topic.clone(),
                servers: own.map_or_else(|| servers.to_owned(), Clone::clone),
                is_built_in: is_ours(spec),
                timeout: spec.timeout,
            });
        }
    }
    wanted
}

/// Runs one connector, whatever becomes of its broker, until told to stop.
async fn run(functions: Functions, trigger: Trigger, mut stop: Stop) {
    let Trigger { function, topic, .. } = &trigger;
    while !stop.is_said() {
        let connector = tokio::select! {
            connector = connect(&functions, &trigger) => connector,
            () = stop.said() => return,
        };
        let ended = match connector {
            Ok(connector) => {
                tracing::info!(function, topic, "a topic's records are calls");
                connector.run(stop.clone()).await
            }
            Err(error) => Err(error),
        };
        if let Err(error) = ended {
            tracing::warn!(function, topic, "no records: {error}");
            tokio::select! { () = sleep(TRY_AGAIN) => {}, () = stop.said() => return }
        }
    }
}

async fn connect(functions: &Functions, trigger: &Trigger) -> Result<Connector, KafkaError> {
    let Trigger { function, topic, servers, .. } = trigger;
    let dead_letter = format!("{topic}-dead-letter");
    kafka::admin::ensure_topics(servers, &[topic, &dead_letter], 1).await?;
    // One group a function: several may take the same topic, and each gets all records.
    let consumer = Consumer::subscribe(servers, &format!("{topic}.{function}"), &[topic])?;
    let local = super::local(functions, function);
    let target = if trigger.is_built_in {
        Target::Url(HttpFunction::local(function, local))
    } else {
        Target::Value(Step::local(function, Arc::clone(&local), trigger.timeout))
    };
    let dead_letters = Funnel::new(Producer::new(servers)?, dead_letter);
    let settings =
        Settings { in_flight: DEFAULT_IN_FLIGHT, order: Order::Key, retry: Retry::default() };
    Ok(Connector::new(consumer, target, dead_letters, settings))
}
