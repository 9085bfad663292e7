//! Tests that break things from outside: kills without end, a full disk, syncs that fail.

use crate::run;

/// How often the broker is killed under load.
const KILLS: &str = "200";

pub(crate) fn test() -> anyhow::Result<()> {
    run::installed("strace", "-V", "strace")?;
    // One after the other: each fills the machine.
    let tests = ["--include-ignored", "--nocapture", "--test-threads", "1", "broker_faults::"];
    run::tests(&[("OFFRAMP_KILLS", KILLS)], &tests)
}
