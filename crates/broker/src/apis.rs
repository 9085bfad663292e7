//! What the broker answers, by API: each function takes a request and returns its response.
//!
//! Produce alone is in two steps, because its batches are appended when they arrive and acknowledged when they
//! are durable, while the connection goes on reading.

pub(crate) mod admin;
pub(crate) mod cluster;
pub(crate) mod configs;
pub(crate) mod fetch;
pub(crate) mod group_admin;
pub(crate) mod groups;
pub(crate) mod list_offsets;
pub(crate) mod offsets;
pub(crate) mod produce;
pub(crate) mod records;

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use crate::log::partition::{Partition, PartitionError};
use crate::log::store::AppendError;
use crate::memory::Share;
use crate::node::{Client, Node};
use crate::producers::SequenceError;
use crate::topics::TopicError;
use protocol::api::{RequestHeader, respond};
use protocol::batch::LEADER_EPOCH;
use protocol::cluster::ApiVersionsRequest;
use protocol::{Api, DecodeError, ErrorCode, Frame, Reader, Request};

/// What the answer to a request and its connection share. It lasts until the response is written.
#[derive(Debug, Default)]
pub(crate) struct Turn {
    /// Tells a fetch that waits for data to end: somebody is in line behind it.
    pub(crate) give_way: Notify,
    /// What the response takes of memory.
    share: Mutex<Option<Share>>,
}

impl Turn {
    pub(crate) fn hold(&self, share: Share) {
        *self.share.lock().unwrap_or_else(PoisonError::into_inner) = Some(share);
    }
}

/// Answers any request but Produce.
///
/// # Errors
///
/// The request cannot be read; its connection has lost its place and has to be closed.
pub(crate) async fn answer(
    node: &Node,
    client: &Client,
    header: &RequestHeader,
    api: Api,
    reader: Reader,
    turn: &Turn,
) -> Result<Frame, DecodeError> {
    let call = Call { header, reader };
    match api {
        Api::Produce => unreachable!("the connection takes Produce apart"),
        Api::Fetch => call.with(async |request, _| fetch::fetch(node, request, turn).await).await,
        Api::ListOffsets => {
            call.with(async |r, version| list_offsets::list_offsets(node, version, r).await).await
        }
        Api::Metadata => {
            call.with(async |r, version| cluster::metadata(node, client, version, r).await).await
        }
        Api::OffsetCommit => call.with(async |r, _| offsets::commit(node, r).await).await,
        Api::OffsetFetch => call.with(async |r, _| offsets::fetch(node, r)).await,
        Api::FindCoordinator => {
            call.with(async |r, version| cluster::find_coordinator(node, client, version, r)).await
        }
        Api::JoinGroup => {
            call.with(async |r, version| groups::join(node, client, version, r).await).await
        }
        Api::SyncGroup => call.with(async |r, _| groups::sync(node, r).await).await,
        Api::Heartbeat => call.with(async |r, _| groups::heartbeat(node, r)).await,
        Api::LeaveGroup => call.with(async |r, version| groups::leave(node, version, &r)).await,
        Api::DescribeGroups => call.with(async |r, _| group_admin::describe(node, r)).await,
        Api::ListGroups => call.with(async |r, _| group_admin::list(node, &r)).await,
        Api::DeleteGroups => call.with(async |r, _| group_admin::delete(node, r).await).await,
        Api::OffsetDelete => {
            call.with(async |r, _| group_admin::delete_offsets(node, r).await).await
        }
        Api::ApiVersions => {
            call.with(async |_: ApiVersionsRequest, _| cluster::api_versions(ErrorCode::None)).await
        }
        Api::CreateTopics => call.with(async |r, _| admin::create_topics(node, r).await).await,
        Api::DeleteTopics => call.with(async |r, _| admin::delete_topics(node, r).await).await,
        Api::DeleteRecords => call.with(async |r, _| records::delete(node, r).await).await,
        Api::OffsetForLeaderEpoch => {
            call.with(async |r, _| records::offset_for_leader_epoch(node, r)).await
        }
        Api::DescribeConfigs => call.with(async |r, _| configs::describe(node, r)).await,
        Api::AlterConfigs => call.with(async |r, _| configs::alter(node, r).await).await,
        Api::IncrementalAlterConfigs => {
            call.with(async |r, _| configs::alter_incrementally(node, r).await).await
        }
        Api::CreatePartitions => {
            call.with(async |r, _| admin::create_partitions(node, r).await).await
        }
        Api::InitProducerId => call.with(async |r, _| produce::init_producer_id(node, &r)).await,
        Api::DescribeCluster => {
            call.with(async |r, _| cluster::describe_cluster(node, client, &r)).await
        }
    }
}

/// The partition that a client asks for, in an epoch that it has heard of, or none (-1).
///
/// # Errors
///
/// There is no such partition, or no leader has had that epoch yet.
fn partition_in_epoch(
    node: &Node,
    topic: &str,
    index: i32,
    epoch: i32,
) -> Result<Arc<Partition>, ErrorCode> {
    let found = node.topics.partition(topic, index);
    let partition = found.ok_or(ErrorCode::UnknownTopicOrPartition)?;
    if LEADER_EPOCH < epoch { Err(ErrorCode::UnknownLeaderEpoch) } else { Ok(partition) }
}

/// What a request names, without what it names again: a request has room for a hundred thousand names, and the
/// answer about all of them must not be as many times as large as one that is about everything.
fn once<T, K: Eq + Hash>(mut named: Vec<T>, name: impl Fn(&T) -> K) -> Vec<T> {
    let mut seen = HashSet::new();
    named.retain(|item| seen.insert(name(item)));
    named
}

/// What a request names of topics, without the partitions that it names again.
fn once_each<T, P>(
    topics: &mut [T],
    split: impl Fn(&mut T) -> (&str, &mut Vec<P>),
    index: impl Fn(&P) -> i32,
) {
    let mut seen = HashMap::<String, HashSet<i32>>::new();
    for topic in topics {
        let (name, partitions) = split(topic);
        let seen = seen.entry(name.to_owned()).or_default();
        partitions.retain(|partition| seen.insert(index(partition)));
    }
}

struct Call<'a> {
    header: &'a RequestHeader,
    reader: Reader,
}

impl Call<'_> {
    async fn with<R: Request>(
        mut self,
        answer: impl AsyncFnOnce(R, i16) -> R::Response,
    ) -> Result<Frame, DecodeError> {
        let version = self.header.version;
        let request = R::read(&mut self.reader, R::API.shape(version))?;
        let response = answer(request, version).await;
        Ok(respond::<R>(self.header.correlation_id, version, &response))
    }
}

impl PartitionError {
    pub(crate) fn code(&self) -> ErrorCode {
        match self {
            Self::Append(AppendError::Sequence(SequenceError::OutOfOrder { .. })) => {
                ErrorCode::OutOfOrderSequenceNumber
            }
            Self::Append(AppendError::Sequence(SequenceError::DuplicateForgotten { .. })) => {
                ErrorCode::DuplicateSequenceNumber
            }
            Self::Append(AppendError::Sequence(SequenceError::OldEpoch { .. })) => {
                ErrorCode::InvalidProducerEpoch
            }
            Self::Append(AppendError::Write { .. } | AppendError::Undo { .. })
            | Self::Failed
            | Self::Retain { .. }
            | Self::Compact { .. }
            | Self::Read { .. } => ErrorCode::KafkaStorageError,
            Self::Deleted => ErrorCode::UnknownTopicOrPartition,
            Self::OutOfRange { .. } => ErrorCode::OffsetOutOfRange,
        }
    }
}

impl TopicError {
    pub(crate) fn code(&self) -> ErrorCode {
        match self {
            Self::InvalidName { .. } => ErrorCode::InvalidTopic,
            Self::Exists { .. } => ErrorCode::TopicAlreadyExists,
            Self::Unknown { .. } => ErrorCode::UnknownTopicOrPartition,
            Self::NoPartitions { .. } | Self::NotMorePartitions { .. } => {
                ErrorCode::InvalidPartitions
            }
            Self::Config { .. } => ErrorCode::InvalidConfig,
            Self::TooManyTopics { .. } | Self::TooManyPartitions { .. } => {
                ErrorCode::PolicyViolation
            }
            Self::Open(_) | Self::Io { .. } => ErrorCode::KafkaStorageError,
        }
    }
}
