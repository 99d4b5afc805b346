"""A batch is its lines, one after another: however the stream is cut, and whatever bytes it holds."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.support.engines import all_namespaces, dropped_by, engine_of
from tests.support.example_counts import examples
from tests.support.model import SlowRule
from tests.support.names import line_fields, split_lines
from tests.support.traffic import MALFORMED_LINES, ODD_LINES, Batch, batches, cut, pools, rule_files

if TYPE_CHECKING:
    from carbonquota import QuotaEngine

LONG = b"a" * 70_000
DEEP = b".".join([b"a"] * 256)
NOISE = st.one_of(
    st.binary(max_size=200),
    st.lists(
        st.one_of(
            st.sampled_from(MALFORMED_LINES + ODD_LINES),
            st.sampled_from(
                [b"a.b 1 1\n", b"a\t1\t1\n", b"a.b  1  1 \n", b" a.b 1 1\n", b"a.b 1 1\r\r\n", b"\0\n", b"\r"]
            ),
            st.sampled_from(
                [DEEP + b" 1 1\n", DEEP[:-1] + b"b 1 1\n", LONG + b" 1 1\n", b"a 1 1" + b"0" * 5000 + b"\n"]
            ),
            st.text("ab.;=~! \t\r\v\f\x1c\u2028\u0085é01", max_size=12).map(lambda text: text.encode() + b" 1 1\n"),
            st.text("ab.;=~! \t\r\v\f\x1c\u2028\u0085é01\n", max_size=12).map(str.encode),
            st.binary(max_size=30).map(lambda noise: b"a.b " + noise + b" 1\n"),
            st.binary(max_size=30).map(lambda noise: b"a.b 1 " + noise + b"\n"),
            st.binary(max_size=30).map(lambda noise: b"a." + noise + b" 1 1\n"),
        ),
        max_size=120,
    ).map(b"".join),
)
# Long batches and short ones are decided in different ways.
BUFFERS = st.builds(bytes.__add__, NOISE, st.sampled_from([b"", b"\n" + b"a.b 1 1\na 2 2\n" * 30]))
TIGHT = [
    SlowRule("/", {"throughput": 40}),
    SlowRule("a", {"metrics": 5, "namespaces": 2}),
    SlowRule("*.*", {"throughput": 9}),
]


def _outcome(engine: QuotaEngine, buffers: list[bytes]) -> tuple[bytes, Counter[object]]:
    """What all buffers together let through, and all their counts."""
    accepted, counts = [], Counter[object]()
    for buffer in buffers:
        result = engine.admit(buffer)
        accepted.append(result.accepted)
        counts.update(points=result.points, dropped=result.dropped, malformed=result.malformed)
        counts.update(dropped_by(result))
    return b"".join(accepted), counts


def _state(engine: QuotaEngine) -> tuple[object, ...]:
    namespaces = all_namespaces(engine)
    return len(engine), {name: engine.usage(name) for name in {"/", *namespaces}}, engine.report()


@given(rule_files, st.data())
def test_any_way_of_cutting_a_stream_gives_the_same_answers_and_counters(
    rules: list[SlowRule], data: st.DataObject
) -> None:
    pool = data.draw(pools)
    lines = [text for batch in data.draw(st.lists(batches(pool), max_size=3)) for text in batch.lines()]
    whole, pieces = engine_of(rules), engine_of(rules)
    first = _outcome(whole, [b"".join(lines)])
    second = _outcome(pieces, cut(lines, data.draw(st.integers(0, 1000), label="cut")))
    assert first == second
    assert _state(whole) == _state(pieces)


@given(rule_files, st.data())
def test_a_batch_equals_its_lines_one_by_one(rules: list[SlowRule], data: st.DataObject) -> None:
    lines = data.draw(pools.flatmap(batches)).lines()
    batched, single = engine_of(rules), engine_of(rules)
    assert _outcome(batched, [b"".join(lines)]) == _outcome(single, lines)
    assert _state(batched) == _state(single)


@given(rule_files, st.data())
def test_a_batch_equals_offers_of_its_names(rules: list[SlowRule], data: st.DataObject) -> None:
    lines = data.draw(pools.flatmap(lambda pool: batches(pool, dirt=False))).lines()
    batched, single = engine_of(rules), engine_of(rules)
    result = batched.admit(b"".join(lines))
    verdicts = [single.offer(text.split()[0]) for text in lines]
    assert result.accepted == b"".join(text for text, verdict in zip(lines, verdicts, strict=True) if verdict)
    assert dropped_by(result) == Counter((v.namespace, v.control) for v in verdicts if not v)
    assert _state(batched) == _state(single)


@given(pools.flatmap(lambda pool: batches(pool, dirt=False)))
def test_a_batch_of_which_nothing_is_dropped_comes_back_as_the_same_object(batch: Batch) -> None:
    buffer = b"\n".join([b"".join(batch.lines()), b"", b" \r\n"])
    result = engine_of([SlowRule("*", {"metrics": 10_000, "throughput": 10_000})]).admit(buffer)
    assert result.accepted is buffer
    assert (result.points, result.dropped, result.malformed) == (batch.length, 0, 0)
    assert not result.drops


@settings(max_examples=examples(300))
@example(b"")
@example(b"\n")
@example(b"a.b 1 1")
@example(b"a.b 1 1\r")
@example(DEEP + b" 1 1\n" + LONG + b" 1 1")
@given(BUFFERS)
def test_hostile_buffers_lose_no_line_and_equal_their_lines(buffer: bytes) -> None:
    batched, single = engine_of(TIGHT), engine_of(TIGHT)
    accepted, counts = _outcome(batched, [buffer])
    lines = split_lines(buffer)
    blank = sum(not text.strip() for text in lines)
    assert counts["points"] + counts["dropped"] + counts["malformed"] + blank == len(lines)
    assert (accepted, counts) == _outcome(single, lines)
    assert _state(batched) == _state(single)


@given(BUFFERS)
def test_a_hostile_line_is_passed_on_as_the_point_that_it_is_or_cut_out(buffer: bytes) -> None:
    engine = engine_of(TIGHT)
    for text in split_lines(buffer):
        result = engine.admit(text)
        if not text.strip() or not result.points:
            assert result.accepted == (b"" if text.strip() else text)
            continue
        assert line_fields(result.accepted) == line_fields(text)
        assert result.accepted.endswith(b"\n") == text.endswith(b"\n")
        # What goes on goes on from there as it is.
        assert engine_of([]).admit(result.accepted).accepted is result.accepted


@given(BUFFERS)
def test_a_hostile_buffer_changes_nothing_for_the_good_lines_around_it(buffer: bytes) -> None:
    bad = [text for text in split_lines(buffer) if engine_of([]).admit(text).malformed]
    good = [b"x.y%d 1 1\n" % (number % 9) for number in range(len(bad) + 1)]
    rules = [SlowRule("x", {"metrics": 5, "throughput": 60})]
    mixed, clean = engine_of(rules), engine_of(rules)
    ended = [text if text.endswith(b"\n") else text + b"\n" for text in bad]
    interleaved = [text for pair in zip(good, [*ended, b""], strict=True) for text in pair]
    result = mixed.admit(b"".join(interleaved))
    assert result.accepted == clean.admit(b"".join(good)).accepted
    assert result.malformed == len(bad)
    assert _state(mixed) == _state(clean)
