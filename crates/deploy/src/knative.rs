//! Knative: a `Service` for each function, and a `KafkaSource` where the platform takes records to it.
//!
//! A connector is a `Deployment`: it takes no calls, and a `Service` would put a proxy before nothing.

use std::collections::BTreeMap;

use pipeline::Order;

use crate::file::{File, Rendering, header};
use crate::image;
use crate::kubernetes::pod::{env, port, quantities, resources, restricted};
use crate::kubernetes::types::{
    Container, EmptyDirVolumeSource, HttpGetAction, ObjectMeta, Probe, Volume, VolumeMount,
};
use crate::kubernetes::{self, CONNECTOR_RESOURCES, HTTP_PORT};
use crate::plan::{Function, Place, Plan, Role, Site};
use crate::yaml::{self, artefact};

/// Calls that a replica has at once before there is another one: a call brings many records, and a replica has one
/// instance of the sub-model.
const TARGET_CONCURRENCY: &str = "4";

artefact! {
    struct KnativeService {
        api_version: String,
        kind: String,
        metadata: ObjectMeta,
        spec: KnativeServiceSpec,
    }

    struct KnativeServiceSpec {
        template: RevisionTemplate,
    }

    struct RevisionTemplate {
        metadata: ObjectMeta,
        spec: RevisionSpec,
    }

    struct RevisionSpec {
        automount_service_account_token: Option<bool>,
        enable_service_links: Option<bool>,
        container_concurrency: Option<u32>,
        timeout_seconds: Option<u32>,
        node_selector: BTreeMap<String, String>,
        containers: Vec<Container>,
        volumes: Vec<Volume>,
    }

    struct KafkaSource {
        api_version: String,
        kind: String,
        metadata: ObjectMeta,
        spec: KafkaSourceSpec,
    }

    struct KafkaSourceSpec {
        consumers: Option<u32>,
        bootstrap_servers: Vec<String>,
        topics: Vec<String>,
        consumer_group: String,
        initial_offset: String,
        ordering: String,
        delivery: Option<Delivery>,
        sink: Destination,
    }

    struct Delivery {
        retry: Option<u32>,
        backoff_policy: String,
        backoff_delay: String,
        dead_letter_sink: Option<Destination>,
    }

    struct Destination {
        r#ref: Option<KReference>,
    }

    struct KReference {
        api_version: String,
        kind: String,
        name: String,
        namespace: String,
    }

    struct KafkaSink {
        api_version: String,
        kind: String,
        metadata: ObjectMeta,
        spec: KafkaSinkSpec,
    }

    struct KafkaSinkSpec {
        bootstrap_servers: Vec<String>,
        topic: String,
        content_mode: String,
    }
}

pub(crate) fn render(plan: &Plan<'_>) -> Rendering {
    let mut files = image::files(plan);
    for site in &plan.sites {
        files.extend(site.places.iter().map(|place| tier(plan, site, place)));
    }
    let mut notes = Vec::new();
    if plan.places().any(|place| place.tier.deploy.architecture.is_some()) {
        notes.push(
            "`architecture` needs the feature `kubernetes.podspec-nodeselector` of Knative Serving"
                .to_owned(),
        );
    }
    if plan.has_platform_trigger() {
        notes.push(
            "dead letters need the KafkaSink of Knative's Kafka components, beside its KafkaSource"
                .to_owned(),
        );
    }
    Rendering { files, notes }
}

fn tier(plan: &Plan<'_>, site: &Site<'_>, place: &Place<'_>) -> File {
    let url = |name: &str| format!("http://{name}.{}.svc.cluster.local", place.namespace);
    let mut documents = Vec::new();
    for function in plan.functions(place, url) {
        documents.push(match function.role {
            Role::Connector => yaml::write(&kubernetes::connector(plan, place, &url(&place.name))),
            Role::Inference | Role::Funnel => yaml::write(&service(plan, place, function)),
        });
    }
    if plan.has_platform_trigger() {
        documents.push(yaml::write(&source(plan, place)));
        documents.push(yaml::write(&dead_letters(plan, place)));
    }
    let what =
        format!("Tier `{}` of pipeline `{}` on Knative.", place.tier.name, plan.pipeline.name);
    let text = header("#", &what) + &documents.join("---\n");
    File::text(format!("{}{}.yaml", site.folder, place.label), text)
}

fn service(plan: &Plan<'_>, place: &Place<'_>, function: Function) -> KnativeService {
    let is_inference = function.role == Role::Inference;
    let (min, max) = if is_inference { (place.replicas.min, place.replicas.max) } else { (0, 1) };
    let scaling = [
        ("min-scale", min.to_string()),
        ("max-scale", max.to_string()),
        ("metric", "concurrency".to_owned()),
        ("target", TARGET_CONCURRENCY.to_owned()),
    ];
    let annotations = scaling.map(|(key, value)| (format!("autoscaling.knative.dev/{key}"), value));
    let mut metadata = kubernetes::meta(plan, place, &function.name);
    let labels = metadata.labels.clone();
    // Only functions call it.
    let visibility = ("networking.knative.dev/visibility".to_owned(), "cluster-local".to_owned());
    metadata.labels.extend([visibility]);
    let fetches = is_inference && place.tier.deploy.model.is_some();
    let variables = Plan::platform_env("knative").into_iter().chain(function.env);
    let probe = |path: &str| Probe {
        http_get: Some(HttpGetAction { path: path.to_owned(), port: None }),
        ..Probe::default()
    };
    let container = Container {
        name: "offramp".to_owned(),
        image: place.image.clone(),
        env: env(variables),
        ports: vec![port("http1", HTTP_PORT)],
        readiness_probe: Some(probe("/-/ready")),
        liveness_probe: Some(probe("/-/live")),
        resources: if is_inference { resources(place) } else { quantities(&CONNECTOR_RESOURCES) },
        security_context: restricted(),
        volume_mounts: fetches.then(tmp_mount).into_iter().collect(),
        ..Container::default()
    };
    KnativeService {
        api_version: "serving.knative.dev/v1".to_owned(),
        kind: "Service".to_owned(),
        metadata,
        spec: KnativeServiceSpec {
            template: RevisionTemplate {
                metadata: ObjectMeta {
                    labels,
                    annotations: annotations.into(),
                    ..ObjectMeta::default()
                },
                spec: RevisionSpec {
                    automount_service_account_token: Some(false),
                    enable_service_links: Some(false),
                    container_concurrency: Some(0),
                    timeout_seconds: Some(place.timeout_s()),
                    node_selector: if is_inference {
                        place.node_selector()
                    } else {
                        BTreeMap::new()
                    },
                    containers: vec![container],
                    volumes: fetches.then(tmp).into_iter().collect(),
                },
            },
        },
    }
}

fn tmp_mount() -> VolumeMount {
    VolumeMount { name: "tmp".to_owned(), mount_path: "/tmp".to_owned(), read_only: None }
}

fn tmp() -> Volume {
    Volume {
        name: "tmp".to_owned(),
        empty_dir: Some(EmptyDirVolumeSource::default()),
        ..Volume::default()
    }
}

fn servers(plan: &Plan<'_>, place: &Place<'_>) -> Vec<String> {
    plan.servers(&place.tier.input.servers).split(',').map(str::to_owned).collect()
}

fn dead_letter_name(place: &Place<'_>) -> String {
    format!("{}-dead-letter", place.name)
}

fn source(plan: &Plan<'_>, place: &Place<'_>) -> KafkaSource {
    let tier = place.tier;
    let destination = |api_version: &str, kind: &str, name: &str| Destination {
        r#ref: Some(KReference {
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
            name: name.to_owned(),
            namespace: place.namespace.clone(),
        }),
    };
    let letters =
        destination("eventing.knative.dev/v1alpha1", "KafkaSink", &dead_letter_name(place));
    KafkaSource {
        api_version: "sources.knative.dev/v1".to_owned(),
        kind: "KafkaSource".to_owned(),
        metadata: kubernetes::meta(plan, place, &place.name),
        spec: KafkaSourceSpec {
            consumers: Some(tier.deploy.partitions.unwrap_or(1)),
            bootstrap_servers: servers(plan, place),
            topics: vec![tier.input.name.clone()],
            consumer_group: tier.input.name.clone(),
            initial_offset: "earliest".to_owned(),
            ordering: if tier.order == Order::None { "unordered" } else { "ordered" }.to_owned(),
            delivery: Some(Delivery {
                retry: Some(tier.retry.attempts - 1),
                backoff_policy: "exponential".to_owned(),
                backoff_delay: format!("PT{}S", tier.retry.backoff_min.as_secs_f64()),
                dead_letter_sink: Some(letters),
            }),
            sink: destination("serving.knative.dev/v1", "Service", &place.name),
        },
    }
}

fn dead_letters(plan: &Plan<'_>, place: &Place<'_>) -> KafkaSink {
    KafkaSink {
        api_version: "eventing.knative.dev/v1alpha1".to_owned(),
        kind: "KafkaSink".to_owned(),
        metadata: kubernetes::meta(plan, place, &dead_letter_name(place)),
        spec: KafkaSinkSpec {
            bootstrap_servers: servers(plan, place),
            topic: place.tier.dead_letter.name.clone(),
            content_mode: "binary".to_owned(),
        },
    }
}
