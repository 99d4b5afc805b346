"""The helper process: one at a time, begun when it is needed, killed when it does not answer."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import Any, Final

_PROGRAM: Final = str(Path(__file__).with_name("worker.py"))
_MOST_BYTES: Final = 1 << 20
_BEGINNING: Final = 30.0
"""Seconds that it may take to begin."""


class SilentError(Exception):
    """It did not answer in time, and was ended; `spent` is the processor time that it had used for the request."""

    def __init__(self, spent: float) -> None:
        super().__init__(f"no answer, after {spent:.3f} s of processor time")
        self.spent = spent


class Helper:
    """A process that searches names. Used by one thread at a time."""

    def __init__(self) -> None:
        """None runs before `begin` or the first request."""
        self._process: subprocess.Popen[bytes] | None = None
        self._unread = b""
        self._is_ready = False
        self._used = 0.0
        self._begun = 0.0

    def begin(self) -> None:
        """Have one running, without waiting until it is ready; OSError where there can be none."""
        if self._process is None:
            self._unread, self._is_ready, self._used, self._begun = b"", False, 0.0, monotonic()
            self._process = subprocess.Popen(  # noqa: S603 - our own program
                [sys.executable, "-I", "-S", _PROGRAM],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                # A session of its own: Ctrl-C at a terminal is not for it.
                start_new_session=True,
                bufsize=0,
            )
            for pipe in (self._process.stdin, self._process.stdout):
                os.set_blocking(_number(pipe), False)

    def ask(
        self, pattern: str, flags: int, names: Sequence[str], seconds: float, until: float
    ) -> tuple[list[bool], float]:
        """The answers within `seconds` of processor time, as the worker gives them; SilentError where it gives none.

        `until` is when to wait no longer, by the monotonic clock.
        """
        try:
            self._make_ready(until)
            self._send(json.dumps([pattern, flags, list(names), seconds]).encode() + b"\n", until)
            found, spent, self._used = json.loads(self._line(until))
        except (OSError, TimeoutError, ValueError):
            raise SilentError(self.end()) from None
        return found, spent

    def _make_ready(self, until: float) -> None:
        """Wait until it has begun; where that takes longer than until then, it goes on beginning."""
        self.begin()
        if self._is_ready:
            return
        try:
            self._used = float(self._line(until))
        except TimeoutError:
            if monotonic() - self._begun < _BEGINNING:
                raise SilentError(0.0) from None
            raise
        self._is_ready = True

    def _send(self, request: bytes, until: float) -> None:
        """Write a request."""
        assert self._process is not None  # noqa: S101 - it was begun
        number = _number(self._process.stdin)
        while request:
            _wait(number, select.POLLOUT, until)
            request = request[os.write(number, request) :]

    def _line(self, until: float) -> bytes:
        """The next line that comes."""
        assert self._process is not None  # noqa: S101 - it was begun
        number = _number(self._process.stdout)
        while b"\n" not in self._unread:
            _wait(number, select.POLLIN, until)
            read = os.read(number, _MOST_BYTES)
            if not read:
                raise OSError("it has ended")
            self._unread += read
        line, _, self._unread = self._unread.partition(b"\n")
        return line

    def end(self) -> float:
        """End it at once; the processor time since its last answer."""
        process, self._process = self._process, None
        if process is None:
            return 0.0
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
        process.kill()
        spent = 0.0
        with suppress(ChildProcessError):
            _, status, used = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            # One that was not ready has only begun.
            spent = used.ru_utime + used.ru_stime - self._used if self._is_ready else 0.0
        process.wait()
        return max(spent, 0.0)


def _wait(number: int, event: int, until: float) -> None:
    """Wait for a pipe; TimeoutError past the time."""
    poll = select.poll()
    poll.register(number, event)
    if not poll.poll(max(until - monotonic(), 0.0) * 1000):
        raise TimeoutError


def _number(pipe: Any) -> int:  # noqa: ANN401 - a pipe of the process, which has both
    return int(pipe.fileno())
