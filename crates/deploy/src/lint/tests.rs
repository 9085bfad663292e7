//! Each rule: silent on a good file, and heard on the same file with one mistake in it.

use super::*;
use crate::tests::variants;
use crate::{Content, render};

fn source(name: &str, text: &str) -> Source {
    Source { name: name.to_owned(), text: text.to_owned() }
}

fn settings() -> Settings {
    let partitions = BTreeMap::from([("t".to_owned(), 3)]);
    Settings { partitions, ..Settings::default() }
}

/// Each change makes the good file a bad one, and the finding says all of the words.
fn check_each(name: &str, good: &str, changes: &[(&str, &str, &str)]) {
    let found = check(&[source(name, good)], &settings());
    assert!(found.is_empty(), "the good file: {}", shown(&found));
    for (from, to, words) in changes {
        assert_eq!(good.matches(from).count(), 1, "`{from}` stands once in the good file");
        let bad = good.replace(from, to);
        let found = check(&[source(name, &bad)], &settings());
        let says = |finding: &Finding| {
            let text = finding.to_string();
            words.split(" … ").all(|part| text.contains(part))
        };
        assert!(
            found.iter().any(says),
            "`{from}` -> `{to}`: expected `{words}` in:\n{}",
            shown(&found)
        );
        let line = 1 + good[..good.find(from).unwrap()].matches('\n').count();
        let near = |finding: &Finding| says(finding) && finding.line.abs_diff(line) <= 20;
        assert!(
            found.iter().any(near),
            "`{from}` -> `{to}`: not at line {line}:\n{}",
            shown(&found)
        );
    }
}

fn shown(findings: &[Finding]) -> String {
    findings.iter().map(|finding| format!("{finding}\n")).collect()
}

#[test]
fn what_is_rendered_is_clean() {
    for (variant, options, pipeline) in variants() {
        let files = render(&pipeline, options).unwrap().files;
        let sources: Vec<Source> = files
            .iter()
            .filter_map(|file| match &file.content {
                Content::Text(text)
                    if file.path.ends_with(".yaml") || file.path.ends_with(".service") =>
                {
                    Some(source(&file.path, text))
                }
                _ => None,
            })
            .collect();
        let partitions = pipeline
            .tiers
            .iter()
            .filter_map(|tier| Some((tier.input.name.clone(), tier.deploy.partitions?)));
        let settings = Settings { partitions: partitions.collect(), ..Settings::default() };
        let found = check(&sources, &settings);
        // Images of the continuum are in a registry, of which OpenWhisk has to be told.
        let found: Vec<Finding> =
            found.into_iter().filter(|one| !one.expected.contains("Docker Hub")).collect();
        assert!(!sources.is_empty() && found.is_empty(), "{variant}:\n{}", shown(&found));
    }
}

/// As the paper's files were: the limits under `label`, half an hour for each call.
const OF_THE_PAPER: &str = include_str!("../../tests/lint/paper-stack.yml");

#[test]
fn the_papers_slip_is_caught() {
    let found = check(&[source("edge.yml", OF_THE_PAPER)], &Settings::default());
    let text = shown(&found);
    assert!(
        text.contains(
            "edge.yml:15: error: `functions.ddnn-edge.label` is a table, expected a known key: did you mean `labels`? \
             (faas-cli passes over what it does not know, so that nothing of it applies)\n"
        ),
        "{text}"
    );
    // With the slip mended, the Community Edition still refuses what it says.
    let mended = OF_THE_PAPER.replace("    label:", "    labels:");
    let text = shown(&check(&[source("edge.yml", &mended)], &Settings::default()));
    assert!(
        text.contains(
            "`functions.ddnn-edge.labels.com.openfaas.scale.max` is 20, expected at most 5"
        ),
        "{text}"
    );
    let licensed = Settings { edition: Edition::Commercial, ..Settings::default() };
    let found = check(&[source("edge.yml", &mended)], &licensed);
    assert!(found.iter().all(|finding| finding.severity == Severity::Warning), "{}", shown(&found));
}

#[test]
fn mistakes_in_a_stack_are_found() {
    let good = "\
version: \"1.0\"
provider:
  name: openfaas
  gateway: http://127.0.0.1:8080
functions:
  edge:
    lang: dockerfile
    handler: ./
    image: digits:1
    namespace: openfaas-fn
    environment:
      OFFRAMP_FUNCTION: inference
      OFFRAMP_PLATFORM: openfaas
      OFFRAMP_MODEL: /models/edge.onnx
      OFFRAMP_THRESHOLD: 0.8
    labels:
      com.openfaas.scale.min: 1
      com.openfaas.scale.max: 5
    annotations:
      topic: other
    limits:
      memory: 128Mi
  takes:
    lang: dockerfile
    handler: ./
    image: digits:1
    environment:
      OFFRAMP_FUNCTION: connector
      OFFRAMP_TOPIC: t
    labels:
      com.openfaas.scale.max: 3
  watched:
    lang: python3-http
    handler: ./watched
    image: w:1
    environment:
      exec_timeout: 50s
      read_timeout: 1m
      write_timeout: 60
";
    check_each(
        "stack.yaml",
        good,
        &[
            (
                "    limits:\n      memory",
                "    limit:\n      memory",
                "functions.edge.limit` … did you mean `limits`",
            ),
            ("gateway: http", "gatway: http", "provider.gatway` … did you mean `gateway`"),
            (
                "scale.max: 5",
                "scale.max: 6",
                "error: `functions.edge.labels.com.openfaas.scale.max` is 6 … at most 5",
            ),
            ("scale.min: 1", "scale.min: 7", "scale.min` is 7 … at most scale.max, 5"),
            ("scale.min: 1", "scale.min: one", "is one … a whole number"),
            ("scale.min: 1", "scale.zero: true", "scale.zero` is true … Community Edition refuses"),
            ("scale.min: 1", "scale.type: capacity", "warning: … scale.type` is capacity"),
            ("      topic: other", "      com.openfaas.scale.max: 2", "it under `labels`"),
            (
                "    labels:\n      com.openfaas.scale.min: 1",
                "    labels:\n      topic: x",
                "it under `annotations`",
            ),
            ("topic: other", "topic: other,t", "is t … each comes twice"),
            ("memory: 128Mi", "memry: 128Mi", "limits.memry` … `memory` or `cpu`"),
            ("namespace: openfaas-fn", "namespace: vision", "is vision, expected openfaas-fn"),
            ("scale.max: 3", "scale.max: 4", "scale.max 4 … at most 3, the topic's partitions"),
            (
                "exec_timeout: 50s",
                "exec_timeout: 2m",
                "read_timeout` is 1m … at least exec_timeout, 2m",
            ),
            (
                "exec_timeout: 50s",
                "exec_timeout: 2m",
                "warning: … exec_timeout` is 2m, expected at most 60s … upstream_timeout",
            ),
            ("exec_timeout: 50s", "exec_timeout: soon", "is soon … a time as 30s"),
            (
                "      exec_timeout: 50s\n",
                "",
                "warning: … read_timeout` is 1m, expected `exec_timeout` beside it",
            ),
            (
                "OFFRAMP_THRESHOLD",
                "OFFRAMP_TRESHOLD",
                "OFFRAMP_TRESHOLD` is 0.8 … OFFRAMP_THRESHOLD?",
            ),
            ("PLATFORM: openfaas", "PLATFORM: knative", "is knative, expected openfaas"),
            ("      OFFRAMP_MODEL: /models/edge.onnx\n", "", "expected OFFRAMP_MODEL beside it"),
            (
                "OFFRAMP_THRESHOLD: 0.8",
                "OFFRAMP_LAST: true\n      OFFRAMP_FORWARD_URL: kafka://k:1/t",
                "forwards nothing",
            ),
        ],
    );
    let one = |at: usize| format!("  f{at}:\n    image: x\n    handler: ./\n");
    let many = format!(
        "provider:\n  name: openfaas\nfunctions:\n{}",
        (0..16).map(one).collect::<String>()
    );
    let found = shown(&check(&[source("stack.yaml", &many)], &settings()));
    assert!(found.contains("16 functions, expected at most 15"), "{found}");
}

#[test]
fn mistakes_in_fissions_specifications_are_found() {
    let good = "\
apiVersion: fission.io/v1
kind: Function
metadata:
  name: edge
spec:
  InvokeStrategy:
    StrategyType: execution
    ExecutionStrategy:
      ExecutorType: container
      MinScale: 1
      MaxScale: 3
      TargetCPUPercent: 80
  functionTimeout: 100
  idletimeout: 200
  podspec:
    containers:
    - name: edge
      image: digits:1
      ports:
      - containerPort: 8888
      env:
      - name: OFFRAMP_PLATFORM
        value: fission
      - name: OFFRAMP_DEAD_LETTER_URL
        value: kafka://k:9092/dead
---
apiVersion: fission.io/v1
kind: HTTPTrigger
metadata:
  name: edge
spec:
  relativeurl: /edge
  methods: [POST]
  functionref:
    type: name
    name: edge
---
apiVersion: fission.io/v1
kind: MessageQueueTrigger
metadata:
  name: reads
spec:
  functionref: {type: name, name: edge}
  messageQueueType: kafka
  mqtkind: fission
  topic: t
  maxRetries: 3
---
apiVersion: fission.io/v1
kind: Environment
metadata:
  name: env
spec:
  version: 3
  runtime: {image: 'offramp:1'}
  poolsize: 2
---
apiVersion: fission.io/v1
kind: Package
metadata:
  name: code
spec:
  environment: {name: env, namespace: default}
  deployment: {type: url, url: 'archive://code'}
---
apiVersion: fission.io/v1
kind: Function
metadata:
  name: packed
spec:
  environment:
    name: env
    namespace: default
  package:
    packageref:
      name: code
      namespace: default
    functionName: inference
  InvokeStrategy:
    StrategyType: execution
    ExecutionStrategy:
      ExecutorType: poolmgr
  concurrency: 5
  requestsPerPod: 64
";
    check_each(
        "specs/edge.yaml",
        good,
        &[
            (
                "idletimeout: 200",
                "idletimeout: 199",
                "error: `spec.idletimeout` is 199 … at least 200",
            ),
            ("  idletimeout: 200\n", "", "60, the default … at least 200"),
            ("idletimeout: 200", "idleTimeout: 200", "did you mean `idletimeout`"),
            ("MaxScale: 3", "MaxScale: 0", "MaxScale` is 0 … at least 1"),
            ("MinScale: 1", "MinScale: 4", "MinScale` is 4 … at most MaxScale, 3"),
            ("TargetCPUPercent: 80", "TargetCPUPercent: 0", "warning: … TargetCPUPercent` is 0"),
            (
                "      - containerPort: 8888\n",
                "      - containerPort: 8888\n      - containerPort: 9100\n",
                "a list of 2, expected one port",
            ),
            (
                "    - name: edge\n      image",
                "    - name: other\n      image: x\n    - name: edge\n      image",
                "of 2 containers",
            ),
            (
                "  podspec:\n",
                "  environment: {name: env, namespace: default}\n  podspec:\n",
                "warning: … `container` passes over it",
            ),
            ("relativeurl: /edge", "relativeurl: edge", "is edge … a path below"),
            (
                "    type: name\n    name: edge",
                "    type: name\n    name: egde",
                "is egde … one of these files' functions: edge",
            ),
            ("mqtkind: fission", "mqtkind: keda", "warning: … 401"),
            ("mqtkind: fission", "mqtkind: keda", "spec.metadata.consumerGroup` is missing"),
            (
                "maxRetries: 3",
                "errorTopic: errors",
                "warning: `spec.errorTopic` is errors … the text of the error",
            ),
            (
                "      - name: OFFRAMP_DEAD_LETTER_URL\n        value: kafka://k:9092/dead\n",
                "",
                "without OFFRAMP_DEAD_LETTER_URL",
            ),
            ("version: 3", "version: 2", "warning: `spec.poolsize`"),
            (
                "  environment:\n    name: env",
                "  environment:\n    name: none",
                "is none, expected one that is there",
            ),
            (
                "      name: code\n      namespace",
                "      nme: code\n      namespace",
                "spec.package.packageref.name` is missing",
            ),
            ("  requestsPerPod: 64\n", "", "warning: `spec.concurrency` is 5"),
        ],
    );
}

#[test]
fn mistakes_in_a_whisk_manifest_are_found() {
    let good = "\
packages:
  digits:
    actions:
      edge:
        function: actions/edge
        docker: me/digits:1
        web: raw
        limits:
          timeout: 60000
          memorySize: 256
          logSize: 10
          concurrency: 1
    triggers:
      reads:
        feed: /whisk.system/messaging/kafkaFeed
        inputs:
          brokers: ['k:9092']
          topic: t
          isJSONData: false
          isBinaryValue: true
    rules:
      run:
        trigger: reads
        action: edge
";
    check_each(
        "manifest.yaml",
        good,
        &[
            ("timeout: 60000", "timeout: 60", "timeout` is 60 … from 100 to 300000 … milliseconds"),
            ("memorySize: 256", "memorySize: 1024", "memorySize` is 1024 … from 128 to 512"),
            ("memorySize", "memorysize", "did you mean `memorySize`"),
            ("concurrency: 1", "concurrency: 8", "concurrency` is 8, expected 1"),
            ("docker: me/digits:1", "docker: registry.example/digits:1", "warning: … Docker Hub"),
            (
                "        function: actions/edge\n        docker: me/digits:1\n",
                "",
                "an action without either",
            ),
            ("web: raw", "inputs: {OFFRAMP_FUNCTION: connector}", "a connector … frozen"),
            ("web: raw", "inputs: {OFFRAMP_TIER: edge}", "offramp.env"),
            ("action: edge", "action: egde", "is egde … one of the package's: edge"),
            ("        trigger: reads\n", "", "a rule with it"),
            ("isJSONData: false", "isJSONData: true", "it or `isBinaryValue`"),
            (
                "          isJSONData: false\n          isBinaryValue: true\n",
                "          isJSONData: true\n",
                "warning: … isJSONData` is true",
            ),
            ("['k:9092']", "k:9092", "brokers` … a list"),
            ("          topic: t\n", "", "inputs.topic` is missing"),
        ],
    );
}

#[test]
fn mistakes_in_knatives_resources_are_found() {
    let good = "\
apiVersion: serving.knative.dev/v1
kind: Service
metadata:
  name: edge
  labels:
    networking.knative.dev/visibility: cluster-local
spec:
  template:
    metadata:
      annotations:
        autoscaling.knative.dev/min-scale: \"0\"
        autoscaling.knative.dev/max-scale: \"3\"
        autoscaling.knative.dev/metric: concurrency
        autoscaling.knative.dev/target: \"4\"
    spec:
      containerConcurrency: 4
      timeoutSeconds: 300
      containers:
      - image: digits:1
        ports:
        - name: http1
          containerPort: 8080
        env:
        - name: OFFRAMP_METRICS
          value: 0.0.0.0:9464
---
apiVersion: sources.knative.dev/v1
kind: KafkaSource
metadata:
  name: reads
spec:
  consumers: 3
  bootstrapServers: ['k:9092']
  topics: [t]
  consumerGroup: t
  initialOffset: earliest
  delivery:
    retry: 3
    deadLetterSink:
      ref: {apiVersion: eventing.knative.dev/v1alpha1, kind: KafkaSink, name: dead}
  sink:
    ref:
      apiVersion: serving.knative.dev/v1
      kind: Service
      name: edge
";
    let misplaced = "  labels:\n    autoscaling.knative.dev/max-scale: \"3\"\n";
    check_each(
        "edge.yaml",
        good,
        &[
            (
                "  labels:\n",
                misplaced,
                "metadata.labels.autoscaling.knative.dev/max-scale` … the template's annotations",
            ),
            ("min-scale: \"0\"", "min-scale: 0", "is 0, expected a text: within quotes"),
            ("min-scale: \"0\"", "min-scale: \"4\"", "min-scale` is 4 … at most max-scale, 3"),
            (
                "metric: concurrency",
                "class: hpa.autoscaling.knative.dev",
                "min-scale` is 0 … at least 1",
            ),
            (
                "min-scale: \"0\"",
                "class: hpa.autoscaling.knative.dev",
                "metric` is concurrency … cpu or memory",
            ),
            ("metric: concurrency", "metric: cpu", "is cpu … concurrency or rps"),
            (
                "target: \"4\"",
                "target: \"100\"",
                "warning: … target` is 100 … at most containerConcurrency, 4",
            ),
            ("timeoutSeconds: 300", "timeoutSeconds: 601", "is 601 … at most 600"),
            (
                "timeoutSeconds: 300",
                "responseStartTimeoutSeconds: 400",
                "is 400 … at most timeoutSeconds, 300",
            ),
            ("containerPort: 8080", "containerPort: 9090", "is 9090, expected another port"),
            ("name: http1", "name: http", "is http, expected http1 or h2c"),
            (
                "          containerPort: 8080\n",
                "          containerPort: 8080\n        - containerPort: 8081\n",
                "2 ports, expected one",
            ),
            ("0.0.0.0:9464", "0.0.0.0:9091", "is 0.0.0.0:9091, expected another port"),
            (
                "        - name: OFFRAMP_METRICS\n          value: 0.0.0.0:9464",
                "        - name: PORT\n          value: \"80\"",
                "env.PORT` is 80, expected none",
            ),
            (
                "        - name: OFFRAMP_METRICS\n          value: 0.0.0.0:9464",
                "        - name: OFFRAMP_FUNCTION\n          value: connector",
                "warning: … a Deployment",
            ),
            ("  consumerGroup: t\n", "", "error: `spec.consumerGroup` is missing"),
            (
                "initialOffset: earliest",
                "initialOffset: latest",
                "warning: `spec.initialOffset` is latest",
            ),
            (
                "  delivery:\n    retry: 3\n    deadLetterSink:\n      ref: {apiVersion: eventing.knative.dev/v1alpha1, kind: KafkaSink, name: dead}\n",
                "",
                "warning: … deadLetterSink",
            ),
            ("consumers: 3", "consumers: 4", "is 4 … at most 3"),
            (
                "      kind: Service\n      name: edge",
                "      kind: Service\n      name: egde",
                "is egde … one of these files' services",
            ),
        ],
    );
}

#[test]
fn mistakes_in_kubernetes_objects_are_found() {
    let good = "\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: reads
spec:
  selector:
    matchLabels:
      app: reads
  template:
    metadata:
      labels:
        app: reads
    spec:
      terminationGracePeriodSeconds: 45
      securityContext:
        seccompProfile:
          type: RuntimeDefault
      containers:
      - name: offramp
        image: digits:1
        ports:
        - name: http
          containerPort: 8080
        env:
        - name: OFFRAMP_FUNCTION
          value: connector
        - name: OFFRAMP_TOPIC
          value: t
        securityContext:
          runAsNonRoot: true
          allowPrivilegeEscalation: false
          capabilities:
            drop: [ALL]
---
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata:
  name: reads
spec:
  scaleTargetRef:
    name: reads
  minReplicaCount: 0
  maxReplicaCount: 3
  triggers:
  - type: kafka
    metadata:
      bootstrapServers: k:9092
      consumerGroup: t
      topic: t
      lagThreshold: \"10\"
      offsetResetPolicy: earliest
---
apiVersion: v1
kind: Service
metadata:
  name: reads
spec:
  selector:
    app: reads
  ports:
  - port: 80
    targetPort: http
";
    check_each(
        "reads.yaml",
        good,
        &[
            (
                "  selector:\n    matchLabels:\n      app: reads",
                "  selector:\n    matchLabels:\n      app: read",
                "app = read … a label of spec.template.metadata",
            ),
            (
                "terminationGracePeriodSeconds: 45",
                "terminationGracePeriodSeconds: 20",
                "is 20 … more than 20",
            ),
            (
                "  selector:\n    matchLabels",
                "  replicas: 2\n  selector:\n    matchLabels",
                "spec.replicas` is 2 … no such key",
            ),
            (
                "  selector:\n    matchLabels",
                "  replicas: 4\n  selector:\n    matchLabels",
                "spec.replicas` is 4 … at most 3",
            ),
            ("runAsNonRoot: true", "runAsNonRoot: false", "warning: … runAsNonRoot` is false"),
            (
                "          allowPrivilegeEscalation: false\n",
                "",
                "warning: … allowPrivilegeEscalation` is missing",
            ),
            ("drop: [ALL]", "drop: [NET_RAW]", "warning: … capabilities.drop"),
            (
                "          type: RuntimeDefault",
                "          localhostProfile: x",
                "warning: … seccompProfile.type",
            ),
            (
                "    name: reads\n  minReplicaCount",
                "    name: read\n  minReplicaCount",
                "is read … one of these files' Deployments",
            ),
            (
                "maxReplicaCount: 3",
                "maxReplicaCount: 4",
                "is 4 … at most 3, the topic's partitions",
            ),
            (
                "maxReplicaCount: 3",
                "maxReplicaCount: 3\n  idleReplicaCount: 1",
                "idleReplicaCount` is 1",
            ),
            ("minReplicaCount: 0", "minReplicaCount: 5", "is 5 … at most maxReplicaCount, 3"),
            ("      offsetResetPolicy: earliest\n", "", "error: … latest, the default … keda#2033"),
            (
                "minReplicaCount: 0\n  maxReplicaCount: 3",
                "minReplicaCount: 1\n  maxReplicaCount: 3\n  pollingIntervall: 3",
                "did you mean `pollingInterval`",
            ),
            ("      consumerGroup: t\n", "", "consumerGroup` is missing"),
            ("consumerGroup: t", "consumerGroup: reads", "is reads, expected t"),
            ("topic: t\n", "topic: u\n", "is u, expected t"),
            ("lagThreshold: \"10\"", "lagThreshold: 10", "within quotes"),
            (
                "lagThreshold: \"10\"",
                "scaleToZeroOnInvalidOffset: \"true\"",
                "never gets its first replica",
            ),
            (
                "    app: reads\n  ports",
                "    app: writes\n  ports",
                "app = writes … labels of a pod",
            ),
            ("targetPort: http", "targetPort: metrics", "is metrics … the name of a port"),
        ],
    );
    let noted = good.replace(
        "  name: reads\nspec:\n  scaleTargetRef",
        "  name: reads\n  annotations: {offramp.dev/partitions: \"2\"}\nspec:\n  scaleTargetRef",
    );
    let found = shown(&check(&[source("reads.yaml", &noted)], &Settings::default()));
    assert!(found.contains("at most 2, the topic's partitions"), "{found}");
}

#[test]
fn mistakes_in_a_nuclio_function_are_found() {
    let good = "\
apiVersion: nuclio.io/v1
kind: NuclioFunction
metadata:
  name: edge
spec:
  runtime: golang
  handler: main:Handler
  image: digits:1
  build:
    codeEntryType: image
  env:
  - name: OFFRAMP_PLATFORM
    value: nuclio
  minReplicas: 1
  maxReplicas: 3
  triggers:
    http:
      kind: http
      attributes: {maxRequestBodySize: 8388608}
---
apiVersion: nuclio.io/v1
kind: NuclioFunction
metadata:
  name: reads
spec:
  runtime: python:3.11
  handler: main:handler
  triggers:
    kafka:
      kind: kafka-cluster
      maxWorkers: 3
      attributes:
        topics: [t]
        brokers: ['k:9092']
        consumerGroup: t
        initialOffset: earliest
        sessionTimeout: 60s
        heartbeatInterval: 10s
";
    check_each(
        "edge.yaml",
        good,
        &[
            (
                "kind: http\n",
                "kind: kafka-cluster\n",
                "is kafka-cluster, expected only http … nothing would arrive",
            ),
            ("minReplicas: 1", "minReplicas: 4", "is 4 … at most maxReplicas, 3"),
            ("minReplicas: 1", "minReplicas: 0", "is 0 … `scaleToZero` beside it"),
            ("maxReplicas: 3", "maxReplicas: 3\n  replicas: 2", "spec.replicas` is set"),
            ("maxReplicas: 3", "maxReplica: 3", "did you mean `maxReplicas`"),
            ("        consumerGroup: t\n", "", "consumerGroup` is missing"),
            ("        initialOffset: earliest\n", "", "warning: … latest, the default"),
            ("heartbeatInterval: 10s", "heartbeatInterval: 30s", "a third of sessionTimeout"),
            ("maxWorkers: 3", "maxWorkers: 4", "is 4 … at most 3"),
        ],
    );
}

#[test]
fn mistakes_in_a_compose_file_are_found() {
    let good = "\
services:
  broker:
    image: offramp:1
    command: broker --dir /data --listen 0.0.0.0:9092 --advertise broker:9092
    volumes: ['log:/data']
  edge:
    image: digits:1
    command: [up, --tier, edge, /etc/offramp/offramp.toml]
    environment: ['OFFRAMP_METRICS=0.0.0.0:9100']
    depends_on: [broker]
    stop_grace_period: 45s
    ports: ['9100']
    deploy:
      replicas: 2
volumes:
  log:
";
    check_each(
        "compose.yaml",
        good,
        &[
            (" --advertise broker:9092", "", "--advertise SERVICE:PORT"),
            ("    volumes: ['log:/data']\n", "", "warning: … a volume for --dir"),
            ("'log:/data'", "'logs:/data'", "is logs … a volume under `volumes`"),
            ("depends_on: [broker]", "depends_on: [brokr]", "is brokr … one of broker, edge"),
            ("    stop_grace_period: 45s\n", "", "10s, the default … more than 20s"),
            ("stop_grace_period", "stop_grace_periods", "did you mean `stop_grace_period`"),
            (
                "ports: ['9100']",
                "ports: ['9100:9100']",
                "is 9100:9100, expected no port of the host",
            ),
            ("ports: ['9100']", "container_name: edge", "container_name` … no such key"),
            ("OFFRAMP_METRICS=", "OFFRAMP_METRIC=", "OFFRAMP_METRICS?"),
        ],
    );
}

#[test]
fn mistakes_in_a_unit_are_found() {
    let good = include_str!("../../../../docs/offramp.service");
    check_each(
        "offramp.service",
        good,
        &[
            ("TimeoutStopSec=45", "TimeoutStopSec=10", "is 10 … more than 20"),
            ("ReadWritePaths=", "ReadWritePath=", "did you mean `ReadWritePaths`"),
            ("Restart=always", "After=x", "Service.After` is x, expected it in [Unit]"),
            ("[Install]", "[Instal]", "[Unit], [Service] or [Install]"),
        ],
    );
}

#[test]
fn what_is_not_known_or_not_yaml_is_said() {
    for (text, words) in [
        ("a: 1\n b: 2\n", "x.yaml:2: error: `YAML` is broken"),
        ("a: 1\n", "expected a stack.yaml with `provider`"),
        ("apiVersion: v1\nkind: Service\nspec: []\n", "`spec` is a list, expected a table"),
    ] {
        let found = shown(&check(&[source("x.yaml", text)], &settings()));
        assert!(found.contains(words), "{found}");
    }
    let other = "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nrules: []\n";
    assert!(check(&[source("x.yaml", other)], &settings()).is_empty());
}
