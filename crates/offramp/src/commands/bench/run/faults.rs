//! Blows to the system, each at its time.
//!
//! ```toml
//! [[fault]]
//! at_s = 10.0
//! kill = "edge"                        # SIGKILL to a process that was started here, or to one of --pid NAME=PID
//!
//! [[fault]]
//! at_s = 12.0
//! start = "edge"                       # again, of those that were started here
//!
//! [[fault]]
//! at_s = 20.0
//! stop = "broker"                      # SIGSTOP, and `continue` is SIGCONT
//!
//! [[fault]]
//! at_s = 30.0
//! run = ["ip", "link", "set", "uplink", "down"]
//! ```

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, anyhow, ensure};
use bench::run::Struck;
use bench::usage::{Subject, Watched};
use rustix::process::{Pid, Signal, kill_process};
use tables::Table;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::system::Processes;

const MAX_FAULTS: usize = 10_000;
/// A command that takes longer than this holds up what follows.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(60);
const EXPECTED: &str = "one of `kill`, `stop`, `continue`, `start` and `run`";

/// A blow, and seconds after the start at which it falls.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Blow {
    at_s: f64,
    what: What,
}

#[derive(Debug, Clone, PartialEq)]
enum What {
    Kill(String),
    Stop(String),
    Continue(String),
    Start(String),
    Run(Vec<String>),
}

/// Processes that can be struck: those that were started here, and those whose ids were given.
#[derive(Debug, Clone, Default)]
pub(super) struct Names {
    pub(super) own: Vec<String>,
    pub(super) given: Vec<String>,
}

/// Reads a script.
pub(super) fn read(path: &Path, names: &Names) -> anyhow::Result<Vec<Blow>> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read `{}`", path.display()))?;
    parse(&text, names).map_err(|invalid| anyhow!("`{}`: {invalid}", path.display()))
}

fn parse(text: &str, names: &Names) -> Result<Vec<Blow>, tables::Invalid> {
    tables::read(text, |root| {
        let tables = root.tables("fault", "[[fault]] tables");
        if tables.is_empty() && !root.has("fault") {
            root.missing("fault", "at least one [[fault]] table");
        }
        if tables.len() > MAX_FAULTS {
            let text = format!("occurs {} times, expected at most {MAX_FAULTS}", tables.len());
            root.problem("fault", text);
        }
        let mut blows: Vec<Blow> =
            tables.into_iter().filter_map(|table| blow(table, names)).collect();
        root.finish();
        blows.sort_by(|a, b| a.at_s.total_cmp(&b.at_s));
        blows
    })
}

fn blow(table: Table<'_, '_>, names: &Names) -> Option<Blow> {
    let at_s = table.number("at_s", 0.0..=1e6);
    if !table.has("at_s") {
        table.missing("at_s", "seconds after the start");
    }
    let own_or_given = [&names.own[..], &names.given].concat();
    let process = |key: &'static str, known: &[String]| -> Option<String> {
        let name = table.text(key, "the name of a process")?;
        if !known.iter().any(|known| known == name) {
            let expected = if known.is_empty() {
                "a process of --pid NAME=PID".to_owned()
            } else {
                format!("one of {}", known.join(", "))
            };
            table.problem(key, format!("is \"{name}\", expected {expected}"));
        }
        Some(name.to_owned())
    };
    let command = table.texts("run", "a program and its arguments");
    if command.as_ref().is_some_and(Vec::is_empty) {
        table.problem("run", "is empty, expected a program and its arguments");
    }
    let all = [
        process("kill", &own_or_given).map(What::Kill),
        process("stop", &own_or_given).map(What::Stop),
        process("continue", &own_or_given).map(What::Continue),
        process("start", &names.own).map(What::Start),
        command.map(|words| What::Run(words.into_iter().map(str::to_owned).collect())),
    ];
    let mut all: Vec<What> = all.into_iter().flatten().collect();
    if all.len() != 1 {
        table.missing("kill", EXPECTED);
    }
    table.finish();
    Some(Blow { at_s: at_s?, what: all.pop()? })
}

/// Blows that are being dealt.
pub(super) struct Striking {
    task: JoinHandle<anyhow::Result<Vec<Struck>>>,
    count: usize,
}

/// Deals the blows, each at its time after `start`.
pub(super) fn strike(
    blows: Vec<Blow>,
    own: Processes,
    given: &[Watched],
    start: Instant,
) -> Striking {
    let (given, count) = (given.to_vec(), blows.len());
    let task = tokio::spawn(async move {
        let mut struck = Vec::new();
        for Blow { at_s, what } in blows {
            tokio::time::sleep_until(start + Duration::from_secs_f64(at_s)).await;
            let text = what.text();
            deal(what, &own, &given).await.with_context(|| format!("`{text}` at {at_s} s"))?;
            struck.push(Struck { at_s: start.elapsed().as_secs_f64(), what: text });
        }
        Ok(struck)
    });
    Striking { task, count }
}

impl Striking {
    /// What was done. Blows that would have come later than the end are an error: they were not measured.
    pub(super) async fn end(self) -> anyhow::Result<Vec<Struck>> {
        if !self.task.is_finished() {
            self.task.abort();
        }
        match self.task.await {
            Ok(struck) => struck,
            Err(error) if error.is_cancelled() => Err(anyhow!(
                "all was over before the last of {} faults: give times within the run, or send for longer",
                self.count
            )),
            Err(error) => Err(error.into()),
        }
    }
}

impl What {
    fn text(&self) -> String {
        match self {
            Self::Kill(name) => format!("kill {name}"),
            Self::Stop(name) => format!("stop {name}"),
            Self::Continue(name) => format!("continue {name}"),
            Self::Start(name) => format!("start {name}"),
            Self::Run(words) => words.join(" "),
        }
    }
}

async fn deal(what: What, own: &Processes, given: &[Watched]) -> anyhow::Result<()> {
    let send = |name: &str, signal: Signal| {
        let found = given.iter().find(|watched| watched.name == name);
        let pid = match found.map(|watched| &watched.subject) {
            Some(Subject::Process(pid)) => Some(*pid),
            _ => own.pid(name),
        };
        let pid = pid.and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
        let pid = pid.with_context(|| format!("process `{name}` does not run"))?;
        kill_process(pid, signal).with_context(|| format!("process `{name}`"))
    };
    match what {
        What::Kill(name) if own.has(&name) => own.kill(&name),
        What::Kill(name) => send(&name, Signal::KILL),
        What::Stop(name) => send(&name, Signal::STOP),
        What::Continue(name) => send(&name, Signal::CONT),
        What::Start(name) => own.start_again(&name),
        What::Run(words) => {
            let mut command = std::process::Command::new(&words[0]);
            command.args(&words[1..]).stdout(std::process::Stdio::null());
            let status = tokio::task::spawn_blocking(move || command.status());
            let status = tokio::time::timeout(COMMAND_TIMEOUT, status).await;
            let status = status.context("the command has not ended after a minute")???;
            ensure!(status.success(), "the command failed, {status}");
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        Names { own: vec!["broker".into(), "edge".into()], given: vec!["other".into()] }
    }

    #[test]
    fn a_script_is_sorted_by_time() {
        let text =
            "[[fault]]\nat_s = 20\nrun = [\"true\"]\n[[fault]]\nat_s = 1.5\nkill = \"other\"\n";
        let blows = parse(text, &names()).unwrap();
        let expected = [(1.5, What::Kill("other".into())), (20.0, What::Run(vec!["true".into()]))];
        assert_eq!(blows, expected.map(|(at_s, what)| Blow { at_s, what }));
    }

    #[test]
    fn every_problem_is_told_with_its_line_and_what_was_expected() {
        let check = |text: &str, expected: &str| {
            let said = parse(text, &names()).unwrap_err().to_string();
            assert!(said.contains(expected), "{said}");
        };
        check("", "expected at least one [[fault]] table");
        check(
            "[[fault]]\nat_s = 1\nkill = \"egde\"\n",
            "line 3: fault 1: `kill` is \"egde\", expected one of broker, edge, other",
        );
        check("[[fault]]\nat_s = 1\nstart = \"other\"\n", "expected one of broker, edge");
        check("[[fault]]\nkill = \"edge\"\n", "expected seconds after the start");
        check("[[fault]]\nat_s = 1\n", EXPECTED);
        check("[[fault]]\nat_s = 1\nkill = \"edge\"\nrun = [\"x\"]\n", EXPECTED);
        check("[[fault]]\nat_s = -1\nkill = \"edge\"\n", "`at_s` is -1");
        check("[[fault]]\nat_s = 1\nkil = \"edge\"\n", "kil");
        check("[[fault]]\nat_s = 1\nrun = []\n", "is empty");
    }

    #[tokio::test]
    async fn blows_after_the_end_are_said() {
        let blow = Blow { at_s: 1000.0, what: What::Run(vec!["true".into()]) };
        let striking = strike(vec![blow], Processes::default(), &[], Instant::now());
        let error = striking.end().await.unwrap_err().to_string();
        assert!(error.contains("before the last of 1 faults"), "{error}");
        let now = Blow { at_s: 0.0, what: What::Run(vec!["false".into()]) };
        let striking = strike(vec![now], Processes::default(), &[], Instant::now());
        while !striking.task.is_finished() {
            tokio::task::yield_now().await;
        }
        let error = format!("{:#}", striking.end().await.unwrap_err());
        assert!(error.contains("`false` at 0 s: the command failed"), "{error}");
    }
}
