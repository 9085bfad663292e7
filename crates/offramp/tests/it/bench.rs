//! `offramp bench bytes` and `bench autoscale`; `bench run` is exercised by `cargo xtask rival`.

use serde_json::{Value, json};

use crate::process::run_ok;

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
