//! What a person sees while the demo runs. All of it goes to stderr.

use std::cell::Cell;
use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use bench::{Collected, Sent};
use function::tier::Brokers;
use indicatif::{ProgressBar, ProgressStyle};
use pipeline::Pipeline;

use crate::demo::images::Images;

/// How often the display changes.
const EVERY: Duration = Duration::from_millis(100);

/// Says what runs and how to look at it from outside.
pub(crate) fn opening(
    pipeline: &Pipeline,
    images: &Images,
    brokers: &Brokers,
    started: Instant,
    quiet: bool,
) {
    if quiet {
        return;
    }
    let mut err = std::io::stderr().lock();
    // A closed stderr is no reason to stop.
    let mut line = |text: String| drop(writeln!(err, "{text}"));
    line(format!(" ok  images   {}", images.origin));
    if let Some(remark) = &images.remark {
        line(format!("              ({remark})"));
    }
    let first = &pipeline.tiers[0];
    let servers = brokers.servers(&first.input.servers);
    line(format!(" ok  broker   {servers}"));
    let names: Vec<&str> = pipeline.tiers.iter().map(|tier| tier.name.as_str()).collect();
    line(format!(" ok  tiers    {}", names.join(" -> ")));
    line(format!(" ready in {} ms", started.elapsed().as_millis()));
    line(format!(
        " look inside while it runs:  kcat -b {servers} -C -t {} -f '%k  %h  %s\\n'",
        first.output.name
    ));
}

/// A bar on a terminal, nothing elsewhere.
#[derive(Debug)]
pub(crate) struct Bar {
    bar: ProgressBar,
    shown: Cell<Instant>,
}

impl Bar {
    pub(crate) fn new(records: u64, quiet: bool) -> Self {
        let bar = if quiet || !std::io::stderr().is_terminal() {
            ProgressBar::hidden()
        } else {
            ProgressBar::new(records)
        };
        let style = ProgressStyle::with_template(" [{bar:30}] {pos}/{len}  {msg}")
            .expect("the template is legal");
        bar.set_style(style.progress_chars("=> "));
        Self { bar, shown: Cell::new(Instant::now()) }
    }

    pub(crate) fn show(&self, collected: &Collected, sent: &Sent) {
        if self.shown.get().elapsed() < EVERY {
            return;
        }
        self.shown.set(Instant::now());
        let answered = collected.answered();
        let shares: Vec<String> = collected
            .tiers
            .iter()
            .map(|tier| format!("{:.1} %", 100.0 * tier.answered as f64 / answered.max(1) as f64))
            .collect();
        let rate = answered as f64 / sent.start().elapsed().as_secs_f64().max(1e-3);
        self.bar.set_position(answered);
        self.bar.set_message(format!("{rate:.0}/s  answered by tier: {}", shares.join(" | ")));
    }

    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
