"""The root of a Whisper tree, known by device and inode: another directory under the same path is not it.

When a disk is unmounted, the empty directory that it was mounted on takes its place, and may be written to as well. So
what a directory was when it was opened is remembered, and nothing may be concluded from another one: no file that is
missing there is gone, and none is to be made there. A disk that comes back is the same one again.
"""

from __future__ import annotations

import errno
import fcntl
import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final

from carbonquota.errors import QuotaError

LOCK: Final = ".carbonquota-lock"
"""The file in a data directory that its one writer holds a lock on (`flock`, so that a stale one does no harm)."""

_ROOM_MAY_COME: Final = (errno.ENOSPC, errno.EDQUOT)


class DirectoryChangedError(QuotaError):
    """The data directory is gone, or another one has taken its place."""


class DataDirectory:
    """One directory. `open` and `close` are for one thread, all else for any."""

    def __init__(self, path: str) -> None:
        """Nothing is touched yet."""
        self.path = path
        self._identity: tuple[int, int] | None = None
        self._lock = -1

    def open(self) -> None:
        """Make it if need be, see that files can be made in it, and keep other writers out until `close`.

        A disk that is full may get room later. QuotaError where it can never be used, or another process writes there.
        """
        try:
            Path(self.path).mkdir(parents=True, exist_ok=True)
            with suppress(FileNotFoundError):
                self._try_to_write()
        except (OSError, ValueError) as error:
            cause = (error.strerror if isinstance(error, OSError) else None) or str(error)
            remedy = "set data-dir in [whisper] to a directory that the user this program runs as can write to"
            raise QuotaError(f"{self.path}: no directory to keep Whisper files in: {cause.lower()}; {remedy}") from None
        self._take_lock()
        self.remember()

    def _try_to_write(self) -> None:
        try:
            with tempfile.NamedTemporaryFile(dir=self.path, prefix=".writable-"):
                pass
        except OSError as error:
            if error.errno not in _ROOM_MAY_COME:
                raise

    def _take_lock(self) -> None:
        """Hold the lock file, unless the disk is too full even for that."""
        try:
            descriptor = os.open(Path(self.path) / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        except OSError as error:
            if error.errno in _ROOM_MAY_COME:
                return
            cause = (error.strerror or str(error)).lower()
            raise QuotaError(f"{self.path}: its lock file {LOCK} cannot be opened: {cause}; remove it") from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.read(descriptor, 20).decode(errors="replace").strip()
            os.close(descriptor)
            by = f" with the process number {holder}" if holder else ""
            raise QuotaError(
                f"{self.path}: another carbonquota{by} stores its Whisper files here; "
                "end it, or give this one a data-dir of its own"
            ) from None
        self._lock = descriptor
        # Only for whoever is refused.
        with suppress(OSError):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)

    def close(self) -> None:
        """Let another process write there."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def remember(self) -> None:
        """Take what is there now for the directory, unless one is remembered already or there is none."""
        if self._identity is None:
            with suppress(OSError):
                self._identity = _identity(self.path)

    @property
    def trouble(self) -> str:
        """Why it is not the directory that is remembered, in one line with a remedy; empty where it is."""
        if self._identity is None:
            return ""
        try:
            if _identity(self.path) == self._identity:
                return ""
            found = "is another directory than at the start"
        except (FileNotFoundError, NotADirectoryError):
            found = "is gone"
        except OSError as error:
            found = f"cannot be seen: {(error.strerror or str(error)).lower()}"
        return (
            f"the data directory {self.path} {found}: nothing is written and no metric forgotten until it is back; "
            "mount its disk again, or restart to use what is there now"
        )

    def check(self) -> None:
        """DirectoryChangedError where it is not the one that is remembered."""
        if trouble := self.trouble:
            raise DirectoryChangedError(trouble)


def _identity(path: str) -> tuple[int, int]:
    status = os.stat(path)  # noqa: PTH116 - before each write
    return status.st_dev, status.st_ino
