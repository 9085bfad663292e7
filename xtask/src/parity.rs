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
    for (package, filter) in
        [("broker", "parity::"), ("offramp", "dead_letters::"), ("offramp", "kafka_ml::")]
    {
        let arguments =
            ["test", "--release", "--package", package, "--test", "it", "--", filter, THREADS];
        run::cargo_with(environment, &arguments)?;
    }
    Ok(())
}
