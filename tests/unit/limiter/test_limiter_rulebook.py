"""Reloads of the limiter's rules: what is bad changes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from carbonquota.errors import ConfigError
from carbonquota.limiter.rulebook import LimitRulebook
from carbonquota.limiter.rules import DomainRules
from carbonquota.service.rulebook import ReloadOutcome
from carbonquota.service.settling import signatures
from carbonquota.testing import ManualClock

ONE = "domain: d\ndescriptors: [{key: a, rate_limit: {unit: day, requests_per_unit: 1}}]\n"


@pytest.fixture
def book(tmp_path: Path) -> LimitRulebook:
    (tmp_path / "a.yaml").write_text(ONE)
    return LimitRulebook([str(tmp_path)], lambda _: None, ManualClock(5.0), settle=signatures)


def names(rules: DomainRules) -> list[str]:
    return [rule.name for rule in rules.rules()]


def test_what_the_files_say_is_put_in_force(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(ONE)
    applied: list[DomainRules] = []
    book = LimitRulebook([str(tmp_path)], applied.append, ManualClock(), settle=signatures)
    assert book.reload("test").outcome is ReloadOutcome.UNCHANGED
    (tmp_path / "b.yaml").write_text(ONE.replace("key: a", "key: b"))
    assert book.reload("test").outcome is ReloadOutcome.APPLIED
    assert [names(rules) for rules in applied] == [["d.a", "d.b"]]


def test_a_bad_file_changes_nothing_and_is_told_in_full(book: LimitRulebook, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(ONE.replace("day", "dya"))
    result = book.reload("test")
    assert (result.outcome, result.rules) == (ReloadOutcome.FAILED, 1)
    assert 'unknown unit "dya"' in result.error
    assert names(book.rules) == ["d.a"]
    assert not book.last.ok


@pytest.mark.parametrize("text", ["", "domain: d\n"])
def test_an_emptied_file_changes_nothing_unless_it_is_meant(book: LimitRulebook, tmp_path: Path, text: str) -> None:
    (tmp_path / "a.yaml").write_text(text)
    assert book.reload("test").outcome is ReloadOutcome.FAILED
    (tmp_path / "a.yaml").write_text("# empty\n")
    assert book.reload("test").outcome is ReloadOutcome.APPLIED
    assert names(book.rules) == []


def test_a_directory_without_files_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there are no rules files"):
        LimitRulebook([str(tmp_path)], lambda _: None, ManualClock())


def test_a_link_that_leads_elsewhere_is_a_change(tmp_path: Path) -> None:
    """As Kubernetes puts a ConfigMap in place: names that stay, behind a link that is swapped."""
    for folder, key in (("v1", "a"), ("v2", "b")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "limits.yaml").write_text(ONE.replace("key: a", f"key: {key}"))
    data, served = tmp_path / "..data", tmp_path / "served"
    data.symlink_to("v1")
    served.mkdir()
    (served / "limits.yaml").symlink_to(data / "limits.yaml")
    book = LimitRulebook([str(served)], lambda _: None, ManualClock(), settle=signatures)
    before = book.version()
    swapped = tmp_path / "..new"
    swapped.symlink_to("v2")
    swapped.rename(data)
    assert book.version() != before
    assert book.reload("test").outcome is ReloadOutcome.APPLIED
    assert names(book.rules) == ["d.b"]
