//! What functions count.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::MetricType;
use runtime::Functions;
use runtime::pool::PoolStatus;

use super::encode;

#[derive(Debug)]
pub(super) struct FunctionCollector {
    pub(super) functions: Functions,
}

impl Collector for FunctionCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let all = self.functions.all();
        let calls: Vec<_> =
            all.iter().map(|function| (&function.spec.name, function.counts.read())).collect();
        let (gauge, counter) = (MetricType::Gauge, MetricType::Counter);
        let codes = calls.iter().flat_map(|(name, calls)| {
            calls.by_code.iter().map(move |(code, count)| {
                ([("function", (*name).clone()), ("code", code.to_string())], *count as f64)
            })
        });
        let name = "offramp_function_calls";
        encode(&mut encoder, name, "Calls by their status", counter, codes)?;
        let seconds = calls.iter().map(|(name, c)| ([("function", name.as_str())], c.seconds));
        let name = "offramp_function_call_seconds";
        encode(&mut encoder, name, "Time that calls took", counter, seconds)?;
        let statuses: Vec<_> =
            all.iter().map(|function| (&function.spec.name, function.pool.status())).collect();
        let mut each = |name: &str, help: &str, kind, value: fn(&PoolStatus) -> f64| {
            let name = format!("offramp_function_{name}");
            let labelled = statuses
                .iter()
                .map(|(name, status)| ([("function", name.as_str())], value(status)));
            encode(&mut encoder, &name, help, kind, labelled)
        };
        each("instances", "Instances that take calls", gauge, |s| f64::from(s.ready))?;
        each("instances_wanted", "Instances that there are to be", gauge, |s| f64::from(s.wanted))?;
        each("in_flight", "Calls that instances have", gauge, |s| s.in_flight as f64)?;
        each("waiting", "Calls that wait for an instance", gauge, |s| s.waiting as f64)?;
        each(
            "instances_broken",
            "Instances that ended by themselves or were replaced",
            counter,
            |s| s.broken_instances as f64,
        )?;
        each("memory_bytes", "Resident memory of its processes", gauge, |s| {
            let usages = s.instances.iter().filter_map(|instance| instance.usage);
            usages.map(|usage| usage.memory_bytes as f64).sum()
        })
    }
}
