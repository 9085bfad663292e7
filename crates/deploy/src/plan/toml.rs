//! The pipeline file that a deployed tier reads: the whole pipeline, with addresses and paths as they are there.

use std::fmt::Write as _;
use std::time::Duration;

use pipeline::functions::{Callee, DEFAULT_STEP_TIMEOUT, Step};
use pipeline::{
    DEFAULT_IN_FLIGHT, DEFAULT_LINGER, DEFAULT_MAX_BATCH, OnLoss, Order, Retry, Scale, Tier,
    Uplink, WhenFull,
};
use wire::Encoding;

use super::{Place, Plan};

/// The text; sub-models are in the folder `models`.
pub(crate) fn pipeline_file(plan: &Plan<'_>, models: &str) -> String {
    let mut text = format!("[pipeline]\nname = {}\n", quoted(&plan.pipeline.name));
    for place in plan.places() {
        text.push('\n');
        tier(&mut text, plan, place, models);
    }
    text
}

fn tier(text: &mut String, plan: &Plan<'_>, place: &Place<'_>, models: &str) {
    let tier = place.tier;
    let mut line = |key: &str, value: String| {
        writeln!(text, "{key} = {value}").expect("a text takes any length");
    };
    let servers = plan.servers(&tier.input.servers);
    let output = plan.servers(&tier.output.servers);
    line("[[tier]]\nname", quoted(&tier.name));
    line("model", quoted(&format!("{models}/{}.onnx", place.label)));
    line("bootstrap_servers", quoted(&servers));
    line("input", input(tier));
    let topic = format!("topic = {}", quoted(&tier.output.name));
    if output == servers {
        line("output", format!("{{ {topic} }}"));
    } else {
        line("output", format!("{{ {topic}, bootstrap_servers = {} }}", quoted(&output)));
    }
    line("dead_letter", format!("{{ topic = {} }}", quoted(&tier.dead_letter.name)));
    if let Some(exit) = exit(tier) {
        line("exit", exit);
    }
    let Scale { min, max } = place.instances;
    line("scale", format!("{{ min = {min}, max = {max} }}"));
    let mut chosen = |key: &str, value: String, is_default: bool| {
        if !is_default {
            line(key, value);
        }
    };
    chosen("engine", quoted(tier.engine.name()), tier.engine == wire::EngineKind::default());
    chosen("features", quoted(tier.features.name()), tier.features == Encoding::default());
    chosen("order", quoted(tier.order.name()), tier.order == Order::default());
    chosen("in_flight", tier.in_flight.to_string(), tier.in_flight == DEFAULT_IN_FLIGHT);
    chosen("linger_ms", millis(tier.linger), tier.linger == DEFAULT_LINGER);
    chosen("max_batch", tier.max_batch.to_string(), tier.max_batch == DEFAULT_MAX_BATCH);
    chosen("retry", retry(tier.retry), tier.retry == Retry::default());
    chosen("before", steps(&tier.before), tier.before.is_empty());
    chosen("after", steps(&tier.after), tier.after.is_empty());
    if let Some(held) = &tier.uplink {
        uplink(&mut line, held);
    }
}

fn input(tier: &Tier) -> String {
    let mut text = format!("{{ topic = {}", quoted(&tier.input.name));
    if tier.encoding != Encoding::default() {
        write!(text, ", encoding = {}", quoted(tier.encoding.name())).expect("a text");
    }
    if let Some(shape) = &tier.shape {
        write!(text, ", shape = {shape:?}").expect("a text");
    }
    text + " }"
}

fn exit(tier: &Tier) -> Option<String> {
    let exit = &tier.exit;
    let mut parts = Vec::new();
    parts.extend(exit.criterion.map(|one| format!("criterion = {}", quoted(&one.to_string()))));
    parts.extend(exit.threshold.map(|threshold| format!("threshold = {threshold}")));
    parts.extend(exit.temperature.map(|temperature| format!("temperature = {temperature}")));
    if !exit.class_thresholds.is_empty() {
        let pair = |(label, threshold): (&String, &f64)| format!("{} = {threshold}", quoted(label));
        let pairs: Vec<String> = exit.class_thresholds.iter().map(pair).collect();
        parts.push(format!("class_thresholds = {{ {} }}", pairs.join(", ")));
    }
    (!parts.is_empty()).then(|| format!("{{ {} }}", parts.join(", ")))
}

fn retry(retry: Retry) -> String {
    let Retry { attempts, backoff_min, backoff_max } = retry;
    let (min, max) = (millis(backoff_min), millis(backoff_max));
    format!("{{ attempts = {attempts}, backoff_ms_min = {min}, backoff_ms_max = {max} }}")
}

/// Only those that call a URL: the others are refused before.
fn steps(steps: &[Step]) -> String {
    let step = |step: &Step| {
        let Callee::Url(url) = &step.callee else { return None };
        let timeout = if step.timeout == DEFAULT_STEP_TIMEOUT {
            String::new()
        } else {
            format!(", timeout_ms = {}", millis(step.timeout))
        };
        Some(format!("{{ url = {}{timeout} }}", quoted(url)))
    };
    format!("[{}]", steps.iter().filter_map(step).collect::<Vec<_>>().join(", "))
}

fn uplink(line: &mut impl FnMut(&str, String), uplink: &Uplink) {
    line("uplink_timeout_ms", millis(uplink.timeout));
    if uplink.on_loss != OnLoss::default() {
        line("on_uplink_loss", quoted(uplink.on_loss.name()));
        return;
    }
    let buffer = &uplink.buffer;
    let mut text =
        format!("topic = {}, max_mib = {}", quoted(&buffer.topic.name), buffer.max_bytes >> 20);
    if buffer.when_full != WhenFull::default() {
        write!(text, ", when_full = {}", quoted(buffer.when_full.name())).expect("a text");
    }
    if let Some(rate) = buffer.drain_rate {
        write!(text, ", drain_rate = {rate}").expect("a text");
    }
    if buffer.live_first {
        text.push_str(", live_first = true");
    }
    line("buffer", format!("{{ {text} }}"));
}

fn millis(time: Duration) -> String {
    time.as_millis().to_string()
}

/// A basic string of TOML.
fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => {
                write!(quoted, "\\u{:04X}", u32::from(c)).expect("a text takes any length");
            }
            c => quoted.push(c),
        }
    }
    quoted + "\""
}
