"""Gzip without I/O: compressed chunks go in, pieces of bounded size come out."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Final

from carbonquota.errors import InputError

GZIP_MAGIC: Final = b"\x1f\x8b"
"""How every gzip member begins (RFC 1952, section 2.3.1)."""

_GZIP_WINDOW: Final = 16 + zlib.MAX_WBITS
"""Makes zlib expect a gzip header and check the trailer's checksum."""

_LARGEST_PIECE: Final = 1 << 18
"""Bytes that one piece has at most, so that a well compressed file does not fill the memory."""


class Gunzip:
    """Undoes gzip, members one after another and zero padding between them included (RFC 1952)."""

    def __init__(self, source: str) -> None:
        """`source` is what error messages call the input."""
        self._source = source
        self._member = zlib.decompressobj(_GZIP_WINDOW)

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """The data of one more compressed chunk, in pieces; InputError where it is damaged."""
        while chunk:
            if self._member.eof:
                chunk = chunk.lstrip(b"\0")
                if not chunk:
                    return
                self._member = zlib.decompressobj(_GZIP_WINDOW)
            yield from self._pieces(chunk)
            chunk = self._member.unused_data

    def _pieces(self, chunk: bytes) -> Iterator[bytes]:
        """The current member's data, as far as the chunk has it."""
        more = True
        while more:
            piece = self._decompress(chunk)
            chunk = self._member.unconsumed_tail
            # A full piece may have left more behind inside zlib, even where that took in the whole chunk.
            more = bool(chunk) or len(piece) == _LARGEST_PIECE
            if piece:
                yield piece

    def _decompress(self, chunk: bytes) -> bytes:
        """One piece of the current member."""
        try:
            return self._member.decompress(chunk, _LARGEST_PIECE)
        except zlib.error as error:
            raise InputError(f"{self._source}: damaged gzip data: {_cause(error)}") from None

    def close(self) -> None:
        """Say that the input has ended; InputError where that is in the middle of a member."""
        if not self._member.eof:
            raise InputError(f"{self._source}: the gzip data is cut short: it ends before its trailer")


def _cause(error: zlib.error) -> str:
    """What zlib found, without its own preamble of an error number and an action."""
    return str(error).rpartition(": ")[2]
