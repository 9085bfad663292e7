//! The last lines that a function has written, in memory, for those who look and those who follow.
//!
//! Nothing is written to disk: on a small node that is the system's journal's work, which gets the lines through
//! this process's own log.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::SystemTime;

use tokio::sync::watch;

/// Lines that are kept of each function.
pub const MAX_LINES: usize = 1000;
/// A longer line is cut.
pub const MAX_LINE_BYTES: usize = 8 << 10;

/// A line that an instance has written, or that the runtime has to say about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Counts the function's lines, from 1 on.
    pub number: u64,
    /// When it came.
    pub at: SystemTime,
    /// Who wrote it: the function's name and the instance's number, or `runtime`.
    pub instance: Arc<str>,
    /// The line, without its end.
    pub text: String,
}

/// The lines of one function. Clones are the same ones.
#[derive(Debug, Clone)]
pub struct Logs {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    lines: Mutex<VecDeque<Line>>,
    /// The number of the newest line.
    newest: watch::Sender<u64>,
}

impl Default for Logs {
    fn default() -> Self {
        let shared = Shared { lines: Mutex::default(), newest: watch::Sender::new(0) };
        Self { shared: Arc::new(shared) }
    }
}

impl Logs {
    /// Adds a line.
    pub fn write(&self, instance: &Arc<str>, text: &str) {
        let mut end = text.len().min(MAX_LINE_BYTES);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let mut lines = self.lines();
        let number = *self.shared.newest.borrow() + 1;
        if lines.len() == MAX_LINES {
            lines.pop_front();
        }
        lines.push_back(Line {
            number,
            at: SystemTime::now(),
            instance: Arc::clone(instance),
            text: text[..end].to_owned(),
        });
        self.shared.newest.send_replace(number);
    }

    /// Adds a line of the runtime's own.
    pub fn say(&self, text: &str) {
        self.write(&Arc::from("runtime"), text);
    }

    /// The lines that are kept, after the line of that number: all with 0.
    pub fn after(&self, number: u64) -> Vec<Line> {
        self.lines().iter().filter(|line| number < line.number).cloned().collect()
    }

    /// The last line that an instance has written, if it is kept.
    pub fn last_of(&self, instance: &str) -> Option<String> {
        let lines = self.lines();
        let mut last = lines.iter().rev().filter(|line| &*line.instance == instance);
        last.next().map(|line| line.text.clone())
    }

    /// Changes with each line, to its number. Closed when the function is gone.
    pub fn newest(&self) -> watch::Receiver<u64> {
        self.shared.newest.subscribe()
    }

    fn lines(&self) -> MutexGuard<'_, VecDeque<Line>> {
        self.shared.lines.lock().expect("no holder panics")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_lines_are_kept() {
        let logs = Logs::default();
        let instance: Arc<str> = "echo-1".into();
        for line in 1..=MAX_LINES + 5 {
            logs.write(&instance, &format!("line {line}"));
        }
        let kept = logs.after(0);
        assert_eq!((kept.len(), kept[0].number, kept[0].text.as_str()), (MAX_LINES, 6, "line 6"));
        let last = logs.after(MAX_LINES as u64 + 4);
        assert_eq!(last.len(), 1);
        assert_eq!(*logs.newest().borrow(), MAX_LINES as u64 + 5);
    }

    #[test]
    fn a_long_line_is_cut_between_characters() {
        let logs = Logs::default();
        logs.say(&"ä".repeat(MAX_LINE_BYTES));
        logs.say(&format!("x{}", "ä".repeat(MAX_LINE_BYTES)));
        let lengths: Vec<usize> = logs.after(0).iter().map(|line| line.text.len()).collect();
        assert_eq!(lengths, [MAX_LINE_BYTES, MAX_LINE_BYTES - 1]);
    }
}
