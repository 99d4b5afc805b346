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

from carbonquota.cluster.peers import Peer, peer_of
from carbonquota.cluster.store_url import check_store_url, masked
from carbonquota.errors import MetricNameError
from carbonquota.metric_name import normalize
from carbonquota.model import MAXIMUM
from carbonquota.rules.suggest import did_you_mean
from carbonquota.service.values.address import read_destination, read_listen
from carbonquota.service.values.amounts import read_duration, read_size, write_duration
from carbonquota.service.values.value_error import SettingValueError, described

_LARGEST_FACTOR: Final = 1000
"""Times that a file may be as large on disk as its points are: far past any that is."""
_HOST_NAME: Final = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9_])?")
_HOST_IN_URL: Final = re.compile(r"(?:[a-z]+://)?([A-Za-z0-9_.-]+?)\.?(?::[0-9]*)?(?:/.*)?", re.IGNORECASE)
HOST: Final = "{host}"
"""What the host's name is put in place of, in graph-prefix."""


@dataclass(frozen=True, slots=True)
class ValueKind:
    """One kind of value: how it is read and written; `is_path` tells that it names a file or directory."""

    read: Callable[[object], Any]
    write: Callable[[Any], str]
    is_path: bool = False


def _text(value: object) -> str:
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
    path = _text(value)
    if "\0" in path:
        raise SettingValueError("a path cannot hold the character U+0000", "take it out")
    return path


def _read_required_path(value: object) -> str:
    path = _read_path(value)
    if not path:
        _refuse("this cannot be empty", "name a directory")
    return path


def _read_prefix(value: object) -> str:
    """A prefix of stats in carbon: a metric's name in normal form, with `{host}` still in it."""
    prefix = _text(value)
    filled = prefix.replace(HOST, "host")
    if any(character in "{};" or character.isspace() for character in filled):
        _refuse(f'"{prefix}" cannot begin the name of a metric', f"take out blanks, ; and braces other than {HOST}")
    try:
        normalize(filled)
    except MetricNameError as error:
        raise SettingValueError(
            f"no name of a metric begins so: {error}", 'for example "carbon.agents.{host}"'
        ) from None
    return prefix


def _read_statsd_prefix(value: object) -> str:
    prefix = _text(value)
    if any(character in ":|@#" or character.isspace() or not character.isprintable() for character in prefix):
        raise SettingValueError(
            "a blank, a control character or one of : | @ #, which no StatsD name may hold", "take it out"
        )
    return prefix.strip(".")


def _read_name(value: object) -> str:
    name = _text(value)
    if not name or not name.isprintable():
        raise SettingValueError("this cannot be empty, nor hold a control character", 'for example "graphite-eu"')
    return name


def _read_store(value: object) -> str:
    url = _text(value)
    try:
        check_store_url(url)
    except ValueError as error:
        raise SettingValueError(str(error), 'for example "valkey://127.0.0.1:6379"') from None
    return url


def _read_peers(value: object) -> tuple[Peer, ...]:
    if not isinstance(value, list):
        raise SettingValueError(
            f"this is a list, not {described(value)}", 'for example ["10.0.0.2:2005", "10.0.0.3:2005"]'
        )
    peers = []
    for text in value:
        try:
            peers.append(peer_of(_text(text)))
        except ValueError as error:
            raise SettingValueError(
                str(error), 'for example "10.0.0.2:2005", or "dns://nodes:2005" for all of a name'
            ) from None
    return tuple(peers)


def _write_peers(value: object) -> str:
    assert isinstance(value, tuple)  # noqa: S101 - what `_read_peers` gives
    return f"[{', '.join(map(_quoted, value))}]"


def _whole(value: object, least: int, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        digits = value.replace("_", "").replace(",", "") if isinstance(value, str) else ""
        hint = (
            f"write {digits}, without quotes" if digits.isascii() and digits.isdigit() else "for example 1000 or 1_000"
        )
        raise SettingValueError(f"this is a whole number, not {described(value)}", hint)
    if value < least:
        _refuse(f"this is {least:,} or more, not {value:,}")
    if value > most:
        _refuse(f"this is at most {most:,}, not {value:,}")
    return value


def _read_factor(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise SettingValueError(
            f"this is a number, not {described(value)}", "write it without quotes, for example 0.75"
        )
    if not 0 < value <= _LARGEST_FACTOR:
        raise SettingValueError(
            f"this is above 0 and at most {_LARGEST_FACTOR}, not {value}",
            "1 is as large as the points, 0.75 three quarters of it",
        )
    return float(value)


def _read_hosts(value: object) -> tuple[str, ...]:
    """Names of hosts, without ports."""
    if not isinstance(value, list):
        hint = f"write [{_quoted(value)}]" if isinstance(value, str) else 'for example ["graphite.example.com"]'
        raise SettingValueError(f"this is a list of names, not {described(value)}", hint)
    return tuple(_host(_text(name)) for name in value)


def _host(name: str) -> str:
    if name == "*" or _HOST_NAME.fullmatch(name):
        return name
    found = _HOST_IN_URL.fullmatch(name)
    hint = f'did you mean "{found[1]}"?' if found and found[1] != name else 'for example "graphite.example.com"'
    raise SettingValueError(f'"{name}" is not the name of a host', hint)


def _refuse(message: str, suggestion: str = "") -> NoReturn:
    raise SettingValueError(message, suggestion)


def _quoted(value: object) -> str:
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
        word = _text(value)
        if word not in words:
            raise SettingValueError(f'unknown word "{word}"', did_you_mean(word, words, "words"))
        return word

    return ValueKind(read, _quoted)


def _quoted_list(value: object) -> str:
    return f"[{', '.join(map(_quoted, value))}]" if isinstance(value, tuple) else "[]"


SWITCH: Final = ValueKind(_read_switch, _switch)
FACTOR: Final = ValueKind(_read_factor, repr)
FILE: Final = ValueKind(_read_path, _quoted, is_path=True)
DIRECTORY: Final = ValueKind(_read_required_path, _quoted, is_path=True)
PREFIX: Final = ValueKind(_read_prefix, _quoted)
STATSD_PREFIX: Final = ValueKind(_read_statsd_prefix, _quoted)
HOSTS: Final = ValueKind(_read_hosts, _quoted_list)
LISTEN: Final = ValueKind(lambda value: read_listen(_text(value)), _quoted)
LISTEN_TEXT: Final = ValueKind(lambda value: str(read_listen(_text(value))), _quoted)
NAME: Final = ValueKind(_read_name, _quoted)
STORE: Final = ValueKind(_read_store, lambda value: _quoted(masked(str(value))))
PEERS: Final = ValueKind(_read_peers, _write_peers)
DESTINATION: Final = ValueKind(lambda value: read_destination(_text(value)), _quoted)
