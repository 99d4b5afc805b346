"""Sources of another kind, given by mistake: one clear error, and none of their lines is a metric."""

from __future__ import annotations

from collections.abc import Callable

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


@pytest.mark.parametrize("name", ["team.a[1].x", "a.wsp.b", "team.a.x 1 1700000000", "json.{a}.b"])
def test_names_that_look_a_little_like_it_are_names(run: Callable[..., Result], name: str) -> None:
    assert run("usage", "-", stdin=f"{name}\n").exit_code == 0


def test_a_command_that_is_mistyped_gets_a_suggestion(run: Callable[..., Result]) -> None:
    assert "did you mean 'dry-run'?" in run("dryrun").stderr
    assert "--url" in run("usage").stderr
    assert "--url" in run("explain").stderr
