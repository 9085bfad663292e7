//! A run of ours as files: `run.json`, and each trial's records as JSON lines beside it.
//!
//! ```text
//! DIR/run.json                provenance, counts, usage and instances over time, and what each trial's file is called
//! DIR/records-1.jsonl[.gz]    a line for each record that was sent, in the order of sending
//! {"due_us":250000,"latency_us":2104,"tier":"edge","correct":true}       answered
//! {"due_us":500000,"latency_us":2104}                                    a dead letter
//! {"due_us":750000}                                                      lost
//! ```
//!
//! `"warm_up":true` marks what came before measuring. Records are compressed where they are many. What is read is checked:
//! an error names file, line, value and what was expected.

use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{About, Outcome, Run, Trial};

/// The name of the file that says what a run is.
pub const RUN_FILE: &str = "run.json";
/// Of the format of the files.
const FORMAT: u32 = 1;
/// Records are compressed from this many bytes on.
const COMPRESSED_FROM: usize = 64 << 10;
/// A run.json with usage twice a second for a day is smaller.
const MAX_RUN_BYTES: u64 = 256 << 20;
/// Longer lines are no record.
const MAX_LINE_BYTES: usize = 64 << 10;

/// Why a run can't be read or written.
#[derive(Debug, Error)]
#[expect(missing_docs, reason = "each variant's message is its documentation")]
pub enum RunError {
    #[error("cannot read `{}`", path.display())]
    Read { path: PathBuf, source: std::io::Error },

    #[error("cannot write `{}`", path.display())]
    Write { path: PathBuf, source: std::io::Error },

    #[error("`{}` is not what a run is described with: {reason}", path.display())]
    Description { path: PathBuf, reason: String },

    #[error("`{}` has format {found}, expected {FORMAT}", path.display())]
    Format { path: PathBuf, found: u32 },

    #[error("`{}` line {line}: {problem}", path.display())]
    Line { path: PathBuf, line: usize, problem: String },

    #[error("`{}` has no records{}", path.display(), range.as_ref().map_or(String::new(), |range| format!(" in lines {range}")))]
    Empty { path: PathBuf, range: Option<String> },

    #[error("`{}` holds {found} records, {expected} according to `{RUN_FILE}`", path.display())]
    Count { path: PathBuf, found: usize, expected: usize },
}

#[derive(Debug, Serialize, Deserialize)]
struct Described {
    format: u32,
    name: String,
    tiers: Vec<String>,
    about: About,
    trials: Vec<DescribedTrial>,
}

#[derive(Debug, Serialize, Deserialize)]
struct DescribedTrial {
    /// Name of the file beside this one.
    file: String,
    records: usize,
    #[serde(flatten)]
    trial: Trial,
}

/// A line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    due_us: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    latency_us: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tier: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    correct: Option<bool>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    warm_up: bool,
}

/// Writes a run into a folder, which is made.
pub fn save(run: &Run, dir: &Path) -> Result<(), RunError> {
    let write = |path: PathBuf, bytes: &[u8]| {
        std::fs::write(&path, bytes).map_err(|source| RunError::Write { path, source })
    };
    std::fs::create_dir_all(dir)
        .map_err(|source| RunError::Write { path: dir.to_owned(), source })?;
    let mut trials = Vec::new();
    for (at, trial) in run.trials.iter().enumerate() {
        let lines = lines(trial, &run.tiers);
        let mut file = format!("records-{}.jsonl", at + 1);
        let bytes = if lines.len() < COMPRESSED_FROM {
            lines
        } else {
            file.push_str(".gz");
            let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
            encoder.write_all(&lines).expect("memory takes all bytes");
            encoder.finish().expect("memory takes all bytes")
        };
        write(dir.join(&file), &bytes)?;
        trials.push(DescribedTrial { file, records: trial.records.len(), trial: trial.clone() });
    }
    let described = Described {
        format: FORMAT,
        name: run.name.clone(),
        tiers: run.tiers.clone(),
        about: run.about.clone(),
        trials,
    };
    let mut text = Vec::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut text, Lines::default());
    described.serialize(&mut serializer).expect("a run is JSON");
    text.push(b'\n');
    write(dir.join(RUN_FILE), &text)
}

/// JSON on lines down to the looks of a trial, each of which is one.
#[derive(Debug, Default)]
struct Lines {
    depth: usize,
}

/// The run, its trials, a trial, its looks.
const DEPTH_OF_LINES: usize = 4;

impl Lines {
    fn line<W: ?Sized + std::io::Write>(
        &self,
        writer: &mut W,
        is_first: bool,
    ) -> std::io::Result<()> {
        if !is_first {
            writer.write_all(b",")?;
        }
        if self.depth <= DEPTH_OF_LINES {
            writer.write_all(b"\n")?;
            writer.write_all("  ".repeat(self.depth).as_bytes())?;
        }
        Ok(())
    }

    fn open<W: ?Sized + std::io::Write>(
        &mut self,
        writer: &mut W,
        mark: &[u8],
    ) -> std::io::Result<()> {
        self.depth += 1;
        writer.write_all(mark)
    }

    fn close<W: ?Sized + std::io::Write>(
        &mut self,
        writer: &mut W,
        mark: &[u8],
    ) -> std::io::Result<()> {
        self.depth -= 1;
        if self.depth < DEPTH_OF_LINES {
            self.line(writer, true)?;
        }
        writer.write_all(mark)
    }
}

impl serde_json::ser::Formatter for Lines {
    fn begin_array<W: ?Sized + std::io::Write>(&mut self, writer: &mut W) -> std::io::Result<()> {
        self.open(writer, b"[")
    }

    fn end_array<W: ?Sized + std::io::Write>(&mut self, writer: &mut W) -> std::io::Result<()> {
        self.close(writer, b"]")
    }

    fn begin_array_value<W: ?Sized + std::io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> std::io::Result<()> {
        self.line(writer, first)
    }

    fn begin_object<W: ?Sized + std::io::Write>(&mut self, writer: &mut W) -> std::io::Result<()> {
        self.open(writer, b"{")
    }

    fn end_object<W: ?Sized + std::io::Write>(&mut self, writer: &mut W) -> std::io::Result<()> {
        self.close(writer, b"}")
    }

    fn begin_object_key<W: ?Sized + std::io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> std::io::Result<()> {
        self.line(writer, first)
    }
}

fn lines(trial: &Trial, tiers: &[String]) -> Vec<u8> {
    let us = |seconds: f64| (seconds * 1e6).round();
    let mut bytes = Vec::new();
    for record in &trial.records {
        let line = Line {
            due_us: us(record.due_s.unwrap_or_default()) as u64,
            latency_us: record.latency_s.map(|latency| us(latency) as i64),
            tier: record.tier.map(|tier| tiers[tier].clone()),
            correct: record.correct,
            warm_up: record.warm_up,
        };
        serde_json::to_writer(&mut bytes, &line).expect("memory takes all bytes");
        bytes.push(b'\n');
    }
    bytes
}

/// Reads a run from its folder or its `run.json`.
pub fn load(path: &Path) -> Result<Run, RunError> {
    let path = if path.is_dir() { path.join(RUN_FILE) } else { path.to_owned() };
    let read = |path: &Path| {
        let file = std::fs::File::open(path);
        file.map_err(|source| RunError::Read { path: path.to_owned(), source })
    };
    let mut text = String::new();
    read(&path)?
        .take(MAX_RUN_BYTES)
        .read_to_string(&mut text)
        .map_err(|source| RunError::Read { path: path.clone(), source })?;
    let described: Described = serde_json::from_str(&text)
        .map_err(|error| RunError::Description { path: path.clone(), reason: error.to_string() })?;
    if described.format != FORMAT {
        return Err(RunError::Format { path, found: described.format });
    }
    let mut trials = Vec::new();
    for DescribedTrial { file, records: expected, mut trial } in described.trials {
        let is_beside = Path::new(&file).file_name().is_some_and(|name| name == file.as_str());
        if !is_beside {
            let reason = format!("`{file}` is the file of a trial, expected one beside it");
            return Err(RunError::Description { path, reason });
        }
        let records = path.with_file_name(&file);
        let bytes = read(&records)?;
        let is_compressed = Path::new(&file).extension().is_some_and(|end| end == "gz");
        trial.records = if is_compressed {
            outcomes(GzDecoder::new(bytes), &records, &described.tiers)?
        } else {
            outcomes(bytes, &records, &described.tiers)?
        };
        let found = trial.records.len();
        if found != expected {
            return Err(RunError::Count { path: records, found, expected });
        }
        trials.push(trial);
    }
    let Described { name, tiers, about, .. } = described;
    let mut run = Run { name, tiers, about, trials, remarks: Vec::new() };
    run.remarks = super::check::ours(&run);
    Ok(run)
}

fn outcomes(bytes: impl Read, path: &Path, tiers: &[String]) -> Result<Vec<Outcome>, RunError> {
    let mut outcomes = Vec::new();
    each_line(bytes, path, |line, text| {
        let problem = |problem: String| RunError::Line { path: path.to_owned(), line, problem };
        let Line { due_us, latency_us, tier, correct, warm_up } =
            serde_json::from_str(text).map_err(|error| problem(no_record(&error, text)))?;
        let tier = match tier {
            None => None,
            Some(name) => {
                let at = tiers.iter().position(|tier| *tier == name);
                let expected = || format!("tier is `{name}`, expected one of {}", tiers.join(", "));
                Some(at.ok_or_else(|| problem(expected()))?)
            }
        };
        if tier.is_some() && latency_us.is_none() {
            let text =
                format!("tier `{}` answered, expected `latency_us`", tiers[tier.unwrap_or(0)]);
            return Err(problem(text));
        }
        let (due_s, latency_s) = (due_us as f64 / 1e6, latency_us.map(|us| us as f64 / 1e6));
        outcomes.push(Outcome {
            due_s: Some(due_s),
            arrived_s: latency_s.map(|latency| due_s + latency),
            latency_s,
            tier,
            correct,
            warm_up,
        });
        Ok(())
    })?;
    Ok(outcomes)
}

/// What is wrong with a line, in serde's words without its own position, which is that of the line alone.
pub(super) fn no_record(error: &serde_json::Error, text: &str) -> String {
    let reason = error.to_string();
    let reason = reason.split(" at line ").next().unwrap_or_default();
    let start: String = text.chars().take(60).collect();
    let more = if start.len() < text.len() { "…" } else { "" };
    format!("`{start}{more}` is no record: {reason}")
}

/// Calls `each` with the number, from 1, and the text of every line that is not blank.
pub(super) fn each_line(
    bytes: impl Read,
    path: &Path,
    mut each: impl FnMut(usize, &str) -> Result<(), RunError>,
) -> Result<(), RunError> {
    let mut reader = BufReader::new(bytes);
    let mut text = Vec::new();
    for line in 1.. {
        text.clear();
        let limit = MAX_LINE_BYTES as u64 + 1;
        let read = reader.by_ref().take(limit).read_until(b'\n', &mut text);
        let read = read.map_err(|source| RunError::Read { path: path.to_owned(), source })?;
        if read == 0 {
            return Ok(());
        }
        let problem = |problem: String| RunError::Line { path: path.to_owned(), line, problem };
        if read > MAX_LINE_BYTES {
            return Err(problem(format!("longer than {MAX_LINE_BYTES} bytes, expected a record")));
        }
        let text = std::str::from_utf8(&text)
            .map_err(|error| problem(format!("not UTF-8: {error}; expected a record")))?;
        if !text.trim().is_empty() {
            each(line, text.trim())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::{Struck, Usage};
    use super::*;

    fn run(records: usize) -> Run {
        let record = |at: usize| Outcome {
            due_s: Some(at as f64 * 0.25),
            arrived_s: (at % 5 != 4).then_some(at as f64 * 0.25 + 0.002),
            latency_s: (at % 5 != 4).then_some(0.002),
            tier: (at % 5 < 3).then_some(at % 2),
            correct: (at % 5 < 3).then_some(at.is_multiple_of(3)),
            warm_up: at < 2,
        };
        let trial = Trial {
            records: (0..records).map(record).collect(),
            duplicated: 3,
            usage: vec![Usage { at_s: 0.5, name: "edge".into(), cpu_s: 0.25, memory_mib: 12.5 }],
            faults: vec![Struck { at_s: 1.0, what: "kill edge".into() }],
            ..Trial::default()
        };
        let about = About { system: "test".into(), late_ms: 1000.0, ..About::default() };
        let tiers = vec!["edge".to_owned(), "cloud".to_owned()];
        Run { name: "r".into(), tiers, about, trials: vec![trial], remarks: Vec::new() }
    }

    #[test]
    fn what_is_saved_is_read_compressed_or_not() {
        let dir = tempfile::tempdir().unwrap();
        for (records, file) in [(20, "records-1.jsonl"), (3000, "records-1.jsonl.gz")] {
            let dir = dir.path().join(records.to_string());
            save(&run(records), &dir).unwrap();
            assert!(dir.join(file).exists());
            for path in [dir.clone(), dir.join(RUN_FILE)] {
                let mut read = load(&path).unwrap();
                read.remarks.clear();
                assert_eq!(read.trials[0].usage, run(records).trials[0].usage);
                assert_eq!(read.trials[0].fates(1e3), run(records).trials[0].fates(1e3));
                assert_eq!(read, Run { trials: read.trials.clone(), ..run(records) });
            }
        }
    }

    #[test]
    fn what_is_no_run_is_said_with_file_line_value_and_what_was_expected() {
        let dir = tempfile::tempdir().unwrap();
        save(&run(3), dir.path()).unwrap();
        let records = dir.path().join("records-1.jsonl");
        let check = |text: &str, expected: &str| {
            std::fs::write(&records, text).unwrap();
            let error = load(dir.path()).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        };
        check(
            "{\"due_us\":1}\n{\"due_us\":\"x\"}\n",
            "records-1.jsonl` line 2: `{\"due_us\":\"x\"}` is no record: invalid type",
        );
        check(
            "{\"due_us\":1,\"latency_us\":2,\"tier\":\"moon\"}\n",
            "line 1: tier is `moon`, expected one of edge, cloud",
        );
        check("{\"due_us\":1}\n", "holds 1 records, 3 according to `run.json`");
        check(
            "{\"due_us\":1,\"tier\":\"edge\"}\n",
            "line 1: tier `edge` answered, expected `latency_us`",
        );
        std::fs::write(&records, [0xff, b'\n']).unwrap();
        assert!(load(dir.path()).unwrap_err().to_string().contains("line 1: not UTF-8"));
        let path = dir.path().join(RUN_FILE);
        std::fs::write(&path, "{}").unwrap();
        let error = load(dir.path()).unwrap_err().to_string();
        assert!(
            error.contains("run.json` is not what a run is described with: missing field"),
            "{error}"
        );
        let error = load(Path::new("/nowhere/run")).unwrap_err().to_string();
        assert_eq!(error, "cannot read `/nowhere/run`");
    }
}
