"""kcat: librdkafka from the shell. What it can't do for a check, creating topics, confluent-kafka does for it."""

import json
import queue
import re
import signal
import subprocess
import sys
import threading
import time

import confluent
from checks import SOON_S, Failed, expect, until
from members import SESSION_MS, Working
from scenarios import Scenarios, Seen, run_scenarios, values

CANNOT = {
    "configs": "it shows no settings",
    "groups": "it is a member of groups, and shows none",
    "offsets": "it shows no group's offsets, and deletes no records",
}


def kcat(bootstrap, *arguments, text=None):
    """Runs it to its end, and returns what it printed."""
    command = ["kcat", "-b", bootstrap, *arguments]
    ended = subprocess.run(command, input=text, capture_output=True, timeout=SOON_S)
    if ended.returncode:
        raise Failed(f"{' '.join(command[3:])}: {ended.stderr.decode()}")
    return ended.stdout.decode()


class Client:
    name = "kcat"
    codecs = ["gzip", "snappy", "lz4", "zstd"]

    def __init__(self, bootstrap):
        self.bootstrap = bootstrap
        self.create_topic = confluent.Client(bootstrap).create_topic

    def produce(self, topic, records, codec=None, idempotent=None):
        arguments = ["-z", codec] if codec else []
        if idempotent:
            arguments += ["-X", "enable.idempotence=true"]
        if records[0].key is None:
            lines = [record.value for record in records]
        else:
            arguments += ["-K", "|"]
            lines = [record.key + b"|" + record.value for record in records]
        kcat(self.bootstrap, "-P", "-t", topic, *arguments, text=b"".join(line + b"\n" for line in lines))

    def member(self, topic, group, assignor=None, instance=None, session_ms=None, dies=False):
        arguments = ["-X", "auto.offset.reset=earliest"]
        if assignor == "cooperative":
            arguments += ["-X", "partition.assignment.strategy=cooperative-sticky"]
        if instance:
            arguments += ["-X", f"group.instance.id={instance}"]
        if session_ms:
            arguments += ["-X", f"session.timeout.ms={session_ms}"]
        return Member(["kcat", "-b", self.bootstrap, *arguments], topic, group, dies)

    def topics(self):
        listed = json.loads(kcat(self.bootstrap, "-L", "-J"))
        return {topic["topic"]: len(topic["partitions"]) for topic in listed["topics"]}


class Member:
    """A process of it, which says on standard error what it is given."""

    REBALANCED = re.compile(r"% Group \S+ rebalanced.*?(assign|revoke)[^:]*: ?(.*)")

    def __init__(self, command, topic, group, dies):
        command = [*command, "-u", "-f", "%p %o %s\n", "-G", group, topic]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.dies, self.records, self.partitions = dies, queue.Queue(), set()
        self.taken, self.lost = [], []
        for read, stream in ((self._read, self.process.stdout), (self._read_rebalances, self.process.stderr)):
            threading.Thread(target=read, args=[stream], daemon=True).start()

    def _read(self, stream):
        for line in stream:
            partition, offset, value = line.removesuffix(b"\n").split(b" ", 2)
            self.records.put(Seen(int(partition), int(offset), None, value, [], None))

    def _read_rebalances(self, stream):
        for line in stream:
            rebalanced = self.REBALANCED.match(line.decode())
            if rebalanced:
                partitions = [int(partition) for partition in re.findall(r"\[(\d+)\]", rebalanced[2])]
                if rebalanced[1] == "assign":
                    self.partitions = self.partitions.union(partitions)
                    self.taken.append(partitions)
                else:
                    self.partitions = self.partitions.difference(partitions)
                    self.lost.append(partitions)

    def poll(self):
        seen = []
        try:
            seen.append(self.records.get(timeout=0.05))
            while True:
                seen.append(self.records.get_nowait())
        except queue.Empty:
            return seen

    def assigned(self):
        return set(self.partitions)

    def close(self):
        self.process.send_signal(signal.SIGKILL if self.dies else signal.SIGTERM)
        self.process.wait(SOON_S)


class KcatScenarios(Scenarios):
    def produce(self):
        """It sets no timestamps, and the same headers for all it sends at once."""
        topic = self.topic("produce")
        headers = ["-H", "trace=1", "-H", "trace=2"]
        kcat(self.client.bootstrap, "-P", "-t", topic, "-K", "|", "-Z", *headers, text=b"a|1\n|2\nc|\n")
        seen = self.json(topic, "-o", "beginning", "-e")
        expect([(r["key"], r["payload"]) for r in seen], [("a", "1"), (None, "2"), ("c", None)], "keys and values")
        expect([r["headers"] for r in seen], [["trace", "1", "trace", "2"]] * 3, "headers")
        age_s = time.time() - seen[0]["ts"] / 1000
        expect((seen[0]["tstype"], abs(age_s) < SOON_S), ("create", True), f"a timestamp {age_s} s ago")

    def json(self, topic, *arguments):
        printed = kcat(self.client.bootstrap, "-C", "-J", "-t", topic, *arguments)
        return [json.loads(line) for line in printed.splitlines()]

    def resume(self):
        topic = self.topic("resume")
        self.create(topic, 1)
        self.client.produce(topic, values(0, 100))

        def read(count):
            arguments = ["-X", "auto.offset.reset=earliest", "-c", str(count), "-f", "%o\n", "-G", topic, topic]
            return [int(line) for line in kcat(self.client.bootstrap, *arguments).splitlines()]

        expect(read(60), list(range(60)), "offsets")
        expect(read(40), list(range(60, 100)), "offsets after a restart")

    def seek(self):
        topic = self.topic("seek")
        self.create(topic, 1)
        self.client.produce(topic, values(0, 50))
        self.client.produce(topic, values(50, 100))
        expect(self.json(topic, "-o", "40", "-c", "1")[0]["offset"], 40, "the offset at 40")
        expect(self.json(topic, "-o", "-10", "-e")[0]["offset"], 90, "the first of the last ten")
        later_ms = self.json(topic, "-o", "50", "-c", "1")[0]["ts"]
        found = self.json(topic, "-o", f"s@{later_ms}", "-c", "1")[0]["offset"]
        expect(found, 50, "the offset of the first record of a time")
        for timestamp, offset in ((later_ms, 50), (-2, 0), (-1, 100)):
            found = kcat(self.client.bootstrap, "-Q", "-t", f"{topic}:0:{timestamp}")
            expect(found.split()[-1], str(offset), f"the offset at {timestamp}")

    def death(self):
        def dying(topic):
            return Working(self.client, topic, session_ms=SESSION_MS, dies=True)

        self._take_over("death", dying, session_ms=SESSION_MS)

    def topics(self):
        """Made by writing to it, and listed."""
        topic = self.topic("topics")
        self.client.produce(topic, values(0, 1))
        until(lambda: self.client.topics().get(topic) == 1, "the topic is listed with one partition")


if __name__ == "__main__":
    sys.exit(run_scenarios(KcatScenarios(Client(sys.argv[1])), CANNOT))
