//! What processes and control groups take over time.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::process::Process;
use crate::run::Usage;

/// Something that is looked at, by the name that figures give it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watched {
    /// Its name.
    pub name: String,
    /// What it is.
    pub subject: Subject,
}

/// Whose CPU time and memory are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// A process.
    Process(u32),
    /// A control group, by its folder: of version 2 one folder; of version 1 that of `cpuacct` and of `memory` beside it.
    ControlGroup(PathBuf),
}

impl Watched {
    /// A process: `PID` or `NAME=PID`.
    pub fn process(text: &str) -> Result<Self, String> {
        let (name, pid) = text.split_once('=').unwrap_or((text, text));
        let pid = pid.parse::<u32>().ok().filter(|pid| *pid > 0 && !name.is_empty());
        let pid = pid.ok_or("expected the id of a process, or NAME=PID")?;
        Ok(Self { name: name.to_owned(), subject: Subject::Process(pid) })
    }

    /// A control group: `DIR` or `NAME=DIR`.
    pub fn control_group(text: &str) -> Result<Self, String> {
        let own = text.trim_end_matches('/').rsplit('/').next().unwrap_or(text);
        let (name, dir) = text.split_once('=').unwrap_or((own, text));
        let dir = PathBuf::from(dir);
        let subject = Subject::ControlGroup(dir);
        if name.is_empty() {
            return Err("expected the folder of a control group, or NAME=DIR".to_owned());
        }
        Ok(Self { name: name.to_owned(), subject })
    }

    /// What it has taken so far, `at_s` seconds after the start.
    ///
    /// # Errors
    ///
    /// It is not there, or this is not Linux.
    pub fn look(&self, at_s: f64) -> io::Result<Usage> {
        let (cpu, memory_mib) = match &self.subject {
            Subject::Process(pid) => {
                let process = Process::new(*pid);
                (process.cpu()?, process.resident_mib()?)
            }
            Subject::ControlGroup(dir) => of_group(dir)?,
        };
        let hundredths = |value: f64| (value * 100.0).round() / 100.0;
        let (cpu_s, memory_mib) = (cpu.as_secs_f64(), hundredths(memory_mib));
        Ok(Usage { at_s, name: self.name.clone(), cpu_s, memory_mib })
    }
}

fn of_group(dir: &Path) -> io::Result<(Duration, f64)> {
    let number = |path: &Path| -> io::Result<u64> {
        let text = std::fs::read_to_string(path)?;
        text.trim().parse().map_err(|_| odd(path, &text, "a number"))
    };
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let stat = dir.join("cpu.stat");
    if dir.join("memory.current").exists() {
        let text = std::fs::read_to_string(&stat)?;
        let usage = text.lines().find_map(|line| line.strip_prefix("usage_usec ")?.parse().ok());
        let us = usage.ok_or_else(|| odd(&stat, &text, "a line `usage_usec N`"))?;
        return Ok((Duration::from_micros(us), mib(number(&dir.join("memory.current"))?)));
    }
    let nanos = number(&dir.join("cpuacct.usage"))?;
    // The controllers' folders stand beside each other, and groups have one name in each.
    let beside =
        dir.to_string_lossy().replace("/cpu,cpuacct/", "/memory/").replace("/cpuacct/", "/memory/");
    let memory = number(&Path::new(&beside).join("memory.usage_in_bytes"))?;
    Ok((Duration::from_nanos(nanos), mib(memory)))
}

fn odd(path: &Path, found: &str, expected: &str) -> io::Error {
    let found: String = found.chars().take(40).collect();
    let text = format!("`{}` holds `{}`, expected {expected}", path.display(), found.trim());
    io::Error::new(io::ErrorKind::InvalidData, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_given_or_follow_from_what_is_watched() {
        let edge = Watched { name: "edge".into(), subject: Subject::Process(12) };
        assert_eq!(Watched::process("edge=12"), Ok(edge));
        assert_eq!(Watched::process("12").unwrap().name, "12");
        assert!(Watched::process("edge").is_err() && Watched::process("=3").is_err());
        assert_eq!(Watched::control_group("/sys/fs/cgroup/a/").unwrap().name, "a");
    }

    #[test]
    fn both_versions_of_control_groups_are_read() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write("two/cpu.stat", "usage_usec 1500000\nuser_usec 1\n");
        write("two/memory.current", "2097152\n");
        write("cpuacct/g/cpuacct.usage", "2500000000\n");
        write("memory/g/memory.usage_in_bytes", "1048576\n");
        let look = |dir: &str| {
            let watched = Watched::control_group(root.path().join(dir).to_str().unwrap()).unwrap();
            watched.look(1.0).map(|usage| (usage.cpu_s, usage.memory_mib))
        };
        assert_eq!(look("two").unwrap(), (1.5, 2.0));
        assert_eq!(look("cpuacct/g").unwrap(), (2.5, 1.0));
        write("two/cpu.stat", "nothing\n");
        let error = look("two").unwrap_err().to_string();
        assert!(error.contains("holds `nothing`, expected a line `usage_usec N`"), "{error}");
        assert!(look("none").is_err());
    }
}
