//! A whole tier in one process: connector, inference and funnels, calling each other without HTTP.

use std::collections::HashMap;
use std::sync::Arc;

use kafka::{Consumer, KafkaError, Producer};
use model::{Exit, SubModel};
use pipeline::functions::{self, Callee};
use pipeline::{ExitSettings, OnLoss, Pipeline, Servers, Tier, Topic};
use wire::ExitCriterion;

use crate::connector::{self, Connector, Target};
use crate::funnel::Funnel;
use crate::http::{BadUrl, Local};
use crate::inference::{Destination, Dialect, Inference, Replaceable, Settings};
use crate::steps::Step;
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
    /// What its records are taken through, which may be replaced.
    pub inference: Arc<Replaceable>,
    /// Where its features go, if the next tier's broker is not its own. To be kept while the connector runs.
    pub uplink: Option<Uplink>,
}

/// Settings that do not fit the artefact whose exit they are to replace.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[expect(missing_docs, reason = "each variant's message is its documentation")]
pub enum ExitMisfit {
    #[error(
        "`criterion` is {found}, but the sub-model's threshold {threshold} is for {own}: expected a `threshold` too"
    )]
    Threshold { found: ExitCriterion, own: ExitCriterion, threshold: String },

    #[error("`class_thresholds` names `{label}`, expected labels of the sub-model: {known}")]
    Label { label: String, known: String },
}

/// The exit of a tier that is not the last, and its sub-model with the temperature for it: what is configured, else
/// what the artefact carries. An artefact that carries none forwards what is not certain.
///
/// # Errors
///
/// The settings name a label that the sub-model does not have, or a criterion that its thresholds are not for.
pub fn exit_of(
    sub_model: &SubModel,
    settings: &ExitSettings,
) -> Result<(SubModel, Exit), ExitMisfit> {
    let own = sub_model.metadata().exit.as_ref();
    let mut exit = own.cloned().unwrap_or_else(|| Exit::new(ExitCriterion::default(), 1.0));
    if let Some(criterion) = settings.criterion
        && criterion != exit.criterion
    {
        if own.is_some() && settings.threshold.is_none() {
            let (own, threshold) = (exit.criterion, exit.shown_threshold().into_owned());
            return Err(ExitMisfit::Threshold { found: criterion, own, threshold });
        }
        exit = Exit::new(criterion, 1.0);
    }
    if let Some(threshold) = settings.threshold {
        exit = Exit::new(exit.criterion, threshold);
    }
    let labels = &sub_model.metadata().labels;
    for (label, &threshold) in &settings.class_thresholds {
        let Some(class) = labels.iter().position(|known| known == label) else {
            let (label, known) = (label.clone(), labels.join(", "));
            return Err(ExitMisfit::Label { label, known });
        };
        exit.class_thresholds.resize(labels.len(), exit.threshold);
        exit.class_thresholds[class] = threshold;
    }
    let temperature = settings.temperature.unwrap_or(sub_model.temperature());
    Ok((sub_model.with_temperature(temperature), exit))
}

/// Why a tier could not be composed.
#[derive(Debug, thiserror::Error)]
pub enum ComposeError {
    /// Its exit is configured as its sub-model has none.
    #[error(transparent)]
    Exit(#[from] ExitMisfit),
    /// A broker's client could not be made.
    #[error(transparent)]
    Kafka(#[from] KafkaError),
    /// A function before or after the inference can't be called.
    #[error(transparent)]
    Url(#[from] BadUrl),
}

/// Composes a tier. Its instances start to load and its consumer joins the group, named as the input topic. `local`
/// gives the functions of this process by their names.
pub fn compose(
    pipeline: &Pipeline,
    tier: &Tier,
    sub_model: SubModel,
    brokers: &mut Brokers,
    local: &dyn Fn(&str) -> Arc<dyn Local>,
) -> Result<Composed, ComposeError> {
    let next = pipeline.next_of(tier);
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
    let inference = inference(pipeline, tier, sub_model, brokers, local, uplink.as_ref())?;
    let inference = Arc::new(Replaceable::new(inference));
    let servers = brokers.servers(&tier.input.servers);
    let input = &tier.input.name;
    let consumer = Consumer::lingering(servers, input, &[input], tier.linger)?;
    let target = Target::Inference(Arc::clone(&inference));
    let settings =
        connector::Settings { in_flight: tier.in_flight, order: tier.order, retry: tier.retry };
    let connector = Connector::new(consumer, target, dead_letters, settings);
    Ok(Composed { connector, inference, uplink })
}

/// The inference function of a tier: of one that is composed, or to replace it. Its instances start to load.
pub fn inference(
    pipeline: &Pipeline,
    tier: &Tier,
    sub_model: SubModel,
    brokers: &mut Brokers,
    local: &dyn Fn(&str) -> Arc<dyn Local>,
    uplink: Option<&Uplink>,
) -> Result<Inference, ComposeError> {
    let steps = |steps: &[functions::Step]| {
        let step = |step: &functions::Step| match &step.callee {
            Callee::Function(name) => Ok(Step::local(name, local(name), step.timeout)),
            Callee::Url(url) => Step::at(url, step.timeout),
        };
        steps.iter().map(step).collect::<Result<Vec<Step>, _>>()
    };
    let (before, after) = (steps(&tier.before)?, steps(&tier.after)?);
    let next = pipeline.next_of(tier);
    let (sub_model, exit) = match next {
        Some(_) => exit_of(&sub_model, &tier.exit).map(|(model, exit)| (model, Some(exit)))?,
        None => (sub_model, None),
    };
    let settings = Settings {
        tier: tier.name.clone(),
        exit,
        scale: tier.scale,
        max_batch: tier.max_batch,
        encoding: tier.encoding,
        features: tier.features,
        answer_here: tier.uplink.as_ref().is_some_and(|up| up.on_loss == OnLoss::AnswerHere),
        dialect: Dialect::Offramp,
    };
    let exit = Destination::Funnel(brokers.funnel(&tier.output)?);
    let forward = match (next, uplink) {
        (_, Some(uplink)) => Some(Destination::Uplink(uplink.clone())),
        (Some(next), None) => Some(Destination::Funnel(brokers.funnel(&next.input)?)),
        (None, None) => None,
    };
    Ok(Inference::new(sub_model, settings, Some(exit), forward).with_steps(before, after))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use model::{Artefact, Dense, Metadata, TierLayers};

    use super::*;

    fn sub_model(exit: Option<Exit>) -> SubModel {
        let identity = || Dense { kernel: vec![1.0, 0.0, 0.0, 1.0], bias: vec![0.0; 2] };
        let tier = TierLayers::of_dense(vec![identity()], identity(), true);
        let labels = vec!["no".to_owned(), "yes".to_owned()];
        let metadata = Metadata {
            input_shape: vec![2],
            labels,
            exit,
            temperature: 2.0,
            ..Metadata::default()
        };
        Artefact::from_layers(&tier, &metadata).unwrap().sub_model().clone()
    }

    fn by_class() -> Exit {
        Exit { class_thresholds: vec![0.25, 0.5], ..Exit::new(ExitCriterion::Margin, 0.375) }
    }

    #[test]
    fn without_settings_the_artefact_decides() {
        let (model, exit) =
            exit_of(&sub_model(Some(by_class())), &ExitSettings::default()).unwrap();
        assert_eq!((exit, model.temperature()), (by_class(), 2.0));
        let (_, exit) = exit_of(&sub_model(None), &ExitSettings::default()).unwrap();
        assert_eq!(exit, Exit::new(ExitCriterion::MaxSoftmax, 1.0));
    }

    #[test]
    fn each_setting_replaces_what_it_names() {
        let own = sub_model(Some(by_class()));
        let exit = |settings: &ExitSettings| exit_of(&own, settings).unwrap();
        let threshold = ExitSettings::threshold(0.75);
        assert_eq!(exit(&threshold).1, Exit::new(ExitCriterion::Margin, 0.75));
        let class = BTreeMap::from([("yes".to_owned(), 0.875)]);
        let classes = ExitSettings { class_thresholds: class.clone(), ..ExitSettings::default() };
        assert_eq!(exit(&classes).1.class_thresholds, [0.25, 0.875]);
        let both = ExitSettings { class_thresholds: class, ..threshold.clone() };
        assert_eq!(exit(&both).1.class_thresholds, [0.75, 0.875]);
        let temperature = ExitSettings { temperature: Some(0.5), ..ExitSettings::default() };
        assert!((exit(&temperature).0.temperature() - 0.5).abs() < f32::EPSILON);
        let criterion = Some(ExitCriterion::Entropy);
        let entropy = ExitSettings { criterion, ..threshold };
        assert_eq!(exit(&entropy).1, Exit::new(ExitCriterion::Entropy, 0.75));
    }

    #[test]
    fn settings_that_do_not_fit_the_artefact_are_explained() {
        let own = sub_model(Some(by_class()));
        let error = |settings: &ExitSettings| exit_of(&own, settings).unwrap_err().to_string();
        let criterion = Some(ExitCriterion::MaxSoftmax);
        assert_eq!(
            error(&ExitSettings { criterion, ..ExitSettings::default() }),
            "`criterion` is max-softmax, but the sub-model's threshold 0.2500 to 0.5000 by class is for \
             margin: expected a `threshold` too"
        );
        let class_thresholds = BTreeMap::from([("maybe".to_owned(), 0.5)]);
        assert_eq!(
            error(&ExitSettings { class_thresholds, ..ExitSettings::default() }),
            "`class_thresholds` names `maybe`, expected labels of the sub-model: no, yes"
        );
    }
}
