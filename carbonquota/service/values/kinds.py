"""The kinds of values: each reads what TOML gives, or tells what is wrong with it, and writes it back as TOML.

A reader takes a TOML value (text, int, float, bool, list, ...) and raises `SettingValueError` with a message that goes
on from "<key>: " and a remedy. A writer gives TOML text that its reader reads as the same value.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from carbonquota.model import MAXIMUM
from carbonquota.service.values.address import read_listen
from carbonquota.service.values.amounts import read_duration, read_size, write_duration
from carbonquota.service.values.value_error import SettingValueError, described
from carbonquota.suggest import did_you_mean

_HOST_NAME: Final = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9_])?")
_HOST_IN_URL: Final = re.compile(r"(?:[a-z]+://)?([A-Za-z0-9_.-]+?)\.?(?::[0-9]*)?(?:/.*)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ValueKind:
    """One kind of value: how it is read and written; `is_path` tells that it names a file or directory."""

    read: Callable[[object], Any]
    write: Callable[[Any], str]
    is_path: bool = False


def text(value: object) -> str:
    """A text as it is; SettingValueError of anything else."""
    if not isinstance(value, str):
        hint = f'write it in quotes: "{value}"' if isinstance(value, int | float) else "write it in quotes"
        raise SettingValueError(f"this is text, not {described(value)}", hint)
    return value


def _read_switch(value: object) -> bool:
    if isinstance(value, bool):
        return value
    word = str(value).lower() if isinstance(value, str | int) else ""
    meant = {"true": "true", "yes": "true", "on": "true", "1": "true"}.get(word)
    meant = meant or {"false": "false", "no": "false", "off": "false", "0": "false"}.get(word, "true or false")
    raise SettingValueError(f"this is true or false, not {described(value)}", f"write {meant}, without quotes")


def _read_path(value: object) -> str:
    path = text(value)
    if "\0" in path:
        raise SettingValueError("a path cannot hold the character U+0000", "take it out")
    return path


def _read_required_path(value: object) -> str:
    path = _read_path(value)
    if not path:
        refuse("this cannot be empty", "name a directory")
    return path


def _read_name(value: object) -> str:
    name = text(value)
    if not name or not name.isprintable():
        raise SettingValueError("this cannot be empty, nor hold a control character", 'for example "graphite-eu"')
    return name


def _read_any_text(value: object) -> str:
    found = text(value)
    if not found.isprintable():
        raise SettingValueError("this cannot hold a control character", "take it out")
    return found


def _whole(value: object, least: int, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        digits = value.replace("_", "").replace(",", "") if isinstance(value, str) else ""
        hint = (
            f"write {digits}, without quotes" if digits.isascii() and digits.isdigit() else "for example 1000 or 1_000"
        )
        raise SettingValueError(f"this is a whole number, not {described(value)}", hint)
    if value < least:
        refuse(f"this is {least:,} or more, not {value:,}")
    if value > most:
        refuse(f"this is at most {most:,}, not {value:,}")
    return value


def _read_hosts(value: object) -> tuple[str, ...]:
    """Names of hosts, without ports."""
    if not isinstance(value, list):
        hint = f"write [{quoted(value)}]" if isinstance(value, str) else 'for example ["graphite.example.com"]'
        raise SettingValueError(f"this is a list of names, not {described(value)}", hint)
    return tuple(_host(text(name)) for name in value)


def _host(name: str) -> str:
    if name == "*" or _HOST_NAME.fullmatch(name):
        return name
    found = _HOST_IN_URL.fullmatch(name)
    hint = f'did you mean "{found[1]}"?' if found and found[1] != name else 'for example "graphite.example.com"'
    raise SettingValueError(f'"{name}" is not the name of a host', hint)


def refuse(message: str, suggestion: str = "") -> NoReturn:
    """Raise SettingValueError."""
    raise SettingValueError(message, suggestion)


def quoted(value: object) -> str:
    """A basic string of TOML; JSON's escapes are a part of TOML's, but for U+007F."""
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")


def _switch(value: object) -> str:
    return "true" if value else "false"


def count(least: int = 0, most: int = MAXIMUM) -> ValueKind:
    """A whole number in a range."""
    return ValueKind(lambda value: _whole(value, least, most), str)


def size(least: int = 0, most: int = MAXIMUM) -> ValueKind:
    """Bytes: a whole number, or text such as `64MB` or `1GiB`."""
    return ValueKind(lambda value: _whole(read_size(value), least, most), str)


def duration(least: float = 0.0, zero: str = "") -> ValueKind:
    """Seconds: text as Go writes durations, or a number. `zero` tells what 0 means, for the error about less."""
    return ValueKind(lambda value: read_duration(value, least, zero), write_duration)


def choice(*words: str) -> ValueKind:
    """One of some words."""

    def read(value: object) -> str:
        word = text(value)
        if word not in words:
            raise SettingValueError(f'unknown word "{word}"', did_you_mean(word, words, "words"))
        return word

    return ValueKind(read, quoted)


def quoted_list(value: object) -> str:
    """A list of texts as TOML has it."""
    return f"[{', '.join(map(quoted, value))}]" if isinstance(value, tuple) else "[]"


SWITCH: Final = ValueKind(_read_switch, _switch)
FILE: Final = ValueKind(_read_path, quoted, is_path=True)
FILE_OR_URL: Final = ValueKind(_read_path, quoted, is_path=True)
"""A path, or a URL, which has `://` in it."""
TEXT: Final = ValueKind(_read_any_text, quoted)
DIRECTORY: Final = ValueKind(_read_required_path, quoted, is_path=True)
HOSTS: Final = ValueKind(_read_hosts, quoted_list)
LISTEN: Final = ValueKind(lambda value: read_listen(text(value)), quoted)
LISTEN_TEXT: Final = ValueKind(lambda value: str(read_listen(text(value))), quoted)
NAME: Final = ValueKind(_read_name, quoted)
