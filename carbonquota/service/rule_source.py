"""Where rules come from: a source that a rulebook reads, and what it gave. Today's sources are files.

Three files make one configuration: quotas, schemas, aggregation. They are read together; if one of them is bad or
missing, the answer is the problems of all.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, TypeVar

from carbonquota.errors import ConfigError, Problem
from carbonquota.model import DroppingPolicy
from carbonquota.rules import RuleSet, Schemas, Severity
from carbonquota.rules.aggregation import Aggregations
from carbonquota.rules.emptied import emptied
from carbonquota.rules.expressions import Expression, Search, search_here
from carbonquota.rules.files import read_text
from carbonquota.service.settling import Signature, signatures, wait_until_settled

Read = TypeVar("Read")

Settle = Callable[[Sequence[str]], tuple[Signature, ...] | None]
"""Waits until files have settled: their signatures then, or None where they do not."""


class RuleSource(Protocol):
    """What a rulebook reads rules from: files, or whatever else gives texts that may change."""

    @property
    def name(self) -> str:
        """What it is called in messages."""

    def version(self) -> Hashable:
        """Something by which a change of the texts shows; asked for before and after they are read."""

    def settled_version(self) -> Hashable | None:
        """The version once nobody is changing the texts, which may take seconds; None where they keep changing."""

    def read(self, known: LoadedRules) -> LoadedRules:
        """What the texts say, `known` itself where that is the same; ConfigError with all problems."""


def _read_schemas(text: str, files: RuleFiles) -> Schemas:
    """The schemas as the daemon reads them, every doubt being an error."""
    factor, sparse = files.physical_size_factor, files.sparse
    return Schemas.from_text(text, files.schemas, physical_size_factor=factor, sparse=sparse, search=files.search)


@dataclass(frozen=True, slots=True)
class RuleFiles:
    """Where the configuration stands, an empty path being no file, and what else decides about sizes.

    `physical_size_factor` and `sparse` are as `Schemas.from_text` takes them. `read_schemas` reads the text of the
    schemas, for a host that has a dialect of its own; ConfigError says what is wrong. `search` is asked about patterns
    that RE2 does not read.
    """

    quotas: str = ""
    schemas: str = ""
    aggregation: str = ""
    physical_size_factor: float = 1.0
    sparse: bool = False
    read_schemas: Callable[[str, RuleFiles], Schemas] = _read_schemas
    search: Search = search_here

    @property
    def paths(self) -> tuple[str, ...]:
        """The files that there are."""
        return tuple(path for path in (self.quotas, self.schemas, self.aggregation) if path)


@dataclass(frozen=True, slots=True)
class LoadedRules:
    """What the files said: all of it immutable, so any thread may use it. `texts` are the files' own."""

    files: RuleFiles
    rules: RuleSet
    schemas: Schemas
    aggregations: Aggregations
    texts: tuple[str, str, str] = field(default=("", "", ""), repr=False)

    @property
    def warnings(self) -> list[str]:
        """What looks wrong in schemas and aggregations."""
        findings = (*self.schemas.findings, *self.aggregations.findings)
        return [str(found) for found in findings if found.severity is Severity.WARNING]

    @property
    def expressions(self) -> list[Expression]:
        """Every pattern of schemas and aggregations."""
        return [*(one.pattern for one in self.schemas.schemas), *(one.pattern for one in self.aggregations.rules)]

    def emptied_since(self, before: LoadedRules) -> Iterator[Problem]:
        """The files that have lost all of their sections, without a word that this is meant."""
        for path, text, was, now in zip(
            (self.files.quotas, self.files.schemas, self.files.aggregation),
            self.texts,
            before.sections(),
            self.sections(),
            strict=True,
        ):
            if was and not now:
                yield from emptied(path, text, was)

    def sections(self) -> tuple[int, int, int]:
        """How many sections each file has."""
        return len(self.rules.rules), len(self.schemas.schemas), len(self.aggregations.rules)


@dataclass(frozen=True, slots=True)
class GivenQuotas:
    """Quotas that come from elsewhere than a file: their text, what errors call it, and whether they only count.

    `key` is what tells them from others.
    """

    text: str
    source: str
    is_shadow: bool = False

    @property
    def key(self) -> str:
        """The text, of a shadow under another head."""
        return f"# shadow\n{self.text}" if self.is_shadow else self.text

    def rules(self) -> RuleSet:
        """What the text says; a shadow drops nothing. ConfigError."""
        read = RuleSet.from_text(self.text, self.source)
        if not self.is_shadow:
            return read
        return replace(read, rules=tuple(replace(rule, policy=DroppingPolicy.NONE) for rule in read.rules))


def load_rules(files: RuleFiles, known: LoadedRules | None = None, given: GivenQuotas | None = None) -> LoadedRules:
    """Read all the files; raises ConfigError with the problems of all of them.

    Where they say what is `known` already, that is the answer. `given` are quotas in the place of the file.
    """
    reading = _RuleFilesReading()
    quotas = reading.text(files.quotas) if given is None else given.key
    texts = (quotas, reading.text(files.schemas), reading.text(files.aggregation))
    if known is not None and texts == known.texts and not reading.problems:
        return known
    rules = reading.parse(lambda: RuleSet.from_text(texts[0], files.quotas) if given is None else given.rules())
    schemas = reading.parse(lambda: files.read_schemas(texts[1], files))
    aggregations = reading.parse(lambda: Aggregations.from_text(texts[2], files.aggregation, files.search))
    if rules is None or schemas is None or aggregations is None or reading.problems:
        raise ConfigError(reading.problems)
    return LoadedRules(files, rules, schemas, aggregations, texts)


class _RuleFilesReading:
    """Gathers the problems of several files."""

    __slots__ = ("problems",)

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def text(self, path: str) -> str:
        """The text of a file; empty where there is none to read."""
        return (self.parse(lambda: read_text(path, again=True)) or "") if path else ""

    def parse(self, read: Callable[[], Read]) -> Read | None:
        """What `read` gives, or None after its problems were noted."""
        try:
            return read()
        except ConfigError as error:
            self.problems += error.problems
            return None


class FileSource:
    """Rules in files, which are taken as whole when they have not changed for some time."""

    def __init__(self, files: RuleFiles, settle: Settle = wait_until_settled) -> None:
        """`settle` waits until files have settled."""
        self._files = files
        self._settle = settle

    @property
    def name(self) -> str:
        """The paths of the files."""
        return ", ".join(self._files.paths)

    def version(self) -> Hashable:
        """The signatures of the files."""
        return signatures(self._files.paths)

    def settled_version(self) -> Hashable | None:
        """The signatures, once nobody is writing the files."""
        return self._settle(self._files.paths)

    def read(self, known: LoadedRules) -> LoadedRules:
        """What the files say; ConfigError also where one lost all of its sections without a word that this is meant."""
        loaded = load_rules(self._files, known)
        problems = tuple(loaded.emptied_since(known))
        if problems:
            raise ConfigError(problems)
        return loaded
