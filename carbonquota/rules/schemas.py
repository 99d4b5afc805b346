"""`storage-schemas.conf`: which metrics keep how many points, and so how large a new one will be.

A Whisper file is a header of 16 bytes, 12 bytes for each archive, and 12 for each point.

Which schema is a new metric's is asked for each: see `FirstMatch` for how that is found.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass, field, replace
from fractions import Fraction
from typing import Final

from carbonquota.model import Size
from carbonquota.rules.expressions import Search, search_here
from carbonquota.rules.files import read_text
from carbonquota.rules.first_match import FirstMatch
from carbonquota.rules.lint import Finding
from carbonquota.rules.retentions import Retention
from carbonquota.rules.schema_fields import Schema, read_schema
from carbonquota.rules.sections import read_sections

DEFAULT_RETENTIONS: Final = (Retention(1, 172_800),)
"""What a metric without a schema keeps: two days of a point a second."""

_HEADER: Final = 16
_ARCHIVE: Final = 12
_POINT: Final = 12
_BLOCK: Final = 4096


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

    `default_size` is that of a metric without a schema. `findings` are what looks wrong in the file, in its order.
    """

    source: str = "<none>"
    schemas: tuple[Schema, ...] = ()
    default_size: Size = field(default_factory=lambda: size_of_retentions(DEFAULT_RETENTIONS))
    findings: tuple[Finding, ...] = ()
    _first: FirstMatch = field(default_factory=lambda: FirstMatch(()), repr=False, compare=False)
    _sizes: tuple[Size, ...] = field(default=(), repr=False, compare=False)

    @classmethod
    def from_file(
        cls,
        path: str | os.PathLike[str],
        *,
        physical_size_factor: float = 1.0,
        sparse: bool = False,
        search: Search = search_here,
    ) -> Schemas:
        """Read a file; raises ConfigError with all of its problems, or with why it cannot be read."""
        text, source = read_text(path), os.fspath(path)
        return cls.from_text(text, source, physical_size_factor=physical_size_factor, sparse=sparse, search=search)

    @classmethod
    def from_text(
        cls,
        text: str,
        source: str = "<text>",
        *,
        physical_size_factor: float = 1.0,
        sparse: bool = False,
        search: Search = search_here,
    ) -> Schemas:
        """Read the text of a file, called `source` in messages; raises ConfigError with all of its problems.

        The factor (ValueError unless above 0) is the share of its logical size that a file takes on disk where
        it is `sparse`, as all of them may be, or compressed, as a section tells. `search` is asked about patterns
        that RE2 does not read.
        """
        schemas, findings, _ = read_sections(text, source, read_schema)
        schemas.sort(key=lambda schema: -schema.priority)
        read = cls.of(schemas, source, physical_size_factor=physical_size_factor, sparse=sparse, search=search)
        return replace(read, findings=findings)

    @classmethod
    def of(
        cls,
        schemas: Iterable[Schema],
        source: str,
        *,
        physical_size_factor: float = 1.0,
        sparse: bool = False,
        default_retentions: Iterable[Retention] = DEFAULT_RETENTIONS,
        search: Search = search_here,
    ) -> Schemas:
        """What was read elsewhere, the first that matches deciding; factor and search are as `from_text` takes them.

        `default_retentions` are what a metric keeps that none matches.
        """
        if not 0 < physical_size_factor < math.inf:
            raise ValueError(f"a physical size factor is above 0, not {physical_size_factor}")
        schemas = tuple(schemas)
        factors = [physical_size_factor if sparse or schema.compressed else 1.0 for schema in schemas]
        sizes = [size_of_retentions(schema.retentions, factor) for schema, factor in zip(schemas, factors, strict=True)]
        default = size_of_retentions(default_retentions, physical_size_factor if sparse else 1.0)
        first = FirstMatch((schema.pattern for schema in schemas), search)
        return cls(source, schemas, default, (), first, (*sizes, default))

    def searching(self, search: Search) -> Schemas:
        """The same, with `search` asked about patterns that RE2 does not read."""
        return replace(self, _first=self._first.searching(search))

    def __call__(self, metric: str, /) -> Size:
        """`size_of`: an engine that is given the schemas themselves asks for fewer sizes."""
        return self.size_of(metric)

    def size_of(self, metric: str) -> Size:
        """The size that a new metric will have; its name is in normal form."""
        return (self._sizes or (self.default_size,))[self._first.find(metric)]

    def sizes_of(self, metrics: Sequence[str]) -> list[Size]:
        """The same for each of a batch's new metrics, which costs less than asking one by one."""
        sizes = self._sizes or (self.default_size,)
        return [sizes[index] for index in self._first.find_all(metrics)]

    def size_below(self, namespace: str) -> Size | None:
        """The size of all new metrics at and below a namespace, if it is one; "" is the root."""
        sizes = self._sizes or (self.default_size,)
        index = 0 if len(sizes) == 1 else self._first.find_below(namespace)
        return None if index is None else sizes[index]

    @property
    def bounds(self) -> tuple[Size, Size]:
        """The least and the most that a size may be, each field by itself."""
        fields = list(zip(*map(astuple, self._sizes or (self.default_size,)), strict=True))
        return Size(*map(min, fields)), Size(*map(max, fields))

    def match(self, metric: str) -> Schema | None:
        """The schema that the metric follows, or None."""
        index = self._first.find(metric)
        return self.schemas[index] if index < len(self.schemas) else None
