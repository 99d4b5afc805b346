"""Which file of a Whisper tree is which metric's; `carbonquota.ingest.whisper.metric_of_path` is the way back.

Parts of a name are directories, as carbon has it. A tagged series lies in `_tagged` below the first figures of the
SHA-256 of its name: under that whole name with `_DOT_` for dots or, where that can be no file's name (too long, a slash
in a tag) or would be read back as another, under the hash alone. Graphite-web looks for both.

Metrics in normal form never share a file, on a file system that tells names apart by their bytes.
"""

from __future__ import annotations

import re
from hashlib import sha256
from typing import Final

from carbonquota.errors import MetricNameError
from carbonquota.ingest.whisper import EXTENSION

_LONGEST_COMPONENT: Final = 255
"""Bytes that a file's name may have (Linux, `NAME_MAX`)."""

_LONGEST_PATH: Final = 3072
"""Bytes of a path below the root, so that with the root's own it stays below 4,096 (Linux, `PATH_MAX`)."""

_DOT: Final = "_DOT_"
_HASHED: Final = re.compile(r"_tagged/([0-9a-f]{3})/([0-9a-f]{3})/\1\2[0-9a-f]{58}\.wsp")


def path_of(metric: str) -> str:
    """The path of a metric's file below the tree's root, for a name in normal form.

    MetricNameError where it can have none, so that no name reaches outside of the tree.
    """
    try:
        if "\0" in metric:
            raise MetricNameError(f"no file can hold {metric!r}: there is a NUL in it")
        return _tagged_path(metric) if ";" in metric else _plain_path(metric)
    except UnicodeEncodeError:
        raise MetricNameError(f"no file can hold {metric!r}: it is not valid UTF-8") from None


def hashed_path_of(metric: str) -> str:
    """The same in a tree where all tagged series lie under their hashes, as in carbon's own by default."""
    path = path_of(metric)
    return _below_tagged(metric) if ";" in metric else path


def is_hashed(path: str) -> bool:
    """Whether a path below the root is that of a tagged series whose name is lost, only its hash being there."""
    return _HASHED.fullmatch(path) is not None


def _plain_path(metric: str) -> str:
    """The path of a metric without tags."""
    if "/" in metric:
        raise MetricNameError(f"no file can hold {metric!r}: there is a slash in it")
    parts = metric.split(".")
    if "" in parts:
        raise MetricNameError(f"no file can hold {metric!r}: a part of it is empty")
    path = "/".join(parts) + EXTENSION
    if len(path.encode()) > _LONGEST_COMPONENT and not _fits(path):
        raise MetricNameError(f"no file can hold {metric[:40]!r}...: it is too long, or a part of it is")
    if is_hashed(path):
        raise MetricNameError(f"no file can hold {metric!r}: that is where a tagged series has its own")
    return path


def _fits(path: str) -> bool:
    """Whether the file system takes a path and each part of it."""
    encoded = path.encode()
    return len(encoded) <= _LONGEST_PATH and all(len(part) <= _LONGEST_COMPONENT for part in encoded.split(b"/"))


def _tagged_path(metric: str) -> str:
    """The path of a tagged series."""
    stem = metric.replace(".", _DOT)
    is_readable = (
        len(stem.encode()) <= _LONGEST_COMPONENT - len(EXTENSION)
        and "/" not in stem
        and stem.replace(_DOT, ".") == metric
    )
    return _below_tagged(metric, stem if is_readable else "")


def _below_tagged(metric: str, stem: str = "") -> str:
    """The path of a tagged series whose file is called `stem`, or by its hash."""
    digest = sha256(metric.encode()).hexdigest()
    return f"_tagged/{digest[:3]}/{digest[3:6]}/{stem or digest}{EXTENSION}"
