//! A function as the API tells of it: what was asked for, and what has become of it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use tokio::time::{Instant, sleep};

use crate::deployment::Resources;
use crate::driver::Usage;
use crate::functions::Function;
use crate::pool::PoolStatus;
use crate::timestamp;

/// Over how long a function's use of processors is measured.
const USAGE_WINDOW: Duration = Duration::from_millis(200);

/// The `FunctionStatus` of the provider's API. What is empty is left out.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Status<'a> {
    name: &'a str,
    image: &'a str,
    namespace: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    env_process: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    env_vars: &'a BTreeMap<String, String>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    constraints: &'a [String],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    secrets: &'a [String],
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    labels: &'a BTreeMap<String, String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: &'a BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Resources::is_empty")]
    limits: &'a Resources,
    #[serde(skip_serializing_if = "Resources::is_empty")]
    requests: &'a Resources,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    read_only_root_filesystem: bool,
    invocation_count: u64,
    replicas: u32,
    available_replicas: u32,
    created_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Used>,
}

/// What a function's instances take together.
#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Used {
    /// Thousandths of a core.
    cpu: f64,
    total_memory_bytes: u64,
}

impl<'a> Status<'a> {
    pub(super) fn of(function: &'a Function) -> Self {
        Self::new(function, &function.pool.status(), None)
    }

    /// Looks twice, to see what the instances took in between. Functions inside this process take nothing by
    /// themselves, and are told of at once.
    pub(super) async fn with_usage(function: &'a Function) -> Self {
        let (before, since) = (function.pool.status(), Instant::now());
        if before.instances.iter().all(|instance| instance.usage.is_none()) {
            return Self::new(function, &before, None);
        }
        sleep(USAGE_WINDOW).await;
        let after = function.pool.status();
        let used = used(&before, &after, since.elapsed());
        Self::new(function, &after, Some(used))
    }

    fn new(function: &'a Function, pool: &PoolStatus, usage: Option<Used>) -> Self {
        let asked = &function.deployment;
        Self {
            name: &asked.service,
            image: &asked.image,
            namespace: asked.namespace(),
            env_process: &asked.env_process,
            env_vars: &asked.env_vars,
            constraints: &asked.constraints,
            secrets: &asked.secrets,
            labels: &asked.labels,
            annotations: &asked.annotations,
            limits: &asked.limits,
            requests: &asked.requests,
            read_only_root_filesystem: asked.read_only_root_filesystem,
            invocation_count: function.counts.calls(),
            replicas: pool.wanted,
            available_replicas: pool.ready,
            created_at: timestamp::format(function.created),
            usage,
        }
    }
}

/// One that has come meanwhile took all of its time meanwhile.
fn used(before: &PoolStatus, after: &PoolStatus, window: Duration) -> Used {
    let usages = |status: &PoolStatus| -> BTreeMap<u64, Usage> {
        let known = status.instances.iter();
        known.filter_map(|instance| Some((instance.number, instance.usage?))).collect()
    };
    let earlier = usages(before);
    let mut used = Used { cpu: 0.0, total_memory_bytes: 0 };
    for (number, now) in usages(after) {
        let then = earlier.get(&number).map_or(0.0, |usage| usage.cpu_seconds);
        used.cpu += (now.cpu_seconds - then).max(0.0) / window.as_secs_f64() * 1000.0;
        used.total_memory_bytes += now.memory_bytes;
    }
    used
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::{InstanceStatus, Phase};

    fn status(instances: &[(u64, f64, u64)]) -> PoolStatus {
        let instances = instances.iter().map(|&(number, cpu_seconds, memory_bytes)| {
            let usage = Some(Usage { cpu_seconds, memory_bytes });
            InstanceStatus { number, phase: Phase::Ready, in_flight: 0, pid: None, usage }
        });
        PoolStatus { instances: instances.collect(), ..PoolStatus::default() }
    }

    #[test]
    fn usage_is_that_of_all_instances_in_the_window() {
        let before = status(&[(1, 10.0, 5), (2, 3.0, 7)]);
        let after = status(&[(2, 3.5, 8), (3, 0.25, 4)]);
        let used = used(&before, &after, Duration::from_millis(500));
        assert_eq!(used, Used { cpu: 1500.0, total_memory_bytes: 12 });
    }
}
