"""The kernels that benchmarks compare, a process each: CARBONQUOTA_KERNEL says which one a process is to run."""

from __future__ import annotations

import os
import subprocess
import sys
from argparse import ArgumentTypeError
from typing import Final

PLAIN: Final = "python"
COMPILED: Final = "compiled"
VARIABLE: Final = "CARBONQUOTA_KERNEL"


def environment(kernel: str) -> dict[str, str]:
    """The environment of a process that is to run with this kernel."""
    return os.environ | {VARIABLE: kernel}


def kernels(only: str | None = None) -> list[str]:
    """Those that are built, the plain one first; SystemExit where the only one asked for is not."""
    found = [kernel for kernel in (PLAIN, COMPILED) if only in (None, kernel) and _is_built(kernel)]
    if not found:
        raise SystemExit(f"bench: the kernel {only} is not built")
    return found


def _is_built(kernel: str) -> bool:
    """Whether a process can have it, and then really runs it."""
    asked = [sys.executable, "-c", "from carbonquota.kernel import KERNEL; print(KERNEL)"]
    answer = subprocess.run(asked, env=environment(kernel), capture_output=True, text=True, check=False)
    return answer.stdout.strip() == kernel


def whole(text: str) -> int:
    """A number from 1 on, as an option of a benchmark."""
    if not text.isdecimal() or int(text) < 1:
        raise ArgumentTypeError(f"it is a whole number from 1 on, not {text}")
    return int(text)
