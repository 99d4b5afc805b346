"""YAML read with places: mappings by tables of keys, values by readers, every problem gathered.

A reader takes a node of PyYAML's and gives its value, or None after it noted what is wrong. A value keeps its node, so
that what only shows later can be told with its place, too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import yaml

from carbonquota.errors import Problem
from carbonquota.suggest import did_you_mean

_DEEPEST: Final = 64
"""How deep lists and mappings may be nested; an alias of a list within itself would have no end."""

_MERGE: Final = "tag:yaml.org,2002:merge"
_NULL: Final = "tag:yaml.org,2002:null"

_LARGEST: Final = 1_000_000
"""Nodes that are read of a text; aliases of aliases would come to billions."""


@dataclass(frozen=True, slots=True)
class NodeValue:
    """A value, and the node that it was read from."""

    value: Any
    node: yaml.Node


ReadValue = Callable[["Reader", yaml.Node], Any]
"""Gives a node's value, or None after a problem was noted."""


class Reader:
    """Reads the nodes of one text, and gathers what is wrong with it."""

    def __init__(self, text: str, source: str) -> None:
        """`source` is what the text is called in problems."""
        self.source = source
        self.problems: list[Problem] = []
        self._lines = text.splitlines()
        self.text = text
        self._read = 0
        self._deep = 0

    def root(self) -> yaml.Node | None:
        """The one document of the text; None where there is none, or it is no YAML."""
        try:
            return _composed(self.text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        except (yaml.YAMLError, RecursionError):
            # PyYAML's own loader says better what is wrong.
            return self._root_by_the_slow_loader()

    def _root_by_the_slow_loader(self) -> yaml.Node | None:
        try:
            return _composed(self.text, yaml.SafeLoader)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            message = ", ".join(part for part in (error.context, error.problem) if part)
            self._note(mark, 1, f"this is no YAML: {message}", "")
        except RecursionError:
            self._note(None, 0, "this is nested too deep", "")
        except yaml.YAMLError as error:
            self._note(None, 0, f"this is no YAML: {str(error).splitlines()[0]}", "")
        return None

    def note(self, node: yaml.Node, message: str, suggestion: str = "") -> None:
        """Note a problem with a node."""
        self._note(node.start_mark, _width(node), message, suggestion)

    def _note(self, mark: yaml.Mark | None, width: int, message: str, suggestion: str) -> None:
        self.problems.append(self._problem(mark, width, message, suggestion))

    def _problem(self, mark: yaml.Mark | None, width: int, message: str, suggestion: str) -> Problem:
        """A problem at a place."""
        if mark is None or not self._lines:
            return Problem(self.source, 0, 0, 0, "", message, suggestion)
        # The end of a text that ends too early lies behind its last line.
        line = min(mark.line, len(self._lines) - 1)
        text = self._lines[line]
        column = mark.column if mark.line == line else len(text)
        return Problem(self.source, line + 1, column + 1, width, text, message, suggestion)

    def line(self, node: yaml.Node) -> str:
        """The line of the text that a node begins on."""
        return self._lines[node.start_mark.line]

    def mapping(self, node: yaml.Node, readers: Mapping[str, ReadValue], what: str) -> dict[str, NodeValue] | None:
        """The values of a mapping by their keys; those with problems are missing. `what` is what it is called."""
        if not isinstance(node, yaml.MappingNode):
            self.note(node, f"{what} must be keys with values, not {_kind(node)}")
            return None
        if not self._enter(node):
            return None
        if not self._merge(node):
            self._deep -= 1
            return None
        values: dict[str, NodeValue] = {}
        seen: set[str] = set()
        for key, value in node.value:
            name = self._key(key, readers, seen, what)
            read = None if name is None else readers[name](self, value)
            if name is not None and read is not None:
                values[name] = NodeValue(read, value)
        self._deep -= 1
        return values

    def _merge(self, node: yaml.MappingNode) -> bool:
        """Put in what "<<" refers to, but for what the mapping says itself; False after a problem was noted."""
        if not any(key.tag == _MERGE for key, _ in node.value):
            return True
        own = {key.value for key, _ in node.value}
        before = {id(key) for key, _ in node.value}
        try:
            yaml.SafeLoader("").flatten_mapping(node)
        except (yaml.MarkedYAMLError, RecursionError):
            self.note(node, '"<<" must refer to keys with values, and not to itself')
            return False
        merged = {
            key.value: (key, value) for key, value in node.value if id(key) not in before and key.value not in own
        }
        node.value = [*merged.values(), *((key, value) for key, value in node.value if id(key) in before)]
        return True

    def _key(self, node: yaml.Node, readers: Mapping[str, ReadValue], seen: set[str], what: str) -> str | None:
        """A key that is known, and is there for the first time."""
        if not isinstance(node, yaml.ScalarNode):
            self.note(node, f"a key of {what} must be a word, not {_kind(node)}")
            return None
        name: str = node.value
        if name not in readers:
            self.note(node, f'unknown key "{name}" in {what}', did_you_mean(name, readers, "keys"))
            return None
        if name in seen:
            self.note(node, f'"{name}" stands twice in {what}', "remove one of the two")
            return None
        seen.add(name)
        return name

    def items(self, node: yaml.Node, what: str) -> list[yaml.Node]:
        """The items of a list; `what` is what it is called."""
        if isinstance(node, yaml.ScalarNode) and node.tag == _NULL:
            return []
        if not isinstance(node, yaml.SequenceNode):
            self.note(node, f"{what} must be a list, not {_kind(node)}", 'each item begins with "- "')
            return []
        return list(node.value)

    def pairs(self, node: yaml.Node, what: str) -> list[tuple[yaml.ScalarNode, yaml.Node]]:
        """The keys and values of a mapping with any keys, each once."""
        if not isinstance(node, yaml.MappingNode):
            self.note(node, f"{what} must be keys with values, not {_kind(node)}")
            return []
        if not self._enter(node):
            return []
        self._deep -= 1
        found: dict[str, tuple[yaml.ScalarNode, yaml.Node]] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode) or not key.value:
                self.note(key, f"a key of {what} must be a word, not {_kind(key)}")
            elif key.value in found:
                self.note(key, f'"{key.value}" stands twice in {what}', "remove one of the two")
            else:
                found[key.value] = (key, value)
        return list(found.values())

    def _enter(self, node: yaml.Node) -> bool:
        """Whether another mapping may be read."""
        self._read += 1
        if self._deep >= _DEEPEST or self._read > _LARGEST:
            if self._read != _LARGEST + 2:
                self.note(node, f"this is nested more than {_DEEPEST} deep, or repeated without end")
            self._read = _LARGEST + 1
            return False
        self._deep += 1
        return True


def _composed(text: str, loader_class: type[yaml.SafeLoader]) -> yaml.Node | None:
    loader = loader_class(text)
    try:
        return loader.get_single_node()
    finally:
        loader.dispose()


def text(reader: Reader, node: yaml.Node) -> str | None:
    """Any scalar, as it is written, as numbers are values of descriptors, too; of nothing, an empty text."""
    if isinstance(node, yaml.ScalarNode):
        return "" if node.tag == _NULL else str(node.value)
    reader.note(node, f"this must be a text, not {_kind(node)}")
    return None


def word(reader: Reader, node: yaml.Node) -> str | None:
    """A text that is not empty."""
    found = text(reader, node)
    if found == "":
        reader.note(node, "this must not be empty")
        return None
    return found


def anything(reader: Reader, node: yaml.Node) -> bool:  # noqa: ARG001 - a reader like the others
    """What is passed over, whatever it is."""
    return True


def boolean(reader: Reader, node: yaml.Node) -> bool | None:
    """True or false."""
    if isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:bool":
        return str(node.value).lower() in {"true", "yes", "on", "y"}
    reader.note(node, f'"{_shown(node)}" is neither true nor false')
    return None


def whole(least: int, most: int, hint: str = "") -> ReadValue:
    """A reader of whole numbers in a range."""

    def read(reader: Reader, node: yaml.Node) -> int | None:
        number = _number(node)
        if number is not None and least <= number <= most:
            return number
        reader.note(node, f'"{_shown(node)}" is not a whole number from {least:,} to {most:,}', hint)
        return None

    return read


def _number(node: yaml.Node) -> int | None:
    """The whole number of a node; None where it is none."""
    if not isinstance(node, yaml.ScalarNode):
        return None
    digits = str(node.value).replace("_", "").replace(",", "")
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 20 else None


def choice(words: Mapping[str, object], kind: str) -> ReadValue:
    """A reader of one of the words, in any case, which stand for what they map to."""

    def read(reader: Reader, node: yaml.Node) -> object | None:
        found = str(node.value).lower() if isinstance(node, yaml.ScalarNode) else ""
        if found in words:
            return words[found]
        reader.note(node, f'unknown {kind} "{_shown(node)}"', did_you_mean(found, words, f"the {kind}s"))
        return None

    return read


def _kind(node: yaml.Node) -> str:
    """What a node is, for a message."""
    if isinstance(node, yaml.MappingNode):
        return "keys with values"
    if isinstance(node, yaml.SequenceNode):
        return "a list"
    return f'"{_shown(node)}"' if node.value else "nothing"


def _shown(node: yaml.Node) -> str:
    """A node in a message, which a long text would drown."""
    return str(node.value)[:60] if isinstance(node, yaml.ScalarNode) else _kind(node)


def _width(node: yaml.Node) -> int:
    """How many characters of its line a node takes."""
    start, end = node.start_mark, node.end_mark
    return max(end.column - start.column, 1) if start.line == end.line else 1
