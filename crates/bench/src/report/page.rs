//! One HTML page of a report: nothing is fetched, so it works from a disk and in an archive.
//!
//! Tables and remarks are in the page; charts are data in it, which `page.js` draws: values under the pointer, series on
//! and off by the legend, a closer look by dragging, and each chart as SVG.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::charts::Chart;
use super::digest::{Digest, TierDigest, ratios};
use super::{maybe, number, percent};
use crate::run::{Run, Weight};

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// The page of some runs, the first of which others are compared with.
pub fn page(title: &str, runs: &[Run], charts: &[Chart]) -> String {
    let digests: Vec<Digest> = runs.iter().map(Digest::new).collect();
    let mut body = String::new();
    let text = escaped(title);
    put(&mut body, format_args!("<h1>{text}</h1>"));
    let count = runs.len();
    let of = if count == 1 { "one run".to_owned() } else { format!("{count} runs") };
    put(
        &mut body,
        format_args!(
            "<p class=\"soft\">{of}. Latency counts from when a device was to send, so that a system which holds its senders \
             back does not look faster for it.</p>"
        ),
    );
    remarks(&mut body, &digests);
    put(&mut body, format_args!("<h2>Figures</h2>"));
    latencies(&mut body, &digests);
    fates(&mut body, &digests);
    if let Some((base, others)) = runs.split_first() {
        for run in others {
            compared(&mut body, run, base);
        }
    }
    for (at, chart) in charts.iter().enumerate() {
        let (title, caption) = (escaped(chart.title), escaped(&chart.caption));
        put(
            &mut body,
            format_args!(
                "<section id=\"{}\"><h2>{title}</h2><p class=\"soft\">{caption}</p><div class=\"chart\" data-at=\"{at}\">\
                 <noscript>Charts need scripts; the files beside this page, {}.svg and .png, do not.</noscript></div></section>",
                chart.key, chart.key
            ),
        );
    }
    put(&mut body, format_args!("<h2>Where this comes from</h2>"));
    for run in runs {
        provenance(&mut body, run);
    }
    let figures: Vec<Value> = charts
        .iter()
        .map(|chart| json!({ "key": chart.key, "figure": chart.figure.data() }))
        .collect();
    // In a script, only the end of it would be markup.
    let figures = Value::from(figures).to_string().replace('<', "\\u003c");
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" \
         content=\"width=device-width, initial-scale=1\">\n<title>{text}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n\
         <main>\n{body}</main>\n<div id=\"tip\" role=\"status\"></div>\n<script type=\"application/json\" \
         id=\"figures\">{figures}</script>\n<script>\n{SCRIPT}</script>\n</body>\n</html>\n"
    )
}

fn put(text: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(text, "{line}").expect("memory takes all text");
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn remarks(body: &mut String, digests: &[Digest]) {
    let all = || digests.iter().flat_map(|digest| digest.remarks.iter().map(move |r| (digest, r)));
    if all().next().is_none() {
        return;
    }
    put(body, format_args!("<h2>Before believing this</h2>\n<ul class=\"remarks\">"));
    for (digest, remark) in all() {
        let class = match remark.weight {
            Weight::Note => "note",
            Weight::Doubtful => "doubtful",
            Weight::Invalid => "invalid",
        };
        let (name, text) = (escaped(&digest.name), escaped(&remark.text));
        put(body, format_args!("<li class=\"{class}\"><b>{class}</b>{name}: {text}</li>"));
    }
    put(body, format_args!("</ul>"));
}

fn row(cells: &[String], class: &str) -> String {
    let cells: Vec<String> = cells.iter().map(|cell| escaped(cell)).collect();
    format!("<tr{class}><td>{}</td></tr>", cells.join("</td><td>"))
}

fn heading(names: &[&str]) -> String {
    let cells: Vec<String> = names.iter().map(|name| escaped(name)).collect();
    format!("<tr><th>{}</th></tr>", cells.join("</th><th>"))
}

fn latencies(body: &mut String, digests: &[Digest]) {
    let names = [
        "run", "tier", "answered", "share", "accuracy", "min ms", "p50 ms", "mean ms", "p90 ms",
        "p95 ms", "p99 ms", "max ms",
    ];
    put(body, format_args!("<div class=\"scroll\"><table>{}", heading(&names)));
    for digest in digests {
        let all = (digest.tiers.len() != 1).then_some(&digest.all);
        for (at, tier) in digest.tiers.iter().chain(all).chain(&digest.warm_up).enumerate() {
            let TierDigest { topic, answered, share, accuracy, .. } = tier;
            let cells = [
                if at == 0 { digest.name.clone() } else { String::new() },
                topic.clone(),
                number(*answered as f64),
                percent(*share),
                percent(*accuracy),
                maybe(tier.latency_ms_min),
                maybe(tier.latency_ms_p50),
                maybe(tier.latency_ms_mean),
                maybe(tier.latency_ms_p90),
                maybe(tier.latency_ms_p95),
                maybe(tier.latency_ms_p99),
                maybe(tier.latency_ms_max),
            ];
            let class = if at == 0 { " class=\"first\"" } else { "" };
            put(body, format_args!("{}", row(&cells, class)));
        }
    }
    put(body, format_args!("</table></div>"));
}

fn fates(body: &mut String, digests: &[Digest]) {
    let names = [
        "run",
        "trials",
        "records",
        "answered",
        "lost",
        "duplicated",
        "out of order",
        "dead letters",
        "late",
        "answers/s",
        "elapsed s",
        "drained after s",
        "CPU µs/record",
        "memory MiB",
        "sent late ms (p99)",
    ];
    put(body, format_args!("<div class=\"scroll\"><table>{}", heading(&names)));
    for digest in digests {
        let count = |count: u64| number(count as f64);
        let cells = [
            digest.name.clone(),
            digest.trials.to_string(),
            count(digest.records),
            count(digest.answered),
            count(digest.lost),
            count(digest.duplicated),
            count(digest.disordered),
            count(digest.dead_lettered),
            count(digest.late),
            maybe(digest.throughput_per_s),
            maybe(digest.elapsed_s),
            maybe(digest.drain_s),
            maybe(digest.cpu_us_per_record),
            maybe(digest.resident_mib),
            maybe(digest.send_error_ms_p99),
        ];
        put(body, format_args!("{}", row(&cells, "")));
    }
    put(body, format_args!("</table></div>"));
}

fn compared(body: &mut String, run: &Run, base: &Run) {
    let all = ratios(run, base);
    if all.is_empty() {
        return;
    }
    let (name, of) = (escaped(&run.name), escaped(&base.name));
    put(body, format_args!("<h2>{name} beside {of}</h2>"));
    let names = ["figure", &run.name, &base.name, "ratio", "95 % interval", "of"];
    put(body, format_args!("<div class=\"scroll\"><table>{}", heading(&names)));
    for ratio in all {
        let range = format!("{} to {}", number(ratio.ratio.low), number(ratio.ratio.high));
        let cells = [
            ratio.title.to_owned(),
            number(ratio.value),
            number(ratio.base),
            format!("{} ×", number(ratio.ratio.value)),
            if ratio.ratio.low.is_finite() { range } else { "–".to_owned() },
            ratio.of.to_owned(),
        ];
        put(body, format_args!("{}", row(&cells, "")));
    }
    put(body, format_args!("</table></div>"));
}

fn provenance(body: &mut String, run: &Run) {
    let about = &run.about;
    let command = if about.arguments.is_empty() {
        String::new()
    } else {
        format!("offramp {}", about.arguments.join(" "))
    };
    let machine: Vec<String> =
        about.machine.iter().map(|(key, value)| format!("{key}: {value}")).collect();
    let version = match about.program_sha256.get(..16) {
        Some(hash) => format!("{}, program {hash}…", about.version),
        None => about.version.clone(),
    };
    let facts = [
        ("system", about.system.clone()),
        ("load", about.load.clone()),
        ("started", about.started.clone()),
        ("command", command),
        ("version", version),
        ("machine", machine.join("; ")),
        ("images", about.images.clone()),
        ("answers joined by", about.joined_by.clone()),
        ("note", about.note.clone()),
    ];
    put(body, format_args!("<details><summary>{}</summary><dl>", escaped(&run.name)));
    for (key, value) in facts.iter().filter(|(_, value)| !value.is_empty()) {
        put(body, format_args!("<dt>{key}</dt><dd>{}</dd>", escaped(value)));
    }
    put(body, format_args!("</dl></details>"));
}
