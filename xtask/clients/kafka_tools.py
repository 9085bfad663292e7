"""Kafka's own command line tools, run by class from its jars."""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading

from checks import BASE_MS, SOON_S, Failed, expect, run, until

CANNOT = {
    "idempotence": "all their producers are idempotent unless told otherwise, so every other check is this one",
    "cooperative": "the Java client's, which is checked by itself",
    "static": "the Java client's, which is checked by itself",
}
# Each runs for about a second, in which a second compiler would not pay.
JAVA = ["java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"]
JAVA += ["-cp", os.path.join(os.environ["OFFRAMP_KAFKA_JARS"], "*")]
TOOLS = "org.apache.kafka.tools."
BOOTSTRAP = sys.argv[1]
PARTITIONS = 4
BULK_RECORDS = 100_000
SESSION_MS = 6000


def tool(name, *arguments, text=None, fails=False):
    """Runs a tool to its end, and returns what it printed."""
    command = [*JAVA, TOOLS + name, "--bootstrap-server", BOOTSTRAP, *arguments]
    ended = subprocess.run(command, input=text, capture_output=True, text=True, timeout=SOON_S)
    if bool(ended.returncode) != fails:
        raise Failed(f"{name} {' '.join(arguments)}: {ended.returncode}: {ended.stdout} {ended.stderr}")
    return ended.stdout


def topics(*arguments, **expected):
    return tool("TopicCommand", *arguments, **expected)


def configs(topic, *arguments):
    return tool("ConfigCommand", "--entity-type", "topics", "--entity-name", topic, *arguments)


def groups(*arguments):
    return tool("consumer.group.ConsumerGroupCommand", *arguments)


def topic_of(check, partitions=1):
    topic = f"kafka-tools.{check}"
    topics("--create", "--topic", topic, "--partitions", str(partitions))
    return topic


def send(topic, lines, *arguments):
    tool("ConsoleProducer", "--topic", topic, *arguments, text="".join(f"{line}\n" for line in lines))


def read(topic, count, *arguments):
    arguments = ["--topic", topic, "--max-messages", str(count), "--timeout-ms", str(SOON_S * 1000), *arguments]
    return tool("consumer.ConsoleConsumer", *arguments).splitlines()


def numbers(start, end):
    return [f"value {n}" for n in range(start, end)]


def table(printed):
    """The rows of a tool's output, by its headings."""
    lines = [line.split() for line in printed.splitlines() if line.strip()]
    heading = next((at for at, words in enumerate(lines) if words[0] == "GROUP"), None)
    if heading is None:
        return []
    return [dict(zip(lines[heading], words)) for words in lines[heading + 1 :]]


def produce():
    topic = topic_of("produce")
    properties = ["parse.key=true", "parse.headers=true", "null.marker=NULL"]
    arguments = [argument for property in properties for argument in ("--reader-property", property)]
    send(topic, ["trace:1,trace:2\ta\t1", "trace:3\tb\tNULL"], *arguments)
    shown = ["print.timestamp=true", "print.key=true", "print.headers=true", "print.offset=true"]
    arguments = [argument for property in shown for argument in ("--formatter-property", property)]
    seen = [line.split("\t") for line in read(topic, 2, "--from-beginning", *arguments)]
    expected = [["Offset:0", "trace:1,trace:2", "a", "1"], ["Offset:1", "trace:3", "b", "null"]]
    expect([row[1:] for row in seen], expected, "what came back")
    expect(all(row[0].startswith("CreateTime:") for row in seen), True, "timestamps of the producer")


def compression():
    topic, sent = topic_of("compression"), []
    for codec in ["gzip", "snappy", "lz4", "zstd"]:
        lines = [f"{codec} {n} {'x' * n}" for n in range(200)]
        send(topic, lines, "--compression-codec", codec)
        sent += lines
    expect(read(topic, len(sent), "--from-beginning"), sent, "what came back")


def bulk():
    """The performance tools: all that one sends is received by the other."""
    topic = topic_of("bulk", PARTITIONS)
    arguments = ["--num-records", str(BULK_RECORDS), "--record-size", "1000", "--throughput", "-1"]
    printed = tool("ProducerPerformance", "--topic", topic, *arguments)
    expect(printed.splitlines()[-1].split()[0], str(BULK_RECORDS), "records sent")
    arguments = ["--num-records", str(BULK_RECORDS), "--hide-header", "--timeout", str(SOON_S * 1000)]
    printed = tool("ConsumerPerformance", "--topic", topic, *arguments)
    # Start, end, megabytes, megabytes a second, records.
    expect(int(printed.splitlines()[-1].split(", ")[4]), BULK_RECORDS, "records received")


def resume():
    topic = topic_of("resume")
    send(topic, numbers(0, 100))
    expect(read(topic, 60, "--group", topic, "--from-beginning"), numbers(0, 60), "the first")
    expect(read(topic, 40, "--group", topic), numbers(60, 100), "after a restart")


def seek():
    topic = topic_of("seek")
    for start_ms in (BASE_MS, BASE_MS + 600_000):
        arguments = ["--max-messages", "50", "--message-create-time", str(start_ms)]
        tool("VerifiableProducer", "--topic", topic, *arguments)
    expect(read(topic, 1, "--partition", "0", "--offset", "40"), ["40"], "the value at 40")
    for time, offset in ((str(BASE_MS + 300_000), 50), ("earliest", 0), ("latest", 100)):
        printed = tool("GetOffsetShell", "--topic", topic, "--time", time)
        expect(printed.split(), [f"{topic}:0:{offset}"], f"the offset at {time}")


def rebalance():
    take_over("rebalance", signal.SIGTERM)


def death():
    take_over("death", signal.SIGKILL)


def take_over(check, end):
    """The verifiable producer and two verifiable consumers run together until one ends: all acked values arrive."""
    topic = topic_of(check, PARTITIONS)
    group = ["--topic", topic, "--group-id", topic, "--verbose", "--session-timeout", str(SESSION_MS)]
    producing = ["--topic", topic, "--throughput", "500", "--repeating-keys", "100"]
    with Events("VerifiableConsumer", *group) as first, Events("VerifiableProducer", *producing) as producer:
        until(lambda: len(first.partitions()) == PARTITIONS, "the first has all partitions")
        with Events("VerifiableConsumer", *group) as second:
            both = [first, second]
            until(lambda: all(len(consumer.partitions()) == 2 for consumer in both), "the two share")
            shared = len(second.values("record_data"))
            until(lambda: shared + 500 < len(second.values("record_data")), "the second reads its share")
            second.end(end)
            seen = second.values("record_data")
        until(lambda: len(first.partitions()) == PARTITIONS, "the first has all partitions again")
        producer.end(signal.SIGTERM)
        acked = producer.values("producer_send_success")
        expect(len(producer.values("producer_send_error")), 0, "values that were not acked")

        def missing():
            return set(acked) - set(seen) - set(first.values("record_data"))

        until(lambda: not missing(), lambda: f"{len(missing())} of {len(acked)} acked values are consumed")
        expect(len(acked), len(set(acked)), "acked values, each once")


class Events:
    """A verifiable producer or consumer, which prints what happens as JSON."""

    def __init__(self, name, *arguments):
        command = [*JAVA, TOOLS + name, "--bootstrap-server", BOOTSTRAP, *arguments]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.events = []
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self):
        for line in self.process.stdout:
            if line.startswith("{"):
                try:
                    self.events.append(json.loads(line))
                except ValueError:
                    return  # cut off by its end

    def partitions(self):
        """What the last of its assignments left it with."""
        held = set()
        for event in list(self.events):
            partitions = {partition["partition"] for partition in event.get("partitions", [])}
            if event["name"] == "partitions_assigned":
                held |= partitions
            elif event["name"] == "partitions_revoked":
                held -= partitions
        return held

    def values(self, name):
        return [event["value"] for event in list(self.events) if event["name"] == name]

    def end(self, how):
        self.process.send_signal(how)
        self.process.wait(SOON_S)
        self.thread.join(SOON_S)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.end(signal.SIGKILL)


def check_topics():
    topic = topic_of("topics", 3)
    expect(topic in topics("--list").split(), True, "the topic is listed")
    expect("PartitionCount: 3" in topics("--describe", "--topic", topic), True, "described with 3 partitions")
    topics("--create", "--topic", topic, fails=True)
    topics("--create", "--topic", topic, "--if-not-exists")
    topics("--alter", "--topic", topic, "--partitions", "5")
    until(lambda: "PartitionCount: 5" in topics("--describe", "--topic", topic), "described with 5 partitions")
    topics("--delete", "--topic", topic)
    until(lambda: topic not in topics("--list").split(), "the topic is gone")


def check_configs():
    topic = topic_of("configs")
    configs(topic, "--alter", "--add-config", "retention.ms=7200000,max.message.bytes=100000")
    described = configs(topic, "--describe")
    expect("retention.ms=7200000" in described and "max.message.bytes=100000" in described, True, described)
    configs(topic, "--alter", "--delete-config", "retention.ms")
    described = configs(topic, "--describe")
    expect("retention.ms" in described, False, f"retention.ms is set: {described}")
    expect("retention.ms=604800000" in configs(topic, "--describe", "--all"), True, "the default of retention.ms")
    arguments = ["--entity-type", "brokers", "--entity-name", "1", "--describe", "--all"]
    expect("log.retention.bytes=-1" in tool("ConfigCommand", *arguments), True, "a broker's setting under its name")


def check_groups():
    topic = topic_of("groups", 2)
    consuming = ["--topic", topic, "--group-id", topic]
    with Events("VerifiableConsumer", *consuming) as consumer:
        until(lambda: len(consumer.partitions()) == 2, "the member has its partitions")
        state = table(groups("--describe", "--group", topic, "--state"))
        expect([(row["STATE"], row["#MEMBERS"]) for row in state], [("Stable", "1")], "state of the group at work")
        members = table(groups("--describe", "--group", topic, "--members"))
        expect([row["#PARTITIONS"] for row in members], ["2"], "partitions of the member")
        send(topic, numbers(0, 10))
        until(lambda: any(event["name"] == "offsets_committed" for event in list(consumer.events)), "a commit")
        consumer.end(signal.SIGTERM)
    expect(topic in groups("--list").split(), True, "the group is listed")
    groups("--delete", "--group", topic)
    expect(topic in groups("--list").split(), False, "the group is listed after it was deleted")


def check_offsets():
    topic = topic_of("offsets")
    send(topic, numbers(0, 100))
    read(topic, 70, "--group", topic, "--from-beginning")

    def described():
        rows = table(groups("--describe", "--group", topic))
        return [tuple(row[name] for name in ("CURRENT-OFFSET", "LOG-END-OFFSET", "LAG")) for row in rows]

    expect(described(), [("70", "100", "30")], "offset, end and lag")
    groups("--reset-offsets", "--group", topic, "--topic", topic, "--to-offset", "20", "--execute")
    expect(described(), [("20", "100", "80")], "offset, end and lag after a reset")
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump({"partitions": [{"topic": topic, "partition": 0, "offset": 25}], "version": 1}, file)
        file.flush()
        printed = tool("DeleteRecordsCommand", "--offset-json-file", file.name)
    expect(re.findall(r"low_watermark: (\d+)", printed), ["25"], "the start after the first 25 were deleted")
    expect(read(topic, 75, "--group", topic, "--from-beginning")[0], "value 25", "the first value that is read")
    groups("--delete-offsets", "--group", topic, "--topic", topic)
    expect(described(), [], "offsets after they were deleted")


CHECKS = {
    "produce": produce,
    "compression": compression,
    "bulk": bulk,
    "resume": resume,
    "seek": seek,
    "rebalance": rebalance,
    "death": death,
    "topics": check_topics,
    "configs": check_configs,
    "groups": check_groups,
    "offsets": check_offsets,
}

if __name__ == "__main__":
    sys.exit(run(CHECKS, CANNOT))
