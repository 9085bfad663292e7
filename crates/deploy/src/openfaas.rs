//! OpenFaaS: a `stack.yaml` for each gateway.
//!
//! The platform's parser passes over keys that it does not know, so the types here are the only guard: the paper's files
//! said `label` for `labels`, and their limits never applied.

use std::collections::BTreeMap;

use pipeline::deploy::Resources;

use crate::file::{File, Rendering, header};
use crate::image;
use crate::kubernetes::CONNECTOR_RESOURCES;
use crate::plan::{Function, Place, Plan, Role, Site};
use crate::yaml::{self, artefact};

/// Where the platform's chart has its gateway, as functions reach it.
const INTERNAL_GATEWAY: &str = "http://gateway.openfaas:8080";
/// Where `faas-cli` looks for a gateway.
const GATEWAY: &str = "http://127.0.0.1:8080";
/// The only namespace that the Community Edition has.
pub(crate) const NAMESPACE: &str = "openfaas-fn";
/// Replicas that the Community Edition runs of a function, at most.
pub(crate) const COMMUNITY_REPLICAS: i64 = 5;
/// Longer than the gateway takes to see that a replica is not ready any more.
const DRAIN_MS: &str = "5000";

artefact! { "snake_case":
    /// A file of `faas-cli`.
    struct StackFile {
        version: String,
        provider: Provider,
        functions: BTreeMap<String, StackFunction>,
        configuration: Option<Configuration>,
    }

    struct Provider {
        name: String,
        gateway: String,
        network: String,
    }

    struct StackFunction {
        lang: String,
        handler: String,
        image: String,
        skip_build: bool,
        namespace: String,
        fprocess: String,
        environment: BTreeMap<String, String>,
        environment_file: Vec<String>,
        secrets: Vec<String>,
        labels: BTreeMap<String, String>,
        annotations: BTreeMap<String, String>,
        constraints: Vec<String>,
        limits: BTreeMap<String, String>,
        requests: BTreeMap<String, String>,
        readonly_root_filesystem: bool,
        build_options: Vec<String>,
        build_args: BTreeMap<String, String>,
        build_secrets: BTreeMap<String, String>,
        platforms: String,
    }

    /// The `template.yml` of a template.
    struct TemplateFile {
        language: String,
        fprocess: String,
        welcome_message: String,
        handler_folder: String,
    }

    struct Configuration {
        copy: Vec<String>,
        templates: Vec<TemplateSource>,
    }

    struct TemplateSource {
        name: String,
        source: String,
    }
}

/// What a connector or a funnel may take.
fn small() -> BTreeMap<String, String> {
    let Resources { memory_mib, cpu_millis } = CONNECTOR_RESOURCES;
    let memory = memory_mib.map(|mib| ("memory".to_owned(), format!("{mib}Mi")));
    let cpu = cpu_millis.map(|millis| ("cpu".to_owned(), format!("{millis}m")));
    cpu.into_iter().chain(memory).collect()
}

pub(crate) fn render(plan: &Plan<'_>) -> Rendering {
    let mut files = image::files(plan);
    files.extend(plan.sites.iter().map(|site| stack(plan, site)));
    let mut notes = Vec::new();
    for place in plan.places() {
        if place.replicas.min == 0 {
            notes.push(format!(
                "tier `{}`: one replica stays, because only the commercial editions scale to none",
                place.tier.name
            ));
        }
        if place.namespace != NAMESPACE {
            notes.push(format!(
                "tier `{}`: namespace {}, of which the Community Edition has only {NAMESPACE}",
                place.tier.name, place.namespace
            ));
        }
        if COMMUNITY_REPLICAS < place.replicas.max as i64 {
            notes.push(format!(
                "tier `{}`: up to {} replicas, of which the Community Edition runs {COMMUNITY_REPLICAS}",
                place.tier.name, place.replicas.max
            ));
        }
    }
    if plan.has_platform_trigger() {
        notes.push("the annotation `topic` is read by the platform's Kafka connector, which has to be installed".to_owned());
    }
    Rendering { files, notes }
}

fn stack(plan: &Plan<'_>, site: &Site<'_>) -> File {
    let functions = site.places.iter().flat_map(|place| {
        let url = |name: &str| {
            let gateway = place.tier.deploy.internal_gateway.as_deref().unwrap_or(INTERNAL_GATEWAY);
            format!("{gateway}/function/{name}.{}", place.namespace)
        };
        let functions = plan.functions(place, url).into_iter();
        functions.map(|function| (function.name.clone(), of_stack(plan, place, function)))
    });
    let stack = StackFile {
        version: "1.0".to_owned(),
        provider: Provider {
            name: "openfaas".to_owned(),
            gateway: site.gateway.unwrap_or(GATEWAY).to_owned(),
            network: String::new(),
        },
        functions: functions.collect(),
        configuration: None,
    };
    let what = format!("Pipeline `{}` on OpenFaaS.", plan.pipeline.name);
    let text = header("#", &what) + &yaml::write(&stack);
    File::text(format!("{}stack.yaml", site.folder), text)
}

fn of_stack(plan: &Plan<'_>, place: &Place<'_>, function: Function) -> StackFunction {
    let mut environment = function.env;
    environment.extend(Plan::platform_env("openfaas"));
    environment.insert("OFFRAMP_DRAIN_MS".to_owned(), DRAIN_MS.to_owned());
    let is_inference = function.role == Role::Inference;
    let (min, max) =
        if is_inference { (place.replicas.min.max(1), place.replicas.max) } else { (1, 1) };
    let scale = [("min", min), ("max", max)];
    let [requests, limits] =
        if is_inference { place.quantities() } else { [BTreeMap::new(), small()] };
    let topic = || ("topic".to_owned(), place.tier.input.name.clone());
    StackFunction {
        lang: "dockerfile".to_owned(),
        handler: "./".to_owned(),
        image: place.image.clone(),
        skip_build: true,
        namespace: place.namespace.clone(),
        environment,
        labels: scale.map(|(key, n)| (format!("com.openfaas.scale.{key}"), n.to_string())).into(),
        annotations: (is_inference && plan.has_platform_trigger())
            .then(topic)
            .into_iter()
            .collect(),
        constraints: place
            .node_selector()
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect(),
        limits,
        requests,
        readonly_root_filesystem: true,
        ..StackFunction::default()
    }
}
