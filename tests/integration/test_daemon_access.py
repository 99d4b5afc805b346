"""The real daemon with TLS and tokens, asked by a client that trusts its certificate, and by our own commands."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from carbonquota.web.access import Role
from carbonquota.web.token_file import append_token, remove_token
from carbonquota.web.tokens import mint
from tests.support.certificates import write_certificate
from tests.support.daemon import Daemon, wait_until

ACCESS = '[access]\ntokens-file = "tokens"\nreading = "nowhere"\ntls-certificate = "tls.crt"\ntls-key = "tls.key"\n'


@dataclass(frozen=True, slots=True)
class Guarded:
    """The daemon, and what to ask it with."""

    daemon: Daemon
    url: str
    context: ssl.SSLContext
    tokens: dict[Role, str]
    authority: Path

    def ask(self, path: str, token: str | None = None, method: str = "GET") -> int:
        headers = {"X-Requested-With": "x"} | ({"Authorization": f"Bearer {token}"} if token else {})
        request = urllib.request.Request(self.url + path, headers=headers, method=method)  # noqa: S310 - loopback
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=self.context)
        )
        try:
            with opener.open(request, timeout=20) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            error.close()
            return error.code

    def command(self, **environment: str) -> subprocess.CompletedProcess[str]:
        kept = {name: value for name, value in os.environ.items() if name not in {"SSL_CERT_FILE", "CARBONQUOTA_TOKEN"}}
        return subprocess.run(
            [sys.executable, "-m", "carbonquota.cli", "usage", "--url", self.url],
            capture_output=True, text=True, timeout=30, check=False, env=kept | environment,
        )  # fmt: skip


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    folder = tmp_path_factory.mktemp("access") / "daemon"
    folder.mkdir()
    write_certificate(folder / "tls.crt", folder / "tls.key")
    tokens = {}
    for role in (Role.OPERATOR, Role.ADMIN):
        tokens[role], record = mint(role, role, now=time.time())
        append_token(str(folder / "tokens"), record)
    daemon = Daemon(folder, rules="[team.*]\nmetrics = 10\n", more=ACCESS)
    try:
        host, port = daemon.start(ready=False).address("HTTPS")
        context = ssl.create_default_context(cafile=str(folder / "tls.crt"))
        guarded = Guarded(daemon, f"https://{host}:{port}", context, tokens, folder / "tls.crt")
        wait_until(lambda: guarded.ask("/ready") == 200, lambda: f"not ready: {daemon.log}")
        yield guarded
        assert "Traceback" not in daemon.log, daemon.log
    finally:
        daemon.kill()


def test_it_is_encrypted_and_each_role_may_its_own(guarded: Guarded) -> None:
    assert guarded.ask("/ready") == 200
    assert guarded.ask("/api/quotas") == 401
    assert guarded.ask("/api/quotas", guarded.tokens[Role.OPERATOR]) == 200
    assert guarded.ask("/api/reload", guarded.tokens[Role.OPERATOR], "POST") == 403
    assert guarded.ask("/api/reload", guarded.tokens[Role.ADMIN], "POST") == 200


def test_who_speaks_no_tls_or_nothing_holds_nobody_up(guarded: Guarded) -> None:
    address = ("127.0.0.1", int(guarded.url.rpartition(":")[2]))
    silent = [socket.create_connection(address, timeout=10) for _ in range(20)]
    with socket.create_connection(address, timeout=10) as plain:
        plain.sendall(b"GET /ready HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert b"200 OK" not in plain.recv(1000)
    assert guarded.ask("/ready") == 200
    for one in silent:
        one.close()
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    old.minimum_version = ssl.TLSVersion.TLSv1_2
    with socket.create_connection(address, timeout=10) as raw, old.wrap_socket(raw) as wrapped:
        assert wrapped.version() in {"TLSv1.2", "TLSv1.3"}


def test_our_commands_need_the_authority_and_the_token(guarded: Guarded) -> None:
    trusted = {"SSL_CERT_FILE": str(guarded.authority)}
    good = guarded.command(**trusted, CARBONQUOTA_TOKEN=guarded.tokens[Role.OPERATOR])
    assert good.returncode == 0, good.stderr
    assert "its certificate is not trusted here" in guarded.command().stderr
    assert "this needs a token" in (without := guarded.command(**trusted)).stderr
    assert "(commands take it from CARBONQUOTA_TOKEN)" in without.stderr


def test_a_token_taken_out_of_the_file_is_refused_and_no_log_has_one(guarded: Guarded) -> None:
    token, record = mint("short", Role.ADMIN, now=time.time())
    path = str(guarded.daemon.folder / "tokens")
    append_token(path, record)
    wait_until(lambda: guarded.ask("/api/rules", token) == 200, "a new token is taken")
    assert remove_token(path, record.id)
    wait_until(lambda: guarded.ask("/api/rules", token) == 401, "a token taken back is refused")
    log = guarded.daemon.log
    assert f"there is no token {record.id}" in log
    for secret in (token, *guarded.tokens.values()):
        assert secret[16:] not in log
