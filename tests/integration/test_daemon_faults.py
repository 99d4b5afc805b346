"""The daemon on a disk that fails, and on one whose directories are moved about while it writes there."""

from __future__ import annotations

import shutil
import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.daemon import running, wait_until

NOW = int(time.time()) // 60 * 60
SHIM = Path(__file__).parents[1] / "support" / "faulty_disk.c"
METRICS = 30


def lines(timestamp: int) -> str:
    return "".join(f"team.m{number} 1 {timestamp}\n" for number in range(METRICS))


@pytest.fixture
def faulty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Processes started from here on find a bad disk under their Whisper files as long as this file exists."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("there is no C compiler to build a bad disk with")
    library, control = tmp_path / "faulty.so", tmp_path / "faulty"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(SHIM), "-ldl"], check=True)
    monkeypatch.setenv("LD_PRELOAD", str(library))
    monkeypatch.setenv("FAULTY_WHILE", str(control))
    return control


def test_errors_of_the_disk_are_told_and_cost_no_point(tmp_path: Path, faulty: Path) -> None:
    with running(tmp_path / "daemon", rules="[team]\nmetrics = 30\n", carbonserver='scan-frequency = "1s"') as daemon:
        daemon.send(lines(NOW - 60))
        daemon.settled(lambda counts: counts.gone >= METRICS)
        faulty.touch()
        daemon.send(lines(NOW))
        wait_until(lambda: daemon.count("sink_errors_total") >= METRICS, lambda: daemon.log)
        (reason,) = daemon.json("/health")["reasons"]
        assert reason.startswith(f"{METRICS} Whisper files cannot be written, such as {tmp_path}/daemon/whisper/team/m")
        assert reason.endswith(": input/output error; check the disk")
        assert daemon.count("sink_up") == 0
        daemon.send(f"team.new 1 {NOW}\n")
        before = daemon.count("scan_time")
        wait_until(lambda: daemon.count("scan_time") > before, lambda: daemon.log)
        assert daemon.count("series") == METRICS
        faulty.unlink()
        counts = daemon.settled(lambda counts: counts.gone >= 2 * METRICS)
        assert (counts.lost, counts.dropped) == (0, 1)
        assert daemon.value("team.m7", NOW) == 1.0
        wait_until(lambda: not daemon.json("/health")["reasons"], lambda: str(daemon.json("/health")))


class Swapper(threading.Thread):
    """Has directories be links to nothing, themselves, outside and elsewhere for moments, until it is stopped."""

    def __init__(self, data: Path) -> None:
        super().__init__()
        self.paths = [(data / f"t{number}", data / f"away{number}") for number in range(5)]
        self.stopping = threading.Event()

    def run(self) -> None:
        while not self.stopping.is_set():
            for path, away in self.paths:
                for target in ("nowhere", path.name, "../../outside/none", away.name):
                    self.turn(path, away, target)

    def turn(self, path: Path, away: Path, target: str) -> None:
        """Make a link of it for a moment; the daemon may make the directory anew in between."""
        with suppress(OSError):
            path.rename(away)
            path.symlink_to(target)
            time.sleep(0.002)
        with suppress(OSError):
            path.unlink(missing_ok=True)
        if away.exists() and not path.exists():
            with suppress(OSError):
                away.rename(path)


def test_directories_that_turn_into_links_and_back_cost_no_point_and_nothing_outside(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_text("kept")
    with running(tmp_path / "daemon", carbonserver='scan-frequency = "1s"') as daemon:
        swapper = Swapper(daemon.folder / "whisper")
        swapper.start()
        try:
            for turn in range(40):
                daemon.send("".join(f"t{number % 5}.m{number}x{turn} 1 {NOW}\n" for number in range(20)))
                time.sleep(0.02)
        finally:
            swapper.stopping.set()
            swapper.join()
        counts = daemon.settled(lambda counts: counts.received == 800 and not counts.waiting)
        assert (counts.lost, counts.dropped, counts.malformed) == (0, 0, 0)
    assert sorted(path.name for path in outside.iterdir()) == ["kept"]
