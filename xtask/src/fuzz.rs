//! Fuzzing the embedded broker: one libFuzzer target per API, and three more; see `broker::fuzz`.
//!
//! What a fuzzer begins with, what it has found worth keeping and what it broke lie under `target/fuzz`. The
//! corpora in the tree are a small part of that, which `cargo test` tries again; `--save` writes them anew.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use anyhow::{Context as _, bail};

use crate::run;

/// A minute finds what is easy to find.
const SECONDS: u64 = 600;
/// What cargo-fuzz sets, without the sanitizer, which only nightly compilers have.
const RUSTFLAGS: &str = "--cfg fuzzing -Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares \
    -Cllvm-args=-simplifycfg-branch-fold-threshold=0";
/// An input that takes longer than this hangs; one that takes more memory leaks it.
const BOUNDS: [&str; 4] =
    ["-timeout=10", "-rss_limit_mb=1024", "-malloc_limit_mb=256", "-max_len=1024"];
/// Inputs of one target that go into the tree. Where there are more, they are of all lengths.
const SAVED: usize = 128;

struct Fuzzers {
    dir: PathBuf,
    program: PathBuf,
    targets: BTreeSet<String>,
}

pub(crate) fn run(arguments: &[&str]) -> anyhow::Result<()> {
    let (mut seconds, mut saves, mut replayed, mut chosen) = (SECONDS, false, None, Vec::new());
    let mut arguments = arguments.iter();
    while let Some(&argument) = arguments.next() {
        let mut value =
            || arguments.next().with_context(|| format!("`{argument}` is given without a value"));
        match argument {
            "--seconds" => seconds = value()?.parse().context("--seconds wants a number")?,
            "--save" => saves = true,
            "--replay" => replayed = Some(fs::canonicalize(value()?).context("--replay FILE")?),
            name => chosen.push(name),
        }
    }
    let fuzzers = Fuzzers::build()?;
    if let Some(unknown) = chosen.iter().find(|name| !fuzzers.targets.contains(**name)) {
        let targets: Vec<_> = fuzzers.targets.iter().map(String::as_str).collect();
        bail!("`{unknown}` is none of the targets: {}", targets.join(", "));
    }
    if let Some(input) = replayed {
        let [target] = chosen[..] else { bail!("--replay wants the name of one target") };
        let status = fuzzers.command(target).arg(input).status()?;
        return if status.success() { Ok(()) } else { bail!("{target}: {status}") };
    }
    let mut failed = Vec::new();
    for target in &fuzzers.targets {
        if chosen.is_empty() || chosen.contains(&target.as_str()) {
            if !fuzzers.fuzz(target, seconds)? {
                failed.push(target.as_str());
            } else if saves {
                fuzzers.save(target)?;
            }
        }
    }
    if failed.is_empty() { Ok(()) } else { bail!("broken: {}", failed.join(", ")) }
}

impl Fuzzers {
    /// Builds the fuzzer and asks the broker's tests for the targets, with what each begins with.
    fn build() -> anyhow::Result<Self> {
        let dir = run::root().join("target/fuzz");
        let inputs = dir.join("inputs");
        if inputs.exists() {
            fs::remove_dir_all(&inputs)?;
        }
        fs::create_dir_all(&inputs)?;
        run::cargo_with(
            &[("OFFRAMP_FUZZ_DIR", &inputs.to_string_lossy())],
            &[
                "test",
                "--release",
                "--quiet",
                "--package=broker",
                "--lib",
                "fuzz::tests::inputs_are_written",
                "--",
                "--ignored",
            ],
        )?;
        // Named, so that the flags are for the broker and not for what is run while it is built.
        run::cargo_with(
            &[("RUSTFLAGS", RUSTFLAGS)],
            &[
                "build",
                "--release",
                "--manifest-path=crates/broker/fuzz/Cargo.toml",
                "--target-dir=target/fuzz/build",
                "--target=host-tuple",
            ],
        )?;
        let program = fs::read_dir(dir.join("build"))?
            .filter_map(|entry| Some(entry.ok()?.path().join("release/broker-fuzz")))
            .find(|program| program.is_file())
            .context("cargo has built no broker-fuzz")?;
        let entries = fs::read_dir(&inputs)?.filter_map(Result::ok);
        let targets = entries
            .filter(|entry| entry.path().is_dir())
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        Ok(Self { dir, program, targets })
    }

    fn command(&self, target: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.env("OFFRAMP_FUZZ_TARGET", target).args(BOUNDS);
        command
    }

    /// Runs a target; false if it broke something.
    fn fuzz(&self, target: &str, seconds: u64) -> anyhow::Result<bool> {
        let (found, broken) = (self.dir.join("found").join(target), self.dir.join("broken"));
        fs::create_dir_all(&found)?;
        fs::create_dir_all(&broken)?;
        let mut command = self.command(target);
        command
            .arg(format!("-max_total_time={seconds}"))
            .arg(format!("-dict={}", self.dir.join("inputs/words").display()))
            .arg(format!("-artifact_prefix={}/{target}-", broken.display()))
            .arg("-print_final_stats=1")
            .args([&found, &self.dir.join("inputs").join(target)]);
        let (status, log) = watched(&mut command, target, &self.dir.join(format!("{target}.log")))?;
        let last = log.iter().rfind(|line| line.contains("cov:")).map_or("", String::as_str);
        eprintln!("{target}: {seconds} s: {last}");
        if status.success() {
            return Ok(true);
        }
        let input = log.iter().find_map(|line| line.split_once("Test unit written to "));
        let input = input.map_or("", |(_, path)| path);
        eprintln!("{target}: broken by {input}: see target/fuzz/{target}.log, and");
        eprintln!("  cargo xtask fuzz --replay {input} {target}");
        Ok(false)
    }

    /// Writes the target's corpus in the tree anew, from what covers most. Inputs with a remark stay.
    fn save(&self, target: &str) -> anyhow::Result<()> {
        let least = self.dir.join("least").join(target);
        if least.exists() {
            fs::remove_dir_all(&least)?;
        }
        fs::create_dir_all(&least)?;
        let (found, begun) = (self.dir.join("found"), self.dir.join("inputs"));
        let mut command = self.command(target);
        command.args(["-set_cover_merge=1", "-use_counters=0"]);
        command.args([&least, &found.join(target), &begun.join(target)]);
        let (status, _) = watched(&mut command, target, &self.dir.join("merge.log"))?;
        if !status.success() {
            bail!("{target} was not merged: {status}; see target/fuzz/merge.log");
        }
        let inputs = fs::read_dir(least)?.map(|entry| Ok(fs::read(entry?.path())?));
        let mut inputs: Vec<_> = inputs.collect::<anyhow::Result<_>>()?;
        inputs.sort_by_key(|input| (input.len(), input.clone()));
        let path = run::root().join("crates/broker/fuzz/corpus").join(target).with_extension("txt");
        let old = fs::read_to_string(&path).unwrap_or_default();
        let kept = old.lines().filter(|line| line.contains('#')).map(ToOwned::to_owned);
        let step = inputs.len().div_ceil(SAVED).max(1);
        let lines = kept.chain(inputs.iter().step_by(step).map(|input| digits(input)));
        fs::write(&path, lines.map(|line| line + "\n").collect::<String>())?;
        Ok(())
    }
}

fn digits(input: &[u8]) -> String {
    input.iter().flat_map(|byte| [byte >> 4, byte & 0xf]).map(digit).collect()
}

fn digit(half: u8) -> char {
    char::from_digit(half.into(), 16).expect("half a byte is a digit")
}

/// Runs a fuzzer and returns what it says, which goes into a file, and on a terminal line by line over itself.
fn watched(
    command: &mut Command,
    target: &str,
    log: &Path,
) -> anyhow::Result<(ExitStatus, Vec<String>)> {
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    let output = BufReader::new(child.stderr.take().expect("standard error is piped"));
    let (mut file, mut stderr) = (fs::File::create(log)?, std::io::stderr());
    let mut lines = Vec::new();
    for line in output.split(b'\n') {
        let line = String::from_utf8_lossy(&line?).into_owned();
        writeln!(file, "{line}")?;
        // Runs, code covered and inputs kept; what follows makes the line too long for many a terminal.
        let pulse = line.split_once(" lim:").filter(|_| line.starts_with('#'));
        if let Some((pulse, _)) = pulse.filter(|_| stderr.is_terminal()) {
            write!(stderr, "\r\x1b[K{target}: {pulse}")?;
        }
        lines.push(line);
    }
    if stderr.is_terminal() {
        write!(stderr, "\r\x1b[K")?;
    }
    Ok((child.wait()?, lines))
}
