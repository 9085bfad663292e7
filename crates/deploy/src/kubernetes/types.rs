//! The objects of Kubernetes that are rendered, key by key.
//!
//! A key that a platform knows and nothing here writes is in [`super::known`], for what others have written.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::yaml::artefact;

/// A number or a text, where the API takes both.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Scalar {
    Whole(i64),
    Number(f64),
    Text(String),
}

impl Default for Scalar {
    fn default() -> Self {
        Self::Whole(0)
    }
}

impl From<u16> for Scalar {
    fn from(port: u16) -> Self {
        Self::Whole(port.into())
    }
}

impl From<&str> for Scalar {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

pub(crate) type Texts = BTreeMap<String, String>;

artefact! {
    struct ObjectMeta {
        name: String,
        namespace: String,
        labels: Texts,
        annotations: Texts,
    }

    /// `v1`.
    struct ServiceAccount {
        api_version: String,
        kind: String,
        metadata: ObjectMeta,
        automount_service_account_token: Option<bool>,
    }

    /// `v1`.
    struct ConfigMap {
        api_version: String,
        kind: String,
        metadata: ObjectMeta,
        data: Texts,
    }

    /// `v1`.
    struct Service {
        api_version: String,
        kind: String,
        metadata: ObjectMeta,
        spec: ServiceSpec,
    }

    struct ServiceSpec {
        selector: Texts,
        ports: Vec<ServicePort>,
        r#type: String,
    }

    struct ServicePort {
        name: String,
        port: u16,
        target_port: Option<Scalar>,
        protocol: String,
    }

    /// `apps/v1`.
    struct Deployment {
        api_version: String,
        kind: String,
        metadata: ObjectMeta,
        spec: DeploymentSpec,
    }

    struct DeploymentSpec {
        replicas: Option<u32>,
        revision_history_limit: Option<u32>,
        selector: LabelSelector,
        template: PodTemplateSpec,
    }

    struct LabelSelector {
        match_labels: Texts,
    }

    struct PodTemplateSpec {
        metadata: ObjectMeta,
        spec: PodSpec,
    }

    struct PodSpec {
        service_account_name: String,
        automount_service_account_token: Option<bool>,
        enable_service_links: Option<bool>,
        termination_grace_period_seconds: Option<u32>,
        node_selector: Texts,
        security_context: PodSecurityContext,
        containers: Vec<Container>,
        volumes: Vec<Volume>,
    }

    struct Container {
        name: String,
        image: String,
        args: Vec<String>,
        ports: Vec<ContainerPort>,
        env: Vec<EnvVar>,
        startup_probe: Option<Probe>,
        readiness_probe: Option<Probe>,
        liveness_probe: Option<Probe>,
        resources: ResourceRequirements,
        security_context: SecurityContext,
        volume_mounts: Vec<VolumeMount>,
    }

    struct ContainerPort {
        name: String,
        #[serde(rename = "containerPort")]
        port: u16,
        protocol: String,
    }

    struct EnvVar {
        name: String,
        value: String,
    }

    struct Probe {
        http_get: Option<HttpGetAction>,
        period_seconds: Option<u32>,
        timeout_seconds: Option<u32>,
        failure_threshold: Option<u32>,
    }

    struct HttpGetAction {
        path: String,
        port: Option<Scalar>,
    }

    struct ResourceRequirements {
        requests: BTreeMap<String, Scalar>,
        limits: BTreeMap<String, Scalar>,
    }

    struct PodSecurityContext {
        run_as_non_root: Option<bool>,
        run_as_user: Option<u32>,
        run_as_group: Option<u32>,
        fs_group: Option<u32>,
        seccomp_profile: Option<SeccompProfile>,
    }

    struct SecurityContext {
        run_as_non_root: Option<bool>,
        allow_privilege_escalation: Option<bool>,
        read_only_root_filesystem: Option<bool>,
        capabilities: Option<Capabilities>,
        seccomp_profile: Option<SeccompProfile>,
    }

    struct SeccompProfile {
        r#type: String,
    }

    struct Capabilities {
        drop: Vec<String>,
        add: Vec<String>,
    }

    struct VolumeMount {
        name: String,
        mount_path: String,
        read_only: Option<bool>,
    }

    struct Volume {
        name: String,
        config_map: Option<ConfigMapVolumeSource>,
        empty_dir: Option<EmptyDirVolumeSource>,
    }

    struct ConfigMapVolumeSource {
        name: String,
    }

    struct EmptyDirVolumeSource {
        medium: String,
        size_limit: Option<Scalar>,
    }

    /// `policy/v1`.
    struct PodDisruptionBudget {
        api_version: String,
        kind: String,
        metadata: ObjectMeta,
        spec: PodDisruptionBudgetSpec,
    }

    struct PodDisruptionBudgetSpec {
        max_unavailable: Option<Scalar>,
        selector: LabelSelector,
    }

    /// `networking.k8s.io/v1`.
    struct NetworkPolicy {
        api_version: String,
        kind: String,
        metadata: ObjectMeta,
        spec: NetworkPolicySpec,
    }

    struct NetworkPolicySpec {
        pod_selector: LabelSelector,
        policy_types: Vec<String>,
        ingress: Vec<NetworkPolicyRule>,
        egress: Vec<NetworkPolicyRule>,
    }

    struct NetworkPolicyRule {
        ports: Vec<NetworkPolicyPort>,
    }

    struct NetworkPolicyPort {
        protocol: String,
        port: Option<Scalar>,
    }

    /// `keda.sh/v1alpha1`.
    struct ScaledObject {
        api_version: String,
        kind: String,
        metadata: ObjectMeta,
        spec: ScaledObjectSpec,
    }

    struct ScaledObjectSpec {
        scale_target_ref: ScaleTarget,
        polling_interval: Option<u32>,
        cooldown_period: Option<u32>,
        min_replica_count: Option<u32>,
        max_replica_count: Option<u32>,
        fallback: Option<Fallback>,
        triggers: Vec<ScaleTrigger>,
    }

    struct ScaleTarget {
        api_version: String,
        kind: String,
        name: String,
    }

    struct Fallback {
        failure_threshold: u32,
        replicas: u32,
    }

    struct ScaleTrigger {
        r#type: String,
        metadata: Texts,
    }
}
