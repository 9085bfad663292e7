//! A whole tier in one process: connector, inference and funnels, calling each other without HTTP.

use std::collections::HashMap;
use std::sync::Arc;

use kafka::{Consumer, KafkaError, Producer};
use model::{Exit, SubModel};
use pipeline::{Pipeline, Servers, Tier, Topic};
use wire::ExitCriterion;

use crate::connector::{Connector, Target};
use crate::funnel::Funnel;
use crate::inference::{Destination, Inference, Settings};

/// Clients of the brokers that a process talks to: one producer a broker.
#[derive(Debug)]
pub struct Brokers {
    embedded: String,
    producers: HashMap<String, Producer>,
}

impl Brokers {
    /// Knows the address of the embedded broker; unused where no topic is on it.
    pub fn new(embedded: impl Into<String>) -> Self {
        Self { embedded: embedded.into(), producers: HashMap::new() }
    }

    /// `bootstrap.servers` of a topic's broker.
    pub fn servers<'a>(&'a self, servers: &'a Servers) -> &'a str {
        match servers {
            Servers::Embedded => &self.embedded,
            Servers::Bootstrap(servers) => servers,
        }
    }

    /// A funnel into a topic.
    pub fn funnel(&mut self, topic: &Topic) -> Result<Funnel, KafkaError> {
        let servers = self.servers(&topic.servers).to_owned();
        let producer = match self.producers.get(&servers) {
            Some(producer) => producer.clone(),
            None => Producer::new(&servers)?,
        };
        self.producers.insert(servers, producer.clone());
        Ok(Funnel::new(producer, topic.name.clone()))
    }
}

/// The topics of a tier: where records arrive, where answers, features and dead letters go.
pub fn topics<'p>(pipeline: &'p Pipeline, tier: &'p Tier) -> Vec<&'p Topic> {
    let own = [&tier.input, &tier.output, &tier.dead_letter];
    own.into_iter().chain(pipeline.next_of(tier).map(|next| &next.input)).collect()
}

/// The exit of a tier that is not the last: what is configured, else what the artefact carries. An artefact
/// that carries none forwards what is not certain.
pub fn exit_of(
    sub_model: &SubModel,
    criterion: Option<ExitCriterion>,
    threshold: Option<f64>,
) -> Exit {
    let own = sub_model.metadata().exit;
    Exit {
        criterion: criterion.or(own.map(|own| own.criterion)).unwrap_or_default(),
        threshold: threshold.or(own.map(|own| own.threshold)).unwrap_or(1.0),
    }
}

/// Composes a tier. Its instances start to load and its consumer joins the group, named as the input topic.
pub fn compose(
    pipeline: &Pipeline,
    tier: &Tier,
    sub_model: SubModel,
    brokers: &mut Brokers,
) -> Result<Connector, KafkaError> {
    let next = pipeline.next_of(tier);
    let exit = next.map(|_| exit_of(&sub_model, tier.criterion, tier.threshold));
    let settings = Settings {
        tier: tier.name.clone(),
        exit,
        scale: tier.scale,
        max_batch: tier.max_batch,
        encoding: tier.encoding,
        features: tier.features,
    };
    let exit = Destination::Funnel(brokers.funnel(&tier.output)?);
    let forward = match next {
        Some(next) => Some(Destination::Funnel(brokers.funnel(&next.input)?)),
        None => None,
    };
    let dead_letters = brokers.funnel(&tier.dead_letter)?;
    let inference = Inference::new(sub_model, settings, Some(exit), forward);
    let servers = brokers.servers(&tier.input.servers);
    let consumer = Consumer::subscribe(servers, &tier.input.name, &[&tier.input.name])?;
    let target = Target::Inference(Arc::new(inference));
    Ok(Connector::new(consumer, target, dead_letters, tier.in_flight, tier.order, tier.retry))
}
