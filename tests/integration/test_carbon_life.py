"""From start to end with quotas: bad files, reloads, kills, scans, bugs, and the commands of carbon's own scripts."""

from __future__ import annotations

import re
import signal
import socket
from pathlib import Path
from typing import Any

import pytest

from tests.support.carbon_daemons import CarbonDaemon, Graphite, many_of, one_each, running
from tests.support.daemon import wait_until

FIVE = "[team]\nmetrics = 5\n"
UNKNOWN_KEY = """\
{conf}/storage-quotas.conf:2:1: unknown key "metricz"
    metricz = 5
    ^^^^^^^
  did you mean "metrics"?"""
NO_SECONDS = (
    "{conf}/carbon.conf: QUOTA_USAGE_REPORT_FREQUENCY = 5m: must be a number of seconds, at least 1; "
    "write 300 for five minutes"
)


def numbered(count: int, first: int = 0) -> list[str]:
    return one_each(f"team.m{number}" for number in range(first, first + count))


@pytest.mark.parametrize(
    ("rules", "settings", "message"),
    [
        (
            "[team]\nmetricz = 5\n",
            {},
            UNKNOWN_KEY,
        ),
        (FIVE, {"QUOTAS_FILE": "nowhere.conf"}, "{conf}/nowhere.conf: there is no such file"),
        (
            FIVE,
            {"QUOTA_SCAN_FREQUENZY": 5},
            '{conf}/carbon.conf: unknown setting QUOTA_SCAN_FREQUENZY: did you mean "QUOTA_SCAN_FREQUENCY"?',
        ),
        (
            FIVE,
            {"QUOTA_USAGE_REPORT_FREQUENCY": "5m"},
            NO_SECONDS,
        ),
    ],
    ids=["rule", "no file", "unknown setting", "bad setting"],
)
def test_what_is_wrong_at_the_start_is_said_and_nothing_starts(
    tmp_path: Path, rules: str, settings: dict[str, Any], message: str
) -> None:
    graphite = Graphite(tmp_path / "graphite", quotas=rules)
    cache = graphite.daemon(**settings)
    done = cache.run("--nodaemon", "start")
    assert done.stdout == f"Starting carbon-cache (instance a)\n{message.format(conf=graphite.conf)}\n"
    assert done.returncode == 1
    assert cache.run("status").stdout == "carbon-cache (instance a) is not running\n"


def test_rules_are_reloaded_and_bad_ones_are_not(tmp_path: Path) -> None:
    graphite = Graphite(tmp_path / "graphite", quotas=FIVE)
    with running(graphite.daemon()) as (cache,):
        graphite.write("storage-quotas.conf", "[team]\nmetrics = five\n")
        wait_until(lambda: "the rules in force stay" in cache.log, lambda: cache.log)
        assert "storage-quotas.conf:2:11: metrics: a limit is a whole number" in cache.log
        cache.deliver(numbered(20))
        assert len(graphite.stored()) == 5
        graphite.write("storage-quotas.conf", "[team]\nmetrics = 7\n")
        wait_until(lambda: "1 rule in force" in cache.log, lambda: cache.log)
        cache.deliver(numbered(20))
        assert len(graphite.stored()) == 7
        graphite.write("storage-quotas.conf", "# empty\n")
        wait_until(lambda: "0 rules in force" in cache.log, lambda: cache.log)
        cache.deliver(numbered(20))
        assert len(graphite.stored()) == 20


def test_an_emptied_file_takes_no_limit_away(tmp_path: Path) -> None:
    graphite = Graphite(tmp_path / "graphite", quotas=FIVE)
    cache = graphite.daemon()
    with running(cache):
        for refused, name in enumerate(("storage-quotas.conf", "storage-schemas.conf", "storage-quotas.conf"), start=1):
            path = graphite.conf / name
            before = path.read_text()
            path.write_text("")
            wait_until_said(cache, "this file has no sections any more", refused)
            if refused < 3:
                path.write_text(before)
                wait_until_said(cache, "in force already", refused)
        cache.deliver(numbered(10))
        assert len(graphite.stored()) == 5


def wait_until_said(daemon: CarbonDaemon, words: str, times: int) -> None:
    """Wait until the log has the words so often."""
    wait_until(lambda: daemon.log.count(words) == times, lambda: daemon.log)


def test_storage_schemas_are_reloaded_for_the_sizes(tmp_path: Path) -> None:
    graphite = Graphite(tmp_path / "graphite", quotas="[team]\ndata-points = 600\n")
    with running(graphite.daemon()) as (cache,):
        cache.deliver(numbered(3))
        assert graphite.stored() == set()
        graphite.write("storage-schemas.conf", "[all]\npattern = .*\nretentions = 1s:5m\n")
        wait_until(lambda: "a file changed" in cache.log, lambda: cache.log)
        cache.deliver(numbered(3))
        assert len(graphite.stored()) == 2


def state(daemon: CarbonDaemon) -> Path:
    """Where its state is kept."""
    return daemon.graphite.root / "storage" / "quotas" / f"{daemon.name}-{daemon.instance}"


def journal_bytes(daemon: CarbonDaemon) -> int:
    """How much its journals hold."""
    return sum(path.stat().st_size for path in state(daemon).glob("journal-*"))


def last_snapshot(daemon: CarbonDaemon) -> int:
    """The number of its newest snapshot."""
    return max(int(path.name.partition("-")[2]) for path in state(daemon).glob("snapshot-????????????"))


def test_a_relay_that_is_killed_knows_its_metrics_again(tmp_path: Path) -> None:
    graphite = Graphite(tmp_path / "graphite", quotas=FIVE)
    store = graphite.daemon("cache", "store", ours=False)
    relay = graphite.daemon("relay", DESTINATIONS=store.destination)
    with running(store, relay):
        before = journal_bytes(relay)
        relay.deliver(numbered(5))
        wait_until(lambda: journal_bytes(relay) > before + 5 * len("team.m0"), "nothing in the journal")
        relay.kill()
        relay.start()
        wait_until(lambda: re.search(r"\[quotas\] \d+ metrics restored", relay.log), lambda: relay.log)
        relay.deliver([*numbered(3, first=5), *one_each(["team.m4"])])
        assert len({name for name in graphite.stored() if name.startswith("team.")}) == 5


def test_throughput_goes_on_after_a_stop_and_after_a_kill(tmp_path: Path) -> None:
    graphite = Graphite(tmp_path / "graphite", quotas="[flow]\nthroughput = 30\n", QUOTA_STATE_SNAPSHOT_FREQUENCY=1)
    cache = graphite.daemon()
    lines = many_of("flow.load", 90)
    with running(cache):
        cache.deliver(lines[:20])
        assert cache.stop() == -signal.SIGTERM  # as twisted ends
        cache.start()
        cache.deliver(lines[20:25])
        seen = last_snapshot(cache)
        # One that was begun before the points came may still be written.
        wait_until(lambda: last_snapshot(cache) >= seen + 2, "no new snapshot")
        cache.kill()
        cache.start()
        cache.deliver(lines[25:])
        assert list(graphite.points("flow.load").values()) == [float(number) for number in range(1, 31)]


def test_whisper_files_that_were_there_before_count_from_the_start(tmp_path: Path) -> None:
    graphite = Graphite(tmp_path / "graphite", quotas=FIVE)
    for number in range(4):
        graphite.create(f"team.old{number}")
    with running(graphite.daemon()) as (cache,):
        cache.deliver([*numbered(10), *one_each(["team.old3"])])
        assert len(graphite.stored()) == 5
        assert graphite.points("team.old3")
        assert "4 Whisper files" in cache.log


def test_a_message_broker_is_spoken_to_when_the_first_scan_is_done(tmp_path: Path) -> None:
    graphite = Graphite(tmp_path / "graphite", quotas=FIVE)
    graphite.create("team.old")
    with socket.create_server(("127.0.0.1", 0)) as broker:
        broker.settimeout(30)
        user: dict[str, Any] = {
            "AMQP_USER": "guest",
            "AMQP_PASSWORD": "guest",
            "AMQP_VHOST": "/",
            "AMQP_EXCHANGE": "graphite",
        }
        port = broker.getsockname()[1]
        cache = graphite.daemon(ENABLE_AMQP=True, AMQP_HOST="127.0.0.1", AMQP_PORT=port, **user)
        with running(cache):
            # A connection that was begun before the scan ends without a word.
            while not (greeting := greeted(broker)):
                pass
            assert greeting.startswith(b"AMQP")
            assert "1 Whisper file" in cache.log


def greeted(broker: socket.socket) -> bytes:
    """What the next client says first."""
    connection, _ = broker.accept()
    with connection:
        connection.settimeout(30)
        return connection.recv(8)


def test_a_file_that_is_removed_makes_room_at_the_next_scan(tmp_path: Path) -> None:
    graphite = Graphite(tmp_path / "graphite", quotas=FIVE, QUOTA_SCAN_FREQUENCY=1)
    with running(graphite.daemon()) as (cache,):
        cache.deliver(numbered(10))
        assert len(graphite.stored()) == 5
        for number in range(2):
            (graphite.data / "team" / f"m{number}.wsp").unlink()
        wait_until(lambda: "2 gone" in cache.log, lambda: cache.log)
        cache.deliver(numbered(10, first=20))
        assert graphite.stored() == {"team.m2", "team.m3", "team.m4", "team.m20", "team.m21"}


BROKEN = """
from carbonquota.engine import QuotaEngine

def broken_where_told(decide):
    def decide_or_break(self, what, *more):
        if any("broken" in name for name in what):
            raise ZeroDivisionError("a bug")
        return decide(self, what, *more)
    return decide_or_break

QuotaEngine.admit_names = broken_where_told(QuotaEngine.admit_names)
"""


def test_a_bug_in_the_decision_costs_no_point_and_is_counted_and_logged_once_a_minute(tmp_path: Path) -> None:
    graphite = Graphite(tmp_path / "graphite", quotas=FIVE, interval=1)
    (tmp_path / "sitecustomize.py").write_text(BROKEN)
    cache = graphite.daemon()
    cache.environment["PYTHONPATH"] = str(tmp_path)
    try:
        cache.start()
        cache.deliver(numbered(10))
        for number in range(3):
            cache.send(one_each(f"team.broken{number}{letter}" for letter in "abc"))
        wait_until(lambda: len(graphite.stored()) == 5 + 9, lambda: cache.log)
        cache.deliver(numbered(10))
        assert len(graphite.stored()) == 5 + 9
        name = f"{cache.agent}.carbonquota.internal_errors.decision"
        wait_until(lambda: max(graphite.points(name).values(), default=0) >= 1, lambda: cache.log)
        assert cache.log.count("ZeroDivisionError: a bug") == 1
        assert cache.log.count("[quotas] ERROR: ") == 1
    finally:
        cache.kill()


def test_as_a_daemon_it_takes_status_and_stop_and_logs_into_carbons_directory(tmp_path: Path) -> None:
    graphite = Graphite(tmp_path / "graphite", quotas=FIVE)
    cache = graphite.daemon(ENABLE_LOGROTATION=False)
    assert cache.run("start").returncode == 0
    try:
        wait_until(cache.listens, "does not listen")
        running_now = cache.run("status")
        assert re.fullmatch(r"carbon-cache \(instance a\) is running with pid \d+\n", running_now.stdout)
        assert running_now.returncode == 0
        assert "already running" in cache.run("start").stdout
        cache.deliver(numbered(8))
        assert len(graphite.stored()) == 5
        log = graphite.root / "storage" / "log" / "carbon-cache" / "carbon-cache-a" / "quotas.log"
        wait_until(lambda: "namespace team is throttled by metrics = 5" in log.read_text(), log.read_text)
        # As logrotate does.
        log.rename(log.with_name("quotas.log.1"))
        graphite.write("storage-quotas.conf", "[team]\nmetrics = 7\n")
        wait_until(lambda: log.exists() and "a file changed" in log.read_text(), "no new log")
    finally:
        stopped = cache.run("stop")
    assert re.fullmatch(r"Sending kill signal to pid \d+\n", stopped.stdout)
    wait_until(lambda: cache.run("status").returncode == 1, "still running")
    assert not list((graphite.root / "storage").glob("*.pid"))


def test_a_second_process_on_one_state_is_refused(tmp_path: Path) -> None:
    graphite = Graphite(tmp_path / "graphite", quotas=FIVE)
    with running(graphite.daemon()) as (cache,):
        done = cache.run("--nodaemon", "--pidfile", str(tmp_path / "other.pid"), "start")
        assert done.returncode == 1
        assert "Traceback" not in done.stdout
        assert "storage/quotas/carbon-cache-a" in done.stdout
