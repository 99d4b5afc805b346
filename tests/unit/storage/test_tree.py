"""Trees of real Whisper files: names, real sizes, links, and files that are none."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
import whisper

from carbonquota.errors import InputError
from carbonquota.storage.tree import StoredMetric, Unreadable, read_whisper_tree


def create(path: Path, archives: list[tuple[int, int]], *, sparse: bool = False) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    whisper.create(str(path), archives, sparse=sparse)
    return path


def read(root: Path | str) -> list[StoredMetric | Unreadable]:
    return list(read_whisper_tree(str(root), lambda _: None))


def metrics(root: Path | str) -> list[str]:
    items = read(root)
    return [item.metric if isinstance(item, StoredMetric) else item.reason for item in items]


@pytest.mark.parametrize("sparse", [False, True])
def test_metrics_have_the_sizes_that_their_files_really_have(tmp_path: Path, sparse: bool) -> None:
    path = create(tmp_path / "servers/web1/cpu.wsp", [(60, 10_000), (3600, 5_000)], sparse=sparse)
    (item,) = read(tmp_path)
    assert isinstance(item, StoredMetric)
    assert item.metric == "servers.web1.cpu"
    assert item.size.data_points == 15_000
    assert item.size.logical == 16 + 2 * 12 + 15_000 * 12 == path.stat().st_size
    assert item.size.physical == path.stat().st_blocks * 512
    assert (item.size.physical < item.size.logical) is sparse


def test_metrics_come_by_name_and_other_files_not_at_all(tmp_path: Path) -> None:
    for name in ["b/x.wsp", "a/y.wsp", "a/b/c/z.wsp", "c.wsp", "_tagged/0a1/b2c/cpu_DOT_idle;host=a.wsp"]:
        create(tmp_path / name, [(60, 10)])
    (tmp_path / "readme.txt").write_text("not a metric")
    (tmp_path / "empty").mkdir()
    (tmp_path / "folder.wsp").mkdir()
    assert metrics(tmp_path) == ["c", "cpu.idle;host=a", "a.y", "a.b.c.z", "b.x"]
    assert metrics(f"{tmp_path}/") == metrics(os.path.relpath(tmp_path)) == metrics(tmp_path)


def test_progress_counts_files(tmp_path: Path) -> None:
    for name in "abc":
        create(tmp_path / f"{name}.wsp", [(60, 10)])
    steps: list[int] = []
    list(read_whisper_tree(str(tmp_path), steps.append))
    assert steps == [1, 1, 1]


def test_what_is_no_whisper_file_is_named_with_its_reason(tmp_path: Path) -> None:
    create(tmp_path / "good.wsp", [(60, 10)])
    (tmp_path / "empty.wsp").touch()
    (tmp_path / "text.wsp").write_text("this is not a Whisper file at all, whatever its name says")
    cut = create(tmp_path / "cut.wsp", [(60, 1000)])
    os.truncate(cut, 500)
    (tmp_path / "broken.wsp").symlink_to(tmp_path / "nowhere")
    (tmp_path / "loop.wsp").symlink_to(tmp_path / "loop.wsp")
    found = {item.path: item.reason for item in read(tmp_path) if isinstance(item, Unreadable)}
    assert found == {
        str(tmp_path / "broken.wsp"): "no such file or directory",
        str(tmp_path / "cut.wsp"): "cut short: 500 of 12,028 bytes",
        str(tmp_path / "empty.wsp"): "empty",
        str(tmp_path / "loop.wsp"): "too many levels of symbolic links",
        str(tmp_path / "text.wsp"): "no Whisper header",
    }


def test_links_are_followed_but_nothing_counts_twice(tmp_path: Path) -> None:
    tree, other = tmp_path / "tree", tmp_path / "other"
    create(tree / "m/n.wsp", [(60, 10)])
    create(other / "x.wsp", [(60, 10)])
    (tree / "a-inside").symlink_to(tree / "m")
    (tree / "m" / "up").symlink_to(tree)
    (tree / "o1").symlink_to(other)
    (tree / "o2").symlink_to(other)
    (other / "back").symlink_to(tree)
    (other / "self").symlink_to(other)
    (tree / "file.wsp").symlink_to(other / "x.wsp")
    assert metrics(tree) == ["file", "m.n", "o1.x"]
    (tmp_path / "link").symlink_to(tree)
    assert metrics(tmp_path / "link") == ["file", "m.n", "o1.x"]


def test_a_tree_deeper_than_pythons_stack_is_read(tmp_path: Path) -> None:
    folders = [tmp_path / ("d/" * depth) for depth in range(1, sys.getrecursionlimit() + 100)]
    for folder in folders:
        folder.mkdir()
    file = create(folders[-1] / "m.wsp", [(60, 10)])
    assert metrics(tmp_path) == ["d." * len(folders) + "m"]
    # pytest's own cleaning up would fail at it.
    file.unlink()
    for folder in reversed(folders):
        folder.rmdir()


@pytest.mark.parametrize("names", [[], ["readme.txt"]])
def test_a_directory_without_whisper_files_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("data").mkdir()
    for name in names:
        (Path("data") / name).touch()
    with pytest.raises(InputError, match=r"^data: there is no Whisper file \(\*\.wsp\) in this directory tree$"):
        read("data")


def test_a_pipe_in_a_tree_is_left_out_without_waiting_for_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.wsp")
    assert [(item.path, item.reason) for item in read(tmp_path) if isinstance(item, Unreadable)] == [
        (str(tmp_path / "pipe.wsp"), "not a regular file")
    ]
