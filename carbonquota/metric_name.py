"""The one normal form of a metric name, and the namespaces that it lies in.

What a store keeps in one file is one metric, however it is spelled. So a name's normal form is what carbon makes of it
before it opens a file (`carbon.util.TaggedSeries`, `carbon.database` of 1.1.10), and dots and slashes, which carbon
both makes directories of, neither lead, trail nor repeat: `/team/a..m0` is `team.a.m0`. In tags they are characters as
any other, since the file of a tagged series is named by a hash or has `_DOT_` for its dots.
"""

from __future__ import annotations

import re
from typing import Final

from carbonquota.errors import MetricNameError
from carbonquota.model import ROOT

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")
LONGEST: Final = 4096
"""The most characters of a name, tags included: no file system takes a longer path for its Whisper file."""

DEEPEST: Final = 255
"""The most parts between dots. Every part is a namespace to keep, so a name must not bring any number of them."""

SEPARATORS: Final = "./"
"""What stands between the parts of a name: a store makes a directory of what is before either."""

_IGNORED: Final = "~" + SEPARATORS
"""What a name does not begin with: carbon takes leading tildes off."""

_SEPARATING: Final = re.compile(r"[./]+")
_PROHIBITED_IN_TAG: Final = frozenset("!^=")

_OPEN_METRICS_TAG: Final = re.compile(r'([^=]+)="((?:\\["\\]|[^"\\])+)"(?::?,|$)')
"""A tag in the braces of a name in the OpenMetrics form, as far as carbon reads it."""


Name = str | bytes | bytearray | memoryview
"""What a program may give as a metric's name: text, or its UTF-8."""


def normalize(name: Name) -> str:
    """The normal form of a metric's name; MetricNameError where no metric can be called so.

    TypeError where it is neither text nor bytes.
    """
    if not isinstance(name, str | bytes):
        name = _whole(name)
    if len(name) > LONGEST:
        raise MetricNameError(f"metric name {name[:40]!r}... has over {LONGEST:,} characters")
    text = _decode(name)
    if not text.isprintable() and (control := _CONTROL.search(text)):
        raise MetricNameError(f"metric name {text!r} holds the control character {control[0]!r}")
    if text.endswith('"}'):
        text = _without_braces(text)
    path, semicolon, tags = text.partition(";")
    path = _normal_path(path)
    if not path:
        raise MetricNameError(f"metric name {text!r} is empty")
    if path.count(".") >= DEEPEST:
        raise MetricNameError(f"metric name {text[:40]!r}... has over {DEEPEST} parts between dots")
    return f"{path};{normal}" if semicolon and (normal := _normal_tags(tags)) is not None else path


def _whole(name: object) -> bytes:
    """The bytes of a buffer that is given as a name."""
    if isinstance(name, bytearray | memoryview):
        return bytes(name)
    raise TypeError(f"a metric's name must be text or bytes, not {type(name).__name__}")


def _decode(name: str | bytes) -> str:
    """The name as text; bytes and lone surrogates that are no UTF-8 are refused."""
    try:
        if isinstance(name, bytes):
            return name.decode()
        if not name.isascii():
            name.encode()
    except UnicodeError:
        raise MetricNameError(f"metric name {name!r} is not valid UTF-8") from None
    return name


def _normal_path(path: str) -> str:
    """What is before the tags, with single dots between its parts."""
    if "/" in path or ".." in path or path[:1] in _IGNORED or path.endswith("."):
        return _SEPARATING.sub(".", path).lstrip(_IGNORED).rstrip(SEPARATORS)
    return path


def _normal_tags(tags: str) -> str | None:
    """The tags in the order of their text, of a repeated one the last, as carbon stores them; None where none is left.

    Where carbon cannot read them, it stores the name as it is: then they stay as they are.
    """
    values: dict[str, str] = {}
    for part in tags.split(";"):
        tag, equals, value = part.partition("=")
        if not (equals and _can_be_tag(tag, value)):
            return tags
        values[tag] = value
    # Carbon has the metric's own name for the tag of this name.
    values.pop("name", None)
    # With its "=", which stands after figures: carbon has host2=b before host=a.
    return ";".join(sorted(f"{tag}={value}" for tag, value in values.items())) or None


def _can_be_tag(tag: str, value: str) -> bool:
    """Whether carbon takes this for a tag and its value (`TaggedSeries.validateTagAndValue`)."""
    return bool(tag and value) and not value.startswith("~") and _PROHIBITED_IN_TAG.isdisjoint(tag)


def _without_braces(text: str) -> str:
    """A name in the OpenMetrics form, `metric{tag="value"}`, as `metric;tag=value`; any other as it is."""
    metric, *tags = text[:-1].split("{")
    if not metric or len(tags) != 1:
        return text
    place, found = 0, []
    while place < len(tags[0]):
        match = _OPEN_METRICS_TAG.match(tags[0], place)
        if match is None:
            return text
        tag, value = match[1], match[2].replace('\\"', '"').replace("\\\\", "\\")
        if ";" in tag + value or not _can_be_tag(tag, value):
            return text
        found.append(f";{tag}={value}")
        place = match.end()
    return metric + "".join(found)


def must_be_respelled(spelling: str, normal: str) -> bool:
    """Whether a store would keep this spelling in another file than the normal form, or may do so.

    Carbon's file is the same whatever the separators of a plain name, unless they are at its end, and carbon and
    go-carbon both bring tags into order themselves. All else, they do not have in common.
    """
    if spelling.endswith('"}') and _without_braces(spelling) != spelling:
        return True
    path, semicolon, tags = spelling.partition(";")
    normal_path = dotted_part(normal)
    if semicolon:
        return path != normal_path or _has_tag_called_name(tags)
    return path[-1:] in SEPARATORS or path.lstrip(SEPARATORS).startswith("~")


def _has_tag_called_name(tags: str) -> bool:
    """Whether one of the tags is the metric's name, which the normal form has in one place only."""
    return any(part.startswith("name=") for part in tags.split(";")) and _normal_tags(tags) != tags


def normalize_namespace(name: str) -> str:
    """A namespace's name as the index has it: `/` for the root, else without stray dots and slashes."""
    if not isinstance(name, str):
        raise TypeError(f"a namespace's name must be text, not {type(name).__name__}")
    return _SEPARATING.sub(".", name).strip(SEPARATORS) or ROOT


def dotted_part(metric: str) -> str:
    """A metric's name without its tags: what decides which namespaces it lies in."""
    return metric.partition(";")[0] if ";" in metric else metric
