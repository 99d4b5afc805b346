"""What a batch came to: what to pass on, who was dropped by which rule, and what was no data point at all."""

from __future__ import annotations

import pytest

from carbonquota import QuotaEngine, RuleSet, Size
from carbonquota.testing import ManualClock

RULES = "[a]\nmetrics = 1\n\n[b]\nthroughput = 2\n\n[c]\nnamespaces = 1\n"
BATCH_SIZES = pytest.mark.parametrize("padding", [0, 200], ids=["short", "long"])
"""A short batch is decided line by line and a long one as columns; what it came to must be the same."""


def engine_under(text: str) -> QuotaEngine:
    """An engine under the rules of a file's text, all metrics of size nothing."""
    return QuotaEngine(RuleSet.from_text(text), size_of=lambda _metric: Size(), clock=ManualClock(0.0))


def padded(lines: list[bytes], padding: int) -> bytes:
    """The lines, and so many good points of a metric without quota behind them."""
    return b"".join(lines) + b"z.free 1 1700000000\n" * padding


@BATCH_SIZES
def test_drops_are_told_by_namespace_and_control_with_their_rule_and_points(padding: int) -> None:
    engine = engine_under(RULES)
    lines = [b"a.%d 1 1\n" % number for number in range(4)] + [b"b.m 1 1\n"] * 5 + [b"c.x.m 1 1\n", b"c.y.m 1 1\n"]
    result = engine.admit(padded(lines, padding))
    kept = [lines[0], *[b"b.m 1 1\n"] * 2, b"c.x.m 1 1\n"]
    assert result.accepted == padded(kept, padding)
    assert (result.points, result.dropped, result.malformed) == (4 + padding, 7, 0)
    rules = engine.rules.rules
    assert {who: (drop.points, drop.rule, drop.samples) for who, drop in result.drops.items()} == {
        ("a", "metrics"): (3, rules[0], ("a.1", "a.2", "a.3")),
        ("b", "throughput"): (3, rules[1], ("b.m",)),
        ("c", "namespaces"): (1, rules[2], ("c.y.m",)),
    }


@BATCH_SIZES
def test_samples_are_the_first_three_metrics_in_normal_form_each_once(padding: int) -> None:
    engine = engine_under(RULES)
    engine.load("a.known")
    names = [b"a..x", b"a.x", b"a.x", b"a.y;t=2;s=1", b"a.y;s=1;t=2", b"a\xc3\xa9".replace(b"a", b"a."), b"a.late"]
    result = engine.admit(padded([name + b"\t1\t1\n" for name in names], padding))
    drop = result.drops["a", "metrics"]
    assert (drop.points, drop.samples) == (7, ("a.x", "a.y;s=1;t=2", "a.é"))


def test_samples_of_a_large_batch_are_of_each_namespaces_first_lines() -> None:
    engine = engine_under("[*]\nmetrics = 1\n")
    names = [f"{letter}.{number}" for number in range(300) for letter in "ebdac"]
    result = engine.admit(b"".join(name.encode() + b" 1 1\n" for name in names))
    assert list(result.drops) == [(letter, "metrics") for letter in "ebdac"]
    for letter in "ebdac":
        drop = result.drops[letter, "metrics"]
        assert (drop.points, drop.samples) == (299, (f"{letter}.1", f"{letter}.2", f"{letter}.3"))
    assert result.dropped_by_control == {"metrics": 5 * 299}


@BATCH_SIZES
def test_malformed_lines_are_cut_out_counted_by_reason_and_the_first_three_shown(padding: int) -> None:
    engine = engine_under(RULES)
    lines = [
        b"z.m 1 1\n", b"z.m 1\n", b"z.m 1 1 1\n", b"z.m x 1\n", b"z.m 1 x\n", b"... 1 1\n", b"z\xff 1 1\n", b"z.m\n",
        b"~/ 1 1\n", b"\n", b"z\x00 1 1\n", b"z.m 1 1\n",
    ]  # fmt: skip
    result = engine.admit(padded(lines, padding))
    assert result.accepted == padded([b"z.m 1 1\n", b"\n", b"z.m 1 1\n"], padding)
    assert (result.points, result.dropped, result.malformed) == (2 + padding, 0, 9)
    assert result.malformed_by_reason == {"fields": 3, "value": 1, "timestamp": 1, "name": 4}
    assert result.malformed_lines == (b"z.m 1\n", b"z.m 1 1 1\n", b"z.m x 1\n")
    assert result.drops == {}


@BATCH_SIZES
def test_a_batch_of_good_lines_and_blank_ones_is_passed_on_as_the_very_object(padding: int) -> None:
    engine = engine_under(RULES)
    for lines in ([b"a.m 1 1\n", b"\n", b" \r\n", b"z.m 1 1\r\n"], [b"a.m 1 1\n", b"\n"], [b"\n"]):
        buffer = padded(lines, padding)
        result = engine.admit(buffer)
        assert result.accepted is buffer
        assert result.points == sum(b"m" in line for line in lines) + padding
        assert (result.dropped, result.malformed, result.drops) == (0, 0, {})
        assert (result.malformed_by_reason, result.malformed_lines) == ({}, ())


@BATCH_SIZES
@pytest.mark.parametrize(
    ("last", "kept"),
    [(b"z.m 1 1", b"z.m 1 1"), (b"a.no 1 1", b""), (b"z.m 1", b""), (b" ", b" "), (b"z.m 1 1\r", b"z.m 1 1\r")],
)
def test_a_last_line_without_its_end_counts_as_one(padding: int, last: bytes, kept: bytes) -> None:
    engine = engine_under(RULES)
    result = engine.admit(padded([b"a.m 1 1\n", b"a.dropped 1 1\n"], padding) + last)
    assert result.accepted == padded([b"a.m 1 1\n"], padding) + kept
    blank = last == b" "
    assert result.points + result.dropped + result.malformed == 3 + padding - blank


@BATCH_SIZES
def test_nothing_is_left_of_a_batch_that_is_dropped_whole(padding: int) -> None:
    engine = engine_under("[/]\nmetrics = 1\n")
    engine.load("known")
    result = engine.admit(padded([b"a.m 1 1\n", b"a.n 1 1\n"], padding))
    assert (result.accepted, result.points, result.dropped) == (b"", 0, 2 + padding)
    assert result.drops["/", "metrics"].points == 2 + padding


def test_an_empty_batch_is_answered_with_nothing() -> None:
    result = engine_under(RULES).admit(b"")
    assert (result.accepted, result.points, result.dropped, result.malformed) == (b"", 0, 0, 0)
    assert (result.drops, result.malformed_by_reason, result.malformed_lines) == ({}, {}, ())


@BATCH_SIZES
def test_an_answer_stays_what_it_was_though_rules_and_metrics_change(padding: int) -> None:
    engine = engine_under(RULES)
    result = engine.admit(padded([b"a.m 1 1\n", b"a.n 1 1\n", b"b.m 1 1\n"] + [b"b.n 1 1\n"] * 2, padding))
    rules = engine.rules.rules
    engine.report()
    for name in ("a.m", "b.m", "b.n"):
        engine.forget(name)
    engine.apply(RuleSet.from_text("[c]\nmetrics = 3\n[d]\nmetrics = 4\n"))
    engine.report()
    engine.admit(b"c.m 1 1\nd.m 1 1\n")
    assert {who: (drop.points, drop.rule) for who, drop in result.drops.items()} == {
        ("a", "metrics"): (1, rules[0]),
        ("b", "throughput"): (1, rules[1]),
    }


def test_an_answer_shows_its_counts() -> None:
    result = engine_under(RULES).admit(b"a.m 1 1\na.n 1 1\nwhat\n")
    assert repr(result) == "<Admission points=1 dropped=1 malformed=1>"
