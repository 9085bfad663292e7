//! Keeps one place of a pool: an instance after the other, until the place is given up.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::Shared;
use crate::driver::{Grace, Instance};

/// A function whose instance does not take calls within this has something wrong with it.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// How often an instance is asked whether it is healthy, and how long it may take to say so.
const PROBE_EVERY: Duration = Duration::from_secs(2);
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);
/// So many answers in a row that it is not, or none: it is replaced. As the platforms' probes do by default.
const PROBES_FAILED: u32 = 3;
/// One that does not answer may just have ended; how is known this much later.
const END_TIMEOUT: Duration = Duration::from_millis(100);
/// An instance that lived this long is replaced at once.
const LONG_LIFE: Duration = Duration::from_secs(10);
/// Wait after the first of several failures; doubles with each.
const BACKOFF_MIN: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(30);

/// Why an instance is not to be used any more.
enum End {
    Retired,
    Broke(String),
}

pub(super) async fn keep(shared: Arc<Shared>, place: u64, mut retire: watch::Receiver<bool>) {
    let mut failures = 0;
    while !*retire.borrow() {
        let Some((number, suspected)) = shared.places().starts(place) else { break };
        let started = Instant::now();
        let starting =
            timeout(START_TIMEOUT, shared.driver.start(&shared.spec, number, &shared.logs));
        let start = tokio::select! {
            start = starting => start,
            () = retired(&mut retire) => break,
        };
        let reason = match start {
            Ok(Ok(instance)) => {
                let instance: Arc<dyn Instance> = Arc::from(instance);
                shared.places().started(place, Arc::clone(&instance), started.elapsed());
                shared.serve_waiting();
                let ready = Instant::now();
                match watch_over(&shared, place, &instance, &suspected, &mut retire).await {
                    End::Retired => {
                        drain(&shared, place).await;
                        instance.stop(Grace::Drain).await;
                        break;
                    }
                    End::Broke(reason) => {
                        shared.places().broke(place, reason.clone());
                        instance.stop(Grace::None).await;
                        if LONG_LIFE <= ready.elapsed() {
                            failures = 0;
                        }
                        format!("instance {number} is replaced: {reason}")
                    }
                }
            }
            Ok(Err(reason)) => {
                shared.places().broke(place, reason.clone());
                format!("instance {number} did not start: {reason}")
            }
            Err(_) => {
                let reason = format!("it takes no calls after {} s", START_TIMEOUT.as_secs());
                shared.places().broke(place, reason.clone());
                format!("instance {number} did not start: {reason}")
            }
        };
        shared.changed.send_replace(());
        let wait = backoff(failures);
        failures += 1;
        tracing::warn!(function = shared.spec.name, wait_ms = wait.as_millis() as u64, "{reason}");
        shared.logs.say(&reason);
        tokio::select! {
            () = sleep(wait) => {}
            () = retired(&mut retire) => {}
        }
    }
    shared.places().gone(place);
    shared.changed.send_replace(());
}

async fn retired(retire: &mut watch::Receiver<bool>) {
    // Nobody left to give it up: the pool is gone.
    let _ = retire.wait_for(|retired| *retired).await;
}

/// Returns when the instance is not to be used any more.
async fn watch_over(
    shared: &Shared,
    place: u64,
    instance: &Arc<dyn Instance>,
    suspected: &Notify,
    retire: &mut watch::Receiver<bool>,
) -> End {
    let mut failed = 0;
    loop {
        let is_suspect = tokio::select! {
            () = sleep(PROBE_EVERY) => false,
            () = suspected.notified() => true,
            reason = instance.ended() => return End::Broke(reason),
            () = retired(retire) => return End::Retired,
        };
        let healthy = tokio::select! {
            healthy = timeout(PROBE_TIMEOUT, instance.healthy()) => {
                healthy.unwrap_or_else(|_| Err("it does not answer probes".to_owned()))
            }
            reason = instance.ended() => return End::Broke(reason),
        };
        match healthy {
            Ok(()) => {
                failed = 0;
                shared.places().cleared(place);
                shared.serve_waiting();
            }
            Err(reason) => {
                failed += 1;
                if is_suspect || failed == PROBES_FAILED {
                    // How it ended, if it has, says more.
                    let ended = timeout(END_TIMEOUT, instance.ended()).await;
                    return End::Broke(ended.unwrap_or(reason));
                }
            }
        }
    }
}

/// Waits until the place has no calls, as long as one may take.
async fn drain(shared: &Shared, place: u64) {
    let deadline = Instant::now() + shared.spec.timeout;
    let mut changed = shared.changed.subscribe();
    while 0 < shared.places().in_flight(place) {
        if timeout_at(deadline, changed.changed()).await.is_err() {
            return;
        }
    }
}

/// At once after a single failure, then later and later.
fn backoff(failures: u32) -> Duration {
    match failures {
        0 => Duration::ZERO,
        _ => BACKOFF_MAX.min(BACKOFF_MIN * 2_u32.saturating_pow(failures - 1)),
    }
}
