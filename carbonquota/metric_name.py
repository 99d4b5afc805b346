"""The one normal form of a metric name, and the namespaces that it lies in.

A name is normal when dots neither lead, trail nor repeat and its tags are sorted, so that two spellings of
one metric are one series. The tag rules are those of carbon's `TaggedSeries`.
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

_RUN_OF_DOTS: Final = re.compile(r"\.{2,}")
_PROHIBITED_IN_TAG: Final = frozenset("!^=")


def normalize(name: str | bytes) -> str:
    """The normal form of a metric's name; MetricNameError where no metric can be called so."""
    if len(name) > LONGEST:
        raise MetricNameError(f"metric name {name[:40]!r}... has over {LONGEST:,} characters")
    text = _decode(name)
    if not text.isprintable() and (control := _CONTROL.search(text)):
        raise MetricNameError(f"metric name {text!r} holds the control character {control[0]!r}")
    path, semicolon, tags = text.partition(";")
    if path.startswith(".") or path.endswith(".") or ".." in path:
        path = _RUN_OF_DOTS.sub(".", path).strip(".")
    if not path:
        raise MetricNameError(f"metric name {text!r} is empty")
    if path.count(".") >= DEEPEST:
        raise MetricNameError(f"metric name {text[:40]!r}... has over {DEEPEST} parts between dots")
    return f"{path};{_normal_tags(text, tags)}" if semicolon else path


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


def _normal_tags(name: str, tags: str) -> str:
    """The tags in the order of their text, of a repeated one the last, as carbon stores them."""
    values: dict[str, str] = {}
    for part in tags.split(";"):
        tag, equals, value = part.partition("=")
        if not (tag and equals and value) or value.startswith("~") or not _PROHIBITED_IN_TAG.isdisjoint(tag):
            raise MetricNameError(f"metric name {name!r} has the bad tag {part!r}: a tag is name=value")
        values[tag] = value
    # With its "=", which stands after figures: carbon has host2=b before host=a.
    return ";".join(sorted(f"{tag}={value}" for tag, value in values.items()))


def normalize_namespace(name: str) -> str:
    """A namespace's name as the index has it: `/` for the root, else without stray dots."""
    return _RUN_OF_DOTS.sub(".", name).strip(".") or ROOT


def dotted_part(metric: str) -> str:
    """A metric's name without its tags: what decides which namespaces it lies in."""
    return metric.partition(";")[0] if ";" in metric else metric
