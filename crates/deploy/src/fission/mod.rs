//! Fission: a folder of specifications for each cluster, for `fission spec apply`.
//!
//! A function is a container of its own, or, with `--executor environment`, a package in a warm pod of an environment:
//! an archive with the sub-model and an `offramp.env`. No builder is needed for either. A connector is a container always:
//! a pod of the environment is there only while it is called.

pub(crate) mod types;

use pipeline::DEFAULT_IN_FLIGHT;

use crate::file::{File, Rendering, header};
use crate::hash::fnv1a;
use crate::kubernetes;
use crate::kubernetes::pod::{Pod, env, port, quantities};
use crate::kubernetes::types::{Container, ObjectMeta};
use crate::options::Executor;
use crate::plan::{Function, Place, Plan, Role, STOP_TIMEOUT_S, Site};
use crate::{image, yaml};
use types::{
    Archive, ArchiveUploadSpec, DeploymentConfig, Environment, EnvironmentSpec, ExecutionStrategy,
    FissionFunction, FunctionPackage, FunctionReference, FunctionSpec, HttpTrigger,
    HttpTriggerSpec, InvokeStrategy, MessageQueueTrigger, MessageQueueTriggerSpec, Package,
    PackageReference, PackageSpec, Reference, Runtime, env_file,
};

pub(crate) const API: &str = "fission.io/v1";
/// Where the platform's chart has its router, as functions reach it.
const INTERNAL_GATEWAY: &str = "http://router.fission";
/// The environment protocol's port; a container has the same, so that one image does for both.
const PORT: u16 = 8888;
/// A connector is never called: an hour says that it is not to be stopped for that.
const NEVER_IDLE_S: u32 = 3600;
/// Pods of the environment that wait for a function.
const POOL: u32 = 2;
/// What the platform retries at once, and without a wait.
const RETRIES: u32 = 3;

pub(crate) fn render(plan: &Plan<'_>) -> Rendering {
    let packages = plan.options.executor == Executor::Environment;
    let mut files = if packages { Vec::new() } else { image::files(plan) };
    let mut notes = Vec::new();
    for site in &plan.sites {
        files.push(deployment_config(plan, site));
        if packages {
            files.extend(site.places.iter().flat_map(|place| archive(plan, site, place)));
            files.push(environments(plan, site));
        }
        files.extend(site.places.iter().map(|place| tier(plan, site, place)));
    }
    if plan.has_platform_trigger() {
        let text = "the broker of a message queue trigger is the one that Fission was installed with (`kafka.brokers` of \
                    its chart), not the tier's";
        notes.push(text.to_owned());
    }
    Rendering { files, notes }
}

fn meta(place: &Place<'_>, name: &str) -> ObjectMeta {
    ObjectMeta {
        name: name.to_owned(),
        namespace: place.namespace.clone(),
        ..ObjectMeta::default()
    }
}

fn deployment_config(plan: &Plan<'_>, site: &Site<'_>) -> File {
    let config = DeploymentConfig {
        api_version: API.to_owned(),
        kind: "DeploymentConfig".to_owned(),
        name: plan.name.clone(),
        uid: uid(&format!("{}/{}", plan.pipeline.name, site.folder)),
    };
    let text = header("#", "What Fission knows these specifications by.") + &yaml::write(&config);
    File::text(format!("{}specs/fission-deployment-config.yaml", site.folder), text)
}

/// A UUID (version 8, of one's own making) that the same pipeline has every time: two hashes.
fn uid(name: &str) -> String {
    let (high, low) = (fnv1a(0, name), fnv1a(1, name));
    format!(
        "{:08x}-{:04x}-8{:03x}-{:04x}-{:012x}",
        high >> 32,
        (high >> 16) & 0xffff,
        high & 0xfff,
        0x8000 | (low >> 48) & 0x3fff,
        low & 0xffff_ffff_ffff
    )
}

fn environment_name(plan: &Plan<'_>, place: &Place<'_>) -> String {
    let architecture = place.tier.deploy.architecture;
    let suffix = architecture.map(|one| format!("-{}", one.name())).unwrap_or_default();
    format!("{}-env{suffix}", plan.name)
}

/// One environment for each namespace and architecture.
fn environments(plan: &Plan<'_>, site: &Site<'_>) -> File {
    let mut written: Vec<(String, &str)> = Vec::new();
    let mut documents = Vec::new();
    for place in &site.places {
        let name = environment_name(plan, place);
        if written.contains(&(name.clone(), &place.namespace)) {
            continue;
        }
        let variables = Plan::platform_env("fission");
        let environment = Environment {
            api_version: API.to_owned(),
            kind: "Environment".to_owned(),
            metadata: meta(place, &name),
            spec: EnvironmentSpec {
                version: 3,
                runtime: Runtime {
                    image: image::base(plan),
                    container: Some(Container { env: env(variables), ..Container::default() }),
                },
                poolsize: Some(POOL),
                termination_grace_period: Some(90),
                keeparchive: Some(false),
            },
        };
        documents.push(yaml::write(&environment));
        written.push((name, &place.namespace));
    }
    let head = header("#", "The environment: offramp, which a package gives a sub-model.");
    File::text(format!("{}specs/environment.yaml", site.folder), head + &documents.join("---\n"))
}

/// The folder that becomes a tier's package.
fn archive(plan: &Plan<'_>, site: &Site<'_>, place: &Place<'_>) -> Vec<File> {
    let folder = format!("{}packages/{}", site.folder, place.label);
    let functions = plan.functions(place, |name| url(place, name));
    let packaged = functions.into_iter().filter(|function| function.role != Role::Connector);
    let mut files = Vec::new();
    for Function { name, role, mut env } in packaged {
        // The platform says by `functionName` which function it is, and the sub-model is the one that is there.
        env.remove("OFFRAMP_FUNCTION");
        let folder = format!("{folder}{}", name.strip_prefix(&place.name).unwrap_or_default());
        if role == Role::Inference && place.tier.deploy.model.is_none() {
            env.remove("OFFRAMP_MODEL");
            let model = File {
                path: format!("{folder}/{}.onnx", place.label),
                content: crate::Content::CopyOf(place.tier.model.clone()),
            };
            files.push(model);
        }
        files.push(File::text(format!("{folder}/offramp.env"), env_file(&env)));
    }
    files
}

fn url(place: &Place<'_>, name: &str) -> String {
    let gateway = place.tier.deploy.internal_gateway.as_deref().unwrap_or(INTERNAL_GATEWAY);
    format!("{gateway}/{name}")
}

fn tier(plan: &Plan<'_>, site: &Site<'_>, place: &Place<'_>) -> File {
    let mut documents = Vec::new();
    for function in plan.functions(place, |name| url(place, name)) {
        let (name, role) = (function.name.clone(), function.role);
        if plan.options.executor == Executor::Environment && role != Role::Connector {
            documents.extend(packaged(plan, place, &function));
        } else {
            documents.push(yaml::write(&container(plan, place, function)));
        }
        if role != Role::Connector {
            documents.push(yaml::write(&http_trigger(place, &name)));
        }
    }
    if plan.has_platform_trigger() {
        documents.push(yaml::write(&queue_trigger(place)));
    }
    let what =
        format!("Tier `{}` of pipeline `{}` on Fission.", place.tier.name, plan.pipeline.name);
    let text = header("#", &what) + &documents.join("---\n");
    File::text(format!("{}specs/{}.yaml", site.folder, place.label), text)
}

/// A function that is a container of its own: one container, with one port.
fn container(plan: &Plan<'_>, place: &Place<'_>, function: Function) -> FissionFunction {
    let is_inference = function.role == Role::Inference;
    // Where packages bring the sub-models, what needs none is our own image.
    let packages = plan.options.executor == Executor::Environment;
    let image = if packages { image::base(plan) } else { place.image.clone() };
    let mut pod = Pod::of(place, &image);
    if !is_inference {
        pod.container.resources = quantities(&kubernetes::CONNECTOR_RESOURCES);
    }
    pod.container.name.clone_from(&function.name);
    pod.container.ports = vec![port("", PORT)];
    pod.env(Plan::platform_env("fission"));
    pod.env(function.env);
    let scale = match function.role {
        Role::Connector => (1, 1),
        Role::Inference => (place.replicas.min, place.replicas.max),
        Role::Funnel => (0, 1),
    };
    let idle = if function.role == Role::Connector { NEVER_IDLE_S } else { idle_timeout_s(place) };
    FissionFunction {
        api_version: API.to_owned(),
        kind: "Function".to_owned(),
        metadata: meta(place, &function.name),
        spec: FunctionSpec {
            invoke_strategy: strategy("container", Some(scale)),
            function_timeout: Some(place.timeout_s()),
            idletimeout: Some(idle),
            podspec: Some(pod.finish(STOP_TIMEOUT_S)),
            ..FunctionSpec::default()
        },
    }
}

/// Twice the longest call: the clock of idleness starts with a call, not with its end (fission#2992).
fn idle_timeout_s(place: &Place<'_>) -> u32 {
    (2 * place.timeout_s()).max(120)
}

fn strategy(executor: &str, scale: Option<(usize, usize)>) -> InvokeStrategy {
    InvokeStrategy {
        strategy_type: "execution".to_owned(),
        execution_strategy: ExecutionStrategy {
            executor_type: executor.to_owned(),
            min_scale: scale.map(|(min, _)| min as u32),
            max_scale: scale.map(|(_, max)| max as u32),
            target_cpu_percent: None,
            specialization_timeout: Some(120),
        },
    }
}

/// A function in a pod of the environment, its package, and what is packed into that.
fn packaged(plan: &Plan<'_>, place: &Place<'_>, function: &Function) -> [String; 3] {
    let environment =
        Reference { name: environment_name(plan, place), namespace: place.namespace.clone() };
    let role = if function.role == Role::Inference { "inference" } else { "funnel" };
    let suffix = function.name.strip_prefix(&place.name).unwrap_or_default();
    let upload = ArchiveUploadSpec {
        kind: "ArchiveUploadSpec".to_owned(),
        name: function.name.clone(),
        include: vec![format!("packages/{}{suffix}/*", place.label)],
        rootdir: String::new(),
    };
    let package = Package {
        api_version: API.to_owned(),
        kind: "Package".to_owned(),
        metadata: meta(place, &function.name),
        spec: PackageSpec {
            environment: environment.clone(),
            deployment: Archive {
                r#type: "url".to_owned(),
                url: format!("archive://{}", function.name),
            },
        },
    };
    let runs = FissionFunction {
        api_version: API.to_owned(),
        kind: "Function".to_owned(),
        metadata: meta(place, &function.name),
        spec: FunctionSpec {
            environment: Some(environment),
            package: Some(FunctionPackage {
                packageref: PackageReference {
                    name: function.name.clone(),
                    namespace: place.namespace.clone(),
                },
                function_name: role.to_owned(),
            }),
            invoke_strategy: strategy("poolmgr", None),
            function_timeout: Some(place.timeout_s()),
            idletimeout: Some(idle_timeout_s(place)),
            concurrency: Some(place.replicas.max as u32),
            requests_per_pod: Some(place.tier.in_flight.min(DEFAULT_IN_FLIGHT) as u32),
            podspec: None,
        },
    };
    [yaml::write(&upload), yaml::write(&package), yaml::write(&runs)]
}

fn reference(name: &str) -> FunctionReference {
    FunctionReference { r#type: "name".to_owned(), name: name.to_owned() }
}

fn http_trigger(place: &Place<'_>, name: &str) -> HttpTrigger {
    HttpTrigger {
        api_version: API.to_owned(),
        kind: "HTTPTrigger".to_owned(),
        metadata: meta(place, name),
        spec: HttpTriggerSpec {
            relativeurl: format!("/{name}"),
            methods: vec!["POST".to_owned()],
            functionref: reference(name),
        },
    }
}

fn queue_trigger(place: &Place<'_>) -> MessageQueueTrigger {
    MessageQueueTrigger {
        api_version: API.to_owned(),
        kind: "MessageQueueTrigger".to_owned(),
        metadata: meta(place, &place.name),
        spec: MessageQueueTriggerSpec {
            functionref: reference(&place.name),
            message_queue_type: "kafka".to_owned(),
            mqtkind: "fission".to_owned(),
            topic: place.tier.input.name.clone(),
            max_retries: Some(RETRIES),
            content_type: "application/json".to_owned(),
        },
    }
}
