//! The error codes of the protocol that this broker sends.

use super::{DecodeError, Frame, Reader, Shape, Wire};

macro_rules! error_codes {
    ($($(#[$meta:meta])* $name:ident = $code:literal,)*) => {
        /// An error as the protocol numbers it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
        #[repr(i16)]
        pub(crate) enum ErrorCode {
            /// No error.
            #[default]
            None = 0,
            $($(#[$meta])* $name = $code,)*
        }

        impl ErrorCode {
            #[cfg(test)]
            pub(crate) const ALL: &[Self] = &[Self::None, $(Self::$name,)*];

            /// A code no version of this broker sends reads as an unknown server error.
            fn from_code(code: i16) -> Self {
                match code {
                    0 => Self::None,
                    $($code => Self::$name,)*
                    _ => Self::UnknownServerError,
                }
            }
        }
    };
}

error_codes! {
    UnknownServerError = -1,
    OffsetOutOfRange = 1,
    CorruptMessage = 2,
    UnknownTopicOrPartition = 3,
    RequestTimedOut = 7,
    MessageTooLarge = 10,
    OffsetMetadataTooLarge = 12,
    CoordinatorNotAvailable = 15,
    InvalidTopic = 17,
    InvalidRequiredAcks = 21,
    IllegalGeneration = 22,
    InconsistentGroupProtocol = 23,
    InvalidGroupId = 24,
    UnknownMemberId = 25,
    InvalidSessionTimeout = 26,
    RebalanceInProgress = 27,
    UnsupportedVersion = 35,
    TopicAlreadyExists = 36,
    InvalidPartitions = 37,
    InvalidReplicationFactor = 38,
    InvalidReplicaAssignment = 39,
    InvalidConfig = 40,
    InvalidRequest = 42,
    PolicyViolation = 44,
    OutOfOrderSequenceNumber = 45,
    DuplicateSequenceNumber = 46,
    InvalidProducerEpoch = 47,
    TransactionalIdAuthorizationFailed = 53,
    /// The log could not be written or made durable.
    KafkaStorageError = 56,
    NonEmptyGroup = 68,
    GroupIdNotFound = 69,
    MemberIdRequired = 79,
    FetchSessionIdNotFound = 70,
    UnknownLeaderEpoch = 75,
    GroupMaxSizeReached = 81,
    FencedInstanceId = 82,
    GroupSubscribedToTopic = 86,
    InvalidRecord = 87,
    UnknownTopicId = 100,
    MismatchedEndpointType = 114,
    UnsupportedEndpointType = 115,
}

impl Wire for ErrorCode {
    fn read(reader: &mut Reader, shape: Shape) -> Result<Self, DecodeError> {
        i16::read(reader, shape).map(Self::from_code)
    }

    fn write(&self, frame: &mut Frame, shape: Shape) {
        (*self as i16).write(frame, shape);
    }
}
