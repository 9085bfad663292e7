//! What a function's container counts, under of-watchdog's names.

use std::sync::Arc;

use function::platform::{BUCKETS, Container};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

#[derive(Debug)]
pub(super) struct ContainerCollector {
    pub(super) container: Arc<Container>,
}

impl Collector for ContainerCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let counts = self.container.counts();
        let under_way = ConstGauge::new(counts.in_flight as i64);
        let help = "Calls under way";
        let metric =
            encoder.encode_descriptor("http_requests_in_flight", help, None, MetricType::Gauge)?;
        under_way.encode(metric)?;
        let labels = |(method, code): &(String, u16)| {
            [("code", code.to_string()), ("method", method.to_lowercase())]
        };
        let help = "Requests answered";
        let mut metric =
            encoder.encode_descriptor("http_requests", help, None, MetricType::Counter)?;
        for (ended, observed) in &counts.ended {
            let labels = labels(ended);
            ConstCounter::new(observed.count).encode(metric.encode_family(&labels)?)?;
        }
        let help = "Seconds that requests took";
        let mut metric = encoder.encode_descriptor(
            "http_request_duration_seconds",
            help,
            None,
            MetricType::Histogram,
        )?;
        for (ended, observed) in &counts.ended {
            let bounds = BUCKETS.into_iter().chain([f64::MAX]);
            let buckets: Vec<(f64, u64)> = bounds.zip(observed.buckets).collect();
            let labels = labels(ended);
            metric.encode_family(&labels)?.encode_histogram::<NoLabelSet>(
                observed.seconds,
                observed.count,
                &buckets,
                None,
            )?;
        }
        Ok(())
    }
}
