"""A quota file: how it is read, and the full text of everything that can be wrong with it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from carbonquota.errors import ConfigError
from carbonquota.model import MAXIMUM, DroppingPolicy, Limits, Rule
from carbonquota.rules import RuleSet
from carbonquota.rules.files import read_text

EXAMPLE = """
# This control all the namespaces under root
[*]
metrics       =       3,000,000
logical-size  = 250_000_000_000
; max means practically no limit
data-points   =             max
THROUGHPUT    =         maximum
physical-size =
stat-metric-prefix = ".level1."

  [ sys.app.* ]
\tmetrics = "1"
dropping-policy = 'none'
[/]
namespaces=20
dropping-policy=
dropping-policy = new
"""


def errors_of(text: str, source: str = "quotas.conf") -> str:
    with pytest.raises(ConfigError) as caught:
        RuleSet.from_text(text, source)
    return str(caught.value)


def test_sections_keep_their_order_and_their_lines() -> None:
    rules = RuleSet.from_text(EXAMPLE, source="quotas.conf")
    assert rules.source == "quotas.conf"
    assert rules.rules == (
        Rule(
            "*",
            Limits(metrics=3_000_000, logical_size=250_000_000_000, data_points=MAXIMUM, throughput=MAXIMUM),
            stat_prefix="level1.",
            source="quotas.conf",
            line=3,
        ),
        Rule("sys.app.*", Limits(metrics=1), DroppingPolicy.NONE, source="quotas.conf", line=12),
        Rule("/", Limits(namespaces=20), source="quotas.conf", line=15),
    )


@pytest.mark.parametrize("text", ["", "\n\n", "# only a comment\n; and another\n", "\ufeff"])
def test_a_file_without_sections_is_an_empty_rule_set(text: str) -> None:
    assert RuleSet.from_text(text).rules == ()


def test_a_byte_order_mark_and_windows_line_endings_change_nothing(tmp_path: Path) -> None:
    path = tmp_path / "quotas.conf"
    path.write_bytes(b"\xef\xbb\xbf[a]\r\nmetrics = 7\r\n\r\n[b]\r\nstat-metric-prefix = x.\r\n")
    rules = RuleSet.from_file(path)
    assert [(rule.pattern, rule.limits.metrics, rule.stat_prefix, rule.line) for rule in rules.rules] == [
        ("a", 7, "", 1),
        ("b", None, "x.", 4),
    ]
    assert rules.rules[0].source == str(path)


@pytest.mark.parametrize(
    ("value", "limit"),
    [
        ("10", 10),
        ("+10", 10),
        ("0010", 10),
        ("1,000,000", 1_000_000),
        ("1_000", 1_000),
        ("1,,0", 10),
        (str(MAXIMUM), MAXIMUM),
        ("9,223,372,036,854,775,807", MAXIMUM),
        ("max", MAXIMUM),
        ("maximum", MAXIMUM),
        ("", None),
        ("''", None),
        ("\"12'", 12),
        ("\t 12 \t", 12),
    ],
)
def test_limits(value: str, limit: int | None) -> None:
    assert RuleSet.from_text(f"[a]\nmetrics = {value}").rules[0].limits.metrics == limit


@pytest.mark.parametrize(
    ("value", "message", "suggestion"),
    [
        ("0", "metrics: a limit cannot be 0", "leave it empty for no limit, which is what go-carbon reads in it"),
        ("-0", "metrics: a limit cannot be 0", "leave it empty for no limit, which is what go-carbon reads in it"),
        ("-1", "metrics: a limit cannot be negative", "leave it empty for no limit"),
        ("1.5", "metrics: a limit is a whole number", 'did you mean "1" or "2"?'),
        ("0.5", "metrics: a limit is a whole number", 'did you mean "1"?'),
        ("2.0", "metrics: a limit is a whole number", 'did you mean "2"?'),
        ("1e6", "metrics: a limit is a whole number", 'did you mean "1,000,000"?'),
        ("2.5e3", "metrics: a limit is a whole number", 'did you mean "2,500"?'),
        ("10k", "metrics: a limit is a whole number", 'did you mean "10,000"?'),
        ("1.5M", "metrics: a limit is a whole number", 'did you mean "1,500,000"?'),
        ("20 GB", "metrics: a limit is a whole number", 'did you mean "20,000,000,000"?'),
        ("2KiB", "metrics: a limit is a whole number", 'did you mean "2,048"?'),
        ("MAX", "metrics: a limit is a whole number", 'did you mean "max"?'),
        ("unlimited", "metrics: a limit is a whole number", 'did you mean "max"?'),
        ("none", "metrics: a limit is a whole number", "leave it empty for no limit"),
        ("many", "metrics: a limit is a whole number", 'write it as 1000, 1,000 or 1_000; or "max"'),
        ("1e999999", "metrics: a limit is a whole number", 'write it as 1000, 1,000 or 1_000; or "max"'),
        (",", "metrics: a limit is a whole number", 'write it as 1000, 1,000 or 1_000; or "max"'),
        ("\u0661", "metrics: a limit is a whole number", 'write it as 1000, 1,000 or 1_000; or "max"'),
        ("10 # ten", "metrics: a limit is a whole number", "a comment stands on a line of its own"),
        (
            str(MAXIMUM + 1),
            "metrics: a limit is at most 9,223,372,036,854,775,807",
            'write "max" for practically no limit',
        ),
        (
            "9" * 5_000,
            "metrics: a limit is at most 9,223,372,036,854,775,807",
            'write "max" for practically no limit',
        ),
    ],
)
def test_what_is_no_limit(value: str, message: str, suggestion: str) -> None:
    line = f"metrics = {value}"
    caret = " " * 10 + "^" * len(value)
    assert errors_of(f"[a]\n{line}") == f"quotas.conf:2:11: {message}\n    {line}\n    {caret}\n  {suggestion}"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            "logical_size = 1",
            (
                'quotas.conf:2:1: unknown key "logical_size"\n'
                "    logical_size = 1\n    ^^^^^^^^^^^^\n"
                '  did you mean "logical-size"?'
            ),
        ),
        (
            "  Metricz = 1",
            'quotas.conf:2:3: unknown key "metricz"\n      Metricz = 1\n      ^^^^^^^\n  did you mean "metrics"?',
        ),
        (
            "\tfoo = 1",
            (
                'quotas.conf:2:2: unknown key "foo"\n'
                "    \tfoo = 1\n    \t^^^\n"
                "  keys are: namespaces, metrics, logical-size, physical-size, data-points, throughput, "
                "dropping-policy, stat-metric-prefix"
            ),
        ),
        (
            "dropping-policy = nwe",
            (
                'quotas.conf:2:19: unknown dropping-policy "nwe"\n'
                "    dropping-policy = nwe\n                      ^^^\n"
                '  did you mean "new"?'
            ),
        ),
        (
            'dropping-policy = "None"',
            (
                'quotas.conf:2:20: unknown dropping-policy "None"\n'
                '    dropping-policy = "None"\n                       ^^^^\n'
                '  did you mean "none"?'
            ),
        ),
        (
            "dropping-policy = drop-all",
            (
                'quotas.conf:2:19: unknown dropping-policy "drop-all"\n'
                "    dropping-policy = drop-all\n                      ^^^^^^^^\n"
                "  policies are: new, none"
            ),
        ),
        (
            "stat-metric-prefix = a b.",
            (
                "quotas.conf:2:23: stat-metric-prefix: a blank or control character, which no stat name may hold\n"
                "    stat-metric-prefix = a b.\n                          ^\n"
                "  take it out"
            ),
        ),
        (
            "metrics",
            'quotas.conf:2:1: this line has no "="\n    metrics\n    ^^^^^^^\n  write it as "key = value"',
        ),
        (
            " metrics: 10",
            'quotas.conf:2:2: this line has no "="\n     metrics: 10\n     ^^^^^^^^^^^\n  did you mean "metrics = 10"?',
        ),
        (
            "metrics 10",
            'quotas.conf:2:1: this line has no "="\n    metrics 10\n    ^^^^^^^^^^\n  did you mean "metrics = 10"?',
        ),
        (
            " = 10",
            'quotas.conf:2:2: there is no key before the "="\n     = 10\n     ^\n  name the key',
        ),
        (
            "[]",
            'quotas.conf:2:1: this section has no name\n    []\n    ^^\n  the root is "[/]"',
        ),
        (
            " [ ] ",
            'quotas.conf:2:2: this section has no name\n     [ ] \n     ^^^\n  the root is "[/]"',
        ),
        (
            "[a.b",
            (
                "quotas.conf:2:1: this section header is not finished\n"
                "    [a.b\n    ^^^^\n"
                '  end it with "]"; a comment stands on a line of its own'
            ),
        ),
        (
            "[b] # mine",
            (
                "quotas.conf:2:1: this section header is not finished\n"
                "    [b] # mine\n    ^^^^^^^^^^\n"
                '  end it with "]"; a comment stands on a line of its own'
            ),
        ),
    ],
)
def test_what_a_section_cannot_hold(line: str, expected: str) -> None:
    assert errors_of(f"[a]\n{line}\n") == expected


def test_a_key_outside_of_any_section() -> None:
    assert errors_of("# quotas\nmetrics = 5\n[a]\n") == (
        'quotas.conf:2:1: "metrics" stands outside of any section\n'
        "    metrics = 5\n"
        "    ^^^^^^^\n"
        "  put a section such as [*] above it"
    )


def test_all_errors_of_a_file_come_in_one_run_and_in_file_order() -> None:
    text = "a = 1\n[b..c]\nmetricz = 1\n[d\nmetrics = 0\nmetrics = 1\n[e[]\nfoo\nnamespaces = -1\n[ok]\nmetrics = 1\n"
    with pytest.raises(ConfigError) as caught:
        RuleSet.from_text(text, "quotas.conf")
    problems = caught.value.problems
    assert [(problem.line, problem.column) for problem in problems] == [
        (1, 1),
        (2, 3),
        (3, 1),
        (4, 1),
        (5, 11),
        (7, 3),
        (8, 1),
        (9, 14),
    ]
    assert (caught.value.path, caught.value.line, caught.value.column) == ("quotas.conf", 1, 1)


def test_a_bad_value_is_an_error_even_where_a_later_one_counts() -> None:
    assert errors_of("[a]\nmetrics = -1\nmetrics = 5\n").startswith("quotas.conf:2:11: metrics: a limit cannot be")


def test_of_a_key_that_stands_twice_the_later_counts() -> None:
    assert RuleSet.from_text("[a]\nmetrics = 1\nmetrics = 2\n").rules[0].limits.metrics == 2
    assert RuleSet.from_text("[a]\nmetrics = 1\nmetrics =\n").rules[0].limits.metrics is None


def test_no_such_file(tmp_path: Path) -> None:
    path = tmp_path / "missing.conf"
    with pytest.raises(ConfigError) as caught:
        RuleSet.from_file(path)
    assert str(caught.value) == f"{path}: there is no such file"
    assert caught.value.line == 0


def test_a_directory(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        RuleSet.from_file(str(tmp_path))
    assert str(caught.value) == f"{tmp_path}: this is a directory, not a file"


def test_what_is_read_once_may_come_out_of_a_pipe(tmp_path: Path) -> None:
    """As a shell hands over what a command writes: `carbonquota check <(...)`."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with ThreadPoolExecutor(1) as pool:
        written = pool.submit(pipe.write_text, "[a]\nmetrics = 5\n")
        assert RuleSet.from_file(pipe).rules[0].limits.metrics == 5
        written.result()


@pytest.mark.parametrize("device", ["/dev/zero", "/dev/tty", None])
def test_what_is_read_again_and_again_is_a_file_and_waits_for_nobody(tmp_path: Path, device: str | None) -> None:
    path = tmp_path / "rules.conf"
    if device:
        path.symlink_to(device)
    else:
        os.mkfifo(path)
    with pytest.raises(ConfigError, match="cannot be read: "):
        read_text(path, again=True)


def test_the_null_device_is_an_empty_file() -> None:
    assert read_text(os.devnull, again=True) == ""


@pytest.fixture
def secret(tmp_path: Path) -> Iterator[Path]:
    """A file that nobody may read; root, who may, is somebody else meanwhile."""
    path = tmp_path / "secret.conf"
    path.touch(mode=0)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    yield path
    os.seteuid(user)


def test_a_file_that_may_not_be_read(secret: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        RuleSet.from_file(secret)
    assert str(caught.value) == f"{secret}: cannot be read: permission denied"


@pytest.mark.parametrize("name", ["a\0b", "x" * 5_000])
def test_a_path_that_no_file_can_have(name: str) -> None:
    with pytest.raises(ConfigError, match="cannot be read: "):
        RuleSet.from_file(name)


def test_a_file_that_is_not_utf_8(tmp_path: Path) -> None:
    path = tmp_path / "latin.conf"
    path.write_bytes("[ä]\r\nmetrics = 1\r\n# grün\r\n".encode("latin-1").replace(b"\xe4", "ä".encode()))
    with pytest.raises(ConfigError) as caught:
        RuleSet.from_file(path)
    assert str(caught.value) == (
        f"{path}:3:5: the byte 0xfc is not UTF-8\n    # gr\ufffdn\n        ^\n  save the file as UTF-8"
    )
