"""`check`: errors in full, findings, JSON and exit codes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

Run = Callable[..., Result]

BAD = "[a\nmetricz=1\n"
BAD_TEXT = """\
bad.conf:1:1: this section header is not finished
    [a
    ^^
  end it with "]"; a comment stands on a line of its own
bad.conf:2:1: unknown key "metricz"
    metricz=1
    ^^^^^^^
  did you mean "metrics"?
bad.conf: 2 errors
"""
NOTE = """\
rules.conf:7:14: Q007 throughput is 0.05 points per second, in intervals of 60 s
    throughput = 3
                 ^
rules.conf: 3 rules, no errors, no warnings, 1 note
"""
DUPLICATE = "[a]\nmetrics = 1\n[a]\nmetrics = 2\n"
DUPLICATE_TEXT = """\
dup.conf:1:2: Q002 this section stands again at line 3, and that one wins
    [a]
     ^
  keep one of the two
dup.conf: 2 rules, no errors, 1 warning
"""


@pytest.fixture(autouse=True)
def more_files(files: Path) -> None:
    (files / "bad.conf").write_text(BAD)
    (files / "dup.conf").write_text(DUPLICATE)
    (files / "good.conf").write_text("[a]\nmetrics = 1\n")


@pytest.mark.parametrize(
    ("arguments", "text", "code"),
    [
        ("good.conf", "good.conf: 1 rule, no errors, no warnings\n", 0),
        ("rules.conf", NOTE, 0),
        ("rules.conf --lint-fatal", NOTE, 0),
        ("rules.conf --interval 2s", NOTE.replace("0.05", "1.5").replace("60 s", "2 s"), 0),
        ("dup.conf", DUPLICATE_TEXT, 0),
        ("dup.conf --lint-fatal", DUPLICATE_TEXT, 3),
        ("bad.conf", BAD_TEXT, 1),
        ("bad.conf dup.conf --lint-fatal", BAD_TEXT + DUPLICATE_TEXT, 1),
        ("--syntax-only good.conf dup.conf", "", 0),
        ("--syntax-only --lint-fatal dup.conf", "", 0),
        ("--syntax-only bad.conf", BAD_TEXT, 1),
        ("nowhere.conf", "nowhere.conf: there is no such file\n", 1),
        (".", ".: this is a directory, not a file\n", 1),
    ],
)
def test_files_are_checked(run: Run, arguments: str, text: str, code: int) -> None:
    result = run("check", *arguments.split())
    assert (result.stdout, result.stderr, result.exit_code) == (text, "", code)


def test_an_index_finds_rules_that_match_nothing(run: Run, files: Path) -> None:
    (files / "new.conf").write_text("[team.*]\nmetrics = 1\n[team.c]\nmetrics = 1\n[*]\nmetrics = 10\n")
    result = run("check", "new.conf", "--index", "names.txt", "--lint-fatal")
    assert result.stdout == (
        "new.conf:3:2: Q006 this rule matches none of the namespaces\n"
        "    [team.c]\n"
        "     ^^^^^^\n"
        "  check its spelling, or take it out\n"
        "new.conf: 3 rules, no errors, 1 warning\n"
    )
    assert result.exit_code == 3


def test_json_has_every_error_and_finding(run: Run) -> None:
    result = run("check", "bad.conf", "dup.conf", "--json")
    bad, dup = json.loads(result.stdout)["files"]
    assert (bad["file"], bad["rules"], bad["findings"]) == ("bad.conf", None, [])
    assert bad["errors"][1] == {
        "line": 2,
        "column": 1,
        "width": 7,
        "text": "metricz=1",
        "message": 'unknown key "metricz"',
        "suggestion": 'did you mean "metrics"?',
    }
    assert (dup["rules"], dup["errors"]) == (2, [])
    assert [(found["code"], found["severity"], found["line"]) for found in dup["findings"]] == [("Q002", "warning", 1)]
    assert result.exit_code == 1
