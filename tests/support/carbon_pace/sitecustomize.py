"""Found by a carbon of the tests as it starts: has its writer look for work twenty times a second rather than once.

Carbon's writer sleeps a second whenever its cache is empty, and nothing else in carbon does. Tests wait for what it
writes.
"""

from __future__ import annotations

import time
from typing import SupportsIndex

LONGEST = 0.05
_sleep = time.sleep


def nap(seconds: float | SupportsIndex) -> None:
    """Sleep, but not for long."""
    _sleep(min(float(seconds), LONGEST))


time.sleep = nap
