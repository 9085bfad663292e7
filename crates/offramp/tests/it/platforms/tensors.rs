//! The Open Inference Protocol: its routes, JSON and binary tensors, and what is refused.

use serde_json::{Value, json};

use super::{Container, body, model};

fn container() -> Container {
    Container::start(&[("OFFRAMP_MODEL", &model())])
}

fn pixels(at: usize) -> Vec<f32> {
    let body: Value = serde_json::from_str(&body(at)).unwrap();
    let rows = body["value"][0].as_array().unwrap();
    let pixels = rows.iter().flat_map(|row| row.as_array().unwrap());
    pixels.map(|pixel| pixel.as_f64().unwrap() as f32).collect()
}

#[test]
fn the_server_and_the_model_describe_themselves() {
    let container = container();
    assert_eq!(container.get("/v2/health/live").status, 200);
    assert_eq!(container.get("/v2/health/ready").status, 200);
    assert_eq!(container.get("/v2").json()["extensions"], json!(["binary_tensor_data"]));
    let model = container.get("/v2/models/edge").json();
    assert_eq!(model["name"], "edge");
    assert_eq!(model["inputs"][0]["shape"], json!([-1, 28, 28]), "{model}");
    let version = model["versions"][0].as_str().unwrap();
    assert_eq!(container.get(&format!("/v2/models/edge/versions/{version}/ready")).status, 200);
    for path in ["/v2/models/fog", "/v2/models/edge/versions/1", "/v2/models/edge/x", "/v2/x"] {
        let answer = container.get(path);
        assert_eq!(answer.status, 404, "{path}");
        assert!(answer.json()["error"].is_string());
    }
    assert_eq!(container.get("/v2/models/edge/infer").status, 405);
    assert_eq!(container.post("/v2/models/edge", "{}").status, 405);
}

#[test]
fn tensors_in_json_and_in_binary_give_the_same() {
    let container = container();
    let both: Vec<f32> = [pixels(0), pixels(1)].concat();
    let request = json!({
        "id": "r1",
        "inputs": [{ "name": "input", "shape": [2, 28, 28], "datatype": "FP32", "data": both }],
    });
    let json_answer = container.post("/v2/models/edge/infer", &request.to_string()).json();
    assert_eq!((&json_answer["id"], &json_answer["model_name"]), (&"r1".into(), &"edge".into()));
    let output = |name: &str| {
        let outputs = json_answer["outputs"].as_array().unwrap().iter();
        outputs.clone().find(|output| output["name"] == name).unwrap_or_else(|| panic!("no {name}"))
    };
    assert_eq!(output("exit")["shape"], json!([2, 10]));
    assert_eq!(output("answered")["data"].as_array().unwrap().len(), 2);
    assert_eq!(output("label")["data"].as_array().unwrap().len(), 2);
    let row: f64 =
        output("exit")["data"].as_array().unwrap()[..10].iter().map(|p| p.as_f64().unwrap()).sum();
    assert!((row - 1.0).abs() < 1e-3, "{row}");

    let raw: Vec<u8> = both.iter().map(|&pixel| pixel as u8).collect();
    let head = json!({
        "inputs": [{ "name": "input", "shape": [2, 784], "datatype": "UINT8",
                     "parameters": { "binary_data_size": raw.len() } }],
        "outputs": [{ "name": "exit", "parameters": { "binary_data": true } }, { "name": "confidence" }],
    })
    .to_string();
    let length = head.len().to_string();
    let headers = [("Inference-Header-Content-Length", length.as_str())];
    let body = [head.as_bytes(), &raw].concat();
    let answer = container.send("POST", "/v2/models/edge/infer", &headers, &body);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let length: usize = answer.header("inference-header-content-length").unwrap().parse().unwrap();
    let head: Value = serde_json::from_slice(&answer.body[..length]).unwrap();
    assert_eq!(head["outputs"][0]["parameters"]["binary_data_size"], 80);
    assert_eq!(head["outputs"].as_array().unwrap().len(), 2);
    let exits: Vec<f32> = answer.body[length..]
        .chunks(4)
        .map(|four| f32::from_le_bytes(four.try_into().unwrap()))
        .collect();
    let expected: Vec<f32> = output("exit")["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|value| value.as_f64().unwrap() as f32)
        .collect();
    assert_eq!(exits, expected);
}

#[test]
fn what_is_wrong_with_a_request_is_said() {
    let container = container();
    let check = |request: Value, words: &str| {
        let answer = container.post("/v2/models/edge/infer", &request.to_string());
        assert_eq!(answer.status, 400, "{answer:?}");
        let error = answer.json()["error"].as_str().unwrap().to_owned();
        assert!(error.contains(words), "{words}: {error}");
    };
    let input = |shape: Value, datatype: &str, data: Value| json!({ "inputs": [{ "name": "input", "shape": shape, "datatype": datatype, "data": data }] });
    check(json!([]), "not an inference request");
    check(json!({ "inputs": [] }), "expected one: `input`");
    check(input(json!([1, 5]), "FP32", json!([1, 2, 3, 4, 5])), "of shape [28, 28]");
    check(input(json!([usize::MAX, 2]), "FP32", json!([1])), "of shape [28, 28]");
    check(input(json!([1, 784]), "FP32", json!([1, 2])), "has 2 elements, expected 784");
    check(input(json!([1, 784]), "COMPLEX", json!([1])), "`COMPLEX`, expected FP16");
    check(input(json!([1, 784]), "FP32", json!("x")), "");
    let mut asks = input(json!([1, 784]), "FP32", json!(pixels(0)));
    asks["outputs"] = json!([{ "name": "softmax" }]);
    check(asks, "output `softmax` does not exist; expected one of exit");
    let mut raw = input(json!([1, 784]), "FP32", Value::Null);
    raw["inputs"][0]["parameters"] = json!({ "binary_data_size": 3136 });
    check(raw, "but the body has 0");
    let headers = [("Inference-Header-Content-Length", "999")];
    assert_eq!(container.send("POST", "/v2/models/edge/infer", &headers, b"{}").status, 400);
}
