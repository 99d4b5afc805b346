"""The daemon's HTTP side as others use it: browsers, Prometheus, orchestrators, and our own commands."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from tests.support.daemon import Daemon, running

RULES = "[team.*]\nmetrics = 10\nthroughput = 1000\n[other]\ndropping-policy = none\nmetrics = 1\n"
NOW = int(time.time()) // 60 * 60
OPERATIONS = {
    "/health": "get",
    "/ready": "get",
    "/metrics": "get",
    "/api/namespaces/{namespace}": "get",
    "/api/usage": "get",
    "/api/explain": "get",
    "/api/rules": "get",
    "/api/quotas": "get",
    "/api/reload": "post",
}


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """One that has had traffic: 15 metrics for a limit of 10, and two for one that is not enforced."""
    with running(tmp_path_factory.mktemp("http") / "daemon", rules=RULES) as daemon:
        daemon.send("".join(f"team.a.m{number} 1 {NOW}\n" for number in range(15)) + f"team.b.x 1 {NOW}\nno point\n")
        daemon.send(f"other.one 1 {NOW}\nother.two 1 {NOW}\n")
        daemon.settled(lambda counts: counts.received == 19)
        yield daemon


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    """One of our commands as a process."""
    return subprocess.run(
        [sys.executable, "-m", "carbonquota.cli", *arguments], capture_output=True, text=True, timeout=30, check=False
    )


def url(daemon: Daemon) -> str:
    return "http://{}:{}".format(*daemon.address("HTTP"))


def test_the_description_lists_every_operation(daemon: Daemon) -> None:
    status, page = daemon.get("/docs")
    assert status == 200
    for path, method in OPERATIONS.items():
        assert f"<b>{method.upper()}</b> {path}<" in page
    document = daemon.json("/openapi.json")
    assert {path: next(iter(methods)) for path, methods in document["paths"].items()} == OPERATIONS


def by_label(family: Metric) -> dict[tuple[str, str, str], float]:
    """The samples of a family by namespace, control and rule."""
    return {
        (sample.labels["namespace"], sample.labels["control"], sample.labels["rule"]): sample.value
        for sample in family.samples
    }


def test_prometheus_reads_the_page(daemon: Daemon) -> None:
    status, page = daemon.get("/metrics")
    assert status == 200
    families = {family.name: family for family in text_string_to_metric_families(page)}
    assert families["carbonquota_received"].type == "counter"
    rule = "[team.*]"
    assert by_label(families["carbonquota_quota_dropped"])["team.a", "metrics", rule] == 5
    assert by_label(families["carbonquota_quota_limit"])["team.b", "throughput", rule] == 1000
    (kernel,) = families["carbonquota_kernel"].samples
    assert kernel.value == 1


def test_it_is_healthy_and_ready(daemon: Daemon) -> None:
    health = daemon.json("/health")
    assert (health["status"], health["ready"], health["reload"]["ok"]) == ("ok", True, True)
    assert (health["stats"]["received"], health["stats"]["dropped"]) == (19, {"metrics": 5})
    assert daemon.json("/ready") == {"ready": True}


def test_the_api_tells_what_namespaces_hold_and_why_a_metric_is_rejected(daemon: Daemon) -> None:
    team = daemon.json("/api/namespaces/team?sort=metrics")
    assert [(child["namespace"], child["usage"]["metrics"]) for child in team["children"]] == [
        ("team.a", 10),
        ("team.b", 1),
    ]
    (explained,) = daemon.json("/api/explain?metric=team.a.m12")["metrics"]
    assert (explained["known"], explained["accepted"]) == (False, False)
    rejected = explained["rejected_by"]
    assert (rejected["namespace"], rejected["control"], rejected["rule"]["line"]) == ("team.a", "metrics", 1)
    assert [rule["pattern"] for rule in daemon.json("/api/rules")["rules"]] == ["team.*", "other"]
    rows = daemon.json("/api/quotas?over=true")["quotas"]
    assert {row["namespace"]: (row["throttle"], row["dropped"]) for row in rows} == {
        "other": (1, {}),
        "team.a": (5, {"metrics": 5}),
    }


@pytest.mark.parametrize(
    ("path", "status"),
    [("/api/namespaces/nowhere", 404), ("/api/explain?metric=..", 400), ("/api/usage?depth=-1", 422), ("/else", 404)],
)
def test_what_cannot_be_answered_is_an_error_in_json(daemon: Daemon, path: str, status: int) -> None:
    answered, body = daemon.get(path)
    assert answered == status
    assert json.loads(body)["detail"]


def test_a_reload_is_refused_to_a_form_of_another_site(daemon: Daemon) -> None:
    assert daemon.get("/api/reload", method="POST", data=b"")[0] == 415
    status, body = daemon.get("/api/reload", method="POST", data=b"{}", headers={"Content-Type": "application/json"})
    assert (status, json.loads(body)["ok"]) == (200, True)


def documents(daemon: Daemon, *arguments: str) -> Any:  # noqa: ANN401 - JSON
    done = command(*arguments, "--url", url(daemon), "--json")
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


def test_the_command_usage_shows_a_live_daemon(daemon: Daemon) -> None:
    lines = documents(daemon, "usage")["usage"]
    assert {line["namespace"]: line["metrics"] for line in lines} == {
        "/": 13,
        "team": 11,
        "team.a": 10,
        "team.b": 1,
        "other": 2,
    }
    shown = command("usage", "--url", url(daemon))
    assert (shown.returncode, shown.stderr) == (0, "")
    assert shown.stdout.splitlines()[0].split() == [
        "namespace", "metrics", "namespaces", "data-points", "logical-size", "physical-size",
    ]  # fmt: skip


def test_the_command_explain_asks_a_live_daemon(daemon: Daemon) -> None:
    (explained,) = documents(daemon, "explain", "team.a.m12")["metrics"]
    assert (explained["metric"], explained["accepted"]) == ("team.a.m12", False)
    shown = command("explain", "--url", url(daemon), "--expect", "accepted", "team.a.m12")
    assert shown.returncode == 1
    assert (
        f"team.a.m12 (new): rejected by the metrics limit of team.a, rule [team.*] ({daemon.rules}:1)" in shown.stdout
    )


def test_a_daemon_that_is_not_there_is_one_clear_line() -> None:
    done = command("usage", "--url", "http://127.0.0.1:1")
    assert done.returncode == 1
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert "http://127.0.0.1:1" in line


def test_without_a_word_http_is_for_this_machine_alone(tmp_path: Path) -> None:
    configuration = tmp_path / "carbonquota.conf"
    configuration.write_text("[carbonserver]\nenabled = true\n")
    done = command("run", "--print-config", "--config", str(configuration))
    assert done.returncode == 0
    section = done.stdout.partition("[carbonserver]")[2].partition("\n[")[0]
    assert 'listen = "127.0.0.1:8080"' in section
