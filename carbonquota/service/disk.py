"""Errors of disks: which may pass by themselves, and what they are called."""

from __future__ import annotations

import errno
from typing import Final

_PASSING: Final = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EFBIG, errno.ESTALE, errno.ETIMEDOUT}
"""Errors of a disk that is full or fails: they may pass, and are no mistake of whoever set the program up."""


def may_pass(error: OSError) -> bool:
    """Whether a later attempt may succeed without that anybody changes a setting."""
    return error.errno in _PASSING


def cause_of(error: OSError) -> str:
    """Why it failed, in the system's words."""
    return (error.strerror or str(error)).lower()
