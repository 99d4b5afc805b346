"""The server's answers, read from bytes as they come (RESP, version 2): most are blobs of one length."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from valkey.exceptions import InvalidResponse

_END: Final = b"\r\n"


class Replies:
    """Reads the answers of one connection; an error of a command is its answer."""

    def __init__(self, blob: int, error_of: Callable[[str], Exception]) -> None:
        """Most answers have `blob` bytes; `error_of` makes errors of what the server says."""
        self._head = b"$%d\r\n" % blob
        self._length = len(self._head) + blob + len(_END)
        self._error_of = error_of
        self._rest = b""

    def read(self, data: bytes) -> list[Any]:
        """The answers that are whole with these bytes; InvalidResponse where they are none."""
        data = self._rest + data if self._rest else data
        answers: list[Any] = []
        at, size, head, length = 0, len(data), self._head, self._length
        first, last = len(head), length - len(_END)
        while at < size:
            if size - at >= length and data.startswith(head, at):
                answers.append(data[at + first : at + last])
                at += length
                continue
            found = self._value(data, at)
            if found is None:
                break
            answers.append(found[0])
            at = found[1]
        self._rest = data[at:]
        return answers

    def _value(self, data: bytes, at: int) -> tuple[Any, int] | None:
        """The answer that begins there, and where it ends; None where it is not whole yet."""
        end = data.find(_END, at)
        if end < 0:
            return None
        kind, line, behind = data[at : at + 1], data[at + 1 : end], end + len(_END)
        if kind == b"-":
            return self._error_of(line.decode("utf-8", "replace")), behind
        if kind == b"+":
            return line, behind
        try:
            number = int(line)
        except ValueError:
            raise InvalidResponse(f"{data[at:end][:60]!r} is no answer") from None
        if kind == b":":
            return number, behind
        if kind == b"$":
            return _blob(data, behind, number)
        if kind == b"*":
            return self._array(data, behind, number)
        raise InvalidResponse(f"{data[at:end][:60]!r} is no answer")

    def _array(self, data: bytes, at: int, count: int) -> tuple[list[Any], int] | None:
        values: list[Any] = []
        for _ in range(count):
            found = self._value(data, at)
            if found is None:
                return None
            values.append(found[0])
            at = found[1]
        return values, at


def _blob(data: bytes, at: int, size: int) -> tuple[bytes | None, int] | None:
    if size < 0:
        return None, at
    end = at + size
    return (data[at:end], end + len(_END)) if len(data) >= end + len(_END) else None
