//! The APIs this broker speaks: their keys, the versions it advertises, their messages, and the headers.
//!
//! Produce stops at 9 and Fetch at 12, the last versions that name topics instead of numbering them.

use std::ops::RangeInclusive;

#[allow(
    clippy::wildcard_imports,
    reason = "the table below names every message of every family"
)]
use super::{admin::*, cluster::*, configs::*, fetch::*, groups::*, offsets::*, produce::*};
use crate::{DecodeError, Frame, Reader, Shape, Wire};

/// A request message: it knows its API and the message that answers it.
pub trait Request: Wire {
    /// What it asks for.
    const API: Api;
    /// What answers it.
    type Response: Wire;
}

macro_rules! apis {
    ($($api:ident = $key:literal, $versions:expr, flexible $flexible:literal,
        $request:ident => $response:ident;)*) => {
        /// An API by its name in the protocol.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(i16)]
        #[allow(missing_docs, reason = "these are the protocol's names")]
        pub enum Api {
            $($api = $key,)*
        }

        impl Api {
            /// All that are spoken.
            pub const ALL: &[Self] = &[$(Self::$api,)*];

            /// The API with this key.
            pub fn from_key(key: i16) -> Option<Self> {
                match key {
                    $($key => Some(Self::$api),)*
                    _ => None,
                }
            }

            /// The versions advertised, all of which are served.
            pub fn versions(self) -> RangeInclusive<i16> {
                match self {
                    $(Self::$api => $versions,)*
                }
            }

            /// How its messages look in a version.
            pub fn shape(self, version: i16) -> Shape {
                let flexible_from = match self {
                    $(Self::$api => $flexible,)*
                };
                Shape { version, flexible: flexible_from <= version }
            }
        }

        $(
            impl Request for $request {
                const API: Api = Api::$api;
                type Response = $response;
            }
        )*

        /// Calls `$check!` once with every request type.
        #[macro_export]
        macro_rules! for_each_request {
            ($check:ident) => { $($check!($request, $response);)* };
        }
        #[cfg(test)]
        pub(crate) use for_each_request;
    };
}

apis! {
    Produce = 0, 3..=9, flexible 9, ProduceRequest => ProduceResponse;
    Fetch = 1, 4..=12, flexible 12, FetchRequest => FetchResponse;
    ListOffsets = 2, 1..=7, flexible 6, ListOffsetsRequest => ListOffsetsResponse;
    Metadata = 3, 0..=12, flexible 9, MetadataRequest => MetadataResponse;
    OffsetCommit = 8, 2..=8, flexible 8, OffsetCommitRequest => OffsetCommitResponse;
    OffsetFetch = 9, 1..=8, flexible 6, OffsetFetchRequest => OffsetFetchResponse;
    FindCoordinator = 10, 0..=4, flexible 3, FindCoordinatorRequest => FindCoordinatorResponse;
    JoinGroup = 11, 0..=9, flexible 6, JoinGroupRequest => JoinGroupResponse;
    Heartbeat = 12, 0..=4, flexible 4, HeartbeatRequest => HeartbeatResponse;
    LeaveGroup = 13, 0..=5, flexible 4, LeaveGroupRequest => LeaveGroupResponse;
    SyncGroup = 14, 0..=5, flexible 4, SyncGroupRequest => SyncGroupResponse;
    DescribeGroups = 15, 0..=5, flexible 5, DescribeGroupsRequest => DescribeGroupsResponse;
    ListGroups = 16, 0..=4, flexible 3, ListGroupsRequest => ListGroupsResponse;
    ApiVersions = 18, 0..=3, flexible 3, ApiVersionsRequest => ApiVersionsResponse;
    CreateTopics = 19, 2..=7, flexible 5, CreateTopicsRequest => CreateTopicsResponse;
    DeleteTopics = 20, 1..=5, flexible 4, DeleteTopicsRequest => DeleteTopicsResponse;
    DeleteRecords = 21, 0..=2, flexible 2, DeleteRecordsRequest => DeleteRecordsResponse;
    InitProducerId = 22, 0..=4, flexible 2, InitProducerIdRequest => InitProducerIdResponse;
    OffsetForLeaderEpoch = 23, 2..=4, flexible 4,
        OffsetForLeaderEpochRequest => OffsetForLeaderEpochResponse;
    DescribeConfigs = 32, 1..=4, flexible 4, DescribeConfigsRequest => DescribeConfigsResponse;
    AlterConfigs = 33, 0..=2, flexible 2, AlterConfigsRequest => AlterConfigsResponse;
    CreatePartitions = 37, 0..=3, flexible 2, CreatePartitionsRequest => CreatePartitionsResponse;
    DeleteGroups = 42, 0..=2, flexible 2, DeleteGroupsRequest => DeleteGroupsResponse;
    IncrementalAlterConfigs = 44, 0..=1, flexible 1,
        IncrementalAlterConfigsRequest => IncrementalAlterConfigsResponse;
    OffsetDelete = 47, 0..=0, flexible 1, OffsetDeleteRequest => OffsetDeleteResponse;
    DescribeCluster = 60, 0..=1, flexible 0, DescribeClusterRequest => DescribeClusterResponse;
}

/// What precedes every request's body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestHeader {
    /// `Err` holds a key this broker does not speak; what follows such a header cannot be read.
    pub api: Result<Api, i16>,
    /// Of the API.
    pub version: i16,
    /// Comes back with the response.
    pub correlation_id: i32,
    /// What the client calls itself.
    pub client_id: Option<String>,
}

impl RequestHeader {
    /// Reads the header. The client id keeps its classic encoding in all versions, and the tagged fields of a
    /// flexible version's header are left out where the version is unknown, since its shape is unknown too.
    pub fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        let classic = Shape { version: 0, flexible: false };
        let key = i16::read(reader, classic)?;
        let version = i16::read(reader, classic)?;
        let correlation_id = i32::read(reader, classic)?;
        let client_id = Option::<String>::read(reader, classic)?;
        let header =
            Self { api: Api::from_key(key).ok_or(key), version, correlation_id, client_id };
        if let Some(api) = header.served() {
            reader.skip_tags(api.shape(version))?;
        }
        Ok(header)
    }

    /// The API, if both it and the version asked for are spoken.
    pub fn served(&self) -> Option<Api> {
        self.api.ok().filter(|api| api.versions().contains(&self.version))
    }
}

/// Writes a request with its header.
pub fn request<R: Request>(correlation_id: i32, version: i16, client_id: &str, body: &R) -> Frame {
    let mut frame = Frame::new();
    let (classic, shape) = (Shape { version: 0, flexible: false }, R::API.shape(version));
    (R::API as i16).write(&mut frame, classic);
    version.write(&mut frame, classic);
    correlation_id.write(&mut frame, classic);
    Some(client_id.to_owned()).write(&mut frame, classic);
    frame.put_no_tags(shape);
    body.write(&mut frame, shape);
    frame.finish()
}

/// Reads what follows the correlation id in a response.
pub fn read_response<R: Request>(
    reader: &mut Reader,
    version: i16,
) -> Result<R::Response, DecodeError> {
    let shape = R::API.shape(version);
    if R::API != Api::ApiVersions {
        reader.skip_tags(shape)?;
    }
    R::Response::read(reader, shape)
}

/// Writes a response with its header.
///
/// The answer to `ApiVersions` never has tagged fields in its header: a client reads it before the two sides
/// know which versions they share.
pub fn respond<R: Request>(correlation_id: i32, version: i16, body: &R::Response) -> Frame {
    let mut frame = Frame::new();
    let shape = R::API.shape(version);
    correlation_id.write(&mut frame, shape);
    if R::API != Api::ApiVersions {
        frame.put_no_tags(shape);
    }
    body.write(&mut frame, shape);
    frame.finish()
}
