"""The sections of a file of rules as values, and everything that is wrong with it told at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, TypeVar

from carbonquota.errors import ConfigError, Problem
from carbonquota.rules.ini import Section, read_document

if TYPE_CHECKING:
    from carbonquota.rules.lint import Finding

T = TypeVar("T")

ReadSection = Callable[[Section], tuple[T | None, Iterable[Problem], Iterable["Finding"]]]
"""Gives what a section means, None where that is nothing, with what is wrong and what looks wrong."""


def read_sections(
    text: str, source: str, read: ReadSection[T]
) -> tuple[list[T], tuple[Finding, ...], tuple[Section, ...]]:
    """What the sections mean in file order, what looks wrong in them, and the sections themselves.

    `source` is the file's name in messages; ConfigError has all of its problems, by their place.
    """
    document = read_document(text, source)
    problems = list(document.problems)
    meant: list[T] = []
    findings: list[Finding] = []
    for section in document.sections:
        value, wrong, noticed = read(section)
        problems += wrong
        findings += sorted(noticed, key=lambda finding: _place(finding.problem))
        if value is not None:
            meant.append(value)
    if problems:
        raise ConfigError(sorted(problems, key=_place))
    return meant, tuple(findings), document.sections


def _place(problem: Problem) -> tuple[int, int]:
    return problem.line, problem.column
