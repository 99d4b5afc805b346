"""What C and Cython include, which the checker of Python's imports cannot see."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import carbonquota

PACKAGE = Path(carbonquota.__file__).parent
KERNEL, DECISION, LIMITS = PACKAGE / "kernel", PACKAGE / "controls" / "native", PACKAGE / "limiter" / "native"
KINDS = {".h", ".pyx", ".pxd", ".pxi"}
SOURCES = sorted(path for folder in (KERNEL, DECISION, LIMITS) for path in folder.iterdir() if path.suffix in KINDS)
OF_KERNEL = [path for path in SOURCES if path.parent == KERNEL]
INCLUDED = re.compile(r'^(?:#include|include|cdef extern from) "([^"]+)"', re.MULTILINE)
IMPORTED = re.compile(r"^(?:from (carbonquota[\w.]*) c?import|c?import (carbonquota[\w.]*))", re.MULTILINE)
QUOTAS = re.compile(r"quota|throttl|grant", re.IGNORECASE)
"""Words of what stands above the kernel; the package's own name apart."""


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_the_kernel_includes_nothing_but_itself_and_what_stands_on_it_nothing_but_both(path: Path) -> None:
    text = path.read_text()
    allowed = {KERNEL, path.parent}
    for name in INCLUDED.findall(text):
        assert name == "Python.h" or any((folder / name).exists() for folder in allowed), name
    modules = [one or other for one, other in IMPORTED.findall(text)]
    below = tuple(f"{'.'.join(folder.relative_to(PACKAGE.parent).parts)}." for folder in allowed)
    # Answers are tuples with names, which C makes, by rules that it reads.
    answers = ("algorithms.", "model", "plan", "rules.")
    below = (*below, *(f"carbonquota.limiter.{name}" for name in answers)) if path.parent == LIMITS else below
    assert [module for module in modules if not module.startswith(below)] == []


@pytest.mark.parametrize("path", OF_KERNEL, ids=lambda path: path.name)
def test_the_kernel_does_not_speak_of_quotas(path: Path) -> None:
    words = path.read_text().replace("carbonquota", "").replace("CARBONQUOTA", "")
    assert [word[0] for word in QUOTAS.finditer(words)] == []
