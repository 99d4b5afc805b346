"""The daemon with Whisper files: what is accepted is stored, what is over a quota is not, all is counted."""

from __future__ import annotations

import pickle
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import whisper

from tests.support.daemon import Daemon, running, wait_until

RULES = "[team.*]\nmetrics = 10\n"
NOW = int(time.time()) // 60 * 60


def pickled(*points: tuple[str, tuple[float, float]]) -> bytes:
    """A message for the pickle receiver."""
    payload = pickle.dumps(list(points), protocol=2)
    return struct.pack("!L", len(payload)) + payload


def is_closed(connection: socket.socket) -> bool:
    """Whether the other side has closed it, however it did."""
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    with running(tmp_path / "daemon", rules=RULES) as daemon:
        yield daemon


def test_points_of_every_receiver_are_read_back_by_whisper(daemon: Daemon) -> None:
    daemon.send(f"team.a.tcp 1.5 {NOW}\r\nteam.a.tcp 2.5 {NOW - 60}\n")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(f"team.a.udp 3 {NOW}".encode(), daemon.address("plaintext over UDP"))
    with daemon.connect("pickle over TCP") as sender:
        sender.sendall(pickled(("team.a.pickle", (NOW, 4.25))))
    expected = {"team.a.tcp": 1.5, "team.a.udp": 3.0, "team.a.pickle": 4.25}
    wait_until(lambda: {name: daemon.value(name, NOW) for name in expected} == expected, lambda: daemon.log)
    assert daemon.value("team.a.tcp", NOW - 60) == 2.5
    assert daemon.settled(lambda counts: counts.gone >= 4).dropped == 0


def test_a_limit_holds_exactly_from_many_connections_at_once(daemon: Daemon) -> None:
    def send(worker: int) -> None:
        lines = "".join(f"team.{team}.m{worker}x{number} 1 {NOW}\n" for number in range(20) for team in "abc")
        daemon.send(lines)

    senders = [threading.Thread(target=send, args=(worker,)) for worker in range(8)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    counts = daemon.settled(lambda counts: counts.received == 480 and not counts.waiting)
    assert (counts.accepted, counts.dropped, counts.malformed, counts.lost) == (30, 450, 0, 0)
    assert Counter(name.split(".")[1] for name in daemon.stored()) == {"a": 10, "b": 10, "c": 10}


def test_malformed_lines_cost_nobody_else_anything(daemon: Daemon) -> None:
    good = f"team.a.good 1 {NOW}\n".encode()
    bad = [b"no fields\n", b"a b c\n", b"\xff\xfe 1 1\n", b"x" * 100_000 + b"\n", b"name 1 never\n", b"\0\n"]
    for line in bad:
        daemon.send(line + good)
    with daemon.connect("pickle over TCP") as sender:
        sender.sendall(struct.pack("!L", 2**31) + b"no")
        assert is_closed(sender)
    evil = b"cos\nsystem\n(S'touch touched'\ntR."
    with daemon.connect("pickle over TCP") as sender:
        sender.sendall(struct.pack("!L", len(evil)) + evil + pickled(("team.a.p", (NOW, 1))))
        counts = daemon.settled(lambda counts: counts.received == 15)
    assert (counts.accepted, counts.malformed) == (len(bad) + 1, len(bad) + 2)
    wait_until(lambda: daemon.stored() == {"team.a.good", "team.a.p"}, lambda: daemon.log)
    assert not list(daemon.folder.rglob("touched"))
    assert not Path("touched").exists()


def test_its_own_stats_are_stored_and_exempt(tmp_path: Path) -> None:
    rules = "[/]\nmetrics = 1\n[carbon]\nmetrics = 1\n"
    with running(tmp_path / "daemon", rules=rules, interval=1) as daemon:
        daemon.send(f"a.b 1 {NOW}\n")
        path = daemon.folder / "whisper/carbon/agents/test"
        wait_until((path / "usage/metrics/root.wsp").exists, lambda: daemon.log)
        wait_until((path / "carbonquota/accepted.wsp").exists, lambda: daemon.log)
        assert daemon.json("/api/namespaces/")["usage"]["metrics"] == 1
        assert daemon.settled(lambda counts: counts.own).lost == 0


def test_a_scan_finds_files_and_forgets_those_that_are_gone(tmp_path: Path) -> None:
    folder = tmp_path / "daemon"
    old = folder / "whisper/team/a"
    old.mkdir(parents=True)
    for number in range(10):
        whisper.create(str(old / f"m{number}.wsp"), [(60, 60)])
    with running(folder, rules=RULES, carbonserver='scan-frequency = "1s"') as daemon:
        daemon.send(f"team.a.eleventh 1 {NOW}\n")
        assert daemon.settled(lambda counts: counts.received).dropped == 1
        (old / "m3.wsp").unlink()

        def sent_again() -> bool:
            daemon.send(f"team.a.eleventh 1 {NOW}\n")
            return "team.a.eleventh" in daemon.stored()

        wait_until(sent_again, lambda: daemon.log)
        assert daemon.json("/api/namespaces/team.a")["usage"]["metrics"] == 10


def test_creates_past_the_pace_are_rejected_and_known_metrics_are_not(tmp_path: Path) -> None:
    with running(tmp_path / "daemon", carbonserver="max-creates-per-second = 2") as daemon:
        daemon.send("".join(f"known.m{number % 2} 1 {NOW}\n" for number in range(100)))
        daemon.settled(lambda counts: counts.accepted == 100)
        daemon.send("".join(f"new.m{number} 1 {NOW}\nknown.m{number % 2} 1 {NOW}\n" for number in range(1000)))
        counts = daemon.settled(lambda counts: counts.received == 2100)
        assert 1100 <= counts.accepted <= 1110
        assert daemon.health()['carbonquota_dropped_total{control="creates"}'] == counts.dropped


def test_a_namespace_that_is_throttled_is_told_once_with_its_rule(daemon: Daemon) -> None:
    for _ in range(3):
        daemon.send("".join(f"team.loud.m{number} 1 {NOW}\n" for number in range(15)))
    daemon.settled(lambda counts: counts.dropped == 15)
    wait_until(lambda: "team.loud" in daemon.log, lambda: daemon.log)
    (line,) = [line for line in daemon.log.splitlines() if "team.loud" in line]
    place = f"{daemon.rules}:1"
    start = f"WARNING namespace team.loud is throttled by metrics = 10 of [team.*] ({place}); dropped: team.loud.m10"
    assert start in line


def test_a_throughput_limit_goes_on_where_it_was_after_a_restart(tmp_path: Path) -> None:
    with running(tmp_path / "daemon", rules="[a]\nthroughput = 10\n", interval=86_400) as daemon:
        daemon.send(f"a.b 1 {NOW}\n" * 8)
        wait_until(lambda: daemon.counts().accepted == 8, lambda: daemon.log)
        assert daemon.stop() == 0, daemon.log
        daemon.start()
        daemon.send(f"a.b 1 {NOW}\n" * 8)
        wait_until(lambda: daemon.counts().received == 8, lambda: daemon.log)
        assert daemon.counts().accepted == 2
