//! An edge node: functions and the gateway to them, beside the tiers of `offramp up`.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use wire::{Header, Record, header};

use crate::images::{demo_models, digits, json as image_json, record};
use crate::process::{DEADLINE, Service, free_address, offramp, run, run_ok};
use crate::whole::{collect, send};

const OUTPUTS: [&str; 3] = ["p.edge-output", "p.fog-output", "p.cloud-output"];

/// A node of the demo's sub-models.
struct Node {
    dir: tempfile::TempDir,
    servers: String,
    gateway: String,
    up: Option<Service>,
}

impl Node {
    /// Starts one with these lines in its edge's table, and these after all of its tiers'.
    fn start(edge: &str, more: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (broker, gateway) = (free_address(), free_address());
        let mut node = Self {
            dir,
            servers: broker.to_string(),
            gateway: format!("http://{gateway}"),
            up: None,
        };
        node.write(edge, more);
        let mut up = Service::start(&["up", node.file().to_str().unwrap()]);
        up.wait_for("ready_ms=");
        node.up = Some(up);
        node
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("offramp.toml")
    }

    fn write(&self, edge: &str, more: &str) {
        let [edge_model, fog_model, cloud_model] = demo_models();
        let text = format!(
            "[pipeline]\nname = \"p\"\n[broker]\nlisten = \"{}\"\n[gateway]\nlisten = \"{}\"\n{more}\n\
             [[tier]]\nname = \"edge\"\nmodel = \"{}\"\n{edge}\n\
             [[tier]]\nname = \"fog\"\nmodel = \"{}\"\n[[tier]]\nname = \"cloud\"\nmodel = \"{}\"\n",
            self.servers,
            self.gateway.trim_start_matches("http://"),
            edge_model.display(),
            fog_model.display(),
            cloud_model.display()
        );
        std::fs::write(self.file(), text).unwrap();
    }

    /// Runs a command that talks to it; returns what it prints.
    fn ask(&self, command: &[&str]) -> String {
        run_ok(&[command, &["-g", &self.gateway]].concat())
    }

    fn status(&self) -> Value {
        serde_json::from_str(&self.ask(&["ps", "-o", "json"])).unwrap()
    }

    fn function(&self, name: &str) -> Value {
        let status = self.status();
        let functions = status["functions"].as_array().unwrap();
        let function = functions.iter().find(|function| function["name"] == name);
        function.unwrap_or_else(|| panic!("{name} is not in {status}")).clone()
    }

    fn until(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let started = Instant::now();
        while !is_so(self) {
            assert!(started.elapsed() < DEADLINE, "not in time: {what}; {}", self.status());
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }

    fn post(&self, path: &str, body: &str) -> (u16, String) {
        let agent: ureq::Agent =
            ureq::Agent::config_builder().http_status_as_error(false).build().into();
        let mut response = agent.post(format!("{}{path}", self.gateway)).send(body).unwrap();
        (response.status().as_u16(), response.body_mut().read_to_string().unwrap())
    }
}

/// The body in which functions send each other an image.
fn body(at: usize) -> String {
    format!("{{\"value\": {}}}", image_json(&digits(at + 1), at))
}

/// `[[function]]` lines of the edge's sub-model as a process of its own.
fn classify(more: &str) -> String {
    let program = env!("CARGO_BIN_EXE_offramp");
    let [model, ..] = demo_models();
    format!(
        "[[function]]\nname = \"classify\"\ncommand = [\"{program}\", \"function\", \"inference\", \"--model\", \
         \"{}\", \"--last\"]\n{more}\n",
        model.display()
    )
}

#[test]
fn functions_run_in_the_process_and_beside_it_and_are_told_of() {
    let node = Node::start("", &classify(""));
    let [model, ..] = demo_models();
    let deployment = json!({
        "service": "inside",
        "image": "offramp/inference",
        "envVars": { "OFFRAMP_MODEL": model, "OFFRAMP_LAST": "true" },
        "labels": { "com.openfaas.scale.zero": "true", "com.openfaas.scale.zero-duration": "1s" },
    });
    assert_eq!(node.post("/system/functions", &deployment.to_string()).0, 202);
    let classified = |function: &str| {
        let (status, text) = node.post(&format!("/function/{function}"), &body(3));
        assert_eq!(status, 200, "{text}");
        serde_json::from_str::<Value>(&text).unwrap()["answer"]["value"].clone()
    };
    let beside = classified("classify");
    assert_eq!(beside[0].as_array().unwrap().len(), 10);
    assert_eq!(classified("inside"), beside, "both homes give the same");

    let pid = node.function("classify")["instances"][0]["pid"].as_u64().unwrap();
    let killed = std::process::Command::new("kill").args(["-KILL", &pid.to_string()]).status();
    assert!(killed.unwrap().success());
    assert_eq!(classified("classify"), beside);
    node.until("the process is another one", |node| {
        node.function("classify")["instances"][0]["pid"].as_u64().is_some_and(|now| now != pid)
    });
    assert!(
        node.ask(&["ps"])
            .contains("classify: 1 instances failed, the last: it ended with signal: 9")
    );
    assert!(node.ask(&["logs", "classify"]).contains("is replaced: it ended with signal: 9"));

    node.until("it has no instance", |node| node.function("inside")["wanted"] == 0);
    let history = node.ask(&["scale", "history", "inside"]);
    assert!(history.contains("inside 1 -> 0: nothing came for 1 s"), "{history}");
    assert_eq!(classified("inside"), beside, "a call wakes it");
    assert_eq!(node.post("/function/nobody", "").0, 404);

    node.ask(&["down"]);
    let said = node.up.unwrap().ended();
    assert!(said.iter().any(|line| line.contains("the broker has stopped")), "{said:?}");
}

#[test]
fn a_node_that_is_killed_takes_its_children_with_it() {
    let mut node = Node::start("", &classify(""));
    assert_eq!(node.post("/function/classify", &body(3)).0, 200);
    let pid = node.function("classify")["instances"][0]["pid"].as_u64().unwrap();
    let program = std::path::PathBuf::from(format!("/proc/{pid}/exe"));
    let is_ours = || std::fs::read_link(&program).is_ok_and(|exe| exe.ends_with("offramp"));
    assert!(is_ours());
    let help = std::process::Command::new("setpriv").arg("--help").output();
    if !help.is_ok_and(|help| String::from_utf8_lossy(&help.stdout).contains("--pdeathsig")) {
        eprintln!("no setpriv of util-linux: children end at the next start");
        return;
    }
    node.up.take().unwrap().kill();
    let started = Instant::now();
    while is_ours() {
        assert!(started.elapsed() < DEADLINE, "the child is still there");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

#[test]
fn without_a_gateway_commands_say_what_is_missing() {
    let address = free_address();
    let output = run(&["ps", "-g", &format!("http://{address}")]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains(&format!("no gateway at http://{address}")), "{text}");
    assert!(text.contains("expected `offramp up` with a [gateway] table in its file"), "{text}");
}

/// A function behind a URL: gives image `at` for the value `at`, and refuses what is no number.
fn decoder() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || while answer(&stream).is_some() {});
        }
    });
    address
}

fn answer(mut stream: &TcpStream) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let line = line.to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        if line.trim().is_empty() {
            break;
        }
    }
    let mut value = vec![0; length];
    reader.read_exact(&mut value).ok()?;
    let (status, body) = match String::from_utf8_lossy(&value).parse::<usize>() {
        Ok(at) => ("200 OK", digits(20).sample(at).to_vec()),
        Err(_) => ("422 Unprocessable Content", b"not a number".to_vec()),
    };
    let length = body.len();
    let head =
        format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nofframp-encoding: u8\r\n\r\n");
    stream.write_all(&[head.as_bytes(), &body].concat()).ok()
}

fn of_value(id: &str, value: &str) -> Record {
    Record {
        headers: vec![Header::new(header::ID, id.to_owned())],
        value: Some(value.to_owned().into()),
        ..Record::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_goes_through_the_functions_of_its_tier() {
    let before =
        format!("before = [{{ url = \"http://{}/\" }}]\nexit = {{ threshold = 0 }}", decoder());
    let node = Node::start(&before, "");
    let plain = Node::start("exit = { threshold = 0 }", "");
    let mut records: Vec<Record> =
        (0..20).map(|at| of_value(&at.to_string(), &at.to_string())).collect();
    records.push(of_value("bad", "no picture"));
    send(&node.servers, "p.edge-input", records).await;
    let images = digits(20);
    let records = (0..20).map(|at| record(&images, at, &at.to_string()));
    send(&plain.servers, "p.edge-input", records).await;
    let (decoded, given) =
        (collect(&node.servers, &OUTPUTS, 20).await, collect(&plain.servers, &OUTPUTS, 20).await);
    for (id, (_, record)) in &decoded.records {
        let softmax = |record: &Record| -> Vec<Vec<f32>> {
            serde_json::from_slice(record.value.as_ref().unwrap()).unwrap()
        };
        let (decoded, given) = (softmax(record), softmax(&given.records[id].1));
        let far = decoded[0].iter().zip(&given[0]).find(|(a, b)| 1e-5 < (*a - *b).abs());
        assert_eq!(far, None, "record {id}: batches differ in the last digit, not in more");
    }
    let dead = collect(&node.servers, &["p.edge-dead-letter"], 1).await;
    let (_, bad) = &dead.records["bad"];
    let reason = String::from_utf8_lossy(bad.header(header::DEAD_LETTER_REASON).unwrap());
    assert!(reason.contains("answered 422 Unprocessable Entity: not a number"), "{reason}");
    assert_eq!(bad.value.as_deref(), Some(&b"no picture"[..]), "as it came");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_calls_a_function_and_what_it_refuses_is_a_dead_letter() {
    let node = Node::start("", &classify("topics = [\"raw\"]"));
    let images = digits(10);
    let good = (0..10).map(|at| record(&images, at, &at.to_string()));
    send(&node.servers, "raw", good.chain([of_value("bad", "[")])).await;
    let dead = collect(&node.servers, &["raw-dead-letter"], 1).await;
    assert!(dead.records.contains_key("bad"));
    node.until("ten calls were carried out", |node| node.function("classify")["answered"] == 11);
}

#[tokio::test(flavor = "multi_thread")]
async fn connector_and_funnel_are_functions_too() {
    let node = Node::start("", "");
    let deploy = |name: &str, settings: Value| {
        let image = format!("offramp/{name}");
        let deployment = json!({ "service": name, "image": image, "envVars": settings });
        node.post("/system/functions", &deployment.to_string())
    };
    let (servers, url) = (&node.servers, format!("{}/function/funnel", node.gateway));
    let refused = deploy("funnel", json!({ "OFFRAMP_BOOTSTRAP_SERVERS": servers }));
    let missing =
        "function `funnel`: the following required arguments were not provided: --topic <TOPIC>";
    assert_eq!(refused, (400, missing.to_owned()));
    let topic = |name: &str| json!({ "OFFRAMP_BOOTSTRAP_SERVERS": servers, "OFFRAMP_TOPIC": name });
    assert_eq!(deploy("funnel", topic("stored")).0, 202);
    let mut settings = topic("more");
    settings["OFFRAMP_URL"] = json!(url);
    assert_eq!(deploy("connector", settings).0, 202);
    node.until("the topic is there", |node| {
        run_ok(&["topic", "list", "-b", &node.servers]).contains("more-dead-letter")
    });
    let records = (0..10).map(|at| of_value(&at.to_string(), &format!("[{at}]")));
    send(servers, "more", records).await;
    let stored = collect(servers, &["stored"], 10).await;
    assert_eq!(stored.records["7"].1.value.as_deref(), Some(&b"[7]"[..]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_read_again_changes_tiers_and_loses_no_record() {
    const RECORDS: usize = 4000;
    let node = Node::start("exit = { threshold = 1 }", "");
    let images = digits(100);
    let servers = node.servers.clone();
    let sending = tokio::spawn(async move {
        for part in 0..40 {
            let records = (part * 100..(part + 1) * 100)
                .map(|at| record(&images, at % 100, &format!("r{at}")));
            send(&servers, "p.edge-input", records).await;
        }
    });
    let collecting = tokio::spawn({
        let servers = node.servers.clone();
        async move { collect(&servers, &OUTPUTS, RECORDS).await }
    });
    let node = tokio::task::spawn_blocking(move || {
        // From all forwarded to all answered, and back, under load.
        for threshold in ["0", "1", "0"] {
            node.write(&format!("exit = {{ threshold = {threshold} }}"), "");
            let lines = node.ask(&["reload"]);
            assert!(lines.contains("tier `edge`: runs "), "{lines}");
            assert!(lines.contains("tier `fog`: as it was"), "{lines}");
        }
        node.write("exit = { threshold = 2 }", "");
        let output = offramp(&["reload", "-g", &node.gateway]).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(text.contains("`threshold` is 2, expected a number from 0 to 1"), "{text}");
        node
    })
    .await
    .unwrap();
    sending.await.unwrap();
    let arrived = collecting.await.unwrap();
    assert_eq!((arrived.records.len(), arrived.duplicated), (RECORDS, 0));
    let tiers = node.status()["tiers"].clone();
    assert!(0 < arrived.count("p.edge-output"), "{tiers}");
    assert_eq!(tiers[0]["dead_lettered"], 0, "{tiers}");
    assert_eq!(tiers[0]["consumed"], RECORDS, "{tiers}");
}
