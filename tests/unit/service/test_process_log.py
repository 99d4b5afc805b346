"""The log of a process is bounded by the places that write, whoever they are, and has all that Python would print."""

from __future__ import annotations

import io
import logging
import subprocess
import sys

import pytest

from carbonquota.service.process_log import LineBound
from carbonquota.testing import ManualClock


def logger_under(name: str, bound: LineBound) -> tuple[logging.Logger, io.StringIO]:
    """A logger of its own, and what it writes."""
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.addFilter(bound)
    logger = logging.Logger(name)  # noqa: LOG001 - it must not stay behind
    logger.addHandler(handler)
    return logger, written


def lines_of(name: str, clock: ManualClock, seconds: int) -> list[str]:
    """What one place writes that logs eight lines a second."""
    logger, written = logger_under(name, LineBound(clock, ours=20, others=3, every=10.0))
    for number in range(8 * seconds):
        logger.error("broke: %d", number)
        clock.advance(0.125)
    return written.getvalue().splitlines()


def test_a_place_in_a_library_writes_a_few_lines_an_interval_and_tells_how_many_are_left_out() -> None:
    assert lines_of("asyncio", ManualClock(), 21) == [
        "broke: 0",
        "broke: 1",
        "broke: 2",
        "broke: 80 (and 77 more such lines left out)",
        "broke: 81",
        "broke: 82",
        "broke: 160 (and 77 more such lines left out)",
        "broke: 161",
        "broke: 162",
    ]


def test_our_own_places_may_write_more() -> None:
    lines = lines_of("carbonquota.daemon", ManualClock(), 10)
    assert lines == [f"broke: {number}" for number in range(20)]


def test_places_do_not_silence_each_other() -> None:
    logger, written = logger_under("library", LineBound(ManualClock(), others=1))
    for _ in range(3):
        logger.warning("one")
        logger.warning("another")
    assert written.getvalue().splitlines() == ["one", "another"]


PROGRAM = """
import logging, sys, threading, warnings
from carbonquota.service.process_log import start_log
start_log(sys.argv[1], sys.stderr, with_time=False)
{body}
"""


def logged(body: str, level: str = "debug") -> str:
    """What a process writes on stderr."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(body=body), level], capture_output=True, text=True, timeout=60, check=True
    )
    return done.stderr


def test_debug_is_for_our_own_lines() -> None:
    body = """
logging.getLogger("watchdog.observers").debug("an event")
logging.getLogger("carbonquota.daemon").debug("ours")
logging.getLogger("watchdog.observers").info("told")
"""
    assert logged(body) == "DEBUG ours\nINFO told\n"
    assert logged(body, "warning") == ""


THREADS = """
def work(): raise ValueError("oops")
for _ in range(1000):
    thread = threading.Thread(target=work, name="worker")
    thread.start()
    thread.join()
"""
FINALIZERS = """
class Bad:
    def __del__(self): raise ValueError("oops")
for _ in range(1000): Bad()
"""
WARNINGS = "for number in range(100): warnings.warn(f'oops {number}')"
LIBRARIES = "for _ in range(1000): logging.getLogger('asyncio').error('x', exc_info=ValueError('oops'))"


@pytest.mark.parametrize(
    ("body", "begins"),
    [
        (THREADS, "ERROR the thread worker ended by a bug\nTraceback "),
        (FINALIZERS, "ERROR "),
        (WARNINGS, "WARNING "),
        (LIBRARIES, "ERROR x\n"),
    ],
    ids=["threads", "finalizers", "warnings", "libraries"],
)
def test_what_would_flood_stderr_is_bounded(body: str, begins: str) -> None:
    text = logged(body)
    assert text.startswith(begins)
    assert 1 <= text.count("oops") <= 20
    assert text.count("\n") < 100
