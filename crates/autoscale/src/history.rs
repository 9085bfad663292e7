//! The last decisions.

use std::collections::VecDeque;
use std::mem::discriminant;

use crate::decision::Decision;

/// Decisions in their order, the oldest of which make place for new ones.
///
/// Kept are those that change the number of instances, and others when their reason is another kind than the one
/// before: a function that is left alone each second has one entry.
#[derive(Debug, Clone)]
pub struct History {
    decisions: VecDeque<Decision>,
    most: usize,
}

impl History {
    /// Keeps at most this many decisions.
    pub fn new(most: usize) -> Self {
        Self { decisions: VecDeque::new(), most }
    }

    /// Takes a decision; whether it says something new, and should be logged.
    pub fn add(&mut self, decision: &Decision) -> bool {
        let is_new = self.decisions.back().is_none_or(|last| {
            decision.is_action() || discriminant(&last.reason) != discriminant(&decision.reason)
        });
        if is_new && self.most > 0 {
            if self.decisions.len() == self.most {
                self.decisions.pop_front();
            }
            self.decisions.push_back(decision.clone());
        }
        is_new
    }

    /// From the oldest to the newest.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Decision> {
        self.decisions.iter()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::decision::Reason;

    fn decision(at: u64, to: u32, reason: Reason) -> Decision {
        Decision { at: Duration::from_secs(at), from: 1, to, reason }
    }

    #[test]
    fn it_keeps_the_newest_and_says_the_same_once() {
        let mut history = History::new(2);
        let cold_start = Duration::from_secs(5);
        assert!(history.add(&decision(0, 1, Reason::AtZero)));
        assert!(!history.add(&decision(1, 1, Reason::AtZero)));
        assert!(history.add(&decision(2, 2, Reason::AtZero)));
        assert!(history.add(&decision(3, 2, Reason::AtZero)));
        assert!(history.add(&decision(4, 1, Reason::KeptWarm { cold_start })));
        let kept: Vec<u64> = history.iter().map(|decision| decision.at.as_secs()).collect();
        assert_eq!(kept, [3, 4]);
    }
}
