"""confluent-kafka: librdkafka from Python."""

import sys

import confluent_kafka
from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, Producer, TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    OffsetSpec,
    ResourceType,
)

from checks import SOON_S, Failed
from scenarios import Seen, main

# Nothing that librdkafka lacks is checked here.
CANNOT = {}


class Client:
    name = "confluent"
    codecs = ["gzip", "snappy", "lz4", "zstd"]

    def __init__(self, bootstrap):
        self.bootstrap = {"bootstrap.servers": bootstrap}
        self.admin = AdminClient(self.bootstrap)

    def produce(self, topic, records, codec=None, idempotent=None):
        settings = dict(self.bootstrap)
        if codec:
            settings["compression.type"] = codec
        if idempotent:
            settings["enable.idempotence"] = True
        producer, failures = Producer(settings), []

        def delivered(error, _message):
            if error:
                failures.append(error)

        for record in records:
            stamp = {} if record.timestamp is None else {"timestamp": record.timestamp}
            producer.produce(
                topic, record.value, record.key, headers=record.headers, on_delivery=delivered, **stamp
            )
            producer.poll(0)
        left = producer.flush(SOON_S)
        if left or failures:
            raise Failed(f"{left} records are not acknowledged, {len(failures)} failed: {failures[:1]}")

    def member(self, topic, group, assignor=None, instance=None, auto_commit=None, session_ms=None):
        settings = {**self.bootstrap, "group.id": group, "auto.offset.reset": "earliest"}
        if assignor == "cooperative":
            settings["partition.assignment.strategy"] = "cooperative-sticky"
        if instance:
            settings["group.instance.id"] = instance
        if auto_commit is not None:
            settings["enable.auto.commit"] = auto_commit
        if session_ms:
            settings["session.timeout.ms"] = session_ms
        return Member(settings, topic)

    def create_topic(self, topic, partitions):
        self.admin.create_topics([NewTopic(topic, partitions)])[topic].result(SOON_S)

    def topics(self):
        return set(self.admin.list_topics(timeout=SOON_S).topics)

    def partitions(self, topic):
        return len(self.admin.list_topics(topic, timeout=SOON_S).topics[topic].partitions)

    def grow(self, topic, partitions):
        self.admin.create_partitions([NewPartitions(topic, partitions)])[topic].result(SOON_S)

    def delete_topic(self, topic):
        self.admin.delete_topics([topic])[topic].result(SOON_S)

    def config(self, topic):
        resource = ConfigResource(ResourceType.TOPIC, topic)
        entries = self.admin.describe_configs([resource])[resource].result(SOON_S)
        return {name: entry.value for name, entry in entries.items()}

    def set_config(self, topic, name, value):
        entry = ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
        resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
        self.admin.incremental_alter_configs([resource])[resource].result(SOON_S)

    def groups(self):
        listed = self.admin.list_consumer_groups().result(SOON_S)
        if listed.errors:
            raise listed.errors[0]
        return {group.group_id for group in listed.valid}

    def describe_group(self, group):
        described = self.admin.describe_consumer_groups([group])[group].result(SOON_S)
        return described.state.name.lower(), len(described.members)

    def delete_group(self, group):
        self.admin.delete_consumer_groups([group])[group].result(SOON_S)

    def committed(self, group, topic):
        asked = ConsumerGroupTopicPartitions(group)
        offsets = self.admin.list_consumer_group_offsets([asked])[group].result(SOON_S).topic_partitions
        return {offset.partition: offset.offset for offset in offsets if offset.topic == topic}

    def set_committed(self, group, topic, offsets):
        offsets = [TopicPartition(topic, partition, offset) for partition, offset in offsets.items()]
        wanted = ConsumerGroupTopicPartitions(group, offsets)
        for offset in self.admin.alter_consumer_group_offsets([wanted])[group].result(SOON_S).topic_partitions:
            if offset.error:
                raise confluent_kafka.KafkaException(offset.error)

    def ends(self, topic):
        partitions = [TopicPartition(topic, partition) for partition in range(self.partitions(topic))]

        def listed(spec):
            futures = self.admin.list_offsets({partition: spec for partition in partitions})
            return {partition.partition: future.result(SOON_S).offset for partition, future in futures.items()}

        starts, ends = listed(OffsetSpec.earliest()), listed(OffsetSpec.latest())
        return {partition: (start, ends[partition]) for partition, start in starts.items()}

    def delete_records(self, topic, partition, before):
        deleted = self.admin.delete_records([TopicPartition(topic, partition, before)])
        for future in deleted.values():
            future.result(SOON_S)


class Member:
    def __init__(self, settings, topic):
        self.topic, self.taken, self.lost = topic, [], []
        self.consumer = Consumer(settings)
        self.consumer.subscribe([topic], on_assign=self._on_assign, on_revoke=self._on_revoke)

    def _on_assign(self, _consumer, partitions):
        self.taken.append([partition.partition for partition in partitions])

    def _on_revoke(self, _consumer, partitions):
        self.lost.append([partition.partition for partition in partitions])

    def poll(self):
        seen = []
        for message in self.consumer.consume(500, timeout=0.05):
            if message.error():
                raise confluent_kafka.KafkaException(message.error())
            seen.append(
                Seen(
                    message.partition(),
                    message.offset(),
                    message.key(),
                    message.value(),
                    message.headers() or [],
                    message.timestamp()[1],
                )
            )
        return seen

    def assigned(self):
        return {partition.partition for partition in self.consumer.assignment()}

    def commit(self, offsets=None):
        if offsets is None:
            return self.consumer.commit(asynchronous=False)
        offsets = [TopicPartition(self.topic, partition, offset) for partition, offset in offsets.items()]
        return self.consumer.commit(offsets=offsets, asynchronous=False)

    def seek(self, partition, offset):
        self.consumer.seek(TopicPartition(self.topic, partition, offset))

    def seek_to_beginning(self):
        for partition in self.assigned():
            self.seek(partition, confluent_kafka.OFFSET_BEGINNING)

    def at(self, partition, timestamp_ms):
        asked = [TopicPartition(self.topic, partition, timestamp_ms)]
        return self.consumer.offsets_for_times(asked, timeout=SOON_S)[0].offset

    def close(self):
        self.consumer.close()


if __name__ == "__main__":
    sys.exit(main(Client, CANNOT))
