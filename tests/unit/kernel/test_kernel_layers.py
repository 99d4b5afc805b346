"""What C and Cython include, which the checker of Python's imports cannot see."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import carbonquota

PACKAGE = Path(carbonquota.__file__).parent
KERNEL, NATIVE = PACKAGE / "kernel", PACKAGE / "controls" / "native"
KINDS = {".h", ".pyx", ".pxd", ".pxi"}
SOURCES = sorted(path for folder in (KERNEL, NATIVE) for path in folder.iterdir() if path.suffix in KINDS)
OF_KERNEL = [path for path in SOURCES if path.parent == KERNEL]
INCLUDED = re.compile(r'^(?:#include|include|cdef extern from) "([^"]+)"', re.MULTILINE)
IMPORTED = re.compile(r"^(?:from (carbonquota[\w.]*) c?import|c?import (carbonquota[\w.]*))", re.MULTILINE)
QUOTAS = re.compile(r"quota|throttl|grant", re.IGNORECASE)
"""Words of what stands above the kernel; the package's own name apart."""


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_the_kernel_includes_nothing_but_itself_and_the_decision_nothing_but_both(path: Path) -> None:
    text = path.read_text()
    allowed = [KERNEL] if path in OF_KERNEL else [KERNEL, NATIVE]
    for name in INCLUDED.findall(text):
        assert name == "Python.h" or any((folder / name).exists() for folder in allowed), name
    modules = [one or other for one, other in IMPORTED.findall(text)]
    below = ("carbonquota.kernel.",) if path in OF_KERNEL else ("carbonquota.kernel.", "carbonquota.controls.native.")
    assert [module for module in modules if not module.startswith(below)] == []


@pytest.mark.parametrize("path", OF_KERNEL, ids=lambda path: path.name)
def test_the_kernel_does_not_speak_of_quotas(path: Path) -> None:
    words = path.read_text().replace("carbonquota", "").replace("CARBONQUOTA", "")
    assert [word[0] for word in QUOTAS.finditer(words)] == []
