"""Which file of a Whisper tree is which metric's; `carbonquota.ingest.whisper.metric_of_path` is the way back.

Parts of a name are directories, as carbon has it. A tagged series lies in `_tagged` below the first figures of its
name's SHA-256, under its whole name with `_DOT_` for dots, or under the hash alone where that is too long.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Final

from carbonquota.errors import MetricNameError
from carbonquota.ingest.whisper import EXTENSION

_LONGEST_COMPONENT: Final = 255
"""Bytes that a file's name may have (Linux, `NAME_MAX`)."""

_LONGEST_PATH: Final = 3072
"""Bytes of a path below the root, so that with the root's own it stays below 4,096 (Linux, `PATH_MAX`)."""


def path_of(metric: str) -> str:
    """The path of a metric's file below the tree's root, for a name in normal form.

    MetricNameError where it can have none, so that no name reaches outside of the tree.
    """
    if "/" in metric or "\0" in metric:
        raise MetricNameError(f"no file can hold {metric!r}: there is a slash or a NUL in it")
    path = _tagged_path(metric) if ";" in metric else metric.replace(".", "/") + EXTENSION
    parts = path.encode().split(b"/")
    if any(len(part) > _LONGEST_COMPONENT for part in parts) or len(path.encode()) > _LONGEST_PATH:
        raise MetricNameError(f"no file can hold {metric!r}: a part of it is too long")
    if b"" in parts:
        raise MetricNameError(f"no file can hold {metric!r}: a part of it is empty")
    return path


def _tagged_path(metric: str) -> str:
    """The path of a tagged series."""
    digest = sha256(metric.encode()).hexdigest()
    name = metric.replace(".", "_DOT_") + EXTENSION
    if len(name.encode()) > _LONGEST_COMPONENT:
        name = digest + EXTENSION
    return f"_tagged/{digest[:3]}/{digest[3:6]}/{name}"
