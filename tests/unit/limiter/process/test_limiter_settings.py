"""A limiter's file: what it says, what is wrong with it and where, and what is written is what is read."""

from __future__ import annotations

from pathlib import Path

import pytest

from carbonquota.errors import ConfigError
from carbonquota.limiter.identity.routes import Route
from carbonquota.limiter.model import Descriptor, Request
from carbonquota.limiter.process.load import format_settings, read_settings
from carbonquota.limiter.process.parts import LimiterParts
from carbonquota.limiter.process.settings import LimiterSettings

FULL = """
[limiter]
rules = ["limits.yaml", "/etc/more"]
drain = "5s"
[http]
listen = ":80"
denied-status = 403
[identity]
trusted-proxies = ["10.0.0.0/8"]
descriptors = [["client"], ["path.id", "method"]]
original = "x-original"
[store]
url = "valkey://:secret@127.0.0.1:6379"
[[routes]]
name = "user"
path = "/users/{id:int}"
methods = ["get"]
cost = 2
[[routes]]
name = "rest"
"""


def test_a_file_is_read_with_paths_from_its_folder() -> None:
    settings = read_settings(FULL, "/etc/limiter/limiter.toml")
    assert settings.limiter.rules == ("/etc/limiter/limits.yaml", "/etc/more")
    assert (settings.limiter.drain, settings.http.listen.port, settings.http.denied_status) == (5.0, 80, 403)
    assert settings.identity.descriptors == (("client",), ("path.id", "method"))
    assert settings.routes == (Route("user", "/users/{id:int}", frozenset({"GET"}), cost=2), Route("rest"))


def test_what_is_written_is_what_is_read_and_shows_no_password() -> None:
    settings = read_settings(FULL.replace(":secret@", ""), "/etc/l.toml")
    assert read_settings(format_settings(settings), "/etc/l.toml") == settings
    assert "secret" not in format_settings(read_settings(FULL, "/etc/l.toml"))


def test_an_empty_file_is_all_defaults_and_listens_on_this_machine_alone() -> None:
    settings = read_settings("", "")
    assert settings == LimiterSettings()
    assert {one.listen.host for one in (settings.grpc, settings.http, settings.admin)} == {"127.0.0.1"}


def test_with_shadow_nobody_is_refused_also_after_a_reload(tmp_path: Path) -> None:
    rules = tmp_path / "limits.yaml"
    rules.write_text("domain: d\ndescriptors: [{key: a, rate_limit: {unit: day, requests_per_unit: 0}}]\n")
    parts = LimiterParts(read_settings('[limiter]\nrules = "limits.yaml"\nshadow = true\n', str(tmp_path / "l.toml")))
    asked = Request("d", (Descriptor((("a", "x"),)),))
    assert parts.limiter.check(asked).allowed
    rules.write_text(rules.read_text().replace("day", "hour") + "deny: [{a: x}]\n")
    assert parts.rulebook.reload("test").ok
    assert parts.limiter.check(asked).allowed
    assert parts.limiter.counts.rows() == {("d.a", "", ""): (0, 0, 2)}


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (
            "[grcp]\n",
            'l.toml:1:2: unknown section [grcp]\n    [grcp]\n     ^^^^\n  did you mean "grpc"?',
        ),
        (
            "[http]\nlisten = 8080\n",
            (
                "l.toml:2:10: listen: this is text, not the number 8080\n    listen = 8080\n             ^^^^\n"
                '  write it in quotes: "8080"'
            ),
        ),
        (
            '[identity]\ntrusted-proxies = ["10.0.0.1/8"]\n',
            (
                'l.toml:2:19: trusted-proxies: "10.0.0.1/8" is no address and no network such as 10.0.0.0/8\n'
                '    trusted-proxies = ["10.0.0.1/8"]\n'
                "                      ^^^^^^^^^^^^^^\n"
                '  for example ["10.0.0.0/8", "127.0.0.1"]'
            ),
        ),
        (
            '[[routes]]\npath = "/users/{id"\n',
            (
                "l.toml:1:3: the 1. of [[routes]]: it has no name\n    [[routes]]\n      ^^^^^^\n"
                '  for example path = "/users/{id}"'
            ),
        ),
        (
            '[[routes]]\nname = "r"\npath = "users"\n',
            (
                'l.toml:1:3: the 1. of [[routes]]: the path "users" must begin with "/"\n    [[routes]]\n      ^^^^^^\n'
                '  for example path = "/users/{id}"'
            ),
        ),
        (
            '[store]\nurl = "http://x"\n',
            (
                "l.toml:2:7: url: it must begin with valkey://, valkeys://, redis://, rediss://, sentinel:// or cluster://\n"
                '    url = "http://x"\n          ^^^^^^^^^^\n  for example "valkey://127.0.0.1:6379"'
            ),
        ),
    ],
    ids=["section", "kind", "network", "no name", "path", "store"],
)
def test_what_is_wrong_is_told_with_its_place(text: str, error: str) -> None:
    with pytest.raises(ConfigError) as raised:
        read_settings(text, "l.toml")
    assert str(raised.value) == error
