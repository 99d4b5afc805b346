"""A configuration file's text, or one error that tells why there is none."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from carbonquota.errors import ConfigError, Problem


def read_text(path: str | os.PathLike[str], *, again: bool = False) -> str:
    """The text of a UTF-8 file. Raises ConfigError if it cannot be read or is something else.

    `again` says that it will be read again, so that it must be a file and no pipe.
    """
    source = os.fspath(path)
    try:
        content = read_bytes(source) if again else Path(source).read_bytes()
    except FileNotFoundError:
        raise _unreadable(source, "there is no such file") from None
    except IsADirectoryError:
        raise _unreadable(source, "this is a directory, not a file") from None
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise _unreadable(source, f"cannot be read: {reason.lower()}") from None
    if b"\0" in content:
        raise _unreadable(source, "this is a binary file, not a configuration")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError([_bad_byte(source, content, error.start)]) from None


def read_bytes(path: str) -> bytes:
    """What a file holds that can be read again; OSError where there is none. It never waits for somebody to write.

    A pipe would be waited for, and can be read once only; a device may have no end.
    """
    with open(path, "rb", opener=open_at_once) as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode) and not os.path.samestat(found, os.stat(os.devnull)):  # noqa: PTH116
            raise OSError(errno.ESPIPE, "it is a pipe or a device, not a file")
        return file.read()


def open_at_once(path: str, flags: int) -> int:
    """An opener for `open` that does not wait for who writes into a pipe."""
    return os.open(path, flags | os.O_NONBLOCK)


def _unreadable(source: str, message: str) -> ConfigError:
    return ConfigError([Problem(source, 0, 0, 0, "", message)])


def _bad_byte(source: str, content: bytes, offset: int) -> Problem:
    start = content.rfind(b"\n", 0, offset) + 1
    line = content[start:].split(b"\n", 1)[0].rstrip(b"\r")
    number = content.count(b"\n", 0, offset) + 1
    column = len(content[start:offset].decode("utf-8")) + 1
    message = f"the byte 0x{content[offset]:02x} is not UTF-8"
    return Problem(source, number, column, 1, line.decode("utf-8", "replace"), message, "save the file as UTF-8")
