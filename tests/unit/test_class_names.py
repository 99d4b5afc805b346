"""The name of a class says which one is meant: no two modules of the package have a class of one name."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from pathlib import Path

import carbonquota

_PACKAGE = Path(carbonquota.__file__).parent

_TWINS = {"Lines", "NameTable", "SeriesTable", "TableCopy"}
"""The plain and the compiled kernel have them both, and one of the two is in force."""

_COMPILED = {"KeyedLimit", "RuleDecider", "Tally"}
"""What the limiter's compiled counters are, and the interface that they are asked through."""

_CLASS = re.compile(r"^(?:cdef )?class (\w+)", re.MULTILINE)


def _python_classes(text: str) -> set[str]:
    return {node.name for node in ast.walk(ast.parse(text)) if isinstance(node, ast.ClassDef)}


def test_no_class_name_stands_in_two_modules() -> None:
    places: dict[str, set[str]] = defaultdict(set)
    for path in _PACKAGE.rglob("*.p*"):
        if path.name.endswith("_pb2.py"):  # made from proto/, whose messages have their names on the wire
            continue
        if path.suffix in {".py", ".pyx", ".pxi"}:
            text = path.read_text(encoding="utf-8")
            for name in _python_classes(text) if path.suffix == ".py" else _CLASS.findall(text):
                places[name].add(path.relative_to(_PACKAGE).as_posix())
    assert places["QuotaEngine"] == {"engine/engine.py"}
    twice = {name: sorted(paths) for name, paths in places.items() if len(paths) > 1}
    assert {name: paths for name, paths in twice.items() if name not in _TWINS | _COMPILED} == {}
    assert set(twice) == _TWINS | _COMPILED
