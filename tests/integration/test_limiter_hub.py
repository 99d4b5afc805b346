"""A real quota service and a real limiter: limits are released, watched first, rolled back, and kept."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from carbonquota.cli import command_line
from carbonquota.client.json_service import ServiceRefusedError
from carbonquota.client.rules import RulesClient
from carbonquota.web.access import Role
from tests.support.daemon import wait_until
from tests.support.hub import HubProcess, hub_process
from tests.support.limiter import LimiterProcess, document, question, running

LOCAL = """domain: d
descriptors:
  - {key: local, rate_limit: {unit: year, requests_per_unit: 1}}
"""


def limits(number: int) -> str:
    return f"domain: d\ndescriptors:\n  - {{key: user, rate_limit: {{unit: year, requests_per_unit: {number}}}}}\n"


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubProcess]:
    with hub_process(tmp_path_factory.mktemp("limits-hub") / "hub") as hub:
        yield hub


def client(hub: HubProcess) -> RulesClient:
    return RulesClient(hub.url, hub.tokens[Role.ADMIN], "limits")


def limiter_of(hub: HubProcess, folder: Path) -> LimiterProcess:
    more = f'[hub]\nurl = "{hub.url}"\ntoken = "{hub.tokens[Role.PROVIDER]}"\nnode = "edge1"\nkept-file = "kept.json"\n'
    return LimiterProcess(folder, LOCAL, more=more)


def passes(one: LimiterProcess, key: str, value: str, times: int = 6) -> int:
    with one.envoy() as envoy:
        asked = question("d", {key: value})
        return sum(envoy.ShouldRateLimit(asked, timeout=30).overall_code == 1 for _ in range(times))


def await_release(one: LimiterProcess, number: int) -> None:
    wait_until(lambda: one.metrics()["carbonquota_limiter_hub_release"] == number, lambda: one.log)


def cli(hub: HubProcess, *arguments: str) -> Result:
    environment = {"CARBONQUOTA_HUB": hub.url, "CARBONQUOTA_TOKEN": hub.tokens[Role.ADMIN]}
    return CliRunner().invoke(command_line, ["rules", *arguments, "--limits"], env=environment)


def test_bad_limits_are_refused_with_their_places_and_the_command_line_sends_good_ones(
    hub: HubProcess, tmp_path: Path
) -> None:
    with pytest.raises(ServiceRefusedError) as refused:
        client(hub).push(limits(2).replace("unit:", "unti:"))
    assert (refused.value.errors[0]["line"], refused.value.errors[0]["suggestion"]) == (3, 'did you mean "unit"?')
    file = tmp_path / "limits.yaml"
    file.write_text(limits(7).replace("year", "yearly"))
    bad = cli(hub, "push", str(file))
    assert bad.exit_code != 0
    assert f"{file}:3:" in bad.output
    file.write_text(limits(7))
    pushed = cli(hub, "push", str(file))
    assert pushed.output.startswith("version "), pushed.output
    number = pushed.output.split()[1].rstrip(",")
    assert (
        f"version {number}, shadow, for the group canary"
        in cli(hub, "release", number, "--shadow", "--group", "canary").output
    )
    assert "canary" in cli(hub, "list").output
    assert "of limits there is only" in cli(hub, "diff", str(file)).output
    # Versions of one kind are nothing to the other.
    with pytest.raises(ServiceRefusedError, match="there is no version"):
        hub.rules.version(int(number))


def test_limits_are_released_watched_first_rolled_back_and_kept(hub: HubProcess, tmp_path: Path) -> None:
    one = limiter_of(hub, tmp_path / "limiter")
    with running(one):
        # While nothing was released for limiters, their own files hold; quotas of daemons are nothing to them.
        hub.rules.release(hub.rules.push("[a.*]\nmetrics = 1\n")["number"], "enforced")
        assert passes(one, "local", "a") == 1
        two = client(hub).push(limits(2))["number"]
        number = client(hub).release(two, "shadow")["number"]
        await_release(one, number)
        assert (passes(one, "user", "a"), passes(one, "local", "b")) == (6, 6)
        row = 'carbonquota_limiter_decisions_total{outcome="shadow-blocked",route="",rule="d.user",tier=""}'
        assert one.metrics()[row] == 4.0
        await_release(one, client(hub).release(two, "enforced")["number"])
        # What it counted while it was only watched stays counted.
        assert (passes(one, "user", "a"), passes(one, "user", "b")) == (0, 2)
        three = client(hub).push(limits(3))["number"]
        await_release(one, client(hub).release(three, "enforced")["number"])
        assert passes(one, "user", "c") == 3
        back = client(hub).rollback()["number"]
        await_release(one, back)
        assert passes(one, "user", "d") == 2
        wait_until(
            lambda: [daemon["running"] for daemon in hub.rules.daemons() if daemon["name"].endswith("edge1")] == [back],
            lambda: str(hub.rules.daemons()),
        )
        hub.kill()
        with one.admin() as admin:
            wait_until(lambda: "stays in force" in json.dumps(document(admin.get("/health"))), lambda: one.log)
        one.stop()
        one.start()
        assert passes(one, "user", "e") == 2
        assert not any(secret[16:] in one.log for secret in hub.tokens.values())
