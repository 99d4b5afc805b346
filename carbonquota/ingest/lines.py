"""Text sources without I/O: chunks of bytes in, batches of plaintext lines out.

Theory of operation. A source holds one metric a line, as a bare name or as a point of carbon's plaintext
protocol (`name value timestamp`), the two mixed as they come. The engine takes points only, so a bare name is
turned into one point of value 1. A chunk without any blank between its line ends can only hold names, and one
replacement over the whole chunk does it; only a chunk that has blanks is looked at line by line.

What is a good point is for the engine to say: lines are passed on as they are. Refused here is only what makes
the source as a whole something else than text: NUL bytes, lines without end, mostly undecodable bytes.
"""

from __future__ import annotations

from codecs import getincrementaldecoder
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from carbonquota.errors import InputError

_POINT: Final = b" 1 0"
"""Put behind a bare name, it makes a plaintext line: the value 1 at time 0."""

_LONGEST_LINE: Final = 1 << 20
"""Bytes without a line end after which a source is not taken for lines any more."""

_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"

_PACKERS: Final = {
    b"\xfd7zXZ": ("xz", "xz -dc"),
    b"BZh": ("bzip2", "bzip2 -dc"),
    b"\x28\xb5\x2f\xfd": ("zstd", "zstd -dc"),
    b"\x04\x22\x4d\x18": ("lz4", "lz4 -dc"),
    b"PK\x03\x04": ("zip", "unzip -p"),
}
"""By the magic at a file's start: who packed it, and the command that undoes it."""


@dataclass(frozen=True, slots=True)
class SourceLine:
    """One line of a source: its `number` from 1, its `text` as it came, and as `plaintext` for the engine."""

    number: int
    text: bytes
    plaintext: bytes


@dataclass(frozen=True, slots=True)
class SourceBatch:
    """Some whole lines of a source, one after another.

    `raw` is how they came, the first being line `first` of `source`; `plaintext` is the same for the engine.
    """

    source: str
    first: int
    raw: bytes
    plaintext: bytes

    def lines(self) -> Iterator[SourceLine]:
        """The lines one by one, blank ones left out: slow, for telling where something is wrong."""
        for number, text in enumerate(self.raw.split(b"\n"), self.first):
            if text.strip():
                yield SourceLine(number, text.removesuffix(b"\r"), _point(text))


class LineReader:
    """Makes batches of plaintext lines out of the chunks of one source."""

    def __init__(self, source: str) -> None:
        """`source` is what error messages and batches call the input."""
        self._source = source
        self._first = 1
        self._rest = b""
        self._started = False

    def feed(self, chunk: bytes) -> SourceBatch | None:
        """The lines that are whole with this chunk, if any; InputError where it is not lines of text."""
        if not self._started:
            self._started = True
            chunk = chunk.removeprefix(_BYTE_ORDER_MARK)
            self._check_text(chunk)
        end = chunk.rfind(b"\n") + 1
        raw, self._rest = (self._rest + chunk[:end], chunk[end:]) if end else (b"", self._rest + chunk)
        if len(self._rest) > _LONGEST_LINE:
            found = f"there is no line end in {_LONGEST_LINE:,} bytes"
            raise InputError(f"{self._source}: neither metric names nor plaintext lines: {found}")
        return self._batch(raw) if raw else None

    def close(self) -> SourceBatch | None:
        """The last line, where it has no line end."""
        raw, self._rest = self._rest, b""
        return self._batch(raw) if raw else None

    def _batch(self, raw: bytes) -> SourceBatch:
        """The batch of these lines, refusing NUL bytes, which no text has."""
        if (position := raw.find(b"\0")) >= 0:
            number = self._first + raw.count(b"\n", 0, position)
            raise InputError(f"{self._source}: a binary file: line {number} holds a NUL byte")
        batch = SourceBatch(self._source, self._first, raw, _as_plaintext(raw))
        self._first += raw.count(b"\n")
        return batch

    def _check_text(self, start: bytes) -> None:
        """Refuse a source whose start is mostly not UTF-8, or is packed in a way not undone here."""
        if not (b"\0" in start or _is_mostly_undecodable(start)):
            return
        for magic, (packer, command) in _PACKERS.items():
            if start.startswith(magic):
                remedy = f"unpack it into a pipe: {command} FILE | carbonquota ... -"
                raise InputError(f"{self._source}: packed with {packer}, and only gzip is undone here; {remedy}")
        raise InputError(f"{self._source}: a binary file, neither metric names nor plaintext lines")


def _as_plaintext(raw: bytes) -> bytes:
    """The lines with every bare name turned into a point."""
    if b" " in raw or b"\t" in raw or b"\r" in raw or b"\n\n" in raw or raw.startswith(b"\n"):
        return _line_by_line(raw)
    points = raw.replace(b"\n", _POINT + b"\n")
    return points if points.endswith(b"\n") else points + _POINT


def _line_by_line(raw: bytes) -> bytes:
    """The same for lines of which some have blanks; `raw` itself where no line is a bare name."""
    lines = raw.split(b"\n")
    if all(len(line.split(None, 1)) != 1 for line in lines):
        return raw
    return b"\n".join(map(_point, lines))


def _point(line: bytes) -> bytes:
    """The line as a point, where it is a bare name; a blank line or a point as it is."""
    fields = line.split(None, 1)
    return fields[0] + _POINT if len(fields) == 1 else line


def _is_mostly_undecodable(start: bytes) -> bool:
    """Whether more lines are not UTF-8 than are; a few bad names do not make a file binary."""
    try:
        # Not final: the end of the start may be inside a character.
        getincrementaldecoder("utf-8")().decode(start)
    except UnicodeDecodeError:
        lines = [line for line in start.split(b"\n") if line]
        return sum(map(_is_undecodable, lines)) * 2 > len(lines)
    return False


def _is_undecodable(line: bytes) -> bool:
    """Whether a line is not UTF-8."""
    try:
        line.decode()
    except UnicodeDecodeError:
        return True
    return False
