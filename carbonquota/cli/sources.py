"""What a SOURCE of the command line holds, read bit by bit: batches of lines, or the files of a Whisper tree."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

import click

from carbonquota.cli.source_kinds import refuse_other_kinds
from carbonquota.errors import InputError
from carbonquota.ingest import GZIP_MAGIC, Gunzip, LineReader, SourceBatch
from carbonquota.storage.tree import StoredMetric, Unreadable, read_whisper_tree

STANDARD_INPUT: Final = "-"
"""The SOURCE that stands for standard input."""

Item = SourceBatch | StoredMetric | Unreadable
"""What sources consist of."""

Advance = Callable[[int], None]
"""Told how much more of a source has been read: bytes of a file, files of a tree."""

_CHUNK: Final = 1 << 19
"""Bytes read at a time: ten thousand lines or more. The larger a batch, the fewer groups of rejected lines in all."""


@dataclass(frozen=True, slots=True)
class Source:
    """One SOURCE as given: `path`, and `name` as messages may print it."""

    path: str

    @property
    def name(self) -> str:
        """The path, with what is not printable replaced."""
        return "standard input" if self.path == STANDARD_INPUT else click.format_filename(self.path)

    @property
    def is_tree(self) -> bool:
        """Whether it is a directory."""
        return self.path != STANDARD_INPUT and Path(self.path).is_dir()

    @property
    def length(self) -> int | None:
        """How far it goes, in the units of `Advance`; None where that is not known beforehand."""
        path = Path(self.path)
        try:
            return path.stat().st_size if path.is_file() else None
        except OSError:
            return None

    def read(self, advance: Advance) -> Iterator[Item]:
        """All it holds, in order; InputError where it cannot be read or is something else."""
        if self.is_tree:
            return read_whisper_tree(self.path, advance)
        return self._read_text(advance)

    def pieces(self) -> Iterator[bytes]:
        """The text as it comes, a gzip unpacked; InputError where it cannot be read."""
        return self._pieces(lambda _: None)

    def _read_text(self, advance: Advance) -> Iterator[Item]:
        """The batches of a file or of standard input, a gzip recognized by its magic."""
        reader = LineReader(self.name)
        for number, piece in enumerate(self._pieces(advance)):
            if number == 0:
                refuse_other_kinds(self.name, piece)
            if batch := reader.feed(piece):
                yield batch
        if batch := reader.close():
            yield batch

    def _pieces(self, advance: Advance) -> Iterator[bytes]:
        """The text, unpacked where need be."""
        unpack: Gunzip | None = None
        for number, chunk in enumerate(self._chunks()):
            if number == 0 and chunk.startswith(GZIP_MAGIC):
                unpack = Gunzip(self.name)
            if unpack is None:
                yield chunk
            else:
                yield from unpack.feed(chunk)
            advance(len(chunk))
        if unpack is not None:
            unpack.close()

    def _chunks(self) -> Iterator[bytes]:
        """The bytes as they are stored or come in."""
        try:
            with closing(self._open()) as stream:
                while chunk := stream.read(_CHUNK):
                    yield chunk
        except FileNotFoundError:
            raise InputError(f"{self.name}: there is no such file") from None
        except (OSError, ValueError) as error:
            reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
            raise InputError(f"{self.name}: cannot be read: {reason.lower()}") from None

    def _open(self) -> BinaryIO:
        """The stream of bytes."""
        if self.path == STANDARD_INPUT:
            if sys.stdin is None:
                raise InputError("standard input: it is closed")
            return sys.stdin.buffer
        if self.path.endswith(".wsp"):
            raise InputError(f"{self.name}: one Whisper file: give the directory it is in, which tells its name")
        return Path(self.path).open("rb")
