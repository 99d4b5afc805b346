"""What a store cannot keep is malformed where it is decided, with a reason, and charged to nobody."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carbonquota.engine import QuotaEngine
from carbonquota.errors import MetricNameError, NoFileError
from carbonquota.kernel import Malformed, parse
from carbonquota.model import Storable, Usage
from carbonquota.rules import RuleSet
from carbonquota.storage.paths import path_of, storable_below
from carbonquota.testing import ManualClock

RULES = "[team]\nmetrics = 3\nnamespaces = 2\nthroughput = 1000\n"
LATEST = 2**32 - 1


def store_engine(storable: Storable | None = None, rules: str = RULES) -> QuotaEngine:
    storable = storable or storable_below("/data")
    return QuotaEngine(RuleSet.from_text(rules), clock=ManualClock(60.0), storable=storable)


TIMES = [
    ("1700000000", None), ("1700000000.5", None), ("1", None), ("1.5", None), ("60", None), ("0060", None),
    ("999999999", None), ("4199999999", None), ("4294967295", None), ("4294967295.5", None), ("1e9", None),
    ("-1", None), ("-1.0", None), ("-1.9", None), ("+1700000000", None), ("1_0", "timestamp"),
    ("0", "time"), ("0.9", "time"), (".5", "time"), ("000", "time"), ("-0", "time"), ("-0.5", "time"), ("-5", "time"),
    ("-2", "time"), ("4294967296", "time"), ("9999999999", "time"), ("99999999999", "time"), ("1e30", "time"),
    ("1700000000000", "milliseconds"), ("1700000000123.5", "milliseconds"), ("100000000000", "milliseconds"),
    ("4294967295999", "milliseconds"), ("4294967296000", "time"), ("1.7e12", "milliseconds"),
    ("1700000000000000", "time"), ("17000000000000000000000", "time"), ("0.99999999999999999999", None),
    ("4294967295.99999999999999", "time"), ("4294967294.99999999999999", None),
    ("1e400", "timestamp"), ("nan", "timestamp"), ("x", "timestamp"),
]  # fmt: skip
"""Timestamps, and why a line with one is malformed."""


@pytest.mark.parametrize(("timestamp", "reason"), TIMES, ids=[timestamp for timestamp, _ in TIMES])
@pytest.mark.parametrize(
    "line", [b"team.a.m 1 %b\n", b"team.a.m\t1\t%b\r\n", b"team.a.m 1 %b"], ids=["", "tabs", "last"]
)
def test_a_timestamp_that_no_file_has_room_for_is_malformed_and_charged_to_nobody(
    timestamp: str, reason: str | None, line: bytes
) -> None:
    engine = store_engine()
    for _ in range(2):
        result = engine.admit(line % timestamp.encode())
        assert result.malformed_by_reason == ({reason: 1} if reason else {})
        assert list(result.malformed_samples) == ([reason] if reason else [])
        assert result.points == (reason is None)
    assert len(engine) == (reason is None)
    if reason is not None:
        assert engine.usage() == Usage()
        # Nor is it for a metric that is known.
        engine.load("team.a.m")
        assert engine.admit(line % timestamp.encode()).malformed == 1
        assert engine.usage("team").throughput == 0


@pytest.mark.parametrize("timestamp", [timestamp for timestamp, reason in TIMES if reason != "timestamp"])
def test_without_a_store_any_finite_time_passes(timestamp: str) -> None:
    engine = QuotaEngine(RuleSet.from_text(RULES))
    assert engine.admit(f"team.a.m 1 {timestamp}\n".encode()).points == 1


@given(
    st.lists(
        st.one_of(
            st.integers(-3, 2**33).map(str),
            st.integers(0, 2**44).map(str),
            st.sampled_from([LATEST, LATEST * 1000, 10**11, 0, 1]).flatmap(
                lambda edge: st.integers(edge - 2, edge + 1001).map(str)
            ),
            st.floats(0, 2**34).map(repr),
            st.text("0123456789.", min_size=1, max_size=30),
        ),
        max_size=30,
    ),
    st.sampled_from([(1, LATEST), (0, LATEST), (500, 10**7), (10**9, 2 * 10**9)]),
)
def test_any_number_is_judged_as_parse_judges_it(timestamps: list[str], times: tuple[int, int]) -> None:
    engine = store_engine(Storable(path_of, earliest=times[0], latest=times[1]))
    lines = [f"a 1 {timestamp}\n".encode() for timestamp in timestamps]
    wrong = [found for line in lines if isinstance(found := parse(line, times), Malformed)]
    result = engine.admit(b"".join(lines))
    assert result.malformed_by_reason == {why.name.lower(): wrong.count(why) for why in set(wrong)}
    assert result.points == len(lines) - len(wrong)


LONG = "x" * 252
NAMES = [
    f"team.{LONG}",
    f"team.{'x' * 256}.m",
    f"team/{'x' * 256}/m",
    f"team.{'ä' * 128}.m",
    "team." + ("x" * 200 + ".") * 16 + "m",
    "_tagged.abc.def.abcdef" + "0" * 58,
]


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_a_name_that_no_file_can_have_is_malformed_and_charged_to_nobody(name: str) -> None:
    engine = store_engine(rules="[/]\nmetrics = 3\n[team]\nmetrics = 3\n")
    result = engine.admit(f"{name} 1 60\nteam.good 1 60\n".encode() * 2)
    assert result.malformed_by_reason == {"no_file": 2}
    assert result.points == 2
    assert result.malformed_samples == {"no_file": f"{name} 1 60\n".encode()}
    for call in (engine.offer, engine.explain):
        with pytest.raises(NoFileError, match="no file can hold"):
            call(name)
    assert engine.usage().metrics == 1
    assert engine.namespaces() == ["team"]


@pytest.mark.parametrize(
    "name", [f"team.{'x' * 251}", f"team.{'x' * 255}.m", f"team;a={LONG}", "_tagged.a.b", "team;path=/var/log"]
)
def test_a_name_that_a_file_can_have_is_taken(name: str) -> None:
    engine = store_engine()
    assert engine.admit(f"{name} 1 60\n".encode()).points == 1
    assert engine.offer(name).accepted


def test_what_is_in_the_index_is_not_asked_for_again() -> None:
    def refuse(metric: str) -> None:
        raise MetricNameError(f"no file for {metric}")

    engine = store_engine(Storable(refuse))
    engine.load("team.a;b=c")
    assert engine.admit(b"team.a;b=c 1 60\nteam.b 1 60\n").malformed_by_reason == {"no_file": 1}
    assert engine.offer("team.a;b=c").accepted
    assert engine.explain("team.a;b=c").verdict.accepted


def test_what_cannot_be_stored_takes_no_part_of_a_limit_on_creates() -> None:
    engine = QuotaEngine(
        RuleSet.from_text(""), clock=ManualClock(60.0), storable=storable_below("/data"), max_creates_per_second=1
    )
    result = engine.admit(f"{LONG} 1 60\na 1 60\n{LONG} 1 60\nb 1 60\n".encode())
    assert (result.malformed_by_reason, result.points, result.dropped) == ({"no_file": 2}, 1, 1)


def test_the_path_of_the_data_directory_counts() -> None:
    name = ".".join(["x" * 100] * 25)
    assert store_engine(storable_below("/data")).offer(name).accepted
    with pytest.raises(NoFileError):
        store_engine(storable_below("/" + "/".join(["d" * 200] * 10))).offer(name)


@pytest.mark.parametrize(
    "arguments", [{"earliest": -1}, {"earliest": 5, "latest": 4}, {"latest": 2**43}, {"doubtful_prefix": "é"},
                  {"doubtful_prefix": "x" * 65}], ids=str
)  # fmt: skip
def test_what_is_out_of_range_is_said(arguments: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"room|ASCII"):
        Storable(path_of, **arguments)  # type: ignore[arg-type]
