//! Whether something answers: when to ask again, and what to say of it once.

use std::time::Duration;

/// The first pause after a failure; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest: what is mended is found within this.
const LAST_PAUSE: Duration = Duration::from_secs(30);

/// How something has answered lately.
#[derive(Debug, Default)]
pub(super) struct Link {
    failing: Option<Failing>,
}

#[derive(Debug)]
struct Failing {
    since: Duration,
    said: String,
    pause: Duration,
    until: Duration,
}

impl Link {
    /// Whether it is to be asked at this time.
    pub(super) fn is_due(&self, now: Duration) -> bool {
        self.failing.as_ref().is_none_or(|failing| failing.until <= now)
    }

    /// It has failed. Returns whether that is to be said: at first, and when it fails otherwise than before.
    pub(super) fn failed(&mut self, error: &str, now: Duration) -> bool {
        let (since, last) = match self.failing.take() {
            Some(failing) => (failing.since, Some((failing.said, failing.pause))),
            None => (now, None),
        };
        let is_news = last.as_ref().is_none_or(|(said, _)| said != error);
        let pause = last.map_or(FIRST_PAUSE, |(_, pause)| (2 * pause).min(LAST_PAUSE));
        let said = error.to_owned();
        self.failing = Some(Failing { since, said, pause, until: now + pause });
        is_news
    }

    /// It has answered. Returns for how long it had not, if that is news.
    pub(super) fn worked(&mut self, now: Duration) -> Option<Duration> {
        self.failing.take().map(|failing| now.saturating_sub(failing.since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_said_once_and_pauses_grow_to_their_bound() {
        let mut link = Link::default();
        let (mut now, mut pauses) = (Duration::ZERO, Vec::new());
        for failure in 0..8 {
            assert_eq!(link.failed("refused", now), failure == 0);
            let pause = (0..100).find(|s| link.is_due(now + Duration::from_secs(*s))).unwrap();
            pauses.push(pause);
            now += Duration::from_secs(pause);
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30, 30]);
        assert!(link.failed("401", now));
        assert_eq!(link.worked(now), Some(now));
        assert_eq!(link.worked(now), None);
        assert!(link.is_due(now));
    }
}
