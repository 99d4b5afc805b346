"""The hot path's parts: the line scan and the tables of names. They know buffers and columns, and nothing of quotas.

There are two kernels. The plain one (`_py`) is the definition of what either answers. `KERNEL` names the one in use:
the compiled one (`_cy`) where it was built, unless `CARBONQUOTA_KERNEL=python` asks for the other.
`CARBONQUOTA_KERNEL=compiled` is an error where it was not. Each has a decision of its own on top: see
`carbonquota.controls`.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from carbonquota.errors import QuotaError
from carbonquota.kernel._columns import PointColumns
from carbonquota.kernel._joined import JoinedNames, Survey
from carbonquota.kernel._lines import BLANK, UNKNOWN, Malformed, Times, parse, wrong_time
from carbonquota.kernel._lines import Lines as PlainLines
from carbonquota.kernel._lines import Names as PlainNames
from carbonquota.kernel._memory import LARGE, Room, zeros
from carbonquota.kernel._points import Number, PointList

_wanted: Final = os.environ.get("CARBONQUOTA_KERNEL", "")
if _wanted not in ("", "python", "compiled"):
    raise QuotaError(f"CARBONQUOTA_KERNEL={_wanted} names no kernel: it is python or compiled, or not set")

if TYPE_CHECKING:
    # To type checkers the tables are the plain ones.
    from carbonquota.kernel._py import NAME, Lock, NameTable, SeriesTable, TableCopy, survey

    COMPILED: bool
else:
    try:
        if _wanted == "python":
            raise ModuleNotFoundError  # noqa: TRY301 - as if it had not been built
        from carbonquota.kernel._cy import NAME, Lock, NameTable, SeriesTable, TableCopy, survey

        COMPILED = True
    except ModuleNotFoundError:
        if _wanted == "compiled":
            raise QuotaError(
                "CARBONQUOTA_KERNEL=compiled, but this installation has no compiled kernel: install carbonquota anew"
                " where there is a C compiler, or unset the variable"
            ) from None
        from carbonquota.kernel._py import NAME, Lock, NameTable, SeriesTable, TableCopy, survey

        COMPILED = False

KERNEL: Final[str] = NAME
"""The kernel that runs: `compiled` or `python`."""

__all__ = [
    "BLANK",
    "COMPILED",
    "KERNEL",
    "LARGE",
    "UNKNOWN",
    "JoinedNames",
    "Lock",
    "Malformed",
    "NameTable",
    "Number",
    "PlainLines",
    "PlainNames",
    "PointColumns",
    "PointList",
    "Room",
    "SeriesTable",
    "Survey",
    "TableCopy",
    "Times",
    "parse",
    "survey",
    "wrong_time",
    "zeros",
]
