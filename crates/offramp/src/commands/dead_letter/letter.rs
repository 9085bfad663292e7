//! A dead letter taken apart: the record as it was, and why it is there.

use wire::{Header, Record, Source, header};

/// A record of a dead-letter topic.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Letter {
    /// The record without what was added when it became a dead letter.
    pub(crate) original: Record,
    /// Why it is here; None for a record that was not put here as a dead letter.
    pub(crate) cause: Option<Cause>,
}

/// What the headers of a dead letter say.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Cause {
    pub(crate) code: String,
    pub(crate) reason: String,
    /// Where the record stood.
    pub(crate) source: Option<Source>,
    pub(crate) attempts: Option<u32>,
}

impl Letter {
    pub(crate) fn new(mut record: Record) -> Self {
        // A record may have come from a dead-letter topic itself. What was added last is what counts here, and
        // what was there before belongs to the record.
        let mut take = |name: &str| {
            let at = record.headers.iter().rposition(|header| header.name == name)?;
            record.headers.remove(at).value
        };
        let text = |value: bytes::Bytes| String::from_utf8_lossy(&value).into_owned();
        let code = take(header::DEAD_LETTER_CODE).map(text);
        let cause = code.map(|code| Cause {
            code,
            reason: take(header::DEAD_LETTER_REASON).map(text).unwrap_or_default(),
            source: take(header::DEAD_LETTER_SOURCE).map(text).and_then(|at| at.parse().ok()),
            attempts: take(header::DEAD_LETTER_ATTEMPTS).map(text).and_then(|n| n.parse().ok()),
        });
        Self { original: record, cause }
    }

    /// Where the record stood before it was a dead letter.
    pub(crate) fn source(&self) -> Option<&Source> {
        self.cause.as_ref()?.source.as_ref()
    }

    /// The record as it is sent back: with the identity that the first tier gave it, or would have, so that
    /// the answer joins to what a device has sent.
    pub(crate) fn redriven(self) -> Record {
        let source = self.source().map(ToString::to_string);
        let mut record = self.original;
        if let (None, Some(source)) = (record.header(header::ID), source) {
            record.headers.push(Header::new(header::ID, source));
        }
        record
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn buried(mut record: Record, source: &str) -> Record {
        record.headers.extend([
            Header::new(header::DEAD_LETTER_CODE, "not-json"),
            Header::new(header::DEAD_LETTER_REASON, "the value is not JSON"),
            Header::new(header::DEAD_LETTER_SOURCE, source.to_owned()),
            Header::new(header::DEAD_LETTER_ATTEMPTS, "3"),
        ]);
        record
    }

    fn record() -> Record {
        Record {
            key: Some(Bytes::from_static(b"\xff")),
            headers: vec![Header::new("h", "1"), Header { name: "h".into(), value: None }],
            timestamp_ms: Some(5),
            value: Some(Bytes::from_static(b"{")),
        }
    }

    #[test]
    fn a_letter_is_the_record_and_the_cause() {
        let letter = Letter::new(buried(record(), "edge-input/2/9"));
        assert_eq!(letter.original, record());
        let cause = letter.cause.unwrap();
        assert_eq!((cause.code.as_str(), cause.attempts), ("not-json", Some(3)));
        assert_eq!(cause.source.unwrap().to_string(), "edge-input/2/9");
        let stranger = Letter::new(record());
        assert_eq!((stranger.original, stranger.cause), (record(), None));
    }

    #[test]
    fn a_letter_of_a_letter_gives_the_letter() {
        let first = buried(record(), "edge-input/2/9");
        let letter = Letter::new(buried(first.clone(), "dead/0/1"));
        assert_eq!(letter.source().unwrap().to_string(), "dead/0/1");
        assert_eq!(letter.original, first);
    }

    #[test]
    fn a_record_without_an_id_gets_that_of_its_first_place() {
        let sent = Letter::new(buried(record(), "edge-input/2/9")).redriven();
        assert_eq!(sent.id(), Some("edge-input/2/9"));
        assert_eq!(sent.headers[..2], record().headers);
        let mut with_id = record();
        with_id.headers.push(Header::new(header::ID, "r1"));
        assert_eq!(Letter::new(buried(with_id.clone(), "edge-input/2/9")).redriven(), with_id);
    }
}
