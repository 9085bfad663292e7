//! Questions about consumer groups, in the shape that each version of the protocol gives them.

use protocol::cluster::FindCoordinatorRequest;
use protocol::offsets::{
    OffsetFetchGroup, OffsetFetchRequest, OffsetFetchResponse, OffsetFetchTopic,
    OffsetFetchTopicResponse,
};
use protocol::{Api, ErrorCode};

use crate::cluster::{ANSWER_TIMEOUT, address_of};
use crate::connection::{CallError, Connection};

/// Asks a broker which one coordinates `group`: its address, or why there is none.
pub(crate) async fn find_coordinator(
    connection: &Connection,
    group: &str,
) -> Result<Result<String, ErrorCode>, CallError> {
    let question = FindCoordinatorRequest {
        key: group.to_owned(),
        coordinator_keys: vec![group.to_owned()],
        ..Default::default()
    };
    let asks_for_several = 4 <= connection.version(Api::FindCoordinator)?;
    let found = connection.call(&question, ANSWER_TIMEOUT).await?;
    let (error, host, port) = match found.coordinators.into_iter().next() {
        Some(found) => (found.error_code, found.host, found.port),
        None if asks_for_several => return Ok(Err(ErrorCode::CoordinatorNotAvailable)),
        None => (found.error_code, found.host, found.port),
    };
    Ok(if error == ErrorCode::None { Ok(address_of(&host, port)) } else { Err(error) })
}

/// Asks what a group has committed for partitions, or for all. Who is to go on there waits for what a transaction
/// under way will commit (`require_stable`).
pub(crate) fn committed_request(
    group: &str,
    topics: Option<Vec<OffsetFetchTopic>>,
    require_stable: bool,
) -> OffsetFetchRequest {
    OffsetFetchRequest {
        group_id: group.to_owned(),
        topics: topics.clone(),
        groups: vec![OffsetFetchGroup { group_id: group.to_owned(), topics }],
        require_stable,
    }
}

/// What it has.
pub(crate) fn committed_in(
    answer: OffsetFetchResponse,
) -> (ErrorCode, Vec<OffsetFetchTopicResponse>) {
    match answer.groups.into_iter().next() {
        Some(group) => (group.error_code, group.topics),
        None => (answer.error_code, answer.topics),
    }
}
