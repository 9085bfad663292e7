//! What is known of the link and of the records that wait for it.
//!
//! Pure: [`State`] is told what happened and answers with what may be done. `W` is the way up while there is
//! one: a producer.

/// The link and the records that wait.
#[derive(Debug)]
pub(super) struct State<W> {
    link: Link<W>,
    /// Moves whenever the link goes up or away, so that news of an earlier link change nothing.
    generation: u64,
    waiting: Waiting,
}

#[derive(Debug)]
enum Link<W> {
    /// Nobody has looked yet.
    Unknown,
    Up(W),
    Away,
}

/// The records that stand in the buffer and have not been taken out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Waiting {
    /// Offset after the last record that is known to stand there.
    end: i64,
    /// Offset after the last one that was taken out.
    next: i64,
    /// Records on their way into it.
    appending: u64,
    /// Keys, values and headers of all of them.
    bytes: u64,
}

/// Where a record goes while the link is away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admission {
    /// Nowhere: the link is up.
    Up,
    /// Into the buffer.
    Append,
    /// Nowhere: the buffer is full.
    Full,
}

impl<W: Clone> State<W> {
    /// A link of which nothing is known, and an empty buffer.
    pub(super) fn new() -> Self {
        Self { link: Link::Unknown, generation: 0, waiting: Waiting::default() }
    }

    /// The generation of the link, and the way up if there is one; `None` while nothing is known.
    pub(super) fn way(&self) -> Option<(u64, Option<W>)> {
        match &self.link {
            Link::Unknown => None,
            Link::Up(way) => Some((self.generation, Some(way.clone()))),
            Link::Away => Some((self.generation, None)),
        }
    }

    pub(super) fn is_up(&self) -> bool {
        matches!(self.link, Link::Up(_))
    }

    pub(super) fn is_unknown(&self) -> bool {
        matches!(self.link, Link::Unknown)
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    pub(super) fn waiting(&self) -> Waiting {
        self.waiting
    }

    /// What stands in the buffer from earlier: its extent, and about how many bytes.
    pub(super) fn found(&mut self, next: i64, end: i64, bytes: u64) {
        self.waiting = Waiting { end, next, appending: 0, bytes };
    }

    /// The link is away. Returns the way that is no more, unless this is old news.
    pub(super) fn lose(&mut self, generation: u64) -> Option<W> {
        if self.generation != generation || matches!(self.link, Link::Away) {
            return None;
        }
        self.generation += 1;
        match std::mem::replace(&mut self.link, Link::Away) {
            Link::Up(way) => Some(way),
            _ => None,
        }
    }

    /// Nobody answered the first look.
    pub(super) fn not_there(&mut self) {
        self.link = Link::Away;
    }

    /// The link is back: it is up from now on, unless records still wait that must go first.
    pub(super) fn raise(&mut self, way: &W, live_first: bool) -> bool {
        let may = live_first || self.waiting.is_empty();
        if may && !self.is_up() {
            self.generation += 1;
            self.link = Link::Up(way.clone());
        }
        may
    }

    /// Asks for room in the buffer; `max_bytes` are what it may hold, if it refuses beyond.
    pub(super) fn admit(&mut self, bytes: u64, max_bytes: Option<u64>) -> Admission {
        if self.is_up() {
            return Admission::Up;
        }
        let waiting = &mut self.waiting;
        // A record that alone is larger than the buffer must not wait for ever.
        if !waiting.is_empty() && max_bytes.is_some_and(|max| max < waiting.bytes + bytes) {
            return Admission::Full;
        }
        waiting.appending += 1;
        waiting.bytes += bytes;
        Admission::Append
    }

    /// An admitted record stands in the buffer, or does not after all.
    pub(super) fn appended(&mut self, offset: Option<i64>, bytes: u64) {
        let waiting = &mut self.waiting;
        waiting.appending -= 1;
        match offset {
            Some(offset) => waiting.end = waiting.end.max(offset + 1),
            None => waiting.bytes = waiting.bytes.saturating_sub(bytes),
        }
    }

    /// The records before `next`, of `bytes`, have been taken out.
    pub(super) fn taken_out(&mut self, next: i64, bytes: u64) {
        let waiting = &mut self.waiting;
        waiting.next = waiting.next.max(next);
        waiting.bytes = waiting.bytes.saturating_sub(bytes);
        if waiting.is_empty() {
            waiting.bytes = 0;
        }
    }
}

impl Waiting {
    pub(super) fn is_empty(&self) -> bool {
        self.appending == 0 && self.end <= self.next
    }

    pub(super) fn records(&self) -> u64 {
        (self.end - self.next).max(0) as u64 + self.appending
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Offset after the last record that was taken out.
    pub(super) fn next(&self) -> i64 {
        self.next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn away() -> State<&'static str> {
        let mut state = State::new();
        state.not_there();
        state
    }

    #[test]
    fn the_link_goes_up_once_nothing_waits_any_more() {
        let mut state = away();
        assert_eq!(state.admit(10, None), Admission::Append);
        assert!(!state.raise(&"way", false), "one is on its way into the buffer");
        state.appended(Some(7), 10);
        assert!(!state.raise(&"way", false), "it stands there");
        state.taken_out(8, 10);
        assert_eq!(state.waiting().records(), 0);
        assert!(state.raise(&"way", false));
        assert_eq!(state.admit(10, None), Admission::Up);
    }

    #[test]
    fn live_records_go_first_where_that_is_asked_for() {
        let mut state = away();
        state.found(3, 9, 600);
        assert!(state.raise(&"way", true));
        assert_eq!((state.waiting().records(), state.waiting().bytes()), (6, 600));
        assert!(state.is_up());
    }

    #[test]
    fn old_news_do_not_take_the_link_down() {
        let mut state = away();
        assert!(state.raise(&"first", false));
        let first = state.generation();
        assert_eq!(state.lose(first), Some("first"));
        assert_eq!(state.lose(first), None, "it is away already");
        assert!(state.raise(&"second", false));
        assert_eq!(state.lose(first), None, "that was the first one");
        assert_eq!(state.way(), Some((state.generation(), Some("second"))));
    }

    #[test]
    fn a_full_buffer_refuses_but_for_what_is_larger_than_all_of_it() {
        let mut state = away();
        assert_eq!(state.admit(1000, Some(100)), Admission::Append);
        assert_eq!(state.admit(1, Some(100)), Admission::Full);
        state.appended(None, 1000);
        assert_eq!(state.admit(60, Some(100)), Admission::Append);
        state.appended(Some(0), 60);
        assert_eq!(state.admit(60, Some(100)), Admission::Full);
        assert_eq!(state.admit(60, None), Admission::Append);
        state.appended(Some(1), 60);
        state.taken_out(1, 60);
        assert_eq!((state.waiting().records(), state.waiting().bytes()), (1, 60));
    }
}
