"""What a scan says of itself, and of files that are there and cannot be read."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import whisper

from carbonquota import QuotaEngine
from carbonquota.service.scan import Scanner, Tree
from tests.support.small import SIZE, engine_under


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """All lines, the seconds as 0.0."""
    caplog.set_level(logging.INFO, "carbonquota")
    return lambda: [re.sub(r"in [0-9.]+ s", "in 0.0 s", message) for message in caplog.messages]


def create(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    whisper.create(str(path), [(60, 10)])


def engine_with(*metrics: str) -> QuotaEngine:
    engine = engine_under()
    for metric in metrics:
        engine.load(metric, SIZE)
    return engine


def test_a_scan_is_one_line_and_one_more_for_each_file_that_cannot_be_read(
    tmp_path: Path, log: Callable[[], list[str]]
) -> None:
    create(tmp_path / "a/new.wsp")
    create(tmp_path / "a/other.wsp")
    os.mkfifo(tmp_path / "pipe.wsp")
    (tmp_path / "dangling.wsp").symlink_to(tmp_path / "nowhere")
    (tmp_path / "broken.wsp").write_text("no Whisper file")
    (tmp_path / "a\tb.wsp").touch()
    engine = engine_with("a.other", "a.gone", "dangling", "pipe")
    assert Scanner(Tree(str(tmp_path)), engine).scan().complete
    assert [line for line in log() if "a\tb" not in line] == [
        f"{tmp_path}/broken.wsp cannot be scanned: no Whisper header",
        f"{tmp_path}/dangling.wsp cannot be scanned: no such file or directory",
        f"{tmp_path}/pipe.wsp cannot be scanned: not a regular file",
        f"{tmp_path}: scanned: 6 Whisper files in 0.0 s, 1 metrics found, 1 resized, 1 gone, 4 unreadable",
    ]
    # What may only be out of sight stays.
    assert [name for name in ("a.gone", "dangling", "pipe") if name in engine] == ["dangling", "pipe"]


def test_a_scan_without_a_tree_says_that_it_did_not_get_through(tmp_path: Path, log: Callable[[], list[str]]) -> None:
    root = tmp_path / "data"
    assert Scanner(Tree(str(root)), engine_with("a.b")).scan().complete is False
    nothing = "0 Whisper files in 0.0 s, 0 metrics found, 0 resized, 0 gone, 0 unreadable"
    assert log() == [
        f"{root} cannot be scanned: there is no such directory",
        f"{root}: the scan did not get through: {nothing}",
    ]


def test_a_scan_that_is_stopped_while_it_forgets_is_not_complete(tmp_path: Path, log: Callable[[], list[str]]) -> None:
    create(tmp_path / "a.wsp")
    engine = engine_with(*(f"gone.m{number}" for number in range(300)))
    settled = []

    def on_data_thread(function: Callable[[], None]) -> None:
        """Stop where the second scan has forgotten the first of two parts; that many must be gone in two scans."""
        function()
        settled.append(function)
        if len(settled) == 5:
            scanner.stop()

    scanner = Scanner(Tree(str(tmp_path)), engine, on_data_thread=on_data_thread)
    assert (scanner.scan().forgotten, len(engine)) == (0, 301)
    result = scanner.scan()
    assert (result.forgotten, result.complete, len(engine)) == (200, False, 101)
    counts = "1 Whisper files in 0.0 s, 0 metrics found, 0 resized, 200 gone, 0 unreadable"
    assert log()[-1] == f"{tmp_path}: the scan did not get through: {counts}"


def test_what_settling_raises_is_raised_and_forgets_nothing(tmp_path: Path) -> None:
    create(tmp_path / "a.wsp")
    engine = engine_with("gone")

    def on_data_thread(_: Callable[[], None]) -> None:
        raise RuntimeError("the loop is closed")

    scanner = Scanner(Tree(str(tmp_path)), engine, on_data_thread=on_data_thread)
    with pytest.raises(RuntimeError, match=r"^the loop is closed$"):
        scanner.scan()
    assert "gone" in engine
