//! A pod that passes the profile `restricted` of Pod Security, with our container in it.

use pipeline::deploy::Resources;

use super::types::{
    Capabilities, Container, ContainerPort, EmptyDirVolumeSource, EnvVar, PodSecurityContext,
    PodSpec, ResourceRequirements, SeccompProfile, SecurityContext, Texts, Volume, VolumeMount,
};
use crate::plan::{Place, USER};

/// What is in the making.
#[derive(Debug)]
pub(crate) struct Pod {
    pub(crate) spec: PodSpec,
    pub(crate) container: Container,
    pub(crate) annotations: Texts,
    /// How many there are, where that is not for others to say.
    pub(crate) replicas: Option<u32>,
}

impl Pod {
    pub(crate) fn of(place: &Place<'_>, image: &str) -> Self {
        let container = Container {
            name: "offramp".to_owned(),
            image: image.to_owned(),
            resources: resources(place),
            security_context: restricted(),
            volume_mounts: vec![VolumeMount {
                name: "tmp".to_owned(),
                mount_path: "/tmp".to_owned(),
                read_only: None,
            }],
            ..Container::default()
        };
        let spec = PodSpec {
            automount_service_account_token: Some(false),
            enable_service_links: Some(false),
            node_selector: place.node_selector(),
            security_context: PodSecurityContext {
                run_as_non_root: Some(true),
                run_as_user: Some(USER),
                run_as_group: Some(USER),
                fs_group: None,
                seccomp_profile: Some(runtime_default()),
            },
            volumes: vec![Volume {
                name: "tmp".to_owned(),
                empty_dir: Some(EmptyDirVolumeSource::default()),
                ..Volume::default()
            }],
            ..PodSpec::default()
        };
        Self { spec, container, annotations: Texts::new(), replicas: None }
    }

    /// Adds variables.
    pub(crate) fn env(&mut self, variables: impl IntoIterator<Item = (String, String)>) {
        self.container.env.extend(env(variables));
    }

    /// The pod, which has this long to stop.
    pub(crate) fn finish(self, stop_timeout_s: u32) -> PodSpec {
        PodSpec {
            termination_grace_period_seconds: Some(stop_timeout_s),
            containers: vec![self.container],
            ..self.spec
        }
    }
}

/// Variables as a container has them.
pub(crate) fn env(variables: impl IntoIterator<Item = (String, String)>) -> Vec<EnvVar> {
    variables.into_iter().map(|(name, value)| EnvVar { name, value }).collect()
}

pub(crate) fn port(name: &str, port: u16) -> ContainerPort {
    ContainerPort { name: name.to_owned(), port, protocol: String::new() }
}

/// A tier's own requests and limits.
pub(crate) fn resources(place: &Place<'_>) -> ResourceRequirements {
    let scalars = |quantities: Texts| {
        quantities.into_iter().map(|(key, value)| (key, value.as_str().into())).collect()
    };
    let [requests, limits] = place.quantities().map(scalars);
    ResourceRequirements { requests, limits }
}

/// Limits, which are promised as well.
pub(crate) fn quantities(limits: &Resources) -> ResourceRequirements {
    let memory =
        limits.memory_mib.map(|mib| ("memory".to_owned(), format!("{mib}Mi").as_str().into()));
    let cpu =
        limits.cpu_millis.map(|millis| ("cpu".to_owned(), format!("{millis}m").as_str().into()));
    ResourceRequirements {
        limits: cpu.into_iter().chain(memory).collect(),
        ..ResourceRequirements::default()
    }
}

pub(crate) fn restricted() -> SecurityContext {
    SecurityContext {
        run_as_non_root: Some(true),
        allow_privilege_escalation: Some(false),
        read_only_root_filesystem: Some(true),
        capabilities: Some(Capabilities { drop: vec!["ALL".to_owned()], add: Vec::new() }),
        seccomp_profile: Some(runtime_default()),
    }
}

fn runtime_default() -> SeccompProfile {
    SeccompProfile { r#type: "RuntimeDefault".to_owned() }
}
