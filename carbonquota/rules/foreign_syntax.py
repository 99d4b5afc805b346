"""Section names written in another language than that of patterns: regular expressions, tags, quotes, placeholders.

Each of these characters is legal in a pattern, where it stands for itself; so the section is read without an error, and
matches nothing that anybody sends.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from carbonquota.rules.glob import parse_pattern

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
    """What is looked for, what it means here, and what was likely meant; `inside` of braces and brackets, too."""

    expression: re.Pattern[str]
    message: str
    meant: Callable[[str], str]
    inside: bool = False


def _without(characters: str) -> Callable[[str], str]:
    return lambda name: name.translate(dict.fromkeys(map(ord, characters)))


def _with_braces(name: str) -> str:
    """The alternatives of a regular expression as a pattern has them; other groups are left out."""
    plain = re.sub(r"\(\?[a-zA-Z]+\)", "", name).replace("(?:", "(")
    return re.sub(r"\(([^()]*)\)", lambda match: _alternatives(match[1]), plain)


def _alternatives(inside: str) -> str:
    return "{" + inside.replace("|", ",") + "}" if "|" in inside else inside


def _without_escapes(name: str) -> str:
    return re.sub(r"\\[dwsDWS][+*]?", "*", name).replace("\\", "")


def _with_star(expression: str) -> Callable[[str], str]:
    return lambda name: re.sub(expression, "*", name)


_PLACEHOLDER: Final = r"\$?\{\{[^{},]*\}\}|\$\{[^{},]*\}|<[^<>.]+>"
"""`{{ name }}`, `${name}` and `<name>`, as templates have them."""

_KINDS: Final = (
    _Kind(re.compile(_PLACEHOLDER), "this looks like a placeholder that nobody filled in", _with_star(_PLACEHOLDER),
          inside=True),
    _Kind(re.compile(r"\s+"), "no line can hold a name with a blank", lambda name: "".join(name.split()), inside=True),
    _Kind(re.compile(r"""^["'].*["']$"""), "the quotes are a part of the name here", _without("\"'")),
    _Kind(re.compile(";.*"), "namespaces have no tags", lambda name: name.partition(";")[0]),
    _Kind(re.compile(r'\{[^{}]*="[^{}]*\}'), "namespaces have no tags", lambda name: name.partition("{")[0],
          inside=True),
    _Kind(re.compile(r"^~+"), "carbon takes leading tildes off", lambda name: name.lstrip("~")),
    _Kind(re.compile(r"\\"), "a backslash stands for itself here", _without_escapes),
    _Kind(re.compile(r"(?:(?<=\.)|^)\+(?=\.|$)"), "a plus stands for itself here", lambda name: name.replace("+", "*")),
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
        found = kind.expression.search(name if kind.inside else plain)
        if found and name != "/":
            meant = kind.meant(name)
            suggestion = f"did you mean [{meant}]?" if _is_pattern(meant) and meant != name else "take it out"
            yield Foreign(found.start(), len(found[0]), f"this can match nothing: {kind.message}", suggestion)
            return


def _is_pattern(name: str) -> bool:
    """Whether a section may be called so."""
    return bool(name.strip()) and not parse_pattern(name)[1]
