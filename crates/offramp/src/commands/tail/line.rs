//! Answers, dead letters and the summary as text and as JSON.

use std::io::{self, IsTerminal as _, Write};

use serde_json::{Value, json};

use super::tally::{Seen, Summary, What};
use crate::commands::demo::OutputFormat;
use crate::record_text::{self, one_line, shown};

/// Prints what was seen.
#[derive(Debug, Clone, Copy)]
pub(super) struct Printer {
    format: OutputFormat,
    is_coloured: bool,
}

/// ANSI: red, and as it was.
const RED: &str = "\x1b[31m";
const PLAIN: &str = "\x1b[0m";

impl Printer {
    /// Colours are for terminals, unless `NO_COLOR` is set (no-color.org).
    pub(super) fn new(format: OutputFormat) -> Self {
        let wants_none = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { format, is_coloured: io::stdout().is_terminal() && !wants_none }
    }

    pub(super) fn heading(self, out: &mut impl Write) -> io::Result<()> {
        match self.format {
            OutputFormat::Json => Ok(()),
            OutputFormat::Text => {
                writeln!(
                    out,
                    "{}",
                    columns(["sent (UTC)", "tier", "class", "confidence", "latency", "id", "key"])
                )
            }
        }
    }

    pub(super) fn print(self, out: &mut impl Write, seen: &Seen) -> io::Result<()> {
        match (self.format, &seen.what) {
            (OutputFormat::Json, _) => writeln!(out, "{}", object(seen)),
            (OutputFormat::Text, What::DeadLetter(_)) if self.is_coloured => {
                writeln!(out, "{RED}{}{PLAIN}", text(seen))
            }
            (OutputFormat::Text, _) => writeln!(out, "{}", text(seen)),
        }
    }

    pub(super) fn summary(self, out: &mut impl Write, summary: &Summary) -> io::Result<()> {
        if self.format == OutputFormat::Json {
            return writeln!(out, "{}", json!({ "summary": summary }));
        }
        let Summary { sent, answered, dead_lettered, duplicated, late, lost, .. } = summary;
        let answered: Vec<_> =
            answered.iter().map(|tier| format!("{} {}", tier.tier, tier.records)).collect();
        let mut line = format!(
            "answered: {}; {dead_lettered} dead-lettered, {duplicated} duplicated, {late} late",
            answered.join(", ")
        );
        if let Some(sent) = sent {
            let Summary { waiting, unknown, forgotten, .. } = summary;
            line = format!(
                "{sent} sent; {line}, {lost} lost, {waiting} still waited for, {unknown} answers to what was \
                 not sent since"
            );
            if 0 < *forgotten {
                line = format!("{line}, {forgotten} not kept long enough to know");
            }
        }
        writeln!(out, "\n{line}")?;
        let Summary { window_s, max_ids, .. } = summary;
        writeln!(out, "(ids are kept for {window_s} s, at most {max_ids} of them)")
    }
}

fn columns([time, tier, class, confidence, latency, id, key]: [&str; 7]) -> String {
    format!("{time:<14}{tier:<10}{class:>6}{confidence:>12}{latency:>12}  {id:<40}  {key}")
}

fn text(seen: &Seen) -> String {
    let Seen { record, tier, id, latency_ms, what, .. } = seen;
    let none = || "-".to_owned();
    let time = record.timestamp_ms.map_or_else(none, wire::time::time);
    let latency = latency_ms.map_or_else(none, |ms| format!("{ms} ms"));
    let (id, key) =
        (id.as_deref().map_or_else(none, one_line), record.key.as_deref().map_or_else(none, shown));
    let tier = one_line(tier);
    match what {
        What::Answer { classes, confidences, is_degraded } => {
            let list = |numbers: Vec<String>| match numbers.as_slice() {
                [] => none(),
                _ => numbers.join(","),
            };
            let classes = list(classes.iter().map(ToString::to_string).collect());
            let confidences = list(confidences.iter().map(|c| format!("{c:.3}")).collect());
            let line = columns([&time, &tier, &classes, &confidences, &latency, &id, &key]);
            if *is_degraded { format!("{line}  degraded") } else { line }
        }
        What::DeadLetter(cause) => {
            let (code, reason) = cause
                .as_ref()
                .map_or(("-", ""), |cause| (cause.code.as_str(), cause.reason.as_str()));
            let code = format!("dead: {}", one_line(code));
            format!(
                "{time:<14}{tier:<10}{code:>18}{latency:>12}  {id:<40}  {key}  {}",
                one_line(reason)
            )
        }
    }
}

fn object(seen: &Seen) -> Value {
    let Seen { source, record, tier, id, latency_ms, what } = seen;
    let whole = record_text::json(source, record);
    let mut object = json!({
        "topic": source.topic,
        "partition": source.partition,
        "offset": source.offset,
        "timestamp_ms": record.timestamp_ms,
        "tier": tier,
        "id": id,
        "key": whole["key"],
        "latency_ms": latency_ms,
    });
    match what {
        What::Answer { classes, confidences, is_degraded } => {
            object["classes"] = json!(classes);
            object["confidences"] = json!(confidences);
            object["degraded"] = json!(is_degraded);
        }
        What::DeadLetter(cause) => {
            object["dead_letter"] = json!({
                "code": cause.as_ref().map(|cause| &cause.code),
                "reason": cause.as_ref().map(|cause| &cause.reason),
                "source": cause.as_ref().and_then(|cause| cause.source.as_ref()).map(ToString::to_string),
                "attempts": cause.as_ref().and_then(|cause| cause.attempts),
            });
        }
    }
    object
}
