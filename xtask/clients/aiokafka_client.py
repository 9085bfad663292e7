"""aiokafka: the protocol in Python, with asyncio. Its event loop runs in a thread; so it is driven as the others."""

import asyncio
import sys
import threading

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import for_code

from checks import CHECK_S
from scenarios import Seen, main

CANNOT = {"cooperative": "it has the range, round-robin and sticky assignors, all of which rebalance eagerly"}

LOOP = asyncio.new_event_loop()
threading.Thread(target=LOOP.run_forever, daemon=True).start()


def wait(coroutine):
    return asyncio.run_coroutine_threadsafe(coroutine, LOOP).result(CHECK_S)


def check_codes(topics):
    """The answers about topics carry a code for each, which the client does not look at."""
    for name, code, *message in topics:
        if code:
            raise for_code(code)(f"{name}: {message}")


class Client:
    name = "aiokafka"
    codecs = ["gzip", "snappy", "lz4", "zstd"]
    # It can neither delete groups nor set their offsets.
    delete_group = set_committed = None

    def __init__(self, bootstrap):
        self.bootstrap = bootstrap
        self.admin = wait(self._start(AIOKafkaAdminClient))

    async def _start(self, make, *args, **settings):
        client = make(*args, bootstrap_servers=self.bootstrap, **settings)
        await client.start()
        return client

    def produce(self, topic, records, codec=None, idempotent=None):
        settings = {}
        if codec:
            settings["compression_type"] = codec
        if idempotent:
            settings["enable_idempotence"] = True
        wait(self._produce(topic, records, settings))

    async def _produce(self, topic, records, settings):
        producer = await self._start(AIOKafkaProducer, **settings)
        try:
            sends = [
                await producer.send(
                    topic, record.value, record.key, timestamp_ms=record.timestamp, headers=record.headers
                )
                for record in records
            ]
            await asyncio.gather(*sends)
        finally:
            await producer.stop()

    def member(self, topic, group, instance=None, auto_commit=None, session_ms=None):
        settings = {"group_id": group, "auto_offset_reset": "earliest"}
        if instance:
            settings["group_instance_id"] = instance
        if auto_commit is not None:
            settings["enable_auto_commit"] = auto_commit
        if session_ms:
            settings["session_timeout_ms"] = session_ms
        return Member(self, topic, settings)

    def create_topic(self, topic, partitions):
        check_codes(wait(self.admin.create_topics([NewTopic(topic, partitions, 1)])).topic_errors)

    def topics(self):
        return set(wait(self.admin.list_topics()))

    def partitions(self, topic):
        return len(wait(self.admin.describe_topics([topic]))[0]["partitions"])

    def grow(self, topic, partitions):
        wait(self.admin.create_partitions({topic: NewPartitions(partitions)}))

    def delete_topic(self, topic):
        check_codes(wait(self.admin.delete_topics([topic])).topic_error_codes)

    def config(self, topic):
        (response,) = wait(self.admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)]))
        ((code, message, _type, _name, entries),) = response.resources
        if code:
            raise for_code(code)(message)
        return {name: value for name, value, *_ in entries}

    def set_config(self, topic, name, value):
        resource = ConfigResource(ConfigResourceType.TOPIC, topic, {name: value})
        for response in wait(self.admin.alter_configs([resource])):
            for code, message, *_ in response.resources:
                if code:
                    raise for_code(code)(message)

    def groups(self):
        return {group for group, *_ in wait(self.admin.list_consumer_groups())}

    def describe_group(self, group):
        (response,) = wait(self.admin.describe_consumer_groups([group]))
        ((code, _group, state, _type, _protocol, members, *_),) = response.groups
        if code:
            raise for_code(code)(group)
        return state.lower(), len(members)

    def committed(self, group, topic):
        offsets = wait(self.admin.list_consumer_group_offsets(group))
        return {at.partition: offset.offset for at, offset in offsets.items() if at.topic == topic}

    def ends(self, topic):
        return wait(self._ends([TopicPartition(topic, partition) for partition in range(self.partitions(topic))]))

    async def _ends(self, partitions):
        consumer = await self._start(AIOKafkaConsumer)
        try:
            starts, ends = await consumer.beginning_offsets(partitions), await consumer.end_offsets(partitions)
            return {at.partition: (starts[at], ends[at]) for at in partitions}
        finally:
            await consumer.stop()

    def delete_records(self, topic, partition, before):
        wait(self.admin.delete_records({TopicPartition(topic, partition): RecordsToDelete(before)}))


class Member(ConsumerRebalanceListener):
    def __init__(self, client, topic, settings):
        self.topic, self.taken, self.lost = topic, [], []
        self.consumer = wait(self._subscribe(client, settings))

    async def _subscribe(self, client, settings):
        consumer = AIOKafkaConsumer(bootstrap_servers=client.bootstrap, **settings)
        consumer.subscribe([self.topic], listener=self)
        await consumer.start()
        return consumer

    def on_partitions_assigned(self, assigned):
        self.taken.append([partition.partition for partition in assigned])

    def on_partitions_revoked(self, revoked):
        self.lost.append([partition.partition for partition in revoked])

    def poll(self):
        return [
            Seen(record.partition, record.offset, record.key, record.value, list(record.headers), record.timestamp)
            for records in wait(self.consumer.getmany(timeout_ms=50)).values()
            for record in records
        ]

    def assigned(self):
        return {partition.partition for partition in self.consumer.assignment()}

    def commit(self, offsets=None):
        if offsets is not None:
            offsets = {TopicPartition(self.topic, partition): offset for partition, offset in offsets.items()}
        wait(self.consumer.commit(offsets))

    def seek(self, partition, offset):
        self.consumer.seek(TopicPartition(self.topic, partition), offset)

    def seek_to_beginning(self):
        wait(self.consumer.seek_to_beginning())

    def at(self, partition, timestamp_ms):
        at = TopicPartition(self.topic, partition)
        found = wait(self.consumer.offsets_for_times({at: timestamp_ms}))[at]
        return found and found.offset

    def close(self):
        wait(self.consumer.stop())


if __name__ == "__main__":
    sys.exit(main(Client, CANNOT))
