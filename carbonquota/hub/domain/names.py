"""How customers and providers may be called."""

from __future__ import annotations

import re
from typing import Final

from carbonquota.hub.domain.errors import InvalidError

LONGEST: Final = 200
"""Characters of a name."""

PATTERN: Final = rf"^[A-Za-z0-9][A-Za-z0-9._@:+-]{{0,{LONGEST - 1}}}$"
"""A name as a regular expression, for OpenAPI; it stands in paths and logs as it is."""

_NAME: Final = re.compile(PATTERN[:-1] + r"\Z")


def checked_name(kind: str, name: str) -> str:
    """The same name; InvalidError where a `kind` of thing cannot be called so."""
    if not _NAME.match(name):
        raise InvalidError(
            f"{name[:LONGEST]!r} is no name of a {kind}: it begins with a letter or digit, has at most {LONGEST} "
            "characters, and all of them are letters, digits, or one of . _ @ : + -"
        )
    return name
