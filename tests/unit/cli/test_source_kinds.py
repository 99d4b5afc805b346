"""Sources of another kind, given by mistake: one clear error, and none of their lines is a metric."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

RULES = "# each team\n\n[team.*]\nmetrics = 2\n"


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (RULES, "this is a configuration with [sections]"),
        ("[team.*]\r\nmetrics = 2\r\n", "this is a configuration with [sections]"),
        ('["team.a.x", "team.b.y"]\n', "this is JSON"),
        ('[\n  "team.a.x"\n]\n', "this is JSON"),
        ('{"metrics": []}', "this is JSON"),
        ("/team/a/x.wsp\n/team/a/y.wsp\n", "these are paths of Whisper files"),
        ("./team/a/x.wsp", "these are paths of Whisper files"),
        ('"team.a.x"\n"team.a.y"\n', "these names are in quotes"),
        ("'team.a.x'\r\n", "these names are in quotes"),
        ("team.a.x:1|c\n", "these are lines for StatsD"),
        ("team.a.x:3.5|ms|@0.1\n", "these are lines for StatsD"),
        ("name,value,timestamp\nteam.a.x,1,1700000000\n", "this is CSV"),
        ("team.a.x,1.5,1700000000\n", "this is CSV"),
    ],
)
@pytest.mark.parametrize("command", [("usage",), ("dry-run", "--rules", "rules.conf")])
def test_a_source_of_another_kind_is_an_error(
    run: Callable[..., Result], files: object, command: tuple[str, ...], text: str, kind: str
) -> None:
    result = run(*command, "-", stdin=text)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(f"carbonquota: standard input: {kind}")


def test_rules_given_as_the_source_are_an_error(run: Callable[..., Result], files: object) -> None:
    result = run("dry-run", "--rules", "rules.conf", "rules.conf")
    assert result.exit_code == 1
    assert "rules are given with --rules" in result.stderr


@pytest.mark.parametrize(
    "name",
    [
        "team.a[1].x",
        "a.wsp.b",
        "team.a.x 1 1700000000",
        "json.{a}.b",
        'a."b".c',
        "host:80.x",
        "a:b|c",
        "a,b.c",
        "cpu;a=b",
    ],
)
def test_names_that_look_a_little_like_it_are_names(run: Callable[..., Result], name: str) -> None:
    assert run("usage", "-", stdin=f"{name}\n").exit_code == 0


def test_a_command_that_is_mistyped_gets_a_suggestion(run: Callable[..., Result]) -> None:
    assert "did you mean 'dry-run'?" in run("dryrun").stderr
    assert "did you mean 'check'?" in run("lint").stderr
    assert "did you mean '--help'?" in run("help").stderr
    assert "carbonquota init DIRECTORY" in run("run").stderr
    assert "there is nothing in it" in run("explain", "--rules", "r.conf", "").stderr
    assert "--url" in run("usage").stderr
    assert "--url" in run("explain").stderr


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("team.a.x\nteam.a.y 1 1700000000\n", "there is no [section] in it"),
        ('[whisper]\nquotas-file = "q.conf"\n', "this is a daemon's configuration"),
        ("[a]\npattern = .*\nretentions = 60s:1d\n", "this is a storage-schemas.conf"),
        ("[a]\npattern = .*\nxFilesFactor = 0.5\n", "this is a storage-aggregation.conf"),
    ],
)
@pytest.mark.parametrize("command", [("dry-run", "names.txt"), ("explain", "team.a.x")])
def test_what_is_no_rules_file_is_told_as_what_it_is(
    run: Callable[..., Result], files: object, tmp_path: Path, command: tuple[str, ...], text: str, kind: str
) -> None:
    (tmp_path / "other.txt").write_text(text)
    result = run(*command, "--rules", "other.txt")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(f"carbonquota: other.txt: {kind}")
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize("text", ["", "# none yet\n; really\n"])
def test_a_file_without_rules_is_none_of_another_kind(
    run: Callable[..., Result], files: object, tmp_path: Path, text: str
) -> None:
    (tmp_path / "none.conf").write_text(text)
    assert run("dry-run", "--rules", "none.conf", "names.txt").exit_code == 0


def test_a_million_errors_are_told_by_the_first(run: Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("team.a.x\n" * 5_000)
    lines = run("check", "names.txt").stdout.splitlines()
    assert lines[-2:] == ["names.txt: and 4,900 more errors, which --json lists", "names.txt: 5,000 errors"]
    assert len(lines) == 402
