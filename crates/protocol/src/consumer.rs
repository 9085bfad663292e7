//! What members of a consumer group tell each other through the broker, which does not look into it: the
//! subscription that each brings, and the share that the leader gives it.

use bytes::{Buf as _, Bytes};

use crate::schema::messages;
use crate::{DecodeError, Frame, Reader, Shape, Wire};

/// The name under which consumers have their protocols.
pub const PROTOCOL_TYPE: &str = "consumer";

messages! {
    struct Subscription {
        topics: Vec<String> [0..],
        user_data: Option<Bytes> [0..],
        owned_partitions: Vec<TopicPartitions> [1..],
        generation_id: i32 [2..] = -1,
        rack_id: Option<String> [3..],
    }

    struct TopicPartitions {
        topic: String [0..],
        partitions: Vec<i32> [0..],
    }

    struct Assignment {
        assigned_partitions: Vec<TopicPartitions> [0..],
        user_data: Option<Bytes> [0..],
    }
}

/// The newest versions that are written. Later ones only append.
const SUBSCRIPTION: i16 = 3;
const ASSIGNMENT: i16 = 0;

impl Subscription {
    /// As it stands in a request.
    pub fn to_bytes(&self) -> Bytes {
        written(self, SUBSCRIPTION)
    }

    /// From what a member brought.
    pub fn parse(bytes: Bytes) -> Result<Self, DecodeError> {
        read(bytes, SUBSCRIPTION)
    }
}

impl Assignment {
    /// As it stands in a request.
    pub fn to_bytes(&self) -> Bytes {
        written(self, ASSIGNMENT)
    }

    /// From what the leader gave. Nothing at all is an empty share.
    pub fn parse(bytes: Bytes) -> Result<Self, DecodeError> {
        if bytes.is_empty() { Ok(Self::default()) } else { read(bytes, ASSIGNMENT) }
    }
}

fn written(message: &impl Wire, version: i16) -> Bytes {
    let shape = Shape { version, flexible: false };
    let mut frame = Frame::new();
    version.write(&mut frame, shape);
    message.write(&mut frame, shape);
    let mut frame = frame.finish();
    let mut bytes = frame.copy_to_bytes(frame.remaining());
    // The frame's length.
    bytes.advance(4);
    bytes
}

fn read<T: Wire>(bytes: Bytes, newest: i16) -> Result<T, DecodeError> {
    let mut reader = Reader::new(bytes);
    let shape = |version| Shape { version, flexible: false };
    let version = i16::read(&mut reader, shape(0))?;
    T::read(&mut reader, shape(version.clamp(0, newest)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_what_other_clients_read() {
        use kafka_protocol::messages::{ConsumerProtocolAssignment, ConsumerProtocolSubscription};
        use kafka_protocol::protocol::Decodable as _;
        let owned = TopicPartitions { topic: "t".to_owned(), partitions: vec![0, 2] };
        let subscription = Subscription {
            topics: vec!["t".to_owned(), "u".to_owned()],
            owned_partitions: vec![owned.clone()],
            generation_id: 7,
            ..Default::default()
        };
        let mut bytes = subscription.to_bytes();
        assert_eq!(Subscription::parse(bytes.clone()), Ok(subscription));
        let version = bytes.get_i16();
        let other = ConsumerProtocolSubscription::decode(&mut bytes, version).unwrap();
        assert_eq!((other.topics.len(), other.generation_id), (2, 7));
        assert_eq!(other.owned_partitions[0].partitions, [0, 2]);
        let assignment = Assignment { assigned_partitions: vec![owned], user_data: None };
        let mut bytes = assignment.to_bytes();
        assert_eq!(Assignment::parse(bytes.clone()), Ok(assignment));
        let version = bytes.get_i16();
        let other = ConsumerProtocolAssignment::decode(&mut bytes, version).unwrap();
        assert_eq!(other.assigned_partitions[0].partitions, [0, 2]);
        assert_eq!(Assignment::parse(Bytes::new()), Ok(Assignment::default()));
    }

    #[test]
    fn older_and_newer_subscriptions_are_read() {
        let old = Bytes::from_static(&[0, 0, 0, 0, 0, 1, 0, 1, b't', 0xff, 0xff, 0xff, 0xff]);
        assert_eq!(Subscription::parse(old).unwrap().topics, ["t"]);
        let mut newer = Subscription::default().to_bytes().to_vec();
        newer[1] = 9;
        newer.extend([1, 2, 3]);
        assert_eq!(Subscription::parse(newer.into()), Ok(Subscription::default()));
        assert!(Subscription::parse(Bytes::from_static(&[0, 1, 0])).is_err());
    }
}
