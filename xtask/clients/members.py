"""Members of groups that work beside the check that watches them: in a thread, or in a process that can be killed."""

import subprocess
import sys
import threading

from checks import SOON_S

# Of a member that dies; the shortest that Kafka grants.
SESSION_MS = 6000


class Working:
    """A member that works in a thread of its own, as in an application: one that waits keeps no other from polling."""

    def __init__(self, client, topic, **settings):
        self._client, self._topic, self._settings = client, topic, settings
        self._stop, self._lock = threading.Event(), threading.Lock()
        self._seen, self._assigned, self._taken, self._lost, self._error = set(), set(), [], [], None
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def _work(self):
        try:
            member = self._client.member(self._topic, self._topic, **self._settings)
            while not self._stop.is_set():
                values = {record.value for record in member.poll()}
                with self._lock:
                    self._seen |= values
                    self._assigned = member.assigned()
                    self._taken, self._lost = list(member.taken), list(member.lost)
            member.close()
        except Exception as error:  # whatever the client raises is said where it is waited for
            self._error = error

    def _get(self, name):
        with self._lock:
            if self._error:
                raise self._error
            return getattr(self, name).copy()

    def seen(self):
        return self._get("_seen")

    def assigned(self):
        return self._get("_assigned")

    def taken(self):
        return self._get("_taken")

    def lost(self):
        return self._get("_lost")

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        self._stop.set()
        self._thread.join(SOON_S)
        if self._error and kind is None:
            raise self._error


class Process:
    """A member in a process of its own, which dies when it is done with."""

    def __init__(self, topic):
        self._process = subprocess.Popen(
            [sys.executable, *sys.argv[:2], "member", topic], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._lock, self._seen, self._assigned = threading.Lock(), set(), set()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self):
        for line in self._process.stdout:
            word, _, rest = line.rstrip("\n").partition(" ")
            with self._lock:
                if word == "assigned":
                    self._assigned = {int(partition) for partition in rest.split()}
                else:
                    self._seen.add(rest.encode())

    def seen(self):
        with self._lock:
            return self._seen.copy()

    def assigned(self):
        with self._lock:
            return self._assigned.copy()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.kill()
        self._process.wait(SOON_S)
        self._thread.join(SOON_S)


def be_a_member(client, topic):
    """Says what it has and what it reads, until it is killed or the process that asked for it has ended."""
    parent = threading.Thread(target=sys.stdin.read, daemon=True)
    parent.start()
    member, said = client.member(topic, topic, session_ms=SESSION_MS), None
    while parent.is_alive():
        for record in member.poll():
            print("seen", record.value.decode())
        if member.assigned() != said:
            said = member.assigned()
            print("assigned", *sorted(said))
        sys.stdout.flush()
    return 0
