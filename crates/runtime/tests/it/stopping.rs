//! The end of a gateway.

use std::sync::Arc;

use serde_json::json;

use crate::stage::{Stage, eventually};

#[tokio::test]
async fn calls_that_are_under_way_are_finished_and_further_ones_refused() {
    let mut stage = Stage::new().await;
    stage.deploy("slow").await;
    assert_eq!(stage.post("/async-function/slow", "later").await.status, 202);
    let slow = Arc::clone(&stage.slow);
    let functions = stage.functions.clone();
    let in_flight = || functions.get("slow").unwrap().pool.status().in_flight;
    eventually(|| in_flight() == 1).await;
    let (stop, queue) = (stage.stop(), stage.queue.clone());
    let call = stage.post("/function/slow", "x");
    let stopping = async {
        eventually(|| in_flight() == 2).await;
        stop.send(()).unwrap();
        stage.until("/healthz", |reply| reply.status == 503).await.says(503, "is stopping");
        stage.post("/function/slow", "x").await.says(503, "the gateway is stopping");
        slow.add_permits(2);
    };
    let (reply, ()) = tokio::join!(call, stopping);
    assert_eq!((reply.status, &reply.json()["body"]), (200, &json!("x")));
    stage.stopped().await;
    assert_eq!(queue.status().done, 1);
}
