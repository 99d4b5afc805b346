"""The scan against real trees and the real engine: what is found, resized, forgotten, and what never is."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import whisper

from carbonquota import QuotaEngine, Size
from carbonquota.service.scan import Scanner, ScanResult, Tree
from carbonquota.storage.paths import hashed_path_of, path_of
from carbonquota.testing import ManualClock
from tests.support.disks import Mounted, compressed_file
from tests.support.small import SIZE, engine_under

NOW = 2_000_000_000.0
LONG = f"disk.free;host={'h' * 200};path=/var/log"


def create(root: Path, metric: str, points: int = 10) -> Path:
    path = root / path_of(metric)
    path.parent.mkdir(parents=True, exist_ok=True)
    whisper.create(str(path), [(60, points)])
    return path


def size_of(path: Path) -> Size:
    status = path.stat()
    return Size(status.st_size, status.st_blocks * 512, (status.st_size - 28) // 12)


def counts(result: ScanResult) -> dict[str, int]:
    fields = ("files", "loaded", "resized", "forgotten", "errors")
    return {name: getattr(result, name) for name in fields if getattr(result, name)}


def engine_with(*metrics: str) -> QuotaEngine:
    engine = engine_under()
    for metric in metrics:
        engine.load(metric, SIZE)
    return engine


def scan(root: Path, engine: QuotaEngine) -> dict[str, int]:
    return counts(Scanner(Tree(str(root)), engine).scan())


def test_files_are_loaded_resized_and_forgotten_as_they_come_grow_and_go(tmp_path: Path) -> None:
    engine = engine_with()
    scanner = Scanner(Tree(str(tmp_path)), engine)
    first, second = create(tmp_path, "a.b"), create(tmp_path, "a.c;x=y", 500)
    assert counts(scanner.scan()) == {"files": 2, "loaded": 2}
    sizes = size_of(first), size_of(second)
    assert engine.usage("a").physical_size == sizes[0].physical + sizes[1].physical
    assert engine.usage("a").data_points == 510
    assert counts(scanner.scan()) == {"files": 2}
    second.unlink()
    create(tmp_path, "a.c;x=y", 900)
    assert counts(scanner.scan()) == {"files": 2, "resized": 1}
    assert engine.usage("a").data_points == 910
    first.unlink()
    assert counts(scanner.scan()) == {"files": 1, "forgotten": 1}
    assert "a.b" not in engine
    assert engine.usage("a").metrics == 1


def test_a_file_that_is_as_large_as_the_index_has_it_is_not_opened(tmp_path: Path) -> None:
    path = create(tmp_path, "a.b")
    engine = engine_with()
    engine.load("a.b", size_of(path))
    path.write_bytes(b"x" * path.stat().st_size)
    assert scan(tmp_path, engine) == {"files": 1}


@pytest.mark.parametrize("root", ["{}", "{}/", "{}//."])
def test_the_root_may_be_spelled_in_any_way(tmp_path: Path, root: str) -> None:
    create(tmp_path, "a.b")
    engine = engine_with()
    assert counts(Scanner(Tree(root.format(tmp_path)), engine).scan()) == {"files": 1, "loaded": 1}
    assert "a.b" in engine


def test_a_metric_that_comes_during_the_walk_is_not_lost(tmp_path: Path) -> None:
    create(tmp_path, "a.b")
    engine = engine_with("z.gone")

    def comes(_: int) -> None:
        assert engine.offer("a.new")

    assert counts(Scanner(Tree(str(tmp_path)), engine).scan(comes)) == {"files": 1, "loaded": 1, "forgotten": 1}
    assert "a.new" in engine


def test_a_file_made_behind_the_walk_keeps_its_metric(tmp_path: Path) -> None:
    create(tmp_path, "m.n")
    engine = engine_with("a.b", "z.gone")

    def on_data_thread(function: Callable[[], None]) -> None:
        if "a.b" not in made:
            made["a.b"] = create(tmp_path, "a.b")
        function()

    made: dict[str, Path] = {}
    result = Scanner(Tree(str(tmp_path)), engine, on_data_thread=on_data_thread).scan()
    assert counts(result) == {"files": 1, "loaded": 1, "forgotten": 1}
    assert "a.b" in engine


def test_a_metric_with_points_that_wait_is_kept_and_forgotten_once_they_do_not(tmp_path: Path) -> None:
    create(tmp_path, "a.b")
    engine, pending = engine_with("a.waits", "a.gone"), {"a.waits"}
    scanner = Scanner(Tree(str(tmp_path), is_pending=pending.__contains__), engine)
    assert counts(scanner.scan()) == {"files": 1, "loaded": 1, "forgotten": 1}
    assert "a.waits" in engine
    pending.clear()
    assert counts(scanner.scan()) == {"files": 1, "forgotten": 1}
    assert "a.waits" not in engine


def test_it_is_settled_in_steps_and_each_is_waited_for(tmp_path: Path) -> None:
    create(tmp_path, "a.b")
    engine = engine_with(*(f"a.gone{number}" for number in range(450)))
    lengths: list[int] = []

    def on_data_thread(function: Callable[[], None]) -> None:
        before = len(engine)
        function()
        lengths.append(before - len(engine))

    scanner = Scanner(Tree(str(tmp_path)), engine, on_data_thread=on_data_thread)
    assert scanner.scan().forgotten == 0
    lengths.clear()
    assert scanner.scan().forgotten == 450
    assert lengths == [0, 0, 0, 200, 200, 50]


def test_own_stats_are_left_alone(tmp_path: Path) -> None:
    create(tmp_path, "carbon.agents.me.points")
    create(tmp_path, "carbon.agents.meadow")
    engine = engine_with("carbon.agents.me.other")
    result = Scanner(Tree(str(tmp_path), exempt=("carbon.agents.me.",)), engine).scan()
    assert counts(result) == {"files": 2, "loaded": 1}
    assert "carbon.agents.me.points" not in engine
    assert "carbon.agents.me.other" in engine


def test_files_not_written_to_for_the_ttl_count_as_gone(tmp_path: Path) -> None:
    for metric, age in {"a.old": 101, "a.stale": 101, "a.waits": 101, "a.fresh": 99}.items():
        os.utime(create(tmp_path, metric), (NOW, NOW - age))
    engine = engine_with("a.stale", "a.waits", "a.gone")
    tree = Tree(str(tmp_path), ttl=100.0, is_pending="a.waits".__eq__)
    scanner = Scanner(tree, engine, clock=ManualClock(NOW))
    assert counts(scanner.scan()) == {"files": 4, "loaded": 1, "forgotten": 2}
    assert [name for name in ("a.old", "a.stale", "a.waits", "a.fresh", "a.gone") if name in engine] == [
        "a.waits",
        "a.fresh",
    ]


def test_a_hashed_file_is_its_metrics_if_that_is_known_and_nobodys_else(tmp_path: Path) -> None:
    path = create(tmp_path, LONG, 77)
    assert scan(tmp_path, engine_with()) == {"files": 1}
    engine = engine_with(LONG, "a.gone")
    assert scan(tmp_path, engine) == {"files": 1, "resized": 1, "forgotten": 1}
    assert engine.usage("disk").data_points == 77
    path.unlink()
    create(tmp_path, "a.b")
    assert scan(tmp_path, engine) == {"files": 1, "loaded": 1, "forgotten": 1}
    assert LONG not in engine


@pytest.mark.parametrize("damage", ["missing", "empty", "only own stats"])
def test_a_tree_that_is_not_there_forgets_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    root = tmp_path / "data"
    if damage != "missing":
        root.mkdir()
    if damage == "only own stats":
        create(root, "own.points")
    engine = engine_with("a.b", "c.d")
    result = Scanner(Tree(str(root), exempt=("own.",)), engine).scan()
    assert (result.forgotten, len(engine), result.complete) == (0, 2, damage != "missing")
    told = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert told == [
        f"{root} cannot be scanned: there is no such directory"
        if damage == "missing"
        else f"there is no Whisper file below {root}, where 2 metrics should have theirs; is the disk mounted? "
        "None of them is forgotten"
    ]


def test_a_tree_that_goes_away_during_the_scan_forgets_nothing(tmp_path: Path) -> None:
    root = tmp_path / "data"
    create(root, "a.b")
    engine = engine_with("a.b", "c.d")

    def on_data_thread(function: Callable[[], None]) -> None:
        root.rename(tmp_path / "away")
        function()

    assert Scanner(Tree(str(root)), engine, on_data_thread=on_data_thread).scan().forgotten == 0
    assert len(engine) == 2


def test_what_lies_behind_a_dead_link_is_kept_and_what_lies_behind_a_live_one_is_not(tmp_path: Path) -> None:
    root, disk = tmp_path / "data", tmp_path / "disk"
    create(root, "here.m")
    create(disk, "n")
    (root / "there").symlink_to(disk)
    (tmp_path / "link").symlink_to(root)
    engine = engine_with()
    scanner = Scanner(Tree(str(tmp_path / "link")), engine)
    assert counts(scanner.scan()) == {"files": 2, "loaded": 2}
    engine.load("there.gone", SIZE)
    engine.load("elsewhere.gone", SIZE)
    assert scanner.scan().forgotten == 2
    disk.rename(tmp_path / "unplugged")
    assert scanner.scan().forgotten == 0
    assert "there.n" in engine


def test_a_directory_that_cannot_be_listed_keeps_what_is_below_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    create(tmp_path, "a.b")
    create(tmp_path, "locked.b")
    engine = engine_with("a.b", "locked.b")
    entries = os.scandir

    def scandir(path: str) -> object:
        if path.endswith("locked"):
            raise PermissionError(13, "Permission denied")
        return entries(path)

    monkeypatch.setattr(os, "scandir", scandir)  # the tests may run as root, whom nothing is closed to
    assert scan(tmp_path, engine) == {"files": 1, "resized": 1, "errors": 1}
    assert "locked.b" in engine
    assert f"{tmp_path}/locked cannot be scanned: permission denied" in caplog.messages


def test_what_cannot_be_read_is_counted_and_named_up_to_a_bound(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(12):
        (tmp_path / f"broken{number:02}.wsp").write_text("no Whisper file")
    (tmp_path / os.fsdecode(b"bad\xff.wsp")).touch()
    create(tmp_path, "good")
    engine = engine_with("broken00")
    assert scan(tmp_path, engine) == {"files": 14, "loaded": 1, "errors": 13}
    assert "broken00" in engine
    told = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(told) == 11
    assert told[1] == f"{tmp_path}/broken00.wsp cannot be scanned: no Whisper header"
    assert told[-1] == "and 3 more files or directories that cannot be scanned"


def test_a_scan_that_is_stopped_forgets_nothing(tmp_path: Path) -> None:
    for name in "abc":
        create(tmp_path, name)
    engine = engine_with("gone")
    scanner = Scanner(Tree(str(tmp_path)), engine)
    result = scanner.scan(lambda _: scanner.stop())
    assert (counts(result), result.complete) == ({"files": 1, "loaded": 1}, False)
    assert "gone" in engine


def test_its_health_is_that_of_the_last_scan(tmp_path: Path) -> None:
    create(tmp_path, "a.b")
    (tmp_path / "broken.wsp").touch()
    scanner = Scanner(Tree(str(tmp_path)), engine_with(), clock=ManualClock(NOW))
    steps: list[int] = []
    result = scanner.scan(steps.append)
    samples = {sample.stat: sample.value for sample in scanner.health()}
    assert samples == {"scan_time": NOW, "scan_seconds": result.seconds, "scan_files": 2, "scan_errors": 1}
    assert steps == [1, 1]


def test_more_than_a_tenth_gone_at_once_has_to_be_seen_twice(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    files = [create(tmp_path, f"a.m{number}") for number in range(100)]
    engine = engine_with()
    scanner = Scanner(Tree(str(tmp_path)), engine)
    scanner.scan()
    for path in files[:10]:
        path.unlink()
    assert counts(scanner.scan()) == {"files": 90, "forgotten": 10}
    for path in files[10:30]:
        path.unlink()
    assert counts(scanner.scan()) == {"files": 70}
    doubt = (
        f"20 of 90 metrics have no file any more below {tmp_path}; is a disk missing? "
        "They are forgotten if the next scan finds the same"
    )
    assert list(scanner.troubles) == [doubt]
    assert doubt in caplog.messages
    create(tmp_path, "a.m10")
    files[31].unlink()
    assert counts(scanner.scan()) == {"files": 70, "forgotten": 19}
    assert not scanner.troubles
    assert len(engine) == 71
    assert counts(scanner.scan()) == {"files": 70, "forgotten": 1}
    assert len(engine) == 70


def test_metrics_that_a_kill_kept_from_having_a_file_are_forgotten_at_once(tmp_path: Path) -> None:
    for number in range(20):
        create(tmp_path, f"a.m{number}")
    engine = engine_with(*(f"new.m{number}" for number in range(50)))
    scanner = Scanner(Tree(str(tmp_path)), engine)
    scanner.expect_without_file(frozenset(f"new.m{number}".encode() for number in range(50)))
    create(tmp_path, "new.m7")
    assert counts(scanner.scan()) == {"files": 21, "loaded": 20, "resized": 1, "forgotten": 49}
    assert not scanner.troubles


def test_only_one_scan_goes_by_what_a_kill_may_have_done(tmp_path: Path) -> None:
    files = [create(tmp_path, f"a.m{number}") for number in range(50)]
    engine = engine_with()
    scanner = Scanner(Tree(str(tmp_path)), engine)
    scanner.expect_without_file(frozenset(f"a.m{number}".encode() for number in range(50)))
    scanner.scan()
    for path in files[:40]:
        path.unlink()
    assert counts(scanner.scan()) == {"files": 10}
    assert len(engine) == 50


def test_another_directory_under_the_same_path_forgets_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = tmp_path / "data"
    create(root, "a.b")
    create(root, "a.c")
    engine = engine_with()
    scanner = Scanner(Tree(str(root)), engine)
    scanner.scan()
    root.rename(tmp_path / "away")
    create(root, "a.b")
    result = scanner.scan()
    assert (counts(result), result.complete) == ({}, False)
    assert len(engine) == 2
    assert "is another directory than at the start" in caplog.text
    (root / "a/b.wsp").unlink()
    (root / "a").rmdir()
    root.rmdir()
    (tmp_path / "away").rename(root)
    (root / "a/c.wsp").unlink()
    assert counts(scanner.scan()) == {"files": 1, "forgotten": 1}


def test_a_part_of_the_tree_whose_disk_is_away_keeps_its_metrics(tmp_path: Path, mounted: Mounted) -> None:
    for number in range(30):
        create(tmp_path, f"here.m{number}")
    engine = engine_with()
    scanner = Scanner(Tree(str(tmp_path)), engine)
    with mounted(tmp_path / "there"):
        create(tmp_path, "there.n")
        assert scanner.scan().loaded == 31
    (tmp_path / "here/m0.wsp").unlink()
    assert counts(scanner.scan()) == {"files": 29, "forgotten": 1}
    assert "there.n" in engine
    (trouble,) = scanner.troubles
    assert trouble.startswith(f"{tmp_path}/there: a disk was mounted there before, and is not now")
    with mounted(tmp_path / "there"):
        create(tmp_path, "there.o")
        assert counts(scanner.scan()) == {"files": 30, "loaded": 1, "forgotten": 1}
    assert not scanner.troubles


def test_of_two_files_of_one_metric_the_one_that_is_written_counts(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    create(tmp_path, "a.b", 20)
    whisper.create(str(tmp_path / "a.b.wsp"), [(60, 500)])
    whisper.create(str(tmp_path / "c.d.wsp"), [(60, 500)])
    engine = engine_with()
    scanner = Scanner(Tree(str(tmp_path)), engine)
    for _ in range(2):
        scanner.scan()
        assert (len(engine), engine.usage().data_points) == (1, 20)
    assert "a.b.wsp cannot be scanned: it is not read as any metric: the file of a.b is a/b.wsp" in caplog.messages


def test_a_tagged_series_under_its_name_and_its_hash_is_one_metric(tmp_path: Path) -> None:
    tagged = "cpu;host=a"
    named, hashed = create(tmp_path, tagged, 20), tmp_path / hashed_path_of(tagged)
    engine = engine_with()
    scanner = Scanner(Tree(str(tmp_path), path_of=hashed_path_of), engine)
    assert counts(scanner.scan()) == {"files": 1, "loaded": 1}
    whisper.create(str(hashed), [(60, 300)])
    assert scanner.scan().errors == 1
    assert (len(engine), engine.usage().data_points) == (1, 300)
    named.unlink()
    assert counts(scanner.scan()) == {"files": 1}


def test_hashed_files_whose_metric_is_not_known_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    create(tmp_path, LONG, 77)
    scan(tmp_path, engine_with())
    (told,) = caplog.messages
    assert told == (
        f"{tmp_path}: 1 files of tagged series are called by a hash, and whose they are is not known: each counts from "
        "the first point on that comes for its metric"
    )


def test_compressed_files_count_and_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "a.wsp").write_bytes(compressed_file())
    engine = engine_with()
    assert scan(tmp_path, engine) == {"files": 1, "loaded": 1}
    assert engine.usage().data_points == 1440
    assert f"1 compressed Whisper files, such as {tmp_path}/a.wsp, count with the room" in caplog.text
