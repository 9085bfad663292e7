//! Creating topics and asking whether a broker is there.

use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::producer::{BaseProducer, Producer as _};

use crate::client;
use crate::error::KafkaError;

/// Long enough for a broker that is just starting and for a slow link.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Waits until a broker answers at `servers`.
pub async fn reach(servers: &str) -> Result<(), KafkaError> {
    let servers = servers.to_owned();
    let asked = tokio::task::spawn_blocking(move || {
        let client: BaseProducer = client::config(&servers)
            .create()
            .map_err(|source| KafkaError::client(&servers, source))?;
        client.client().fetch_metadata(None, ANSWER_TIMEOUT).map(drop).map_err(|error| {
            KafkaError::Unreachable {
                servers,
                waited_s: ANSWER_TIMEOUT.as_secs(),
                reason: error
                    .rdkafka_error_code()
                    .map_or(error.to_string(), |code| code.to_string()),
            }
        })
    });
    asked.await.expect("the question does not panic")
}

/// Creates the topics that are not there yet, with the broker's own number of replicas.
pub async fn ensure_topics(
    servers: &str,
    topics: &[&str],
    partitions: u32,
) -> Result<(), KafkaError> {
    reach(servers).await?;
    let client: AdminClient<DefaultClientContext> =
        client::config(servers).create().map_err(|source| KafkaError::client(servers, source))?;
    let wanted: Vec<NewTopic<'_>> = topics
        .iter()
        .map(|topic| NewTopic::new(topic, partitions as i32, TopicReplication::Fixed(-1)))
        .collect();
    let options = AdminOptions::new()
        .request_timeout(Some(ANSWER_TIMEOUT))
        .operation_timeout(Some(ANSWER_TIMEOUT));
    let outcomes =
        client.create_topics(&wanted, &options).await.map_err(|error| KafkaError::Topic {
            topic: topics.join("`, `"),
            servers: servers.to_owned(),
            reason: error.to_string(),
        })?;
    for outcome in outcomes {
        match outcome {
            Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((topic, code)) => {
                return Err(KafkaError::Topic {
                    topic,
                    servers: servers.to_owned(),
                    reason: code.to_string(),
                });
            }
        }
    }
    Ok(())
}
