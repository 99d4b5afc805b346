"""The spool: batches on disk, first in, first out, in numbered segments of a directory that one process owns.

All methods block, and one at a time may run; the caller calls them on a thread. Invariants:
- segments are in order of their numbers, and so are the batches in them; only the last is written to;
- what was read stays on disk until it is released, so that a process that is killed sends it again;
- no process appends to a segment of an earlier one, so that nothing comes behind a half-written record.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from carbonquota.daemon.relay import segment as segments
from carbonquota.daemon.relay.queue import RelayBatch
from carbonquota.daemon.relay.segment import Block, Segment
from carbonquota.errors import QuotaError
from carbonquota.service.disk import cause_of, may_pass

_SUFFIX: Final = ".segment"
_GONE: Final = (errno.ENOENT, errno.EIO)
"""Errors on reading a segment that do not pass; any other (too many open files) is tried again."""

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Appended:
    """How many batches were written, what had to be dropped for them, and what stopped it, if anything did."""

    count: int = 0
    dropped_points: int = 0
    dropped_bytes: int = 0
    error: OSError | None = None

    def drop(self, dropped: tuple[int, int]) -> None:
        """Note points and bytes that were dropped."""
        self.dropped_points += dropped[0]
        self.dropped_bytes += dropped[1]


class Spool:
    """The segments of one directory, at most `max_size` bytes of them, each about `segment_size`."""

    def __init__(self, directory: Path, max_size: int, segment_size: int) -> None:
        self._directory = directory
        self._max_size = max_size
        # The oldest segment goes as a whole when the spool is full; a small spool should not lose most of itself.
        self._segment_size = min(segment_size, max_size // 8)
        self._segments: deque[Segment] = deque()
        self._size = 0
        self._next_number = 1
        self._lock = -1
        # Files open for writing, by segment number; the last one is being written to, the others wait for fsync.
        self._files: dict[int, int] = {}
        self._is_synced = True
        # Which directory it was when it was opened: another may come to its place, as disks are mounted and removed.
        self._identity: tuple[int, int] | None = None

    @property
    def is_open(self) -> bool:
        """Whether the directory is ours, and what is in it known."""
        return self._identity is not None

    @property
    def has_unread(self) -> bool:
        """Whether there is something to be read."""
        return any(not segment.is_read for segment in self._segments)

    def has_room(self, size: int) -> bool:
        """Whether so many bytes fit without giving up older ones."""
        return self._size + size <= self._max_size

    def open(self) -> tuple[int, int]:
        """Take the directory, and find what is there: how many points and bytes.

        QuotaError where the directory can never be used, or where another process uses it; OSError where it may pass.
        """
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            self._take_lock()
            self._find()
            self._identity = self._find_identity()
        except OSError as error:
            self._unlock()
            if may_pass(error) and (error.errno != errno.EROFS or self._directory.is_dir()):
                raise
            raise QuotaError(
                f"{self._directory}: cannot be used as spool-dir ({error.strerror}); "
                "give the daemon a directory that it may write to, or leave spool-dir empty"
            ) from error
        return sum(segment.points for segment in self._segments), sum(segment.waiting for segment in self._segments)

    def take_losses(self) -> tuple[int, int]:
        """Give up what is gone from the directory, or went with it: how many points and bytes were still to be read.

        Whoever removes a file, or mounts another disk in the directory's place, leaves us with files that nobody will
        ever find. Where the whole directory went, the spool is not open any more. OSError.
        """
        points = size = 0
        went = self._find_identity() != self._identity
        for segment in list(self._segments):
            if went or (segment.number in self._files and not os.fstat(self._files[segment.number]).st_nlink):
                lost = segment.skip()
                points, size = points + lost[0], size + lost[1]
                self._drop(segment)
        if went:
            self._identity = None
            self._unlock()
        return points, size

    def append(self, batches: Iterable[RelayBatch]) -> Appended:
        """Write the batches behind all others. The oldest on disk go where the bound would be passed."""
        done = Appended()
        try:
            self._check_open()
            for batch in batches:
                record = segments.encode(batch)
                self._make_room(len(record), done)
                if len(record) > self._max_size:
                    done.drop((batch.points, len(batch.lines)))
                else:
                    self._write(batch, record)
                done.count += 1
        except OSError as error:
            done.error = error
        return done

    def read(self, size: int) -> Block:
        """The next batches, about `size` bytes of them; none where there is no more. OSError when it may pass."""
        segment = self._first_unread()
        if segment is None:
            return Block()
        try:
            block = segments.read(segment, size)
        except OSError as error:
            if error.errno not in _GONE:
                raise
            points, waiting = segment.skip()
            block = Block([], points, waiting, f"unreadable: {error.strerror}")
        if block.damage:
            log.warning("relay spool: %s: %s", segment.path, block.damage)
        return block

    def release(self, kept: int | None) -> None:
        """Remove the segments that were read, up to the one numbered `kept`. OSError."""
        while self._segments and self._segments[0].is_read and self._segments[0].number != kept:
            self._remove()

    def sync(self) -> None:
        """Bring everything that was written to the disk itself. OSError."""
        if self._is_synced:
            return
        current = self._next_number - 1
        for number, file in list(self._files.items()):
            os.fsync(file)
            if number != current:
                os.close(self._files.pop(number))
        self._sync_directory()
        self._is_synced = True

    def put_back(self, unsent: Iterable[RelayBatch]) -> None:
        """Make the spool hold these and then what was not read, and nothing that was read. OSError."""
        self._check_open()
        head = b"".join(segments.encode(batch) for batch in unsent)
        segment = self._first_unread()
        if segment is not None and (head or segment.read):
            self._replace(segment.number, head + segments.rest(segment))
        elif head:
            self._replace(self._next_number, head)
            self._next_number += 1
        self.release(None)

    def close(self) -> None:
        """Let go of files and directory."""
        self._identity = None
        for file in self._files.values():
            os.close(file)
        self._files.clear()
        self._unlock()

    def _check_open(self) -> None:
        """OSError where there is no directory to write to."""
        if not self.is_open:
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT), str(self._directory))

    def _take_lock(self) -> None:
        """QuotaError where another process has the directory."""
        self._lock = os.open(self._directory / "lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._unlock()
            raise QuotaError(
                f"{self._directory}: another process uses this spool; give each daemon a spool-dir of its own"
            ) from None

    def _unlock(self) -> None:
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _find(self) -> None:
        """The segments of earlier processes, oldest first; one that cannot be read stays where it is."""
        for path in sorted(self._directory.glob(f"{'[0-9]' * 16}{_SUFFIX}")):
            self._next_number = max(self._next_number, int(path.stem) + 1)
            try:
                segment, damage = segments.scan(int(path.stem), path)
            except OSError as error:
                log.warning("relay spool: %s: cannot be read, and is left as it is: %s", path, cause_of(error))
                continue
            if damage:
                log.warning("relay spool: %s: %s", path, damage)
            self._segments.append(segment)
            self._size += segment.size
        with suppress(OSError):
            self._directory.joinpath("replacement").unlink(missing_ok=True)

    def _find_identity(self) -> tuple[int, int] | None:
        """Which directory it is, by device and inode; None where there is none. OSError."""
        try:
            found = self._directory.stat()
        except FileNotFoundError:
            return None
        return found.st_dev, found.st_ino

    def _first_unread(self) -> Segment | None:
        return next((segment for segment in self._segments if not segment.is_read), None)

    def _make_room(self, size: int, done: Appended) -> None:
        while self._segments and not self.has_room(size):
            done.drop(self._segments[0].skip())
            self._remove()

    def _remove(self) -> None:
        """Delete the oldest segment."""
        segment = self._segments[0]
        segment.path.unlink(missing_ok=True)
        self._drop(segment)

    def _drop(self, segment: Segment) -> None:
        """Know of it no more."""
        self._segments.remove(segment)
        self._size -= segment.size
        file = self._files.pop(segment.number, None)
        if file is not None:
            os.close(file)

    def _write(self, batch: RelayBatch, record: bytes) -> None:
        """Append a record; whatever fails, the segment stays whole up to its size."""
        segment = self._segment_to_write()
        file = self._files[segment.number]
        self._is_synced = False
        try:
            _write_all(file, record)
        except OSError:
            os.ftruncate(file, segment.size)
            os.lseek(file, segment.size, os.SEEK_SET)
            raise
        segment.add(len(record), batch)
        self._size += len(record)

    def _segment_to_write(self) -> Segment:
        """The last segment if it is ours and has room, else a new one."""
        if self._segments:
            last = self._segments[-1]
            if last.number in self._files and last.size < self._segment_size:
                return last
        segment = Segment(self._next_number, self._path(self._next_number))
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        # Before it is opened: a file that is left over from a failure must not be in the way for ever.
        self._next_number += 1
        self._files[segment.number] = os.open(segment.path, flags, 0o644)
        self._segments.append(segment)
        return segment

    def _replace(self, number: int, content: bytes) -> None:
        """Make one segment hold this, atomically."""
        replacement = self._directory / "replacement"
        file = os.open(replacement, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        try:
            _write_all(file, content)
            os.fsync(file)
        finally:
            os.close(file)
        replacement.replace(self._path(number))
        self._take_in(segments.scan(number, self._path(number))[0])
        self._sync_directory()

    def _take_in(self, segment: Segment) -> None:
        """Put a segment that was replaced into its place."""
        kept = [other for other in self._segments if other.number != segment.number]
        self._segments = deque(sorted([*kept, segment], key=lambda one: one.number))
        self._size = sum(one.size for one in self._segments)
        file = self._files.pop(segment.number, None)
        if file is not None:
            os.close(file)

    def _path(self, number: int) -> Path:
        return self._directory / f"{number:016d}{_SUFFIX}"

    def _sync_directory(self) -> None:
        directory = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


def _write_all(file: int, content: bytes) -> None:
    """Write all of it, in as many calls as that takes. OSError."""
    left = memoryview(content)
    while left:
        left = left[os.write(file, left) :]
