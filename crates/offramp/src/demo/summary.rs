//! What became of the demo's records, for a person and for a program.

use std::time::Instant;

use bench::collector::Answers;
use bench::process::Process;
use bench::{Collected, Sent};
use pipeline::Pipeline;
use serde::Serialize;

use crate::commands::demo::{OutputFormat, print_json};
use crate::demo::images::Images;

/// The summary; its field names are the JSON's.
#[derive(Debug, Serialize)]
pub(crate) struct Summary {
    images: String,
    records: u64,
    answered: u64,
    lost: u64,
    duplicated: u64,
    dead_lettered: u64,
    /// Of all that was answered; absent where nothing was.
    accuracy: Option<f64>,
    /// From the program's start to the first answer.
    first_answer_ms: Option<f64>,
    /// Answers over the time from the first intended send to the last answer.
    throughput_per_s: Option<f64>,
    /// Of this process, all tiers, devices and the broker in it.
    peak_resident_mib: Option<f64>,
    tiers: Vec<TierSummary>,
}

#[derive(Debug, Serialize)]
struct TierSummary {
    tier: String,
    answered: u64,
    share: f64,
    accuracy: Option<f64>,
    latency_ms_p50: Option<f64>,
    latency_ms_p95: Option<f64>,
    latency_ms_p99: Option<f64>,
    latency_ms_max: Option<f64>,
}

impl Summary {
    pub(crate) fn new(
        pipeline: &Pipeline,
        images: &Images,
        collected: &Collected,
        sent: &Sent,
        started: Instant,
    ) -> Self {
        let answered = collected.answered();
        let correct: u64 = collected.tiers.iter().map(|tier| tier.correct).sum();
        let ratio = |part: u64, whole: u64| (whole > 0).then(|| part as f64 / whole as f64);
        let tiers =
            pipeline.tiers.iter().zip(&collected.tiers).map(|(tier, answers)| TierSummary {
                tier: tier.name.clone(),
                answered: answers.answered,
                share: ratio(answers.answered, sent.planned()).unwrap_or_default(),
                accuracy: ratio(answers.correct, answers.answered),
                latency_ms_p50: latency_ms(answers, 50.0),
                latency_ms_p95: latency_ms(answers, 95.0),
                latency_ms_p99: latency_ms(answers, 99.0),
                latency_ms_max: latency_ms(answers, 100.0),
            });
        let seconds = collected.last.map(|last| (last - sent.start()).as_secs_f64());
        Self {
            images: images.origin.clone(),
            records: sent.planned(),
            answered,
            lost: sent.planned() - answered - collected.dead_lettered,
            duplicated: collected.duplicated,
            dead_lettered: collected.dead_lettered,
            accuracy: ratio(correct, answered),
            first_answer_ms: collected
                .first
                .map(|first| (first.into_std() - started).as_secs_f64() * 1e3),
            throughput_per_s: seconds.filter(|&s| s > 0.0).map(|s| answered as f64 / s),
            peak_resident_mib: Process::own().peak_resident_mib().ok(),
            tiers: tiers.collect(),
        }
    }

    pub(crate) fn print(&self, format: OutputFormat) -> anyhow::Result<()> {
        match format {
            OutputFormat::Json => print_json(self),
            OutputFormat::Text => Ok(self.write_text(&mut std::io::stdout().lock())?),
        }
    }

    fn write_text(&self, out: &mut impl std::io::Write) -> std::io::Result<()> {
        writeln!(
            out,
            "\n{:<8}{:>10}{:>9}{:>11}{:>10}{:>10}{:>10}",
            "tier", "answered", "share", "accuracy", "p50 ms", "p95 ms", "p99 ms"
        )?;
        for tier in &self.tiers {
            writeln!(
                out,
                "{:<8}{:>10}{:>9}{:>11}{:>10}{:>10}{:>10}",
                tier.tier,
                tier.answered,
                percent(Some(tier.share)),
                percent(tier.accuracy),
                number(tier.latency_ms_p50),
                number(tier.latency_ms_p95),
                number(tier.latency_ms_p99),
            )?;
        }
        writeln!(
            out,
            "\n{} records: {} answered, {} lost, {} duplicated, {} dead-lettered; accuracy {}",
            self.records,
            self.answered,
            self.lost,
            self.duplicated,
            self.dead_lettered,
            percent(self.accuracy)
        )?;
        writeln!(
            out,
            "first answer {} ms after start, {} answers/s, peak memory {} MiB",
            self.first_answer_ms.map_or("-".to_owned(), |ms| format!("{ms:.0}")),
            self.throughput_per_s.map_or("-".to_owned(), |rate| format!("{rate:.0}")),
            number(self.peak_resident_mib),
        )?;
        writeln!(out, "images: {}", self.images)?;
        writeln!(
            out,
            "latency counts from when a device was to send, on this machine, broker included"
        )?;
        writeln!(out, "\nnext:")?;
        for (command, what) in NEXT {
            writeln!(out, "  {command:<42}{what}")?;
        }
        Ok(())
    }

    /// An error where a record did not come back, so that scripts notice.
    pub(crate) fn verdict(&self) -> anyhow::Result<()> {
        anyhow::ensure!(self.lost == 0, "{} of {} records were lost", self.lost, self.records);
        Ok(())
    }
}

/// What to try after the demo.
const NEXT: [(&str, &str); 4] = [
    ("offramp demo --rate 0 --records 50000", "as fast as it goes"),
    ("offramp init digits", "write a pipeline of your own"),
    ("offramp up digits/offramp.toml", "run it; feed it with any Kafka client"),
    ("offramp model show digits/models/*.onnx", "what a sub-model is"),
];

fn latency_ms(answers: &Answers, percentile: f64) -> Option<f64> {
    (answers.answered > 0).then(|| answers.latency_us.value_at_percentile(percentile) as f64 / 1e3)
}

fn percent(share: Option<f64>) -> String {
    share.map_or("-".to_owned(), |share| format!("{:.2} %", share * 100.0))
}

fn number(value: Option<f64>) -> String {
    value.map_or("-".to_owned(), |value| format!("{value:.2}"))
}
