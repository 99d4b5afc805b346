"""The hot path's parts: the line scan and the series table. They know buffers, integers and arrays, nothing else.

`KERNEL` names the implementation in use. `CARBONQUOTA_KERNEL=python` asks for the plain one; as long as it is the
only one, that changes nothing, and any other name is an error rather than a silent fall back.
"""

from __future__ import annotations

import os

from carbonquota.errors import QuotaError
from carbonquota.kernel._py import BLANK, NAME, UNKNOWN, Lines, Malformed, SeriesTable, parse, scan, zeros

KERNEL: str = NAME
"""The kernel that runs: `python`."""

if (_wanted := os.environ.get("CARBONQUOTA_KERNEL", NAME)) != NAME:
    raise QuotaError(f"CARBONQUOTA_KERNEL={_wanted} names no kernel of this build; it has: {NAME}")

__all__ = ["BLANK", "KERNEL", "UNKNOWN", "Lines", "Malformed", "SeriesTable", "parse", "scan", "zeros"]
