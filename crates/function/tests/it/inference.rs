//! The inference function: what becomes of samples, alone and together.

use std::path::Path;

use bytes::Bytes;
use function::inference::Settings;
use function::{Failure, Fate, Inference, tier};
use model::SubModel;
use model::dataset::drawn;
use pipeline::{ExitSettings, Scale};
use wire::{Encoding, Header, Record, RejectCode, Source, Tensor};

/// A sub-model of the demo.
pub(crate) fn demo_model(tier: &str) -> SubModel {
    shipped_model(&format!("mnist-conv/{tier}.onnx"))
}

fn shipped_model(path: &str) -> SubModel {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
    SubModel::load(&root.join("models").join(path)).unwrap()
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

/// A tier that always answers, with samples and features as JSON.
pub(crate) fn settings(tier: &str) -> Settings {
    Settings {
        tier: tier.into(),
        exit: None,
        scale: ONE,
        max_batch: 64,
        encoding: Encoding::Json,
        features: Encoding::Json,
        answer_here: false,
        dialect: function::inference::Dialect::default(),
    }
}

fn inference(threshold: f64, scale: Scale, max_batch: usize) -> Inference {
    let sub_model = demo_model("edge");
    let exit = Some(tier::exit_of(&sub_model, &ExitSettings::threshold(threshold)).unwrap().1);
    let settings = Settings { exit, scale, max_batch, ..settings("edge") };
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
    let settings = settings("fog");
    let fog = shipped_model("mnist-dense/fog.onnx");
    let fog = Inference::new(fog, settings, None, None);
    let vast = format!("[[{}]]", vec!["3e38"; 32].join(", "));
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

#[tokio::test]
async fn features_are_written_as_asked_and_read_as_they_say() {
    let (edge, fog) = (demo_model("edge"), demo_model("fog"));
    let of = |features| {
        let exit = Some(tier::exit_of(&edge, &ExitSettings::threshold(1.0)).unwrap().1);
        let settings = Settings { exit, features, ..settings("edge") };
        Inference::new(edge.clone(), settings, None, None)
    };
    let next = Inference::new(fog, settings("fog"), None, None);
    let mut answers = Vec::new();
    for encoding in Encoding::OF_FEATURES {
        let forward = of(encoding).infer(&record(batch(3)), None).await.unwrap().forward.unwrap();
        let said = forward.header("offramp-encoding").map(|name| name.to_vec());
        let expected = (encoding != Encoding::Json).then(|| encoding.name().as_bytes().to_vec());
        assert_eq!(said, expected);
        let answer = next.infer(&forward, None).await.unwrap().answer.unwrap();
        // The answer is JSON and does not say otherwise.
        assert_eq!(answer.header("offramp-encoding"), None);
        answers.push(rows(Some(&answer)));
    }
    for (exact, close) in answers[0].iter().flatten().zip(answers[3].iter().flatten()) {
        assert!((exact - close).abs() < 0.05, "{exact} became {close}");
    }
    assert_eq!(answers[0], answers[1]);
}

#[tokio::test]
async fn raw_images_give_what_json_gives_and_wrong_sizes_are_rejected() {
    let settings = Settings { encoding: Encoding::U8, ..settings("edge") };
    let raw = Inference::new(demo_model("edge"), settings, None, None);
    let digits = drawn::draw(64, 5);
    let both = [digits.sample(0), digits.sample(1)].concat();
    let answer = raw.infer(&record(both), None).await.unwrap().answer;
    let json = inference(0.0, ONE, 64).infer(&record(batch(2)), None).await.unwrap().answer;
    assert_eq!(rows(answer.as_ref()), rows(json.as_ref()));
    let short = raw.infer(&record(vec![0; 783]), None).await;
    assert!(matches!(short, Err(Failure::Reject(r)) if r.code == RejectCode::WrongShape));
}
