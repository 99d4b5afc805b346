"""The reference kernel: plain Python and numpy. Its compiled twin must answer the same in every case."""

from __future__ import annotations

from carbonquota.kernel._lines import BLANK, UNKNOWN, Lines, Malformed, parse, scan
from carbonquota.kernel._memory import zeros
from carbonquota.kernel._table import SeriesTable

NAME = "python"
"""How this kernel is called in `--version`, in logs and in stats."""

__all__ = ["BLANK", "NAME", "UNKNOWN", "Lines", "Malformed", "SeriesTable", "parse", "scan", "zeros"]
