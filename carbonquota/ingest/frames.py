"""A stream of plaintext as whole lines, however the network cut it.

Theory of operation. What ends with a line end is passed on as it came; what follows the last one waits for the rest of
its line. Nothing is done line by line: a chunk costs one search from its end and, for every `longest` bytes, one
more to be sure that no line is longer. What a line means is for the kernel to say. Nothing grows: no more than
`longest` bytes are kept, and of a line that passes them only the start, as a sample.

The answer depends on the stream alone and not on its cuts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

LONGEST_LINE: Final = 8192
"""Bytes of a line, its end left out. A name may have 4,096; no field that follows it needs as many."""

SAMPLE: Final = 100
"""How many bytes of something refused are kept to show."""

Refuse = Callable[[str, bytes], None]
"""Is told the reason for each thing that was refused, and its first bytes."""


class LineAssembler:
    """Makes whole lines out of the chunks of one connection."""

    def __init__(self, refuse: Refuse, longest: int = LONGEST_LINE) -> None:
        """Tell `refuse` of each line over `longest` bytes (`long_line`) and of one cut off (`unfinished`)."""
        self._refuse = refuse
        self._longest = longest
        self._rest = b""
        self._skipping = False

    @property
    def unfinished(self) -> bool:
        """Whether a line has begun that has not ended."""
        return self._skipping or bool(self._rest)

    @property
    def held(self) -> int:
        """Bytes kept for the line that has begun."""
        return len(self._rest)

    def feed(self, chunk: bytes) -> bytes:
        """The lines that are whole with this chunk, each with its end."""
        if self._skipping:
            end = chunk.find(b"\n") + 1
            if not end:
                return b""
            self._skipping = False
            chunk = chunk[end:]
        if self._rest:
            chunk = self._rest + chunk
        end = chunk.rfind(b"\n") + 1
        self._rest = chunk[end:]
        if len(chunk) > self._longest:
            return self._look_for_long_lines(chunk, end)
        return chunk[:end]

    def close(self) -> None:
        """The stream is at its end: what has no line end may be half a number, and is refused."""
        if self._rest.strip():
            self._refuse("unfinished", self._rest[:SAMPLE])
        self._rest = b""
        self._skipping = False

    def _look_for_long_lines(self, chunk: bytes, end: int) -> bytes:
        """The whole lines of a chunk, up to `end`, but for long ones; the rest of a long line is skipped."""
        lines = without_long_lines(chunk[:end], self._refuse, self._longest)
        if len(self._rest) > self._longest:
            self._refuse("long_line", self._rest[:SAMPLE])
            self._rest = b""
            self._skipping = True
        return lines


def without_long_lines(lines: bytes, refuse: Refuse, longest: int = LONGEST_LINE) -> bytes:
    """Whole lines without those over `longest` bytes, of each of which `refuse` is told; mostly the very object."""
    kept: list[bytes] = []
    start = position = 0
    while len(lines) - position > longest:
        # The last line end that a line of the permitted length can have: all lines up to it are short enough.
        end = lines.rfind(b"\n", position, position + longest + 1) + 1
        if not end:
            kept.append(lines[start:position])
            start = end = lines.find(b"\n", position) + 1 or len(lines)
            refuse("long_line", lines[position : min(position + SAMPLE, end)].rstrip(b"\n"))
        position = end
    return b"".join((*kept, lines[start:])) if kept else lines
