"""Lines of access logs: Common, Combined (both of the NCSA's httpd, and of Apache and nginx since) and JSON.

A line gives fields by name, all of them text. Of JSON all keys are fields, those of nested objects with a dot between
them, and the usual names of the usual fields are known as well.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

FIELDS: Final = ("address", "user", "method", "path", "query", "host", "status", "bytes", "referer", "agent")
"""The fields that lines of every format may have."""

_NCSA: Final = re.compile(
    r'(?P<address>\S+) \S+ (?P<user>.*?) \[(?P<time>[^\]]+)\] "(?P<request>(?:[^"\\]|\\.)*)" (?P<status>\d{3}|-) '
    r'(?P<bytes>\d+|-)(?: "(?P<referer>(?:[^"\\]|\\.)*)" "(?P<agent>(?:[^"\\]|\\.)*)")?(?: .*)?'
)
_NCSA_TIME: Final = "%d/%b/%Y:%H:%M:%S %z"

_KNOWN_AS: Final[dict[str, tuple[str, ...]]] = {
    "address": ("remote_addr", "client_ip", "clientip", "remote_ip", "ClientHost", "request.remote_ip", "ip", "client"),
    "user": ("remote_user", "ClientUsername", "user_id", "auth"),
    "method": ("request_method", "RequestMethod", "request.method", "http_method", "verb"),
    "path": ("uri", "request_uri", "RequestPath", "request.uri", "url"),
    "host": ("http_host", "RequestHost", "request.host", "authority", ":authority", "server_name"),
    "status": ("DownstreamStatus", "response_code", "status_code"),
    "bytes": ("body_bytes_sent", "bytes_sent", "DownstreamContentSize", "size"),
    "referer": ("http_referer", "referrer"),
    "agent": ("http_user_agent", "user_agent", "request_User-Agent"),
}
"""What fields are called in JSON, by those who write it."""

_TIMES: Final = (
    "time",
    "timestamp",
    "@timestamp",
    "ts",
    "time_iso8601",
    "time_local",
    "msec",
    "start_time",
    "StartUTC",
)


@dataclass(frozen=True, slots=True)
class LogLine:
    """A request: when it came, in seconds since the epoch, and its fields."""

    time: float
    fields: Mapping[str, str]


class LogReader:
    """Reads lines; those that are no request are counted."""

    def __init__(self) -> None:
        """Nothing is read yet."""
        self.unreadable = 0
        self.sample = ""
        self._pending = b""

    def feed(self, piece: bytes) -> Iterator[LogLine]:
        """The requests of the lines that end in a piece of a log."""
        *lines, self._pending = (self._pending + piece).split(b"\n")
        for line in lines:
            yield from self._read(line)

    def close(self) -> Iterator[LogLine]:
        """That of a last line without end."""
        line, self._pending = self._pending, b""
        yield from self._read(line)

    def _read(self, line: bytes) -> Iterator[LogLine]:
        text = line.decode("utf-8", "replace").strip()
        if not text:
            return
        found = _json(text) if text.startswith("{") else _ncsa(text)
        if found is None:
            self.unreadable += 1
            self.sample = self.sample or text[:120]
        else:
            yield found


def _ncsa(text: str) -> LogLine | None:
    match = _NCSA.fullmatch(text)
    time = _time(match["time"]) if match else None
    if match is None or time is None:
        return None
    fields = {name: value for name, value in match.groupdict().items() if value not in (None, "-")}
    method, _, rest = fields.pop("request", "").partition(" ")
    fields |= {"method": method, "path": rest.rpartition(" HTTP/")[0] or rest}
    fields.pop("time")
    return LogLine(time, _with_query(fields))


def _json(text: str) -> LogLine | None:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return None
    fields = dict(_flat(document))
    time = next((found for key in _TIMES if (found := _time(fields.get(key, ""))) is not None), None)
    if time is None:
        return None
    for name, others in _KNOWN_AS.items():
        value = next((fields[key] for key in (name, *others) if key in fields), None)
        if value is not None:
            fields[name] = value
    if "address" in fields:
        fields["address"] = _without_port(fields["address"])
    return LogLine(time, _with_query(fields))


def _flat(document: dict[str, Any], above: str = "", deep: int = 0) -> Iterator[tuple[str, str]]:
    """The values of a document by their keys, those of nested objects with a dot between them."""
    for key, value in document.items():
        if isinstance(value, dict):
            if deep < 8:
                yield from _flat(value, f"{above}{key}.", deep + 1)
        elif isinstance(value, (str, int, float)) and not isinstance(value, bool):
            yield f"{above}{key}", str(value)


def _with_query(fields: dict[str, str]) -> dict[str, str]:
    path, mark, query = fields.get("path", "").partition("?")
    return {**fields, "path": path, "query": query} if mark else fields


def _without_port(address: str) -> str:
    """An address, as Envoy and Go write it with the port behind it."""
    host, colon, port = address.rpartition(":")
    if colon and port.isdigit() and ("." in host or host.startswith("[")):
        return host.strip("[]")
    return address


def _time(text: str) -> float | None:
    """Seconds since the epoch of a time as logs write it; None where it is none."""
    try:
        number = float(text)
    except ValueError:
        pass
    else:
        # Of today, milliseconds are 13 digits, and microseconds 16.
        scale = 1e6 if number > 1e14 else 1e3 if number > 1e11 else 1.0
        return number / scale if 0 < number < 1e17 else None
    for layout in (_NCSA_TIME, None):
        try:
            moment = datetime.strptime(text, layout) if layout else datetime.fromisoformat(text)  # noqa: DTZ007
            return moment.timestamp()
        except (ValueError, OverflowError):
            continue
    return None
