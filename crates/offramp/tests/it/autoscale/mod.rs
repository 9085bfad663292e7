//! `offramp autoscale` with a real broker and, in the place of a gateway or a cluster, a [`stand_in`].

mod stand_in;

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::Stdio;

use kafka::{Consumer, Producer};
use tempfile::TempDir;
use wire::Record;

use self::stand_in::{Kind, StandIn, Transport};
use crate::process::{Service, broker, offramp, run_ok};

/// Topic, group, and times that are short: a second without work is long.
const LOAD: [&str; 18] = [
    "--topic",
    "t",
    "--group",
    "g",
    "--commit-ms",
    "300",
    "--interval-ms",
    "100",
    "--service-ms",
    "100",
    "--cold-start-ms",
    "100",
    "--down-window-ms",
    "1000",
    "--idle-ms",
    "1000",
    "--max-scale",
    "8",
];

struct Stage {
    dir: TempDir,
    broker: Service,
    servers: String,
    stand_in: StandIn,
    kind: Kind,
}

impl Stage {
    /// A broker with a topic of 16 partitions, and a stand-in without instances.
    fn start(kind: Kind, transport: Transport) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (broker, servers) = broker(&dir.path().join("log"), "127.0.0.1:0");
        run_ok(&["topic", "create", "t", "-p", "16", "-b", &servers]);
        std::fs::write(dir.path().join("secret"), "secret\n").unwrap();
        let stand_in = StandIn::start(kind, transport);
        Self { dir, broker, servers, stand_in, kind }
    }

    fn arguments(&self) -> Vec<String> {
        let secret = self.dir.path().join("secret").display().to_string();
        let url = self.stand_in.url.as_str();
        let ca = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/it/autoscale/ca.pem");
        let ca = ca.display().to_string();
        let place: &[&str] = match self.kind {
            Kind::Gateway => &[
                "--gateway",
                url,
                "--function",
                "fog.ns",
                "--user",
                "admin",
                "--password-file",
                &secret,
            ],
            Kind::Kubernetes => &[
                "--api-server",
                url,
                "--namespace",
                "ns",
                "--deployment",
                "fog",
                "--token-file",
                &secret,
                "--ca-file",
                &ca,
            ],
        };
        let all = [&["autoscale", "-b", &self.servers], &LOAD[..], place].concat();
        all.into_iter().map(str::to_owned).collect()
    }

    fn autoscale(&self) -> Service {
        let arguments = self.arguments();
        Service::start(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
    }

    async fn send(&self, records: usize) {
        let producer = Producer::new(&self.servers).unwrap();
        for _ in 0..records {
            let value = Some("1".into());
            let record = Record { key: None, headers: Vec::new(), timestamp_ms: None, value };
            producer.send("t", &record).await.unwrap();
        }
    }

    /// Reads so many records as the group does, and commits them.
    async fn drain(&self, records: usize) {
        let consumer = Consumer::subscribe(&self.servers, "g", &["t"]).unwrap();
        let mut read = 0;
        while read < records {
            let deliveries = consumer.recv_many(records).await.unwrap();
            read += deliveries.len();
            consumer.done(deliveries.into_iter().map(|delivery| delivery.ticket));
        }
        consumer.close().await;
    }
}

/// A backlog makes it scale up, and none to nothing again; the end is by SIGTERM.
async fn scales_up_and_down(kind: Kind, transport: Transport) {
    let stage = Stage::start(kind, transport);
    let autoscaler = stage.autoscale();
    stage.stand_in.until("the instances were read", |state| state.reads > 3).await;
    assert_eq!(stage.stand_in.state().taken, [0_u32; 0]);
    stage.send(200).await;
    // 200 records of 100 ms each shall be worked off within 5 s.
    stage.stand_in.until("four instances at least", |state| state.replicas >= 4).await;
    stage.drain(200).await;
    stage.stand_in.until("no instance", |state| state.replicas == 0).await;
    let said = autoscaler.terminate().join("\n");
    assert!(said.contains("records wait and there is no instance"), "{said}");
    assert!(said.contains("nothing came for"), "{said}");
    assert!(!said.contains("WARN"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_scales_a_gateways_function_up_and_its_end_down() {
    scales_up_and_down(Kind::Gateway, Transport::Plain).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_scales_a_deployment_up_and_its_end_down() {
    scales_up_and_down(Kind::Kubernetes, Transport::Plain).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_server_is_trusted_by_the_certificates_that_are_given() {
    scales_up_and_down(Kind::Kubernetes, Transport::Tls).await;
    // And by no others: the public ones have not signed this one.
    let mut stage = Stage::start(Kind::Gateway, Transport::Tls);
    let mut autoscaler = stage.autoscale();
    let line = autoscaler.wait_for_line("how many instances there are is not known");
    assert!(line.contains("certificate"), "{line}");
    stage.broker.kill();
    assert_eq!(stage.stand_in.state().reads, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_broker_is_away_nothing_happens() {
    let mut stage = Stage::start(Kind::Gateway, Transport::Plain);
    let mut autoscaler = stage.autoscale();
    autoscaler.wait_for("scaling");
    stage.stand_in.until("the instances were read", |state| state.reads > 3).await;
    stage.broker.kill();
    autoscaler.wait_for_line("the load is not known");
    // Idle by all that is known, and more than needed.
    let reads = {
        let mut platform = stage.stand_in.state();
        platform.replicas = 3;
        platform.reads
    };
    // Three times as long as it takes to scale an idle function to nothing.
    stage.stand_in.until("looks go on", |state| state.reads > reads + 30).await;
    assert_eq!(stage.stand_in.state().taken, [0_u32; 0]);
    let (_broker, _) = broker(&stage.dir.path().join("log"), &stage.servers);
    autoscaler.wait_for_line("the load is known again");
    stage.stand_in.until("no instance", |state| state.replicas == 0).await;
    let said = autoscaler.terminate();
    let times = said.iter().filter(|line| line.contains("the load is not known")).count();
    assert_eq!(times, 1, "{said:?}");
}

/// The second target's topic is empty all the time.
#[tokio::test(flavor = "multi_thread")]
async fn a_target_of_a_file_is_made_ready_for_what_the_one_before_it_forwards() {
    let stage = Stage::start(Kind::Gateway, Transport::Plain);
    let next = StandIn::start(Kind::Kubernetes, Transport::Plain);
    run_ok(&["topic", "create", "u", "-b", &stage.servers]);
    let [gateway, api_server] = [&stage.stand_in.url, &next.url];
    let text = format!(
        "[[target]]
        topic = \"t\"
        group = \"g\"
        gateway = \"{gateway}\"
        function = \"fog.ns\"
        user = \"admin\"
        password_file = \"secret\"
        service_ms = 100
        feeds_next = true
        forward_share = 0.5
        [[target]]
        name = \"next\"
        topic = \"u\"
        group = \"h\"
        api_server = \"{api_server}\"
        namespace = \"ns\"
        deployment = \"fog\"
        token_file = \"secret\"
        beyond_partitions = true
        min_scale = 1
        service_ms = 200"
    );
    let file = stage.dir.path().join("targets.toml");
    std::fs::write(&file, text).unwrap();
    let file = file.to_str().unwrap();
    let mut autoscaler = Service::start(&[
        "autoscale",
        "-b",
        &stage.servers,
        "--interval-ms",
        "100",
        "--targets",
        file,
    ]);
    next.until("the fewest there may be", |state| state.replicas == 1).await;
    stage.send(200).await;
    let line = autoscaler.wait_for_line("arrivals foreseen from the tier below");
    assert!(line.contains("next"), "{line}");
    next.until("instances", |state| state.replicas > 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_platform_that_fails_is_asked_again_and_said_once() {
    for (kind, words) in [(Kind::Gateway, "unable to reach"), (Kind::Kubernetes, "503")] {
        let stage = Stage::start(kind, Transport::Plain);
        stage.stand_in.state().failing = Some(503);
        let mut autoscaler = stage.autoscale();
        let line = autoscaler.wait_for_line("how many instances there are is not known");
        assert!(line.contains(words), "{line}");
        stage.send(100).await;
        stage.stand_in.state().failing = None;
        autoscaler.wait_for_line("the instances are known again");
        stage.stand_in.until("instances", |state| state.replicas > 1).await;
        let said = autoscaler.terminate();
        let times = said.iter().filter(|line| line.contains("there are is not known")).count();
        assert_eq!(times, 1, "{said:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bounds_that_a_gateway_has_of_its_own_are_found_and_said() {
    let stage = Stage::start(Kind::Gateway, Transport::Plain);
    *stage.stand_in.state() = stand_in::State { replicas: 1, most: Some(3), ..Default::default() };
    let mut autoscaler = stage.autoscale();
    autoscaler.wait_for("scaling");
    stage.send(400).await;
    let line = autoscaler.wait_for_line("taken for the most");
    assert!(line.contains("instances were asked for and there are 3"), "{line}");
    stage.drain(400).await;
    let line = autoscaler.wait_for_line("taken for the fewest");
    assert!(line.contains("replicas cannot be set to 0"), "{line}");
    stage.stand_in.until("one instance", |state| state.replicas == 1).await;
    // More than that was asked for once, not at each look.
    assert_eq!(stage.stand_in.state().taken.iter().filter(|taken| **taken > 3).count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_elses_change_is_said_and_decided_upon_anew() {
    let stage = Stage::start(Kind::Gateway, Transport::Plain);
    let mut autoscaler = stage.autoscale();
    stage.stand_in.until("the instances were read", |state| state.reads > 3).await;
    stage.stand_in.state().replicas = 20;
    autoscaler.wait_for_line("somebody else has changed the number of instances from 0 to 20");
    stage.stand_in.until("no instance", |state| state.replicas == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_says_what_it_would_do_and_does_not() {
    let stage = Stage::start(Kind::Kubernetes, Transport::Plain);
    stage.send(100).await;
    let mut command = offramp(&[]);
    command.args(stage.arguments()).args(["--dry-run", "-o", "json"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    let record: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!((&record["name"], &record["from"]), (&"fog".into(), &0.into()), "{record}");
    assert_eq!(record["outcome"], "dry-run");
    assert_eq!(record["reason"], "100 records wait and there is no instance");
    assert!(record["to"].as_u64().unwrap() > 1 && record["at_ms"].is_u64(), "{record}");
    assert_eq!(stage.stand_in.state().taken, [0_u32; 0]);
}
