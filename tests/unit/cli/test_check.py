"""`check`: errors in full, findings, JSON and exit codes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from tests.support.disks import compressed_file

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
    assert (bad["file"], bad["kind"], bad["rules"], bad["findings"]) == ("bad.conf", "quotas", None, [])
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


# A daemon's configuration

CONFIGURATION = """\
[whisper]
quotas-file      = "rules.conf"
schemas-file     = "sub/schemas.conf"
aggregation-file = "sub/aggregation.conf"
workers          = 8

[carbonserver]
quota-usage-report-frequency = "2s"
"""


@pytest.fixture
def configuration(files: Path) -> Path:
    (files / "sub").mkdir()
    (files / "sub" / "schemas.conf").write_text("[all]\npattern = .*\nretentions = 60s:1h\n")
    (files / "sub" / "aggregation.conf").write_text("[all]\npattern = .*\n")
    (files / "carbonquota.conf").write_text(CONFIGURATION)
    return files / "carbonquota.conf"


def test_a_configuration_is_checked_with_the_files_it_names_and_by_its_own_interval(
    run: Run, configuration: Path
) -> None:
    result = run("check", "carbonquota.conf", "--lint-fatal", "--interval", "5m")
    assert result.stdout == (
        "carbonquota.conf: keys of go-carbon's own, without meaning here: whisper.workers\n"
        "carbonquota.conf: no errors, no warnings, 1 note\n"
        + NOTE.replace("0.05", "1.5").replace("60 s", "2 s")
        + "sub/schemas.conf: 1 schema, no errors, no warnings\n"
        "sub/aggregation.conf: 1 aggregation, no errors, no warnings\n"
    )
    assert result.exit_code == 0


def test_errors_of_a_configuration_and_of_all_its_files_are_told_in_one_run(run: Run, configuration: Path) -> None:
    configuration.write_text(
        CONFIGURATION.replace("rules.conf", "bad.conf").replace("workers          = 8", "enabled          = 8")
    )
    (configuration.parent / "sub" / "schemas.conf").unlink()
    result = run("check", "--syntax-only", "carbonquota.conf")
    assert result.stdout == (
        "carbonquota.conf:5:20: enabled: this is true or false, not the number 8\n"
        "    enabled          = 8\n"
        "                       ^\n"
        "  write true or false, without quotes\n"
        "carbonquota.conf: 1 error\n" + BAD_TEXT + "sub/schemas.conf: there is no such file\n"
    )
    assert result.exit_code == 1


def test_warnings_of_the_rules_that_a_configuration_names_are_fatal_too(run: Run, configuration: Path) -> None:
    configuration.write_text('[whisper]\nquotas-file = "dup.conf"\nschemas-file = "sub/schemas.conf"\n')
    result = run("check", "--lint-fatal", "carbonquota.conf")
    assert DUPLICATE_TEXT in result.stdout
    assert result.exit_code == 3


def test_json_tells_what_each_file_was_read_as(run: Run, configuration: Path) -> None:
    found = json.loads(run("check", "carbonquota.conf", "good.conf", "--json").stdout)["files"]
    assert [(file["file"], file["kind"], file["rules"], len(file["notes"])) for file in found] == [
        ("carbonquota.conf", "configuration", None, 1),
        ("rules.conf", "quotas", 3, 0),
        ("sub/schemas.conf", "schemas", 1, 0),
        ("sub/aggregation.conf", "aggregation", 1, 0),
        ("good.conf", "quotas", 1, 0),
    ]


def test_rules_of_namespaces_called_as_sections_are_still_rules(run: Run, files: Path) -> None:
    (files / "tricky.conf").write_text("[cache]\nmetrics = 5\n[relay]\nthroughput = max\n")
    assert run("check", "tricky.conf").stdout == "tricky.conf: 2 rules, no errors, no warnings\n"


def test_what_go_carbon_passes_over_is_a_warning(run: Run, configuration: Path) -> None:
    configuration.write_text(CONFIGURATION.replace("workers", "wrokers"))
    result = run("check", "--lint-fatal", "carbonquota.conf")
    assert result.exit_code == 3
    assert result.stdout.startswith(
        'carbonquota.conf:5:1: C001 unknown key "wrokers" in [whisper]\n'
        "    wrokers          = 8\n"
        "    ^^^^^^^\n"
        '  did you mean "workers"?\n'
    )
    assert "carbonquota.conf: no errors, 1 warning" in result.stdout
    assert run("check", "--syntax-only", "carbonquota.conf").stdout == ""


def test_compressed_files_in_the_data_directory_are_told(run: Run, files: Path) -> None:
    (files / "whisper").mkdir()
    (files / "daemon.conf").write_text('[whisper]\ndata-dir = "whisper"\nschemas-file = ""\n')
    before = run("check", "daemon.conf").output
    assert "compressed" not in before
    (files / "whisper/a.wsp").write_bytes(compressed_file())
    told = (
        "whisper/a.wsp: a compressed Whisper file, as go-carbon makes them: such files count with the room they take, "
        "but points for them cannot be written here; have go-carbon write this tree, behind a relay\n"
    )
    assert told in run("check", "daemon.conf").output


@pytest.mark.parametrize(
    ("text", "summary"),
    [
        ("[a]\npattern = .*\nretentions = 60s:1d\n", "1 schema, no errors, no warnings"),
        ("[a]\npattern = .*\nxFilesFactor = 0.5\n", "1 aggregation, no errors, no warnings"),
        ("[a]\npattern = .*\naggregationMethod = sum\n", "1 aggregation, no errors, no warnings"),
        ("[pattern]\nmetrics = 5\n", "1 rule, no errors, no warnings"),
        ("# nothing\n", "0 rules, no errors, no warnings"),
    ],
)
def test_a_file_is_checked_as_what_its_keys_say(run: Run, tmp_path: Path, text: str, summary: str) -> None:
    (tmp_path / "some.conf").write_text(text)
    assert run("check", "some.conf").stdout == f"some.conf: {summary}\n"


def test_an_error_of_a_schemas_file_is_told_as_one(run: Run, tmp_path: Path) -> None:
    (tmp_path / "some.conf").write_text("[a]\npattern = .*\nretentions = 60s\n")
    result = run("check", "some.conf")
    assert result.exit_code == 1
    assert "retention" in result.stdout
    assert "metrics" not in result.stdout


def test_throughput_is_checked_by_the_unit_that_is_in_force(run: Run, tmp_path: Path) -> None:
    (tmp_path / "q.conf").write_text("[a]\nthroughput = 60\n")
    (tmp_path / "c.conf").write_text(
        '[whisper]\nquotas-file = "q.conf"\n[carbonserver]\nthroughput-unit = "minute"\n'
        'quota-usage-report-frequency = "10s"\n'
    )
    assert "Q007 throughput is 1 point per second, in intervals of 10 s" in run("check", "c.conf").stdout
    alone = run("check", "--interval", "10", "--throughput-unit", "minute", "q.conf")
    assert "Q007 throughput is 1 point per second, in intervals of 10 s" in alone.stdout


def test_notes_of_a_kind_are_shown_by_the_first(run: Run, tmp_path: Path) -> None:
    (tmp_path / "q.conf").write_text("".join(f"[a{number}]\nthroughput = 60\n" for number in range(20)))
    result = run("check", "q.conf")
    assert result.stdout.count("Q007 throughput is") == 5
    assert result.stdout.splitlines()[-2:] == [
        "q.conf: and 15 more of Q007, which --json lists",
        "q.conf: 20 rules, no errors, no warnings, 20 notes",
    ]
    assert run("check", "--json", "q.conf").stdout.count("Q007") == 20
