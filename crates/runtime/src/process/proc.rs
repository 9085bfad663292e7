//! What the system says of a process, in `/proc`.

use crate::driver::Usage;

/// Clock ticks a second in `/proc`, which Linux has fixed for programs on every architecture.
const TICKS: f64 = 100.0;

/// What a process takes; `None` if it is not there.
pub(super) fn usage(pid: u32) -> Option<Usage> {
    let stat = stat(pid)?;
    let ticks = |at: usize| stat.get(at)?.parse::<u64>().ok();
    let pages: u64 = stat.get(21)?.parse().ok()?;
    Some(Usage {
        cpu_seconds: (ticks(11)? + ticks(12)?) as f64 / TICKS,
        memory_bytes: pages * rustix::param::page_size() as u64,
    })
}

/// When a process started, in ticks since the system did: with its number, tells it from every other.
pub(super) fn started(pid: u32) -> Option<u64> {
    stat(pid)?.get(19)?.parse().ok()
}

/// The fields of `/proc/PID/stat` after the name, which may itself have spaces and parentheses in it (proc(5)).
fn stat(pid: u32) -> Option<Vec<String>> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    Some(fields.split_whitespace().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_there() {
        let own = std::process::id();
        assert!((1 << 16) < usage(own).unwrap().memory_bytes);
        assert!(started(own).unwrap() > 0);
        assert_eq!(started(u32::MAX), None);
    }
}
