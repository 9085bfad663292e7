//! Open Inference Protocol, version 2 (KServe's `docs/predict-api/v2`, Triton's binary tensor extension), of an inference
//! function: what its sub-model gives for samples, and what this tier would do with each. Nothing is delivered.
//!
//! | route | answer |
//! |---|---|
//! | `GET /v2`, `/v2/health/live`, `/v2/health/ready` | the server |
//! | `GET /v2/models/M`, `/v2/models/M/ready` (also `/versions/V`) | the sub-model, by its tier's name |
//! | `POST /v2/models/M/infer` | input: one tensor `[n, …]` of samples. Outputs, of which a request may ask for some: |
//!
//! | output | type | shape | |
//! |---|---|---|---|
//! | `exit` | FP32 | `[n, classes]` | probabilities at the exit |
//! | `features` | FP32 | `[n, …]` | what the next tier takes; not of the last tier |
//! | `confidence` | FP32 | `[n]` | by the exit's criterion |
//! | `answered` | BOOL | `[n]` | whether the sample leaves here |
//! | `label` | BYTES | `[n]` | the most probable class |
//!
//! A body begins with JSON; where `Inference-Header-Content-Length` says how long that is, raw little-endian tensors
//! follow, each as long as its `binary_data_size`.

use std::sync::Arc;

use bytes::Bytes;
use hyper::http::HeaderValue;
use hyper::{Method, Request, StatusCode};
use model::{Output, predict};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use wire::{Element, Reject, RejectCode, Tensor};

use crate::failure::Failure;
use crate::http::function::{Answer, json, of_type, refuse, text};
use crate::http::status;
use crate::inference::Inference;

const HEADER_LENGTH: &str = "inference-header-content-length";
const OUTPUTS: [&str; 5] = ["exit", "features", "confidence", "answered", "label"];
/// Samples of one request at most: a function's run, many times.
const MAX_SAMPLES: usize = 65_536;

#[derive(Debug, Deserialize)]
struct InferRequest<'a> {
    id: Option<String>,
    #[serde(default)]
    parameters: Parameters,
    #[serde(borrow)]
    inputs: Vec<Input<'a>>,
    #[serde(default)]
    outputs: Vec<Asked>,
}

#[derive(Debug, Deserialize)]
struct Input<'a> {
    name: String,
    shape: Vec<usize>,
    datatype: String,
    #[serde(default)]
    parameters: Parameters,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

#[derive(Debug, Deserialize)]
struct Asked {
    name: String,
    #[serde(default)]
    parameters: Parameters,
}

#[derive(Debug, Default, Deserialize)]
struct Parameters {
    #[serde(rename = "binary_data")]
    is_binary: Option<bool>,
    #[serde(rename = "binary_data_output")]
    outputs_are_binary: Option<bool>,
    #[serde(rename = "binary_data_size")]
    size: Option<usize>,
}

#[derive(Debug, Serialize)]
struct InferResponse<'a> {
    model_name: &'a str,
    model_version: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    outputs: Vec<Out>,
}

#[derive(Debug, Serialize)]
struct Out {
    name: &'static str,
    datatype: &'static str,
    shape: Vec<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<serde_json::Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Data>,
    #[serde(skip)]
    binary: Vec<u8>,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Data {
    Numbers(Vec<f32>),
    Flags(Vec<bool>),
    Texts(Vec<String>),
}

/// Whether a path is one of the protocol's.
pub(crate) fn is_route(path: &str) -> bool {
    path.strip_prefix("/v2").is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Answers a request to one of the protocol's routes.
pub(crate) async fn answer(inference: &Arc<Inference>, request: &Request<Bytes>) -> Answer {
    let path = request.uri().path().trim_end_matches('/');
    let parts: Vec<&str> = path.split('/').skip(2).collect();
    let (model, action) = match parts.as_slice() {
        [] => return get(request, || json(StatusCode::OK, &server())),
        ["health", "live" | "ready"] => return get(request, || text(StatusCode::OK, "OK")),
        ["models", model, "versions", version, action @ ..] => {
            if *version != inference.sub_model().version() {
                let known = inference.sub_model().version();
                let reason = format!("version `{version}` is not here; expected `{known}`");
                return failed(StatusCode::NOT_FOUND, &reason);
            }
            (*model, action)
        }
        ["models", model, action @ ..] => (*model, action),
        _ => return failed(StatusCode::NOT_FOUND, &format!("`{path}` is not a route of `/v2`")),
    };
    let tier = &inference.settings().tier;
    if model != tier {
        let reason = format!("model `{model}` is not here; expected `{tier}`");
        return failed(StatusCode::NOT_FOUND, &reason);
    }
    match action {
        [] => get(request, || json(StatusCode::OK, &described(inference))),
        ["ready"] => get(request, || text(StatusCode::OK, "OK")),
        ["infer"] if request.method() == Method::POST => match infer(inference, request).await {
            Ok(answer) => answer,
            Err(Failure::Reject(reject)) => {
                failed(status(&Failure::Reject(reject.clone())), &reject.reason)
            }
            Err(failure) => refuse(&failure),
        },
        ["infer"] => failed(StatusCode::METHOD_NOT_ALLOWED, "`infer` is called with POST"),
        _ => failed(StatusCode::NOT_FOUND, &format!("`{path}` is not a route of `/v2`")),
    }
}

fn get(request: &Request<Bytes>, answer: impl FnOnce() -> Answer) -> Answer {
    if request.method() == Method::GET {
        answer()
    } else {
        failed(StatusCode::METHOD_NOT_ALLOWED, "this route is read with GET")
    }
}

fn failed(status: StatusCode, reason: &str) -> Answer {
    json(status, &serde_json::json!({ "error": reason }))
}

fn server() -> serde_json::Value {
    serde_json::json!({
        "name": "offramp",
        "version": env!("CARGO_PKG_VERSION"),
        "extensions": ["binary_tensor_data"],
    })
}

fn described(inference: &Inference) -> serde_json::Value {
    let sub_model = inference.sub_model();
    let tensor = |name: &str, datatype: &str, sample: &[usize]| {
        let shape = std::iter::once(-1).chain(sample.iter().map(|&size| size as i64));
        serde_json::json!({ "name": name, "datatype": datatype, "shape": shape.collect::<Vec<_>>() })
    };
    let mut outputs = vec![tensor("exit", "FP32", &[sub_model.classes()])];
    outputs.extend(sub_model.features_shape().map(|shape| tensor("features", "FP32", shape)));
    outputs.push(tensor("confidence", "FP32", &[]));
    outputs.push(tensor("answered", "BOOL", &[]));
    outputs.push(tensor("label", "BYTES", &[]));
    serde_json::json!({
        "name": inference.settings().tier,
        "versions": [sub_model.version()],
        "platform": "offramp_onnx",
        "inputs": [tensor("input", "FP32", sub_model.input_shape())],
        "outputs": outputs,
    })
}

async fn infer(inference: &Arc<Inference>, request: &Request<Bytes>) -> Result<Answer, Failure> {
    let wrong = |reason: String| Reject::new(RejectCode::WrongShape, reason);
    let body = request.body();
    let length = request.headers().get(HEADER_LENGTH).map(|length| {
        let length = length.to_str().unwrap_or_default();
        length.parse().ok().filter(|&length| length <= body.len()).ok_or_else(|| {
            let most = body.len();
            wrong(format!("`{HEADER_LENGTH}` is `{length}`, expected a number up to {most}"))
        })
    });
    let (head, tail) = body.split_at(length.transpose()?.unwrap_or(body.len()));
    let asked: InferRequest<'_> = serde_json::from_slice(head).map_err(|error| {
        Reject::new(
            RejectCode::NotJson,
            format!("the request is not an inference request: {error}"),
        )
    })?;
    let unknown = asked.outputs.iter().find(|output| !OUTPUTS.contains(&output.name.as_str()));
    if let Some(Asked { name, .. }) = unknown {
        let reason =
            format!("output `{name}` does not exist; expected one of {}", OUTPUTS.join(", "));
        return Err(wrong(reason).into());
    }
    let [input] = asked.inputs.as_slice() else {
        let given = asked.inputs.len();
        return Err(wrong(format!("the request has {given} inputs, expected one: `input`")).into());
    };
    let (samples, count) = input.samples(inference.sub_model().input_shape(), tail)?;
    let output = inference.pool().run(samples, count).await?;
    let is_binary = asked.parameters.outputs_are_binary.unwrap_or(false);
    let outputs = OUTPUTS.into_iter().filter_map(|name| {
        let output_asked = asked.outputs.iter().find(|output| output.name == name);
        if output_asked.is_none() && !asked.outputs.is_empty() {
            return None;
        }
        let binary = output_asked.and_then(|output| output.parameters.is_binary);
        Out::new(inference, &output, count, name, binary.unwrap_or(is_binary))
    });
    let response = InferResponse {
        model_name: &inference.settings().tier,
        model_version: inference.sub_model().version(),
        id: asked.id,
        outputs: outputs.collect(),
    };
    Ok(response.answer())
}

impl Input<'_> {
    /// The samples of this input, whose raw bytes are `tail` where they are not in it.
    fn samples(&self, sample_shape: &[usize], tail: &[u8]) -> Result<(Vec<f32>, usize), Reject> {
        let wrong = |reason: String| Reject::new(RejectCode::WrongShape, reason);
        let name = &self.name;
        let elements = self.shape.iter().try_fold(1usize, |all, &size| all.checked_mul(size));
        let sample: usize = sample_shape.iter().product();
        let count = elements.map(|elements| elements / sample.max(1)).unwrap_or_default();
        if elements != Some(count * sample) || count == 0 || MAX_SAMPLES < count {
            let reason = format!(
                "input `{name}` has shape {:?}, expected [n, …] of 1 to {MAX_SAMPLES} samples of \
                 shape {sample_shape:?}",
                self.shape
            );
            return Err(wrong(reason));
        }
        let element = element(&self.datatype).ok_or_else(|| {
            let datatype = &self.datatype;
            wrong(format!(
                "input `{name}` is of type `{datatype}`, expected FP16, FP32, FP64, INT8, INT16, INT32, INT64, UINT8 or \
                 BOOL"
            ))
        })?;
        let expected = count * sample;
        let values = match (self.parameters.size, self.data) {
            (Some(size), _) => {
                let bytes = tail.get(..size).ok_or_else(|| {
                    let there = tail.len();
                    wrong(format!("input `{name}` is of {size} bytes, but the body has {there}"))
                })?;
                let expected = expected * element.bytes();
                if size != expected {
                    let reason = format!("input `{name}` is of {size} bytes, expected {expected}");
                    return Err(wrong(reason));
                }
                element.decode(bytes)?
            }
            (None, Some(data)) => Tensor::from_json(data.get().as_bytes())?.data,
            (None, None) => {
                return Err(wrong(format!("input `{name}` has neither `data` nor binary data")));
            }
        };
        if values.len() != expected {
            let given = values.len();
            let reason = format!("input `{name}` has {given} elements, expected {expected}");
            return Err(wrong(reason));
        }
        Ok((values, count))
    }
}

/// How an element of a type is written; `None` of a type that is not known.
fn element(datatype: &str) -> Option<Element> {
    Some(match datatype {
        "UINT8" | "BOOL" => Element::U8,
        "INT8" => Element::I8,
        "INT16" => Element::I16,
        "INT32" => Element::I32,
        "INT64" => Element::I64,
        "FP16" => Element::F16,
        "FP32" => Element::F32,
        "FP64" => Element::F64,
        _ => return None,
    })
}

impl Out {
    /// The output of this name; `None` where the sub-model has none.
    fn new(
        inference: &Inference,
        output: &Output,
        count: usize,
        name: &'static str,
        is_binary: bool,
    ) -> Option<Self> {
        let sub_model = inference.sub_model();
        let rows = output.rows(0, count);
        let rule = inference.settings().exit.as_ref();
        let criterion = rule.map(|rule| rule.criterion).unwrap_or_default();
        let predictions = (0..count).map(|row| predict(rows.exit_row(row), criterion));
        let (datatype, shape, data) = match name {
            "exit" => {
                let values = (0..count).flat_map(|row| rows.exit_row(row)).copied().collect();
                ("FP32", vec![sub_model.classes()], Data::Numbers(values))
            }
            "features" => {
                let shape = sub_model.features_shape()?.to_vec();
                let values = (0..count).filter_map(|row| rows.features_row(row));
                ("FP32", shape, Data::Numbers(values.flatten().copied().collect()))
            }
            "confidence" => {
                let values = predictions.map(|prediction| prediction.confidence).collect();
                ("FP32", Vec::new(), Data::Numbers(values))
            }
            "answered" => {
                let leaves =
                    predictions.map(|prediction| rule.is_none_or(|rule| rule.admits(&prediction)));
                ("BOOL", Vec::new(), Data::Flags(leaves.collect()))
            }
            _ => {
                let labels = &sub_model.metadata().labels;
                let label =
                    |class: usize| labels.get(class).cloned().unwrap_or_else(|| class.to_string());
                let labels = predictions.map(|prediction| label(prediction.label)).collect();
                ("BYTES", Vec::new(), Data::Texts(labels))
            }
        };
        let shape = std::iter::once(count).chain(shape).collect();
        if !is_binary {
            return Some(Self {
                name,
                datatype,
                shape,
                parameters: None,
                data: Some(data),
                binary: Vec::new(),
            });
        }
        let binary = data.raw();
        let parameters = Some(serde_json::json!({ "binary_data_size": binary.len() }));
        Some(Self { name, datatype, shape, parameters, data: None, binary })
    }
}

impl Data {
    /// Little-endian; a text has its length in four bytes before it.
    fn raw(&self) -> Vec<u8> {
        match self {
            Self::Numbers(numbers) => {
                numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
            }
            Self::Flags(flags) => flags.iter().map(|&flag| u8::from(flag)).collect(),
            Self::Texts(texts) => {
                let one =
                    |text: &String| [&(text.len() as u32).to_le_bytes(), text.as_bytes()].concat();
                texts.iter().flat_map(one).collect()
            }
        }
    }
}

impl InferResponse<'_> {
    fn answer(&self) -> Answer {
        if self.outputs.iter().all(|output| output.data.is_some()) {
            return json(StatusCode::OK, self);
        }
        let mut body = serde_json::to_vec(self).expect("an answer is plain JSON");
        let length = HeaderValue::from(body.len());
        for output in &self.outputs {
            body.extend_from_slice(&output.binary);
        }
        let mut answer = of_type(StatusCode::OK, "application/octet-stream", body);
        answer.headers_mut().insert(HEADER_LENGTH, length);
        answer
    }
}
