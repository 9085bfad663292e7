//! Our program under a task: where it is, how it is started, and what it leaves.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use anyhow::Context as _;

use crate::run;

/// The release build.
pub(crate) fn offramp() -> anyhow::Result<String> {
    let path = run::root().join("target").join("release").join("offramp");
    Ok(path.to_str().context("the path of the checkout is not UTF-8")?.to_owned())
}

/// A process that ends with whoever started it.
#[derive(Debug)]
pub(crate) struct Running(pub(crate) Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a program and waits until it says `ready`; that line with it.
pub(crate) fn start(command: &mut Command, ready: &str) -> anyhow::Result<(Running, String)> {
    let mut child = command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn()?;
    let stderr = child.stderr.take().context("stderr is piped")?;
    let running = Running(child);
    let mut lines = BufReader::new(stderr).lines();
    let line = lines.find(|line| line.as_ref().map_or(true, |line| line.contains(ready)));
    let line = line.with_context(|| format!("{command:?} ended before it was ready"))??;
    // What it says later is read, so that it never waits for a full pipe.
    std::thread::spawn(move || lines.for_each(drop));
    Ok((running, line))
}

/// Starts our broker on a free port. Returns it and its address.
pub(crate) fn start_broker(dir: &std::path::Path) -> anyhow::Result<(Running, String)> {
    let mut broker = Command::new(offramp()?);
    broker.args(["broker", "--listen", "127.0.0.1:0", "--dir"]).arg(dir);
    let (running, ready) = start(&mut broker, "broker ready")?;
    let servers = ready.split_whitespace().find_map(|word| word.strip_prefix("listening="));
    let servers = servers.context("the broker does not say where it listens")?.to_owned();
    Ok((running, servers))
}

/// An empty folder for a task.
pub(crate) fn temporary(task: &str) -> anyhow::Result<PathBuf> {
    let dir = std::env::temp_dir().join(format!("offramp-{task}-{}", std::process::id()));
    if dir.exists() {
        std::fs::remove_dir_all(&dir)?;
    }
    std::fs::create_dir_all(&dir)?;
    Ok(dir)
}

/// The middle one of some values; not a number where there are none.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Lets time pass that is measured over, or before a peer is asked once more.
#[expect(clippy::disallowed_methods, reason = "nothing here has more to do meanwhile")]
pub(crate) fn wait(time: std::time::Duration) {
    std::thread::sleep(time);
}
