//! `offramp bench`: runs of what it starts itself, reports of them, bytes and the autoscaler.

use serde_json::{Value, json};

use crate::process::{run, run_ok};

/// The paper's devices, fifty times as fast: 4.2 seconds.
const PAPER: [&str; 8] =
    ["bench", "run", "--profile", "paper", "--time-scale", "50", "--devices", "2"];

#[test]
fn the_papers_ramp_is_saved_and_reported() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let (saved, out) = (path("saved"), path("report"));
    let more = ["--warm-up", "50", "--sample-ms", "100", "--save", &saved, "-o", "json"];
    let printed = run_ok(&[&PAPER[..], &more].concat());
    let report: Value = serde_json::from_str(&printed).unwrap();
    let expected = json!({
        "records": 750, "answered": 750, "lost": 0, "duplicated": 0, "disordered": 0, "dead_lettered": 0, "unknown": 0
    });
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(&report[name], value, "{name} of {report}");
    }
    let positive = ["throughput_per_s", "cpu_us_per_record", "resident_mib", "send_error_ms_p99"];
    for name in positive {
        assert!(report[name].as_f64().unwrap() > 0.0, "{name} of {report}");
    }
    assert_eq!(report["warm_up"]["answered"], 50);
    let tiers: Vec<&str> = report["tiers"].as_array().unwrap().iter().map(topic).collect();
    assert_eq!(tiers, ["edge", "fog", "cloud"]);
    let described = std::fs::read_to_string(format!("{saved}/run.json")).unwrap();
    let described: Value = serde_json::from_str(&described).unwrap();
    assert_eq!(described["about"]["arguments"][1], "run");
    // No folder of this machine is in what may be published.
    assert!(!described.to_string().contains(directory.path().to_str().unwrap()), "{described}");
    let instances = described["trials"][0]["instances"].as_array().unwrap();
    assert!(instances.iter().any(|look| look["name"] == "edge" && look["instances"] == 1.0));

    let text = run_ok(&["bench", "report", &saved, "--out", &out]);
    assert!(text.contains("750 records: 750 answered, 0 lost") && text.contains('▒'), "{text}");
    let page = std::fs::read_to_string(format!("{out}/index.html")).unwrap();
    assert!(page.contains("Instances over time") && page.contains("CPU and memory over time"));
    // Twice the same, as trials of one run.
    let both = format!("both={saved}+{saved}");
    let printed = run_ok(&["bench", "report", &saved, &both, "--out", &out, "-o", "json"]);
    let report: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(
        (&report["runs"][1]["trials"], &report["runs"][1]["records"]),
        (&json!(2), &json!(1500))
    );
}

fn topic(tier: &Value) -> &str {
    tier["topic"].as_str().unwrap()
}

#[test]
fn processes_that_are_killed_and_started_again_lose_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let script = directory.path().join("faults.toml");
    let faults =
        "[[fault]]\nat_s = 0.5\nkill = \"edge\"\n[[fault]]\nat_s = 1.0\nstart = \"edge\"\n";
    std::fs::write(&script, faults).unwrap();
    let script = script.to_str().unwrap();
    let start = ["bench", "run", "--system", "processes", "--rate", "100", "--records", "300"];
    let printed = run_ok(&[&start[..], &["--faults", script, "-o", "json"]].concat());
    let report: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!((&report["answered"], &report["lost"]), (&json!(300), &json!(0)), "{report}");
    // Those that had to wait for it.
    assert!(report["all"]["latency_ms_max"].as_f64().unwrap() > 100.0, "{report}");

    std::fs::write(script, "[[fault]]\nat_s = 1\nkill = \"egde\"\n").unwrap();
    let output = run(&[&start[..], &["--faults", script]].concat());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("`kill` is \"egde\", expected one of broker, edge-exit"), "{said}");
    assert_eq!(output.status.code(), Some(78));
}

#[test]
fn functions_behind_a_gateway_are_measured() {
    let start = ["bench", "run", "--system", "gateway", "--rate", "100", "--records", "100"];
    let report: Value =
        serde_json::from_str(&run_ok(&[&start[..], &["-o", "json"]].concat())).unwrap();
    assert_eq!((&report["answered"], &report["lost"]), (&json!(100), &json!(0)), "{report}");
}

#[test]
fn a_sweep_says_at_which_rate_an_objective_fails() {
    let start = ["bench", "run", "--sweep", "--rate", "2", "--step-s", "1", "--settle-ms", "0"];
    let printed = run_ok(&[&start[..], &["--objective-ms", "0.001", "-o", "json"]].concat());
    let report: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(report["knee_per_s"], Value::Null);
    let steps = report["steps"].as_array().unwrap();
    assert!(steps.iter().all(|step| step["holds"] == false) && steps.len() > 1, "{report}");
}

#[test]
fn what_can_not_be_reported_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("x.jsonl");
    std::fs::write(&file, "{\"topic\": 3}\n").unwrap();
    let check = |arguments: &[&str], expected: &str| {
        let output = run(&[&["bench", "report"], arguments].concat());
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains(expected), "{said}");
        assert_eq!(output.status.code(), Some(78));
    };
    let path = file.to_str().unwrap();
    check(&[path], "x.jsonl` line 1: `{\"topic\": 3}` is no record: invalid type");
    check(&["/nowhere/run"], "cannot read `/nowhere/run`");
    check(&[&format!("{path}#9-1")], "lines are `9-1`, expected FIRST-LAST");
    let folder = directory.path().to_str().unwrap();
    check(&[folder], "cannot read");
}

#[test]
fn the_parts_of_what_is_forwarded_sum_up() {
    let printed = run_ok(&["bench", "bytes", "--records", "3000", "--rate", "0", "-o", "json"]);
    let report: Value = serde_json::from_str(&printed).unwrap();
    let number = |of: &Value, name: &str| of[name].as_f64().unwrap_or_else(|| panic!("{name}"));
    assert!(784.0 < number(&report, "raw_image_bytes"), "{report}");
    assert!(784.0 * 2.0 < number(&report, "json_image_bytes"), "{report}");
    let features = report["features"].as_array().unwrap();
    let encodings: Vec<_> = features.iter().map(|up| up["encoding"].as_str().unwrap()).collect();
    assert_eq!(encodings, ["json", "f32", "f16", "int8"]);
    for (up, value) in
        features.iter().zip([None, Some(json!(784.0)), Some(json!(392.0)), Some(json!(200.0))])
    {
        assert!(0.0 < number(up, "share") && number(up, "share") < 1.0, "{up}");
        assert!(value.is_none_or(|value| up["value_bytes"] == value), "{up}");
        let parts = ["value_bytes", "key_bytes", "headers_bytes", "framing_bytes"];
        let sum: f64 = parts.iter().map(|name| number(up, name)).sum();
        assert!((sum - number(up, "forwarded_bytes")).abs() < 1e-6, "{up}");
        // Each record has a length, an offset, a time and lengths of its parts; a batch has 61 bytes.
        assert!(8.0 < number(up, "framing_bytes"), "{up}");
        let all = number(up, "bytes_per_sample") * 3000.0;
        let forwarded = number(up, "forwarded_bytes") * number(up, "forwarded");
        assert!((all - forwarded).abs() < 1e-3, "{up}");
        let compressed = up["compressed"].as_array().unwrap();
        let [none, gzip] = [0, 1].map(|at| number(&compressed[at], "together_bytes"));
        assert!(gzip < none, "{up}");
    }
}

#[test]
fn the_autoscaler_is_simulated_beside_its_rivals() {
    let directory = tempfile::tempdir().unwrap();
    let [svg, png] = ["svg", "png"].map(|kind| directory.path().join(format!("courses.{kind}")));
    let (svg, png) = (svg.to_str().unwrap(), png.to_str().unwrap());
    let simulate = |more: &[&str]| -> Value {
        let printed =
            run_ok(&[&["bench", "autoscale", "-o", "json", "--seeds", "3"], more].concat());
        serde_json::from_str(&printed).unwrap()
    };
    let report = simulate(&["--figure", svg, "--figure", png]);
    let scenarios = report["scenarios"].as_array().unwrap();
    assert_eq!(scenarios.len(), 4);
    for scenario in scenarios {
        let policies = scenario["policies"].as_array().unwrap();
        assert_eq!(policies[0]["policy"], "offramp");
        assert_eq!(policies.len(), 7);
        let p95 = |at: usize| policies[at]["latency_s_p95"]["median"].as_f64().unwrap();
        assert!(p95(0) < 0.75 && p95(1) > 60.0, "{scenario}");
        let decisions = scenario["decisions"].as_array().unwrap();
        assert!(decisions.iter().all(|text| text.as_str().unwrap().contains(" to ")));
    }
    let text = std::fs::read_to_string(svg).unwrap();
    assert!(text.contains("ramp, 5 devices") && !text.contains("NaN"));
    assert!(std::fs::read(png).unwrap().starts_with(b"\x89PNG"));
    let p95 = |report: &Value, scenario: usize| {
        report["scenarios"][scenario]["policies"][0]["latency_s_p95"]["median"].as_f64().unwrap()
    };
    let pods = simulate(&["--cold-start-ms", "5000"]);
    assert!(p95(&pods, 1) > p95(&report, 1));
    let varied = simulate(&["--service-variation", "1"]);
    assert!(p95(&varied, 2) > p95(&report, 2));
    // A process prints the table too.
    let table = run_ok(&["bench", "autoscale", "--seeds", "1"]);
    assert!(
        table.contains("steady, 8 records/s, calls of 150 ms") && table.contains("KEDA, quick")
    );
}
