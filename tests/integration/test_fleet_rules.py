"""A real quota service and real daemons: releases reach them and survive kills, and each failure has its words."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner, Result

from carbonquota.cli import command_line
from carbonquota.web.access import Role
from tests.support.daemon import Daemon, running, wait_until
from tests.support.hub import HubProcess, hub_process

NOW = int(time.time())
ONE = "[team.*]\nmetrics = 1\n"
TWO = "[team.*]\nmetrics = 2\n"
LOCAL = "[local.*]\nmetrics = 7\n"


def hub_section(url: str, token: str, group: str = "") -> str:
    return f'[hub]\nurl = "{url}"\ntoken = "{token}"\ngroup = "{group}"\nwait = "5s"\nusage-interval = "1s"\n'


def limits(daemon: Daemon) -> dict[str, tuple[int, bool]]:
    """The limit of metrics of each rule in force, and whether it is enforced."""
    rules = daemon.json("/api/rules")["rules"]
    return {rule["pattern"]: (rule["limits"]["metrics"], rule["enforced"]) for rule in rules}


def await_limits(daemon: Daemon, expected: dict[str, tuple[int, bool]]) -> None:
    wait_until(lambda: limits(daemon) == expected, lambda: f"{limits(daemon)}\n{daemon.log}")


def await_trouble(daemon: Daemon, text: str) -> None:
    def health() -> str:
        return json.dumps(daemon.json("/health")["reasons"])

    wait_until(lambda: text in health(), lambda: f"{health()}\n{daemon.log}")
    assert text in daemon.log


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubProcess]:
    with hub_process(tmp_path_factory.mktemp("fleet") / "hub", "--scrape-token-file", "scrape-token") as hub:
        yield hub


def release(hub: HubProcess, text: str, mode: str = "enforced", group: str = "") -> int:
    return int(hub.rules.release(hub.rules.push(text)["number"], mode, group)["number"])


def test_what_a_daemon_counts_is_read_into_what_its_customers_hold_and_grows_stale_without_it(
    hub: HubProcess, tmp_path: Path
) -> None:
    admin = {"Authorization": f"Bearer {hub.tokens[Role.ADMIN]}"}

    def put(path: str, **document: object) -> None:
        assert httpx.put(f"{hub.url}/v1/{path}", json=document, headers=admin).status_code in {200, 201}

    def held() -> dict[tuple[str, str], dict[str, Any]]:
        values = httpx.get(f"{hub.url}/v1/customers/acme/utilization", headers=admin).json()["values"]
        return {(one["provider"], one["control"]): one for one in values}

    def metrics() -> int | None:
        found = held().get(("graphite", "metrics"))
        return found["usage"] if found else None

    # The daemon takes the tokens that the service has, and the service reads it with one of them.
    access = f'[access]\ntokens-file = "{hub.folder}/tokens"\nreading = "nowhere"\n'
    (hub.folder / "scrape-token").write_text(hub.tokens[Role.OPERATOR])
    with running(tmp_path / "daemon", rules="[team.*]\nmetrics = 5\nlogical-size = 1,000,000\n", more=access) as daemon:
        host, port = daemon.address("HTTP")
        put("customers/acme", namespaces=["team.*"])
        put("customers/acme/quota", limits={"metrics": 5})
        put("providers/graphite", kind="carbonquota", url=f"http://{host}:{port}/metrics", interval=1, stale_after=4)
        daemon.send("".join(f"team.{team}.m{number} 1 {NOW}\n" for team in "ab" for number in range(2)))
        wait_until(lambda: metrics() == 4 and ("graphite", "bytes") in held(), lambda: f"{held()}\n{hub.log}")
        assert held()["", "metrics"]["limit"] == 5
        assert held()["graphite", "bytes"]["usage"] > 4 * 12
        assert not held()["graphite", "metrics"]["stale"]
        daemon.send(f"team.a.m7 1 {NOW}\nother.m 1 {NOW}\n")
        wait_until(lambda: metrics() == 5, lambda: f"{held()}\n{hub.log}")
        page = httpx.get(f"{hub.url}/metrics", headers=admin).text
        assert 'carbonquota_hub_customers_full{control="metrics"} 1.0' in page
    wait_until(lambda: held()["graphite", "metrics"]["stale"], lambda: str(held()))
    assert metrics() == 5
    assert httpx.get(f"{hub.url}/metrics").status_code == 401


def test_a_release_is_in_force_counts_as_shadow_is_kept_and_reported(hub: HubProcess, tmp_path: Path) -> None:
    section = hub_section(hub.url, hub.tokens[Role.PROVIDER], "life")
    release(hub, ONE, group="life")
    with running(tmp_path / "daemon", rules=LOCAL, more=section) as daemon:
        await_limits(daemon, {"team.*": (1, True)})
        daemon.send(f"team.a.x 1 {NOW}\nteam.a.y 1 {NOW}\n")
        daemon.settled(lambda counts: counts.dropped == 1)
        number = release(hub, TWO, "shadow", "life")
        await_limits(daemon, {"team.*": (2, False)})
        daemon.send("".join(f"team.a.m{number} 1 {NOW}\n" for number in range(9)))
        daemon.settled(lambda counts: counts.received >= 11 and counts.dropped == 1)
        wait_until(
            lambda: [one["running"] for one in hub.rules.daemons() if one["group"] == "life"] == [number],
            lambda: str(hub.rules.daemons()),
        )
        page = {"Authorization": f"Bearer {hub.tokens[Role.OPERATOR]}"}
        wait_until(lambda: ">team.a</th>" in httpx.get(hub.url, headers=page).text, lambda: daemon.log)
        wait_until(lambda: hub.rules.trial(ONE, "life")["over"] == 1, lambda: str(hub.rules.trial(ONE, "life")))
        hub.rules.rollback("life")
        await_limits(daemon, {"team.*": (1, True)})
        assert daemon.json("/health")["stats"]["hub_up"] == 1
        assert not any(secret[16:] in daemon.log for secret in hub.tokens.values())


def test_no_release_that_was_acknowledged_is_lost_by_a_kill_and_daemons_go_on(tmp_path: Path) -> None:
    with hub_process(tmp_path / "hub") as hub:
        section = hub_section(hub.url, hub.tokens[Role.PROVIDER])
        release(hub, "[team.*]\nmetrics = 1\n")
        with running(tmp_path / "daemon", more=section) as daemon:
            await_limits(daemon, {"team.*": (1, True)})
            for limit in (2, 4):
                release(hub, f"[team.*]\nmetrics = {limit}\n")
                hub.kill()
                hub.start()
            assert [one["version"] for one in hub.rules.releases()] == [3, 2, 1]
            await_limits(daemon, {"team.*": (4, True)})
            hub.kill()
            await_trouble(daemon, "it cannot be reached: connection refused; release 3 stays in force")
            daemon.stop()
            daemon.start()
            assert limits(daemon) == {"team.*": (4, True)}, "it starts with what it kept"
            await_trouble(daemon, "release 3 stays in force")
            daemon.stop()
            kept = tmp_path / "daemon" / "state" / "hub-rules.json"
            kept.write_text(kept.read_text().replace("metrics = 4", "metrics = 9"))
            daemon.start()
            assert limits(daemon) == {}, "a damaged file is not used"
            await_trouble(daemon, "hub-rules.json: the kept rules are damaged (wrong checksum): the file is not used")
            hub.start()
            await_limits(daemon, {"team.*": (4, True)})
            wait_until(lambda: daemon.json("/health")["status"] == "ok", lambda: str(daemon.json("/health")))


def command(hub: HubProcess, role: Role, *arguments: str) -> Result:
    environment = {"CARBONQUOTA_HUB": hub.url, "CARBONQUOTA_TOKEN": hub.tokens[role]}
    return CliRunner().invoke(command_line, ["rules", *arguments], env=environment, prog_name="carbonquota")


def test_the_command_line_goes_from_a_file_to_a_rollback(hub: HubProcess, tmp_path: Path) -> None:
    path = tmp_path / "quotas.conf"
    path.write_text("[team.*]\nmetrics = many\n")
    bad = command(hub, Role.ADMIN, "push", str(path))
    assert bad.exit_code == 1
    assert f"{path}:2:11: " in bad.stderr
    assert "    metrics = many\n              ^^^^" in bad.stderr
    path.write_text(ONE)
    first = command(hub, Role.ADMIN, "push", str(path), "--why", "first")
    assert first.exit_code == 0, first.stderr
    version = first.stdout.split(",")[0].removeprefix("version ")
    assert command(hub, Role.ADMIN, "push", str(path)).stdout == first.stdout
    made = command(hub, Role.ADMIN, "release", version, "--enforce", "--group", "cli")
    assert f"version {version}, enforced, for the group cli" in made.stdout
    path.write_text(TWO)
    assert "[team.*]" in (told := command(hub, Role.OPERATOR, "diff", str(path), "--group", "cli").stdout)
    assert "metrics 1 -> 2" in told
    assert "limits would be passed" in command(hub, Role.OPERATOR, "trial", str(path), "--group", "cli").stdout
    second = command(hub, Role.ADMIN, "push", str(path)).stdout.split(",")[0].removeprefix("version ")
    assert command(hub, Role.ADMIN, "release", second, "--shadow", "--group", "cli").exit_code == 0
    back = command(hub, Role.ADMIN, "rollback", "--group", "cli", "--why", "too tight")
    assert f"version {version}, enforced, for the group cli" in back.stdout
    assert "too tight" in command(hub, Role.OPERATOR, "list").stdout
    refused = command(hub, Role.OPERATOR, "release", version, "--enforce")
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert "this needs the role admin; the token is of the role operator" in refused.stderr


def test_a_wrong_token_is_told_and_local_rules_hold(hub: HubProcess, tmp_path: Path) -> None:
    section = hub_section(hub.url, hub.tokens[Role.CUSTOMER])
    with running(tmp_path / "role", rules=LOCAL, more=section) as daemon:
        await_trouble(daemon, "the token is of a role that may not: this needs the role admin or operator or provider")
        assert limits(daemon) == {"local.*": (7, True)}
    section = hub_section(hub.url, hub.tokens[Role.PROVIDER][:-1] + "~")
    with running(tmp_path / "wrong", rules=LOCAL, more=section) as daemon:
        await_trouble(daemon, "it refuses the token: the token is not valid: it is unknown, revoked or expired")
        assert limits(daemon) == {"local.*": (7, True)}


@contextmanager
def false_hub(documents: list[dict[str, Any]]) -> Iterator[str]:
    """What answers with these, one after the other; the last one stays."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            document = documents.pop(0) if len(documents) > 1 else documents[0]
            if self.headers["If-None-Match"] == f'"{document["release"]}"':
                self.send_response(304)
                self.end_headers()
                return
            body = json.dumps(document).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_PUT(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def document(number: int, text: str, **changes: object) -> dict[str, Any]:
    checksum = hashlib.sha256(text.encode()).hexdigest()
    return {"release": number, "version": number, "mode": "enforced", "checksum": checksum, "text": text} | changes


def test_what_comes_damaged_or_cannot_be_read_is_told_apart_and_changes_nothing(tmp_path: Path) -> None:
    documents = [
        document(1, ONE),
        document(2, TWO, checksum="0" * 64),
    ]
    with false_hub(documents) as url, running(tmp_path / "daemon", more=hub_section(url, "cq_x")) as daemon:
        await_trouble(daemon, "release 2 (version 2, enforced) came damaged: its text is not that of its checksum")
        documents[0] = document(3, "[team.*]\nmetrics = 1\nnewer-control = 5\n")
        await_trouble(daemon, "release 3 (version 3, enforced) cannot be read here: ")
        assert "is this program older than the quota service?" in daemon.log
        documents[0] = document(4, TWO, mode="canary")
        await_trouble(daemon, "what it answers is not known to this version: the mode 'canary' is not known here")
        assert limits(daemon) == {"team.*": (1, True)}
        documents[0] = document(5, TWO)
        await_limits(daemon, {"team.*": (2, True)})
        wait_until(lambda: daemon.json("/health")["status"] == "ok", lambda: str(daemon.json("/health")))
