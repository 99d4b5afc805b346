"""The program that searches names by `re` for another process. It imports nothing but the standard library.

A line in is `[pattern, flags, names, seconds]` in JSON; a line out is `[found, spent, used]`: a list of true and false,
shorter than the names where the seconds of processor time were used up, the seconds that were, and those that the
process has used in all. The first line out, when it is ready, has the last of these alone.
"""

from __future__ import annotations

import json
import re
import resource
import signal
import sys
import warnings
from functools import lru_cache
from time import process_time
from types import FrameType


class _LateError(Exception):
    """The time is used up."""


def _interrupt(_: int, __: FrameType | None) -> None:
    raise _LateError


@lru_cache(1000)
def _compiled(pattern: str, flags: int) -> re.Pattern[str]:
    return re.compile(pattern, flags)


def search(pattern: str, flags: int, names: list[str], seconds: float) -> tuple[list[bool], float]:
    """Search until all are done or the seconds are used up; the answers and the processor time."""
    found: list[bool] = []
    expression = _compiled(pattern, flags)
    begun = process_time()
    _bound(begun + seconds)
    try:
        # `re` looks for signals now and then while it goes back and forth.
        signal.setitimer(signal.ITIMER_PROF, seconds)
        # Grows name by name, and keeps what it has when it is interrupted.
        found.extend(expression.search(name) is not None for name in names)
        signal.setitimer(signal.ITIMER_PROF, 0)
    except _LateError:
        pass
    return found, process_time() - begun


def _bound(seconds: float) -> None:
    """Have the system end the process a little past so much processor time, should nobody be there to do so."""
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    soft = int(seconds) + 2
    resource.setrlimit(resource.RLIMIT_CPU, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))


def main() -> None:
    """Answer line by line until there are no more."""
    signal.signal(signal.SIGPROF, _interrupt)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    warnings.simplefilter("ignore")
    sys.stdout.write(f"{process_time()}\n")
    sys.stdout.flush()
    for line in sys.stdin:
        sys.stdout.write(json.dumps([*search(*json.loads(line)), process_time()]) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
