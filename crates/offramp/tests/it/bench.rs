//! `offramp bench bytes`; `bench run` is exercised by `cargo xtask rival`.

use serde_json::{Value, json};

use crate::process::run_ok;

#[test]
fn the_parts_of_what_is_forwarded_sum_up() {
    let printed = run_ok(&["bench", "bytes", "--records", "400", "--rate", "0", "-o", "json"]);
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
        let all = number(up, "bytes_per_sample") * 400.0;
        let forwarded = number(up, "forwarded_bytes") * number(up, "forwarded");
        assert!((all - forwarded).abs() < 1e-6, "{up}");
        let compressed = up["compressed"].as_array().unwrap();
        let [none, gzip] = [0, 1].map(|at| number(&compressed[at], "together_bytes"));
        assert!(gzip < none, "{up}");
    }
}
