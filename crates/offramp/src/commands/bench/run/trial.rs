//! One trial: devices, collector, watchers and blows at once.

use std::sync::Arc;

use anyhow::Context as _;
use bench::collector::Kept;
use bench::run::{self, Outcome};
use bench::stats::Summary;
use bench::{Collected, Collector, End, Load, Sent, devices};
use hdrhistogram::Histogram;
use kafka::Producer;

use super::Args;
use super::faults::{self, Blow};
use super::load::Images;
use super::system::System;
use super::watch::Watch;
use crate::commands::demo::OutputFormat;
use crate::demo::progress::Bar;

/// What all trials have in common.
pub(super) struct Trial<'a> {
    pub(super) args: &'a Args,
    pub(super) system: &'a System,
    pub(super) images: &'a Images,
    pub(super) blows: &'a [Blow],
}

impl Trial<'_> {
    /// Runs one.
    pub(super) async fn run(&self, load: &Load) -> anyhow::Result<run::Trial> {
        let Self { args, system, .. } = self;
        system.ready(load).await?;
        let collector = Collector::start(system.outlets()).await?.keeping_each();
        let producer = Producer::new(system.servers())?;
        producer.prepare(system.input()).await?;
        let quiet = args.output == OutputFormat::Json;
        let bar = Bar::new(load.records, quiet);
        let watch = Watch::open(&args.watch, system)?;
        let (sent, sending) = devices::start(producer, system.input(), load.clone());
        let watching = watch.start(sent.start());
        let striking =
            faults::strike(self.blows.to_vec(), system.processes(), &args.watch.pids, sent.start());
        let collect = collector.collect(&sent, args.trials.patience(), |now| bar.show(now, &sent));
        let collected = collect.await;
        bar.finish();
        // Whoever is still sending waits for a broker that is away, and is not waited for.
        sending.abort();
        let faults = striking.end().await?;
        let (usage, instances) = watching.end().await.context("what is watched")?;
        Ok(run::Trial {
            records: outcomes(&collected, &sent, args.trials.warm_up),
            duplicated: collected.duplicated,
            disordered: collected.disordered,
            unknown: collected.unknown,
            unconfirmed: sent.planned() - sent.confirmed(),
            send_error_ms: summary_ms(&sent.lateness()),
            usage,
            instances,
            faults,
        })
    }
}

fn outcomes(collected: &Collected, sent: &Arc<Sent>, warm_up: u64) -> Vec<Outcome> {
    let outcome = |(number, kept): (usize, &Kept)| {
        let due_s = (sent.intended(number as u64) - sent.start()).as_secs_f64();
        let latency_s = kept.end.map(|_| f64::from(kept.latency_us) / 1e6);
        Outcome {
            due_s: Some(due_s),
            arrived_s: latency_s.map(|latency| due_s + latency),
            latency_s,
            tier: kept.end.and_then(|end| match end {
                End::Answered(tier) => Some(tier),
                End::DeadLettered => None,
            }),
            correct: kept.correct,
            warm_up: (number as u64) < warm_up,
        }
    };
    collected.kept.iter().enumerate().map(outcome).collect()
}

fn summary_ms(us: &Histogram<u64>) -> Option<Summary> {
    let at = |percentile: f64| us.value_at_percentile(percentile) as f64 / 1e3;
    (!us.is_empty()).then(|| Summary {
        samples: us.len() as usize,
        min: us.min() as f64 / 1e3,
        median: at(50.0),
        mean: us.mean() / 1e3,
        p90: at(90.0),
        p95: at(95.0),
        p99: at(99.0),
        max: us.max() as f64 / 1e3,
        std: us.stdev() / 1e3,
    })
}
