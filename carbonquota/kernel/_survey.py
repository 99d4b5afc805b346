"""Many names looked at before they are put into a table."""

from __future__ import annotations

from typing import Final

import numpy as np

from carbonquota.kernel._joined import JoinedNames, Survey

_STRETCH: Final = 4096
_SHORT: Final = 500
"""A name of so many bytes or fewer has neither too many characters nor too many parts."""

_CONTROL: Final = bytes([*range(33), 127])
_DOUBTFUL: Final = (b";", b"/", b"}", b"~", b"..", b"\n.", b".\n", b"\n\n")
"""What does not stand in lines that are plain names: tags, slashes, braces, tildes, stray dots and empty names."""


def survey(names: JoinedNames) -> Survey:
    """What is to be known of names. A name that is in normal form may be called doubtful, never the other way round."""
    listed = list(names)
    doubtful: list[int] = []
    for start in range(0, len(listed), _STRETCH):
        if not _are_plain(listed[start : start + _STRETCH]):
            doubtful += range(start, min(start + _STRETCH, len(listed)))
    paths = [(name.partition(b";")[0] if b";" in name else name).rpartition(b".")[0] for name in listed]
    numbers = {path: number for number, path in enumerate(dict.fromkeys(paths))}
    groups = np.fromiter(map(numbers.__getitem__, paths), np.int64, len(paths))
    return Survey(doubtful, len(set(listed)) != len(listed), list(numbers), groups)


def _are_plain(names: list[bytes]) -> bool:
    """Whether all names are in normal form without a doubt."""
    text = b"\n%b\n" % b"\n".join(names)
    if len(max(names, key=len)) > _SHORT or not text.isascii() or any(doubt in text for doubt in _DOUBTFUL):
        return False
    # All control characters are the ends of lines; one more is in a name.
    return len(text.translate(None, _CONTROL)) == len(text) - len(names) - 1
