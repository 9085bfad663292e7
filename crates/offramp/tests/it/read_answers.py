"""Reads COUNT answers from TOPICS as a member of a group, commits, and prints their ids."""

import json
import sys
import time

from confluent_kafka import Consumer

servers, count, *topics = sys.argv[1:]
consumer = Consumer({
    "bootstrap.servers": servers,
    "group.id": "confluent-peer",
    "auto.offset.reset": "earliest",
    "enable.auto.commit": False,
})
consumer.subscribe(topics)
deadline = time.monotonic() + 60
read = 0
while read < int(count):
    if time.monotonic() > deadline:
        sys.exit(f"{read} of {count} answers arrived")
    message = consumer.poll(1.0)
    if message is None:
        continue
    if message.error():
        sys.exit(str(message.error()))
    [row] = json.loads(message.value())
    assert len(row) == 10, row
    print(dict(message.headers())["offramp-id"].decode())
    read += 1
consumer.commit(asynchronous=False)
consumer.close()
