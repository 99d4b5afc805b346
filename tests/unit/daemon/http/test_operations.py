"""How the daemon is, and what it can be asked to do: `/health`, `/ready`, `/metrics`, `/api/reload`."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import pytest

from carbonquota.daemon.http import ReloadAnswer, ReloadStatus
from carbonquota.service.health import Health, HealthSample
from tests.support.http import STATUS, client_of, engine_with_names, source_of
from tests.support.small import engine_under

BAD_RELOAD = ReloadStatus(ok=False, time=7.0, error="rules.conf:1:1: unknown key\n    x\n    ^")
RULES_REASON = "the rules in force are not those of the files: rules.conf:1:1: unknown key"


def test_health_has_it_all() -> None:
    samples = [
        HealthSample("received", 5),
        HealthSample("dropped", 2, "metrics"),
        HealthSample("dropped", 1, "creates"),
    ]
    health = Health([lambda: [*samples, HealthSample("sink_up", 1), HealthSample("report_seconds", float("nan"))]])
    document = client_of(source_of(engine_under(), health=health)).json("/health")
    assert document == {
        "status": "ok",
        "detail": "",
        "reasons": [],
        "ready": True,
        "reload": {"ok": True, "time": 100.0, "error": ""},
        "kernel": "plain",
        "version": "1.2.3",
        "uptime": 5.0,
        "stats": {
            "received": 5,
            "dropped": {"creates": 1, "metrics": 2},
            "sink_up": 1,
            "internal_errors": {"http": 0},
        },
    }


@pytest.mark.parametrize(
    ("changes", "code", "status", "reasons"),
    [
        ({}, 200, "ok", []),
        ({"reload": BAD_RELOAD}, 200, "degraded", [RULES_REASON]),
        ({"degraded": ("the state cannot be written",)}, 200, "degraded", ["the state cannot be written"]),
        ({"failing": ("the loop has ended",)}, 503, "failing", ["the loop has ended"]),
        (
            {"failing": ("a",), "degraded": ("b",), "reload": BAD_RELOAD},
            503,
            "failing",
            ["a", RULES_REASON, "b"],
        ),
    ],
)
def test_only_what_a_restart_would_mend_is_no_200(
    changes: dict[str, Any], code: int, status: str, reasons: list[str]
) -> None:
    state = replace(STATUS, **changes)
    answer = client_of(source_of(engine_under(), status=lambda: state)).get("/health")
    document = answer.json()
    assert (answer.status_code, document["status"], document["reasons"]) == (code, status, reasons)
    assert document["detail"] == "; ".join(reasons)
    assert document["reload"]["error"] == state.reload.error


def test_it_is_ready_once_it_takes_points() -> None:
    standings = [replace(STATUS, ready=False, not_ready=("reading the state", "no listener yet")), STATUS]
    client = client_of(source_of(engine_under(), status=lambda: standings[0]))
    answer = client.get("/ready")
    assert (answer.status_code, answer.json()["detail"]) == (503, "reading the state; no listener yet")
    del standings[0]
    assert client.json("/ready") == {"ready": True}


def test_metrics_are_the_page_as_it_is() -> None:
    answer = client_of(source_of(engine_under())).get("/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert answer.content == b"up 1\n"


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"Content-Type": "application/json"}, 200),
        ({"Content-Type": "Application/JSON; charset=utf-8"}, 200),
        ({"X-Requested-With": "curl"}, 200),
        ({}, 415),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
        ({"Content-Type": "text/plain; application/json"}, 415),
        ({"Content-Type": "multipart/form-data; boundary=x"}, 415),
    ],
)
def test_no_form_of_another_site_can_reload(headers: dict[str, str], code: int) -> None:
    reloads: list[None] = []

    def reload() -> ReloadAnswer:
        reloads.append(None)
        return ReloadAnswer(ok=True, text="applied: 3 rules in force")

    client = client_of(source_of(engine_under(), reload=reload))
    answer = client.request("POST", "/api/reload", headers=headers, content=b"not read {")
    assert (answer.status_code, len(reloads)) == (code, int(code == 200))
    if code == 200:
        assert answer.json() == {"ok": True, "text": "applied: 3 rules in force"}
    else:
        assert answer.json()["detail"] == "send the header `Content-Type: application/json` or `X-Requested-With`"


def test_a_refused_reload_tells_every_problem() -> None:
    problems = "rules.conf:1:1: one\nrules.conf:2:1: two"
    client = client_of(source_of(engine_under(), reload=lambda: ReloadAnswer(ok=False, text=problems)))
    answer = client.request("POST", "/api/reload", headers={"X-Requested-With": "x"})
    assert (answer.status_code, answer.json()["detail"]) == (422, problems)


def test_a_get_reloads_nothing() -> None:
    answer = client_of(source_of(engine_under())).get("/api/reload")
    assert (answer.status_code, answer.json()["detail"]) == (405, "Method Not Allowed")


def test_a_bug_is_counted_logged_and_not_shown(caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> tuple[str, bytes]:
        raise RuntimeError("secret")

    client = client_of(source_of(engine_with_names(), metrics=broken))
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            answer = client.get("/metrics")
            assert answer.status_code == 500
            assert answer.json()["detail"] == "a bug kept this from being answered: see the daemon's log"
    assert [record.getMessage() for record in caplog.records] == ["HTTP: a bug kept /metrics from being answered"]
    assert client.json("/health")["stats"]["internal_errors"] == {"http": 3}


@pytest.mark.parametrize("path", ["/health", "/ready", "/metrics"])
def test_a_probe_may_ask_for_the_head_alone(path: str) -> None:
    answer = client_of(source_of(engine_under())).request("HEAD", path)
    assert answer.status_code == 200
