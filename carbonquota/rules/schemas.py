"""`storage-schemas.conf`: which metrics keep how many points, and so how large a new one will be.

A Whisper file is a header of 16 bytes, 12 bytes for each archive, and 12 for each point.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from fractions import Fraction
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
    _finders: tuple[tuple[Callable[[str], object], Size], ...] = field(default=(), repr=False, compare=False)

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
        if not 0 < physical_size_factor < math.inf:
            raise ValueError(f"a physical size factor is above 0, not {physical_size_factor}")
        schemas = sorted(_read_schemas(text, source), key=lambda schema: -schema.priority)
        factors = [physical_size_factor if sparse or schema.compressed else 1.0 for schema in schemas]
        sizes = [size_of_retentions(schema.retentions, factor) for schema, factor in zip(schemas, factors, strict=True)]
        default = size_of_retentions(DEFAULT_RETENTIONS, physical_size_factor if sparse else 1.0)
        finders = tuple(zip(map(_finder, schemas), sizes, strict=True))
        return cls(source, tuple(schemas), default, finders)

    def size_of(self, metric: str) -> Size:
        """The size that a new metric will have."""
        for finds, size in self._finders:
            if finds(metric):
                return size
        return self.default_size

    def match(self, metric: str) -> Schema | None:
        """The schema that the metric follows, or None."""
        return next((schema for schema in self.schemas if schema.pattern.search(metric)), None)


def _finder(schema: Schema) -> Callable[[str], object]:
    """The cheapest test for the schema's pattern."""
    expression = schema.pattern.pattern
    if expression in _MATCHES_ALL:
        return bool
    if expression.startswith("^") and "|" not in expression:
        return schema.pattern.match
    return schema.pattern.search


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
