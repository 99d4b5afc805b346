"""`storage-schemas.conf`: which metrics keep how many points, and so how large a new one will be.

A Whisper file is a header of 16 bytes, 12 bytes for each archive, and 12 for each point.

Every new metric is asked about, and most files have a list of patterns that begin with `^`. So such neighbours are one
regular expression with an alternative each, whose number tells the schema; and what comes after a pattern that is
found everywhere is left out.
"""

from __future__ import annotations

import math
import os
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import groupby, takewhile
from typing import Final

from carbonquota.errors import ConfigError
from carbonquota.model import Size
from carbonquota.rules.files import read_text
from carbonquota.rules.ini import read_document
from carbonquota.rules.retentions import Retention
from carbonquota.rules.schema_fields import Schema, read_schema

DEFAULT_RETENTIONS: Final = (Retention(1, 172_800),)
"""What a metric without a schema keeps: two days of a point a second."""

_HEADER: Final = 16
_ARCHIVE: Final = 12
_POINT: Final = 12
_BLOCK: Final = 4096

_Finder = tuple[Callable[[str], re.Match[str] | None], tuple[Size, ...]]
"""A search for one or more schemas in a name, and the size that each group of it tells, no group first."""

_MATCHES_ALL: Final = frozenset({".*", "^.*", ".*$", "^.*$", ".+", "^.+", ".+$", "^.+$", "^", "."})


def size_of_retentions(retentions: Iterable[Retention], physical_size_factor: float = 1.0) -> Size:
    """The size of a Whisper file with these archives; its disk blocks are the factor's share of it, rounded up."""
    points = [retention.points for retention in retentions]
    logical = _HEADER + _ARCHIVE * len(points) + _POINT * sum(points)
    # The factor as it was written: the float nearest to 0.1 is above it, and would take a block more.
    blocks = math.ceil(logical * Fraction(repr(physical_size_factor)) / _BLOCK)
    return Size(logical, blocks * _BLOCK, sum(points))


@dataclass(frozen=True, slots=True)
class Schemas:
    """All schemas, the higher priority first and else in file order, and what sizes they give.

    `default_size` is that of a metric without a schema.
    """

    source: str = "<none>"
    schemas: tuple[Schema, ...] = ()
    default_size: Size = field(default_factory=lambda: size_of_retentions(DEFAULT_RETENTIONS))
    _finders: tuple[_Finder, ...] = field(default=(), repr=False, compare=False)
    _otherwise: Size | None = field(default=None, repr=False, compare=False)

    @classmethod
    def from_file(
        cls, path: str | os.PathLike[str], *, physical_size_factor: float = 1.0, sparse: bool = False
    ) -> Schemas:
        """Read a file; raises ConfigError with all of its problems, or with why it cannot be read."""
        source = os.fspath(path)
        return cls.from_text(read_text(path), source, physical_size_factor=physical_size_factor, sparse=sparse)

    @classmethod
    def from_text(
        cls, text: str, source: str = "<text>", *, physical_size_factor: float = 1.0, sparse: bool = False
    ) -> Schemas:
        """Read the text of a file, called `source` in messages; raises ConfigError with all of its problems.

        The factor (ValueError unless above 0) is the share of its logical size that a file takes on disk where
        it is `sparse`, as all of them may be, or compressed, as a section tells.
        """
        schemas = sorted(_read_schemas(text, source), key=lambda schema: -schema.priority)
        return cls.of(schemas, source, physical_size_factor=physical_size_factor, sparse=sparse)

    @classmethod
    def of(
        cls,
        schemas: Iterable[Schema],
        source: str,
        *,
        physical_size_factor: float = 1.0,
        sparse: bool = False,
        default_retentions: Iterable[Retention] = DEFAULT_RETENTIONS,
    ) -> Schemas:
        """What was read elsewhere, the first that matches deciding; the factor is as `from_text` takes it.

        `default_retentions` are what a metric keeps that none matches.
        """
        if not 0 < physical_size_factor < math.inf:
            raise ValueError(f"a physical size factor is above 0, not {physical_size_factor}")
        schemas = tuple(schemas)
        factors = [physical_size_factor if sparse or schema.compressed else 1.0 for schema in schemas]
        sizes = [size_of_retentions(schema.retentions, factor) for schema, factor in zip(schemas, factors, strict=True)]
        default = size_of_retentions(default_retentions, physical_size_factor if sparse else 1.0)
        sized = list(zip((schema.pattern for schema in schemas), sizes, strict=True))
        some = list(takewhile(lambda pair: pair[0].pattern not in _MATCHES_ALL, sized))
        otherwise = sizes[len(some)] if len(some) < len(sizes) else default
        return cls(source, schemas, default, tuple(_finders(some)), otherwise)

    def size_of(self, metric: str) -> Size:
        """The size that a new metric will have."""
        for find, sizes in self._finders:
            if found := find(metric):
                return sizes[found.lastindex or 0]
        return self._otherwise or self.default_size

    def match(self, metric: str) -> Schema | None:
        """The schema that the metric follows, or None."""
        return next((schema for schema in self.schemas if schema.pattern.search(metric)), None)


def _finders(sized: Sequence[tuple[re.Pattern[str], Size]]) -> Iterator[_Finder]:
    """The searches that find the first of the patterns."""
    for joinable, group in groupby(sized, lambda pair: _is_joinable(pair[0])):
        if joinable:
            patterns, sizes = zip(*group, strict=True)
            yield _joined(patterns).match, (sizes[0], *sizes)
        else:
            for pattern, size in group:
                yield pattern.search, (size,) * (pattern.groups + 1)


def _is_joinable(pattern: re.Pattern[str]) -> bool:
    """Whether it is found at the start or not at all, and does not number its groups."""
    expression = pattern.pattern
    return expression.startswith("^") and "|" not in expression and pattern.groups == 0


def _joined(patterns: Iterable[re.Pattern[str]]) -> re.Pattern[str]:
    """One pattern with a group for each, of which the first that matches does."""
    with warnings.catch_warnings():
        # As when each was read by itself.
        warnings.simplefilter("ignore", FutureWarning)
        return re.compile("|".join(f"({pattern.pattern})" for pattern in patterns))


def _read_schemas(text: str, source: str) -> list[Schema]:
    document = read_document(text, source)
    problems = list(document.problems)
    schemas: list[Schema] = []
    for section in document.sections:
        schema, found = read_schema(section)
        problems += found
        schemas += [schema] if schema else []
    if problems:
        raise ConfigError(sorted(problems, key=lambda problem: (problem.line, problem.column)))
    return schemas
