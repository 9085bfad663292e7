//! What processes take of the machine, as Linux tells it.

use std::io;
use std::time::Duration;

/// The kernel counts CPU time in units of 10 ms (`USER_HZ`, the same on all Linux).
const TICK: Duration = Duration::from_millis(10);

/// A process that is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Process {
    pid: u32,
}

impl Process {
    /// The process with this id.
    pub fn new(pid: u32) -> Self {
        Self { pid }
    }

    /// This process.
    pub fn own() -> Self {
        Self::new(std::process::id())
    }

    /// CPU time that it has taken, of all its threads, in user and kernel mode.
    ///
    /// # Errors
    ///
    /// The process is not there, or this is not Linux.
    pub fn cpu(self) -> io::Result<Duration> {
        let stat = self.read("stat")?;
        // After the name in parentheses; utime and stime are the 14th and 15th fields of all.
        let fields = stat.rsplit_once(')').map(|(_, fields)| fields.split_whitespace().skip(11));
        let ticks: Option<u32> =
            fields.and_then(|fields| fields.take(2).map(|field| field.parse::<u32>().ok()).sum());
        ticks.map(|ticks| TICK * ticks).ok_or_else(|| self.odd("stat"))
    }

    /// Resident memory in MiB.
    ///
    /// # Errors
    ///
    /// The process is not there, or this is not Linux.
    pub fn resident_mib(self) -> io::Result<f64> {
        self.status_mib("VmRSS:")
    }

    /// The most resident memory it ever had, in MiB.
    ///
    /// # Errors
    ///
    /// The process is not there, or this is not Linux.
    pub fn peak_resident_mib(self) -> io::Result<f64> {
        self.status_mib("VmHWM:")
    }

    fn status_mib(self, name: &str) -> io::Result<f64> {
        let status = self.read("status")?;
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<f64>().ok());
        kib.map(|kib| kib / 1024.0).ok_or_else(|| self.odd("status"))
    }

    fn read(self, file: &str) -> io::Result<String> {
        std::fs::read_to_string(format!("/proc/{}/{file}", self.pid))
    }

    fn odd(self, file: &str) -> io::Error {
        let reason = format!("/proc/{}/{file} is not what it was expected to be", self.pid);
        io::Error::new(io::ErrorKind::InvalidData, reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_takes_some_memory_and_not_all() {
        let own = Process::own();
        let (now, peak) = (own.resident_mib().unwrap(), own.peak_resident_mib().unwrap());
        assert!(0.1 < now && now <= peak + 1.0 && peak < 1e6, "{now} {peak}");
        own.cpu().unwrap();
        assert!(Process::new(u32::MAX).cpu().is_err());
    }
}
