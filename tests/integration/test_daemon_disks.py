"""The daemon on disks that go away, fill up, or hold files of others: what it says, and that no quota opens by it."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import whisper

from tests.support.daemon import Daemon, running, wait_until
from tests.support.disks import Mounted, bind, compressed_file, unmount

NOW = int(time.time()) // 60 * 60
RULES = "[team]\nmetrics = 40\n"
OFTEN = 'scan-frequency = "1s"'


def lines(first: int, last: int) -> str:
    return "".join(f"team.m{number} 1 {NOW}\n" for number in range(first, last))


def reasons(daemon: Daemon) -> list[str]:
    found: list[str] = daemon.json("/health")["reasons"]
    return found


def scans(daemon: Daemon) -> float:
    return daemon.count("scan_time")


def wait_for_scans(daemon: Daemon, number: int = 2) -> None:
    """Wait until so many more scans were made, or refused."""
    for _ in range(number):
        before = scans(daemon)
        wait_until(lambda before=before: scans(daemon) > before, lambda: daemon.log)  # type: ignore[misc]


def check_that_nothing_opens(folder: Path, go_away: Callable[[], object], come_back: Callable[[], object]) -> None:
    """With its disk away, the daemon holds the limit, writes nothing and forgets nothing; then it goes on."""
    with running(folder, rules=RULES, carbonserver=OFTEN) as daemon:
        daemon.send(lines(0, 40))
        wait_until(lambda: len(daemon.stored()) == 40, lambda: daemon.log)
        go_away()
        daemon.send(lines(0, 1))
        wait_until(lambda: reasons(daemon), lambda: daemon.log)
        assert any(
            "nothing is written and no metric forgotten until it is back" in reason for reason in reasons(daemon)
        )
        wait_for_scans(daemon)
        daemon.send(lines(40, 80))
        counts = daemon.settled(lambda counts: counts.received == 81)
        assert (counts.dropped, counts.lost) == (40, 0)
        assert daemon.stored() == set()
        come_back()
        wait_until(lambda: daemon.counts().gone >= 41, lambda: daemon.log, patience=90)
        wait_for_scans(daemon)
        daemon.send(lines(40, 80))
        assert daemon.settled(lambda counts: counts.received == 121).dropped == 80
        wait_until(lambda: not reasons(daemon), lambda: f"{reasons(daemon)} {daemon.log}")


def test_a_mount_that_goes_away_opens_no_quota(tmp_path: Path, mounted: Mounted) -> None:
    data = tmp_path / "daemon/whisper"
    disk = tmp_path / "disk"
    with mounted(disk):
        # The same file system at two places: taken away at one, it can come back.
        data.mkdir(parents=True)
        bind(disk, data)
        try:
            check_that_nothing_opens(tmp_path / "daemon", lambda: unmount(data), lambda: bind(disk, data))
        finally:
            unmount(data)


def test_a_data_directory_that_is_removed_is_not_made_anew(tmp_path: Path) -> None:
    data, away = tmp_path / "daemon/whisper", tmp_path / "away"

    def go_away() -> None:
        data.rename(away)

    def come_back() -> None:
        assert not data.exists()
        away.rename(data)

    check_that_nothing_opens(tmp_path / "daemon", go_away, come_back)


def test_two_daemons_on_one_data_directory_are_refused(tmp_path: Path) -> None:
    with running(tmp_path / "first") as first:
        second = Daemon(tmp_path / "second")
        text = second.configuration.read_text()
        second.configuration.write_text(text.replace('data-dir = "whisper"', f'data-dir = "{first.folder}/whisper"'))
        second.start(ready=False)
        assert second.process is not None
        assert second.process.wait(20) == 1
        assert f"{first.folder}/whisper: another carbonquota with the process number" in second.log
        first.kill()
        with running(tmp_path / "first"):
            pass


def test_files_that_cannot_be_written_are_files_and_no_disk(tmp_path: Path) -> None:
    data = tmp_path / "daemon/whisper/team"
    data.mkdir(parents=True)
    (data / "empty.wsp").touch()
    (data / "packed.wsp").write_bytes(compressed_file())
    whisper.create(str(data / "good.wsp"), [(60, 60)])
    with running(tmp_path / "daemon", rules=RULES) as daemon:
        assert daemon.json("/api/namespaces/team")["usage"]["metrics"] == 2
        assert f"compressed Whisper files, such as {data}/packed.wsp" in daemon.log
        assert f"{data}/empty.wsp cannot be scanned: empty" in daemon.log
        daemon.send(f"team.empty 1 {NOW}\nteam.packed 1 {NOW}\n")
        wait_until(lambda: daemon.count("sink_errors_total") >= 2, lambda: daemon.log)
        wait_until(lambda: reasons(daemon), lambda: daemon.log)
        (reason,) = reasons(daemon)
        assert reason.startswith(f"2 Whisper files cannot be written, such as {data}/")
        assert daemon.count("sink_up") == 1
        assert "destination" not in reason
        cause = "a compressed Whisper file, as go-carbon makes them; have go-carbon write this tree"
        assert f"cannot write {data}/packed.wsp: {cause}" in daemon.log
        assert f"cannot write {data}/empty.wsp: not a whole Whisper file: the file is empty" in daemon.log


def test_points_that_no_file_would_keep_make_none_and_give_back_what_they_were_charged(tmp_path: Path) -> None:
    with running(tmp_path / "daemon", rules="[team]\nmetrics = 1\n") as daemon:
        daemon.send(f"team.old 1 {NOW - 7200}\nteam.old 1 {NOW + 10**6}\n")
        wait_until(lambda: daemon.counts().lost == 2, lambda: daemon.log)
        wait_until(lambda: daemon.count("series") == 0, lambda: daemon.log)
        daemon.send(f"team.new 1 {NOW}\n")
        wait_until(lambda: daemon.stored() == {"team.new"}, lambda: daemon.log)
        assert daemon.health()['carbonquota_lost_total{reason="retention"}'] == 2
        (reason,) = reasons(daemon)
        assert reason.startswith("2 accepted points were lost: they are older, or further ahead")
        assert "such as of team.old" in daemon.log


def test_what_senders_put_below_the_prefix_is_counted_from_a_scan_from_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "daemon"
    with running(folder, interval=1) as daemon:
        daemon.send(f"carbon.agents.test.cpu 1 {NOW}\n")
        wait_until((folder / "whisper/carbon/agents/test/carbonquota/accepted.wsp").exists, lambda: daemon.log)
        wait_until((folder / "whisper/carbon/agents/test/cpu.wsp").exists, lambda: daemon.log)
        assert daemon.stop() == 0
    for path in (folder / "state").iterdir():
        path.unlink()
    with running(folder) as daemon:
        assert daemon.count("series") == 1


def test_a_full_disk_below_the_state_costs_no_start_and_no_metric(tmp_path: Path, mounted: Mounted) -> None:
    folder, disk = tmp_path / "daemon", tmp_path / "daemon/state"
    with mounted(disk):
        fill(disk / "others")
        with running(folder, rules=RULES) as daemon:
            wait_until(lambda: "No space left" in daemon.log or "no space left" in daemon.log, lambda: daemon.log)
            daemon.send(lines(0, 50))
            assert daemon.settled(lambda counts: counts.received == 50).dropped == 10
            assert any("no space left" in reason for reason in reasons(daemon))
            (disk / "others").unlink()
            wait_until(lambda: not reasons(daemon), lambda: f"{reasons(daemon)} {daemon.log}")
            daemon.kill()
            daemon.start()
            daemon.send(lines(50, 60))
            assert daemon.settled(lambda counts: counts.received == 10).dropped == 10


def fill(path: Path) -> None:
    """A file that takes all of the room on its disk."""
    with suppress(OSError), path.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(65_536))
    with suppress(OSError), path.open("ab", buffering=0) as file:
        while True:
            file.write(b"x")
