"""The command line, `carbonquota`: check, explain and dry-run quota rules on real input.

One file a command; what they share is in `options` (their switches), `output` (text, JSON and tables),
`sources` (reading names, points and Whisper trees) and `intake` (feeding those to an engine). Commands are
imported only when they are run, so that `--help` answers at once.
"""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path
from typing import TextIO

from carbonquota.cli.group import command_line


def main() -> None:
    """Run the command line as the process it is: reads `sys.argv`, and always leaves by SystemExit."""
    # An index of a million metrics lives until the end, and looking through it for garbage doubles the time.
    gc.disable()
    sys.stdout, sys.stderr = _printable(sys.stdout), _printable(sys.stderr)
    command_line.main(prog_name="carbonquota")


def _printable(stream: TextIO | None) -> TextIO:
    """The stream made one that takes every text, and all of it.

    One that the caller closed goes nowhere. A name that the encoding lacks is printed as an escape, rather than not
    at all. It has a buffer in any case: without one (PYTHONUNBUFFERED), Python drops what a closed pipe did not take
    and says nothing.
    """
    if stream is None:
        return Path(os.devnull).open("w", encoding="utf-8")
    return open(stream.fileno(), "w", encoding=stream.encoding, errors="backslashreplace", closefd=False)


__all__ = ["command_line", "main"]
