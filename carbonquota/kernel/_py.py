"""The plain kernel. Its compiled twin must answer the same in every case."""

from __future__ import annotations

from threading import Lock

from carbonquota.kernel._lines import Lines
from carbonquota.kernel._names import NameTable
from carbonquota.kernel._survey import survey
from carbonquota.kernel._table import SeriesTable, TableCopy

NAME = "python"
"""How this kernel is called in `--version`, in logs and in stats."""

__all__ = ["NAME", "Lines", "Lock", "NameTable", "SeriesTable", "TableCopy", "survey"]
