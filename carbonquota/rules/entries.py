"""A section's entries read by a table of keys: one reader a key, every problem gathered."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from carbonquota.errors import ConfigError, Problem
from carbonquota.rules.ini import Entry, Section
from carbonquota.suggest import did_you_mean

_COMMENT: Final = re.compile(r"\s[#;]")

Reader = Callable[[Entry], object]
"""Gives the value of an entry, or raises ConfigError with what is wrong with it."""


def read_entries(section: Section, readers: Mapping[str, Reader]) -> tuple[dict[str, Any], tuple[Problem, ...]]:
    """The values by key, and the problems; of a key that is set twice the later value counts."""
    values: dict[str, Any] = {}
    problems: list[Problem] = []
    for entry in section.entries:
        try:
            values[entry.key] = _reader(entry, readers)(entry)
        except ConfigError as error:
            problems += (_with_hint(entry, problem) for problem in error.problems)
    return values, tuple(problems)


def _with_hint(entry: Entry, problem: Problem) -> Problem:
    """The problem, with what is most likely to mend it where the value has a comment behind it."""
    is_about_value = problem.column >= entry.value_column and problem.line == entry.line.number
    if is_about_value and _COMMENT.search(entry.value):
        return replace(problem, suggestion="a comment stands on a line of its own")
    return problem


def _reader(entry: Entry, readers: Mapping[str, Reader]) -> Reader:
    reader = readers.get(entry.key)
    if reader is None:
        hint = did_you_mean(entry.key, readers, "keys")
        raise ConfigError([entry.key_problem(f'unknown key "{entry.key}"', hint)])
    return reader


def choice_of(words: Mapping[str, object], kind: str) -> Reader:
    """A reader for a value that is one of the words, which stand for what they map to."""

    def read(entry: Entry) -> object:
        if entry.value not in words:
            hint = did_you_mean(entry.value, (word for word in words if word), kind)
            raise ConfigError([entry.value_problem(f'unknown {entry.key} "{entry.value}"', hint)])
        return words[entry.value]

    return read
