//! A whole tier in one process: connector, inference and funnels, calling each other without HTTP.

use std::collections::HashMap;
use std::sync::Arc;

use kafka::{Consumer, KafkaError, Producer};
use model::{Exit, SubModel};
use pipeline::{OnLoss, Pipeline, Servers, Tier, Topic};
use wire::ExitCriterion;

use crate::connector::{self, Connector, Target};
use crate::funnel::Funnel;
use crate::inference::{Destination, Inference, Settings};
use crate::uplink::{Ends, Uplink};

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
        Ok(Funnel::new(self.producer(&topic.servers)?, topic.name.clone()))
    }

    fn producer(&mut self, servers: &Servers) -> Result<Producer, KafkaError> {
        let servers = self.servers(servers).to_owned();
        let producer = match self.producers.get(&servers) {
            Some(producer) => producer.clone(),
            None => Producer::new(&servers)?,
        };
        self.producers.insert(servers, producer.clone());
        Ok(producer)
    }
}

/// The topics that a tier can't do without: where records arrive, where answers, features and dead letters go.
/// A next tier's topic on another broker is not among them: that broker may be away.
pub fn topics<'p>(pipeline: &'p Pipeline, tier: &'p Tier) -> Vec<&'p Topic> {
    let own = [&tier.input, &tier.output, &tier.dead_letter];
    let next = pipeline.next_of(tier).filter(|_| tier.uplink.is_none());
    own.into_iter().chain(next.map(|next| &next.input)).collect()
}

/// A tier in this process.
#[derive(Debug)]
pub struct Composed {
    /// Takes its records through it.
    pub connector: Connector,
    /// Where its features go, if the next tier's broker is not its own. To be kept while the connector runs.
    pub uplink: Option<Uplink>,
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
) -> Result<Composed, KafkaError> {
    let next = pipeline.next_of(tier);
    let exit = next.map(|_| exit_of(&sub_model, tier.criterion, tier.threshold));
    let settings = Settings {
        tier: tier.name.clone(),
        exit,
        scale: tier.scale,
        max_batch: tier.max_batch,
        encoding: tier.encoding,
        features: tier.features,
        answer_here: tier.uplink.as_ref().is_some_and(|up| up.on_loss == OnLoss::AnswerHere),
    };
    let exit = Destination::Funnel(brokers.funnel(&tier.output)?);
    let dead_letters = brokers.funnel(&tier.dead_letter)?;
    let uplink = match (next, &tier.uplink) {
        (Some(next), Some(settings)) => {
            let ends = Ends {
                servers: brokers.servers(&next.input.servers).to_owned(),
                topic: next.input.name.clone(),
                own_servers: brokers.servers(&tier.input.servers).to_owned(),
                own: brokers.producer(&tier.input.servers)?,
            };
            Some(Uplink::new(ends, settings.clone(), dead_letters.clone(), tier.retry))
        }
        _ => None,
    };
    let forward = match (next, &uplink) {
        (_, Some(uplink)) => Some(Destination::Uplink(uplink.clone())),
        (Some(next), None) => Some(Destination::Funnel(brokers.funnel(&next.input)?)),
        (None, None) => None,
    };
    let inference = Inference::new(sub_model, settings, Some(exit), forward);
    let servers = brokers.servers(&tier.input.servers);
    let input = &tier.input.name;
    let consumer = Consumer::lingering(servers, input, &[input], tier.linger)?;
    let target = Target::Inference(Arc::new(inference));
    let settings =
        connector::Settings { in_flight: tier.in_flight, order: tier.order, retry: tier.retry };
    let connector = Connector::new(consumer, target, dead_letters, settings);
    Ok(Composed { connector, uplink })
}
