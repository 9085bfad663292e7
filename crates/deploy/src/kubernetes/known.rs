//! Keys that platforms know and nothing here writes, by the name of the type that would have them.
//!
//! They are those of Kubernetes 1.37, KEDA 2.20, Fission 1.27, Knative 1.23, Nuclio 1.14, and the current formats of
//! `faas-cli`, `wskdeploy` and Compose.

/// Further keys of a type, separated by spaces; `*` where there are more than are known here, `x-*` where
/// people may have their own.
pub(crate) fn also(name: &str) -> &'static str {
    FURTHER.iter().find(|(of, _)| *of == name).map_or("", |(_, keys)| keys)
}

const FURTHER: &[(&str, &str)] = &[
    (
        "ObjectMeta",
        "creationTimestamp deletionGracePeriodSeconds deletionTimestamp finalizers generateName generation \
         managedFields ownerReferences resourceVersion selfLink uid",
    ),
    (
        "PodSpec",
        "activeDeadlineSeconds affinity dnsConfig dnsPolicy ephemeralContainers hostAliases hostIPC \
         hostNetwork hostPID hostUsers hostname hostnameOverride imagePullSecrets initContainers nodeName os \
         overhead preemptionPolicy priority priorityClassName readinessGates resourceClaims resources \
         restartPolicy runtimeClassName schedulerName schedulingGates schedulingGroup serviceAccount \
         setHostnameAsFQDN shareProcessNamespace subdomain tolerations topologySpreadConstraints",
    ),
    (
        "Container",
        "command envFrom imagePullPolicy lifecycle resizePolicy restartPolicy restartPolicyRules stdin \
         stdinOnce terminationMessagePath terminationMessagePolicy tty volumeDevices workingDir",
    ),
    ("ContainerPort", "hostIP hostPort"),
    ("EnvVar", "valueFrom"),
    (
        "Probe",
        "exec grpc initialDelaySeconds successThreshold tcpSocket terminationGracePeriodSeconds",
    ),
    ("HttpGetAction", "host httpHeaders scheme"),
    ("ResourceRequirements", "claims"),
    (
        "PodSecurityContext",
        "appArmorProfile fsGroupChangePolicy seLinuxChangePolicy seLinuxOptions supplementalGroups \
         supplementalGroupsPolicy sysctls windowsOptions",
    ),
    (
        "SecurityContext",
        "appArmorProfile privileged procMount runAsGroup runAsUser seLinuxOptions windowsOptions",
    ),
    ("SeccompProfile", "localhostProfile"),
    ("VolumeMount", "mountPropagation recursiveReadOnly subPath subPathExpr"),
    (
        "Volume",
        "awsElasticBlockStore azureDisk azureFile cephfs cinder csi downwardAPI ephemeral fc flexVolume \
         flocker gcePersistentDisk gitRepo glusterfs hostPath image iscsi nfs persistentVolumeClaim \
         photonPersistentDisk portworxVolume projected quobyte rbd scaleIO secret storageos vsphereVolume",
    ),
    ("ConfigMapVolumeSource", "defaultMode items optional"),
    ("ServiceAccount", "imagePullSecrets secrets"),
    ("ConfigMap", "binaryData immutable"),
    (
        "ServiceSpec",
        "allocateLoadBalancerNodePorts clusterIP clusterIPs externalIPs externalName externalTrafficPolicy \
         healthCheckNodePort internalTrafficPolicy ipFamilies ipFamilyPolicy loadBalancerClass loadBalancerIP \
         loadBalancerSourceRanges publishNotReadyAddresses sessionAffinity sessionAffinityConfig \
         trafficDistribution",
    ),
    ("ServicePort", "appProtocol nodePort"),
    ("Service", "status"),
    ("Deployment", "status"),
    ("PodDisruptionBudget", "status"),
    ("ScaledObject", "status"),
    ("FissionFunction", "status"),
    ("Environment", "status"),
    ("Package", "status"),
    ("HttpTrigger", "status"),
    ("MessageQueueTrigger", "status"),
    ("KnativeService", "status"),
    ("KafkaSource", "status"),
    ("NuclioFunction", "status"),
    ("DeploymentSpec", "minReadySeconds paused progressDeadlineSeconds strategy"),
    ("LabelSelector", "matchExpressions"),
    ("PodDisruptionBudgetSpec", "minAvailable unhealthyPodEvictionPolicy"),
    ("NetworkPolicyRule", "from to"),
    ("NetworkPolicyPort", "endPort"),
    ("ScaledObjectSpec", "advanced idleReplicaCount initialCooldownPeriod"),
    ("ScaleTarget", "envSourceContainerName"),
    ("Fallback", "behavior"),
    ("ScaleTrigger", "authenticationRef metricType name useCachedMetrics"),
    (
        "FunctionSpec",
        "agent configmaps env envFrom invocation onceOnly provisionedConcurrency resources retainPods secrets \
         state streaming tool versioning",
    ),
    ("ExecutionStrategy", "hpaBehavior hpaMetrics"),
    (
        "EnvironmentSpec",
        "allowAccessToExternalNetwork allowedFunctionsPerContainer builder imagepullsecret resources",
    ),
    ("Runtime", "podspec"),
    ("PackageSpec", "buildcmd source"),
    ("Archive", "checksum literal oci"),
    ("ArchiveUploadSpec", "exclude"),
    ("FunctionReference", "alias functionweights version"),
    ("PackageReference", "resourceversion"),
    (
        "HttpTriggerSpec",
        "corsConfig createingress host ingressconfig invocationMode keepPrefix method prefix routeConfig",
    ),
    (
        "MessageQueueTriggerSpec",
        "cooldownPeriod errorTopic maxReplicaCount metadata minReplicaCount podspec pollingInterval respTopic \
         secret",
    ),
    ("KnativeServiceSpec", "traffic"),
    (
        "RevisionSpec",
        "affinity dnsConfig dnsPolicy hostAliases idleTimeoutSeconds imagePullSecrets initContainers \
         priorityClassName responseStartTimeoutSeconds runtimeClassName schedulerName serviceAccountName \
         shareProcessNamespace tolerations topologySpreadConstraints volumes",
    ),
    ("KafkaSourceSpec", "ceOverrides net"),
    ("Delivery", "retryAfterMax timeout"),
    ("Destination", "CACerts audience uri"),
    (
        "NuclioSpec",
        "affinity agent alias avatar customScalingMetricSpecs dataBindings description devices disable \
         disableDefaultHTTPTrigger disableSensitiveFieldsMasking envFrom eventTimeout forceUpdate hostIPC \
         imageHash imagePullSecrets initContainers loggerSinks nodeName platform podPriority preemptionMode \
         priorityClassName publish runRegistry runtimeAttributes scaleToZero serviceAccount serviceType \
         sidecars targetCPU tolerations useServiceMesh version volumes waitReadinessTimeoutBeforeFailure",
    ),
    (
        "NuclioBuild",
        "args baseImage buildTimeoutSeconds builderImage codeEntryAttributes commands dependencies directives \
         flags image mode noBaseImagesPull noCache noCleanup offline onbuildImage path \
         readinessTimeoutSeconds registry runtimeAttributes tempDir",
    ),
    (
        "NuclioTrigger",
        "annotations batch class disabled explicitAckMode maxTasks mode name numWorkers partitions password \
         secret totalTasks url username workerAllocatorName workerAvailabilityTimeoutMilliseconds \
         workerTerminationTimeout",
    ),
    ("TemplateFile", "build_args build_options mount_ssh"),
    ("Provider", "headers"),
    ("StackFunction", "build_hook dockerfile name registry"),
    ("Configuration", "template_configs"),
    ("WhiskManifest", "project"),
    (
        "WhiskPackage",
        "apis credential dependencies inputs license namespace public sequences version",
    ),
    (
        "Action",
        "code conductor credential exposedUrl location namespace native outputs runtime version web-export",
    ),
    ("ActionLimits", "codeSize concurrentActivations parameterSize userInvocationRate"),
    ("WhiskTrigger", "annotations credential namespace source"),
    ("FeedInputs", "*"),
    ("Rule", "rule"),
    ("TriggerAttributes", "* partitions topic"),
    ("ComposeFile", "x-* configs include models networks secrets version"),
    ("ComposeVolume", "x-* driver_opts external labels name"),
    (
        "ComposeService",
        "x-* annotations attach blkio_config cap_add cgroup cgroup_parent configs container_name cpu_count \
         cpu_percent cpu_period cpu_quota cpu_rt_period cpu_rt_runtime cpu_shares cpuset credential_spec \
         develop device_cgroup_rules devices dns dns_opt dns_search domainname entrypoint env_file expose \
         extends external_links extra_hosts gpus group_add healthcheck hostname init ipc isolation label_file \
         labels links logging mac_address mem_swappiness memswap_limit models network_mode networks \
         oom_kill_disable oom_score_adj pid pids_limit post_start pre_stop privileged profiles provider \
         pull_policy runtime scale secrets shm_size stdin_open stop_signal storage_opt sysctls tty ulimits \
         use_api_socket userns_mode uts volumes_from working_dir",
    ),
    (
        "ComposeBuild",
        "x-* additional_contexts args cache_from cache_to dockerfile dockerfile_inline entitlements extra_hosts \
         isolation labels network no_cache platforms privileged provenance pull sbom secrets shm_size ssh \
         tags target ulimits",
    ),
    (
        "ComposeDeploy",
        "x-* endpoint_mode labels mode placement resources restart_policy rollback_config update_config",
    ),
];
