//! Nuclio: a file for each function, for `nuctl deploy --file`.
//!
//! Our image takes the place of the platform's processor, and so do its triggers go: only calls reach it. Where the
//! platform's own Kafka trigger is wanted, a few lines of Python that the platform builds call our function with each
//! record.

use std::collections::BTreeMap;

use base64::Engine as _;

use crate::file::{File, Rendering, header};
use crate::image;
use crate::kubernetes::CONNECTOR_RESOURCES;
use crate::kubernetes::pod::{env, quantities, resources};
use crate::kubernetes::types::{
    EnvVar, ObjectMeta, PodSecurityContext, ResourceRequirements, Scalar,
};
use crate::plan::{Function, Place, Plan, Role, Site, USER};
use crate::yaml::{self, artefact};

/// The version that configuration files of the platform carry.
const API: &str = "nuclio.io/v1";
const TARGET_CPU: u32 = 75;
/// A record of the paper is 16 kB as JSON, and a call brings many of them.
const MAX_BODY: i64 = 16 << 20;
const DRAIN_MS: &str = "5000";
/// What the platform builds to take records to a function. A status other than 2xx raises, and the record is not marked.
const RELAY: &str = include_str!("nuclio/relay.py");

artefact! {
    struct NuclioFunction {
        api_version: String,
        kind: String,
        metadata: ObjectMeta,
        spec: NuclioSpec,
    }

    struct NuclioSpec {
        runtime: String,
        handler: String,
        image: String,
        build: Option<NuclioBuild>,
        env: Vec<EnvVar>,
        resources: ResourceRequirements,
        security_context: Option<PodSecurityContext>,
        node_selector: BTreeMap<String, String>,
        replicas: Option<u32>,
        min_replicas: Option<u32>,
        max_replicas: Option<u32>,
        #[serde(rename = "targetCPU")]
        target_cpu: Option<u32>,
        readiness_timeout_seconds: Option<u32>,
        triggers: BTreeMap<String, NuclioTrigger>,
    }

    struct NuclioBuild {
        code_entry_type: String,
        function_source_code: String,
    }

    struct NuclioTrigger {
        kind: String,
        max_workers: Option<u32>,
        attributes: TriggerAttributes,
    }

    struct TriggerAttributes {
        service_type: String,
        max_request_body_size: Option<i64>,
        topics: Vec<String>,
        brokers: Vec<String>,
        consumer_group: String,
        initial_offset: String,
        worker_allocation_mode: String,
        session_timeout: Option<Scalar>,
        heartbeat_interval: Option<Scalar>,
    }
}

pub(crate) fn render(plan: &Plan<'_>) -> Rendering {
    let mut files = image::files(plan);
    for site in &plan.sites {
        for place in &site.places {
            let functions = plan.functions(place, |name| url(place, name)).into_iter();
            files.extend(functions.map(|function| {
                let name = function.name.clone();
                file(plan, site, &name, &of_image(place, function))
            }));
            if plan.has_platform_trigger() {
                let name = format!("{}-trigger", place.name);
                files.push(file(plan, site, &name, &relay(plan, place, &name)));
            }
        }
    }
    let mut notes = Vec::new();
    if plan.places().any(|place| place.replicas.min == 0) {
        let text = "one replica of each function stays: none needs the platform's autoscaler and dlx, which its chart leaves out";
        notes.push(text.to_owned());
    }
    Rendering { files, notes }
}

fn file(plan: &Plan<'_>, site: &Site<'_>, name: &str, function: &NuclioFunction) -> File {
    let what = format!("Function `{name}` of pipeline `{}` on Nuclio.", plan.pipeline.name);
    File::text(format!("{}{name}.yaml", site.folder), header("#", &what) + &yaml::write(function))
}

/// The service that the platform makes of a function.
fn url(place: &Place<'_>, name: &str) -> String {
    format!("http://nuclio-{name}.{}.svc.cluster.local:8080", place.namespace)
}

fn function(place: &Place<'_>, name: &str, spec: NuclioSpec) -> NuclioFunction {
    NuclioFunction {
        api_version: API.to_owned(),
        kind: "NuclioFunction".to_owned(),
        metadata: ObjectMeta {
            name: name.to_owned(),
            namespace: place.namespace.clone(),
            ..ObjectMeta::default()
        },
        spec,
    }
}

fn of_image(place: &Place<'_>, of_plan: Function) -> NuclioFunction {
    let is_inference = of_plan.role == Role::Inference;
    let (min, max) =
        if is_inference { (place.replicas.min.max(1), place.replicas.max) } else { (1, 1) };
    let mut variables = Plan::platform_env("nuclio");
    variables.insert("OFFRAMP_DRAIN_MS".to_owned(), DRAIN_MS.to_owned());
    variables.extend(of_plan.env);
    let http = NuclioTrigger {
        kind: "http".to_owned(),
        max_workers: None,
        attributes: TriggerAttributes {
            service_type: "ClusterIP".to_owned(),
            max_request_body_size: Some(MAX_BODY),
            ..TriggerAttributes::default()
        },
    };
    let spec = NuclioSpec {
        runtime: "golang".to_owned(),
        handler: "main:Handler".to_owned(),
        image: place.image.clone(),
        build: Some(NuclioBuild {
            code_entry_type: "image".to_owned(),
            function_source_code: String::new(),
        }),
        env: env(variables),
        resources: if is_inference { resources(place) } else { quantities(&CONNECTOR_RESOURCES) },
        security_context: Some(PodSecurityContext {
            run_as_non_root: Some(true),
            run_as_user: Some(USER),
            run_as_group: Some(USER),
            ..PodSecurityContext::default()
        }),
        node_selector: place.node_selector(),
        min_replicas: Some(min as u32),
        max_replicas: Some(max as u32),
        target_cpu: (min < max).then_some(TARGET_CPU),
        readiness_timeout_seconds: Some(120),
        triggers: BTreeMap::from([("http".to_owned(), http)]),
        ..NuclioSpec::default()
    };
    function(place, &of_plan.name, spec)
}

/// What takes records from the platform's trigger to the function.
fn relay(plan: &Plan<'_>, place: &Place<'_>, name: &str) -> NuclioFunction {
    let tier = place.tier;
    let kafka = NuclioTrigger {
        kind: "kafka-cluster".to_owned(),
        max_workers: Some(tier.deploy.partitions.unwrap_or(1)),
        attributes: TriggerAttributes {
            topics: vec![tier.input.name.clone()],
            brokers: plan.servers(&tier.input.servers).split(',').map(str::to_owned).collect(),
            consumer_group: tier.input.name.clone(),
            initial_offset: "earliest".to_owned(),
            worker_allocation_mode: "static".to_owned(),
            session_timeout: Some("60s".into()),
            heartbeat_interval: Some("10s".into()),
            ..TriggerAttributes::default()
        },
    };
    let variables =
        [("URL", url(place, &place.name)), ("TIMEOUT_S", place.timeout_s().to_string())];
    let spec = NuclioSpec {
        runtime: "python:3.11".to_owned(),
        handler: "main:handler".to_owned(),
        build: Some(NuclioBuild {
            code_entry_type: String::new(),
            function_source_code: base64::engine::general_purpose::STANDARD.encode(RELAY),
        }),
        env: env(variables.map(|(key, value)| (key.to_owned(), value))),
        min_replicas: Some(1),
        max_replicas: Some(1),
        triggers: BTreeMap::from([("kafka".to_owned(), kafka)]),
        ..NuclioSpec::default()
    };
    function(place, name, spec)
}
