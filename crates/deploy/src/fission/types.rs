//! Fission's custom resources, and what only its specification folders have.

use std::collections::BTreeMap;

use crate::kubernetes::types::{Container, ObjectMeta, PodSpec};
use crate::yaml::artefact;

artefact! {
    /// What a folder of specifications belongs to.
    struct DeploymentConfig {
        api_version: String,
        kind: String,
        name: String,
        uid: String,
    }

    /// Files that `fission spec apply` packs and uploads.
    struct ArchiveUploadSpec {
        kind: String,
        name: String,
        include: Vec<String>,
        rootdir: String,
    }

    struct Environment {
        api_version: String,
        kind: String,
        metadata: ObjectMeta,
        spec: EnvironmentSpec,
    }

    struct EnvironmentSpec {
        version: u8,
        runtime: Runtime,
        poolsize: Option<u32>,
        #[serde(rename = "terminationGracePeriod")]
        termination_grace_period: Option<u32>,
        keeparchive: Option<bool>,
    }

    struct Runtime {
        image: String,
        container: Option<Container>,
    }

    struct Package {
        api_version: String,
        kind: String,
        metadata: ObjectMeta,
        spec: PackageSpec,
    }

    struct PackageSpec {
        environment: Reference,
        deployment: Archive,
    }

    struct Reference {
        name: String,
        namespace: String,
    }

    struct Archive {
        r#type: String,
        url: String,
    }

    struct FissionFunction {
        api_version: String,
        kind: String,
        metadata: ObjectMeta,
        spec: FunctionSpec,
    }

    struct FunctionSpec {
        environment: Option<Reference>,
        package: Option<FunctionPackage>,
        #[serde(rename = "InvokeStrategy")]
        invoke_strategy: InvokeStrategy,
        function_timeout: Option<u32>,
        idletimeout: Option<u32>,
        concurrency: Option<u32>,
        requests_per_pod: Option<u32>,
        podspec: Option<PodSpec>,
    }

    struct FunctionPackage {
        packageref: PackageReference,
        function_name: String,
    }

    struct PackageReference {
        name: String,
        namespace: String,
    }
}

artefact! { "PascalCase":
    struct InvokeStrategy {
        strategy_type: String,
        execution_strategy: ExecutionStrategy,
    }

    struct ExecutionStrategy {
        executor_type: String,
        min_scale: Option<u32>,
        max_scale: Option<u32>,
        #[serde(rename = "TargetCPUPercent")]
        target_cpu_percent: Option<u32>,
        specialization_timeout: Option<u32>,
    }
}

artefact! {
    struct HttpTrigger {
        api_version: String,
        kind: String,
        metadata: ObjectMeta,
        spec: HttpTriggerSpec,
    }

    struct HttpTriggerSpec {
        relativeurl: String,
        methods: Vec<String>,
        functionref: FunctionReference,
    }

    struct FunctionReference {
        r#type: String,
        name: String,
    }

    struct MessageQueueTrigger {
        api_version: String,
        kind: String,
        metadata: ObjectMeta,
        spec: MessageQueueTriggerSpec,
    }

    struct MessageQueueTriggerSpec {
        functionref: FunctionReference,
        message_queue_type: String,
        mqtkind: String,
        topic: String,
        max_retries: Option<u32>,
        content_type: String,
    }
}

/// The `offramp.env` of a package.
pub(crate) fn env_file(variables: &BTreeMap<String, String>) -> String {
    let lines = variables.iter().map(|(key, value)| format!("{key}={value}\n"));
    lines.collect::<Vec<_>>().concat()
}
