//! An outbox against a broker that loses requests and answers, and takes no batch out of turn.

use std::collections::HashMap;

use proptest::prelude::*;
use protocol::records::body;

use super::*;

/// What happens to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    RequestLost,
    AnswerLost,
    /// The broker forgets every sender.
    Forgets,
}

/// A value by which the broker refuses a record by itself, and one by which it finds a batch too large.
const BAD: u8 = 7;
const LARGE: u8 = 13;

#[derive(Debug, Default)]
struct Broker {
    /// What is expected of each sender next.
    expected: HashMap<i64, i32>,
    log: Vec<u8>,
}

impl Broker {
    fn append(&mut self, bytes: &Bytes) -> Answer {
        let header = BatchHeader::parse(bytes).unwrap();
        header.verify(bytes).unwrap();
        let values: Vec<u8> = Records::new(&bytes[HEADER_BYTES..], header.record_count)
            .map(|record| record.unwrap().value.unwrap()[0])
            .collect();
        match self.expected.get(&header.producer_id) {
            None if header.base_sequence != 0 => return Answer::OutOfSequence,
            Some(expected) if header.base_sequence < *expected => return Answer::Stored(-1),
            Some(expected) if header.base_sequence != *expected => return Answer::OutOfSequence,
            _ => {}
        }
        if values.contains(&LARGE) {
            return Answer::TooLarge;
        }
        let bad: Vec<_> = (0..values.len()).filter(|&at| values[at] == BAD).collect();
        if !bad.is_empty() {
            return Answer::Refused(bad, "bad".into());
        }
        let base = self.log.len() as i64;
        self.log.extend(&values);
        self.expected.insert(header.producer_id, header.base_sequence + header.record_count);
        Answer::Stored(base)
    }
}

fn item(value: u8, receipt: usize) -> Item<usize> {
    Item { timestamp: 0, body: body(None, Some(&[value]), [].into_iter()), receipt }
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        6 => Just(Fault::None),
        2 => Just(Fault::RequestLost),
        2 => Just(Fault::AnswerLost),
        1 => Just(Fault::Forgets),
    ]
}

proptest! {
    #[test]
    fn each_record_meets_one_verdict_and_what_is_stored_is_in_order(
        values in prop::collection::vec(0u8..20, 1..60),
        faults in prop::collection::vec(fault(), 0..40),
        max_under_way in 1usize..=MAX_UNDER_WAY,
        answers_turned in any::<bool>(),
    ) {
        let mut outbox = Outbox::new(Compression::None);
        let mut broker = Broker::default();
        let mut verdicts: Vec<Option<Result<i64, Refusal>>> = vec![None; values.len()];
        let (mut pushed, mut identities, mut faults) = (0, 0, faults.into_iter());
        let has_forgotten = faults.clone().any(|fault| fault == Fault::Forgets);
        for round in 0.. {
            prop_assert!(round < 1000, "it goes on for ever: {outbox:?}");
            // A few come in each round, so that batches differ in size.
            for _ in 0..(round % 4).min(values.len() - pushed) {
                outbox.push(item(values[pushed], pushed));
                pushed += 1;
            }
            if outbox.wants_identity() {
                identities += 1;
                outbox.identify(Identity { id: identities, epoch: 0 });
            }
            let mut answers = Vec::new();
            while let Some((number, bytes)) = outbox.next_batch(max_under_way) {
                let answer = match faults.next().unwrap_or(Fault::None) {
                    Fault::None => broker.append(&bytes),
                    Fault::RequestLost => Answer::Again,
                    Fault::AnswerLost => {
                        broker.append(&bytes);
                        Answer::Again
                    }
                    Fault::Forgets => {
                        broker.expected.clear();
                        broker.append(&bytes)
                    }
                };
                answers.push((number, answer));
            }
            if answers_turned {
                answers.reverse();
            }
            for (number, answer) in answers {
                for (receipt, verdict) in outbox.answered(number, answer) {
                    prop_assert!(verdicts[receipt].replace(verdict).is_none(), "told twice");
                }
            }
            if pushed == values.len() && !outbox.has_more() && outbox.under_way.is_empty() {
                break;
            }
        }
        for (value, verdict) in values.iter().zip(&verdicts) {
            match (*value, verdict) {
                (BAD, Some(Err(Refusal::Because(_)))) | (LARGE, Some(Err(Refusal::TooLarge))) => {}
                (BAD | LARGE, other) => prop_assert!(false, "{value}: {other:?}"),
                (_, other) => prop_assert!(matches!(other, Some(Ok(_))), "{value}: {other:?}"),
            }
        }
        let sound: Vec<u8> =
            values.iter().copied().filter(|value| ![BAD, LARGE].contains(value)).collect();
        if has_forgotten {
            // What was stored without a word may be there twice, but all is there, in order.
            let mut left = sound.iter().peekable();
            for value in &broker.log {
                left.next_if(|next| *next == value);
            }
            prop_assert!(left.next().is_none(), "{:?} is not in {:?}", sound, broker.log);
        } else {
            prop_assert_eq!(&broker.log, &sound);
        }
    }
}

#[test]
fn batches_are_bounded_and_offsets_follow_each_other() {
    let mut outbox = Outbox::new(Compression::None);
    for receipt in 0..3 {
        let value = vec![0; 400_000];
        let body = body(None, Some(&value), [].into_iter());
        outbox.push(Item { timestamp: 0, body, receipt });
    }
    outbox.identify(Identity { id: 1, epoch: 0 });
    let (first, bytes) = outbox.next_batch(2).unwrap();
    assert_eq!(BatchHeader::parse(&bytes).unwrap().record_count, 2);
    let (second, _) = outbox.next_batch(2).unwrap();
    assert_eq!(outbox.answered(first, Answer::Stored(10)), [(0, Ok(10)), (1, Ok(11))]);
    assert_eq!(outbox.answered(second, Answer::Stored(12)), [(2, Ok(12))]);
    assert!(!outbox.has_more());
}

#[test]
fn a_partition_that_is_gone_gives_its_records_back() {
    let mut outbox = Outbox::new(Compression::None);
    outbox.identify(Identity { id: 1, epoch: 0 });
    outbox.push(item(1, 0));
    let (number, _) = outbox.next_batch(1).unwrap();
    outbox.push(item(2, 1));
    assert!(outbox.clear().is_empty(), "one may be stored yet");
    outbox.answered(number, Answer::Again);
    assert_eq!(outbox.clear(), [0, 1]);
    outbox.push(item(3, 2));
    assert!(outbox.wants_identity(), "what was given back may be stored: a new sequence");
}
