"""Runs named checks and prints a line for each, which `cargo xtask clients` reads.

    ok NAME
    FAIL NAME: why
    - NAME: why this client can't

Every wait ends: `until` has a deadline, and so has each check as a whole.
"""

import signal
import sys
import time
import traceback

# What should happen at once may take this long on a busy machine.
SOON_S = 30
# Longer than the waits of any one check together when nothing is wrong.
CHECK_S = 90

# Where the checks' records begin in time: far enough from today to tell a sent timestamp from a broker's own, near
# enough not to be older than what a broker retains.
BASE_MS = (int(time.time()) - 3600) * 1000


class Failed(Exception):
    """A check found something else than it expected."""


def expect(actual, expected, what):
    if actual != expected:
        raise Failed(f"{what}: {shorten(actual)}, expected {shorten(expected)}")


def shorten(value):
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:200]}…"


def until(condition, what, within_s=SOON_S, pause_s=0.05):
    """Asks again until it is so. `what` may be a function, which says how far it got."""
    deadline = time.monotonic() + within_s
    while True:
        result = condition()
        if result:
            return result
        if deadline < time.monotonic():
            raise Failed(f"not within {within_s} s: {what() if callable(what) else what}")
        time.sleep(pause_s)


def run(checks, cannot):
    """Runs the checks (name to function) in order; `cannot` says of the others why there are none."""
    signal.signal(signal.SIGALRM, _too_long)
    failed = 0
    wanted = sys.argv[2:]
    for name, check in checks.items():
        if wanted and name not in wanted:
            continue
        signal.alarm(CHECK_S)
        try:
            check()
            line = f"ok {name}"
        except Exception as error:  # a check may raise whatever its client does
            traceback.print_exc(file=sys.stderr)
            why = " ".join(str(error).split()) or "no message"
            line = f"FAIL {name}: {type(error).__name__}: {why}"
            failed += 1
        finally:
            signal.alarm(0)
        print(line, flush=True)
    for name, why in cannot.items():
        print(f"- {name}: {why}", flush=True)
    return 1 if failed else 0


def _too_long(_signal, frame):
    where = f"{frame.f_code.co_filename.rsplit('/', 1)[-1]}:{frame.f_lineno}"
    raise Failed(f"still at {where} after {CHECK_S} s")
