//! The raw files of the published comparison: a line for each answer, as its download script wrote them.
//!
//! ```text
//! {"topic": "openfaas.inference.fog-output", "partition": 0, "offset": 0, "timestamp": 1681899937014,
//!  "key": "6116c661-…", "first_timestamp": [["X-INFERENCE-TS", "1681899936.417709"]]}
//! ```
//!
//! `timestamp` is when the answer was written, in milliseconds, by the clock of whatever wrote it; `X-INFERENCE-TS` when
//! the device was about to send, in seconds, by the device's. A latency is the difference. One system dropped keys and
//! headers: its files have neither, and no latency can be had from them. Where the time of the run's start is known, they
//! can be paired with a made-up schedule as the published notebook did ([`Source::started_s`]), which shows how those
//! figures came about and no more.
//!
//! What was sent and never answered has left no line: how many that are follows from the number of devices.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::file::{RunError, each_line, no_record};
use super::{About, Outcome, Run, Trial};
use crate::schedule::{PAPER_RECORDS, paper_stages};

/// The header with the device's time.
const DEVICE_TIME: &str = "X-INFERENCE-TS";
/// Tiers that topics are named after, first tier first.
const TIERS: [&str; 3] = ["edge", "fog", "cloud"];

/// A file, and what is known of it besides.
#[derive(Debug, Clone, Default)]
pub struct Source {
    /// The file.
    pub path: PathBuf,
    /// Only these lines, counted from 1, both included.
    pub lines: Option<(usize, usize)>,
    /// When its devices began, in seconds since the epoch.
    pub started_s: Option<f64>,
    /// Devices that sent; as many as its answers need if none is given.
    pub devices: Option<u64>,
}

/// An answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// Which of the file's lines it is, from 1.
    pub line: usize,
    /// The topic that it was read from.
    pub topic: String,
    /// Its partition.
    pub partition: i32,
    /// Its offset there.
    pub offset: i64,
    /// When it was written, in milliseconds since the epoch.
    pub timestamp_ms: i64,
    /// Its key.
    pub key: Option<String>,
    /// When the device was to send, in seconds since the epoch.
    pub sent_s: Option<f64>,
}

/// A file as it was read, and the run that it makes.
#[derive(Debug, Clone)]
pub struct Published {
    /// The file and what was said of it.
    pub source: Source,
    /// Its answers in their order.
    pub answers: Vec<Answer>,
    /// Devices that sent.
    pub devices: u64,
    /// Milliseconds that its made-up latencies were moved by, so that the least is 0.
    pub shifted_s: Option<f64>,
    /// The run.
    pub run: Run,
}

#[derive(Debug, Deserialize)]
struct Line {
    topic: String,
    partition: i32,
    offset: i64,
    timestamp: i64,
    key: Option<String>,
    first_timestamp: Vec<(String, String)>,
}

/// Reads a file. Its run has no remarks yet: [`check`](super::check) has to see all files that are compared.
pub fn read(source: Source) -> Result<Published, RunError> {
    let answers = answers(&source)?;
    let devices =
        source.devices.unwrap_or_else(|| (answers.len() as u64).div_ceil(PAPER_RECORDS).max(1));
    let mut topics: Vec<&str> = answers.iter().map(|answer| answer.topic.as_str()).collect();
    topics.sort_by_key(|topic| (tier_of(topic), *topic));
    topics.dedup();
    let name = source.path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let (outcomes, shifted_s, stages_from) = outcomes(&answers, &topics, &source, devices);
    let system = name.clone();
    let about = About {
        system,
        devices,
        load: format!("the paper's stages, {devices} devices"),
        stages: stages(stages_from.map(|(first, _)| first), devices),
        started: stages_from.map_or(String::new(), |(_, epoch)| format!("{epoch:.6} s since 1970")),
        joined_by: if shifted_s.is_some() {
            "a made-up schedule, in the order of writing".to_owned()
        } else {
            format!("{DEVICE_TIME} in each answer")
        },
        ..About::default()
    };
    let tiers = topics.iter().map(|topic| short(topic)).collect();
    let trial = Trial { records: outcomes, ..Trial::default() };
    let run = Run { name, tiers, about, trials: vec![trial], remarks: Vec::new() };
    Ok(Published { source, answers, devices, shifted_s, run })
}

/// Seconds at which stages begin, and their rates, of devices that begin `from` seconds after the start.
fn stages(from: Option<f64>, devices: u64) -> Vec<(f64, f64)> {
    let mut at = from.unwrap_or_default();
    let stages = paper_stages().into_iter().map(|(rate, records)| {
        let begins = at;
        at += records as f64 / rate;
        (begins, rate * devices as f64)
    });
    stages.collect()
}

/// How far up the tier is that a topic is named after.
fn tier_of(topic: &str) -> usize {
    TIERS.iter().position(|tier| topic.contains(tier)).unwrap_or(TIERS.len())
}

fn short(topic: &str) -> String {
    TIERS.get(tier_of(topic)).map_or_else(|| topic.to_owned(), |tier| (*tier).to_owned())
}

fn answers(source: &Source) -> Result<Vec<Answer>, RunError> {
    let path = &source.path;
    let (first, last) = source.lines.unwrap_or((1, usize::MAX));
    let file = std::fs::File::open(path)
        .map_err(|source| RunError::Read { path: path.clone(), source })?;
    let mut answers = Vec::new();
    each_line(file, path, |line, text| {
        if (first..=last).contains(&line) {
            let answer = answer(line, text);
            answers.push(answer.map_err(|problem| RunError::Line {
                path: path.clone(),
                line,
                problem,
            })?);
        }
        Ok(())
    })?;
    if answers.is_empty() {
        let range = source.lines.map(|(first, last)| format!("{first} to {last}"));
        return Err(RunError::Empty { path: path.clone(), range });
    }
    Ok(answers)
}

fn answer(line: usize, text: &str) -> Result<Answer, String> {
    let read: Line = serde_json::from_str(text).map_err(|error| no_record(&error, text))?;
    let Line { topic, partition, offset, timestamp, key, first_timestamp } = read;
    if offset < 0 {
        return Err(format!("offset is {offset}, expected one from 0 on"));
    }
    if timestamp <= 0 {
        let expected = "expected milliseconds since 1970";
        return Err(format!("timestamp is {timestamp}, {expected}"));
    }
    let time = first_timestamp.iter().find(|(name, _)| name == DEVICE_TIME);
    let sent_s = match time {
        None => None,
        Some((_, text)) => {
            let seconds = text.parse::<f64>().ok().filter(|seconds| seconds.is_finite());
            let expected = || {
                format!(
                    "{DEVICE_TIME} is `{text}`, expected seconds since 1970 as 1681899936.417709"
                )
            };
            Some(seconds.ok_or_else(expected)?)
        }
    };
    Ok(Answer { line, topic, partition, offset, timestamp_ms: timestamp, key, sent_s })
}

type Outcomes = (Vec<Outcome>, Option<f64>, Option<(f64, f64)>);

/// What the answers say, the shift of made-up latencies, and when the devices began: after the trial's start, and since
/// 1970.
fn outcomes(answers: &[Answer], topics: &[&str], source: &Source, devices: u64) -> Outcomes {
    let tier = |answer: &Answer| topics.iter().position(|topic| *topic == answer.topic);
    // As the published script divides: the quotient in floating point, so that sums agree to the last digit.
    let written_s = |answer: &Answer| answer.timestamp_ms as f64 / 1000.0;
    let first_sent = answers.iter().filter_map(|answer| answer.sent_s).min_by(f64::total_cmp);
    let first_written = answers.iter().map(written_s).fold(f64::INFINITY, f64::min);
    if let (None, Some(start)) = (first_sent, source.started_s) {
        let (outcomes, shift) = made_up(answers, tier, start, devices);
        return (outcomes, Some(shift), Some((0.0, start)));
    }
    let start = first_sent.unwrap_or(first_written);
    let outcomes = answers.iter().map(|answer| Outcome {
        due_s: answer.sent_s.map(|sent| sent - start),
        arrived_s: Some(written_s(answer) - start),
        latency_s: answer.sent_s.map(|sent| written_s(answer) - sent),
        tier: tier(answer),
        ..Outcome::default()
    });
    let mut outcomes: Vec<Outcome> = outcomes.collect();
    if first_sent.is_some() {
        outcomes.sort_by(|a, b| a.due_s.partial_cmp(&b.due_s).expect("times are finite"));
    }
    (outcomes, None, first_sent.map(|start| (0.0, start)))
}

/// Pairs the answers, in the order of their writing, with the times at which devices would send that lose no time, and
/// moves the differences so that the least is 0.
fn made_up(
    answers: &[Answer],
    tier: impl Fn(&Answer) -> Option<usize>,
    start: f64,
    devices: u64,
) -> (Vec<Outcome>, f64) {
    let mut written: Vec<&Answer> = answers.iter().collect();
    written.sort_by_key(|answer| answer.timestamp_ms);
    // The notebook waits before each record, not after it.
    let mut at = 0.0;
    let mut times = Vec::new();
    for (rate, records) in paper_stages() {
        for _ in 0..records {
            at += 1.0 / rate;
            times.extend(std::iter::repeat_n(at, devices as usize));
        }
    }
    let differences: Vec<f64> = written
        .iter()
        .zip(&times)
        .map(|(answer, at)| answer.timestamp_ms as f64 / 1000.0 - (start + at))
        .collect();
    let shift = differences.iter().copied().fold(f64::INFINITY, f64::min);
    let outcomes =
        written.iter().zip(&times).zip(&differences).map(|((answer, at), difference)| Outcome {
            due_s: Some(*at),
            arrived_s: Some(answer.timestamp_ms as f64 / 1000.0 - start),
            latency_s: Some(difference - shift),
            tier: tier(answer),
            ..Outcome::default()
        });
    (outcomes.collect(), shift)
}

/// Whether a file's first line is of this kind.
pub fn is_published(path: &Path) -> bool {
    let mut is = false;
    let Ok(file) = std::fs::File::open(path) else { return false };
    let _ = each_line(file, path, |line, text| {
        is = answer(line, text).is_ok();
        // One line tells.
        Err(RunError::Empty { path: path.to_owned(), range: None })
    });
    is
}
