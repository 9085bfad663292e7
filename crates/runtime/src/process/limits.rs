//! What an instance may take of memory and processor time.
//!
//! By a control group where this process may make one (version 2 with delegation, or version 1); else memory is
//! looked at every [`LOOK_EVERY`] and the instance killed that has more, and processor time is not bounded, which is
//! said in the function's logs.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use super::proc;
use crate::logs::Logs;
use crate::spec::Spec;

/// How often memory is looked at where no control group bounds it.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Period over which processor time is shared out, in microseconds: the kernel's default.
const PERIOD_US: u64 = 100_000;
const ROOT: &str = "/sys/fs/cgroup";

/// The limits of one instance.
#[derive(Debug)]
pub(super) struct Limits {
    memory_bytes: Option<u64>,
    /// Where no control group bounds the memory.
    watched: bool,
    groups: Vec<PathBuf>,
    missing: Vec<String>,
}

impl Limits {
    /// Makes the control groups for an instance of that name, as far as its function has limits.
    pub(super) fn prepare(name: &str, spec: &Spec) -> Self {
        let mut this = Self {
            memory_bytes: spec.memory_bytes,
            watched: false,
            groups: Vec::new(),
            missing: Vec::new(),
        };
        let Some(hierarchy) = (spec.memory_bytes.is_some() || spec.cpu_millis.is_some())
            .then(|| hierarchy().as_ref())
        else {
            return this;
        };
        let name = format!("offramp-{}-{name}", std::process::id());
        if let Some(bytes) = spec.memory_bytes {
            let made = hierarchy.map_err(Clone::clone).and_then(|hierarchy| match hierarchy {
                Hierarchy::Unified(own) => this.group(own, &name, "memory.max", &bytes.to_string()),
                Hierarchy::Split { memory, .. } => {
                    this.group(memory, &name, "memory.limit_in_bytes", &bytes.to_string())
                }
            });
            this.watched = made.is_err();
        }
        if let Some(millis) = spec.cpu_millis {
            let quota = millis * PERIOD_US / 1000;
            let made = hierarchy.map_err(Clone::clone).and_then(|hierarchy| match hierarchy {
                Hierarchy::Unified(own) => {
                    this.group(own, &name, "cpu.max", &format!("{quota} {PERIOD_US}"))
                }
                Hierarchy::Split { cpu, .. } => {
                    this.group(cpu, &name, "cpu.cfs_quota_us", &quota.to_string())
                }
            });
            if let Err(reason) = made {
                this.missing.push(format!("processor time is not bounded: {reason}"));
            }
        }
        this
    }

    fn group(&mut self, parent: &Path, name: &str, file: &str, value: &str) -> Result<(), String> {
        let group = parent.join(name);
        match std::fs::create_dir(&group) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                return Err(format!("{}: {error}", group.display()));
            }
            _ => {}
        }
        if !self.groups.contains(&group) {
            self.groups.push(group.clone());
        }
        let file = group.join(file);
        std::fs::write(&file, value).map_err(|error| format!("{}: {error}", file.display()))
    }

    /// Puts a process under them.
    pub(super) fn admit(&self, pid: u32, logs: &Logs) {
        for group in &self.groups {
            let file = group.join("cgroup.procs");
            if let Err(error) = std::fs::write(&file, pid.to_string()) {
                logs.say(&format!("a limit has no effect: {}: {error}", file.display()));
            }
        }
        for missing in &self.missing {
            logs.say(missing);
        }
    }

    /// Returns when a process has more memory than it may, where nothing else bounds it.
    pub(super) async fn exceeded(&self, pid: u32) -> String {
        let Some(bytes) = self.memory_bytes.filter(|_| self.watched) else {
            return std::future::pending().await;
        };
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            if proc::usage(pid).is_some_and(|usage| bytes < usage.memory_bytes) {
                return over(bytes);
            }
        }
    }

    /// Whether the system has ended a process for its memory.
    pub(super) fn killed(&self) -> Option<String> {
        let bytes = self.memory_bytes?;
        let counted = |text: &str| {
            text.lines()
                .any(|line| line.strip_prefix("oom_kill ").is_some_and(|count| count.trim() != "0"))
        };
        let files = self
            .groups
            .iter()
            .flat_map(|group| ["memory.events", "memory.oom_control"].map(|file| group.join(file)));
        let mut texts = files.filter_map(|file| std::fs::read_to_string(file).ok());
        texts.any(|text| counted(&text)).then(|| over(bytes))
    }

    /// Removes the control groups of an instance that has ended.
    pub(super) fn remove(&self) {
        for group in &self.groups {
            if let Err(error) = std::fs::remove_dir(group) {
                tracing::debug!("{}: {error}", group.display());
            }
        }
    }
}

fn over(bytes: u64) -> String {
    format!("it was killed at its limit of {:.1} MiB memory", bytes as f64 / f64::from(1 << 20))
}

/// Where control groups are made.
#[derive(Debug)]
enum Hierarchy {
    /// Version 2: below this process's own group.
    Unified(PathBuf),
    /// Version 1: one tree a resource.
    Split { memory: PathBuf, cpu: PathBuf },
}

fn hierarchy() -> &'static Result<Hierarchy, String> {
    static HIERARCHY: OnceLock<Result<Hierarchy, String>> = OnceLock::new();
    HIERARCHY.get_or_init(|| {
        let own =
            std::fs::read_to_string("/proc/self/cgroup").map_err(|error| error.to_string())?;
        let root = Path::new(ROOT);
        if root.join("cgroup.controllers").exists() {
            let own = own_group(&own, "").ok_or("this process is in no control group")?;
            return delegated(root.join(own)).map(Hierarchy::Unified);
        }
        let tree = |controller: &str| {
            let own = own_group(&own, controller).unwrap_or_default();
            let tree = root.join(controller);
            // In a container the tree's root may be this process's own group already.
            let below = tree.join(&own);
            if below.is_dir() { below } else { tree }
        };
        Ok(Hierarchy::Split { memory: tree("memory"), cpu: tree("cpu") })
    })
}

/// The path of a process's group in the tree of a controller, relative to its root, from `/proc/PID/cgroup`: lines of
/// number, controllers and path, with colons between (cgroups(7)).
fn own_group(text: &str, controller: &str) -> Option<String> {
    text.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next()?, fields.next()?);
        let is_it = controllers.split(',').any(|name| name == controller);
        is_it.then(|| path.trim_start_matches('/').to_owned())
    })
}

/// Makes a group of version 2 one below which others may be made: no process may be in it itself then, so this one
/// moves to a group of its own.
fn delegated(own: PathBuf) -> Result<PathBuf, String> {
    let failed = |path: &Path, error: std::io::Error| format!("{}: {error}", path.display());
    let inner = own.join("offramp-runtime");
    match std::fs::create_dir(&inner) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            return Err(failed(&inner, error));
        }
        _ => {}
    }
    let procs = inner.join("cgroup.procs");
    std::fs::write(&procs, std::process::id().to_string()).map_err(|e| failed(&procs, e))?;
    let control = own.join("cgroup.subtree_control");
    std::fs::write(&control, "+memory +cpu").map_err(|error| failed(&control, error))?;
    Ok(own)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_group_is_found() {
        let split = "9:name=systemd:/\n4:cpu,cpuacct:/user/a\n2:memory:/user/b:c\n";
        assert_eq!(own_group(split, "memory").as_deref(), Some("user/b:c"));
        assert_eq!(own_group(split, "cpu").as_deref(), Some("user/a"));
        assert_eq!(own_group(split, "pids"), None);
        assert_eq!(
            own_group("0::/system.slice/offramp.service\n", "").as_deref(),
            Some("system.slice/offramp.service")
        );
    }
}
