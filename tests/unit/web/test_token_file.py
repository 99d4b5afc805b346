"""Tokens in a file: found by id, read again when it changes, every mistake told with its line and without the token."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from carbonquota.errors import ConfigError
from carbonquota.web.access import Role
from carbonquota.web.authentication import AuthenticationUnavailable
from carbonquota.web.token_file import TokenFile, append_token, read_token_file
from carbonquota.web.tokens import hash_of, mint
from tests.support.web import ManualClock

DIGEST = "sha256:" + "0" * 64


def test_what_is_appended_is_read(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    made = [
        mint("grafana", Role.OPERATOR, now=1_700_000_000.0),
        mint("team a", Role.CUSTOMER, "acme", now=1_700_000_000.0, lifetime=86_400.0),
    ]
    for _, record in made:
        append_token(str(path), record)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    read = read_token_file(str(path))
    for text, record in made:
        found = read[record.id]
        assert (found.name, found.role, found.subject, found.hash) == (
            record.name, record.role, record.subject, hash_of(text))  # fmt: skip
        assert 0 <= found.expires - record.expires <= 86_400 or found.expires == record.expires
        assert text not in path.read_text()


def test_a_last_line_that_was_not_ended_stays_whole(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    path.write_text(f"0123456789ab admin - never {DIGEST} first")
    append_token(str(path), mint("second", Role.ADMIN, now=0.0)[1])
    assert [one.name for one in read_token_file(str(path)).values()] == ["first", "second"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("cq_0123456789ab_secretsecret", "this line has not six parts"),
        (f"xyz admin - never {DIGEST} a", "the first part is no id of a token, 12 digits from 0 to f"),
        (f"0123456789ab root - never {DIGEST} a", '"root" is no role: these are customer, provider, operator, admin'),
        (f"0123456789ab admin acme never {DIGEST} a", 'the token "a" cannot be: the role admin is of nobody\'s own'),
        (f"0123456789ab customer - never {DIGEST} a", 'the token "a" cannot be: say which customer'),
        (f"0123456789ab admin - soon {DIGEST} a", '"soon" is neither a day such as 2027-01-31 nor "never"'),
        ("0123456789ab admin - never secret a", 'the fifth part is no hash, "sha256:" and 64 digits from 0 to f'),
    ],
)
def test_every_mistake_is_told_without_the_line(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "tokens"
    path.write_text(f"# tokens\n\n{line}\n")
    with pytest.raises(ConfigError) as error:
        read_token_file(str(path))
    (problem,) = error.value.problems
    assert (problem.line, problem.message) == (3, message)
    assert "secretsecret" not in str(error.value)


def test_a_token_that_stands_twice_is_told(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    path.write_text(f"0123456789ab admin - never {DIGEST} a\n" * 2)
    with pytest.raises(ConfigError, match=r":2:1: the token 0123456789ab stands twice"):
        read_token_file(str(path))


def test_a_line_taken_out_revokes_and_a_spoiled_file_takes_no_token(tmp_path: Path) -> None:
    path, clock = tmp_path / "tokens", ManualClock()
    path.write_text(f"0123456789ab admin - never {DIGEST} a\nba9876543210 admin - never {DIGEST} b\n")
    tokens = TokenFile(str(path), clock)
    assert tokens.find("0123456789ab") is not None
    path.write_text(f"ba9876543210 admin - never {DIGEST} b\n")
    clock.now += 1
    assert tokens.find("0123456789ab") is None
    assert tokens.find("ba9876543210") is not None
    path.write_text("what is this\n")
    clock.now += 1
    assert list(tokens.troubles) == [f"{path}:1:1: this line has not six parts"]
    with pytest.raises(AuthenticationUnavailable, match="has not six parts"):
        tokens.find("ba9876543210")
    path.write_text(f"ba9876543210 admin - never {DIGEST} b\n")
    clock.now += 1
    assert not tokens.troubles
    assert tokens.find("ba9876543210") is not None
