"""Files that are waited for until nobody writes them: real ones, written in parts."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

from carbonquota.service.settling import SettleTimes, signatures, wait_until_settled


def age(path: Path, seconds: float) -> None:
    """Let a file have been changed so long ago."""
    os.utime(path, times=(time.time(), time.time() - seconds))


def test_a_file_that_was_written_long_ago_is_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "rules.conf"
    path.write_text("[a]\n")
    age(path, 300)
    rest = SettleTimes(quiet=60, unfinished=60, most=1000)
    start = time.monotonic()
    assert wait_until_settled([str(path)], rest) == signatures([str(path)])
    assert time.monotonic() - start < rest.quiet


def test_a_file_written_in_two_parts_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "rules.conf"
    path.write_text("[a]\nmetrics = 1")

    def finish() -> None:
        time.sleep(0.3)
        with path.open("a") as file:
            file.write("000\n")

    thread = threading.Thread(target=finish)
    thread.start()
    found = wait_until_settled([str(path)], SettleTimes(quiet=0.05, unfinished=1000, most=20))
    thread.join()
    assert found == signatures([str(path)])
    assert path.read_text() == "[a]\nmetrics = 1000\n"


def test_a_file_that_never_settles_is_given_up(tmp_path: Path) -> None:
    path = tmp_path / "rules.conf"
    path.write_text("[a]\n")
    assert wait_until_settled([str(path)], SettleTimes(quiet=1000, most=0.05)) is None


def test_a_clock_put_back_makes_no_file_younger_than_it_looks(tmp_path: Path) -> None:
    path = tmp_path / "rules.conf"
    path.write_text("[a]\n")
    age(path, -1000)
    assert wait_until_settled([str(path)], SettleTimes(quiet=0.02, most=20)) == signatures([str(path)])


def test_no_files_and_files_that_are_gone_have_settled(tmp_path: Path) -> None:
    assert wait_until_settled([]) == ()
    missing = str(tmp_path / "missing")
    assert wait_until_settled([missing]) == signatures([missing])
