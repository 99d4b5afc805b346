"""A glob matcher that is slow and obvious: braces are spelled out, then characters are compared one by one."""

from __future__ import annotations

from functools import cache


@cache
def glob_matches(pattern: str, namespace: str) -> bool:
    """Whether `pattern` holds `namespace`: as many components, and each one matches its own."""
    if pattern == "/" or namespace == "/":
        return pattern == namespace
    globs, components = pattern.split("."), namespace.split(".")
    return len(globs) == len(components) and all(map(_component_matches, globs, components))


def _component_matches(glob: str, text: str) -> bool:
    return any(_characters_match(plain, text) for plain in _without_braces(glob))


def _without_braces(glob: str) -> list[str]:
    """Every spelling of a glob with its braces resolved: `a{b,c{d,e}}` is `ab`, `acd`, `ace`."""
    start = _outside_class(glob, "{")
    if start < 0:
        return [glob]
    depth, pieces, piece_start, position = 0, [], start + 1, start
    while True:
        character = glob[position]
        depth += (character == "{") - (character == "}")
        if depth == 0 or (character == "," and depth == 1):
            pieces.append(glob[piece_start:position])
            piece_start = position + 1
        if depth == 0:
            break
        position += 1
    return [plain for piece in pieces for plain in _without_braces(glob[:start] + piece + glob[position + 1 :])]


def _outside_class(glob: str, wanted: str) -> int:
    inside = False
    for position, character in enumerate(glob):
        inside = (inside or character == "[") and character != "]"
        if character == wanted and not inside:
            return position
    return -1


def _characters_match(glob: str, text: str) -> bool:
    if not glob:
        return not text
    if glob[0] == "*":
        return any(_characters_match(glob[1:], text[taken:]) for taken in range(len(text) + 1))
    if not text:
        return False
    if glob[0] == "[":
        inner, _, rest = glob[1:].partition("]")
        return _class_holds(inner, text[0]) and _characters_match(rest, text[1:])
    return glob[0] in ("?", text[0]) and _characters_match(glob[1:], text[1:])


def _class_holds(inner: str, character: str) -> bool:
    if inner.startswith("^"):
        return not _class_holds(inner[1:], character)
    while inner:
        if len(inner) > 2 and inner[1] == "-":
            if inner[0] <= character <= inner[2]:
                return True
            inner = inner[3:]
        else:
            if inner[0] == character:
                return True
            inner = inner[1:]
    return False
