"""Storage schemas: retentions in both spellings, sizes, the schema that counts, and every error."""

from __future__ import annotations

from pathlib import Path

import pytest
import whisper
from hypothesis import given
from hypothesis import strategies as st

from carbonquota.errors import ConfigError
from carbonquota.model import Size
from carbonquota.rules import Retention, Schemas


def schemas(retentions: str, pattern: str = ".*") -> Schemas:
    return Schemas.from_text(f"[all]\npattern = {pattern}\nretentions = {retentions}\n")


def errors_of(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        Schemas.from_text(text, "schemas.conf")
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "retentions"),
    [
        ("60:1440", [(60, 1_440)]),
        ("60s:1d", [(60, 1_440)]),
        ("1m:1d", [(60, 1_440)]),
        ("60:1d", [(60, 1_440)]),
        ("1m:1440", [(60, 1_440)]),
        ("1min:1day", [(60, 1_440)]),
        ("1h:1w", [(3_600, 168)]),
        ("1d:1y", [(86_400, 365)]),
        ("7s:1m", [(7, 8)]),
        ("10s:6h, 1m:7d,10m:1y", [(10, 2_160), (60, 10_080), (600, 52_560)]),
        ("5m:1y, 60:1440", [(60, 1_440), (300, 105_120)]),
        ("1:4294967295", [(1, 2**32 - 1)]),
    ],
)
def test_retentions(text: str, retentions: list[tuple[int, int]]) -> None:
    found = schemas(text).schemas[0].retentions
    assert found == tuple(Retention(*pair) for pair in retentions)


@pytest.mark.parametrize("text", ["60:1440", "60s:1d", "1m:1440", "60:1d", "10s:6h", "1h:5y", "1min:2weeks"])
def test_retentions_are_read_as_whisper_reads_them(text: str) -> None:
    retention = schemas(text).schemas[0].retentions[0]
    assert (retention.seconds_per_point, retention.points) == whisper.parseRetentionDef(text)


def test_a_retention_knows_its_duration_and_its_spelling() -> None:
    assert (Retention(60, 1_440).duration, str(Retention(60, 1_440))) == (86_400, "60:1440")


@pytest.mark.parametrize("text", ["1s:5", "60s:1d", "10s:6h,1m:7d,10m:1y"])
def test_the_logical_size_is_that_of_a_real_whisper_file(tmp_path: Path, text: str) -> None:
    found = schemas(text)
    path = tmp_path / "a.wsp"
    whisper.create(str(path), [(r.seconds_per_point, r.points) for r in found.schemas[0].retentions])
    assert found.size_of("a").logical == path.stat().st_size


@pytest.mark.parametrize(
    ("factor", "sparse", "compressed", "size"),
    [
        (1.0, False, "", Size(17_308, 20_480, 1_440)),
        (0.5, False, "", Size(17_308, 20_480, 1_440)),
        (0.5, True, "", Size(17_308, 12_288, 1_440)),
        (0.5, False, "compressed = true", Size(17_308, 12_288, 1_440)),
        (0.5, False, "compressed = false", Size(17_308, 20_480, 1_440)),
        (1e-9, True, "", Size(17_308, 4_096, 1_440)),
        (2.0, True, "", Size(17_308, 36_864, 1_440)),
    ],
)
def test_sizes(factor: float, sparse: bool, compressed: str, size: Size) -> None:
    text = f"[all]\npattern = .*\nretentions = 60:1440\n{compressed}\n"
    assert Schemas.from_text(text, physical_size_factor=factor, sparse=sparse).size_of("a") == size


def test_a_factor_is_taken_as_written() -> None:
    points = (40_960 - 28) // 12
    assert schemas(f"1:{points}").size_of("a").logical == 40_960
    text = f"[a]\npattern = .\nretentions = 1:{points}\n"
    assert Schemas.from_text(text, physical_size_factor=0.1, sparse=True).size_of("a").physical == 4_096


@pytest.mark.parametrize("factor", [0.0, -1.0, float("inf"), float("nan")])
def test_a_factor_is_above_0(factor: float) -> None:
    with pytest.raises(ValueError, match="a physical size factor is above 0"):
        Schemas.from_text("", physical_size_factor=factor)


@pytest.mark.parametrize("found", [Schemas(), Schemas.from_text(""), schemas("60:10", "^x$")])
def test_without_a_schema_a_metric_keeps_172800_points(found: Schemas) -> None:
    assert found.size_of("a.b") == found.default_size == Size(2_073_628, 2_076_672, 172_800)
    assert found.match("a.b") is None


@pytest.mark.parametrize(
    ("metric", "name"),
    [
        ("carbon.agents.x", "carbon"),
        ("a.carbon.x", "rest"),
        ("a.cpu", "cpu"),
        ("cpu.a", "urgent"),
        ("x", "rest"),
        ("p.q", "either"),
        ("a.q", "either"),
    ],
)
def test_the_first_pattern_that_is_found_counts_after_priority(metric: str, name: str) -> None:
    found = Schemas.from_text(
        "[carbon]\npattern = ^carbon\\.\nretentions = 1:1\n"
        "[cpu]\npattern = cpu\nretentions = 1:2\npriority = 5\n"
        "[urgent]\npattern = ^cpu\nretentions = 1:3\npriority = 10\n"
        "[either]\npattern = ^p|q$\nretentions = 1:4\n"
        "[rest]\npattern = .*\nretentions = 1:5\npriority = -1\n"
        "[never]\npattern = .*\nretentions = 1:6\npriority = -1\n"
    )
    schema = found.match(metric)
    assert schema is not None
    assert schema.name == name
    assert found.size_of(metric).data_points == schema.retentions[0].points


PATTERNS = ["^a", r"^a\.b", "^[bc]", "^(a|b)", r"^(.)\.\1", "^.b", "b", "c$", "(a).(b)", "^a.c$", "^(?P<x>b)", ".*"]


@given(
    st.lists(st.sampled_from(PATTERNS), max_size=6),
    st.lists(st.sampled_from("abc"), min_size=1, max_size=4).map(".".join),
)
def test_the_size_is_that_of_the_schema_that_matches(patterns: list[str], metric: str) -> None:
    sections = (f"[{n}]\npattern = {one}\nretentions = 1:{n + 1}\n" for n, one in enumerate(patterns))
    found = Schemas.from_text("".join(sections))
    schema = found.match(metric)
    expected = schema.retentions[0].points if schema else found.default_size.data_points
    assert found.size_of(metric).data_points == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (
            "60",
            (
                'schemas.conf:3:14: "60" is not a retention\n    retentions = 60\n                 ^^\n'
                "  write it as 60s:30d (precision:duration) or 60:43200 (seconds:points)"
            ),
        ),
        (
            "60:1d, 1h:x",
            (
                'schemas.conf:3:21: "1h:x" is not a retention\n'
                "    retentions = 60:1d, 1h:x\n                        ^^^^\n"
                "  write it as 60s:30d (precision:duration) or 60:43200 (seconds:points)"
            ),
        ),
        (
            "60:1440,",
            (
                'schemas.conf:3:22: "" is not a retention\n    retentions = 60:1440,\n                         ^\n'
                "  write it as 60s:30d (precision:duration) or 60:43200 (seconds:points)"
            ),
        ),
        (
            "60s:1q",
            (
                'schemas.conf:3:14: "q" is not a unit of time\n    retentions = 60s:1q\n                 ^^^^^^\n'
                "  units are: s, m, h, d, w, y"
            ),
        ),
        (
            "0:1440",
            (
                'schemas.conf:3:14: "0:1440" keeps no point\n    retentions = 0:1440\n                 ^^^^^^\n'
                "  write it as 60s:30d (precision:duration) or 60:43200 (seconds:points)"
            ),
        ),
        (
            "1h:1m",
            (
                'schemas.conf:3:14: "1h:1m" keeps no point\n    retentions = 1h:1m\n                 ^^^^^\n'
                "  write it as 60s:30d (precision:duration) or 60:43200 (seconds:points)"
            ),
        ),
        (
            "1:4294967296",
            (
                "schemas.conf:3:14: a Whisper file counts seconds and points up to 4,294,967,295\n"
                "    retentions = 1:4294967296\n                 ^^^^^^^^^^^^\n"
                "  write it as 60s:30d (precision:duration) or 60:43200 (seconds:points)"
            ),
        ),
        (
            "",
            (
                "schemas.conf:3:13: there are no retentions\n    retentions =\n                ^\n"
                '  for example "retentions = 60s:30d"'
            ),
        ),
    ],
)
def test_what_is_no_retention(value: str, expected: str) -> None:
    assert errors_of(f"[a]\npattern = .*\n{f'retentions = {value}'.rstrip()}\n") == expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            "pattern = a(b",
            "schemas.conf:3:12: pattern: missing ), unterminated subpattern\n    pattern = a(b\n               ^",
        ),
        (
            "pattern = a\\q[",
            "schemas.conf:3:12: pattern: bad escape \\q\n    pattern = a\\q[\n               ^",
        ),
        (
            "pattern = x[[:alpa:]]",
            "schemas.conf:3:12: pattern: no such class of characters\n    pattern = x[[:alpa:]]\n               ^",
        ),
        (
            "pattern =",
            (
                "schemas.conf:3:10: the pattern is empty\n"
                '    pattern =\n             ^\n  "pattern = .*" matches all metrics'
            ),
        ),
        (
            "priority = high",
            (
                "schemas.conf:3:12: priority: not a whole number\n    priority = high\n               ^^^^\n"
                "  the higher goes first; without one it is 0"
            ),
        ),
        (
            "compressed = yes",
            (
                'schemas.conf:3:14: unknown compressed "yes"\n    compressed = yes\n                 ^^^\n'
                "  values are: true, false"
            ),
        ),
        (
            "migration = treu",
            (
                'schemas.conf:3:13: unknown migration "treu"\n    migration = treu\n                ^^^^\n'
                '  did you mean "true"?'
            ),
        ),
    ],
)
def test_what_a_schema_cannot_hold(line: str, expected: str) -> None:
    assert errors_of(f"[a]\n\n{line}\npattern = .\nretentions = 60:10\n") == expected


def test_all_errors_come_in_one_run_and_in_file_order() -> None:
    assert errors_of("x = 1\n[a]\npattern = (\n[b]\nretentions = 1:0, 60\n") == (
        'schemas.conf:1:1: "x" stands outside of any section\n'
        "    x = 1\n"
        "    ^\n"
        "  put a section such as [*] above it\n"
        "schemas.conf:2:2: this schema has no retentions\n"
        "    [a]\n"
        "     ^\n"
        '  for example "retentions = 60s:30d"\n'
        "schemas.conf:3:11: pattern: missing ), unterminated subpattern\n"
        "    pattern = (\n"
        "              ^\n"
        "schemas.conf:4:2: this schema has no pattern\n"
        "    [b]\n"
        "     ^\n"
        '  "pattern = .*" matches all metrics\n'
        'schemas.conf:5:14: "1:0" keeps no point\n'
        "    retentions = 1:0, 60\n"
        "                 ^^^\n"
        "  write it as 60s:30d (precision:duration) or 60:43200 (seconds:points)\n"
        'schemas.conf:5:19: "60" is not a retention\n'
        "    retentions = 1:0, 60\n"
        "                      ^^\n"
        "  write it as 60s:30d (precision:duration) or 60:43200 (seconds:points)"
    )


def finding(entries: str) -> str:
    """The findings about a schema with these entries beside what each needs."""
    given = {line.partition(" ")[0] for line in entries.splitlines()}
    needed = [f"{key} = {value}" for key, value in {"pattern": ".", "retentions": "60:10"}.items() if key not in given]
    found = Schemas.from_text("\n".join(["[a]", entries, *needed]), "schemas.conf").findings
    return "\n".join(map(str, found))


@pytest.mark.parametrize(
    ("value", "caret", "message", "hint"),
    [
        ("60:10, 1m:20", 21, "60:10 and 1m:20 have the same precision", "keep the longer one"),
        (
            "60:10, 90:20",
            21,
            "90:20 cannot be made from 60:10: its precision is no multiple",
            "make each precision a multiple of the next finer one",
        ),
        (
            "5m:90d, 15m:90d",
            22,
            "15m:90d reaches no further back than 5m:90d, which is finer",
            "make it last longer, or take it out",
        ),
        (
            "60:10, 1h:10",
            21,
            "60:10 has too few points to make one of 1h:10",
            "keep more of the finer points",
        ),
    ],
)
def test_a_schema_that_carbon_passes_over_is_a_warning_in_the_words_of_the_file(
    value: str, caret: int, message: str, hint: str
) -> None:
    marked = " " * (caret - 1) + "^" * (len(value) - caret + 14)
    assert finding(f"retentions = {value}") == (
        f"schemas.conf:2:{caret}: S004 {message}; as carbon does, this schema is passed over\n"
        f"    retentions = {value}\n    {marked}\n  {hint}"
    )
    both = f"[a]\npattern = .\nretentions = {value}\n[b]\npattern = .\nretentions = 1:7\n"
    assert Schemas.from_text(both).size_of("a").data_points == 7


SLOW = "only Python's re reads this pattern (look-around), and this part may take very long"
FAST = "RE2 takes patterns without look-around, back-references and possessive repetitions"


@pytest.mark.parametrize(
    ("entry", "part", "message", "hint"),
    [
        (
            "xFilesFactor = 0.5",
            "xFilesFactor",
            "S003 xFilesFactor has no effect in storage-schemas.conf",
            "it belongs into a section of storage-aggregation.conf",
        ),
        ("priorty = 5", "priorty", 'S006 unknown key "priorty", which has no effect', 'did you mean "priority"?'),
        ("pattern = a(?!b)", "(?!", f"S001 {SLOW}", FAST),
        ("pattern = (?=a)(a+)+$", "(a+)+", f"S001 {SLOW}", FAST),
        (
            "pattern = a\\z",
            "a\\z",
            "S002 this is Go's syntax, as go-carbon reads it; Graphite's own carbon does not",
            None,
        ),
        (
            "pattern = ^a ; the rest",
            "; the rest",
            "S005 this is part of the pattern, and no name has a blank",
            "a comment stands on a line of its own",
        ),
    ],
)
def test_what_looks_wrong_in_a_schema(entry: str, part: str, message: str, hint: str | None) -> None:
    column = entry.index(part)
    lines = [f"schemas.conf:2:{column + 1}: {message}", f"    {entry}", f"    {' ' * column}{'^' * len(part)}"]
    assert finding(entry) == "\n".join([*lines, f"  {hint}"] if hint else lines)


def test_a_pattern_that_re2_reads_is_no_finding_whatever_re_would_need_for_it() -> None:
    assert finding("pattern = (a+)+$") == ""


def test_what_a_pattern_may_mean_in_a_later_python_is_no_matter_now() -> None:
    assert schemas("60:10", "^[[x]a").size_of("[a").data_points == 10


@pytest.mark.parametrize("pattern", ["(" * 5_000 + ")" * 5_000, "a{99999999999}"])
def test_an_expression_too_large_to_compile_is_an_error(pattern: str) -> None:
    with pytest.raises(ConfigError, match="pattern: "):
        schemas("60:10", pattern)


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no such file"):
        Schemas.from_file(tmp_path / "missing.conf")


def test_an_unknown_key_is_an_error_where_what_it_means_is_missing() -> None:
    assert errors_of("[a]\npattern = .\nretention = 60:1\n") == (
        "schemas.conf:1:2: this schema has no retentions\n    [a]\n     ^\n"
        '  for example "retentions = 60s:30d"\n'
        'schemas.conf:3:1: unknown key "retention"\n    retention = 60:1\n    ^^^^^^^^^\n'
        '  did you mean "retentions"?'
    )
