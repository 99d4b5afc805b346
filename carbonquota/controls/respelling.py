"""How accepted lines go on: as they came, unless the next one down the line would read or store them otherwise.

Carbon takes any blanks between fields, others single spaces only; and spellings that are one metric here may be several
files there.
"""

from __future__ import annotations

from collections.abc import Iterable

from carbonquota.metric_name import must_be_respelled, normalize


def as_passed_on(line: bytes) -> bytes:
    """An accepted line as it goes on, with single blanks, and its name as the next one stores it in one file."""
    name, value, timestamp = line.split()
    spelling = name.decode()
    normal = normalize(spelling)
    if must_be_respelled(spelling, normal):
        name = normal.encode()
    end = b"\n" if line.endswith(b"\n") else b""
    if line[: len(line) - len(end)].endswith(b"\r"):
        end = b"\r" + end
    return b" ".join((name, value, timestamp)) + end


def respelled(accepted: bytes, places: Iterable[tuple[int, int]]) -> bytes:
    """Accepted lines, of which those that begin and end at `places` may have to be passed on otherwise than they came.

    It is the very object where none has to be.
    """
    pieces: list[bytes] = []
    start = 0
    for begin, end in places:
        line = accepted[begin:end]
        passed = as_passed_on(line)
        if passed != line:
            pieces += accepted[start:begin], passed
            start = end
    return b"".join((*pieces, accepted[start:])) if pieces else accepted
