"""`limits check`, `limits explain` and `limits dry-run`, as a person uses them."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from carbonquota.limiter.trial import LogLine, LogReader

Run = Callable[..., Result]

RULES = """\
domain: web
deny: [192.0.2.0/24]
descriptors:
  - key: remote_address
    rate_limit: {unit: minute, requests_per_unit: 2}
    tiers:
      pro: {requests_per_unit: 50}
  - key: user
    detailed_metric: true
    shadow_mode: true
    rate_limit: {unit: hour, requests_per_unit: 1, burst: 100, algorithm: token_bucket}
"""
WARNING = """\
rules.yaml:8:5: R001 a burst of 100 is 360,000 s of 1 a hour
      - key: user
        ^^^^^^^^^
  that many pass at once; a burst of one unit's requests is usual
rules.yaml: 2 rules in 1 domain, no errors, 1 warning
"""
LOG = """\
10.0.0.1 - alice [28/Nov/2026:10:00:00 +0000] "GET /a?x=1 HTTP/1.1" 200 12 "-" "curl/8"
10.0.0.1 - alice [28/Nov/2026:10:00:01 +0000] "GET /a HTTP/1.1" 200 12
10.0.0.1 - - [28/Nov/2026:10:00:02 +0000] "GET /a HTTP/1.1" 200 12
192.0.2.9 - - [28/Nov/2026:10:00:02 +0000] "GET /a HTTP/1.1" 200 12
nothing of the kind
{"time": "2026-11-28T10:01:03Z", "remote_addr": "10.0.0.1:5512", "uri": "/b", "plan": "pro"}
"""


@pytest.fixture
def rules(folder: Path) -> Path:
    (folder / "rules.yaml").write_text(RULES)
    (folder / "access.log").write_text(LOG)
    return folder


def test_check_tells_errors_and_findings(run: Run, rules: Path) -> None:
    good = run("limits", "check", "rules.yaml")
    assert (good.exit_code, good.stdout) == (0, WARNING)
    assert run("limits", "check", "--lint-fatal", "rules.yaml").exit_code == 3
    (rules / "bad.yaml").write_text("domain: web\ndescriptors: [{kee: a}]\n")
    bad = run("limits", "check", "bad.yaml")
    assert bad.exit_code == 1
    assert 'bad.yaml:2:16: unknown key "kee" in a descriptor' in bad.stdout
    assert 'did you mean "key"?' in bad.stdout
    assert run("limits", "check", "nowhere.yaml").stdout == (
        "nowhere.yaml: there is no such file\nnowhere.yaml: 1 error\n"
    )


def test_check_reads_a_directory_and_writes_json(run: Run, rules: Path) -> None:
    document = json.loads(run("limits", "check", "--json", ".").stdout)
    assert (document["rules"], document["errors"]) == (2, [])
    assert [found["code"] for found in document["findings"]] == ["R001"]


def test_explain_tells_which_rule_holds_and_what_is_left(run: Run, rules: Path) -> None:
    asked = ("--rules", "rules.yaml", "remote_address=10.0.0.1", "user=bob", "x=y")
    lines = run("limits", "explain", *asked).stdout.splitlines()
    assert [line.split()[:4] for line in lines[1:3]] == [
        ["remote_address=10.0.0.1", "web.remote_address", "2/minute", "fixed"],
        ["user=bob", "web.user_bob", "1/hour", "token"],
    ]
    assert lines[2].endswith("under its limit (shadow: it refuses nothing)  rules.yaml:8")
    assert "no rule" in lines[3]
    told = json.loads(run("limits", "explain", "--json", "--tier", "pro", *asked).stdout)["descriptors"]
    assert (told[0]["limit"]["requests"], told[0]["left"], told[2]["limit"]) == (50, 50, None)
    denied = run("limits", "explain", "--address", "192.0.2.1", *asked)
    assert denied.stdout.count("on the rules' deny list") == 3


@pytest.mark.parametrize(
    ("switches", "message"),
    [
        (("user",), '"user" is no descriptor, such as user=alice or service=api,user=alice'),
        (("--domain", "wbe", "user=a"), 'there is no domain "wbe"; did you mean "web"?'),
        (("--store", "http://x", "user=a"), "--store http://x: it must begin with valkey://"),
        (("--store", "valkey://127.0.0.1:1", "user=a"), "--store valkey://127.0.0.1:1: the store cannot be reached"),
    ],
    ids=["descriptor", "domain", "store", "no store"],
)
def test_explain_tells_what_is_wrong_in_a_line(run: Run, rules: Path, switches: tuple[str, ...], message: str) -> None:
    result = run("limits", "explain", "--rules", "rules.yaml", *switches)
    assert (result.exit_code, result.stderr.startswith(f"carbonquota: {message}")) == (1, True), result.stderr


def test_dry_run_tells_who_would_have_been_limited(run: Run, rules: Path) -> None:
    (rules / "access.log.gz").write_bytes(gzip.compress(LOG.encode()))
    asked = ("--rules", "rules.yaml", "--descriptor", "remote_address={address}", "--descriptor", "user={user}")
    for log in ("access.log", "access.log.gz"):
        result = run("limits", "dry-run", *asked, "--tier", "{plan}", log)
        assert result.stderr == "carbonquota: 1 line in none of the formats, such as: nothing of the kind\n"
        assert next(line for line in result.stdout.splitlines() if line.startswith("web.remote")).split() == [
            "web.remote_address", "4", "1", "0", "1", "2026-11-28", "10:00:02", "10.0.0.1",
        ]  # fmt: skip
        assert result.stdout.endswith("5 requests of 2 clients: 2 would have been limited.\n")
    assert run("limits", "dry-run", *asked, "--fail-on-limit", "access.log").exit_code == 2
    document = json.loads(run("limits", "dry-run", "--json", *asked, "access.log").stdout)
    assert document["limited_clients"] == [{"client": "10.0.0.1", "limited": 1}, {"client": "192.0.2.9", "limited": 1}]


def test_dry_run_of_what_is_no_log_says_so(run: Run, rules: Path) -> None:
    (rules / "junk").write_text("a b c\n")
    result = run("limits", "dry-run", "--rules", "rules.yaml", "junk")
    assert result.exit_code == 1
    assert result.stderr == "carbonquota: 1 line in none of the formats, such as: a b c\n"
    assert run("limits", "dry-run", "--rules", "rules.yaml", "missing").exit_code == 1


LINES = [
    (
        '::1 - frank [10/Oct/2000:13:55:36 -0700] "GET /a%20b?q="x HTTP/1.0" 200 -',
        None,
    ),
    (
        '::1 - john smith [10/Oct/2000:13:55:36 -0700] "GET /a HTTP/1.0" 304 - "http://r/\\"x\\"" "agent" extra 0.1',
        (971_211_336.0, {"address": "::1", "user": "john smith", "path": "/a", "agent": "agent", "status": "304"}),
    ),
    (
        '{"ts": 1700000000.5, "request": {"remote_ip": "9.9.9.9", "method": "PUT", "uri": "/c?d", "host": "h"}}',
        (1_700_000_000.5, {"address": "9.9.9.9", "method": "PUT", "path": "/c", "query": "d", "host": "h"}),
    ),
    (
        '{"StartUTC": "2023-11-14T22:13:20Z", "ClientHost": "[2001:db8::1]:99", "RequestPath": "/"}',
        (1_700_000_000.0, {"address": "2001:db8::1", "path": "/"}),
    ),
    ('{"timestamp": 1700000000123, "ip": "2001:db8::1"}', (1_700_000_000.123, {"address": "2001:db8::1"})),
    ('{"time": "yesterday"}', None),
    ('{"time": 1700000000, "x": {"y": {"z": 5}}}', (1_700_000_000.0, {"x.y.z": "5"})),
    ("{" * 5_000, None),
]


@pytest.mark.parametrize(("line", "expected"), LINES, ids=range(len(LINES)))
def test_a_line_of_any_of_the_formats_is_read(line: str, expected: tuple[float, dict[str, str]] | None) -> None:
    reader = LogReader()
    # In pieces, without an end.
    found: list[LogLine] = [*reader.feed(line[:9].encode()), *reader.feed(line[9:].encode()), *reader.close()]
    if expected is None:
        assert (found, reader.unreadable) == ([], 1)
    else:
        assert found[0].time == expected[0]
        assert expected[1].items() <= dict(found[0].fields).items()
