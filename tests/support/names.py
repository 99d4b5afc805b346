"""What a metric's name and a plaintext line mean, spelled out step by step."""

from __future__ import annotations

import math
import unicodedata

from carbon.util import TaggedSeries


class MalformedNameError(Exception):
    """A name that no metric can have."""


def normal_form(name: str | bytes) -> str:
    """The one spelling of a metric's name, or MalformedNameError."""
    try:
        text = name.decode() if isinstance(name, bytes) else name
        text.encode()
    except UnicodeError as error:
        raise MalformedNameError(name) from error
    if any(unicodedata.category(character) == "Cc" for character in text):
        raise MalformedNameError(name)
    stored = stored_by_carbon(text)
    dotted, semicolon, tags = stored.partition(";")
    path = ".".join(filter(None, dotted.lstrip("~./").replace("/", ".").split(".")))
    if not path:
        raise MalformedNameError(name)
    return path + semicolon + tags


def stored_by_carbon(name: str) -> str:
    """The name under which carbon stores what it gets under this one."""
    try:
        path: str = TaggedSeries.parse(name).path
    except Exception:  # noqa: BLE001 - by these carbon tells that it takes the name as it is
        return name
    # What the OpenMetrics form says may itself be in need of order.
    return path if path == name else stored_by_carbon(path)


def namespaces_of(metric: str) -> list[str]:
    """The namespaces that hold a metric in normal form, from the root to the leaf."""
    components = metric.partition(";")[0].split(".")
    return ["/", *(".".join(components[:depth]) for depth in range(1, len(components)))]


def parent_of(namespace: str) -> str:
    """The namespace that holds `namespace` directly."""
    return namespace.rpartition(".")[0] or "/"


def line_fields(line: bytes) -> tuple[str, float, float]:
    """The metric (in normal form), value and timestamp of a plaintext line, or MalformedNameError."""
    fields = line.split()
    if len(fields) != 3:
        raise MalformedNameError(line)
    try:
        value, timestamp = (float(number.decode("ascii").replace("_", "?")) for number in fields[1:])
    except ValueError as error:
        raise MalformedNameError(line) from error
    if math.isnan(value) or not math.isfinite(timestamp):
        raise MalformedNameError(line)
    return normal_form(fields[0]), value, timestamp


def split_lines(buffer: bytes) -> list[bytes]:
    """The lines with their ends; a last line without an end is a line, an empty one is not."""
    *ended, last = buffer.split(b"\n")
    return [line + b"\n" for line in ended] + ([last] if last else [])
