"""ARCHITECTURE.md tells the way of a line by functions: each stands in the file that is named with it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import carbonquota

_PACKAGE = Path(carbonquota.__file__).parent
_DOCUMENT = Path(__file__).parents[2] / "ARCHITECTURE.md"


def _steps() -> list[tuple[str, str]]:
    """The functions of the walks, each with the file that was named last before it."""
    text = _DOCUMENT.read_text(encoding="utf-8")
    section = text[text.index("\n## Three lines, from the socket to the sink\n") :].split("\n## ")[1]
    steps, file = [], ""
    for name in re.findall(r"`([\w./]+)`", section):
        if "." in name:
            file = name
        else:
            steps.append((file, name))
    return steps


@pytest.mark.parametrize(("file", "name"), _steps())
def test_each_step_of_the_walks_is_a_function_of_its_file(file: str, name: str) -> None:
    text = (_PACKAGE / file).read_text(encoding="utf-8")
    assert re.search(rf"(?m)^(?:\s*(?:async )?def|cdef|\s+cdef|static inline)\b[^=;#]*\b{name}\(", text)


def test_the_walks_are_walks() -> None:
    assert len(_steps()) > 35
