"""A process that is killed while new metrics come in lets no limit be passed; `make soak` does it a thousand times."""

from __future__ import annotations

from pathlib import Path

from tests.support.carbon_daemons import one_each
from tests.support.daemon import wait_until
from tests.support.kills import collector, kill_again_and_again, plugin, relay_daemon, store_daemon, usage

ROUNDS = range(4)
LIMIT = 80


def test_a_relay_that_is_killed_passes_on_no_metric_too_many(tmp_path: Path) -> None:
    with collector() as there:
        daemon = relay_daemon(tmp_path / "daemon", there, LIMIT)
        try:
            kill_again_and_again(ROUNDS, lambda: daemon.start().connect(), daemon.kill, burst=5)
            assert list(usage(daemon.start(), ROUNDS).values()) == [LIMIT]
        finally:
            daemon.kill()
        assert LIMIT // 2 < len(there.names()) <= LIMIT


def test_a_store_that_is_killed_makes_no_file_too_many(tmp_path: Path) -> None:
    daemon = store_daemon(tmp_path / "daemon", LIMIT)
    try:
        kill_again_and_again(ROUNDS, lambda: daemon.start().connect(), daemon.kill, burst=5)
        daemon.start()
        wait_until(lambda: len(daemon.stored()) == daemon.json("/api/namespaces/")["usage"]["metrics"], "recount")
    finally:
        daemon.kill()
    assert 0 < len(daemon.stored()) <= LIMIT


def test_a_carbon_that_is_killed_makes_no_file_too_many(tmp_path: Path) -> None:
    graphite = plugin(tmp_path / "graphite", LIMIT)
    cache = graphite.daemon()
    try:
        kill_again_and_again(ROUNDS, lambda: cache.start().connect(cache.ports.line), cache.kill, burst=5)
        cache.start().send(one_each(["late.metric"]))
        wait_until(graphite.stored, "nothing is stored")
    finally:
        cache.kill()
    assert 0 < len(graphite.stored()) <= LIMIT
