use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use wire::EngineKind;

use crate::*;

fn parse(text: &str) -> Pipeline {
    Pipeline::parse(text, Path::new("base")).unwrap_or_else(|invalid| panic!("{invalid}"))
}

fn problems(text: &str) -> String {
    Pipeline::parse(text, Path::new("base")).expect_err("the text is invalid").to_string()
}

#[test]
fn defaults_make_a_short_file_enough() {
    let pipeline = parse(
        r#"
        [pipeline]
        name = "mnist"
        [[tier]]
        name = "edge"
        model = "edge.onnx"
        exit = { threshold = 0.8 }
        [[tier]]
        name = "cloud"
        model = "/models/cloud.onnx"
        "#,
    );
    let [edge, cloud] = pipeline.tiers.as_slice() else { panic!("two tiers") };
    let topic = |name: &str| Topic { servers: Servers::Embedded, name: name.into() };
    assert_eq!(edge.model, Path::new("base/edge.onnx"));
    assert_eq!(cloud.model, Path::new("/models/cloud.onnx"));
    assert_eq!(edge.exit, ExitSettings::threshold(0.8));
    assert_eq!(edge.input, topic("mnist.edge-input"));
    assert_eq!(edge.output, topic("mnist.edge-output"));
    assert_eq!(edge.dead_letter, topic("mnist.edge-dead-letter"));
    assert_eq!(edge.scale, DEFAULT_SCALE);
    assert_eq!(edge.retry, Retry::default());
    assert_eq!(pipeline.next_of(edge).unwrap().name, "cloud");
    assert_eq!(pipeline.next_of(cloud), None);
    let broker = pipeline.broker.unwrap();
    assert_eq!(broker.dir, Path::new("base/.offramp/log"));
    assert_eq!(broker.listen.to_string(), DEFAULT_LISTEN);
}

#[test]
fn every_key_has_its_effect() {
    let pipeline = parse(
        r#"
        [pipeline]
        name = "mnist"
        [broker]
        dir = "log"
        listen = "127.0.0.1:19092"
        [[tier]]
        name = "edge"
        model = "edge.onnx"
        engine = "onnxruntime"
        exit = { criterion = "margin", threshold = 1, temperature = 2, class_thresholds = { "7" = 0.9 } }
        bootstrap_servers = "edge-0:9092, edge-1:9093"
        input = { topic = "in", encoding = "u8", shape = [28, 28] }
        features = "int8"
        order = "partition"
        output = { topic = "out", bootstrap_servers = "embedded" }
        dead_letter = { topic = "dead" }
        in_flight = 7
        linger_ms = 5
        max_batch = 8
        scale = { min = 0, max = 4 }
        retry = { attempts = 2, backoff_ms_min = 5, backoff_ms_max = 50 }
        uplink_timeout_ms = 250
        [tier.buffer]
        topic = "waiting"
        max_mib = 3
        when_full = "drop-oldest"
        drain_rate = 500
        live_first = true
        [[tier]]
        name = "cloud"
        model = "cloud.onnx"
        bootstrap_servers = "cloud:9092"
        output = { topic = "out", bootstrap_servers = "embedded" }
        "#,
    );
    let edge = &pipeline.tiers[0];
    assert_eq!(
        pipeline.tiers.iter().map(|tier| tier.engine).collect::<Vec<_>>(),
        [EngineKind::OnnxRuntime, EngineKind::Tract]
    );
    assert_eq!((edge.encoding, edge.features), (Encoding::U8, Encoding::Int8));
    assert_eq!((edge.shape.as_deref(), edge.order), (Some(&[28, 28][..]), Order::Partition));
    let remote = Servers::Bootstrap("edge-0:9092, edge-1:9093".into());
    assert_eq!(
        edge.exit,
        ExitSettings {
            criterion: Some(ExitCriterion::Margin),
            threshold: Some(1.0),
            temperature: Some(2.0),
            class_thresholds: BTreeMap::from([("7".to_owned(), 0.9)]),
        }
    );
    assert_eq!(edge.input, Topic { servers: remote.clone(), name: "in".into() });
    assert_eq!(edge.output, Topic { servers: Servers::Embedded, name: "out".into() });
    assert_eq!(edge.dead_letter, Topic { servers: remote.clone(), name: "dead".into() });
    assert_eq!(
        edge.uplink,
        Some(Uplink {
            on_loss: OnLoss::Hold,
            timeout: Duration::from_millis(250),
            buffer: Buffer {
                topic: Topic { servers: remote, name: "waiting".into() },
                max_bytes: 3 << 20,
                when_full: WhenFull::DropOldest,
                drain_rate: Some(500),
                live_first: true,
            },
        })
    );
    assert_eq!(pipeline.tiers[1].uplink, None);
    assert_eq!((edge.in_flight, edge.max_batch, edge.linger), (7, 8, Duration::from_millis(5)));
    assert_eq!(edge.scale, Scale { min: 0, max: 4 });
    assert_eq!(edge.retry.attempts, 2);
    assert_eq!(edge.retry.backoff_min, Duration::from_millis(5));
    assert_eq!(edge.retry.backoff_max, Duration::from_millis(50));
    let broker = pipeline.broker.unwrap();
    assert_eq!((broker.dir.as_path(), broker.listen.port()), (Path::new("base/log"), 19092));
}

#[test]
fn all_problems_of_a_file_are_reported_together() {
    assert_eq!(problems(
        r#"
[pipeline]
nam = "mnist"
[broker]
listen = "localhost"
colour = "red"
[[tier]]
name = "edge node"
exit = { threshold = 1.5, criterion = "entropie", temperature = 0, class_thresholds = { seven = 7, eight = 0.5 } }
bootstrap_server = "kafka:9092"
bootstrap_servers = "kafka"
in_flight = 0
scale = { min = 5, max = 4 }
retry = { attempts = "many", backoff_ms_min = 100, backoff_ms_max = 10 }
[[tier]]
name = "cloud"
model = 3
exit = { threshold = 0.5 }
input = { topic = "same" }
output = { topic = "same" }
[[tier]]
name = "cloud"
model = "cloud.onnx"
exit = { threshold = 0.5 }
"#
    ), "20 problems
  line 2: [pipeline]: `name` is missing, expected a name of letters, digits, `-`, `_` and `.`, at most 100 long
  line 3: [pipeline]: `nam` is not a known key; did you mean `name`?
  line 5: [broker]: `listen` is \"localhost\", expected an address as 127.0.0.1:9092
  line 6: [broker]: `colour` is not a known key; known keys: dir, listen
  line 7: tier 1: `model` is missing, expected the path of an .onnx file
  line 8: tier 1: `name` is \"edge node\", expected a name of letters, digits, `-`, `_` and `.`, at most 100 long
  line 9: tier 1, exit: `class_thresholds`: `seven` is 7, expected a number from 0 to 1
  line 9: tier 1, exit: `criterion` is \"entropie\", expected \"max-softmax\", \"margin\" or \"entropy\"
  line 9: tier 1, exit: `temperature` is 0, expected a number more than 0
  line 9: tier 1, exit: `threshold` is 1.5, expected a number from 0 to 1
  line 10: tier 1: `bootstrap_server` is not a known key; did you mean `bootstrap_servers`?
  line 11: tier 1: `bootstrap_servers` is \"kafka\", expected \"embedded\" or \"host:port\", several separated by commas
  line 12: tier 1: `in_flight` is 0, expected a whole number from 1 to 65536
  line 13: tier 1, scale: `min` is 5, expected at most `max`, 4
  line 14: tier 1, retry: `attempts` is \"many\", expected a whole number from 1 to 1000
  line 14: tier 1, retry: `backoff_ms_min` is 100, expected at most `backoff_ms_max`, 10
  line 17: tier `cloud`: `model` is 3, expected the path of an .onnx file
  line 20: tier `cloud`: `output` is topic \"same\", expected another one: it is `input` of tier `cloud`
  line 22: tier `cloud`: `name` is the name of another tier too, expected one of its own
  line 24: tier `cloud`: `exit` is set, but the last tier always answers: remove it");
}

#[test]
fn text_that_is_not_toml_or_says_nothing_is_explained() {
    assert_eq!(
        problems(""),
        "2 problems
  line 1: `pipeline` is missing, expected a [pipeline] table with a `name`
  line 1: `tier` is missing, expected at least one [[tier]] table"
    );
    assert_eq!(
        problems("[pipeline]\nname = \n[[tier]"),
        "2 problems
  line 2: not TOML: string values must be quoted, expected literal string
  line 3: not TOML: unclosed array table, expected `]`"
    );
    assert_eq!(
        problems("tier = 3\npipeline = []"),
        "2 problems
  line 1: `tier` is 3, expected [[tier]] tables
  line 2: `pipeline` is a list, expected a [pipeline] table"
    );
}

#[test]
fn a_broker_that_no_tier_uses_is_a_contradiction() {
    assert_eq!(problems(
        "[pipeline]\nname = \"p\"\n[broker]\n[[tier]]\nname = \"edge\"\nmodel = \"m.onnx\"\n\
         bootstrap_servers = \"kafka:9092\"\n"
    ), "1 problem
  line 3: `broker` describes the embedded broker, but no tier's `bootstrap_servers` is \"embedded\"");
}

#[test]
fn what_cannot_be_written_or_read_is_named() {
    let problems = problems(
        r#"
        [pipeline]
        name = "p"
        [[tier]]
        name = "edge"
        model = "edge.onnx"
        input = { encoding = "floats", shape = [28, 0] }
        features = "u8"
        engine = "torch"
        order = "time"
        [[tier]]
        name = "cloud"
        model = "cloud.onnx"
        features = "f16"
        "#,
    );
    for expected in [
        "`encoding` is \"floats\", expected one of json, u8",
        "`shape` is a list, expected the lengths of 1 to 8 dimensions, as [28, 28]",
        "`engine` is \"torch\", expected \"tract\" or \"onnxruntime\"",
        "`features` is \"u8\", expected \"json\", \"f32\", \"f16\" or \"int8\"",
        "`order` is \"time\", expected \"key\", \"partition\" or \"none\"",
        "`features` is set, but the last tier forwards none: remove it",
    ] {
        assert!(problems.contains(expected), "no `{expected}` in:\n{problems}");
    }
}

const THREE: &str = r#"
[pipeline]
name = "p"
[[tier]]
name = "edge"
model = "edge.onnx"
KEYS
[[tier]]
name = "fog"
model = "fog.onnx"
bootstrap_servers = "fog:9092"
KEYS
[[tier]]
name = "cloud"
model = "cloud.onnx"
bootstrap_servers = "fog:9092"
KEYS
"#;

#[test]
fn a_tier_has_an_uplink_where_the_next_one_has_another_broker() {
    let pipeline = parse(&THREE.replace("KEYS", ""));
    let uplinks: Vec<_> = pipeline.tiers.iter().map(|tier| tier.uplink.as_ref()).collect();
    let [Some(edge), None, None] = uplinks.as_slice() else { panic!("{uplinks:?}") };
    assert_eq!((edge.on_loss, edge.buffer.when_full), (OnLoss::Hold, WhenFull::Refuse));
    let topic = Topic { servers: Servers::Embedded, name: "p.edge-to-fog".into() };
    assert_eq!((edge.buffer.max_bytes, &edge.buffer.topic), (1 << 30, &topic));
}

#[test]
fn keys_of_an_uplink_that_have_no_effect_are_problems() {
    let keys = "on_uplink_loss = \"answer-here\"\nbuffer = { max_mib = 0, live_first = 1 }";
    assert_eq!(
        problems(&THREE.replace("KEYS", keys)),
        "7 problems\n  \
         line 8: tier `edge`, buffer: `live_first` is 1, expected true or false\n  \
         line 8: tier `edge`, buffer: `max_mib` is 0, expected a whole number from 1 to 1073741824\n  \
         line 8: tier `edge`: `buffer` is set, but with `on_uplink_loss` = \"answer-here\" no record waits: \
         remove one of them\n  \
         line 13: tier `fog`: `on_uplink_loss` is set, but the next tier's broker is this tier's own: remove it\n  \
         line 14: tier `fog`: `buffer` is set, but the next tier's broker is this tier's own: remove it\n  \
         line 19: tier `cloud`: `on_uplink_loss` is set, but the last tier forwards nothing: remove it\n  \
         line 20: tier `cloud`: `buffer` is set, but the last tier forwards nothing: remove it"
    );
}

#[test]
fn functions_and_the_gateway_to_them_are_read() {
    let pipeline = parse(
        r#"
        [pipeline]
        name = "mnist"
        [gateway]
        listen = "0.0.0.0:8081"
        user = "admin"
        password_file = "password"
        [runtime]
        dir = "state"
        programs = "bin"
        [[function]]
        name = "decode"
        command = ["./decode", "--fast"]
        env = { COLOUR = "grey" }
        secrets = ["key"]
        topics = ["raw"]
        scale = { min = 0, max = 3, zero_after_s = 60 }
        concurrency = 4
        timeout_ms = 500
        memory_mib = 64
        cpu_millis = 250
        health_path = "/live"
        [[function]]
        name = "classify"
        image = "offramp/inference"
        [[tier]]
        name = "edge"
        model = "edge.onnx"
        before = [{ function = "decode", timeout_ms = 200 }, { url = "http://crop:8080/" }]
        after = [{ function = "classify" }]
        "#,
    );
    let runtime = pipeline.runtime.unwrap();
    let auth = functions::Auth { user: "admin".into(), password_file: "base/password".into() };
    let listen = "0.0.0.0:8081".parse().unwrap();
    assert_eq!(runtime.gateway, Some(functions::Gateway { listen, auth: Some(auth) }));
    assert_eq!(
        (runtime.dir.to_str(), runtime.programs.to_str()),
        (Some("base/state"), Some("base/bin"))
    );
    let decode = functions::Function {
        name: "decode".into(),
        image: String::new(),
        command: vec!["base/./decode".into(), "--fast".into()],
        env: BTreeMap::from([("COLOUR".to_owned(), "grey".to_owned())]),
        secrets: vec!["key".into()],
        topics: vec!["raw".into()],
        min_scale: Some(0),
        max_scale: Some(3),
        zero_after: Some(Duration::from_secs(60)),
        concurrency: Some(4),
        timeout: Some(Duration::from_millis(500)),
        memory_mib: Some(64),
        cpu_millis: Some(250),
        health_path: Some("/live".into()),
    };
    assert_eq!(runtime.functions[0], decode);
    assert_eq!(runtime.functions[1].image, "offramp/inference");
    let step = |callee, ms| functions::Step { callee, timeout: Duration::from_millis(ms) };
    let edge = &pipeline.tiers[0];
    assert_eq!(
        edge.before,
        [
            step(functions::Callee::Function("decode".into()), 200),
            step(functions::Callee::Url("http://crop:8080/".into()), 10_000),
        ]
    );
    assert_eq!(edge.after, [step(functions::Callee::Function("classify".into()), 10_000)]);
}

#[test]
fn every_problem_with_functions_is_named() {
    let text = r#"
        [pipeline]
        name = "mnist"
        [gateway]
        user = "admin"
        [[function]]
        name = "a b"
        command = ["./x y"]
        [[function]]
        name = "two"
        command = ["./x"]
        image = "offramp/funnel"
        scale = { min = 5, max = 2 }
        env = { A = 1 }
        [[function]]
        name = "two"
        [[tier]]
        name = "edge"
        model = "edge.onnx"
        before = [{ function = "none" }, { url = "ftp://x" }, {}]
    "#;
    let problems = problems(text);
    for expected in [
        "[gateway]: `password_file` is missing, expected the path of a file, since there is a `user`",
        "function `a b`: `name` is \"a b\", expected a name of letters, digits, `-` and `_`, at most 63 long",
        "function `a b`: `command` has a part with spaces in it, expected a program and its arguments",
        "function `two`: `image` is set, and so is `command`: remove one of them",
        "function `two`, scale: `min` is 5, expected at most `max`, 2",
        "function `two`: `env`: `A` is 1, expected a text",
        "function `two`: `name` is the name of another function too, expected one of its own",
        "function `two`: `command` is missing, expected a program and its arguments",
        "tier `edge`, before 1: `function` is \"none\", expected the name of a [[function]]",
        "tier `edge`, before 2: `url` is \"ftp://x\", expected http://host:port/path",
        "tier `edge`, before 3: `function` is missing, expected the name of a [[function]], or a `url`",
    ] {
        assert!(problems.contains(expected), "{expected}\nis not in\n{problems}");
    }
}

const DEPLOYED: &str = r#"
    [pipeline]
    name = "mnist"
    [deploy]
    image = "registry.example/mnist:1.0"
    base_image = "offramp:9"
    namespace = "vision"
    funnels = "functions"
    [[tier]]
    name = "edge"
    model = "edge.onnx"
    bootstrap_servers = "edge:9092"
    [tier.deploy]
    context = "edge"
    gateway = "http://10.0.0.1:8080/"
    internal_gateway = "http://gateway.faas:8080"
    namespace = "at-the-edge"
    image = "mnist-edge:1.0"
    model = "https://host/edge.onnx#sha256=0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
    architecture = "arm64"
    requests = { memory_mib = 64, cpu_millis = 100 }
    limits = { memory_mib = 128, cpu_millis = 500 }
    replicas = { min = 0, max = 3 }
    partitions = 3
    timeout_s = 120
"#;

#[test]
fn where_a_tier_is_deployed_is_read() {
    use crate::deploy::{Architecture, Funnels, Resources};
    let pipeline = parse(DEPLOYED);
    let shared = &pipeline.deploy;
    assert_eq!(shared.image.as_deref(), Some("registry.example/mnist:1.0"));
    assert_eq!(shared.base_image.as_deref(), Some("offramp:9"));
    assert_eq!((shared.namespace.as_deref(), shared.funnels), (Some("vision"), Funnels::Functions));
    let deploy = &pipeline.tiers[0].deploy;
    assert_eq!(deploy.context.as_deref(), Some("edge"));
    assert_eq!(deploy.gateway.as_deref(), Some("http://10.0.0.1:8080"));
    assert_eq!(deploy.internal_gateway.as_deref(), Some("http://gateway.faas:8080"));
    assert_eq!(deploy.namespace.as_deref(), Some("at-the-edge"));
    assert_eq!(deploy.image.as_deref(), Some("mnist-edge:1.0"));
    assert!(deploy.model.is_some());
    assert_eq!(deploy.architecture, Some(Architecture::Arm64));
    assert_eq!(deploy.requests, Resources { memory_mib: Some(64), cpu_millis: Some(100) });
    assert_eq!(deploy.limits, Resources { memory_mib: Some(128), cpu_millis: Some(500) });
    assert_eq!(deploy.replicas, Some(Scale { min: 0, max: 3 }));
    assert_eq!((deploy.partitions, deploy.timeout), (Some(3), Duration::from_secs(120)));
}

#[test]
fn what_can_not_be_deployed_so_is_named() {
    let text = r#"[pipeline]
name = "mnist"
[deploy]
image = "a b"
funnel = "direct"
[[tier]]
name = "edge"
model = "edge.onnx"
deploy = { namespace = "Vision", gateway = "gateway:8080", architecture = "arm", model = "https://host/edge.onnx", requests = { memory_mib = 2 }, limits = { memory_mib = 1 }, replicas = { max = 4 }, partitions = 3 }
"#;
    let found = problems(text);
    let lines: Vec<&str> = found.lines().skip(1).map(str::trim).collect();
    let expected = [
        r#"line 4: [deploy]: `image` is "a b", expected an image's name, as "registry.example/mnist:1.0""#,
        r"line 5: [deploy]: `funnel` is not a known key; did you mean `funnels`?",
        r#"line 9: tier `edge`, deploy: `architecture` is "arm", expected "amd64" or "arm64""#,
        r#"line 9: tier `edge`, deploy: `gateway` is "gateway:8080", expected a URL, as "http://127.0.0.1:8080""#,
        r#"line 9: tier `edge`, deploy: `model` is "https://host/edge.onnx", expected a URL with its file's checksum, as "https://host/edge.onnx#sha256=…", of 64 digits"#,
        r#"line 9: tier `edge`, deploy: `namespace` is "Vision", expected a namespace: small letters, digits and `-`, at most 63 long"#,
        r"line 9: tier `edge`, deploy: `replicas` has `max` = 4, expected at most `partitions`, 3: further replicas get none of them",
        r"line 9: tier `edge`, deploy: `requests` has `memory_mib` = 2, expected at most that of `limits`, 1",
    ];
    assert_eq!(lines, expected);
}
