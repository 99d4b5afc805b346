"""Patterns for `re` alone: the answers are its own, and none takes longer than the guard lets it."""

from __future__ import annotations

import logging
import os
import re
import resource
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from threading import Thread

import pytest

from carbonquota.rules import Schemas
from carbonquota.rules.expressions import read_expression
from carbonquota.service.patterns import PatternGuard, guard
from carbonquota.service.patterns.worker import search

ENDLESS = r"(?=a)(a+)+$"
NAME = "a" * 36 + "b"
ASIDE = (
    f"pattern = {ENDLESS}: took more than 0.1 s of processor time at the metric '{NAME}' and is set aside: it counts "
    "as found in no metric until the file has another; `carbonquota check` shows its costly part"
)


@pytest.fixture
def searching() -> Iterator[PatternGuard]:
    """A guard that is closed."""
    found = PatternGuard()
    yield found
    found.close()


def unanswered(searching: PatternGuard) -> float:
    """How many names it has passed over."""
    return next(sample.value for sample in searching.health() if sample.stat == "pattern_timeouts")


def answers(searching: PatternGuard, pattern: str, names: list[str]) -> list[bool]:
    """What it says in the end: a machine that is very busy may make it pass over names once or twice."""
    for _ in range(50):
        before = unanswered(searching)
        found = list(searching(re.compile(pattern), names))
        if unanswered(searching) == before:
            return found
        time.sleep(0.2)
    raise AssertionError("no answer in 50 attempts")


@pytest.mark.parametrize("pattern", [r"(?=a)", r"(.)\1", r"^a(?!b)", r"(?i)k(?<=K)", r"(?x) a  b", r"\bµ"])
def test_the_answers_are_those_of_re(searching: PatternGuard, pattern: str) -> None:
    names = ["a", "ab", "aa.b", "K", "µ.a", "\u212a", 'x"\\', "b" * 4000, *(f"n{number}.a" for number in range(5000))]
    expected = [re.search(pattern, name) is not None for name in names]
    assert answers(searching, pattern, names) == expected


def test_a_pattern_that_takes_too_long_is_set_aside_and_no_other(
    searching: PatternGuard, caplog: pytest.LogCaptureFixture
) -> None:
    searching.use([read_expression(ENDLESS), read_expression("(?=a)b")])
    assert answers(searching, ENDLESS, ["aa"]) == [True]
    with caplog.at_level(logging.ERROR):
        for _ in range(50):
            searching(re.compile(ENDLESS), [NAME])
            if searching.troubles:
                break
            # On a busy machine the time runs out first, and comes back.
            time.sleep(0.2)
    assert caplog.messages == [ASIDE]
    assert list(searching.troubles) == [f"pattern = {ENDLESS} took too long and is set aside: mend it and reload"]
    assert list(searching(re.compile(ENDLESS), ["aa"])) == [False]
    assert answers(searching, "(?=a)", ["ab"]) == [True]
    searching.use([read_expression("(?=a)b")])
    assert not searching.troubles
    assert answers(searching, ENDLESS, ["aa"]) == [True]


def test_who_makes_files_gets_an_answer_where_others_have_waited_enough(
    searching: PatternGuard, monkeypatch: pytest.MonkeyPatch
) -> None:
    doubled = re.compile(r"(.)\1")
    assert list(searching.search_for_files(doubled, ["aa", "ab"])) == [True, False]
    monkeypatch.setattr(guard, "_LEAST", 1.0)
    assert list(searching(doubled, ["aa"])) == [False]
    assert unanswered(searching) == 1
    assert list(searching.search_for_files(doubled, ["aa", "ab"])) == [True, False]
    assert list(searching.search_for_files(re.compile(ENDLESS), [NAME, "aa"])) == [False, False]
    assert searching.troubles


def test_while_an_answer_for_a_file_takes_long_others_wait_no_longer_than_ever(
    searching: PatternGuard, monkeypatch: pytest.MonkeyPatch
) -> None:
    doubled = re.compile(r"(.)\1")
    searching.search_for_files(doubled, ["aa"])
    monkeypatch.setattr(guard, "BUDGET", 3.0)
    monkeypatch.setattr(guard, "_TIMEOUT", 0.3)
    slow = Thread(target=searching.search_for_files, args=(re.compile(ENDLESS), [NAME]))
    slow.start()
    while slow.is_alive() and unanswered(searching) == 0:
        searching(doubled, ["aa"])
    assert slow.is_alive()
    slow.join()
    assert searching.troubles


def test_many_names_that_cost_a_little_each_are_bounded_too(searching: PatternGuard) -> None:
    slow = r"(?=a)(a+)+$"
    for number in range(1000):
        searching(re.compile(slow), ["a" * 15 + f"b{number}"] * 50)
        if searching.troubles:
            return
        time.sleep(0.02)
    raise AssertionError("it was never set aside")


def test_an_ordinary_pattern_is_never_set_aside(searching: PatternGuard) -> None:
    pattern = re.compile(r"^servers\.(?!test)[a-z0-9]+\.cpu")
    for _ in range(30):
        searching(pattern, [f"servers.web{number}.cpu.user" for number in range(1000)])
    assert searching.troubles == ()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_without_an_answer_names_are_passed_over_and_the_next_are_answered(
    searching: PatternGuard, number: signal.Signals, caplog: pytest.LogCaptureFixture
) -> None:
    assert answers(searching, "(?=a)", ["a"]) == [True]
    process = searching._helper._process  # noqa: SLF001 - the process that a test ends
    assert process is not None
    os.kill(process.pid, number)
    with caplog.at_level(logging.WARNING):
        assert list(searching(re.compile("(?=a)"), ["a"])) == [False]
    assert caplog.messages == [
        "pattern = (?=a): no answer in 0.6 s, so 1 new metrics follow the next pattern that matches"
    ]
    assert (answers(searching, "(?=a)", ["a"]), searching.troubles) == ([True], ())


def test_a_process_that_cannot_be_begun_is_told(
    searching: PatternGuard, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("sys.executable", "/nowhere/python")
    with caplog.at_level(logging.WARNING):
        searching.use([read_expression("(?=a)")])
        assert list(searching(re.compile("(?=a)"), ["a"])) == [False]
    assert "cannot begin a process to match patterns in: No such file or directory" in caplog.messages


def test_several_threads_have_their_answers(searching: PatternGuard) -> None:
    found: list[bool] = []

    def ask() -> None:
        found.append(all(answers(searching, "(?=a)", ["ab"] * 100) for _ in range(20)))

    threads = [Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 4


def test_schemas_ask_the_guard_only_where_nothing_before_matches(searching: PatternGuard) -> None:
    asked: list[str] = []

    def noted(pattern: re.Pattern[str], names: Sequence[str]) -> Sequence[bool]:
        asked.extend(names)
        return answers(searching, pattern.pattern, list(names))

    patterns = (r"^a\.", r"^b\.([^c])\1?$", ".")
    text = "".join(f"[x]\npattern = {one}\nretentions = 1:{place}\n" for place, one in enumerate(patterns, 1))
    schemas = Schemas.from_text(text, search=noted)
    sizes = schemas.sizes_of(["a.x", "b.x", "b.c", "c.x"])
    assert ([size.data_points for size in sizes], asked) == ([1, 2, 3, 3], ["b.x", "b.c"])


def test_a_process_that_nobody_ends_is_ended_by_the_system(searching: PatternGuard) -> None:
    assert answers(searching, "(?=a)", ["a"]) == [True]
    process = searching._helper._process  # noqa: SLF001 - the process that a test looks at
    assert process is not None
    limits = Path(f"/proc/{process.pid}/limits").read_text()
    line = next(line for line in limits.splitlines() if line.startswith("Max cpu time"))
    assert 2 <= int(line.split()[3]) <= 10


def test_the_process_ends_with_the_one_that_began_it() -> None:
    searching = PatternGuard()
    assert answers(searching, "(?=a)", ["a"]) == [True]
    process = searching._helper._process  # noqa: SLF001 - the process that a test looks at
    assert process is not None
    assert process.stdin is not None
    # As when the other end is killed.
    process.stdin.close()
    assert process.wait(20) == 0
    searching.close()


def test_the_worker_gives_what_it_has_when_its_time_is_used_up() -> None:
    before = signal.signal(signal.SIGPROF, _late)
    limits = resource.getrlimit(resource.RLIMIT_CPU)
    try:
        found, spent = search(ENDLESS, 0, ["aa", "ba", NAME, "aa"], 0.05)
    finally:
        signal.signal(signal.SIGPROF, before)
        resource.setrlimit(resource.RLIMIT_CPU, limits)
    assert found == [True, True]
    # The timer counts by ticks of the system, a whole one for a part of it.
    assert spent > 0.02


def _late(*_: object) -> None:
    from carbonquota.service.patterns import worker  # noqa: PLC0415 - its own exception

    worker._interrupt(0, None)  # noqa: SLF001 - what the program installs


def test_the_limits_leave_room_within_a_second() -> None:
    assert guard._TIMEOUT + guard.BUDGET < 1  # noqa: SLF001 - what docs promise
