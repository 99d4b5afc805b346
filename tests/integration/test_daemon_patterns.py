"""One name against one pattern, on the real daemon: whatever it costs, HTTP, signals and other senders are answered."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest

from tests.support.daemon import running, wait_until

NOW = int(time.time()) // 60 * 60
NAME = "a" * 36 + "b"
REST = "[rest]\npattern = .*\nretentions = 60s:1h\n"


def within(seconds: float, what: Callable[[], object], complaint: str) -> None:
    """Do it so often until it takes no longer than that once: the machine may be busy, the daemon must not be."""
    took: list[float] = []
    for _ in range(10):
        begun = time.monotonic()
        what()
        took.append(time.monotonic() - begun)
        if took[-1] < seconds:
            return
    raise AssertionError(f"{complaint} within {seconds} s: {took}")


@pytest.mark.parametrize(
    ("pattern", "is_set_aside"),
    [
        ("(a+)+$", False),
        (r".*a.*a.*a.*a.*a\.b\.c$", False),
        (r"(?=a)(a+)+$", True),
        (r"^(?!b)(a|aa)+(?<!b)$", False),
        (r"^(a|aa)+(?<!b)c?$", True),
    ],
)
@pytest.mark.parametrize("mode", ["store", "relay"])
def test_no_name_stops_the_daemon(tmp_path: Path, pattern: str, mode: str, *, is_set_aside: bool) -> None:
    schemas = f"[bad]\npattern = {pattern}\nretentions = 60s:2h\n{REST}"
    with running(tmp_path / "d", schemas=schemas, destination=1 if mode == "relay" else None) as daemon:
        daemon.send(f"{NAME} 1 {NOW}\nx.{NAME} 1 {NOW}\n{'a' * 200}b 1 {NOW}\n")
        within(1.0, lambda: daemon.json("/health"), "/health")
        daemon.send(f"other.sender 1 {NOW}\n")
        within(1.0, daemon.health, "/metrics")
        wait_until(lambda: daemon.count("series") == 4, lambda: f"the metrics do not come in: {daemon.log}")
        numbers = count()

        def is_aside() -> bool:
            # On a machine that is very busy, a name is passed over before it has used up the budget.
            daemon.send(f"a{next(numbers)}.{NAME} 1 {NOW}\n")
            return daemon.count("patterns_aside") == is_set_aside

        wait_until(is_aside, lambda: f"not set aside: {daemon.log}")
        expected = [f"pattern = {pattern} took too long and is set aside: mend it and reload"] if is_set_aside else []
        assert [reason for reason in daemon.json("/health")["reasons"] if "pattern" in reason] == expected
        assert (f"pattern = {pattern}: took more than 0.1 s" in daemon.log) == is_set_aside
        assert daemon.stop() == 0


@pytest.mark.parametrize(
    ("pattern", "metrics"), [(r"^(?!carbon\.).*\.kept\.", 8_000), (r"\.(k)ept\.m(?!n)", 1_000)], ids=["RE2", "re"]
)
def test_the_files_of_many_new_metrics_follow_their_pattern(tmp_path: Path, pattern: str, metrics: int) -> None:
    schemas = f"[kept]\npattern = {pattern}\nretentions = 60s:2h\n{REST}"
    with running(tmp_path / "d", schemas=schemas) as daemon:
        daemon.send("".join(f"a.kept.m{number} 1 {NOW}\n" for number in range(metrics)))
        wait_until(lambda: daemon.count("series") == metrics, lambda: daemon.log)
        if pattern.startswith("^"):
            assert daemon.count("pattern_timeouts_total") == 0
            assert daemon.json("/api/namespaces/a.kept")["usage"]["data_points"] == metrics * 120
        wait_until(lambda: len(daemon.stored()) >= 500, lambda: daemon.log, 60)
        sizes = {path.stat().st_size for path in (daemon.folder / "whisper" / "a" / "kept").glob("*.wsp")}
        assert sizes == {16 + 12 + 12 * 120}


def test_a_pattern_that_was_mended_is_no_trouble_any_more(tmp_path: Path) -> None:
    schemas = f"[bad]\npattern = (?=a)(a+)+$\nretentions = 60s:2h\n{REST}"
    with running(tmp_path / "d", schemas=schemas) as daemon:
        numbers = count()

        def is_degraded() -> bool:
            daemon.send(f"a{next(numbers)}.{NAME} 1 {NOW}\n")
            return bool(daemon.json("/health")["status"] == "degraded")

        wait_until(is_degraded, "it is not told")
        (daemon.folder / "schemas.conf").write_text(f"[good]\npattern = ^a+$\nretentions = 60s:2h\n{REST}")
        wait_until(lambda: daemon.json("/health")["status"] == "ok", "it is told for ever")
        assert daemon.stop() == 0
