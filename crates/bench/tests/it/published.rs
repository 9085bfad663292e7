//! The published runs: their statistics to the last digit, and what is wrong with them. Generated files show the same
//! where they are not at hand.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use bench::run::published::{Published, Source, is_published, read};
use bench::run::{Run, Weight, check};
use bench::stats::Summary;

type Figure = fn(&Summary) -> f64;

/// When the devices of the runs without device times began, as those who ran them noted it.
const STARTED: [(&str, f64); 3] = [
    ("two-tier-kafkaml-fix", 1_682_071_612.122_513),
    ("two-tier-kafkaml3-fix", 1_682_072_010.837_343),
    ("two-tier-kafkaml5-fix", 1_682_072_307.727_737),
];
/// The file that holds two runs, and how the statistics call its first half.
const TWO_RUNS: (&str, &str) = ("two-tier-kafkaml5", "two-tier-kafkaml5 (first 2000 lines)");

/// The rows of a file of comma-separated values, by the names of its columns.
fn rows(path: &Path) -> Vec<BTreeMap<String, String>> {
    let text = std::fs::read_to_string(path).unwrap();
    let mut lines = text.lines().map(cells);
    let names = lines.next().unwrap();
    lines.map(|cells| names.iter().cloned().zip(cells).collect()).collect()
}

fn cells(line: &str) -> Vec<String> {
    let mut cells = vec![String::new()];
    let mut quoted = false;
    for c in line.chars() {
        match c {
            '"' => quoted = !quoted,
            ',' if !quoted => cells.push(String::new()),
            c => cells.last_mut().unwrap().push(c),
        }
    }
    cells
}

fn file(paper: &Path, name: &str) -> Published {
    let (stem, lines) =
        if name == TWO_RUNS.1 { (TWO_RUNS.0, Some((1, 2000))) } else { (name, None) };
    let started_s = STARTED.iter().find(|(of, _)| *of == name).map(|(_, start)| *start);
    let path = paper.join("runs").join(format!("{stem}.jsonl"));
    let devices = name.contains("kafkaml5").then_some(5);
    read(Source { path, lines, started_s, devices }).unwrap()
}

/// Compares a figure with the text that was published for it, with as many digits as that has.
#[track_caller]
fn same(what: &str, found: Option<f64>, published: &str) {
    if published.is_empty() {
        return;
    }
    let decimals = published.split_once('.').map_or(0, |(_, decimals)| decimals.len());
    let found = found.map_or("none".to_owned(), |found| format!("{found:.decimals$}"));
    assert_eq!(found, published, "{what}");
}

#[test]
fn statistics_of_each_topic_are_those_published() {
    let Some(paper) = crate::paper() else { return };
    let rows = rows(&paper.join("paper-benchmarks.csv"));
    assert_eq!(rows.len(), 34);
    for row in rows {
        let published = file(&paper, &row["file"]);
        let run = &published.run;
        let tier = match row["topic"].as_str() {
            "ALL" => None,
            topic => run.tiers.iter().position(|tier| topic.contains(tier.as_str())),
        };
        let trial = &run.trials[0];
        let what = |name: &str| format!("{} {} {name}", row["file"], row["topic"]);
        let answered = trial.measured().filter(|r| tier.is_none() || r.tier == tier).count();
        assert_eq!(answered.to_string(), row["samples"], "{}", what("samples"));
        let summary = Summary::of(trial.latencies(tier));
        let figures: [(&str, Figure); 7] = [
            ("min", |s| s.min),
            ("median", |s| s.median),
            ("mean", |s| s.mean),
            ("p95", |s| s.p95),
            ("p99", |s| s.p99),
            ("max", |s| s.max),
            ("std", |s| s.std),
        ];
        for (name, figure) in figures {
            same(&what(name), summary.as_ref().map(figure), &row[name]);
        }
        let share = tier.map_or(1.0, |tier| run.shares()[tier]);
        same(&what("share"), Some(share), &row["share"]);
        same(&what("elapsed"), trial.elapsed_s(), &row["elapsed_run"]);
        same(&what("send span"), trial.send_span_s(), &row["send_span"]);
        let whole = trial.first_send_to_last_answer_s();
        // Made-up schedules begin one period after the devices.
        let whole = if published.shifted_s.is_some() { whole.map(|s| s + 1.0) } else { whole };
        same(&what("first send to last answer"), whole, &row["first_send_to_last_out"]);
        same(&what("shift"), published.shifted_s, &row["shift_removed"]);
    }
}

#[test]
fn statistics_of_each_run_are_those_published() {
    let Some(paper) = crate::paper() else { return };
    let rows = rows(&paper.join("paper-runs.csv"));
    assert_eq!(rows.len(), 12);
    for row in rows {
        let published = file(&paper, &row["file"]);
        let trial = &published.run.trials[0];
        let what = |name: &str| format!("{} {name}", row["file"]);
        assert_eq!(published.devices.to_string(), row["clients"], "{}", what("clients"));
        assert_eq!(published.answers.len().to_string(), row["received"], "{}", what("received"));
        same(&what("elapsed"), trial.elapsed_s(), &row["elapsed_paper_def"]);
        same(&what("send span"), trial.send_span_s(), &row["send_span"]);
        let whole = trial.first_send_to_last_answer_s();
        same(&what("first send to last answer"), whole, &row["first_send_to_last_out"]);
        same(&what("drain"), trial.drain_s(), &row["drain_after_last_send"]);
        let counts = |tier: &str| {
            let at = published.run.tiers.iter().position(|name| name == tier);
            trial.measured().filter(|r| at.is_some() && r.tier == at).count().to_string()
        };
        for tier in ["edge", "fog", "cloud"] {
            assert_eq!(counts(tier), row[&format!("exit_{tier}")], "{}", what(tier));
        }
    }
}

fn remarks(files: &[&Published], of: &str) -> Vec<(Weight, String)> {
    let all = check::published(files);
    let at = files.iter().position(|file| file.run.name == of).unwrap();
    all[at].iter().map(|remark| (remark.weight, remark.text.clone())).collect()
}

#[track_caller]
fn says(remarks: &[(Weight, String)], weight: Weight, text: &str) {
    let is_said = remarks.iter().any(|(w, said)| *w == weight && said.contains(text));
    assert!(is_said, "{text:?} is not in {remarks:#?}");
}

#[test]
fn the_run_of_494_s_is_flagged_with_its_reasons() {
    let Some(paper) = crate::paper() else { return };
    let (three, five) =
        (file(&paper, "two-tier-kafkaml3-fix"), file(&paper, "two-tier-kafkaml5-fix"));
    same("elapsed", five.run.trials[0].elapsed_s(), "494.501");
    let said = remarks(&[&three, &five], "two-tier-kafkaml5-fix");
    let invalid = Weight::Invalid;
    says(
        &said,
        invalid,
        "828 of its 2000 answers (offsets 2978 to 3805) are also in `two-tier-kafkaml3-fix`",
    );
    says(&said, invalid, "828 of 2000 answers, 41 %, are older than the run");
    says(
        &said,
        invalid,
        "elapsed spans two runs: of its 494.5 s, 84.4 s are a pause after the first 828 answers",
    );
    says(&said, Weight::Doubtful, "all 2000 answers are of topic `kafkaml.inference.output-cloud`");
    says(&said, Weight::Doubtful, "made-up schedule");
    // Alone, and without knowing when it began, it is still seen.
    let alone = read(Source { started_s: None, ..five.source.clone() }).unwrap();
    let said = remarks(&[&alone], "two-tier-kafkaml5-fix");
    says(&said, invalid, "elapsed spans two runs");
    // The run that its answers are from is not to blame.
    let said = remarks(&[&three, &five], "two-tier-kafkaml3-fix");
    assert!(said.iter().all(|(weight, _)| *weight < invalid), "{said:#?}");
}

#[test]
fn runs_that_can_be_used_are_not_called_invalid() {
    let Some(paper) = crate::paper() else { return };
    let names = [
        "two-tier-openfaas",
        "two-tier-openfaas3",
        "two-tier-openfaas5",
        "two-tier-fission-newdeploy-min1",
        "two-tier-fission3-newdeploy-min1",
        "two-tier-fission5-newdeploy-min1",
        "three-tier-openfaas-1",
        "three-tier-fission-newdeploy-min1-1",
    ];
    let files: Vec<Published> = names.iter().map(|name| file(&paper, name)).collect();
    let all: Vec<&Published> = files.iter().collect();
    for (name, remarks) in names.iter().zip(check::published(&all)) {
        let worst = remarks.iter().map(|remark| remark.weight).max();
        assert!(worst < Some(Weight::Invalid), "{name}: {remarks:#?}");
    }
    let both = file(&paper, TWO_RUNS.0);
    let said = remarks(&[&both], TWO_RUNS.0);
    says(&said, Weight::Doubtful, "4000 answers, expected at most 2000 of 5 devices: several runs");
    says(&said, Weight::Invalid, "elapsed spans two runs");
}

/// A file of answers to one device that is never late; `change` may spoil it.
fn generated(dir: &Path, name: &str, change: impl Fn(usize, &mut Vec<String>)) -> Source {
    const START_MS: i64 = 1_680_000_000_000;
    let mut text = String::new();
    let mut at_ms = 0.0;
    let mut lines = Vec::new();
    for record in 0..400usize {
        let sent = START_MS as f64 / 1e3 + at_ms / 1e3;
        let written = START_MS + at_ms as i64 + 20;
        lines.push(format!(
            "{{\"topic\": \"x.{}-output\", \"partition\": 0, \"offset\": {}, \"timestamp\": {written}, \"key\": \
             \"k{record}\", \"first_timestamp\": [[\"X-INFERENCE-TS\", \"{sent:.6}\"]]}}",
            ["fog", "cloud"][record % 2],
            record / 2,
        ));
        change(record, &mut lines);
        at_ms += 1000.0 / (record / 100 + 1) as f64;
    }
    for line in lines {
        writeln!(text, "{line}").unwrap();
    }
    let path: PathBuf = dir.join(format!("{name}.jsonl"));
    std::fs::write(&path, text).unwrap();
    Source { path, ..Source::default() }
}

#[test]
fn what_is_planted_in_a_file_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let good = read(generated(dir.path(), "good", |_, _| ())).unwrap();
    assert!(is_published(&good.source.path));
    assert_eq!(remarks(&[&good], "good"), []);
    assert_eq!(good.run.tiers, ["fog", "cloud"]);
    let Run { trials, .. } = &good.run;
    let summary = Summary::of(trials[0].latencies(None)).unwrap();
    assert!((summary.median - 0.02).abs() < 2e-3, "{summary:?}");

    let lossy = read(generated(dir.path(), "lossy", |record, lines| {
        if record == 100 {
            lines.pop();
        }
    }));
    let lossy = lossy.unwrap();
    let said = remarks(&[&lossy], "lossy");
    says(&said, Weight::Doubtful, "1 of 400 records that 1 devices send have no answer");
    says(
        &said,
        Weight::Doubtful,
        "1 offsets of `x.fog-output` partition 0 between 0 and 199 are missing",
    );

    let skewed = read(generated(dir.path(), "skewed", |_, lines| {
        let line = lines.pop().unwrap();
        lines.push(line.replace("\"168", "\"169"));
    }));
    says(&remarks(&[&skewed.unwrap()], "skewed"), Weight::Invalid, "older than the run");

    let twice = read(generated(dir.path(), "twice", |record, lines| {
        if record == 7 {
            lines.push(lines.last().unwrap().clone());
        }
    }));
    let twice = twice.unwrap();
    let said = remarks(&[&twice, &good], "twice");
    says(&said, Weight::Invalid, "1 offsets of `x.cloud-output` partition 0 are there twice");
    says(&said, Weight::Doubtful, "1 answers have the key of another");

    let nameless = read(generated(dir.path(), "nameless", |_, lines| {
        let line = lines.pop().unwrap();
        let (before, _) = line.split_once("[[").unwrap();
        lines.push(format!("{before}[]}}"));
    }));
    let nameless = nameless.unwrap();
    says(&remarks(&[&nameless], "nameless"), Weight::Doubtful, "there is no latency");
    assert!(nameless.run.trials[0].latencies(None).is_empty());
}

#[test]
fn a_bad_line_is_named_with_what_was_expected() {
    let dir = tempfile::tempdir().unwrap();
    let check = |text: &str, expected: &str| {
        let path = dir.path().join("bad.jsonl");
        std::fs::write(&path, text).unwrap();
        let error = read(Source { path, ..Source::default() }).unwrap_err().to_string();
        assert!(error.contains("bad.jsonl") && error.contains(expected), "{error}");
    };
    let line = |offset: &str, time: &str| {
        format!(
            "{{\"topic\":\"t\",\"partition\":0,\"offset\":{offset},\"timestamp\":1,\"key\":null,\
             \"first_timestamp\":[[\"X-INFERENCE-TS\",\"{time}\"]]}}\n"
        )
    };
    let good = line("0", "1.5");
    check(&format!("{good}\nnonsense\n"), "line 3: `nonsense` is no record");
    check(&(good.clone() + &line("-1", "1")), "line 2: offset is -1, expected one from 0 on");
    check(&line("0", "noon"), "line 1: X-INFERENCE-TS is `noon`, expected seconds since 1970");
    check("", "has no records");
    check("{\"topic\":\"t\"}\n", "missing field");
    let path = dir.path().join("good.jsonl");
    std::fs::write(&path, good).unwrap();
    let source = Source { path, lines: Some((5, 9)), ..Source::default() };
    assert!(read(source).unwrap_err().to_string().contains("has no records in lines 5 to 9"));
}
