"""Which file of a Whisper tree is which metric's; `carbonquota.ingest.whisper.metric_of_path` is the way back.

Parts of a name are directories, as carbon has it. A tagged series lies in `_tagged` below the first figures of the
SHA-256 of its name: under that whole name with `_DOT_` for dots or, where that can be no file's name (too long, a slash
in a tag) or would be read back as another, under the hash alone. Graphite-web looks for both.

Metrics in normal form never share a file, on a file system that tells names apart by their bytes.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Final

from carbonquota.errors import MetricNameError
from carbonquota.ingest.whisper import EXTENSION
from carbonquota.model import Storable

_LONGEST_COMPONENT: Final = 255
"""Bytes that a file's name may have (Linux, `NAME_MAX`)."""

_LONGEST_PATH: Final = 3072
"""Bytes of a path below the root, so that with the root's own it stays below 4,096 (Linux, `PATH_MAX`)."""

_SYSTEMS_LONGEST: Final = 4096 - 32
"""Bytes of a whole path (Linux, `PATH_MAX`), with room for the name that a new file has at first."""

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


def readable_path_of(metric: str) -> str:
    """The same in a tree of carbon's with no tagged series under its hash: slashes in tags make directories there."""
    return _below_tagged(metric, metric.replace(".", _DOT)) if ";" in metric else path_of(metric)


def storable_below(root: str, path_of: Callable[[str], str] = path_of) -> Storable:
    """What Whisper files below `root` can keep, by the paths that metrics have there.

    It is as much as the file system takes that `root`, or what there is of the path to it, is on.
    """
    longest_part = min(_longest_name(Path(root)), _LONGEST_COMPONENT)
    longest_path = min(_LONGEST_PATH, _SYSTEMS_LONGEST - len(os.fsencode(Path(root).resolve())))

    def check(metric: str) -> None:
        path = path_of(metric).encode()
        if len(path) > longest_path or max(map(len, path.split(b"/"))) > longest_part:
            raise MetricNameError(f"no file can hold {metric[:40]!r}...: it is too long, or a part of it is")

    sure_length = max(min(longest_part, longest_path) - len(EXTENSION), 0)
    return Storable(check, sure_length, doubtful_prefix="_tagged.")


def _longest_name(directory: Path) -> int:
    """The bytes of the longest name that a file may have in a directory, or where that will be made."""
    while not directory.exists() and directory != directory.parent:
        directory = directory.parent
    try:
        return os.pathconf(directory, "PC_NAME_MAX")
    except (OSError, ValueError):
        return _LONGEST_COMPONENT


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
