//! The functions of a tier on a platform of functions, and their settings as environment variables.
//!
//! What the program has as its default is left out, so that what stands there is what was chosen.

use std::collections::BTreeMap;

use pipeline::deploy::Funnels;
use pipeline::{DEFAULT_IN_FLIGHT, DEFAULT_LINGER, DEFAULT_MAX_BATCH, OnLoss, Order, Retry, Topic};
use wire::Encoding;

use super::{Place, Plan};

/// What a function does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Connector,
    Inference,
    /// A funnel for answers, or for features.
    Funnel,
}

/// A function to deploy.
#[derive(Debug, Clone)]
pub(crate) struct Function {
    pub(crate) name: String,
    pub(crate) role: Role,
    /// Its settings, but for those of the platform.
    pub(crate) env: BTreeMap<String, String>,
}

impl Plan<'_> {
    /// The functions of a tier: connector, unless the platform's own trigger takes its place, inference, and funnels
    /// where they are to be functions. `url` is where a function of a name is called.
    pub(crate) fn functions(
        &self,
        place: &Place<'_>,
        url: impl Fn(&str) -> String,
    ) -> Vec<Function> {
        let mut functions = Vec::new();
        if !self.has_platform_trigger() {
            functions.push(self.connector(place, &url(&place.name)));
        }
        functions.push(self.inference(place, &url));
        let funnels = Self::funnels(place).filter(|&(_, topic)| self.is_function(place, topic));
        functions.extend(funnels.map(|(name, topic)| self.funnel(name, topic)));
        functions
    }

    /// Whether a funnel into this topic is a function of its own. One in whose place the tier is to answer while its
    /// broker is away always is: it says so, where a producer would wait.
    fn is_function(&self, place: &Place<'_>, topic: &Topic) -> bool {
        let is_up = place.next.is_some_and(|next| next.input == *topic);
        let uplink = place.tier.uplink.as_ref();
        self.pipeline.deploy.funnels == Funnels::Functions
            || is_up && uplink.is_some_and(|uplink| uplink.on_loss == OnLoss::AnswerHere)
    }

    fn funnels<'a>(place: &'a Place<'_>) -> impl Iterator<Item = (String, &'a Topic)> {
        let exit = (format!("{}-exit", place.name), &place.tier.output);
        let forward = place.next.map(|next| (format!("{}-forward", place.name), &next.input));
        std::iter::once(exit).chain(forward)
    }

    fn funnel(&self, name: String, topic: &Topic) -> Function {
        let env = variables([
            ("FUNCTION", "funnel".to_owned()),
            ("BOOTSTRAP_SERVERS", self.servers(&topic.servers)),
            ("TOPIC", topic.name.clone()),
        ]);
        Function { name, role: Role::Funnel, env }
    }

    /// The function that takes the records of a tier's input topic to `url`.
    pub(crate) fn connector(&self, place: &Place<'_>, url: &str) -> Function {
        let tier = place.tier;
        let mut env = variables([
            ("FUNCTION", "connector".to_owned()),
            ("BOOTSTRAP_SERVERS", self.servers(&tier.input.servers)),
            ("TOPIC", tier.input.name.clone()),
            ("GROUP", tier.input.name.clone()),
            ("URL", url.to_owned()),
            ("DEAD_LETTER_TOPIC", tier.dead_letter.name.clone()),
        ]);
        let default = Retry::default();
        let Retry { attempts, backoff_min, backoff_max } = tier.retry;
        let millis = |time: std::time::Duration| time.as_millis().to_string();
        chosen(&mut env, "IN_FLIGHT", tier.in_flight, DEFAULT_IN_FLIGHT, |it| it.to_string());
        chosen(&mut env, "LINGER_MS", tier.linger, DEFAULT_LINGER, millis);
        chosen(&mut env, "ORDER", tier.order, Order::default(), |it| it.name().to_owned());
        chosen(&mut env, "ATTEMPTS", attempts, default.attempts, |it| it.to_string());
        chosen(&mut env, "BACKOFF_MS_MIN", backoff_min, default.backoff_min, millis);
        chosen(&mut env, "BACKOFF_MS_MAX", backoff_max, default.backoff_max, millis);
        Function { name: format!("{}-connector", place.name), role: Role::Connector, env }
    }

    fn inference(&self, place: &Place<'_>, url: &impl Fn(&str) -> String) -> Function {
        let tier = place.tier;
        let mut env = variables([
            ("FUNCTION", "inference".to_owned()),
            ("MODEL", place.model()),
            ("TIER", tier.name.clone()),
        ]);
        let destinations = Self::funnels(place).map(|(name, topic)| {
            if self.is_function(place, topic) { url(&name) } else { self.kafka_url(topic) }
        });
        let keys = ["EXIT_URL", "FORWARD_URL"];
        env.extend(keys.into_iter().zip(destinations).map(|(key, url)| (variable(key), url)));
        if self.has_platform_trigger() {
            env.insert(variable("DEAD_LETTER_URL"), self.kafka_url(&tier.dead_letter));
        }
        if place.next.is_none() {
            env.insert(variable("LAST"), "true".to_owned());
        }
        exit(&mut env, place);
        let (encoding, features) = (tier.encoding, tier.features);
        let name = |encoding: Encoding| encoding.name().to_owned();
        chosen(&mut env, "ENCODING", encoding, Encoding::default(), name);
        chosen(&mut env, "FEATURES", features, Encoding::default(), name);
        chosen(&mut env, "MAX_BATCH", tier.max_batch, DEFAULT_MAX_BATCH, |it| it.to_string());
        chosen(&mut env, "SCALE_MIN", place.instances.min, 1, |it| it.to_string());
        chosen(&mut env, "SCALE_MAX", place.instances.max, 1, |it| it.to_string());
        if let Some(uplink) = &tier.uplink {
            let name = |on_loss: OnLoss| on_loss.name().to_owned();
            chosen(&mut env, "ON_UPLINK_LOSS", uplink.on_loss, OnLoss::default(), name);
        }
        Function { name: place.name.clone(), role: Role::Inference, env }
    }
}

/// What replaces the exit in the sub-model.
fn exit(env: &mut BTreeMap<String, String>, place: &Place<'_>) {
    let exit = &place.tier.exit;
    if let Some(criterion) = exit.criterion {
        env.insert(variable("CRITERION"), criterion.to_string());
    }
    if let Some(threshold) = exit.threshold {
        env.insert(variable("THRESHOLD"), threshold.to_string());
    }
    if let Some(temperature) = exit.temperature {
        env.insert(variable("TEMPERATURE"), temperature.to_string());
    }
    if !exit.class_thresholds.is_empty() {
        let pair = |(label, threshold): (&String, &f64)| format!("{label}={threshold}");
        let pairs: Vec<String> = exit.class_thresholds.iter().map(pair).collect();
        env.insert(variable("CLASS_THRESHOLDS"), pairs.join(","));
    }
}

fn chosen<T: PartialEq + Copy>(
    env: &mut BTreeMap<String, String>,
    key: &str,
    value: T,
    default: T,
    shown: impl Fn(T) -> String,
) {
    if value != default {
        env.insert(variable(key), shown(value));
    }
}

fn variable(key: &str) -> String {
    format!("OFFRAMP_{key}")
}

fn variables<const N: usize>(pairs: [(&str, String); N]) -> BTreeMap<String, String> {
    pairs.into_iter().map(|(key, value)| (variable(key), value)).collect()
}
