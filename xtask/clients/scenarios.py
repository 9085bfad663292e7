"""What every Python client has to do, written once over a small adapter for each.

An adapter's `Client` has

    name, codecs
    produce(topic, records, codec=None, idempotent=None)    returns when all are acknowledged
    member(topic, group, **settings)                        a `Member` that has subscribed
    create_topic(topic, partitions), topics(), partitions(topic), grow(topic, partitions), delete_topic(topic)
    config(topic), set_config(topic, name, value)
    groups(), describe_group(group), delete_group(group)
    committed(group, topic), set_committed(group, topic, offsets)
    ends(topic), delete_records(topic, partition, before)

in which `delete_group` and `set_committed` are None where the client lacks them. Its `Member` has

    poll()                          records that have come within a moment
    assigned()                      the partitions it has
    taken, lost                     partitions that rebalances gave it and took from it, one list per callback
    commit(offsets=None), seek(partition, offset), seek_to_beginning(), at(partition, timestamp_ms)
    close()

Settings of members are `assignor`, `instance` (static membership), `auto_commit` and `session_ms`; without one, the
client's own default stays.
"""

import collections
import sys

from checks import BASE_MS, Failed, expect, run, until
from members import SESSION_MS, Process, Working, be_a_member

Record = collections.namedtuple("Record", "key value headers timestamp", defaults=(None, None, [], None))
Seen = collections.namedtuple("Seen", "partition offset key value headers timestamp")

CHECKS = ["produce", "compression", "idempotence", "bulk", "resume", "seek"]
CHECKS += ["rebalance", "death", "cooperative", "static", "topics", "configs", "groups", "offsets"]

PARTITIONS = 4
BULK_RECORDS = 20_000


def values(start, end):
    return [Record(key=b"key %d" % n, value=b"value %d" % n) for n in range(start, end)]


def main(make_client, cannot):
    """Runs all checks but those that the client can't do, or is the member that another process kills."""
    bootstrap = sys.argv[1]
    if sys.argv[2:3] == ["member"]:
        return be_a_member(make_client(bootstrap), *sys.argv[3:])
    return run_scenarios(Scenarios(make_client(bootstrap)), cannot)


def run_scenarios(scenarios, cannot):
    checks = {name: getattr(scenarios, name) for name in CHECKS if name not in cannot}
    return run(checks, cannot)


class Scenarios:
    def __init__(self, client):
        self.client = client

    def topic(self, check):
        return f"{self.client.name}.{check}"

    def create(self, topic, partitions):
        self.client.create_topic(topic, partitions)
        # Where it is created need not be where it is asked about next.
        until(lambda: topic in self.client.topics(), "the topic is listed")

    def member(self, topic, group=None, **settings):
        return self.client.member(topic, group or topic, **settings)

    def read(self, topic, count, **settings):
        """The first records of a topic, as a member of a group of its own."""
        member = self.member(topic, f"{topic}.reader", **settings)
        try:
            return poll_for(member, count)
        finally:
            member.close()

    def produce(self):
        """Keys, values, headers and timestamps, and their absence, to a topic that is made by writing to it."""
        topic = self.topic("produce")
        sent = [
            Record(
                key="ключ".encode() + b" %d" % n,
                value=bytes([n, 0, 255]) * n,
                headers=[("trace", b"\x00\xff"), ("trace", b"%d" % n), ("empty", b"")],
                timestamp=BASE_MS + 1000 * n,
            )
            for n in range(1, 101)
        ]
        sent.append(Record(key=b"tombstone", value=None, timestamp=BASE_MS))
        sent.append(Record(key=None, value=b"no key", timestamp=BASE_MS))
        self.client.produce(topic, sent)
        seen = [Record(r.key, r.value, r.headers, r.timestamp) for r in self.read(topic, len(sent))]
        expect(seen, sent, "what came back")

    def compression(self):
        for codec in self.client.codecs:
            topic = self.topic(f"compression.{codec}")
            self.create(topic, 1)
            sent = [b"value %d " % n + b"x" * n for n in range(500)]
            self.client.produce(topic, [Record(value=value) for value in sent], codec=codec)
            expect([seen.value for seen in self.read(topic, len(sent))], sent, codec)

    def idempotence(self):
        topic = self.topic("idempotence")
        self.create(topic, 1)
        for start in range(0, 900, 300):
            self.client.produce(topic, values(start, start + 300), idempotent=True)
        seen = self.read(topic, 900)
        expect([r.value for r in seen], [r.value for r in values(0, 900)], "values")
        expect([r.offset for r in seen], list(range(900)), "offsets")

    def bulk(self):
        """More than fits a fetch: every acknowledged record comes back once, in its partition's order."""
        topic = self.topic("bulk")
        self.create(topic, PARTITIONS)
        padding = b"." * 1000
        sent = [b"%d " % n + padding for n in range(BULK_RECORDS)]
        self.client.produce(topic, [Record(key=value[:8], value=value) for value in sent])
        seen = self.read(topic, BULK_RECORDS)
        expect(sorted(r.value for r in seen) == sorted(sent), True, "each value came back once")
        for partition in range(PARTITIONS):
            offsets = [r.offset for r in seen if r.partition == partition]
            expect(offsets == list(range(len(offsets))), True, f"partition {partition} came in order")

    def resume(self):
        """A group goes on where it committed, whether it said so itself or left it to its client."""
        topic = self.topic("resume")
        self.create(topic, 1)
        self.client.produce(topic, values(0, 100))
        first = self.member(topic, auto_commit=False)
        poll_for(first, 100)
        first.commit({0: 60})
        first.close()
        second = self.member(topic)
        seen = poll_for(second, 40)
        expect([r.offset for r in seen], list(range(60, 100)), "offsets after a commit of 60")
        second.close()
        expect(self.client.committed(topic, topic), {0: 100}, "committed on leaving")
        self.client.produce(topic, values(100, 101))
        third = self.member(topic)
        expect(poll_for(third, 1)[0].offset, 100, "the offset after leaving")
        third.close()

    def seek(self):
        topic = self.topic("seek")
        self.create(topic, 1)
        self.client.produce(topic, [Record(value=b"%d" % n, timestamp=BASE_MS + 1000 * n) for n in range(100)])
        member = self.member(topic)
        poll_for(member, 100)
        member.seek(0, 40)
        expect(poll_for(member, 60)[0].offset, 40, "the first offset after a seek to 40")
        found = member.at(0, BASE_MS + 69_500)
        expect(found, 70, "the offset of the first record from 69.5 s on")
        member.seek(0, found)
        expect(poll_for(member, 30)[0].offset, 70, "the first offset after a seek to a time")
        expect(member.at(0, BASE_MS + 100_000) in (None, -1, 100), True, "nothing is after the last record")
        member.seek_to_beginning()
        expect(poll_for(member, 100)[0].offset, 0, "the first offset after a seek to the beginning")
        member.close()

    def rebalance(self):
        """Two members share; one leaves and the other takes over; nothing is lost."""
        self._take_over("rebalance", lambda topic: Working(self.client, topic))

    def death(self):
        """One of two members dies without a word."""
        self._take_over("death", Process, session_ms=SESSION_MS)

    def _take_over(self, check, second_member, **settings):
        topic = self.topic(check)
        self.create(topic, PARTITIONS)
        sent = self._send(topic, 0, 200)
        with Working(self.client, topic, **settings) as first:
            until(lambda: len(first.assigned()) == PARTITIONS, "the first has all partitions")
            with second_member(topic) as second:
                both = [first, second]
                until(lambda: share_evenly(both), lambda: f"the two share: {shares(both)}")
                sent |= self._send(topic, 200, 400)
                until_seen(both, sent)
            sent |= self._send(topic, 400, 600)
            until_seen(both, sent)
            expect(first.assigned(), set(range(PARTITIONS)), "the partitions of the member that stayed")

    def cooperative(self):
        """A member keeps what it keeps while another gets its share."""
        topic = self.topic("cooperative")
        self.create(topic, PARTITIONS)
        with Working(self.client, topic, assignor="cooperative") as first:
            until(lambda: len(first.assigned()) == PARTITIONS, "the first has all partitions")
            with Working(self.client, topic, assignor="cooperative") as second:
                both = [first, second]
                until(lambda: share_evenly(both), lambda: f"the two share: {shares(both)}")
                lost = sorted(sum(first.lost(), []))
                expect(lost, sorted(second.assigned()), "what the first lost is what the second has")
                sent = self._send(topic, 0, 200)
                until_seen(both, sent)
            until(lambda: len(first.assigned()) == PARTITIONS, "the first has all again")
            expect(sorted(sum(first.lost(), [])), lost, "what the first has lost in all")
            sent |= self._send(topic, 200, 300)
            until_seen(both, sent)

    def static(self):
        """A static member that is back within its session has its partitions again, and no one else notices."""
        topic = self.topic("static")
        self.create(topic, PARTITIONS)
        with Working(self.client, topic, instance="first") as first:
            with Working(self.client, topic, instance="second") as second:
                both = [first, second]
                until(lambda: share_evenly(both), lambda: f"the two share: {shares(both)}")
                had, rebalances = second.assigned(), len(first.taken())
            with Working(self.client, topic, instance="second") as second:
                until(second.assigned, "the second has its share again")
                expect(second.assigned(), had, "the partitions of the member that came back")
                until_seen([first, second], self._send(topic, 0, 200))
            expect(len(first.taken()), rebalances, "rebalances of the member that stayed")

    def _send(self, topic, start, end):
        records = values(start, end)
        self.client.produce(topic, records)
        return {record.value for record in records}

    def topics(self):
        client, topic = self.client, self.topic("topics")
        self.create(topic, 3)
        expect(client.partitions(topic), 3, "partitions")
        try:
            client.create_topic(topic, 3)
        except Exception as error:  # each client has its own
            # TopicAlreadyExistsError, TOPIC_ALREADY_EXISTS
            if "exists" not in repr(error).lower():
                raise
        else:
            raise Failed("a topic was created twice")
        client.grow(topic, 5)
        until(lambda: client.partitions(topic) == 5, "the topic has grown to 5 partitions")
        client.delete_topic(topic)
        until(lambda: topic not in client.topics(), "the topic is gone")

    def configs(self):
        client, topic = self.client, self.topic("configs")
        self.create(topic, 1)
        expect(client.config(topic)["retention.ms"], "604800000", "the default of retention.ms")
        client.set_config(topic, "retention.ms", "7200000")
        until(lambda: client.config(topic)["retention.ms"] == "7200000", "retention.ms is what was set")
        expect(client.config(topic)["cleanup.policy"], "delete", "cleanup.policy")

    def groups(self):
        client, topic = self.client, self.topic("groups")
        self.create(topic, 2)
        client.produce(topic, values(0, 10))
        member = self.member(topic)
        poll_for(member, 10)
        expect(topic in client.groups(), True, "the group is listed")
        expect(client.describe_group(topic), ("stable", 1), "state and members of a group at work")
        member.commit()
        member.close()
        until(lambda: client.describe_group(topic) == ("empty", 0), lambda: f"empty: {client.describe_group(topic)}")
        if client.delete_group is None:
            return
        client.delete_group(topic)
        until(lambda: topic not in client.groups(), "the group is gone")

    def offsets(self):
        """Lag from what is committed and what there is; offsets set from outside; records deleted at the start."""
        client, topic = self.client, self.topic("offsets")
        self.create(topic, 1)
        client.produce(topic, values(0, 100))
        member = self.member(topic, auto_commit=False)
        poll_for(member, 100)
        member.commit({0: 70})
        member.close()
        expect(client.ends(topic), {0: (0, 100)}, "where the partition begins and ends")
        expect(client.committed(topic, topic), {0: 70}, "committed, and so a lag of 30")
        if client.set_committed is not None:
            client.set_committed(topic, topic, {0: 20})
            expect(client.committed(topic, topic), {0: 20}, "committed after a reset")
        client.delete_records(topic, 0, 25)
        expect(client.ends(topic), {0: (25, 100)}, "where it begins after the first 25 records were deleted")
        # The group's offset is before the start of the log, or still 70 where it could not be set.
        start = 25 if client.set_committed is not None else 70
        member = self.member(topic)
        expect(poll_for(member, 100 - start)[0].offset, start, "the first offset that is read")
        member.close()


def poll_for(member, count):
    """Exactly `count` records."""
    seen = []

    def enough():
        seen.extend(member.poll())
        return count <= len(seen)

    until(enough, lambda: f"{len(seen)} of {count} records", pause_s=0)
    expect(len(seen), count, "records")
    return seen


def until_seen(members, sent):
    def seen():
        return set().union(*(member.seen() for member in members))

    until(lambda: sent <= seen(), lambda: f"{len(sent & seen())} of {len(sent)} sent are seen")
    expect(seen() - sent, set(), "seen and never sent")


def shares(members):
    return [sorted(member.assigned()) for member in members]


def share_evenly(members):
    return sorted(sum(shares(members), [])) == list(range(PARTITIONS)) and all(
        len(share) == PARTITIONS // len(members) for share in shares(members)
    )
