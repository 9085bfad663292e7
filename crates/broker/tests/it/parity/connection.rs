//! A connection that speaks in frames, and what most tests say over it.

use bytes::{Buf, Bytes};
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::fetch_response::PartitionData;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::list_offsets_response::ListOffsetsPartitionResponse;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::produce_response::PartitionProduceResponse;
use kafka_protocol::messages::{
    ApiKey, BrokerId, CreateTopicsRequest, FetchRequest, FindCoordinatorRequest,
    ListOffsetsRequest, OffsetFetchRequest, ProduceRequest, ResponseHeader,
};
use kafka_protocol::protocol::{Decodable, HeaderVersion, Request};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Duration, timeout};

use super::batch::{Batch, Read, records};
use super::{eventually, group_id, outcome, text, topic_name, unique};
use crate::SOON;
use crate::frames::{frame, response};

pub(super) const LATEST: i64 = -1;
pub(super) const EARLIEST: i64 = -2;

pub(super) struct Connection {
    stream: TcpStream,
    last_id: i32,
}

impl Connection {
    pub(super) async fn open(address: &str) -> Self {
        Self { stream: TcpStream::connect(address).await.unwrap(), last_id: 0 }
    }

    pub(super) async fn call<R: Request>(&mut self, version: i16, request: &R) -> R::Response {
        self.send(version, request).await;
        self.receive::<R>(version).await
    }

    /// Sends a request and returns its correlation id.
    pub(super) async fn send<R: Request>(&mut self, version: i16, request: &R) -> i32 {
        self.last_id += 1;
        let key = ApiKey::try_from(R::KEY).unwrap();
        let frame = frame(key, version, self.last_id, request);
        self.stream.write_all(&frame).await.unwrap();
        self.last_id
    }

    /// Sends a frame and returns the answer's correlation id and what follows.
    pub(super) async fn exchange(&mut self, frame: &[u8]) -> (i32, Bytes) {
        self.stream.write_all(frame).await.unwrap();
        response(&mut self.stream).await
    }

    /// Whether a frame is answered by closing the connection.
    pub(super) async fn closes(mut self, frame: &[u8]) -> bool {
        self.stream.write_all(frame).await.unwrap();
        let read = timeout(SOON, self.stream.read(&mut [0])).await;
        matches!(read.expect("an answer in time"), Ok(0) | Err(_))
    }

    /// Sends no more.
    pub(super) async fn end(&mut self) {
        self.stream.shutdown().await.unwrap();
    }

    /// Whether no answer comes in this time.
    pub(super) async fn is_silent(&self, time: Duration) -> bool {
        timeout(time, self.stream.peek(&mut [0])).await.is_err()
    }

    /// The answer to the request that was sent last.
    pub(super) async fn receive<R: Request>(&mut self, version: i16) -> R::Response {
        self.receive_next::<R>(version, self.last_id).await
    }

    /// The next answer, which is to the request of this correlation id.
    pub(super) async fn receive_next<R: Request>(&mut self, version: i16, id: i32) -> R::Response {
        let (answered, mut body) = response(&mut self.stream).await;
        assert_eq!(answered, id);
        if R::Response::header_version(version) == 1 {
            // The correlation id is gone already; what is left of the header are its tagged fields.
            let mut header = Bytes::from_owner([&[0; 4], &body[..]].concat());
            ResponseHeader::decode(&mut header, 1).unwrap();
            body.advance(body.len() - header.len());
        }
        let decoded = R::Response::decode(&mut body, version).unwrap();
        assert!(body.is_empty(), "the answer is followed by {body:?}");
        decoded
    }

    /// A new group's id. Kafka has to load where it keeps groups before it knows any.
    pub(super) async fn group(&mut self) -> String {
        let group = unique("group");
        let find = FindCoordinatorRequest::default().with_key(text(&group));
        let fetch = OffsetFetchRequest::default().with_group_id(group_id(&group)).with_topics(None);
        eventually("the group is coordinated", async || {
            let found = self.call(3, &find).await;
            outcome(found.error_code).ok()?;
            outcome(self.call(7, &fetch).await.error_code).ok()
        })
        .await;
        group
    }

    /// A new topic that can be used at once.
    pub(super) async fn topic(&mut self, partitions: i32, settings: &[(&str, &str)]) -> String {
        let name = unique("topic");
        let configs = settings.iter().map(|(name, value)| {
            CreatableTopicConfig::default().with_name(text(name)).with_value(Some(text(value)))
        });
        let topic = CreatableTopic::default()
            .with_name(topic_name(&name))
            .with_num_partitions(partitions)
            .with_replication_factor(1)
            .with_configs(configs.collect());
        let request =
            CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(10_000);
        let created = self.call(7, &request).await;
        assert_eq!(outcome(created.topics[0].error_code), Ok(()), "{created:?}");
        self.is_usable(&name, partitions).await;
        name
    }

    /// Waits until a topic has that many partitions: Kafka answers before its parts have heard of a change.
    pub(super) async fn is_usable(&mut self, topic: &str, partitions: i32) {
        for index in 0..partitions {
            eventually("a partition is led", async || {
                let listed = self.list_offset(topic, index, LATEST).await;
                outcome(listed.error_code).ok()
            })
            .await;
        }
    }

    /// Appends a batch and returns its first offset.
    pub(super) async fn append(&mut self, topic: &str, batch: &Batch) -> i64 {
        let response = self.produce(topic, 0, batch.bytes()).await;
        assert_eq!(outcome(response.error_code), Ok(()), "{response:?}");
        response.base_offset
    }

    /// Sends a batch to be stored by all replicas.
    pub(super) async fn produce(
        &mut self,
        topic: &str,
        partition: i32,
        batch: Bytes,
    ) -> PartitionProduceResponse {
        let response = self.call(9, &produce_request(-1, topic, partition, batch)).await;
        response.responses[0].partition_responses[0].clone()
    }

    /// Whether a batch is taken.
    pub(super) async fn offer(&mut self, topic: &str, batch: Bytes) -> Result<i64, ResponseError> {
        let response = self.produce(topic, 0, batch).await;
        outcome(response.error_code).map(|()| response.base_offset)
    }

    /// Fetches from one partition without waiting.
    pub(super) async fn fetch(
        &mut self,
        topic: &str,
        partition: i32,
        offset: i64,
    ) -> PartitionData {
        let request = fetch_request(&[(topic, partition, offset, 1 << 20)]);
        self.call(12, &request).await.responses[0].partitions[0].clone()
    }

    /// All records of a topic's first partition from an offset on.
    pub(super) async fn read(&mut self, topic: &str, mut offset: i64) -> Vec<Read> {
        let mut all = Vec::new();
        loop {
            let fetched = self.fetch(topic, 0, offset).await;
            assert_eq!(outcome(fetched.error_code), Ok(()), "{fetched:?}");
            let records = records(fetched.records.unwrap_or_default());
            let Some(last) = records.last() else { return all };
            offset = last.0 + 1;
            all.extend(records);
        }
    }

    pub(super) async fn list_offset(
        &mut self,
        topic: &str,
        partition: i32,
        timestamp: i64,
    ) -> ListOffsetsPartitionResponse {
        let partition = ListOffsetsPartition::default()
            .with_partition_index(partition)
            .with_timestamp(timestamp);
        let topic = ListOffsetsTopic::default()
            .with_name(topic_name(topic))
            .with_partitions(vec![partition]);
        let request =
            ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_topics(vec![topic]);
        self.call(7, &request).await.topics[0].partitions[0].clone()
    }

    /// A partition's first offset and the one after its last.
    pub(super) async fn watermarks(&mut self, topic: &str, partition: i32) -> (i64, i64) {
        let start = self.list_offset(topic, partition, EARLIEST).await.offset;
        (start, self.list_offset(topic, partition, LATEST).await.offset)
    }
}

pub(super) fn produce_request(
    acks: i16,
    topic: &str,
    partition: i32,
    batch: Bytes,
) -> ProduceRequest {
    let partition = PartitionProduceData::default().with_index(partition).with_records(Some(batch));
    let topic = TopicProduceData::default()
        .with_name(topic_name(topic))
        .with_partition_data(vec![partition]);
    ProduceRequest::default().with_acks(acks).with_timeout_ms(10_000).with_topic_data(vec![topic])
}

/// Asks for partitions by topic, index, offset and bytes, without waiting.
pub(super) fn fetch_request(wanted: &[(&str, i32, i64, i32)]) -> FetchRequest {
    let topics = wanted.iter().map(|(topic, partition, offset, max_bytes)| {
        let partition = FetchPartition::default()
            .with_partition(*partition)
            .with_fetch_offset(*offset)
            .with_partition_max_bytes(*max_bytes);
        FetchTopic::default().with_topic(topic_name(topic)).with_partitions(vec![partition])
    });
    FetchRequest::default()
        .with_max_wait_ms(0)
        .with_min_bytes(1)
        .with_max_bytes(1 << 20)
        .with_topics(topics.collect())
}
