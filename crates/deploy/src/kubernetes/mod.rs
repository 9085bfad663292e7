//! Kubernetes by itself: a tier is one process, scaled by KEDA on the lag of its input topic.
//!
//! For each tier a file with a `ServiceAccount` without a token, the pipeline file in a `ConfigMap`, a `Deployment`, a
//! `Service` for metrics, a `ScaledObject`, a `PodDisruptionBudget` and a `NetworkPolicy`. Pods pass the profile
//! `restricted` of Pod Security.

pub(crate) mod known;
pub(crate) mod pod;
pub(crate) mod types;

use crate::file::{File, Rendering, header};
use crate::hash::fnv1a;
use crate::options::Platform;
use crate::plan::{METRICS_PORT, Place, Plan, STOP_TIMEOUT_S, Site, VERSION, pipeline_file};
use crate::{image, yaml};
use pod::{Pod, port, quantities};
use types::{
    ConfigMap, ConfigMapVolumeSource, Deployment, DeploymentSpec, Fallback, HttpGetAction,
    LabelSelector, NetworkPolicy, NetworkPolicyPort, NetworkPolicyRule, NetworkPolicySpec,
    ObjectMeta, PodDisruptionBudget, PodDisruptionBudgetSpec, PodTemplateSpec, Probe, Scalar,
    ScaleTarget, ScaleTrigger, ScaledObject, ScaledObjectSpec, Service, ServiceAccount,
    ServicePort, ServiceSpec, Texts, Volume, VolumeMount,
};

/// Where a pod has the pipeline file.
const CONFIG_DIR: &str = "/etc/offramp";
/// A tier asks for records all the time: a few seconds more tell enough.
const POLLING_S: u32 = 15;
/// A tier that has had nothing to do for this long stops, where it may.
const COOLDOWN_S: u32 = 300;
/// Tells `offramp deploy lint` how many partitions the topic of a `ScaledObject` has.
pub(crate) const PARTITIONS: &str = "offramp.dev/partitions";

/// The pipeline file that a pod was started with.
const PIPELINE_HASH: &str = "offramp.dev/pipeline-hash";

pub(crate) fn render(plan: &Plan<'_>) -> Rendering {
    let mut files = image::files(plan);
    for site in &plan.sites {
        files.extend(site.places.iter().map(|place| tier(plan, site, place)));
    }
    let mut notes = Vec::new();
    if plan.places().any(is_scaled) {
        notes.push(
            "replicas follow the lag if KEDA is installed; without it, leave out the ScaledObject"
                .to_owned(),
        );
    }
    Rendering { files, notes }
}

/// Whether there may be more and fewer replicas; their number is nobody else's business then.
fn is_scaled(place: &Place<'_>) -> bool {
    place.replicas.min < place.replicas.max
}

fn tier(plan: &Plan<'_>, site: &Site<'_>, place: &Place<'_>) -> File {
    let what =
        format!("Tier `{}` of pipeline `{}` on Kubernetes.", place.tier.name, plan.pipeline.name);
    let mut documents = vec![
        yaml::write(&account(plan, place)),
        yaml::write(&config(plan, place)),
        yaml::write(&deployment(plan, place)),
        yaml::write(&service(plan, place)),
    ];
    if is_scaled(place) {
        documents.push(yaml::write(&scaled_object(plan, place)));
    }
    documents.push(yaml::write(&disruption_budget(plan, place)));
    documents.push(yaml::write(&network_policy(plan, place)));
    let text = format!("{}{}", header("#", &what), documents.join("---\n"));
    File::text(format!("{}{}.yaml", site.folder, place.label), text)
}

/// What all objects of a tier have.
pub(crate) fn meta(plan: &Plan<'_>, place: &Place<'_>, name: &str) -> ObjectMeta {
    let mut labels = selector(name);
    labels.insert("app.kubernetes.io/part-of".to_owned(), plan.name.clone());
    labels.insert("app.kubernetes.io/component".to_owned(), place.label.clone());
    labels.insert("app.kubernetes.io/version".to_owned(), VERSION.to_owned());
    labels.insert("app.kubernetes.io/managed-by".to_owned(), "offramp".to_owned());
    // A namespace of OpenWhisk is none of Kubernetes'.
    let namespace = if plan.options.platform == Platform::OpenWhisk {
        String::new()
    } else {
        place.namespace.clone()
    };
    ObjectMeta { name: name.to_owned(), namespace, labels, annotations: Texts::new() }
}

/// What only the pods of one function have.
pub(crate) fn selector(name: &str) -> Texts {
    let pair = |key: &str, value: &str| (format!("app.kubernetes.io/{key}"), value.to_owned());
    Texts::from([pair("name", "offramp"), pair("instance", name)])
}

fn account(plan: &Plan<'_>, place: &Place<'_>) -> ServiceAccount {
    ServiceAccount {
        api_version: "v1".to_owned(),
        kind: "ServiceAccount".to_owned(),
        metadata: meta(plan, place, &place.name),
        automount_service_account_token: Some(false),
    }
}

fn config(plan: &Plan<'_>, place: &Place<'_>) -> ConfigMap {
    ConfigMap {
        api_version: "v1".to_owned(),
        kind: "ConfigMap".to_owned(),
        metadata: meta(plan, place, &place.name),
        data: Texts::from([("offramp.toml".to_owned(), pipeline_file(plan, crate::plan::MODELS))]),
    }
}

fn deployment(plan: &Plan<'_>, place: &Place<'_>) -> Deployment {
    let file = format!("{CONFIG_DIR}/offramp.toml");
    let mut pod = Pod::of(place, &place.image);
    pod.replicas = (!is_scaled(place)).then_some(place.replicas.max as u32);
    pod.container.args = ["up", "--tier", &place.tier.name, &file].map(str::to_owned).to_vec();
    pod.env([("OFFRAMP_METRICS".to_owned(), format!("0.0.0.0:{METRICS_PORT}"))]);
    pod.container.ports = vec![port("metrics", METRICS_PORT)];
    let probe = |period: u32, failures: u32| Probe {
        http_get: Some(HttpGetAction {
            path: "/metrics".to_owned(),
            port: Some(METRICS_PORT.into()),
        }),
        period_seconds: Some(period),
        timeout_seconds: Some(2),
        failure_threshold: Some(failures),
    };
    // Metrics are served once the tier runs: its broker has answered and its sub-model is loaded.
    pod.container.startup_probe = Some(probe(2, 60));
    pod.container.liveness_probe = Some(probe(10, 3));
    pod.container.volume_mounts.push(VolumeMount {
        name: "config".to_owned(),
        mount_path: CONFIG_DIR.to_owned(),
        read_only: Some(true),
    });
    pod.spec.volumes.push(Volume {
        name: "config".to_owned(),
        config_map: Some(ConfigMapVolumeSource { name: place.name.clone() }),
        ..Volume::default()
    });
    pod.spec.service_account_name.clone_from(&place.name);
    // Another pipeline file makes other pods: a ConfigMap's change alone reaches no running process.
    let hash = fnv1a(0, &pipeline_file(plan, crate::plan::MODELS));
    pod.annotations.insert(PIPELINE_HASH.to_owned(), format!("{hash:016x}"));
    workload(plan, place, &place.name, pod)
}

/// A `Deployment` of a pod; how many of them there are is somebody else's business where they may vary.
pub(crate) fn workload(plan: &Plan<'_>, place: &Place<'_>, name: &str, pod: Pod) -> Deployment {
    let metadata = meta(plan, place, name);
    let mut of_pods = ObjectMeta { labels: metadata.labels.clone(), ..ObjectMeta::default() };
    of_pods.annotations = pod.annotations.clone();
    Deployment {
        api_version: "apps/v1".to_owned(),
        kind: "Deployment".to_owned(),
        metadata,
        spec: DeploymentSpec {
            replicas: pod.replicas,
            revision_history_limit: Some(3),
            selector: LabelSelector { match_labels: selector(name) },
            template: PodTemplateSpec { metadata: of_pods, spec: pod.finish(STOP_TIMEOUT_S) },
        },
    }
}

fn service(plan: &Plan<'_>, place: &Place<'_>) -> Service {
    Service {
        api_version: "v1".to_owned(),
        kind: "Service".to_owned(),
        metadata: meta(plan, place, &place.name),
        spec: ServiceSpec {
            selector: selector(&place.name),
            ports: vec![ServicePort {
                name: "metrics".to_owned(),
                port: METRICS_PORT,
                target_port: Some("metrics".into()),
                protocol: String::new(),
            }],
            r#type: String::new(),
        },
    }
}

fn scaled_object(plan: &Plan<'_>, place: &Place<'_>) -> ScaledObject {
    let tier = place.tier;
    let mut metadata = meta(plan, place, &place.name);
    if let Some(partitions) = tier.deploy.partitions {
        metadata.annotations.insert(PARTITIONS.to_owned(), partitions.to_string());
    }
    let trigger = [
        ("bootstrapServers", plan.servers(&tier.input.servers)),
        ("consumerGroup", tier.input.name.clone()),
        ("topic", tier.input.name.clone()),
        // More than a replica has under way is what another one could do.
        ("lagThreshold", tier.in_flight.to_string()),
        // A group that has never committed reads its topic from the start, so that is its lag.
        ("offsetResetPolicy", "earliest".to_owned()),
        ("allowIdleConsumers", "false".to_owned()),
    ];
    ScaledObject {
        api_version: "keda.sh/v1alpha1".to_owned(),
        kind: "ScaledObject".to_owned(),
        metadata,
        spec: ScaledObjectSpec {
            scale_target_ref: ScaleTarget {
                api_version: "apps/v1".to_owned(),
                kind: "Deployment".to_owned(),
                name: place.name.clone(),
            },
            polling_interval: Some(POLLING_S),
            cooldown_period: Some(COOLDOWN_S),
            min_replica_count: Some(place.replicas.min as u32),
            max_replica_count: Some(place.replicas.max as u32),
            fallback: Some(Fallback {
                failure_threshold: 3,
                replicas: place.replicas.min.max(1) as u32,
            }),
            triggers: vec![ScaleTrigger {
                r#type: "kafka".to_owned(),
                metadata: trigger.map(|(key, value)| (key.to_owned(), value)).into(),
            }],
        },
    }
}

fn disruption_budget(plan: &Plan<'_>, place: &Place<'_>) -> PodDisruptionBudget {
    PodDisruptionBudget {
        api_version: "policy/v1".to_owned(),
        kind: "PodDisruptionBudget".to_owned(),
        metadata: meta(plan, place, &place.name),
        spec: PodDisruptionBudgetSpec {
            max_unavailable: Some(Scalar::Whole(1)),
            selector: LabelSelector { match_labels: selector(&place.name) },
        },
    }
}

/// In: metrics. Out: names, and the ports of the brokers, wherever they are.
fn network_policy(plan: &Plan<'_>, place: &Place<'_>) -> NetworkPolicy {
    let tier = place.tier;
    let of_topics = [Some(&tier.input), Some(&tier.output), place.next.map(|next| &next.input)];
    let servers = of_topics.into_iter().flatten().map(|topic| plan.servers(&topic.servers));
    let mut ports: Vec<u16> = servers
        .flat_map(|servers| servers.split(',').filter_map(port_of).collect::<Vec<_>>())
        .collect();
    ports.extend(tier.before.iter().chain(&tier.after).filter_map(|step| match &step.callee {
        pipeline::functions::Callee::Url(url) => Some(port_of_url(url)),
        pipeline::functions::Callee::Function(_) => None,
    }));
    ports.sort_unstable();
    ports.dedup();
    let port = |protocol: &str, port: u16| NetworkPolicyPort {
        protocol: protocol.to_owned(),
        port: Some(port.into()),
    };
    let rule = |ports| NetworkPolicyRule { ports };
    NetworkPolicy {
        api_version: "networking.k8s.io/v1".to_owned(),
        kind: "NetworkPolicy".to_owned(),
        metadata: meta(plan, place, &place.name),
        spec: NetworkPolicySpec {
            pod_selector: LabelSelector { match_labels: selector(&place.name) },
            policy_types: vec!["Ingress".to_owned(), "Egress".to_owned()],
            ingress: vec![rule(vec![port("TCP", METRICS_PORT)])],
            egress: vec![
                rule(vec![port("UDP", 53), port("TCP", 53)]),
                rule(ports.into_iter().map(|one| port("TCP", one)).collect()),
            ],
        },
    }
}

fn port_of(server: &str) -> Option<u16> {
    server.rsplit_once(':')?.1.parse().ok()
}

fn port_of_url(url: &str) -> u16 {
    let host = url.split_once("://").map_or(url, |(_, rest)| rest).split('/').next();
    host.and_then(port_of).unwrap_or(80)
}

/// The `Deployment` of a connector that calls a function elsewhere, for platforms on which it can't be a function.
pub(crate) fn connector(plan: &Plan<'_>, place: &Place<'_>, url: &str) -> Deployment {
    let function = plan.connector(place, url);
    let mut pod = Pod::of(place, &place.image);
    pod.container.resources = quantities(&CONNECTOR_RESOURCES);
    pod.spec.node_selector = Texts::new();
    pod.replicas = Some(1);
    pod.env(Plan::platform_env("plain"));
    pod.env(function.env);
    pod.container.ports = vec![port("http", HTTP_PORT)];
    let probe = |path: &str, period: u32| Probe {
        http_get: Some(HttpGetAction { path: path.to_owned(), port: Some("http".into()) }),
        period_seconds: Some(period),
        timeout_seconds: Some(2),
        failure_threshold: Some(3),
    };
    pod.container.readiness_probe = Some(probe("/-/ready", 5));
    pod.container.liveness_probe = Some(probe("/-/live", 10));
    workload(plan, place, &function.name, pod)
}

/// The image's own `PORT`.
pub(crate) const HTTP_PORT: u16 = 8080;
/// A connector holds a few hundred records and no sub-model.
pub(crate) const CONNECTOR_RESOURCES: pipeline::deploy::Resources =
    pipeline::deploy::Resources { memory_mib: Some(64), cpu_millis: Some(500) };
