"""kafka-python: the protocol in Python, with threads."""

import sys

from kafka import ConsumerRebalanceListener, KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.structs import OffsetAndMetadata

from checks import SOON_S, Failed, expect
from scenarios import Seen, main

CANNOT = {}


class Client:
    name = "kafka-python"
    codecs = ["gzip", "snappy", "lz4", "zstd"]

    def __init__(self, bootstrap):
        self.bootstrap = bootstrap
        self.admin = KafkaAdminClient(bootstrap_servers=bootstrap)

    def produce(self, topic, records, codec=None, idempotent=None):
        settings = {}
        if codec:
            settings["compression_type"] = codec
        if idempotent:
            settings["enable_idempotence"] = True
        producer = KafkaProducer(bootstrap_servers=self.bootstrap, **settings)
        try:
            sends = [
                producer.send(topic, record.value, record.key, record.headers, timestamp_ms=record.timestamp)
                for record in records
            ]
            producer.flush(SOON_S)
            for send in sends:
                send.get(SOON_S)
        finally:
            producer.close()

    def member(self, topic, group, assignor=None, instance=None, auto_commit=None, session_ms=None):
        settings = {"group_id": group, "auto_offset_reset": "earliest"}
        if assignor == "cooperative":
            settings["partition_assignment_strategy"] = [CooperativeStickyAssignor]
        if instance:
            settings["group_instance_id"] = instance
        if auto_commit is not None:
            settings["enable_auto_commit"] = auto_commit
        if session_ms:
            settings["session_timeout_ms"] = session_ms
            settings["heartbeat_interval_ms"] = session_ms // 3
        return Member(KafkaConsumer(bootstrap_servers=self.bootstrap, **settings), topic)

    def create_topic(self, topic, partitions):
        self.admin.create_topics({topic: {"num_partitions": partitions}})

    def topics(self):
        return set(self.admin.list_topics())

    def partitions(self, topic):
        return len(self.admin.describe_topics([topic])[0]["partitions"])

    def grow(self, topic, partitions):
        self.admin.create_partitions({topic: partitions})

    def delete_topic(self, topic):
        self.admin.delete_topics([topic])

    def config(self, topic):
        resource = ConfigResource(ConfigResourceType.TOPIC, topic)
        entries = self.admin.describe_configs([resource], config_filter="all")["topic"][topic]
        return {name: entry["value"] for name, entry in entries.items()}

    def set_config(self, topic, name, value):
        self.admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, {name: value})])

    def groups(self):
        return {group["group_id"] for group in self.admin.list_groups()}

    def describe_group(self, group):
        described = self.admin.describe_groups([group])[group]
        return described["group_state"].lower(), len(described["members"])

    def delete_group(self, group):
        expect(self.admin.delete_groups([group]), {group: "OK"}, "deleting the group")

    def committed(self, group, topic):
        offsets = self.admin.list_group_offsets(group)[group]
        return {at.partition: offset.offset for at, offset in offsets.items() if at.topic == topic}

    def set_committed(self, group, topic, offsets):
        offsets = {TopicPartition(topic, p): OffsetAndMetadata(offset, "", -1) for p, offset in offsets.items()}
        for at, error in self.admin.alter_group_offsets(group, offsets).items():
            if error.errno:
                raise Failed(f"{at}: {error}")

    def ends(self, topic):
        consumer = KafkaConsumer(bootstrap_servers=self.bootstrap)
        try:
            partitions = [TopicPartition(topic, partition) for partition in range(self.partitions(topic))]
            starts, ends = consumer.beginning_offsets(partitions), consumer.end_offsets(partitions)
            return {at.partition: (starts[at], ends[at]) for at in partitions}
        finally:
            consumer.close()

    def delete_records(self, topic, partition, before):
        self.admin.delete_records({TopicPartition(topic, partition): before})


class Member(ConsumerRebalanceListener):
    def __init__(self, consumer, topic):
        self.consumer, self.topic, self.taken, self.lost = consumer, topic, [], []
        consumer.subscribe([topic], listener=self)

    def on_partitions_assigned(self, assigned):
        self.taken.append([partition.partition for partition in assigned])

    def on_partitions_revoked(self, revoked):
        self.lost.append([partition.partition for partition in revoked])

    def poll(self):
        return [
            Seen(record.partition, record.offset, record.key, record.value, list(record.headers), record.timestamp)
            for records in self.consumer.poll(timeout_ms=50).values()
            for record in records
        ]

    def assigned(self):
        return {partition.partition for partition in self.consumer.assignment()}

    def commit(self, offsets=None):
        if offsets is not None:
            offsets = {
                TopicPartition(self.topic, p): OffsetAndMetadata(offset, "", -1) for p, offset in offsets.items()
            }
        self.consumer.commit(offsets)

    def seek(self, partition, offset):
        self.consumer.seek(TopicPartition(self.topic, partition), offset)

    def seek_to_beginning(self):
        self.consumer.seek_to_beginning()

    def at(self, partition, timestamp_ms):
        at = TopicPartition(self.topic, partition)
        found = self.consumer.offsets_for_times({at: timestamp_ms})[at]
        return found and found.offset

    def close(self):
        self.consumer.close()


if __name__ == "__main__":
    sys.exit(main(Client, CANNOT))
