"""What sources hold, and the one line for each way that one cannot be read."""

from __future__ import annotations

import gzip
import io
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from carbonquota.cli.sources import Source
from carbonquota.errors import InputError
from carbonquota.ingest import SourceBatch

NAMES = b"".join(b"servers.host%d.cpu\n" % number for number in range(100_000))


def text_of(path: str) -> tuple[bytes, int]:
    """The plaintext lines of a source, and how far it said it was read."""
    read = 0

    def advance(amount: int) -> None:
        nonlocal read
        read += amount

    batches = list(Source(path).read(advance))
    assert all(isinstance(batch, SourceBatch) for batch in batches)
    return b"".join(batch.plaintext for batch in batches if isinstance(batch, SourceBatch)), read


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "content",
    [NAMES, gzip.compress(NAMES), gzip.compress(NAMES[:7]) + gzip.compress(NAMES[7:])],
    ids=["text", "packed", "packed in two"],
)
def test_a_file_is_read_whole_whether_packed_or_not(folder: Path, content: bytes) -> None:
    Path("names").write_bytes(content)
    assert text_of("names") == (NAMES.replace(b"\n", b" 1 0\n"), len(content))
    assert Source("names").length == len(content)


@pytest.mark.parametrize("content", [NAMES, gzip.compress(NAMES)], ids=["text", "packed"])
def test_standard_input_is_read_like_a_file(content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    assert text_of("-") == (NAMES.replace(b"\n", b" 1 0\n"), len(content))
    assert Source("-").length is None


def test_a_batch_is_some_ten_thousand_lines(folder: Path) -> None:
    Path("names").write_bytes(NAMES)
    batches = [item for item in Source("names").read(lambda _: None) if isinstance(item, SourceBatch)]
    assert 10_000 < max(batch.raw.count(b"\n") for batch in batches) < 50_000
    assert [batch.first for batch in batches[:2]] == [1, batches[0].raw.count(b"\n") + 1]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("names", None, "names: there is no such file"),
        ("bin", b"a\0b\n", "bin: a binary file, neither metric names nor plaintext lines"),
        ("cut.gz", gzip.compress(NAMES)[:-4], "cut.gz: the gzip data is cut short: it ends before its trailer"),
        ("tiny.gz", b"\x1f\x8b", "tiny.gz: the gzip data is cut short: it ends before its trailer"),
        ("bad.gz", b"\x1f\x8b" + bytes(20), "bad.gz: damaged gzip data: unknown compression method"),
        ("x.wsp", b"", "x.wsp: one Whisper file: give the directory it is in, which tells its name"),
        ("names.txt/deeper", None, "names.txt/deeper: cannot be read: not a directory"),
        ("bad\udcffname", None, "bad�name: there is no such file"),
    ],
)
def test_what_cannot_be_read_is_told_in_one_line(folder: Path, name: str, content: bytes | None, message: str) -> None:
    Path("names.txt").write_text("a.b\n")
    if content is not None:
        Path(name).write_bytes(content)
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        text_of(name)


@pytest.fixture
def unprivileged() -> Iterator[None]:
    """Root may read everything; so for a while be somebody else."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    yield
    os.seteuid(0)


def test_a_file_that_may_not_be_read_is_told(folder: Path, unprivileged: None) -> None:
    path = "/proc/1/environ" if Path("/proc/1/environ").exists() else "/etc/shadow"
    with pytest.raises(InputError, match=rf"^{path}: cannot be read: permission denied$"):
        text_of(path)


def test_closed_standard_input_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(InputError, match=r"^standard input: it is closed$"):
        text_of("-")
