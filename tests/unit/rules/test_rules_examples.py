"""The example configuration: read by every run of the tests, so that it cannot rot."""

from __future__ import annotations

from pathlib import Path

import pytest

from carbonquota.model import Size
from carbonquota.rules import RuleSet, Schemas, Severity, lint

ETC = Path(__file__).parents[3] / "etc"
PROCESSES = [f"servers.web1.process.p{number}" for number in range(12)]
NAMESPACES = ["servers.web1.cpu.cpu0", "servers.web1.memory.ram", "servers.web1.disk.sda", *PROCESSES]


@pytest.fixture(scope="module")
def quotas() -> RuleSet:
    return RuleSet.from_file(ETC / "storage-quotas.conf")


@pytest.mark.parametrize("namespaces", [None, NAMESPACES], ids=["alone", "with namespaces"])
def test_the_example_quotas_have_no_finding_that_asks_for_mending(
    quotas: RuleSet, namespaces: list[str] | None
) -> None:
    assert [str(found) for found in lint(quotas, namespaces) if found.severity is Severity.WARNING] == []


@pytest.mark.parametrize(
    ("namespace", "pattern"),
    [
        ("/", "/"),
        ("servers", "*"),
        ("servers.web1", "servers.*"),
        ("servers.web1.disk", "servers.*.*"),
        ("servers.web1.process", "servers.*.process"),
        ("servers.web1.cpu", "servers.*.{cpu,memory}"),
        ("servers.web1.cpu.cpu0", None),
    ],
)
def test_the_example_quotas_hold_what_their_comments_say(quotas: RuleSet, namespace: str, pattern: str | None) -> None:
    rule = quotas.match(namespace)
    assert (rule.pattern if rule else None) == pattern


@pytest.mark.parametrize(
    ("metric", "size"),
    [
        ("carbon.agents.web1.cpu", Size(1_555_228, 1_556_480, 129_600)),
        ("servers.web1.cpu.cpu0.idle", Size(777_652, 778_240, 64_800)),
        ("anything.else", Size(1_044_040, 1_044_480, 87_000)),
    ],
)
def test_the_example_schemas_give_the_sizes_their_comments_say(metric: str, size: Size) -> None:
    assert Schemas.from_file(ETC / "storage-schemas.conf").size_of(metric) == size
