"""Lines are decided in batches; every one is accounted for; and a full sink makes senders wait."""

from __future__ import annotations

import asyncio
import logging

import pytest

from carbonquota.controls import Admission
from carbonquota.daemon.intake import Batching, Intake
from carbonquota.kernel import PointList
from carbonquota.testing import ManualClock
from tests.support.receiving import KeepingSink, run, until
from tests.support.small import engine_under

SEVERAL = "[a]\nthroughput = 2\n[b]\nmetrics = 1\n"
MIXED = (
    b"a.x 1 1\na.x 2 1\na.x 3 1\r\n\nb.x 1 1\nb.y 1 1\nb.z 1 1\n  \nhalf\nc.x one 1\nc.x 1 never\n\x01 1 1\nc.x 1 1\n"
)


class Reader:
    """A connection as the intake sees it."""

    def __init__(self) -> None:
        self.reading = True

    def pause(self) -> None:
        self.reading = False

    def resume(self) -> None:
        self.reading = True


def counts(intake: Intake) -> dict[tuple[str, str], float]:
    """All that the intake counts by stat and label, but for the time."""
    return {(s.stat, s.label): s.value for s in intake.health() if s.stat != "decision_seconds"}


def total(intake: Intake, stat: str) -> float:
    """The sum of one stat over its labels."""
    return sum(value for (name, _), value in counts(intake).items() if name == stat)


def make(rules: str = "", room: int | None = None, batching: Batching | None = None) -> tuple[Intake, KeepingSink]:
    """An intake before a small engine, and its sink."""
    sink = KeepingSink(room)
    intake = Intake(engine_under(rules).admit, sink, batching=batching, clock=ManualClock(5.0))
    sink.on_room = intake.on_room
    return intake, sink


def test_every_line_is_accepted_dropped_or_malformed() -> None:
    async def main() -> None:
        intake, sink = make(SEVERAL)
        intake.put(MIXED)
        intake.flush()
        assert sink.lines == [b"a.x 1 1\n", b"a.x 2 1\n", b"b.x 1 1\n", b"c.x 1 1\n"]
        assert counts(intake) == {
            ("received", ""): 11,
            ("accepted", ""): 4,
            ("dropped", "throughput"): 1,
            ("dropped", "metrics"): 2,
            ("malformed", "fields"): 1,
            ("malformed", "value"): 1,
            ("malformed", "timestamp"): 1,
            ("malformed", "name"): 1,
            ("unread_datagrams", ""): 0,
            ("lost", "internal_error"): 0,
            ("batches", ""): 1,
            ("paused", ""): 0,
        }

    run(main())


def test_lines_of_many_connections_make_one_batch() -> None:
    async def main() -> None:
        intake, sink = make()
        for number in range(1000):
            intake.put(b"a.m%d 1 1\n" % number)
        assert sink.writes == 0
        await until(lambda: sink.writes)
        assert len(sink.lines) == 1000
        assert (sink.writes, counts(intake)["batches", ""]) == (1, 1)
        intake.put(b"a.m0 2 2\n")
        await until(lambda: len(sink.lines) == 1001)

    run(main())


def test_points_are_decided_as_lines_are_and_make_one_batch() -> None:
    async def main() -> None:
        intake, sink = make(SEVERAL)
        intake.put_points(PointList([], [], []))
        intake.put_points(PointList(["a.x", "a.x", "b.x"], [1, 1.5, "2"], [1, 2.5, "3"]))
        intake.put_points(PointList(["a..x", "b.y"], [1, 1], [1, float("nan")]))
        assert sink.writes == 0
        await until(lambda: sink.writes)
        assert sink.lines == [b"a.x 1 1\n", b"a.x 2.5 1.5\n", b"b.x 3 2\n"]
        found = {key: value for key, value in counts(intake).items() if value}
        assert found == {
            ("received", ""): 5,
            ("accepted", ""): 3,
            ("dropped", "throughput"): 1,
            ("malformed", "value"): 1,
            ("batches", ""): 1,
        }

    run(main())


def test_a_bug_in_deciding_costs_no_point_that_is_no_line_either() -> None:
    def admit(_offered: object) -> Admission:
        raise ZeroDivisionError("a bug")

    async def main() -> None:
        sink = KeepingSink()
        intake = Intake(admit, sink, clock=ManualClock())
        intake.put_points(PointList(["a", "b"], [1, 2], [1, 2]))
        intake.flush()
        assert sink.lines == [b"a 1 1\n", b"b 2 2\n"]

    run(main())


def test_many_points_do_not_wait() -> None:
    async def main() -> None:
        intake, sink = make(batching=Batching(size=100, delay=1000))
        intake.put_points(PointList(["a"] * 3, [1] * 3, [1] * 3))
        assert sink.lines == []
        intake.put_points(PointList(["a"], [1], [1]))
        assert len(sink.lines) == 4

    run(main())


def test_a_large_batch_does_not_wait() -> None:
    async def main() -> None:
        intake, sink = make(batching=Batching(size=100, delay=1000))
        intake.put(b"a 1 1\n" * 16)
        assert sink.lines == []
        intake.put(b"a 1 1\n")
        assert len(sink.lines) == 17
        intake.flush()

    run(main())


def test_the_sink_is_not_given_blank_lines_alone_or_nothing() -> None:
    async def main() -> None:
        intake, sink = make("[a]\nthroughput = 1\n")
        for lines in (b"", b"\n \n\r\n", b"half\n", b"a.b 1 1\n", b"a.b 1 1\n"):
            intake.put(lines)
            intake.flush()
        assert (sink.writes, sink.lines) == (1, [b"a.b 1 1\n"])

    run(main())


def test_a_full_sink_makes_readers_wait_and_nothing_is_lost() -> None:
    async def main() -> None:
        intake, sink = make(room=3, batching=Batching(size=1))
        early, late = Reader(), Reader()
        intake.register(early)
        intake.put(b"a 1 1\na 2 2\n")
        assert early.reading
        intake.put(b"a 3 3\n")
        assert (early.reading, intake.paused, counts(intake)["paused", ""]) == (False, True, 1)
        intake.register(late)
        assert not late.reading
        # What had been read already waits, and is not forced on the sink.
        intake.put(b"a 4 4\na 5 5\n")
        assert len(sink.lines) == 3
        intake.unregister(late)
        sink.drain()
        assert (early.reading, late.reading, intake.paused) == (True, False, False)
        assert len(sink.lines) == 5
        assert counts(intake)["received", ""] == 5

    run(main())


def test_what_waited_may_fill_the_sink_anew() -> None:
    async def main() -> None:
        intake, sink = make(room=1, batching=Batching(size=1))
        reader = Reader()
        intake.register(reader)
        for _ in range(3):
            intake.put(b"a 1 1\n")
        sink.drain()
        assert (len(sink.lines), reader.reading) == (3, False)
        sink.drain()
        assert (len(sink.lines), reader.reading) == (3, True)

    run(main())


def test_a_sink_that_was_full_from_the_start_is_given_nothing() -> None:
    async def main() -> None:
        intake, sink = make(room=1)
        sink.waiting = 1
        intake.put(b"a 1 1\n")
        await until(lambda: intake.paused)
        assert sink.lines == []
        sink.drain()
        assert sink.lines == [b"a 1 1\n"]

    run(main())


def test_at_the_end_what_is_gathered_is_decided_even_if_the_sink_is_full() -> None:
    async def main() -> None:
        intake, sink = make(room=1, batching=Batching(size=1))
        intake.put(b"a 1 1\n")
        intake.put(b"a 2 2\n")
        intake.flush()
        assert len(sink.lines) == 2

    run(main())


def test_datagrams_are_thrown_away_while_the_sink_is_full() -> None:
    async def main() -> None:
        intake, sink = make(room=1, batching=Batching(size=1))
        intake.put_datagram(b"a 1 1\n")
        intake.put_datagram(b"a 2 2\n")
        assert counts(intake)["unread_datagrams", ""] == 1
        sink.drain()
        intake.put_datagram(b"a 3 3\n")
        assert sink.lines == [b"a 1 1\n", b"a 3 3\n"]
        assert counts(intake)["received", ""] == 2

    run(main())


def test_a_bug_in_deciding_costs_no_point(caplog: pytest.LogCaptureFixture) -> None:
    def admit(_offered: object) -> Admission:
        raise ZeroDivisionError("a bug")

    async def main() -> None:
        sink = KeepingSink()
        intake = Intake(admit, sink, clock=ManualClock())
        for _ in range(3):
            intake.put(MIXED)
            intake.flush()
        good = [b"a.x 1 1\n", b"a.x 2 1\n", b"a.x 3 1\r\n", b"b.x 1 1\n", b"b.y 1 1\n", b"b.z 1 1\n"]
        assert sink.lines == [*good, b"\x01 1 1\n", b"c.x 1 1\n"] * 3
        found = counts(intake)
        assert found["internal_errors", "decision"] == 3
        assert (found["received", ""], found["accepted", ""], total(intake, "malformed")) == (33, 24, 9)

    run(main())
    bugs = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert [record.message for record in bugs] == ["internal error: decision failed; the daemon goes on"]
    assert "ZeroDivisionError: a bug" in caplog.text


class BrokenSink(KeepingSink):
    """A sink with a bug."""

    def write(self, lines: bytes, points: int) -> None:
        raise ZeroDivisionError("a bug in the sink")


def test_a_bug_in_the_sink_or_in_an_observer_does_not_end_the_intake() -> None:
    def observe(_admission: Admission) -> None:
        raise ZeroDivisionError("a bug in an observer")

    async def main() -> None:
        intake = Intake(engine_under().admit, BrokenSink(), observers=[observe])
        intake.put(b"a 1 1\nhalf\n")
        intake.flush()
        assert counts(intake)["internal_errors", "sink"] == 1
        assert (counts(intake)["accepted", ""], counts(intake)["lost", "internal_error"]) == (1, 1)
        assert counts(intake)["internal_errors", "observer"] == 1

    run(main())


def test_observers_are_shown_what_was_dropped_or_malformed_and_nothing_else() -> None:
    shown: list[Admission] = []

    async def main() -> None:
        engine = engine_under("[a]\nthroughput = 2\n")
        intake = Intake(engine.admit, KeepingSink(), observers=[shown.append])
        for lines in (b"a.b 1 1\n", b"\n", b"a.b 1 1\na.b 1 1\n", b"half\n"):
            intake.put(lines)
            intake.flush()

    run(main())
    assert [(admission.dropped, admission.malformed) for admission in shown] == [(1, 0), (0, 1)]


def test_malformed_things_are_logged_with_sample_and_sender_now_and_then(caplog: pytest.LogCaptureFixture) -> None:
    clock = ManualClock(5.0)

    async def main() -> None:
        intake = Intake(engine_under().admit, KeepingSink(), clock=clock)
        for _ in range(100):
            intake.malformed("length", 1, b"\x00\xff", "[::1]:4711")
            intake.put(b"one of\ntwo of\n" + b"x" * 300 + b"\n")
            intake.flush()
        clock.advance(10)
        intake.malformed("length", 2, b"", "")
        assert (total(intake, "received"), total(intake, "malformed")) == (402, 402)

    run(main())
    assert caplog.messages == [
        "malformed (length): 1 from [::1]:4711, for example b'\\x00\\xff'",
        "malformed (fields): 3, for example b'one of\\n'",
        "malformed (length): 2, for example b'' (and 99 more since the last such line)",
    ]


def test_health_is_consistent_from_another_thread() -> None:
    async def main() -> None:
        intake, _ = make(SEVERAL)
        ended = False

        def look() -> None:
            while not ended:
                found = {(s.stat, s.label): s.value for s in intake.health()}
                rest = sum(value for (stat, _), value in found.items() if stat in ("accepted", "dropped", "malformed"))
                assert found["received", ""] == rest

        looking = asyncio.get_running_loop().run_in_executor(None, look)
        for _ in range(300):
            intake.put(MIXED)
            intake.flush()
            await asyncio.sleep(0)
        ended = True
        await looking
        assert counts(intake)["received", ""] == 3300

    run(main())


def test_each_reason_is_told_with_a_line_of_its_own(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        intake, _ = make()
        intake.put(b"half\nc.x one 1\nc.x 1 never\n")
        intake.flush()

    run(main())
    assert sorted(caplog.messages) == [
        "malformed (fields): 1, for example b'half\\n'",
        "malformed (timestamp): 1, for example b'c.x 1 never\\n'",
        "malformed (value): 1, for example b'c.x one 1\\n'",
    ]
