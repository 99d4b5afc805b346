"""The hot path's parts: the line scan, the tables of names, the decision on points. They know buffers and columns.

There are two kernels. The plain one (`_py`) is the definition of what either answers, line by line. The
compiled one (`_cy`) decides whole batches by itself. `KERNEL` names the one in use: the compiled one where it was
built, unless `CARBONQUOTA_KERNEL=python` asks for the other. `CARBONQUOTA_KERNEL=compiled` is an error where it was
not.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from carbonquota.errors import QuotaError
from carbonquota.kernel._joined import JoinedNames, Survey
from carbonquota.kernel._lines import BLANK, UNKNOWN, Malformed, Times, parse, wrong_time
from carbonquota.kernel._memory import zeros

_wanted: Final = os.environ.get("CARBONQUOTA_KERNEL", "")
if _wanted not in ("", "python", "compiled"):
    raise QuotaError(f"CARBONQUOTA_KERNEL={_wanted} names no kernel: it is python or compiled, or not set")

if TYPE_CHECKING:
    # To type checkers the tables are the plain ones, and can all that either kernel's can.
    from carbonquota.kernel import _py
    from carbonquota.kernel._cy import Ledger as CompiledLedger
    from carbonquota.kernel._cy import Lines as CompiledLines
    from carbonquota.kernel._py import NAME, Lines, Lock, NameTable, TableCopy, survey

    class SeriesTable(_py.SeriesTable):
        """The table of the kernel in use: `renew` is the compiled one's, `find_lines` and `get` are the plain one's."""

        def read(self, buffer: bytes) -> Lines | CompiledLines:  # type: ignore[override]
            """The lines of a buffer, of the kernel in use; needs no lock."""

        def renew(self, lines: CompiledLines) -> None:
            """Look again for the series of lines if some were removed since."""

    class Ledger(CompiledLedger):
        """The compiled kernel's, which has a table of its own kind; there is no plain one."""

        def __init__(self, table: SeriesTable, *, controls: Mapping[str, int], order: Sequence[str]) -> None: ...

    COMPILED: bool
else:
    try:
        if _wanted == "python":
            raise ModuleNotFoundError  # noqa: TRY301 - as if it had not been built
        from carbonquota.kernel._cy import NAME, Ledger, Lines, Lock, NameTable, SeriesTable, TableCopy, survey

        CompiledLines = Lines
        COMPILED = True
    except ModuleNotFoundError:
        if _wanted == "compiled":
            raise QuotaError(
                "CARBONQUOTA_KERNEL=compiled, but this installation has no compiled kernel: install carbonquota anew"
                " where there is a C compiler, or unset the variable"
            ) from None
        from carbonquota.kernel._py import NAME, Lines, Lock, NameTable, SeriesTable, TableCopy, survey

        Ledger = CompiledLines = None
        COMPILED = False

KERNEL: Final[str] = NAME
"""The kernel that runs: `compiled` or `python`."""

__all__ = [
    "BLANK",
    "COMPILED",
    "KERNEL",
    "UNKNOWN",
    "CompiledLines",
    "JoinedNames",
    "Ledger",
    "Lines",
    "Lock",
    "Malformed",
    "NameTable",
    "SeriesTable",
    "Survey",
    "TableCopy",
    "Times",
    "parse",
    "survey",
    "wrong_time",
    "zeros",
]
