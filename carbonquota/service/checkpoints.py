"""The names that lead to a file: each directory entry that is looked up on the way, also through symbolic links."""

from __future__ import annotations

import os
from collections import deque
from pathlib import Path
from typing import Final

_MOST_LINKS: Final = 40
"""Links that are followed on the way to one file, as many as Linux does."""


def checkpoints(path: str) -> tuple[Path, ...]:
    """The names, absolute and each in a real directory, that decide what `path` is; a change of any may change it.

    They need not exist. Where links go round, the way ends.
    """
    absolute = Path(path).absolute()
    root = directory = Path(absolute.anchor)
    waiting = deque(absolute.relative_to(root).parts)
    found: dict[Path, None] = {}
    links = 0
    while waiting and links <= _MOST_LINKS:
        name = waiting.popleft()
        if name == os.pardir:
            directory = directory.parent
            continue
        entry = directory / name
        found[entry] = None
        target = _link_target(entry)
        if target is None:
            directory = entry
            continue
        links += 1
        directory = root if target.is_absolute() else directory
        waiting.extendleft(reversed(target.relative_to(target.anchor).parts))
    return tuple(found)


def _link_target(path: Path) -> Path | None:
    """Where a symbolic link points to; None where it is none, or does not exist."""
    try:
        return path.readlink()
    except OSError:
        return None
