//! Order within a lane, freedom between lanes.
//!
//! Pure: [`Lanes`] is told what arrives and what is finished, and answers with what may start. An item without
//! a lane starts at once. Of the items of one lane, those that started together are under way, and the others
//! wait behind them in order.

use std::collections::HashMap;
use std::collections::VecDeque;
use std::hash::Hash;

/// Items that were admitted and are not finished, by lane.
#[derive(Debug)]
pub(crate) struct Lanes<K, T> {
    /// The lanes that have items under way, with those that wait behind them.
    waiting: HashMap<K, VecDeque<T>>,
    outstanding: usize,
}

impl<K: Hash + Eq + Clone, T> Lanes<K, T> {
    pub(crate) fn new() -> Self {
        Self { waiting: HashMap::new(), outstanding: 0 }
    }

    /// Items that are under way or waiting.
    pub(crate) fn outstanding(&self) -> usize {
        self.outstanding
    }

    /// Takes an item in. Returns it if it may start.
    pub(crate) fn admit(&mut self, lane: Option<&K>, item: T) -> Option<T> {
        self.outstanding += 1;
        let Some(lane) = lane else { return Some(item) };
        if let Some(waiting) = self.waiting.get_mut(lane) {
            waiting.push_back(item);
            return None;
        }
        self.waiting.insert(lane.clone(), VecDeque::new());
        Some(item)
    }

    /// Up to `max` items that wait in a lane, in order, to go together with those that start there now.
    pub(crate) fn join(&mut self, lane: &K, max: usize) -> impl Iterator<Item = T> + '_ {
        let waiting = self.waiting.get_mut(lane);
        waiting.into_iter().flat_map(move |waiting| {
            let count = max.min(waiting.len());
            waiting.drain(..count)
        })
    }

    /// Takes note that so many items are finished, whatever their lanes.
    pub(crate) fn finished(&mut self, count: usize) {
        self.outstanding -= count;
    }

    /// Takes note that nothing is under way in a lane any more. Returns the next of it, which may start.
    pub(crate) fn freed(&mut self, lane: &K) -> Option<T> {
        let next = self.waiting.get_mut(lane)?.pop_front();
        if next.is_none() {
            self.waiting.remove(lane);
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_of_one_lane_start_one_after_the_other() {
        let mut lanes = Lanes::new();
        assert_eq!(lanes.admit(Some(&'a'), 1), Some(1));
        assert_eq!(lanes.admit(Some(&'a'), 2), None);
        assert_eq!(lanes.admit(Some(&'b'), 3), Some(3));
        assert_eq!(lanes.admit(Some(&'a'), 4), None);
        assert_eq!(lanes.admit(None, 5), Some(5));
        assert_eq!(lanes.outstanding(), 5);
        lanes.finished(1);
        assert_eq!(lanes.freed(&'a'), Some(2));
        assert_eq!(lanes.freed(&'b'), None);
        assert_eq!(lanes.freed(&'a'), Some(4));
        assert_eq!(lanes.freed(&'a'), None);
        lanes.finished(4);
        assert_eq!((lanes.outstanding(), lanes.waiting.len()), (0, 0));
        assert_eq!(lanes.admit(Some(&'a'), 7), Some(7));
    }

    #[test]
    fn items_that_wait_can_go_together_in_order() {
        let mut lanes = Lanes::new();
        let started: Vec<_> = (0..6).filter_map(|item| lanes.admit(Some(&'a'), item)).collect();
        assert_eq!(started, [0]);
        assert_eq!(lanes.join(&'a', 3).collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!(lanes.freed(&'a'), Some(4));
        assert_eq!(lanes.join(&'a', 3).collect::<Vec<_>>(), [5]);
        assert_eq!(lanes.join(&'b', 3).count(), 0);
    }
}
