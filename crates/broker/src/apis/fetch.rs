//! `Fetch`: waits on the high watermarks, then reads.
//!
//! Incremental fetch sessions are not kept: the response's session id of zero tells clients to name all their
//! partitions each time, as they do where sessions are full. One that goes on with a session, which it must have
//! begun elsewhere, is told that there is none.

use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tracing::error;

use super::{Turn, once_each, partition_in_epoch};
use crate::log::partition::{Partition, PartitionError, Watermarks};
use crate::log::read::Oversize;
use crate::node::Node;
use protocol::ErrorCode;
use protocol::fetch::{
    FetchPartition, FetchPartitionResponse, FetchRequest, FetchResponse, FetchTopic,
    FetchTopicResponse,
};

pub(crate) async fn fetch(node: &Node, mut request: FetchRequest, turn: &Turn) -> FetchResponse {
    once_each(&mut request.topics, |t| (&t.topic, &mut t.partitions), |p| p.partition);
    if 0 < request.session_epoch {
        let error_code = ErrorCode::FetchSessionIdNotFound;
        return FetchResponse { error_code, ..FetchResponse::default() };
    }
    let min_bytes = u64::try_from(request.min_bytes).unwrap_or(0);
    let asked_wait = Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0));
    let deadline = Instant::now() + asked_wait.min(node.bounds.fetch_wait);
    let wanted: Vec<Vec<Wanted>> = request
        .topics
        .iter()
        .map(|topic| topic.partitions.iter().map(|p| Wanted::find(node, &topic.topic, p)).collect())
        .collect();
    let mut stopping = node.stopping.subscribe();
    loop {
        // Watched before looked at, so that nothing arrives unseen in between.
        let mut watches: Vec<_> = wanted.iter().flatten().filter_map(Wanted::watch).collect();
        if is_ready(wanted.iter().flatten(), min_bytes) {
            break;
        }
        tokio::select! {
            () = any_changes(&mut watches) => {}
            () = sleep_until(deadline) => break,
            () = turn.give_way.notified() => break,
            _ = stopping.wait_for(|&stopping| stopping) => break,
        }
    }
    let max_bytes = usize::try_from(request.max_bytes).unwrap_or(0).min(node.bounds.fetch_bytes);
    // One batch is always returned, so the largest has to fit into the share.
    let mut share = None;
    if wanted.iter().flatten().any(Wanted::has_records) {
        share = Some(node.memory.share(max_bytes.max(node.bounds.batch_bytes)).await);
    }
    let isolation = match request.isolation_level {
        0 => Isolation::ReadUncommitted,
        _ => Isolation::ReadCommitted,
    };
    let is_old = wanted.iter().flatten().any(Wanted::is_sealed);
    let read = move || read(request.topics, &wanted, isolation, max_bytes);
    // A memory card takes its time; others share this thread.
    let (responses, used) = if is_old {
        let reading = tokio::task::spawn_blocking(read);
        reading.await.expect("reading does not panic and is not cancelled")
    } else {
        read()
    };
    if let Some(mut share) = share {
        share.shrink_to(used);
        turn.hold(share);
    }
    node.counters.bytes_out.add(used as u64);
    FetchResponse { responses, ..FetchResponse::default() }
}

/// Reads what is wanted of each topic; how many bytes of records that is.
fn read(
    topics: Vec<FetchTopic>,
    wanted: &[Vec<Wanted>],
    isolation: Isolation,
    max_bytes: usize,
) -> (Vec<FetchTopicResponse>, usize) {
    let mut budget = Budget { left: max_bytes, used: 0 };
    let topics = topics.into_iter().zip(wanted);
    let responses = topics
        .map(|(topic, wanted)| FetchTopicResponse {
            topic: topic.topic,
            partitions: wanted.iter().map(|wanted| wanted.read(isolation, &mut budget)).collect(),
        })
        .collect();
    (responses, budget.used)
}

/// A partition that a consumer wants records of.
#[derive(Debug)]
struct Wanted {
    index: i32,
    partition: Result<Arc<Partition>, ErrorCode>,
    offset: i64,
    max_bytes: usize,
}

/// Which records a consumer wants to see.
#[derive(Debug, Clone, Copy)]
enum Isolation {
    ReadUncommitted,
    ReadCommitted,
}

/// Record bytes that may still go into a response.
#[derive(Debug)]
struct Budget {
    left: usize,
    used: usize,
}

impl Wanted {
    fn find(node: &Node, topic: &str, asked: &FetchPartition) -> Self {
        Self {
            index: asked.partition,
            partition: partition_in_epoch(node, topic, asked.partition, asked.current_leader_epoch),
            offset: asked.fetch_offset,
            max_bytes: usize::try_from(asked.partition_max_bytes).unwrap_or(0),
        }
    }

    fn has_records(&self) -> bool {
        let watermarks =
            self.partition.as_ref().ok().and_then(|partition| partition.watermarks().ok());
        watermarks.is_some_and(|watermarks| self.offset < watermarks.high)
    }

    fn is_sealed(&self) -> bool {
        self.partition.as_ref().is_ok_and(|partition| partition.is_sealed(self.offset))
    }

    fn watch(&self) -> Option<watch::Receiver<i64>> {
        self.partition.as_ref().ok().map(|partition| partition.watch())
    }

    fn read(&self, isolation: Isolation, budget: &mut Budget) -> FetchPartitionResponse {
        let mut response = FetchPartitionResponse {
            partition_index: self.index,
            records: Some(Bytes::new()),
            ..FetchPartitionResponse::default()
        };
        let partition = match &self.partition {
            Ok(partition) => partition,
            Err(error_code) => {
                response.error_code = *error_code;
                return response;
            }
        };
        let oversize = if budget.used == 0 { Oversize::Return } else { Oversize::Skip };
        let max_bytes = self.max_bytes.min(budget.left);
        match partition.read(self.offset, max_bytes, oversize) {
            Ok((Watermarks { start, high }, records)) => {
                response.high_watermark = high;
                response.last_stable_offset = high;
                response.log_start_offset = start;
                response.aborted_transactions = match isolation {
                    Isolation::ReadUncommitted => None,
                    // There are none, but whoever reads what is committed expects to be told.
                    Isolation::ReadCommitted => Some(Vec::new()),
                };
                budget.left = budget.left.saturating_sub(records.len());
                budget.used += records.len();
                response.records = Some(records);
            }
            Err(error) => {
                if let PartitionError::Read { .. } = error {
                    error!(%error, "a fetch fails");
                }
                response.error_code = error.code();
            }
        }
        response
    }
}

/// Whether an answer is due: enough bytes, or something to tell.
fn is_ready<'a>(wanted: impl Iterator<Item = &'a Wanted>, min_bytes: u64) -> bool {
    let mut bytes = 0;
    let mut is_empty = true;
    for Wanted { partition, offset, .. } in wanted {
        is_empty = false;
        let Ok(partition) = partition else { return true };
        match partition.watermarks() {
            Ok(Watermarks { start, high }) if (start..=high).contains(offset) => {
                if *offset < high {
                    bytes += partition.bytes_from(*offset).max(1);
                }
            }
            _ => return true,
        }
        if min_bytes.max(1) <= bytes {
            return true;
        }
    }
    is_empty || min_bytes == 0
}

/// Returns when any of the high watermarks moves or closes.
async fn any_changes(watches: &mut [watch::Receiver<i64>]) {
    let mut changes: Vec<_> = watches.iter_mut().map(|watch| Box::pin(watch.changed())).collect();
    poll_fn(|context| {
        let has_changed = changes.iter_mut().any(|change| change.as_mut().poll(context).is_ready());
        if has_changed { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}
