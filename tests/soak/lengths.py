"""How long the soak tests take: each has a length of its own, which `SOAK_<NAME>` in the environment replaces.

`SOAK_SHARE` shortens them all: with 0.01 each does a hundredth, at least one.
"""

from __future__ import annotations

import os


def length(name: str, whole: int) -> int:
    """How often a test does what it does."""
    share = float(os.environ.get("SOAK_SHARE", "1"))
    return int(os.environ.get(f"SOAK_{name}", max(int(whole * share), 1)))
