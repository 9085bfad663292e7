//! Processes of this program under measurement.

use std::fmt::Write as _;
use std::fs::File;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, bail};
use bench::usage::{Subject, Watched};
use tokio::time::Instant;

/// Between two looks whether a process is ready.
const LOOK: Duration = Duration::from_millis(5);
/// Lines of a log that are shown where a process did not do what it should.
const LAST_LINES: usize = 3;

/// Processes by name. Clones share them; they are killed with the last.
#[derive(Debug, Clone, Default)]
pub(in super::super) struct Processes {
    dir: PathBuf,
    all: Arc<Mutex<Vec<Process>>>,
}

#[derive(Debug)]
struct Process {
    name: String,
    arguments: Vec<String>,
    log: PathBuf,
    child: Option<Child>,
}

impl Processes {
    /// None yet; logs go to a folder.
    pub(in super::super) fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), all: Arc::default() }
    }

    fn all(&self) -> MutexGuard<'_, Vec<Process>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts one and waits until its log says that it is ready.
    pub(super) async fn start(
        &self,
        name: &str,
        arguments: &[&str],
        ready: &str,
        within: Duration,
    ) -> anyhow::Result<()> {
        let log = self.dir.join(format!("{name}.log"));
        let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let mut process =
            Process { name: name.to_owned(), arguments, log: log.clone(), child: None };
        process.launch()?;
        self.all().push(process);
        let deadline = Instant::now() + within;
        loop {
            let said = std::fs::read_to_string(&log)?;
            if said.contains(ready) {
                return Ok(());
            }
            if self.all().last_mut().is_some_and(Process::has_ended) {
                bail!("process `{name}` has ended: {}", last_lines(&said));
            }
            if deadline < Instant::now() {
                bail!("process `{name}` is not ready after {within:?}: {}", last_lines(&said));
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Whether there is one of this name.
    pub(in super::super) fn has(&self, name: &str) -> bool {
        self.all().iter().any(|process| process.name == name)
    }

    /// The names of all.
    pub(in super::super) fn names(&self) -> Vec<String> {
        self.all().iter().map(|process| process.name.clone()).collect()
    }

    /// The id of one that runs.
    pub(in super::super) fn pid(&self, name: &str) -> Option<u32> {
        let all = self.all();
        let process = all.iter().find(|process| process.name == name)?;
        process.child.as_ref().map(Child::id)
    }

    /// Those that run, to be looked at.
    pub(in super::super) fn watched(&self) -> Vec<Watched> {
        let watched = |process: &Process| {
            let subject = Subject::Process(process.child.as_ref()?.id());
            Some(Watched { name: process.name.clone(), subject })
        };
        self.all().iter().filter_map(watched).collect()
    }

    /// Ends one at once.
    pub(in super::super) fn kill(&self, name: &str) -> anyhow::Result<()> {
        self.with(name, Process::kill)
    }

    /// Starts one again that was killed or has ended.
    pub(in super::super) fn start_again(&self, name: &str) -> anyhow::Result<()> {
        self.with(name, |process| {
            if process.child.is_some() && !process.has_ended() {
                bail!("process `{}` runs already", process.name);
            }
            process.kill()?;
            process.launch()
        })
    }

    fn with(
        &self,
        name: &str,
        act: impl FnOnce(&mut Process) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let mut all = self.all();
        let process = all.iter_mut().find(|process| process.name == name);
        act(process.with_context(|| format!("there is no process `{name}`"))?)
    }

    /// The last lines of each log, for whoever looks for the reason of something.
    pub(super) fn last_words(&self) -> String {
        let mut text = String::new();
        for process in &*self.all() {
            let said = std::fs::read_to_string(&process.log).unwrap_or_default();
            let _ = write!(text, "\n  {}: {}", process.name, last_lines(&said));
        }
        text
    }
}

fn last_lines(said: &str) -> String {
    let lines: Vec<&str> = said.lines().filter(|line| !line.trim().is_empty()).collect();
    let last = &lines[lines.len().saturating_sub(LAST_LINES)..];
    if last.is_empty() { "it said nothing".to_owned() } else { last.join(" | ") }
}

impl Process {
    fn launch(&mut self) -> anyhow::Result<()> {
        let log = File::options().create(true).append(true).open(&self.log)?;
        let program = std::env::current_exe().context("this program's file")?;
        let child = Command::new(program)
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .env_remove("OFFRAMP_LOG")
            .spawn()
            .with_context(|| format!("process `{}` could not be started", self.name))?;
        self.child = Some(child);
        Ok(())
    }

    fn has_ended(&mut self) -> bool {
        let Some(child) = &mut self.child else { return true };
        !matches!(child.try_wait(), Ok(None))
    }

    fn kill(&mut self) -> anyhow::Result<()> {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself.
            let _ = child.kill();
            child.wait()?;
        }
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Nobody is left to be told.
        let _ = self.kill();
    }
}

/// A port that is free, as far as can be told.
pub(super) fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}
