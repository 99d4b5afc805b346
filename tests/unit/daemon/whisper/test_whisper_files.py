"""Real Whisper files: what is written is read back by the whisper library."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest
import whisper

from carbonquota.daemon.whisper.failures import CompressedFileError, CreationError, Failure, failure_of
from carbonquota.daemon.whisper.files import UNFINISHED, WhisperFiles
from carbonquota.errors import QuotaError
from carbonquota.rules import Aggregations, Schemas
from carbonquota.storage.data_directory import LOCK, DataDirectory, DirectoryChangedError
from carbonquota.testing import ManualClock
from tests.support.disks import compressed_file

NOW = 1_700_000_000
SCHEMAS = Schemas.from_text(
    "[short]\npattern = ^s\\.\nretentions = 1:10,10:10\n[all]\npattern = ^a\nretentions = 60:100\n"
)
AGGREGATIONS = Aggregations.from_text("[max]\npattern = max$\nxFilesFactor = 0.25\naggregationMethod = max\n")


def path_of(metric: str) -> str:
    return metric.replace(".", "/") + ".wsp"


def files_at(root: Path, *, sparse: bool = False) -> WhisperFiles:
    files = WhisperFiles(DataDirectory(str(root)), path_of, ManualClock(NOW), sparse=sparse)
    files.follow(SCHEMAS, AGGREGATIONS)
    return files


def values(path: Path, start: int, end: int) -> dict[int, float]:
    (first, _, step), found = whisper.fetch(str(path), start, end, now=max(NOW, end))
    return {first + step * index: value for index, value in enumerate(found) if value is not None}


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("metric", ["a.b", "s.x", "other"])
def test_a_new_file_is_as_large_as_quotas_charge(tmp_path: Path, metric: str, sparse: bool) -> None:
    files_at(tmp_path, sparse=sparse).create(metric)
    path = tmp_path / path_of(metric)
    assert path.stat().st_size == SCHEMAS.size_of(metric).logical
    assert (
        sum(archive["points"] for archive in whisper.info(str(path))["archives"]) == SCHEMAS.size_of(metric).data_points
    )


def test_sparse_files_take_less_room(tmp_path: Path) -> None:
    files_at(tmp_path / "sparse", sparse=True).create("other")
    files_at(tmp_path / "dense").create("other")
    blocks = [(tmp_path / kind / "other.wsp").stat().st_blocks * 512 for kind in ("sparse", "dense")]
    assert blocks[0] < 100_000
    assert blocks[1] > 2_000_000


@pytest.mark.parametrize(("metric", "method", "factor"), [("a.max", "max", 0.25), ("a.b", "average", 0.5)])
def test_a_new_file_is_aggregated_as_its_section_says(tmp_path: Path, metric: str, method: str, factor: float) -> None:
    files_at(tmp_path).create(metric)
    header: dict[str, Any] = whisper.info(str(tmp_path / path_of(metric)))
    assert (header["aggregationMethod"], header["xFilesFactor"]) == (method, factor)


def test_new_tables_are_for_files_made_from_then_on(tmp_path: Path) -> None:
    files = files_at(tmp_path)
    files.create("a.b")
    files.follow(Schemas.from_text("[x]\npattern = .\nretentions = 1:5"), Aggregations())
    files.create("a.max")
    assert [(tmp_path / path_of(metric)).stat().st_size for metric in ("a.b", "a.max")] == [1228, 88]


def test_points_are_read_back_at_their_times(tmp_path: Path) -> None:
    files = files_at(tmp_path)
    files.create("s.x")
    files.update("s.x", [(NOW - 2, 1.0), (NOW, 2.0), (NOW - 1, 3.0), (NOW - 2, 4.0)])
    assert values(tmp_path / "s/x.wsp", NOW - 9, NOW) == {NOW - 2: 4.0, NOW - 1: 3.0, NOW: 2.0}


def test_points_past_the_retention_are_left_out(tmp_path: Path) -> None:
    files = files_at(tmp_path)
    files.create("a.b")
    files.update("a.b", [(NOW - 6001 - 60, 1.0), (0, 1.0), (NOW, 2.0)])
    assert values(tmp_path / "a/b.wsp", NOW - 6000, NOW) == {NOW - NOW % 60: 2.0}


def test_any_number_of_points_in_the_future_harms_no_other_archive(tmp_path: Path) -> None:
    files = files_at(tmp_path)
    files.create("s.x")
    files.update("s.x", [(NOW - 60, 7.0)])
    files.update("s.x", [(NOW + second, float(second)) for second in range(-3, 40)])
    path = tmp_path / "s/x.wsp"
    assert path.stat().st_size == SCHEMAS.size_of("s.x").logical
    assert values(path, NOW + 29, NOW + 39) == {NOW + second: float(second) for second in range(30, 40)}
    assert values(path, NOW - 65, NOW - 55) == {NOW - 60: 7.0}


def test_without_a_file_an_update_says_so(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        files_at(tmp_path).update("a.b", [(NOW, 1.0)])


def failure_to_create(files: WhisperFiles, metric: str) -> Failure:
    with pytest.raises(CreationError) as caught:
        files.create(metric)
    return failure_of(caught.value)


def test_a_file_in_the_place_of_a_directory_is_told_with_its_remedy(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("in the way")
    remedy = "move away what stands where a directory or file of this name is needed"
    assert failure_to_create(files_at(tmp_path), "a.b") == Failure(
        "io", "file exists", remedy, creating=True, alone=True
    )
    assert failure_to_create(files_at(tmp_path), "a.b.c") == Failure(
        "io", "not a directory", remedy, creating=True, alone=True
    )


def test_a_failed_creation_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "a/b.wsp").mkdir(parents=True)
    assert failure_to_create(files_at(tmp_path), "a.b").reason == "io"
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b.wsp"]


def test_a_retention_no_file_can_hold_is_told_with_its_remedy(tmp_path: Path) -> None:
    files = files_at(tmp_path)
    files.follow(Schemas.from_text("[x]\npattern = .\nretentions = 60:4294967295"), Aggregations())
    assert failure_to_create(files, "a.b") == Failure(
        "io", "no Whisper file can be so large", "shorten its retention", creating=True, alone=True
    )
    assert list((tmp_path / "a").iterdir()) == []


def test_what_a_crash_left_half_made_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / UNFINISHED).write_text("half")
    files_at(tmp_path).create("a.b")
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b.wsp"]


def test_a_name_too_long_for_the_disk_is_a_matter_of_names(tmp_path: Path) -> None:
    assert failure_to_create(files_at(tmp_path), "a" * 300).reason == "name"


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (b"", "the file is empty"),
        (b"not a whisper file at all", "unable to read header"),
        (bytes.fromhex("00000001 00000e10 3f000000 00000000"), "its header names no archive"),
        (bytes(64), "its header names no archive"),
        (bytes.fromhex("00000001 00000e10 3f000000 00000001"), "unable to read archive0 metadata"),
        (
            bytes.fromhex("00000001 00000e10 3f000000 00000001 0000001c 0000003c 00000064"),
            "unable to read base datapoint",
        ),
        (
            bytes.fromhex("00000001 00000e10 3f000000 00000001 0000001c 00000000 00000064") + bytes(12),
            "integer modulo by zero",
        ),
    ],
)
def test_a_corrupt_file_is_told_as_such(tmp_path: Path, content: bytes, cause: str) -> None:
    path = tmp_path / "x.wsp"
    path.write_bytes(content)
    with pytest.raises(Exception) as caught:  # noqa: PT011 - whatever whisper makes of it
        files_at(tmp_path).update("x", [(NOW, 1.0)])
    failure = failure_of(caught.value)
    assert failure.reason == "corrupt"
    assert failure.cause.lower().startswith("not a whole whisper file: ")
    assert failure.remedy == "mend the file, or move it away and a new one is made"


@pytest.mark.parametrize(
    ("number", "reason", "everywhere"),
    [
        (errno.ENOSPC, "disk_full", True),
        (errno.EDQUOT, "disk_full", True),
        (errno.EFBIG, "disk_full", False),
        (errno.EACCES, "permission", False),
        (errno.EROFS, "permission", True),
        (errno.EIO, "io", False),
        (errno.ENAMETOOLONG, "name", False),
    ],
)
def test_what_the_system_says_has_a_reason(number: int, reason: str, everywhere: bool) -> None:
    failure = failure_of(OSError(number, "Because"))
    assert (failure.reason, failure.everywhere, failure.cause) == (reason, everywhere, "because")


def test_anything_else_is_a_bug() -> None:
    assert failure_of(TypeError("x")).reason == "internal"


def test_a_compressed_file_is_told_as_such_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "x.wsp"
    path.write_bytes(compressed_file())
    with pytest.raises(CompressedFileError) as caught:
        files_at(tmp_path).update("x", [(NOW, 1.0)])
    assert failure_of(caught.value) == Failure(
        "compressed",
        "a compressed Whisper file, as go-carbon makes them",
        "have go-carbon write this tree, or move the file away and a new one is made",
        alone=True,
    )
    assert path.read_bytes() == compressed_file()


@pytest.mark.parametrize("away", [-101, 101, -NOW, 2**32 - 1 - NOW])
def test_points_outside_of_the_retention_are_left_out_and_not_worth_a_file(tmp_path: Path, away: int) -> None:
    files = files_at(tmp_path)
    assert not files.is_worth_a_file("s.x", [(NOW + away, 1.0)])
    assert files.is_worth_a_file("s.x", [(NOW + away, 1.0), (NOW, 1.0)])
    files.create("s.x")
    assert files.update("s.x", [(NOW - 1, 1.0), (NOW + away, 9.0), (NOW + away, 8.0)]) == 2
    assert values(tmp_path / "s/x.wsp", NOW - 9, NOW) == {NOW - 1: 1.0}


def test_a_data_directory_that_is_gone_is_not_made_anew(tmp_path: Path) -> None:
    root = tmp_path / "data"
    directory = DataDirectory(str(root))
    directory.open()
    files = WhisperFiles(directory, path_of, ManualClock(NOW))
    files.create("a.b")
    root.rename(tmp_path / "away")
    assert directory.trouble.startswith(f"the data directory {root} is gone: nothing is written")
    for made_anew in (False, True):
        if made_anew:
            root.mkdir()
        with pytest.raises(DirectoryChangedError) as caught:
            files.update("a.b", [(NOW, 1.0)])
        assert failure_of(caught.value) == Failure("directory", directory.trouble, "", everywhere=True)
        with pytest.raises(DirectoryChangedError):
            files.create("c.d")
    assert list(root.iterdir()) == []
    root.rmdir()
    (tmp_path / "away").rename(root)
    assert files.update("a.b", [(NOW, 1.0)]) == 0


def test_one_data_directory_has_one_writer_and_a_stale_lock_does_no_harm(tmp_path: Path) -> None:
    first, second = DataDirectory(str(tmp_path)), DataDirectory(str(tmp_path))
    first.open()
    with pytest.raises(QuotaError) as caught:
        second.open()
    assert str(caught.value) == (
        f"{tmp_path}: another carbonquota with the process number {os.getpid()} stores its Whisper files here; "
        "end it, or give this one a data-dir of its own"
    )
    first.close()
    assert (tmp_path / LOCK).exists()
    second.open()
    second.close()
