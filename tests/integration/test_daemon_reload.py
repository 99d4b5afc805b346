"""Rules changed under a running daemon: applied at once, a bad file never, and a storm of changes loses no point."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

from tests.support.daemon import Daemon, running, wait_until

NOW = int(time.time()) // 60 * 60


def limit_in_force(daemon: Daemon) -> int | None:
    """The metrics limit of the one rule."""
    rules = daemon.json("/api/rules")["rules"]
    return rules[0]["limits"]["metrics"] if rules else None


def rule(limit: int) -> str:
    return f"[team.*]\nmetrics = {limit}\n"


def replace(path: Path, text: str) -> None:
    """Change a file as an editor does: a new one is renamed over it."""
    fresh = path.with_suffix(".new")
    fresh.write_text(text)
    fresh.rename(path)


def test_a_change_of_the_file_is_applied_and_told(tmp_path: Path) -> None:
    with running(tmp_path / "daemon", rules=rule(10)) as daemon:
        replace(daemon.rules, rule(11))
        wait_until(lambda: limit_in_force(daemon) == 11, lambda: daemon.log)
        daemon.rules.write_text(rule(12))
        wait_until(lambda: limit_in_force(daemon) == 12, lambda: daemon.log)
        assert "team.*" in daemon.log


def test_a_bad_file_keeps_the_rules_and_says_so_until_it_is_mended(tmp_path: Path) -> None:
    with running(tmp_path / "daemon", rules=rule(10)) as daemon:
        replace(daemon.rules, "[team.*]\nmetricz = 5\n")
        wait_until(lambda: daemon.json("/health")["status"] == "degraded", lambda: daemon.log)
        assert limit_in_force(daemon) == 10
        assert 'unknown key "metricz"' in daemon.log
        assert daemon.health()["carbonquota_reload_ok"] == 0
        daemon.rules.unlink()
        replace(daemon.rules, rule(13))
        wait_until(lambda: limit_in_force(daemon) == 13, lambda: daemon.log)
        wait_until(lambda: daemon.json("/health")["status"] == "ok", lambda: daemon.log)


def test_a_pipe_in_the_place_of_the_rules_holds_nothing_up(tmp_path: Path) -> None:
    with running(tmp_path / "daemon", rules=rule(10)) as daemon:
        daemon.rules.unlink()
        os.mkfifo(daemon.rules)
        wait_until(lambda: daemon.json("/health")["status"] == "degraded", lambda: daemon.log)
        status, body = daemon.reload()
        assert (status, "it is a pipe or a device, not a file" in body) == (422, True), body
        assert limit_in_force(daemon) == 10
        replace(daemon.rules, rule(11))
        wait_until(lambda: limit_in_force(daemon) == 11, lambda: daemon.log)
        assert daemon.json("/health")["status"] == "ok"


def test_a_file_that_is_emptied_takes_no_limit_away(tmp_path: Path) -> None:
    with running(tmp_path / "daemon", rules=rule(10)) as daemon:
        daemon.send("".join(f"team.a.m{number} 1 {NOW}\n" for number in range(20)))
        daemon.settled(lambda counts: counts.received == 20)
        daemon.rules.write_text("")
        wait_until(lambda: daemon.json("/health")["status"] == "degraded", lambda: daemon.log)
        daemon.send("".join(f"team.a.n{number} 1 {NOW}\n" for number in range(1000)))
        assert daemon.settled(lambda counts: counts.received == 1020).dropped == 1010
        status, body = daemon.reload()
        assert status == 422
        assert "this file has no sections any more, while 1 section is in force" in body
        failures = daemon.count("reloads_total")
        daemon.signal(signal.SIGHUP)
        wait_until(lambda: daemon.count("reloads_total") > failures, lambda: daemon.log)
        assert limit_in_force(daemon) == 10
        daemon.rules.write_text(rule(11))
        wait_until(lambda: limit_in_force(daemon) == 11, lambda: daemon.log)
        daemon.rules.write_text("# empty\n")
        wait_until(lambda: limit_in_force(daemon) is None, lambda: daemon.log)
        assert daemon.json("/health")["status"] == "ok"


def test_an_emptied_file_is_in_force_after_a_restart(tmp_path: Path) -> None:
    with running(tmp_path / "daemon", rules=rule(10)) as daemon:
        daemon.rules.write_text("")
        assert daemon.stop() == 0
        daemon.start()
        assert limit_in_force(daemon) is None


def test_half_a_file_is_never_in_force(tmp_path: Path) -> None:
    with running(tmp_path / "daemon", rules=rule(10)) as daemon:
        limits = set()
        with daemon.rules.open("w") as file:
            for part in ("[team.*]\n", "metrics = 1", "000\n"):
                file.write(part)
                file.flush()
                end = time.monotonic() + 0.7
                while time.monotonic() < end:
                    limits.add(limit_in_force(daemon))
        wait_until(lambda: limit_in_force(daemon) == 1000, lambda: daemon.log)
        assert limits == {10}
        # By two who write one after the other: only the unfinished line tells that there is more to come.
        daemon.rules.write_text("[team.*]\nmetrics = 2")
        daemon.signal(signal.SIGHUP)
        time.sleep(0.7)
        assert limit_in_force(daemon) == 1000
        with daemon.rules.open("a") as file:
            file.write("000\n")
        wait_until(lambda: limit_in_force(daemon) == 2000, lambda: daemon.log)


def test_sighup_and_the_api_reload_too(tmp_path: Path) -> None:
    with running(tmp_path / "daemon", rules=rule(10)) as daemon:
        daemon.signal(signal.SIGHUP)
        wait_until(lambda: daemon.count("reloads_total") >= 1, lambda: daemon.log)
        status, body = daemon.reload()
        assert status == 200, body
        assert json.loads(body)


def test_links_swapped_as_kubernetes_swaps_them(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path / "daemon", rules=rule(10))
    folder = daemon.folder
    for name, limit in (("first", 10), ("second", 20)):
        (folder / name).mkdir()
        (folder / name / "quotas.conf").write_text(rule(limit))
    daemon.rules.unlink()
    (folder / "..data").symlink_to("first")
    daemon.rules.symlink_to("..data/quotas.conf")
    try:
        daemon.start()
        assert limit_in_force(daemon) == 10
        (folder / "..data_new").symlink_to("second")
        (folder / "..data_new").replace(folder / "..data")
        wait_until(lambda: limit_in_force(daemon) == 20, lambda: daemon.log)
    finally:
        daemon.kill()


def test_a_storm_of_reloads_under_load_keeps_the_count_exact(tmp_path: Path) -> None:
    with running(tmp_path / "daemon", rules=rule(100)) as daemon:
        end = time.monotonic() + 2
        sent = 0
        with daemon.connect() as sender:
            while time.monotonic() < end:
                lines = [f"team.t{number % 7}.m{(sent + number) % 300} 1 {NOW}\n" for number in range(500)]
                sender.sendall("".join(lines).encode())
                sent += len(lines)
                replace(daemon.rules, rule(100 + sent % 3) if sent % 4000 else "[broken\n")
                daemon.signal(signal.SIGHUP)
        counts = daemon.settled(lambda counts: counts.received == sent)
        assert (counts.malformed, counts.lost) == (0, 0)
        replace(daemon.rules, rule(100))
        wait_until(lambda: limit_in_force(daemon) == 100, lambda: daemon.log)
        for team in range(7):
            assert 100 <= daemon.json(f"/api/namespaces/team.t{team}")["usage"]["metrics"] <= 102
        assert daemon.count("internal_errors_total") == 0


def test_a_storm_of_signals_makes_no_queue_of_reloads(tmp_path: Path) -> None:
    many = "".join(f"[other{number}.*]\nmetrics = 5\n" for number in range(1000))
    with running(tmp_path / "daemon", rules=rule(10) + many) as daemon:
        for limit in range(100, 200):
            replace(daemon.rules, rule(limit) + many)
            daemon.signal(signal.SIGHUP)
            time.sleep(0.005)
        wait_until(lambda: limit_in_force(daemon) == 199, lambda: daemon.log)
        assert daemon.stop() == 0
        assert daemon.log.count("reload (SIGHUP)") < 50
