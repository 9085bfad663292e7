//! Functions before and after the inference.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use function::http::Local;
use function::{Failure, Inference, Step};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use hyper::{Request, Response};
use wire::{Header, Record, RejectCode, Source, header};

use crate::inference::{demo_model, image, settings};

/// Answers as a closure does.
struct Scripted<F>(F);

impl<F> std::fmt::Debug for Scripted<F> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Scripted")
    }
}

impl<F: Fn(&Request<Bytes>) -> Response<Bytes> + Send + Sync> Local for Scripted<F> {
    fn answer(&self, request: Request<Bytes>) -> BoxFuture<'_, Result<Response<Bytes>, Failure>> {
        async move { Ok((self.0)(&request)) }.boxed()
    }
}

fn step(answer: impl Fn(&Request<Bytes>) -> Response<Bytes> + Send + Sync + 'static) -> Step {
    Step::local("step", Arc::new(Scripted(answer)), Duration::from_millis(50))
}

fn status(code: u16, text: &'static str) -> Response<Bytes> {
    Response::builder().status(code).body(Bytes::from(text)).unwrap()
}

fn last_tier(before: Vec<Step>, after: Vec<Step>) -> Inference {
    Inference::new(demo_model("edge"), settings("edge"), None, None).with_steps(before, after)
}

fn record(value: &'static str) -> Record {
    let headers = vec![Header::new(header::ID, "7"), Header::new("mine", "x")];
    Record { headers, timestamp_ms: Some(5), value: Some(value.into()), ..Record::default() }
}

/// Gives the drawn digit whose number is the value.
fn decode(request: &Request<Bytes>) -> Response<Bytes> {
    let number = std::str::from_utf8(request.body()).unwrap().parse().unwrap();
    let pixels: Vec<Vec<u8>> = serde_json::from_slice(&image(number)).unwrap();
    let response = Response::builder().header(header::ENCODING, "u8");
    response.body(Bytes::from(pixels.concat())).unwrap()
}

#[tokio::test]
async fn a_record_goes_through_the_functions_before_and_its_answer_through_those_after() {
    let plain = last_tier(vec![], vec![]);
    let expected = Record { value: Some(image(3).into()), ..record("") };
    let expected = plain.infer(&expected, None).await.unwrap().answer.unwrap();
    let seen = step(|request| {
        let header = |name: &str| request.headers()[name].to_str().unwrap().to_owned();
        assert_eq!(header("offramp-id"), "7");
        assert_eq!(header("offramp-topic"), "in");
        assert_eq!(header("offramp-offset"), "11");
        assert_eq!(header("offramp-timestamp-ms"), "5");
        assert!(!request.headers().contains_key("mine"));
        status(204, "")
    });
    let marked = step(|request| Response::new([b"seen: ", &request.body()[..]].concat().into()));
    let inference = last_tier(vec![seen, step(decode)], vec![marked]);
    let source = Source { topic: "in".into(), partition: 0, offset: 11 };
    let answer = inference.infer(&record("3"), Some(&source)).await.unwrap().answer.unwrap();
    let value = String::from_utf8(answer.value.unwrap().to_vec()).unwrap();
    let plain = String::from_utf8(expected.value.unwrap().to_vec()).unwrap();
    assert_eq!(value, format!("seen: {plain}"));
    assert_eq!(answer.headers[1], Header::new("mine", "x"), "what was there stays");
}

async fn failed(
    answer: impl Fn(&Request<Bytes>) -> Response<Bytes> + Send + Sync + 'static,
) -> Failure {
    let inference = last_tier(vec![step(answer)], vec![]);
    inference.infer(&record("3"), None).await.unwrap_err()
}

#[tokio::test]
async fn a_function_that_refuses_a_record_has_its_words_heard() {
    let Failure::Reject(reject) = failed(|_| status(422, "no face in it\n")).await else {
        panic!("the record can never succeed")
    };
    assert_eq!(reject.code, RejectCode::Refused);
    assert_eq!(reject.reason, "/function/step answered 422 Unprocessable Entity: no face in it");
    let later = failed(|_| status(500, "oops")).await;
    assert_eq!(
        later.to_string(),
        "failed: /function/step answered 500 Internal Server Error: oops"
    );
    let busy = failed(|_| status(429, "")).await;
    assert!(matches!(busy, Failure::Overloaded { .. }), "{busy}");
}

#[derive(Debug)]
struct Never;

impl Local for Never {
    fn answer(&self, _: Request<Bytes>) -> BoxFuture<'_, Result<Response<Bytes>, Failure>> {
        std::future::pending().boxed()
    }
}

#[tokio::test]
async fn a_function_has_its_own_time() {
    let step = Step::local("slow", Arc::new(Never), Duration::from_millis(20));
    let inference = last_tier(vec![step], vec![]);
    let failure = inference.infer(&record("3"), None).await.unwrap_err();
    assert_eq!(failure.to_string(), "failed: /function/slow: no answer within 0.02 s");
}
