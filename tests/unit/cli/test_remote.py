"""`usage --url` and `explain --url`: a live daemon shown as sources are, and one clear line where there is none."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from carbonquota import QuotaEngine
from carbonquota.cli.remote import as_value
from carbonquota.daemon.http import make_app
from carbonquota.service.documents import RuleDocument
from tests.support.http import NAMES, RULES, engine_with_names, serving, source_of

Run = Callable[..., Result]

NO_DAEMON = "does not answer as a carbonquota daemon does: give the URL of its [carbonserver] listen"


@pytest.fixture(scope="module")
def engine() -> QuotaEngine:
    return engine_with_names()


@pytest.fixture(scope="module")
def url(engine: QuotaEngine) -> Iterator[str]:
    with serving(make_app(source_of(engine))) as url:
        yield url


@pytest.fixture(autouse=True)
def proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that there is not: whoever asks it fails."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)


def test_usage_is_that_of_the_daemon(run: Run, url: str) -> None:
    result = run("usage", "--url", url, "--depth", "1")
    assert (result.stderr, result.exit_code) == ("", 0)
    assert result.stdout == (
        "namespace  metrics  namespaces  data-points  logical-size  physical-size\n"
        "/                7           3           21            70         28,672\n"
        "  team           5           2           15            50         20,480\n"
        "  cpu            1           0            3            10          4,096\n"
        "  other          1           0            3            10          4,096\n"
    )


def test_usage_takes_namespaces_and_a_url_with_a_slash(run: Run, url: str) -> None:
    result = run("usage", "--url", url + "/", "--top", "1", "--sort", "data-points", "team", "team.b")
    assert [line.split()[:2] for line in result.stdout.splitlines()] == [
        ["namespace", "metrics"],
        ["team", "5"],
        ["a", "3"],
        ["...", "1"],
        ["team.b", "2"],
    ]


def test_both_print_the_documents_that_they_print_of_files(run: Run, url: str, folder: Path) -> None:
    (folder / "rules.conf").write_text(RULES)
    (folder / "names.txt").write_text("\n".join(NAMES))
    live = json.loads(run("usage", "--json", "--url", url).stdout)
    offline = json.loads(run("usage", "--json", "names.txt").stdout)
    assert live.keys() == {"usage"}
    assert {frozenset(line) for line in live["usage"]} == {frozenset(line) for line in offline["usage"]}
    live = json.loads(run("explain", "--json", "--url", url, "team.b.new").stdout)
    offline = json.loads(run("explain", "--json", "--rules", "rules.conf", "--index", "names.txt", "team.b.new").stdout)
    del offline["malformed"], offline["unreadable"]
    assert _keys(live) == _keys(offline)


def _keys(document: Any) -> Any:  # noqa: ANN401 - of any JSON
    """A document with its keys alone."""
    if isinstance(document, dict):
        return {key: _keys(value) for key, value in document.items()}
    return [_keys(value) for value in document] if isinstance(document, list) else None


def test_explain_is_that_of_the_daemon(run: Run, url: str) -> None:
    result = run("explain", "--url", url, "team.b.new", "cpu.idle;host=a", "--expect", "accepted")
    assert (result.stderr, result.exit_code) == ("", 0)
    assert result.stdout == (
        "team.b.new (new): accepted\n"
        "  would hold 3 data points, 10 bytes logical, 4,096 bytes physical\n"
        "/: [/] (<text>:1)\n"
        "  control     limit  usage  headroom  needed  offer\n"
        "  namespaces      3      3         0       0  fits\n"
        "  metrics        10      7         3       1  fits\n"
        "team: no rule\n"
        "team.b: [team.b] (<text>:9), not enforced\n"
        "  overrides [team.*] (<text>:5)\n"
        "  control  limit  usage  headroom  needed  offer\n"
        "  metrics      2      2         0       1  over\n"
        "\n"
        "cpu.idle;host=a (in the index): accepted\n"
        "/: [/] (<text>:1)\n"
        "  control     limit  usage  headroom  needed  offer\n"
        "  namespaces      3      3         0       0  fits\n"
        "  metrics        10      7         3       0  fits\n"
        "cpu: no rule\n"
    )


def test_an_expectation_that_a_daemon_does_not_meet(run: Run, url: str) -> None:
    result = run("explain", "--url", url, "--expect", "accepted", "new.x")
    assert result.exit_code == 1
    assert result.stderr == (
        "carbonquota: new.x: expected to be accepted, but it is rejected by the namespaces limit of /, "
        "rule [/] (<text>:1)\n"
    )


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ("usage --schemas schemas.conf", "--schemas cannot be given with --url: the daemon has its own"),
        ("explain --rules rules.conf a.b", "--rules cannot be given with --url: the daemon has its own"),
        ("explain --schemas rules.conf a.b", "--schemas cannot be given with --url: the daemon has its own"),
        ("explain --index names.txt a.b", "--index cannot be given with --url: the daemon has its own"),
        ("explain --interval 60 a.b", "--interval cannot be given with --url: the daemon has its own"),
        (
            "explain --throughput-unit minute a.b",
            "--throughput-unit cannot be given with --url: the daemon has its own",
        ),
    ],
)
def test_what_the_daemon_has_itself_is_not_taken(run: Run, url: str, arguments: str, complaint: str) -> None:
    result = run(*arguments.split(), "--url", url)
    assert (result.stdout, result.exit_code) == ("", 2)
    assert result.stderr.endswith(f"\nError: {complaint}\n")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [("usage", "Missing argument 'SOURCE...'."), ("explain a.b", "Missing option '--rules'.")],
)
def test_without_a_url_the_files_are_asked_for(run: Run, arguments: str, complaint: str) -> None:
    result = run(*arguments.split())
    assert (result.stdout, result.exit_code) == ("", 2)
    assert result.stderr.endswith(f"\nError: {complaint} Or ask a live daemon with --url.\n")


@pytest.mark.parametrize(
    "text",
    ["127.0.0.1:8080", "ftp://h/", "file:///etc/passwd", "http://", "http://h:x", "http://h:0", "http://h:99999", "",
     "http://[::1", "http://h/?a=b", "http://h/#a", "http://me:secret@h"],
)  # fmt: skip
def test_only_a_plain_http_url_is_one(run: Run, text: str) -> None:
    result = run("usage", "--url", text)
    assert result.exit_code == 2
    assert result.stderr.endswith(
        f"Error: Invalid value for '--url': {text!r} is not the URL of a daemon, such as http://127.0.0.1:8080\n"
    )


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ("usage team.zzz", "no metric lies in a namespace called 'team.zzz'"),
        ("explain /.~", "metric name '/.~' is empty"),
    ],
)
def test_what_the_daemon_refuses_is_told_in_its_words(run: Run, url: str, arguments: str, reason: str) -> None:
    result = run(*arguments.split(), "--url", url)
    assert (result.stdout, result.stderr, result.exit_code) == ("", f"carbonquota: {url}: {reason}\n", 1)


def test_a_tree_that_is_too_large_is_told_with_the_remedy(run: Run) -> None:
    large = engine_with_names("")
    large.admit(b"".join(b"wide%d.m 1 1\n" % number for number in range(20_001)))
    with serving(make_app(source_of(large))) as url:
        result = run("usage", "--url", url)
        assert result.stderr == (
            f"carbonquota: {url}: the tree has over 20,000 lines: ask for a lower depth, or give a top\n"
        )
        assert run("usage", "--url", url, "--top", "5").exit_code == 0


def test_nobody_there(run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    result = run("usage", "--url", url)
    reason = "cannot be reached: connection refused: does the daemon run, and is this its [carbonserver] listen?"
    assert (result.stdout, result.stderr, result.exit_code) == ("", f"carbonquota: {url}: {reason}\n", 1)


@dataclass
class Reply:
    status: int = 200
    body: bytes = b""
    location: str = ""


@contextmanager
def stranger(reply: Reply) -> Iterator[str]:
    """An HTTP server that is no daemon of ours."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(reply.status)
            if reply.location:
                self.send_header("Location", reply.location)
            self.send_header("Content-Length", str(len(reply.body)))
            self.end_headers()
            self.wfile.write(reply.body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=lambda: server.serve_forever(poll_interval=0.01))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (Reply(200, b"<html>hello</html>"), NO_DAEMON),
        (Reply(200, b"[" * 100_000), NO_DAEMON),
        (Reply(200, b"{}"), NO_DAEMON),
        (Reply(200, b"\xff"), NO_DAEMON),
        (Reply(200, b'{"usage": [{"namespace": 5}]}'), NO_DAEMON),
        (Reply(200, b'{"usage": 5}'), NO_DAEMON),
        (Reply(404, b'{"detail": "Not Found"}'), f"{NO_DAEMON} (status 404)"),
        (Reply(404, b"nothing here"), f"{NO_DAEMON} (status 404)"),
        (Reply(500, b"[]"), f"{NO_DAEMON} (status 500)"),
        (Reply(503, b'{"detail": "the daemon is ending"}'), "the daemon is ending"),
        (
            Reply(302, location="file:///etc/passwd"),
            "answers that it has moved: give its own URL, perhaps file:///etc/passwd",
        ),
    ],
)
def test_another_server_is_told_from_a_daemon(run: Run, reply: Reply, reason: str) -> None:
    with stranger(reply) as url:
        result = run("usage", "--url", url)
        assert (result.stdout, result.stderr, result.exit_code) == ("", f"carbonquota: {url}: {reason}\n", 1)


def test_what_speaks_no_http_is_no_daemon(run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65_536)
                connection.sendall(b"220 mail.example.org ESMTP\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        result = run("usage", "--url", url)
        thread.join()
    assert (result.stderr, result.exit_code) == (f"carbonquota: {url}: {NO_DAEMON}\n", 1)


def test_a_newer_daemon_may_say_more() -> None:
    document = {"pattern": "a", "file": "f", "line": 1, "enforced": True, "colour": "green"}
    assert as_value(RuleDocument, document) == RuleDocument("a", "f", 1, enforced=True)


@pytest.mark.parametrize(
    ("kind", "value"),
    [(int, True), (int, 1.0), (str, None), (tuple[int, ...], {}), (tuple[int, ...], ["1"]), (RuleDocument, []),
     (RuleDocument, {"pattern": "a"}), (RuleDocument | None, 5)],
)  # fmt: skip
def test_what_is_of_another_type_is_refused(kind: object, value: object) -> None:
    with pytest.raises((TypeError, ValueError)):
        as_value(kind, value)
