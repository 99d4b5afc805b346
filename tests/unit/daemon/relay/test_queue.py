"""Batches in memory: what goes next, what has gone in part, and what may have to go again."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from carbonquota.daemon.relay.queue import BatchQueue, Outbox, RelayBatch, ResendWindow


def batch(number: int) -> RelayBatch:
    return RelayBatch(b"metric.%02d 1 2\n" % number, 1)


LENGTH = len(batch(0).lines)


def numbers(batches: object) -> list[int]:
    assert hasattr(batches, "__iter__")
    return [int(one.lines[7:9]) for one in batches]


def test_a_peek_takes_nothing_out_and_gives_one_at_least() -> None:
    queue = BatchQueue()
    queue.extend(batch(i) for i in range(5))
    assert numbers(queue.peek(0)) == [0]
    assert numbers(queue.peek(2 * LENGTH + 1)) == [0, 1, 2]
    assert len(queue) == 5


def test_the_size_is_that_of_what_is_in_it() -> None:
    queue = BatchQueue()
    queue.append(batch(0))
    one = queue.size
    assert one > LENGTH
    queue.extend(batch(i) for i in range(9))
    assert queue.size == 10 * one
    queue.drop(7)
    assert (queue.size, numbers(queue)) == (3 * one, [6, 7, 8])
    queue.clear()
    assert (queue.size, len(queue)) == (0, 0)


@given(st.lists(st.integers(0, 40), max_size=60))
def test_law_whatever_is_taken_at_a_time_the_stream_is_the_lines_in_order(portions: list[int]) -> None:
    outbox, stream, finished = Outbox(), b"", []
    outbox.extend(batch(i) for i in range(20))
    for portion in portions:
        if not outbox:
            break
        taken = b"".join(outbox.buffers())[:portion]
        stream += taken
        finished += outbox.advance(len(taken))
    everything = b"".join(batch(i).lines for i in range(20))
    assert everything.startswith(stream)
    assert finished == [batch(i) for i in range(len(stream) // LENGTH)]


def test_a_new_connection_starts_with_what_was_sent_and_at_the_start_of_a_line() -> None:
    outbox = Outbox()
    outbox.extend([batch(2), batch(3)])
    outbox.advance(5)
    outbox.restart([batch(0), batch(1)])
    assert b"".join(outbox.buffers()) == b"".join(batch(i).lines for i in range(4))
    assert [one.again for one in outbox] == [True, True, False, False]


def test_the_window_keeps_what_was_received_only_just_or_not_at_all() -> None:
    window = ResendWindow(seconds=5, max_size=1000)
    window.add(batch(i) for i in range(4))
    window.mark(100.0, received=2 * LENGTH + 3)
    window.mark(104.9, received=3 * LENGTH)
    assert numbers(window) == [0, 1, 2, 3]
    window.mark(105.0, received=3 * LENGTH)
    assert numbers(window) == [2, 3]
    window.mark(109.9, received=3 * LENGTH)
    assert numbers(window) == [3]
    window.mark(500.0, received=3 * LENGTH)
    assert numbers(window) == [3]


def test_the_window_is_bounded() -> None:
    window = ResendWindow(seconds=5, max_size=3 * LENGTH)
    for i in range(10):
        window.add([batch(i)])
    assert numbers(window) == [7, 8, 9]
    window.mark(0.0, received=9 * LENGTH)
    window.mark(5.0, received=9 * LENGTH)
    assert numbers(window) == [9]


def test_a_window_starts_anew_with_each_connection() -> None:
    window = ResendWindow(seconds=5, max_size=1000)
    window.add([batch(0), batch(1)])
    window.mark(0.0, received=2 * LENGTH)
    assert numbers(window.clear()) == [0, 1]
    window.add([batch(2)])
    window.mark(6.0, received=0)
    assert numbers(window) == [2]
    window.mark(12.0, received=LENGTH)
    assert numbers(window) == [2]
    window.mark(17.0, received=LENGTH)
    assert numbers(window) == []
