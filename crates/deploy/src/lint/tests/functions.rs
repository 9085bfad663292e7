//! Mistakes on platforms of functions.

use super::{check_each, settings, shown, source};
use crate::lint::check;

#[test]
fn mistakes_in_a_stack_are_found() {
    let good = include_str!("../../../tests/lint/stack.yaml");
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
    let good = include_str!("../../../tests/lint/fission.yaml");
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
    let good = include_str!("../../../tests/lint/manifest.yaml");
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
