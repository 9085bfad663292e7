//! Order within a key, freedom between keys.
//!
//! Pure: [`Lanes`] is told what arrives and what is finished, and answers with what may start. An item without
//! a key starts at once. Of the items with one key, one is under way and the others wait behind it in order.

use std::collections::HashMap;
use std::collections::VecDeque;

use bytes::Bytes;

/// Items that were admitted and are not finished.
#[derive(Debug)]
pub(crate) struct Lanes<T> {
    /// A lane for each key that has an item under way, with those that wait behind it.
    waiting: HashMap<Bytes, VecDeque<T>>,
    outstanding: usize,
}

impl<T> Lanes<T> {
    pub(crate) fn new() -> Self {
        Self { waiting: HashMap::new(), outstanding: 0 }
    }

    /// Items that are under way or waiting.
    pub(crate) fn outstanding(&self) -> usize {
        self.outstanding
    }

    /// Takes an item in. Returns it if it may start.
    pub(crate) fn admit(&mut self, key: Option<&Bytes>, item: T) -> Option<T> {
        self.outstanding += 1;
        let Some(key) = key else { return Some(item) };
        if let Some(lane) = self.waiting.get_mut(key) {
            lane.push_back(item);
            return None;
        }
        self.waiting.insert(key.clone(), VecDeque::new());
        Some(item)
    }

    /// Takes note that an item of this key is finished. Returns the next of its key, which may start.
    pub(crate) fn finished(&mut self, key: Option<&Bytes>) -> Option<T> {
        self.outstanding -= 1;
        let key = key?;
        let next = self.waiting.get_mut(key).and_then(VecDeque::pop_front);
        if next.is_none() {
            self.waiting.remove(key);
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_of_one_key_start_one_after_the_other() {
        let (a, b) = (Bytes::from_static(b"a"), Bytes::from_static(b"b"));
        let mut lanes = Lanes::new();
        assert_eq!(lanes.admit(Some(&a), 1), Some(1));
        assert_eq!(lanes.admit(Some(&a), 2), None);
        assert_eq!(lanes.admit(Some(&b), 3), Some(3));
        assert_eq!(lanes.admit(Some(&a), 4), None);
        assert_eq!(lanes.admit(None, 5), Some(5));
        assert_eq!(lanes.admit(None, 6), Some(6));
        assert_eq!(lanes.outstanding(), 6);
        assert_eq!(lanes.finished(Some(&a)), Some(2));
        assert_eq!(lanes.finished(Some(&b)), None);
        assert_eq!(lanes.finished(Some(&a)), Some(4));
        assert_eq!(lanes.finished(Some(&a)), None);
        assert_eq!(lanes.finished(None), None);
        assert_eq!(lanes.finished(None), None);
        assert_eq!((lanes.outstanding(), lanes.waiting.len()), (0, 0));
        assert_eq!(lanes.admit(Some(&a), 7), Some(7));
    }
}
