//! Mistakes in resources of Kubernetes.

use super::{check_each, shown, source};
use crate::lint::{Settings, check};

#[test]
fn mistakes_in_knatives_resources_are_found() {
    let good = include_str!("../../../tests/lint/knative.yaml");
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
    let good = include_str!("../../../tests/lint/kubernetes.yaml");
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
    let good = include_str!("../../../tests/lint/nuclio.yaml");
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
