"""Section names written in another language than that of patterns: regular expressions, tags, quotes.

Each of these characters is legal in a pattern, where it stands for itself; so the section is read without an error, and
matches nothing that anybody sends.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

_GROUPS: Final = re.compile(r"\[[^\]]*\]|\{[^}]*\}")
"""Character classes and alternatives, in which anything may stand."""


@dataclass(frozen=True, slots=True)
class Foreign:
    """What is foreign in a section name: where (from 0), what it means here, and what was likely meant."""

    offset: int
    width: int
    message: str
    suggestion: str


@dataclass(frozen=True, slots=True)
class _Kind:
    expression: re.Pattern[str]
    message: str
    meant: Callable[[str], str]


def _without(characters: str) -> Callable[[str], str]:
    return lambda name: name.translate(dict.fromkeys(map(ord, characters)))


def _with_braces(name: str) -> str:
    return re.sub(r"\(([^()]*)\)", lambda match: "{" + match[1].replace("|", ",") + "}", name)


_KINDS: Final = (
    _Kind(re.compile(r"""^["'].*["']$"""), "the quotes are a part of the name here", _without("\"'")),
    _Kind(re.compile(";.*"), "namespaces have no tags", lambda name: name.partition(";")[0]),
    _Kind(re.compile(r"\\"), "a backslash stands for itself here", _without("\\")),
    _Kind(re.compile(r"\([^()]*\)|[()|]"), "this is a regular expression, and stands for itself here", _with_braces),
    _Kind(re.compile(r"(?:^|(?<=\.))\^"), "a pattern is matched from the start of a part, and ^ stands for itself",
          _without("^$")),
    _Kind(re.compile(r"\$(?=\.|$)"), "a pattern is matched to the end of a part, and $ stands for itself",
          _without("$")),
)  # fmt: skip


def foreign_in(name: str) -> Iterator[Foreign]:
    """The first thing in a section name that is written in another language; nothing for the root."""
    plain = _GROUPS.sub(lambda match: "x" * len(match[0]), name)
    for kind in _KINDS:
        found = kind.expression.search(plain)
        if found and name != "/":
            meant = kind.meant(name)
            suggestion = f"did you mean [{meant}]?" if meant.strip(".") and meant != name else "take it out"
            yield Foreign(found.start(), len(found[0]), f"this can match nothing: {kind.message}", suggestion)
            return
