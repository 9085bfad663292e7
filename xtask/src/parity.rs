//! The broker's behavioural tests, and commands that work on any broker, against Apache Kafka and against ours.

use crate::kafka::{Kafka, Waits};
use crate::run;

/// More than there are processors: most tests wait for a broker's clock.
const THREADS: &str = "--test-threads=8";

/// Kafka first: where it fails, the test is wrong.
pub(crate) fn test() -> anyhow::Result<()> {
    let kafka = Kafka::start(Waits::Short)?;
    tests(&[("OFFRAMP_PARITY_SERVERS", &kafka.bootstrap())])?;
    drop(kafka);
    tests(&[])
}

fn tests(environment: &[(&str, &str)]) -> anyhow::Result<()> {
    run::tests(environment, &["parity::", "dead_letters::", "kafka_ml::", THREADS])
}
