"""`carbonquota token`: the file is what the daemon reads, and what is secret is shown once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from carbonquota.cli.token import command
from carbonquota.web.token_file import read_token_file
from carbonquota.web.tokens import hash_of


def run(*arguments: str) -> Result:
    return CliRunner().invoke(command, arguments)


def new(path: Path, name: str, *arguments: str) -> str:
    result = run("new", "--file", str(path), "--name", name, *arguments)
    assert result.exit_code == 0, result.output
    return result.output.strip()


def test_a_token_is_made_listed_and_taken_back(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    token = new(path, "grafana", "--role", "operator", "--expires", "never")
    other = new(path, "team a", "--role", "customer", "--of", "acme")
    kept = read_token_file(str(path))
    assert {one.hash for one in kept.values()} == {hash_of(token), hash_of(other)}
    assert token not in path.read_text()
    listed = run("list", "--file", str(path), "--json")
    assert [(one["of"], one["role"], one["name"]) for one in json.loads(listed.output)["tokens"]] == [
        ("-", "operator", "grafana"),
        ("acme", "customer", "team a"),
    ]
    assert hash_of(token) not in listed.output
    assert run("revoke", "--file", str(path), token[3:15]).exit_code == 0
    assert [one.name for one in read_token_file(str(path)).values()] == ["team a"]
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--role", "customer"), 'the token "x" cannot be: say which customer'),
        (("--role", "admin", "--of", "acme"), 'the token "x" cannot be: the role admin is of nobody\'s own'),
        (("--role", "root"), "'root' is not one of"),
        (("--role", "admin", "--expires", "soon"), "'soon' is not a lifetime such as 12h, 90d, 8w, 1y or never"),
        (("--role", "admin", "--expires", "0d"), "'0d' is not a lifetime"),
        (("--role", "customer", "--of", "a b"), "has no blanks"),
    ],
)
def test_what_is_no_token_leaves_the_file_alone(tmp_path: Path, arguments: tuple[str, ...], text: str) -> None:
    path = tmp_path / "tokens"
    result = run("new", "--file", str(path), "--name", "x", *arguments)
    assert result.exit_code != 0
    assert text in f"{result.output} {result.exception}"
    assert not path.exists()


def test_an_unknown_id_is_told(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    new(path, "x", "--role", "admin")
    assert "there is no token abc: `carbonquota token list` has their ids" in str(
        run("revoke", "--file", str(path), "abc").exception
    )
