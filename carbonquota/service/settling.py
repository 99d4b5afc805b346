"""Whether files have settled: nobody is in the middle of writing them.

A file that is written in place is half a file for a while. It is taken as whole when it has not changed for some time,
and for longer where its last line has no end, as a writer is then likely to go on. None of this can be known for
certain without the writer; renaming a finished file over the old one is what leaves no doubt.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from carbonquota.rules.files import open_at_once

Signature = tuple[int, ...]
"""Device, inode, size and time of change of a file, by which a change shows; of one that is not there, the error."""

_LOOK: Final = 0.02


@dataclass(frozen=True, slots=True)
class SettleTimes:
    """How long a file has to stay as it is, in seconds, to be taken as whole.

    `unfinished` is for a file whose last line has no end, `held` for one that was written and not closed since.
    `most` is how long somebody waits who asked for a reload.
    """

    quiet: float = 0.3
    unfinished: float = 2.0
    held: float = 30.0
    most: float = 10.0

    def of(self, paths: Sequence[str]) -> float:
        """The seconds for these files, as they are now."""
        return self.quiet if all(map(_ends_with_line_end, paths)) else self.unfinished


def signatures(paths: Sequence[str]) -> tuple[Signature, ...]:
    """By what a change of each file would show."""
    return tuple(map(_signature, paths))


def wait_until_settled(paths: Sequence[str], rest: SettleTimes | None = None) -> tuple[Signature, ...] | None:
    """Wait until none of the files has changed for a while; their signatures then, or None after `rest.most`."""
    rest = rest or SettleTimes()
    seen, since = signatures(paths), time.monotonic()
    end = since + rest.most
    if _age(seen) >= rest.of(paths):
        return seen
    while (now := time.monotonic()) < end:
        current = signatures(paths)
        if current != seen:
            seen, since = current, now
        elif now - since >= rest.of(paths):
            return seen
        time.sleep(_LOOK)
    return None


def _signature(path: str) -> Signature:
    try:
        found = os.stat(path)  # noqa: PTH116 - the same, and quicker
    except OSError as error:
        return (error.errno or 0,)
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _age(seen: tuple[Signature, ...]) -> float:
    """The seconds since the last change of any file, by the system's clock; 0 for a change in its future."""
    changes = [signature[-1] / 1e9 for signature in seen if len(signature) > 1]
    return max(time.time() - max(changes, default=0.0), 0.0)


def _ends_with_line_end(path: str) -> bool:
    """Whether the last line is finished; so it is where there is none, or nothing to read."""
    try:
        with open(path, "rb", opener=open_at_once) as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(size - 1, 0))
            return file.read(1) in {b"", b"\n"}
    except OSError:
        return True
