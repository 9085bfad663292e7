//! A rendered `OpenFaaS` stack on the project's own gateway: the three tiers as functions, deployed as `faas-cli deploy -f`
//! deploys them.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::images::{demo_models, digits, expected_counts, record};
use crate::process::{Service, free_address, run_ok};
use crate::whole::{collect, send};

const TIERS: [&str; 3] = ["edge", "fog", "cloud"];
const THRESHOLDS: [f64; 2] = [0.9, 0.8];
const IMAGES: usize = 60;

/// What a function has, by table and key; a value without a table has no key.
type Tables = BTreeMap<String, BTreeMap<String, String>>;

/// The functions of a stack file, as `faas-cli` sends them. It reads what is rendered and no other YAML.
fn deployments(stack: &str) -> Vec<Value> {
    let mut functions: Vec<(String, Tables)> = Vec::new();
    let mut table = String::new();
    let (_, functions_of) = stack.split_once("functions:\n").unwrap();
    for line in functions_of.lines() {
        let depth = line.len() - line.trim_start().len();
        let Some((key, value)) = line.trim().split_once(':') else { continue };
        let value = value.trim().trim_matches('"').to_owned();
        match depth {
            2 => functions.push((key.to_owned(), BTreeMap::new())),
            4 => {
                key.clone_into(&mut table);
                let tables = &mut functions.last_mut().unwrap().1;
                tables.entry(table.clone()).or_default().insert(String::new(), value);
            }
            _ => {
                let tables = &mut functions.last_mut().unwrap().1;
                tables.get_mut(&table).unwrap().insert(key.to_owned(), value);
            }
        }
    }
    let deployment = |(name, tables): (String, Tables)| {
        let table = |key: &str| -> BTreeMap<String, String> {
            let mut table = tables.get(key).cloned().unwrap_or_default();
            table.remove("");
            table
        };
        json!({
            "service": name,
            "image": tables["image"][""],
            "envVars": table("environment"),
            "labels": table("labels"),
            "annotations": table("annotations"),
            "limits": table("limits"),
        })
    };
    functions.into_iter().map(deployment).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rendered_stack_runs_on_our_own_gateway() {
    let dir = tempfile::tempdir().unwrap();
    let (broker, gateway) = (free_address(), free_address());
    let models = demo_models();
    let node = dir.path().join("node.toml");
    let cloud = models[2].display();
    let text = format!(
        "[pipeline]\nname = \"other\"\n[broker]\nlisten = \"{broker}\"\n[gateway]\nlisten = \"{gateway}\"\n\
         [[tier]]\nname = \"cloud\"\nmodel = \"{cloud}\"\n"
    );
    std::fs::write(&node, text).unwrap();
    let mut up = Service::start(&["up", node.to_str().unwrap()]);
    up.wait_for("ready_ms=");

    let file = dir.path().join("offramp.toml");
    let mut text = "[pipeline]\nname = \"d\"\n[deploy]\nfunnels = \"functions\"\n".to_owned();
    for (at, tier) in TIERS.iter().enumerate() {
        let model = models[at].display();
        write!(
            text,
            "[[tier]]\nname = \"{tier}\"\nmodel = \"{model}\"\nbootstrap_servers = \"kafka:9092\"\n"
        )
        .unwrap();
        if let Some(threshold) = THRESHOLDS.get(at) {
            writeln!(text, "exit = {{ threshold = {threshold} }}").unwrap();
        }
    }
    std::fs::write(&file, text).unwrap();
    let out = dir.path().join("out");
    let render = [
        "deploy",
        "render",
        "--platform",
        "openfaas",
        "-o",
        out.to_str().unwrap(),
        file.to_str().unwrap(),
    ];
    run_ok(&render);
    // A cluster's names for what is here.
    let stack = std::fs::read_to_string(out.join("stack.yaml")).unwrap();
    let stack = stack.replace("gateway.openfaas:8080", &gateway.to_string());
    let stack = stack.replace("kafka:9092", &broker.to_string());

    let agent: ureq::Agent =
        ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let functions = format!("http://{gateway}/system/functions");
    let deployments = deployments(&stack);
    // Connector, inference and two funnels a tier, but for the last one's second.
    assert_eq!(deployments.len(), 11, "{stack}");
    for mut deployment in deployments {
        // What the image has at /models is beside the project here.
        if let Some(model) = deployment["envVars"].get_mut("OFFRAMP_MODEL") {
            let name = model.as_str().unwrap().trim_start_matches("/models/").to_owned();
            *model = models[0].with_file_name(name).display().to_string().into();
        }
        let sent = deployment.to_string();
        assert_eq!(agent.put(&functions).send(&sent).unwrap().status(), 404);
        let mut deployed = agent.post(&functions).send(&sent).unwrap();
        let said = deployed.body_mut().read_to_string().unwrap();
        assert_eq!(deployed.status(), 202, "{said}");
    }

    let dataset = digits(IMAGES);
    let expected = expected_counts(&models, &THRESHOLDS, &dataset);
    let records = (0..IMAGES).map(|at| record(&dataset, at, &format!("r{at}")));
    send(&broker.to_string(), "d.edge-input", records).await;
    let outputs = TIERS.map(|tier| format!("d.{tier}-output"));
    let topics: Vec<&str> = outputs.iter().map(String::as_str).collect();
    let arrived = collect(&broker.to_string(), &topics, IMAGES).await;
    assert_eq!(arrived.duplicated, 0);
    let counts: Vec<u64> = topics.iter().map(|topic| arrived.count(topic)).collect();
    assert_eq!(counts, expected);
    up.terminate();
}
