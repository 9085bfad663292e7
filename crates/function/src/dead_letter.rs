//! The last resort of a record that can never succeed: the dead-letter topic.

use pipeline::Retry;
use wire::{Header, Record, Reject, Source, header};

use crate::backoff;
use crate::failure::Failure;
use crate::funnel::Funnel;

/// Writes dead letters: the original key, headers, timestamp and bytes, and behind them why.
#[derive(Debug, Clone)]
pub(crate) struct DeadLetters {
    funnel: Funnel,
    retry: Retry,
}

impl DeadLetters {
    pub(crate) fn new(funnel: Funnel, retry: Retry) -> Self {
        Self { funnel, retry }
    }

    /// Writes a dead letter, however long it takes: until it is written its record is not done, so a failing
    /// dead-letter topic stops the partition and loses nothing.
    pub(crate) async fn bury(
        &self,
        record: &Record,
        source: &Source,
        reject: &Reject,
        attempts: u32,
    ) {
        tracing::warn!(
            source = %source,
            code = %reject.code,
            topic = self.funnel.topic(),
            "record goes to the dead letters: {reject}"
        );
        let mut letter = letter(record, Some(source), reject, attempts);
        let mut failures = 0;
        loop {
            match self.funnel.send(&letter).await {
                Ok(()) => return,
                Err(Failure::Reject(refused)) if letter.value.is_some() => {
                    // With its new headers the record is larger than the topic takes. It still stands where
                    // it came from, and the letter says where that is.
                    tracing::warn!(source = %source, "dead letter goes without its value: {refused}");
                    letter.value = None;
                }
                Err(failure) => {
                    failures += 1;
                    let wait = backoff::wait(&self.retry, failures, rand::random());
                    tracing::error!(
                        source = %source,
                        failures,
                        "dead letter not written, the partition waits: {failure}"
                    );
                    tokio::time::sleep(wait).await;
                }
            }
        }
    }
}

/// The original record, and behind its headers why; where it stood, as far as this is known.
pub(crate) fn letter(
    record: &Record,
    source: Option<&Source>,
    reject: &Reject,
    attempts: u32,
) -> Record {
    let mut letter = record.clone();
    letter.headers.extend([
        Header::new(header::DEAD_LETTER_CODE, reject.code.name()),
        Header::new(header::DEAD_LETTER_REASON, reject.reason.clone()),
    ]);
    let source = source.map(|source| Header::new(header::DEAD_LETTER_SOURCE, source.to_string()));
    letter.headers.extend(source);
    letter.headers.push(Header::new(header::DEAD_LETTER_ATTEMPTS, attempts.to_string()));
    letter
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use wire::RejectCode;

    use super::*;

    #[test]
    fn a_dead_letter_is_the_original_record_and_the_reason() {
        let record = Record {
            key: Some(Bytes::from_static(b"\xff\x00")),
            headers: vec![Header::new("h", "1"), Header::new("h", "2")],
            timestamp_ms: Some(5),
            value: Some(Bytes::from_static(b"not json")),
        };
        let source = Source { topic: "edge-input".into(), partition: 2, offset: 9 };
        let reject = Reject::new(RejectCode::NotJson, "the value is not JSON");
        let letter = letter(&record, Some(&source), &reject, 1);
        assert_eq!((&letter.key, &letter.value), (&record.key, &record.value));
        assert_eq!(letter.timestamp_ms, record.timestamp_ms);
        assert_eq!(letter.headers[..2], record.headers);
        let added: Vec<_> = letter.headers[2..]
            .iter()
            .map(|header| (header.name.as_str(), header.value.as_deref().unwrap()))
            .collect();
        assert_eq!(
            added,
            [
                ("offramp-dead-letter-code", &b"not-json"[..]),
                ("offramp-dead-letter-reason", b"the value is not JSON"),
                ("offramp-dead-letter-source", b"edge-input/2/9"),
                ("offramp-dead-letter-attempts", b"1"),
            ]
        );
    }
}
