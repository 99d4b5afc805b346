"""What can go wrong with a Whisper file: exceptions to a reason, a cause and a remedy."""

from __future__ import annotations

import errno
import struct
from dataclasses import dataclass
from typing import Final

import whisper

from carbonquota.errors import QuotaError
from carbonquota.storage.data_directory import DirectoryChangedError

REASONS: Final = ("disk_full", "permission", "corrupt", "compressed", "io", "directory")
"""The reasons that failures are counted by."""

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_FORBIDDEN: Final = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
_IN_THE_WAY: Final = frozenset({errno.ENOTDIR, errno.EEXIST, errno.EISDIR})
_EVERYWHERE: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})
"""What the next file will meet just as well."""

_CORRUPT: Final = (
    whisper.WhisperException,
    struct.error,
    ArithmeticError,
    AssertionError,
    LookupError,
    StopIteration,
    ValueError,
)
"""What Whisper raises on a file that is none, or no whole one."""

_REMEDIES: Final = {
    "disk_full": "make room on the disk",
    "permission": "let the user that this program runs as write there",
    "corrupt": "mend the file, or move it away and a new one is made",
    "compressed": "have go-carbon write this tree, or move the file away and a new one is made",
    "io": "check the disk",
}
_CLEAR_THE_WAY: Final = "move away what stands where a directory or file of this name is needed"


class CompressedFileError(QuotaError):
    """The file is one that go-carbon compressed, which the whisper library cannot write."""


class CreationError(QuotaError):
    """No new file could be made; the cause is what made it fail."""


@dataclass(frozen=True, slots=True)
class Failure:
    """One failure: `reason` is one of REASONS, `internal` where it is a bug, or `name` where the name is too long.

    `creating` tells that a new file could not be made, `everywhere` that others would fail as well, and `alone` that it
    is this one file's own matter.
    """

    reason: str
    cause: str
    remedy: str
    creating: bool = False
    everywhere: bool = False
    alone: bool = False


def failure_of(error: Exception) -> Failure:
    """What an exception out of reading, writing or creating a file means."""
    creating = isinstance(error, CreationError)
    cause = error.__cause__ if creating else error
    if isinstance(cause, OSError):
        return _failure_of_system(cause, creating=creating)
    if isinstance(cause, DirectoryChangedError):
        return Failure("directory", str(cause), "", creating, everywhere=True)
    if isinstance(cause, CompressedFileError):
        return Failure("compressed", str(cause), _REMEDIES["compressed"], alone=True)
    if creating and isinstance(cause, _CORRUPT):
        return Failure("io", "no Whisper file can be so large", "shorten its retention", creating=True, alone=True)
    if isinstance(cause, _CORRUPT):
        return Failure("corrupt", f"not a whole Whisper file: {_text(cause)}", _REMEDIES["corrupt"], alone=True)
    return Failure("internal", repr(cause), "this is a bug; please report it", creating)


def _failure_of_system(error: OSError, *, creating: bool) -> Failure:
    number = error.errno or 0
    cause = (error.strerror or str(error)).lower()
    if number == errno.ENAMETOOLONG:
        return Failure("name", cause, "", creating)
    if number in _IN_THE_WAY:
        return Failure("io", cause, _CLEAR_THE_WAY, creating, alone=True)
    reason = "disk_full" if number in _FULL else "permission" if number in _FORBIDDEN else "io"
    everywhere = number in _EVERYWHERE
    return Failure(reason, cause, _REMEDIES[reason], creating, everywhere, alone=reason != "io" and not everywhere)


def _text(error: Exception) -> str:
    """What the exception says, without the path that Whisper puts behind it."""
    return str(getattr(error, "error", error)).lower() or type(error).__name__
