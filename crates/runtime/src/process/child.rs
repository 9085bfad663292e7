//! A child process and its group: watched by a task that alone signals it and reaps it, so that no signal goes to
//! another process that has got its number.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::AsyncRead;
use tokio::process::Command;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use super::limits::Limits;
use super::{output, proc};
use crate::logs::Logs;

/// The end of a child's output is read for this long after it has ended: somebody it has started may hold it open.
const OUTPUT_TIMEOUT: Duration = Duration::from_millis(200);

/// A child process. It is killed when the last handle to it is dropped.
#[derive(Debug, Clone)]
pub(super) struct Child {
    pid: u32,
    orders: mpsc::UnboundedSender<Signal>,
    ended: watch::Receiver<Option<String>>,
}

impl Child {
    /// Starts a process. Its number is written down in the folder `run` as long as it lives.
    pub(super) fn spawn(
        mut command: Command,
        limits: Limits,
        run: &Path,
        name: &Arc<str>,
        logs: &Logs,
    ) -> std::io::Result<Self> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.process_group(0).kill_on_drop(true);
        let mut child = command.spawn()?;
        let pid = child.id().ok_or_else(|| std::io::Error::other("it ended at once"))?;
        let note = Note::write(run, pid)?;
        limits.admit(pid, logs);
        let outputs = (child.stdout.take(), child.stderr.take());
        let (name, logs) = (Arc::clone(name), logs.clone());
        let (orders, mut ordered) = mpsc::unbounded_channel();
        let (tell, ended) = watch::channel(None);
        tokio::spawn(async move {
            let copied = |from| output::copy(from, Arc::clone(&name), logs.clone());
            let (out, err) = (outputs.0.map(boxed), outputs.1.map(boxed));
            let reading = [out, err].into_iter().flatten().map(copied);
            let reading = tokio::spawn(futures_util::future::join_all(reading.collect::<Vec<_>>()));
            let mut killed = None;
            let status = loop {
                tokio::select! {
                    status = child.wait() => break status,
                    order = ordered.recv() => signal(pid, order.unwrap_or(Signal::KILL)),
                    reason = limits.exceeded(pid) => {
                        killed = Some(reason);
                        signal(pid, Signal::KILL);
                    }
                }
                if ordered.is_closed() && ordered.is_empty() {
                    signal(pid, Signal::KILL);
                    break child.wait().await;
                }
            };
            // What it has started and not ended.
            signal(pid, Signal::KILL);
            drop(note);
            let _ = timeout(OUTPUT_TIMEOUT, reading).await;
            let reason = killed.or_else(|| limits.killed()).unwrap_or_else(|| describe(status));
            let reason = match logs.last_of(&name) {
                Some(last) => format!("{reason}; its last line was: {last}"),
                None => reason,
            };
            limits.remove();
            tell.send_replace(Some(reason));
        });
        Ok(Self { pid, orders, ended })
    }

    /// Another handle to the same child.
    pub(super) fn handle(&self) -> Self {
        self.clone()
    }

    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    /// Asks it to end.
    pub(super) fn ask(&self) {
        // Nobody hears it if it has ended.
        let _ = self.orders.send(Signal::TERM);
    }

    /// Ends it.
    pub(super) fn kill(&self) {
        let _ = self.orders.send(Signal::KILL);
    }

    /// Returns when it has ended, with how.
    pub(super) async fn ended(&self) -> String {
        let mut ended = self.ended.clone();
        let reason = ended.wait_for(Option::is_some).await.ok().and_then(|reason| reason.clone());
        reason.unwrap_or_else(|| "nobody watches it any more".to_owned())
    }
}

fn boxed<'a>(output: impl AsyncRead + Send + Unpin + 'a) -> Box<dyn AsyncRead + Send + Unpin + 'a> {
    Box::new(output)
}

fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid as i32) {
        // Nothing of it may be left.
        let _ = kill_process_group(pid, signal);
    }
}

fn describe(status: std::io::Result<ExitStatus>) -> String {
    match status {
        Ok(status) => format!("it ended with {status}"),
        Err(error) => format!("it ended, and how is not known: {error}"),
    }
}

/// A file that tells of a child as long as it lives: its name is the child's number, its text when that started.
struct Note(PathBuf);

impl Note {
    fn write(run: &Path, pid: u32) -> std::io::Result<Self> {
        let path = run.join(pid.to_string());
        let started = proc::started(pid).map_or_else(String::new, |started| started.to_string());
        std::fs::write(&path, started)?;
        Ok(Self(path))
    }
}

impl Drop for Note {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Ends the children of an earlier process that kept its notes here.
pub(super) fn end_leftovers(run: &Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(run)? {
        let entry = entry?;
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let noted = std::fs::read_to_string(entry.path()).unwrap_or_default().parse::<u64>().ok();
        if noted.is_some() && noted == proc::started(pid) {
            tracing::info!(pid, "a function that an earlier run has left is ended");
            signal(pid, Signal::KILL);
        }
        match std::fs::remove_file(entry.path()) {
            // A child that was just being ended has taken its note with it.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            removed => removed?,
        }
    }
    Ok(())
}
