//! The inference function: what becomes of samples, alone and together.

use std::path::Path;

use bytes::Bytes;
use function::inference::Settings;
use function::{Failure, Fate, Inference, tier};
use model::SubModel;
use model::dataset::drawn;
use pipeline::Scale;
use wire::{Header, Record, RejectCode, Source, Tensor};

/// A sub-model of the demo.
pub(crate) fn demo_model(tier: &str) -> SubModel {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
    SubModel::load(&root.join(format!("models/mnist-wide/{tier}.onnx"))).unwrap()
}

/// Drawn digit `at` as the JSON of one sample without a batch dimension.
pub(crate) fn image(at: usize) -> Vec<u8> {
    let digits = drawn::draw(64, 5);
    let rows: Vec<Vec<u8>> = digits.sample(at).chunks(28).map(<[u8]>::to_vec).collect();
    serde_json::to_vec(&rows).unwrap()
}

fn batch(count: usize) -> Vec<u8> {
    let images: Vec<String> = (0..count).map(|at| String::from_utf8(image(at)).unwrap()).collect();
    format!("[{}]", images.join(", ")).into_bytes()
}

fn inference(threshold: f64, scale: Scale, max_batch: usize) -> Inference {
    let sub_model = demo_model("edge");
    let exit = Some(tier::exit_of(&sub_model, None, Some(threshold)));
    let settings = Settings { tier: "edge".into(), exit, scale, max_batch };
    Inference::new(sub_model, settings, None, None)
}

fn record(value: Vec<u8>) -> Record {
    Record { key: Some(Bytes::from_static(b"k")), value: Some(value.into()), ..Record::default() }
}

fn rows(record: Option<&Record>) -> Vec<Vec<f32>> {
    let Some(record) = record else { return Vec::new() };
    let tensor = Tensor::from_json(record.value.as_deref().unwrap()).unwrap();
    tensor.data.chunks(tensor.shape[1]).map(<[f32]>::to_vec).collect()
}

fn text(record: &Record, name: &str) -> String {
    String::from_utf8(record.header(name).unwrap().to_vec()).unwrap()
}

const ONE: Scale = Scale { min: 1, max: 1 };

#[tokio::test]
async fn a_batch_parts_sample_by_sample_as_its_samples_do_alone() {
    let inference = inference(0.9999, ONE, 64);
    let together = inference.infer(&record(batch(32)), None).await.unwrap();
    assert_eq!(together.fate(), Fate::Split, "the threshold parts these samples");
    let (mut answers, mut features) = (Vec::new(), Vec::new());
    let (mut answered_rows, mut forwarded_rows) = (Vec::new(), Vec::new());
    for at in 0..32 {
        let alone = inference.infer(&record(image(at)), None).await.unwrap();
        match alone.fate() {
            Fate::Answered => answered_rows.push(at),
            _ => forwarded_rows.push(at),
        }
        answers.extend(rows(alone.answer.as_ref()));
        features.extend(rows(alone.forward.as_ref()));
    }
    let close = |a: &[Vec<f32>], b: &[Vec<f32>]| {
        a.len() == b.len()
            && a.concat()
                .iter()
                .zip(b.concat())
                .all(|(a, b)| (a - b).abs() <= 1e-5 * b.abs().max(1.0))
    };
    assert!(close(&rows(together.answer.as_ref()), &answers));
    assert!(close(&rows(together.forward.as_ref()), &features));
    let (answer, forward) = (together.answer.unwrap(), together.forward.unwrap());
    assert_eq!(text(&answer, "offramp-rows"), format!("{answered_rows:?}"));
    assert_eq!(text(&forward, "offramp-rows"), format!("{forwarded_rows:?}"));
}

#[tokio::test]
async fn a_hop_adds_its_headers_behind_those_of_the_device() {
    let inference = inference(0.0, ONE, 64);
    let mut sent = record(image(0));
    sent.headers =
        vec![Header::new("X-INFERENCE-TS", "1.5"), Header { name: "n".into(), value: None }];
    sent.timestamp_ms = Some(12);
    let source = Source { topic: "t".into(), partition: 1, offset: 5 };
    let answer = inference.infer(&sent, Some(&source)).await.unwrap().answer.unwrap();
    assert_eq!((answer.key.clone(), answer.timestamp_ms), (sent.key.clone(), Some(12)));
    assert_eq!(answer.headers[..2], sent.headers);
    assert_eq!(text(&answer, "offramp-id"), "t/1/5");
    assert_eq!(text(&answer, "offramp-tier"), "edge");
    assert_eq!(text(&answer, "offramp-model"), demo_model("edge").version());
    let confidence: f32 = text(&answer, "offramp-exit-confidence").parse().unwrap();
    let largest = rows(Some(&answer))[0].iter().copied().fold(0.0, f32::max);
    assert!((confidence - largest).abs() <= f32::EPSILON);
    sent.headers.push(Header::new("offramp-id", "mine"));
    let answer = inference.infer(&sent, Some(&source)).await.unwrap().answer.unwrap();
    assert_eq!(text(&answer, "offramp-id"), "mine");
    assert_eq!(answer.headers.iter().filter(|header| header.name == "offramp-id").count(), 1);
}

#[tokio::test]
async fn values_that_are_no_samples_are_rejected() {
    let inference = inference(0.5, ONE, 64);
    let code = async |record: Record| match inference.infer(&record, None).await {
        Err(Failure::Reject(reject)) => reject.code,
        other => panic!("{other:?}"),
    };
    assert_eq!(code(Record::default()).await, RejectCode::NotJson);
    assert_eq!(code(record(b"[[1, 2]]".to_vec())).await, RejectCode::WrongShape);
    assert_eq!(code(record(b"[NaN]".to_vec())).await, RejectCode::NotFinite);
    // Finite numbers whose sums are not.
    let settings = Settings { tier: "fog".into(), exit: None, scale: ONE, max_batch: 64 };
    let fog = Inference::new(demo_model("fog"), settings, None, None);
    let vast = format!("[[{}]]", vec!["3e38"; 64].join(", "));
    match fog.infer(&record(vast.into_bytes()), None).await {
        Err(Failure::Reject(reject)) => assert_eq!(reject.code, RejectCode::NotFinite),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_at_once_are_all_answered_by_a_pool_that_starts_at_zero() {
    let inference = std::sync::Arc::new(inference(0.0, Scale { min: 0, max: 2 }, 4));
    let alone = rows(inference.infer(&record(image(1)), None).await.unwrap().answer.as_ref());
    let calls: Vec<_> = (0..200)
        .map(|_| {
            let inference = std::sync::Arc::clone(&inference);
            tokio::spawn(async move { inference.infer(&record(image(1)), None).await.unwrap() })
        })
        .collect();
    for call in calls {
        let answer = rows(call.await.unwrap().answer.as_ref());
        assert!(answer[0].iter().zip(&alone[0]).all(|(a, b)| (a - b).abs() < 1e-6));
    }
}
