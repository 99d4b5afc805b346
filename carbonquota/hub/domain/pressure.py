"""Back-pressure: how long a writer is asked to wait, the longer the nearer its quota is.

Below `EASE` of the quota nobody waits. From there on the delay grows with the square of how far it has come, up to
`MOST` at the quota itself.
"""

from __future__ import annotations

from typing import Final

EASE: Final = 0.8
"""The part of a quota that may be filled without any delay."""
MOST: Final = 5.0
"""Seconds, at the quota."""


def delay(limit: int, left: int) -> float:
    """Seconds to wait after a write, where so much of a limit is left."""
    if limit <= 0:
        return MOST
    full = 1.0 - max(left, 0) / limit
    return 0.0 if full <= EASE else MOST * ((full - EASE) / (1.0 - EASE)) ** 2
