"""Files of the state's directory: how they are called, written so that they last, locked, and set aside."""

from __future__ import annotations

import errno
import fcntl
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, NoReturn

from carbonquota.errors import QuotaError
from carbonquota.service.disk import cause_of, may_pass

_MODE: Final = 0o640
_PARTIAL: Final = ".partial"
_NAME: Final = re.compile(r"(snapshot|journal)-(\d{12})")


_KEPT_DAMAGED: Final = 4
"""So many damaged files stay, for somebody to look at."""


def path_of(directory: Path, kind: str, generation: int) -> Path:
    """The file of one kind, `snapshot` or `journal`, of one generation."""
    return directory / f"{kind}-{generation:012d}"


def generations(directory: Path, kind: str) -> list[int]:
    """The generations of which there is a file of this kind, in order."""
    matches = (_NAME.fullmatch(entry.name) for entry in directory.iterdir())
    return sorted(int(match[2]) for match in matches if match and match[1] == kind)


def remove_before(directory: Path, first: int) -> None:
    """Remove the files of the generations before `first`."""
    for kind in ("snapshot", "journal"):
        for generation in generations(directory, kind):
            if generation < first:
                path_of(directory, kind, generation).unlink(missing_ok=True)


def remove_partial(directory: Path) -> None:
    """Remove what a process that was killed had not finished."""
    for path in directory.glob(f"*{_PARTIAL}"):
        with suppress(OSError):
            path.unlink(missing_ok=True)


def remove_damaged(directory: Path) -> list[str]:
    """Remove damaged files that were set aside, all but the newest few; the names of those removed."""
    found = sorted(directory.glob("*.damaged-*"), key=lambda path: (path.stat().st_mtime, path.name))
    removed = found[:-_KEPT_DAMAGED]
    for path in removed:
        path.unlink(missing_ok=True)
    return [path.name for path in removed]


def open_to_append(path: Path) -> int:
    """A descriptor to write at the file's end, the file being made if need be."""
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, _MODE)


def write_whole(path: Path, pieces: Iterable[bytes]) -> None:
    """Write a file so that, whenever the power fails, it is either whole or not there under its name."""
    partial = path.with_name(path.name + _PARTIAL)
    try:
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, _MODE)
        try:
            for piece in pieces:
                write_all(descriptor, piece)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        partial.rename(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def write_all(descriptor: int, content: bytes) -> None:
    """Write all of it, however many calls that takes."""
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]


def sync_directory(directory: Path) -> None:
    """Have the names in a directory last."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def set_aside(path: Path, now: float) -> Path:
    """Rename a damaged file, so that nobody reads it again and somebody may look at it; its new name."""
    aside = next(name for name in _aside_names(path, now) if not name.exists())
    path.rename(aside)
    return aside


def keep_aside(path: Path, content: bytes, now: float) -> Path:
    """Keep the damaged part of a file beside it; the name of what keeps it."""
    aside = next(name for name in _aside_names(path, now) if not name.exists())
    write_whole(aside, [content])
    return aside


def _aside_names(path: Path, now: float) -> Iterator[Path]:
    """Names for something set aside."""
    yield path.with_name(f"{path.name}.damaged-{int(now)}")
    for number in range(2, 1000):
        yield path.with_name(f"{path.name}.damaged-{int(now)}-{number}")


class DirectoryLock:
    """Keeps a directory to one process: two that wrote there would lose what each other keeps.

    A full disk may take no file for the lock, so the directory itself is locked as well.
    """

    def __init__(self, directory: Path) -> None:
        """Make the directory if need be and take the lock.

        QuotaError where it cannot be made or written, or another process has it; OSError where that may pass.
        """
        self._descriptors: list[int] = []
        self._directory = directory
        try:
            self._open_all()
        except OSError as error:
            self.release()
            # A directory that is not there yet, where nothing can be written, is a mistake rather than a failure.
            if may_pass(error) and (error.errno != errno.EROFS or directory.is_dir()):
                raise
            raise QuotaError(
                f"{directory}: no directory to keep the state in: {cause_of(error)}; "
                "set directory in [state] to one that the user this program runs as can write to"
            ) from None

    def _open_all(self) -> None:
        """Lock the directory, and the file in it; QuotaError where another process has one of them."""
        self._directory.mkdir(parents=True, exist_ok=True)
        self._take(os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC), b"")
        try:
            file = os.open(self._directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _MODE)
        except OSError as error:
            if not may_pass(error):
                raise
            return
        self._take(file, f"{os.getpid()}\n".encode())

    def _take(self, descriptor: int, name: bytes) -> None:
        """Lock one of them, and write down by whom."""
        self._descriptors.append(descriptor)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._refuse()
        except OSError:
            # There are file systems that lock files only.
            if name:
                raise
        # Only for whoever is refused; a full disk is no reason to go without the lock.
        with suppress(OSError):
            if name:
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, name, 0)

    def _refuse(self) -> NoReturn:
        self.release()
        holder = ""
        with suppress(OSError):
            holder = (self._directory / "lock").read_text(errors="replace").strip()
        by = f" with the process number {holder}" if holder else ""
        raise QuotaError(
            f"{self._directory}: another carbonquota{by} keeps its state here; "
            "end it, or give this one a directory of its own"
        ) from None

    def release(self) -> None:
        """Let another process have the directory."""
        while self._descriptors:
            os.close(self._descriptors.pop())
